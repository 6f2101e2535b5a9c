//! The reading end: a cursor of its own over entries that all share.

use super::layout::{GONE, SharedRing};
use super::primitive::{Arc, Ordering};

/// One reader. Dropping it lets the writer go on without it.
pub struct Reader<T> {
    shared: Arc<SharedRing<T>>,
    number: u8,
    /// Entries passed; what this reader's seat says outside of a drain.
    cursor: u64,
    /// `head` when last looked: entries before it are read without touching the writer's line.
    seen: u64,
}

impl<T> Reader<T> {
    pub(super) fn new(shared: Arc<SharedRing<T>>, number: u8) -> Self {
        Self { shared, number, cursor: 0, seen: 0 }
    }

    /// Its bit in the interest mask.
    pub fn number(&self) -> u8 {
        self.number
    }

    /// Passes up to `max` entries and calls `take` for those that are addressed to this reader, in
    /// order. Returns how many were passed: skipped ones count too, at a few nanoseconds each.
    ///
    /// The writer sees the cursor move once, at the end. If `take` panics, the entry that it was
    /// given counts as passed: it is not given again, and nothing before it is either.
    pub fn drain(&mut self, max: usize, mut take: impl FnMut(&T)) -> usize {
        self.drain_while(max, |item| {
            take(item);
            true
        })
    }

    /// As [`Reader::drain`], but the entry for which `take` says no is the last one.
    pub fn drain_while(&mut self, max: usize, mut take: impl FnMut(&T) -> bool) -> usize {
        let from = self.cursor;
        if self.seen - from < max as u64 {
            // Acquire: see `SharedRing::head`.
            self.seen = self.shared.head.load(Ordering::Acquire);
        }
        let to = self.seen.min(from.saturating_add(max as u64));
        if from == to {
            return 0;
        }
        let mask = 1 << self.number;
        let mut wants_more = true;
        let progress = Progress { reader: self };
        for number in from..to {
            // Before the call, so that a panic in it leaves the entry behind.
            progress.reader.cursor = number + 1;
            let mut take = |item: &T| wants_more = take(item);
            // SAFETY: `number` lies before `seen`, which was loaded with Acquire, and the cursor
            // that the writer sees stays at `from` until `progress` is dropped.
            unsafe { progress.reader.shared.look(number, mask, &mut take) };
            if !wants_more {
                break;
            }
        }
        let passed = progress.reader.cursor - from;
        passed as usize
    }

    /// Published entries that this reader has not passed, for it or not.
    pub fn waiting(&self) -> u64 {
        // Relaxed: only counted; `drain` looks again before it reads.
        self.shared.head.load(Ordering::Relaxed) - self.cursor
    }

    /// Sleeps until the writer wakes this reader, or whatever else ends `sleep`. `None` when there
    /// was something to read already and `sleep` was not called.
    ///
    /// Entries for other readers do not end the sleep until they fill half the ring, so `waiting`
    /// may be above zero during it.
    pub fn park<R>(&self, sleep: impl FnOnce() -> R) -> Option<R> {
        self.shared.seats[usize::from(self.number)].parker.park(|| self.waiting() > 0, sleep)
    }
}

impl<T> Drop for Reader<T> {
    fn drop(&mut self) {
        // Release: as every move of the cursor, see `ReaderState::cursor`.
        self.shared.seats[usize::from(self.number)].cursor.store(GONE, Ordering::Release);
    }
}

/// Shows the writer how far a drain came, however it ended.
struct Progress<'a, T> {
    reader: &'a mut Reader<T>,
}

impl<T> Drop for Progress<'_, T> {
    fn drop(&mut self) {
        let Reader { shared, number, cursor, .. } = &*self.reader;
        // Release: see `ReaderState::cursor`. No borrow of an item outlives its call of `take`.
        shared.seats[usize::from(*number)].cursor.store(*cursor, Ordering::Release);
    }
}
