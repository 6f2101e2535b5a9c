//! How a reader sleeps without missing what is published: one flag and a pair of fences.
//!
//! ```text
//!   reader                           writer
//!   ------                           ------
//!   parked = true        (1)         head = n             (A)
//!   fence(SeqCst)                    fence(SeqCst)
//!   look at head again   (2)         look at parked       (B)
//!   sleep, if nothing new            wake, if it was true
//!   parked = false
//! ```
//!
//! Each side writes its own word and then reads the other's. Without the fences both may read the
//! old value (each processor's store waits in its own buffer), and the reader sleeps for ever
//! beside an entry. With them, one fence comes first in the single order of all SeqCst fences:
//! the reader's, and (B) sees (1): a wake; or the writer's, and (2) sees (A): no sleep. Explicit
//! fences, not SeqCst accesses, because loom models fences exactly and takes SeqCst accesses for
//! AcqRel.
//!
//! The writer takes the flag away as it wakes, so a park costs at most one wake at whatever rate
//! is published, and a reader that is awake costs the writer one load of a line it has already.

use super::primitive::{AtomicBool, Ordering, Side, full_fence};

/// Ends the sleep of one reader. In production an eventfd that the reader's driver polls.
///
/// A wake must be remembered: one that comes before the sleep begins has to end that sleep.
pub trait Wake: Send + Sync {
    /// Called on the writer's thread; must not wait.
    fn wake(&self);
}

/// One reader's flag.
pub(super) struct Parker {
    /// Whether the reader sleeps or is about to, and has not been woken.
    ///
    /// All accesses are Relaxed: the fences above do the ordering, and no data is handed over
    /// through the flag. That a wake is given at most once follows from the writer's
    /// compare-exchange alone: of one `true` only one modification comes next.
    parked: AtomicBool,
}

impl Parker {
    pub(super) fn new() -> Self {
        Self { parked: AtomicBool::new(false) }
    }

    /// The reader's side: sleeps unless `is_news` says, asked after the flag is up, that there is
    /// something to read. The flag is down again afterwards, even if `sleep` panics.
    pub(super) fn park<R>(
        &self,
        is_news: impl FnOnce() -> bool,
        sleep: impl FnOnce() -> R,
    ) -> Option<R> {
        /// Lowers the flag. A wake that was on its way already finds no sleeper, ends a later
        /// sleep early, and is harmless. A swap where a store would do: loom does not know that a
        /// store cannot come between a compare-exchange and what it read, and would report a lost
        /// wake that no machine can lose. It costs a few nanoseconds per park.
        struct Lower<'a>(&'a AtomicBool);
        impl Drop for Lower<'_> {
            fn drop(&mut self) {
                self.0.swap(false, Ordering::Relaxed);
            }
        }

        self.parked.store(true, Ordering::Relaxed); // (1)
        let _lower = Lower(&self.parked);
        full_fence(Side::Reader);
        if is_news() { None } else { Some(sleep()) } // (2)
    }

    /// The writer's side: whether the reader is parked. Only a hint, but one that is never missing
    /// after [`Self::before_looking`].
    #[inline]
    pub(super) fn is_parked(&self) -> bool {
        self.parked.load(Ordering::Relaxed) // (B)
    }

    /// The writer's side: takes the flag away, and says whether it was up: true at most once per
    /// park, and whoever is told so wakes the reader.
    pub(super) fn claim_wake(&self) -> bool {
        self.parked.compare_exchange(true, false, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// The writer's side, between (A) and (B) for all parkers at once.
    #[inline]
    pub(super) fn before_looking() {
        full_fence(Side::Writer);
    }
}
