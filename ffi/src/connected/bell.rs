//! Wakes the thread out of its wait for the socket.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::{Errno, read, write};

/// A descriptor that becomes readable, at the price of one system call for each sleep and not for
/// each ring.
pub(super) struct Bell {
    descriptor: OwnedFd,
    rung: AtomicBool,
}

impl Bell {
    pub(super) fn new() -> Result<Self, Errno> {
        let descriptor = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(Self { descriptor, rung: AtomicBool::new(false) })
    }

    /// Wakes the thread; what was written before this is seen by it.
    pub(super) fn ring(&self) {
        // Pairs with the swap in `hear`: either that look comes later, or this one rings.
        if !self.rung.swap(true, SeqCst) {
            // It can only be full, and then it rings.
            let _ = write(&self.descriptor, &1u64.to_ne_bytes());
        }
    }

    /// Silences it, when it was found readable; the thread looks at everything after this.
    pub(super) fn hear(&self) {
        // In this order: a ring between the two writes nothing, and what it was rung for is found.
        let _ = read(&self.descriptor, &mut [0; 8]);
        self.rung.swap(false, SeqCst);
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}
