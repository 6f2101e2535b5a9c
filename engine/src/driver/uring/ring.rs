//! One io_uring: how it is made, entered and emptied. It knows operations and completions, not what
//! they mean.
//!
//! **What holds after [`Ring::submit`] returns:** every queued operation was taken by the kernel
//! and every completion that the kernel had by then was handed over, those that did not fit into
//! the completion queue included. The callers' proofs about memory lean on the first half, their
//! accounting on the second.

use std::io;
use std::thread;
use std::time::Duration;

use io_uring::squeue::Entry;
use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring};

/// Submission and completion entries, largest first. Where the kernel has no memory for one (rings
/// count against `RLIMIT_MEMLOCK` since 6.14), the next is tried.
pub(in crate::driver) const SIZES: [(u32, u32); 4] =
    [(1024, 16_384), (512, 8_192), (256, 4_096), (64, 1_024)];

/// How often a size is tried before a smaller one. A ring that is gone (such as those of the
/// self-test) gives its memory back only when the kernel gets round to it.
const ROOM_TRIES: u32 = 10;
/// The same for the size that the self-test has found room for.
const KNOWN_ROOM_TRIES: u32 = 100;
const ROOM_PAUSE: Duration = Duration::from_millis(20);

/// Locked memory of a ring in bytes. An entry to submit is 64 and one to complete is 16 (`struct
/// io_uring_sqe` and `io_uring_cqe`); a page more for the heads of the two.
pub(in crate::driver) fn locked_bytes((submit, complete): (u32, u32)) -> u64 {
    u64::from(submit) * 64 + u64::from(complete) * 16 + 4_096
}

/// How often a refused submission is tried again, a millisecond apart, before giving up. The kernel
/// refuses while it has no memory for a request, or while completions wait for room.
const REFUSALS_MAX: u32 = 10_000;

/// One completion.
#[derive(Clone, Copy, Debug)]
pub(in crate::driver) struct Completion {
    /// What the operation was tagged with.
    pub(in crate::driver) tag: u64,
    /// A count, a slot, or a negative errno.
    pub(in crate::driver) result: i32,
    /// The operation goes on and will complete again.
    pub(in crate::driver) more: bool,
}

/// A ring that belongs to the thread that made it.
pub(in crate::driver) struct Ring {
    ring: IoUring,
    wait_flags: EnterFlags,
    entries: usize,
    /// How often the completion queue overflowed.
    overflows: u64,
    /// Whether the kernel had nothing to say when it was last asked.
    told_all: bool,
}

impl Ring {
    /// Makes the first ring of `sizes` that the kernel has room for, with a file table of `files`
    /// slots.
    pub(in crate::driver) fn new(sizes: &[(u32, u32)], files: usize) -> io::Result<Self> {
        Self::with(largest(sizes, ROOM_TRIES)?, files)
    }

    /// The same where there was room for the first of `sizes` a moment ago: it is waited for.
    pub(in crate::driver) fn known(sizes: &[(u32, u32)], files: usize) -> io::Result<Self> {
        Self::with(largest(sizes, KNOWN_ROOM_TRIES)?, files)
    }

    fn with(ring: IoUring, files: usize) -> io::Result<Self> {
        let files = u32::try_from(files).map_err(|_| io::ErrorKind::InvalidInput)?;
        ring.submitter().register_files_sparse(files)?;
        // Nothing here needs the kernel's worker threads; if something slips through to them, it
        // must not become a pool of hundreds.
        ring.submitter().register_iowq_max_workers(&mut [1, 1])?;
        let mut wait_flags = EnterFlags::GETEVENTS | EnterFlags::EXT_ARG;
        if ring.params().is_feature_no_iowait() {
            // Otherwise an idle server shows as 100 % iowait and as I/O pressure.
            wait_flags |= EnterFlags::NO_IOWAIT;
        }
        let entries = ring.params().sq_entries() as usize;
        Ok(Self { ring, wait_flags, entries, overflows: 0, told_all: true })
    }

    /// Operations that fit into one submission.
    pub(in crate::driver) fn entries(&self) -> usize {
        self.entries
    }

    /// How often completions did not fit into the queue and had to be asked for.
    pub(in crate::driver) fn overflows(&self) -> u64 {
        self.overflows
    }

    /// Operations that may still be queued before the next submission.
    pub(in crate::driver) fn room(&mut self) -> usize {
        self.entries - self.ring.submission().len()
    }

    /// Queues an operation. There must be room.
    ///
    /// # Safety
    ///
    /// What the operation points to stays valid, and is not touched where the kernel writes to it,
    /// until the operation has completed.
    pub(in crate::driver) unsafe fn queue(&mut self, entry: &Entry) {
        // SAFETY: the caller vouches for the memory that the entry points to.
        let queued = unsafe { self.ring.submission().push(entry) };
        assert!(queued.is_ok(), "no room was made for an operation");
    }

    /// Submits everything that is queued, and hands over what completed.
    ///
    /// # Panics
    ///
    /// Where the kernel refuses for 10 s, or has lost a completion: what a client got is unknown
    /// then, and going on would corrupt streams in silence.
    pub(in crate::driver) fn submit(&mut self, taken: &mut dyn FnMut(Completion)) {
        let mut refusals = 0;
        loop {
            let queued = self.ring.submission().len();
            if queued == 0 {
                break;
            }
            let flags = self.flags();
            match self.enter(queued, 0, flags, None) {
                // Fewer than queued is possible where the kernel ran out of memory on the way.
                Ok(_) => self.reap(taken),
                Err(error) => {
                    refusals += 1;
                    assert!(refusals < REFUSALS_MAX, "the kernel takes no operations: {error}");
                    self.pause(&error, taken);
                }
            }
        }
    }

    /// Whether the kernel had nothing to say when it was last asked.
    pub(in crate::driver) fn told_all(&self) -> bool {
        self.told_all
    }

    /// Submits what is queued and waits for a completion, until `timeout` is over.
    pub(in crate::driver) fn wait(
        &mut self,
        timeout: Option<Duration>,
        taken: &mut dyn FnMut(Completion),
    ) {
        let queued = self.ring.submission().len();
        if timeout == Some(Duration::ZERO) {
            // Nothing to submit and no deferred work announced: the kernel has nothing to say. It
            // does a part of its deferred work at a time (20 of it) and does not announce the rest.
            let announced = self.ring.submission().taskrun() || !self.told_all;
            if queued == 0 && !announced && self.is_drained() {
                return;
            }
            // Submitted without waiting, but with GETEVENTS, so that deferred work runs.
            return self.tend(queued, 0, None, taken);
        }
        self.tend(queued, 1, timeout, taken);
    }

    /// Like [`Ring::wait`], for finding out whether the kernel lets us at all.
    ///
    /// # Errors
    ///
    /// Whatever `io_uring_enter` answers.
    pub(in crate::driver) fn try_wait(
        &mut self,
        timeout: Duration,
        taken: &mut dyn FnMut(Completion),
    ) -> io::Result<()> {
        let queued = self.ring.submission().len();
        self.enter(queued, 1, self.wait_flags, Some(timeout))?;
        self.reap(taken);
        Ok(())
    }

    fn tend(
        &mut self,
        queued: usize,
        want: usize,
        timeout: Option<Duration>,
        taken: &mut dyn FnMut(Completion),
    ) {
        self.told_all = true;
        match self.enter(queued, want, self.wait_flags, timeout) {
            Ok(_) => self.reap(taken),
            Err(error) => self.pause(&error, taken),
        }
        self.submit(taken);
    }

    /// Hands over every completion, those that overflowed the queue included.
    fn reap(&mut self, taken: &mut dyn FnMut(Completion)) {
        loop {
            for entry in self.ring.completion() {
                self.told_all = false;
                let more = io_uring::cqueue::more(entry.flags());
                taken(Completion { tag: entry.user_data(), result: entry.result(), more });
            }
            if !self.ring.submission().cq_overflow() {
                return;
            }
            self.overflows += 1;
            // The kernel keeps what did not fit and hands it over when it is asked for events.
            if let Err(error) = self.enter(0, 0, EnterFlags::GETEVENTS, None) {
                forgive(&error);
            }
        }
    }

    /// After a refusal: empties the completion queue, which is what `EBUSY` asks for, and lets the
    /// kernel breathe where it had no memory. The end of a wait is no refusal.
    fn pause(&mut self, error: &io::Error, taken: &mut dyn FnMut(Completion)) {
        forgive(error);
        self.reap(taken);
        if error.raw_os_error() != Some(libc::ETIME) {
            self.told_all = false;
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn is_drained(&mut self) -> bool {
        self.ring.completion().is_empty() && !self.ring.submission().cq_overflow()
    }

    /// A submission asks for events only where deferred work waits: a batch of sends completes
    /// within the submission itself, whatever else is going on.
    fn flags(&mut self) -> EnterFlags {
        if self.ring.submission().taskrun() { EnterFlags::GETEVENTS } else { EnterFlags::empty() }
    }

    fn enter(
        &mut self,
        submit: usize,
        want: usize,
        flags: EnterFlags,
        timeout: Option<Duration>,
    ) -> io::Result<usize> {
        let (submit, want) = (submit as u32, want as u32);
        let deadline = timeout.map(Timespec::from);
        let mut arguments = SubmitArgs::new();
        if let Some(deadline) = &deadline {
            arguments = arguments.timespec(deadline);
        }
        let extended = flags.contains(EnterFlags::EXT_ARG).then_some(&arguments);
        // SAFETY: `submit` counts entries that are in the queue. With EXT_ARG the argument is a
        // `io_uring_getevents_arg`, which `SubmitArgs` wraps transparently, and it and the timespec
        // that it points to live until the call returns; without EXT_ARG it is null.
        unsafe { self.ring.submitter().enter(submit, want, flags.bits(), extended) }
    }

    /// Closes every file of the table now, and not when the kernel gets round to taking the ring
    /// apart.
    pub(in crate::driver) fn close_files(&mut self) {
        let _ = self.ring.submitter().unregister_files();
    }
}

/// Passes over errors that say «later»; anything else is a bug of ours or a lost completion.
fn forgive(error: &io::Error) {
    let errno = error.raw_os_error().unwrap_or_default();
    let passing = [libc::ETIME, libc::EINTR, libc::EBUSY, libc::EAGAIN, libc::ENOMEM];
    assert!(errno != libc::EBADR, "the kernel had no memory to tell of a completion, and lost it");
    assert!(passing.contains(&errno), "io_uring_enter failed: {error}");
}

/// The place in [`SIZES`] of the largest rings for which `count` find room beside each other,
/// `first` being the place of one that is there already. Rings are made until there are as many or
/// no room is left, each as large as the one before or, where that finds no room, smaller: what
/// they take together is there for all. Nothing is given back on the way: that comes late.
///
/// # Errors
/// `ENOMEM` where even the smallest find no room; whatever else the kernel says.
pub(in crate::driver) fn room_for(count: usize, first: usize) -> io::Result<usize> {
    let mut rings = Vec::new();
    let (mut at, mut bytes) = (first, locked_bytes(SIZES[first]));
    let mut failure = None;
    while rings.len() + 1 < count && failure.is_none() {
        match largest(&SIZES[at..], ROOM_TRIES) {
            Ok(ring) => {
                at = place_of(ring.params().sq_entries() as usize);
                bytes += locked_bytes(SIZES[at]);
                rings.push(ring);
            }
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) => failure = Some(error),
            Err(error) => return Err(error),
        }
    }
    let fits = |size: &(u32, u32)| locked_bytes(*size) * count as u64 <= bytes;
    let place = SIZES.iter().position(fits);
    place.ok_or_else(|| failure.unwrap_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM)))
}

/// The place in [`SIZES`] of a ring with this many entries to submit.
pub(in crate::driver) fn place_of(entries: usize) -> usize {
    let place = SIZES.iter().position(|size| size.0 as usize <= entries);
    place.unwrap_or(SIZES.len() - 1)
}

fn largest(sizes: &[(u32, u32)], first_tries: u32) -> io::Result<IoUring> {
    let mut failure = io::Error::from(io::ErrorKind::InvalidInput);
    for (nth, &size) in sizes.iter().enumerate() {
        for _ in 0..if nth == 0 { first_tries } else { ROOM_TRIES } {
            match build(size) {
                Err(error) if error.raw_os_error() == Some(libc::ENOMEM) => failure = error,
                outcome => return outcome,
            }
            thread::sleep(ROOM_PAUSE);
        }
    }
    Err(failure)
}

fn build((submissions, completions): (u32, u32)) -> io::Result<IoUring> {
    IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_taskrun_flag()
        .setup_no_sqarray()
        .setup_submit_all()
        .setup_cqsize(completions)
        .build(submissions)
}
