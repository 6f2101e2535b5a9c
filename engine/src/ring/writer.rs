//! The writing end: stages, publishes, wakes, and takes back what all have read.
//!
//! The caller's loop, and its one rule: **publish before you wait for room**, or the room that you
//! wait for is taken by entries that nobody can see.
//!
//! 1. `while !has_room(..) { publish(); wake_lagging(); wait a little }`
//! 2. `push` once or more
//! 3. `publish`
//! 4. `release` now and then when idle, so that the last entries do not stay for ever

use std::sync::Arc as WakerArc;

use super::layout::{GONE, SharedRing};
use super::parker::{Parker, Wake};
use super::primitive::{Arc, Ordering};

/// The one writer. Dropping it drops what was staged and not published; readers can still read the
/// rest.
pub struct Writer<T> {
    shared: Arc<SharedRing<T>>,
    wakers: Box<[WakerArc<dyn Wake>]>,
    /// One bit for each reader.
    everyone: u64,
    /// First entry held: the slowest cursor when last looked at. Cursors are looked at again only
    /// where what is held leaves no room.
    tail: u64,
    /// What `SharedRing::head` says.
    published: u64,
    /// The next entry's number; from `published` up to here entries are staged.
    next: u64,
    /// Readers that are interested in what is staged.
    staged_for: u64,
    /// Bytes that the ring may hold.
    bytes_max: u64,
    /// Bytes of all entries ever pushed, and of those before `tail`.
    bytes_pushed: u64,
    bytes_released: u64,
    /// `bytes_pushed` after each held entry, by slot: any reader's lag in bytes is one subtraction.
    bytes_after: Box<[u64]>,
    /// Entries before this number may pass the byte budget: `has_room` found the ring empty and
    /// promised room for more than the ring holds.
    overdraft_end: u64,
}

impl<T> Writer<T> {
    pub(super) fn new(
        shared: Arc<SharedRing<T>>,
        bytes: usize,
        wakers: Box<[WakerArc<dyn Wake>]>,
    ) -> Self {
        Self {
            everyone: u64::MAX >> (64 - wakers.len()),
            tail: 0,
            published: 0,
            next: 0,
            staged_for: 0,
            bytes_max: bytes as u64,
            bytes_pushed: 0,
            bytes_released: 0,
            bytes_after: vec![0; shared.entries() as usize].into(),
            overdraft_end: 0,
            shared,
            wakers,
        }
    }

    /// Whether `entries` more, of `bytes` together, may be pushed now. Releases what all have read
    /// where that is needed to say yes. What is bigger than the whole byte budget fits when the
    /// ring is empty.
    ///
    /// # Panics
    /// When `entries` are more than the ring has: it would wait for ever.
    pub fn has_room(&mut self, entries: usize, bytes: usize) -> bool {
        let slots = self.shared.entries();
        assert!(
            entries as u64 <= slots,
            "{entries} entries never fit a ring of {slots}: push them in parts"
        );
        self.overdraft_end = 0;
        if !self.fits(entries, bytes) {
            self.release();
            if !self.fits(entries, bytes) {
                return false;
            }
        }
        if self.held() == 0 {
            self.overdraft_end = self.next + entries as u64;
        }
        true
    }

    /// Stages `item` for the readers of `mask` (bits without a reader mean nothing). An item for
    /// nobody takes no entry and is dropped here.
    ///
    /// # Panics
    /// Without room: ask [`Self::has_room`] first.
    pub fn push(&mut self, mask: u64, bytes: usize, item: T) {
        let mask = mask & self.everyone;
        if mask == 0 {
            return;
        }
        assert!(
            self.held() < self.shared.entries()
                && (self.next < self.overdraft_end || self.fits(1, bytes)),
            "pushed to a full broadcast ring: ask has_room first"
        );
        // SAFETY: `next` is not published. Its slot's former entry, if any, lies before `tail`
        // (fewer entries are held than there are slots), where everything is discarded.
        unsafe { self.shared.put(self.next, mask, item) };
        self.bytes_pushed += bytes as u64;
        let slot = self.slot(self.next);
        self.bytes_after[slot] = self.bytes_pushed;
        self.staged_for |= mask;
        self.next += 1;
    }

    /// Makes what is staged visible. Then wakes each parked reader that is interested in any of
    /// it, or that is half a ring behind, in entries or bytes: so nobody sleeps on the gate.
    pub fn publish(&mut self) {
        if self.published == self.next {
            return;
        }
        self.published = self.next;
        let interested = std::mem::take(&mut self.staged_for);
        // Release: see `SharedRing::head`.
        self.shared.head.store(self.published, Ordering::Release);
        Parker::before_looking();
        for (number, seat) in self.shared.seats.iter().enumerate() {
            if seat.parker.is_parked()
                && (interested & (1 << number) != 0 || self.is_half_behind(number))
                && seat.parker.claim_wake()
            {
                self.wakers[number].wake();
            }
        }
    }

    /// Drops the entries that all readers have passed. Returns how many are still held, staged
    /// ones included.
    pub fn release(&mut self) -> usize {
        // Acquire: see `ReaderState::cursor`.
        let cursors = self.shared.seats.iter().map(|seat| seat.cursor.load(Ordering::Acquire));
        let mut slowest = cursors.min().unwrap_or(GONE);
        if slowest == GONE {
            // No reader is left and none can come: nobody will see even what is staged.
            slowest = self.next;
        }
        while self.tail < slowest {
            let number = self.tail;
            // First, so that an item whose drop panics is not dropped again.
            self.tail += 1;
            self.bytes_released = self.bytes_after[self.slot(number)];
            // SAFETY: it was put, as `number < next`; not discarded, as `tail` was not past it; and
            // all cursors are.
            unsafe { self.shared.discard(number) };
        }
        self.held() as usize
    }

    /// Published entries that this reader has not passed, for it or not; 0 when it is gone.
    ///
    /// # Panics
    /// When there is no such reader.
    pub fn lag(&self, reader: usize) -> u64 {
        self.shared.seats[reader].lag(self.published)
    }

    /// Whether this reader sleeps. Asked by the writer's thread after [`Self::publish`], this means
    /// that nothing it has not passed is for it: whom an entry is for was woken then.
    ///
    /// # Panics
    /// When there is no such reader.
    pub fn is_parked(&self, reader: usize) -> bool {
        self.shared.seats[reader].parker.is_parked()
    }

    /// Wakes the parked readers that have not passed everything, interested or not. For a writer
    /// that waits for room: entries for others may fill less than half the ring behind a sleeper,
    /// and still be in the way.
    pub fn wake_lagging(&self) {
        // No fence: whoever sleeps behind an entry was seen parked when it was published, or would
        // have seen the entry; and an atomic never goes back to an older value for one thread.
        for (number, seat) in self.shared.seats.iter().enumerate() {
            if seat.parker.is_parked() && self.lag(number) > 0 && seat.parker.claim_wake() {
                self.wakers[number].wake();
            }
        }
    }

    fn held(&self) -> u64 {
        self.next - self.tail
    }

    fn fits(&self, entries: usize, bytes: usize) -> bool {
        let held = self.held();
        let bytes_held = self.bytes_pushed - self.bytes_released;
        held + entries as u64 <= self.shared.entries()
            && (held == 0 || bytes_held.saturating_add(bytes as u64) <= self.bytes_max)
    }

    /// Asked right after publishing, when nothing is staged.
    fn is_half_behind(&self, reader: usize) -> bool {
        let lag = self.lag(reader);
        if lag == 0 {
            return false;
        }
        // A cursor never goes back, so it is at `tail` or after it, and the entry before it is
        // held unless it is at `tail`.
        let cursor = self.published - lag;
        let bytes_passed = if cursor == self.tail {
            self.bytes_released
        } else {
            self.bytes_after[self.slot(cursor - 1)]
        };
        lag >= self.shared.entries().div_ceil(2)
            || self.bytes_pushed - bytes_passed >= self.bytes_max.div_ceil(2)
    }

    fn slot(&self, number: u64) -> usize {
        (number & (self.shared.entries() - 1)) as usize
    }
}

impl<T> Drop for Writer<T> {
    fn drop(&mut self) {
        self.release();
        for number in self.published.max(self.tail)..self.next {
            // SAFETY: put, not discarded (`tail` is not past it) and never published.
            unsafe { self.shared.discard(number) };
        }
        // SAFETY: this is the writer, and it ends here. What lies before `tail` is discarded, and
        // so is what was staged.
        unsafe { self.shared.leave(self.tail) };
    }
}
