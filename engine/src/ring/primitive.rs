//! What the ring is made of: std, or loom's doubles under `--cfg fanfare_loom`.
//!
//! The ring's other files name no atomic, cell or fence but these, so the code that loom proves is
//! the code that runs. (Wakers are std's `Arc` in both: they are only called.)

#[cfg(not(fanfare_loom))]
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

#[cfg(fanfare_loom)]
mod chosen {
    //! Loom's doubles do nothing while a panic unwinds: a model that failed (deadlock, race) is not
    //! there any more, and using it from a destructor would abort instead of failing the test.

    use std::mem::ManuallyDrop;
    use std::ops::Deref;
    use std::thread::panicking;

    pub(in crate::ring) use loom::cell::UnsafeCell;
    use loom::sync::{Arc as LoomArc, atomic};
    pub(in crate::ring) use std::sync::atomic::Ordering;

    thread_local! {
        /// The fence that this test leaves out. Loom runs all threads of a model on the test's
        /// own, so a plain thread-local is the test's.
        pub(in crate::ring) static LEFT_OUT: std::cell::Cell<Option<super::Side>> =
            const { std::cell::Cell::new(None) };
    }

    /// A sequentially consistent fence, unless this test is a canary that leaves it out.
    pub(in crate::ring) fn full_fence(side: super::Side) {
        if LEFT_OUT.get() != Some(side) {
            atomic::fence(Ordering::SeqCst);
        }
    }

    pub(in crate::ring) struct AtomicU64(atomic::AtomicU64);

    impl AtomicU64 {
        pub(in crate::ring) fn new(value: u64) -> Self {
            Self(atomic::AtomicU64::new(value))
        }

        pub(in crate::ring) fn load(&self, order: Ordering) -> u64 {
            if panicking() { 0 } else { self.0.load(order) }
        }

        pub(in crate::ring) fn store(&self, value: u64, order: Ordering) {
            if !panicking() {
                self.0.store(value, order);
            }
        }
    }

    pub(in crate::ring) struct AtomicBool(atomic::AtomicBool);

    impl AtomicBool {
        pub(in crate::ring) fn new(value: bool) -> Self {
            Self(atomic::AtomicBool::new(value))
        }

        pub(in crate::ring) fn load(&self, order: Ordering) -> bool {
            self.0.load(order)
        }

        pub(in crate::ring) fn store(&self, value: bool, order: Ordering) {
            self.0.store(value, order);
        }

        pub(in crate::ring) fn swap(&self, value: bool, order: Ordering) -> bool {
            !panicking() && self.0.swap(value, order)
        }

        pub(in crate::ring) fn compare_exchange(
            &self,
            from: bool,
            to: bool,
            success: Ordering,
            failure: Ordering,
        ) -> Result<bool, bool> {
            self.0.compare_exchange(from, to, success, failure)
        }
    }

    pub(in crate::ring) struct Arc<T>(ManuallyDrop<LoomArc<T>>);

    impl<T> Arc<T> {
        pub(in crate::ring) fn new(value: T) -> Self {
            Self(ManuallyDrop::new(LoomArc::new(value)))
        }
    }

    impl<T> Clone for Arc<T> {
        fn clone(&self) -> Self {
            Self(self.0.clone())
        }
    }

    impl<T> Deref for Arc<T> {
        type Target = T;

        fn deref(&self) -> &T {
            &self.0
        }
    }

    impl<T> Drop for Arc<T> {
        fn drop(&mut self) {
            if !panicking() {
                // SAFETY: dropped once, here, and not used afterwards.
                unsafe { ManuallyDrop::drop(&mut self.0) };
            }
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
