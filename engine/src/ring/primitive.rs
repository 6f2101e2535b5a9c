//! What the ring is made of: std, or loom's doubles under `--cfg loom`.
//!
//! The ring's other files name no atomic, cell or fence but these, so the code that loom proves is
//! the code that runs. (Wakers are std's `Arc` in both: they are only called.)

#[cfg(not(loom))]
mod chosen {
    pub(in crate::ring) use std::sync::Arc;
    pub(in crate::ring) use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    /// `std`'s cell with loom's interface, where an access is a closure that loom can watch.
    #[derive(Debug)]
    pub(in crate::ring) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        pub(in crate::ring) fn new(value: T) -> Self {
            Self(std::cell::UnsafeCell::new(value))
        }

        /// The pointer is good for reading while no `with_mut` runs.
        #[inline(always)]
        pub(in crate::ring) fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
            f(self.0.get())
        }

        /// The pointer is good for writing while no other access runs.
        #[inline(always)]
        pub(in crate::ring) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
            f(self.0.get())
        }
    }

    /// A sequentially consistent fence; `_side` matters to loom's canaries only.
    #[inline(always)]
    pub(in crate::ring) fn full_fence(_side: super::Side) {
        std::sync::atomic::fence(Ordering::SeqCst);
    }
}

#[cfg(loom)]
mod chosen {
    pub(in crate::ring) use loom::cell::UnsafeCell;
    pub(in crate::ring) use loom::sync::Arc;
    pub(in crate::ring) use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    thread_local! {
        /// The fence that this test leaves out. Loom runs all threads of a model on the test's
        /// own, so a plain thread-local is the test's.
        pub(in crate::ring) static LEFT_OUT: std::cell::Cell<Option<super::Side>> =
            const { std::cell::Cell::new(None) };
    }

    /// A sequentially consistent fence, unless this test is a canary that leaves it out.
    pub(in crate::ring) fn full_fence(side: super::Side) {
        if LEFT_OUT.get() != Some(side) {
            loom::sync::atomic::fence(Ordering::SeqCst);
        }
    }
}

pub(super) use chosen::*;

/// The two sides of the one pair of fences in the ring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Side {
    /// Between publishing and looking for sleepers.
    Writer,
    /// Between saying "parked" and looking again.
    Reader,
}
