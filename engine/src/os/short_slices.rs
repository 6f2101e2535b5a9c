//! Short slices of the processor for threads that only pass things on.
//!
//! A shard in a broadcast uses its core for as long as it is let. Whoever shares that core and has
//! a message for it (sequencer, ingest, API) waits for the end of the shard's slice, some 3 ms,
//! before it decides for microseconds; and a publisher that waits for each answer pays that for
//! each publish. A thread that asks for a short slice may interrupt one with a longer one when it
//! wakes (`PREEMPT_SHORT`, Linux 6.12). It gets no more of the processor by that, so it needs no
//! privilege.

#![allow(unsafe_code)]

/// What such a thread asks for, in nanoseconds: the least that the kernel grants.
const SLICE_NS: u64 = 100_000;

/// Asks for short slices for the calling thread. Where the kernel does not know them (before 6.12)
/// or lets nobody ask, everything works as before, so nobody is told.
pub fn ask_for_short_slices() {
    // SAFETY: asks for this thread's own niceness, and points to nothing.
    let nice = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
    let size = size_of::<libc::sched_attr>() as u32;
    let attributes = libc::sched_attr {
        size,
        sched_policy: libc::SCHED_OTHER as u32,
        sched_flags: 0,
        sched_nice: nice,
        sched_priority: 0,
        sched_runtime: SLICE_NS,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: the kernel reads `size` bytes of a value that outlives the call; 0 is this thread.
    unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel says of the calling thread's slice, nanoseconds; 0 where it does not say.
    fn slice() -> u64 {
        // SAFETY: a value of integers, for which zero is one.
        let mut attributes: libc::sched_attr = unsafe { std::mem::zeroed() };
        let (size, told) = (size_of_val(&attributes) as u32, &raw mut attributes);
        // SAFETY: the kernel writes `size` bytes at most into a value that outlives the call.
        unsafe { libc::syscall(libc::SYS_sched_getattr, 0, told, size, 0) };
        attributes.sched_runtime
    }

    #[test]
    fn a_thread_has_the_slice_that_it_asked_for_and_others_keep_theirs() {
        let before = slice();
        if before == 0 {
            return println!("SKIPPED: this kernel has no slices of a thread's own (Linux 6.12)");
        }
        assert!(before > SLICE_NS);
        let asked = std::thread::spawn(|| {
            ask_for_short_slices();
            slice()
        });
        assert_eq!((asked.join().unwrap(), slice()), (SLICE_NS, before));
    }
}
