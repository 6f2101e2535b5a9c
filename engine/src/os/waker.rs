//! Wakes a thread that sleeps in the kernel until one of its descriptors is ready: a shard in its
//! driver, or whoever polls a socket.
//!
//! An eventfd. Whoever watches it edge-triggered never reads it: each write is an edge of its own
//! (eventfd(2)), so a wake costs the sleeper no read. A shard's is made before its driver, because
//! a `uring` driver can be made only on its shard's thread while others must already know whom to
//! wake. A wake that comes before the driver exists is not lost: the counter is above zero then,
//! and arming a watch looks at it once.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;

use crate::ring::Wake;

/// Wakes one thread. Shared by everyone who may have something for it.
#[derive(Debug)]
pub struct Waker {
    eventfd: OwnedFd,
}

impl Waker {
    /// Makes a waker.
    ///
    /// # Errors
    ///
    /// `EMFILE` or `ENFILE` where the process or the machine has no descriptor left.
    pub fn new() -> io::Result<Arc<Self>> {
        let eventfd = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(Arc::new(Self { eventfd }))
    }

    /// Ends the present or else the next sleep of the thread that watches this. Never blocks; many
    /// wakes of one sleep count as one.
    pub fn wake(&self) {
        loop {
            match rustix::io::write(&self.eventfd, &1u64.to_ne_bytes()) {
                Err(Errno::INTR) => {}
                // The counter is full after 2^64 - 2 wakes. Emptying it makes room for the edge.
                Err(Errno::AGAIN) => {
                    self.drain();
                }
                Ok(_) | Err(_) => return,
            }
        }
    }

    /// Makes it unreadable again, for a thread that watches it level-triggered.
    pub(super) fn drain(&self) {
        let _ = rustix::io::read(&self.eventfd, &mut [0; 8]);
    }
}

impl Wake for Waker {
    fn wake(&self) {
        Self::wake(self);
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.eventfd.as_fd()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering::{Acquire, Release};
    use std::thread;

    /// Another thread wakes this one so often, which sleeps by `sleep` until it has seen the last:
    /// a wake that is slept through hangs the test. For every kind of waker.
    pub(crate) fn wakes_are_heard(wake: impl Fn() + Send + 'static, mut sleep: impl FnMut()) {
        const WAKES: usize = 20_000;
        let done = Arc::new(AtomicUsize::new(0));
        let other = thread::spawn({
            let done = Arc::clone(&done);
            move || {
                for nth in 1..=WAKES {
                    done.store(nth, Release);
                    wake();
                    if nth % 64 == 0 {
                        thread::yield_now(); // so that the thread falls asleep now and then
                    }
                }
            }
        });
        while done.load(Acquire) < WAKES {
            sleep();
        }
        other.join().unwrap();
    }

    #[test]
    fn a_wake_never_blocks_even_where_the_counter_is_full() {
        let waker = Waker::new().unwrap();
        rustix::io::write(&waker, &(u64::MAX - 1).to_ne_bytes()).unwrap();
        waker.wake();
        let mut counter = [0; 8];
        rustix::io::read(&waker, &mut counter).unwrap();
        assert_eq!(u64::from_ne_bytes(counter), 1);
    }
}
