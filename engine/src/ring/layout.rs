//! The memory that writer and readers share, and what each of its atomics orders.
//!
//! ```text
//!  head    | u64 | padding to a line of its own         written by the writer, read by all
//!  seats   | cursor | padding || parked | padding       one for each reader
//!  slots   | mask | item ... || mask | item ... ||      each begins a cache line
//! ```
//!
//! * A seat's cursor and its parked flag lie on two lines: the writer looks at every flag each
//!   time it publishes and at the cursors only when it needs room, so a reader that moves its
//!   cursor must not take the flag's line away.
//! * A slot begins a line and its mask comes first: a reader that skips touches that line only,
//!   one that takes a small item no other, and the writer at the head shares no line with readers
//!   behind it. All walk the slots in order, which the hardware's prefetcher knows; explicit
//!   prefetches would only repeat it.

use std::mem::MaybeUninit;

use crossbeam_utils::CachePadded;

use super::parker::Parker;
use super::primitive::{AtomicU64, Ordering, UnsafeCell};

/// The cursor of a reader that is gone: behind nothing, for ever. Sequence numbers do not get
/// there: at a thousand million entries a second it takes five hundred years.
pub(super) const GONE: u64 = u64::MAX;

/// What all sides hold.
pub(super) struct SharedRing<T> {
    /// Entries that are published, ever. Only the writer stores.
    ///
    /// Store: Release in `Writer::publish`. Load: Acquire in `Reader::drain`. What the writer put
    /// into slots before is seen by whoever read them through it. The loads of `Reader::waiting`
    /// and in a park are Relaxed: they touch no slot.
    pub(super) head: CachePadded<AtomicU64>,
    /// One for each reader.
    pub(super) seats: Box<[ReaderState]>,
    /// Entry `n` lies in slot `n & (slots - 1)`.
    slots: Box<[Slot<T>]>,
    /// First entry that the writer still held when it was dropped: what is left to drop here.
    /// Relaxed: stored by the writer's drop, loaded by the last owner's; the `Arc` orders the two.
    left: AtomicU64,
}

/// One reader, as the writer sees it.
pub(super) struct ReaderState {
    /// Entries that the reader has passed, or [`GONE`]. Only its reader stores.
    ///
    /// Store: Release when a drain ends and when the reader is dropped. Load: Acquire in
    /// `Writer::release`. The reader's last look into a slot happens before the slot's item is
    /// dropped and the slot is written again. Loads that only count a lag are Relaxed.
    pub(super) cursor: CachePadded<AtomicU64>,
    /// Whether it sleeps.
    pub(super) parker: CachePadded<Parker>,
}

/// One place of the ring.
#[repr(C, align(64))]
struct Slot<T> {
    /// The readers that this entry is for: bit `n` is reader `n`.
    mask: UnsafeCell<u64>,
    /// Initialized exactly for the entries from the writer's `tail` up to its `next`.
    item: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: items are dropped on whatever thread drops the last owner (hence `T: Send`) and borrowed
// by all readers at once (hence `T: Sync`). The cells are accessed by the rules of the unsafe
// methods below, which the gate (`head`, `cursor`) enforces across threads.
unsafe impl<T: Send + Sync> Sync for SharedRing<T> {}
// SAFETY: as above; it holds nothing that is bound to a thread.
unsafe impl<T: Send + Sync> Send for SharedRing<T> {}

impl<T> SharedRing<T> {
    pub(super) fn new(entries: usize, readers: usize) -> Self {
        Self {
            head: CachePadded::new(AtomicU64::new(0)),
            seats: (0..readers).map(|_| ReaderState::new()).collect(),
            slots: (0..entries).map(|_| Slot::new()).collect(),
            left: AtomicU64::new(0),
        }
    }

    pub(super) fn entries(&self) -> u64 {
        self.slots.len() as u64
    }

    fn slot(&self, number: u64) -> &Slot<T> {
        &self.slots[(number & (self.entries() - 1)) as usize]
    }

    /// Puts entry `number` into its slot.
    ///
    /// # Safety
    /// The caller is the writer, `number` is not published, and the slot's former item has been
    /// taken away by [`Self::discard`] (or there was none): so no reader looks into it.
    pub(super) unsafe fn put(&self, number: u64, mask: u64, item: T) {
        let slot = self.slot(number);
        // SAFETY: nobody else accesses the slot, says the caller.
        slot.mask.with_mut(|place| unsafe { *place = mask });
        // SAFETY: as above. The place is vacant, so nothing is overwritten without its drop.
        slot.item.with_mut(|place| unsafe { (*place).write(item) });
    }

    /// Shows entry `number` to `take` if it is for the readers of `mask`; else reads its mask only.
    ///
    /// # Safety
    /// The entry is published, the caller saw that with Acquire, and its cursor is not past it.
    #[inline]
    pub(super) unsafe fn look(&self, number: u64, mask: u64, take: &mut impl FnMut(&T)) {
        let slot = self.slot(number);
        // SAFETY: the mask was written before `head` was stored with Release, and is written again
        // only after this reader's cursor has passed the entry.
        if slot.mask.with(|place| unsafe { *place }) & mask != 0 {
            // SAFETY: as for the mask; and whatever is published and not released is initialized.
            slot.item.with(|place| take(unsafe { (*place).assume_init_ref() }));
        }
    }

    /// Drops the item of entry `number`, leaving its slot vacant.
    ///
    /// # Safety
    /// The entry was put and not yet discarded, and no reader looks at it now or later: every
    /// cursor is past it (seen with Acquire), or it was never published, or the caller is the last
    /// owner.
    pub(super) unsafe fn discard(&self, number: u64) {
        // SAFETY: initialized and not accessed by anyone else, says the caller.
        self.slot(number).item.with_mut(|place| unsafe { (*place).assume_init_drop() });
    }

    /// The writer's last word: entries from `tail` up to `head` are left in the ring.
    ///
    /// # Safety
    /// The caller is the writer, which calls nothing else afterwards, and exactly the entries from
    /// `tail` up to `head` are put and not discarded.
    pub(super) unsafe fn leave(&self, tail: u64) {
        self.left.store(tail, Ordering::Relaxed);
    }
}

impl<T> Drop for SharedRing<T> {
    fn drop(&mut self) {
        // Relaxed: the `Arc` orders everything that other owners did before this.
        let head = self.head.load(Ordering::Relaxed);
        let left = self.left.load(Ordering::Relaxed);
        for number in left..head {
            // SAFETY: the writer said that these are left; nobody else is there to look.
            unsafe { self.discard(number) };
        }
    }
}

impl ReaderState {
    fn new() -> Self {
        Self {
            cursor: CachePadded::new(AtomicU64::new(0)),
            parker: CachePadded::new(Parker::new()),
        }
    }

    /// Published entries that the reader has not passed when `head` are published; 0 when it is
    /// gone. May be stale, which makes it too large, never too small.
    pub(super) fn lag(&self, head: u64) -> u64 {
        head.saturating_sub(self.cursor.load(Ordering::Relaxed))
    }
}

impl<T> Slot<T> {
    fn new() -> Self {
        Self { mask: UnsafeCell::new(0), item: UnsafeCell::new(MaybeUninit::uninit()) }
    }
}
