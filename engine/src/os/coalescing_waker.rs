//! Wakes a thread that sleeps in the kernel, at the price of one system call for each sleep and not
//! for each wake: the publishers' thread, and libfanfare's.
//!
//! Whoever has something leaves it where the thread finds it, and calls [`CoalescingWaker::wake`].
//! The thread, once it is awake, calls [`CoalescingWaker::clear`] and looks at everything after
//! that, before it sleeps again. So either it sees what was left, or it is woken.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use super::waker::Waker;

/// A [`Waker`] that writes nothing while its thread has not looked since the last wake.
#[derive(Debug)]
pub struct CoalescingWaker {
    waker: Arc<Waker>,
    /// Whether the thread was woken and has not looked since.
    is_woken: AtomicBool,
}

impl CoalescingWaker {
    /// Makes a waker.
    ///
    /// # Errors
    /// `EMFILE` or `ENFILE` where the process or the machine has no descriptor left.
    pub fn new() -> io::Result<Self> {
        Ok(Self { waker: Waker::new()?, is_woken: AtomicBool::new(false) })
    }

    /// Ends the present or else the next sleep of the thread. It sees what was written before this.
    pub fn wake(&self) {
        // Pairs with the swap in `clear`: either the thread looks after that, or this writes.
        if !self.is_woken.swap(true, SeqCst) {
            self.waker.wake();
        }
    }

    /// For a thread that is awake and looks at everything after this: the next wake writes again.
    /// It is enough for one that watches the descriptor edge-triggered, which never reads it.
    pub fn clear(&self) {
        self.is_woken.swap(false, SeqCst);
    }

    /// As [`CoalescingWaker::clear`], for a thread that watches the descriptor level-triggered and
    /// has found it readable.
    pub fn drain(&self) {
        // Before it is cleared: a wake between the two writes nothing, and the thread still looks.
        // The other way round the read could swallow a wake that the thread has not looked for.
        self.waker.drain();
        self.clear();
    }
}

impl AsFd for CoalescingWaker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.waker.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::waker::tests::wakes_are_heard;
    use std::os::fd::AsRawFd;

    use mio::unix::SourceFd;
    use mio::{Events, Interest, Poll, Token};
    use rustix::event::{PollFd, PollFlags, poll};
    use rustix::io::Errno;

    fn is_readable(waker: &CoalescingWaker) -> bool {
        let none = rustix::event::Timespec::default();
        poll(&mut [PollFd::new(waker, PollFlags::IN)], Some(&none)) == Ok(1)
    }

    #[test]
    fn no_wake_is_slept_through_level_triggered() {
        let waker = Arc::new(CoalescingWaker::new().unwrap());
        let others = Arc::clone(&waker);
        wakes_are_heard(
            move || others.wake(),
            || match poll(&mut [PollFd::new(&*waker, PollFlags::IN)], None) {
                Ok(_) => waker.drain(),
                Err(error) => assert_eq!(error, Errno::INTR),
            },
        );
    }

    #[test]
    fn no_wake_is_slept_through_edge_triggered() {
        let waker = Arc::new(CoalescingWaker::new().unwrap());
        let (mut poll, mut events) = (Poll::new().unwrap(), Events::with_capacity(1));
        let descriptor = waker.as_fd().as_raw_fd();
        let mut source = SourceFd(&descriptor);
        poll.registry().register(&mut source, Token(0), Interest::READABLE).unwrap();
        let others = Arc::clone(&waker);
        wakes_are_heard(
            move || others.wake(),
            || match poll.poll(&mut events, None) {
                Ok(()) => waker.clear(),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::Interrupted),
            },
        );
    }

    #[test]
    fn wakes_of_one_sleep_are_one_write() {
        let waker = CoalescingWaker::new().unwrap();
        waker.wake();
        assert!(is_readable(&waker));
        waker.waker.drain();
        waker.wake();
        assert!(!is_readable(&waker), "a second wake wrote again");
        waker.clear();
        waker.wake();
        assert!(is_readable(&waker), "a wake after the thread has looked was lost");
        waker.drain();
        assert!(!is_readable(&waker));
    }
}
