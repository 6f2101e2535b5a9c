//! What the sequencer asks of the broadcast ring, so that it can be tested without one.

use crate::ring::Writer;

use super::command::Entry;

/// The writing end of the one order.
pub trait Sink {
    /// Whether `entries` more, of `bytes` together, may be pushed now. A sink that holds nothing
    /// has room for any one command: at least four entries, of any size.
    fn has_room(&mut self, entries: usize, bytes: usize) -> bool;

    /// Appends an entry for the shards of `mask`, as promised by [`Sink::has_room`].
    fn push(&mut self, mask: u64, bytes: usize, entry: Entry);

    /// Tells the shards of `mask` of this, for which there is room.
    fn tell(&mut self, mask: u64, entry: Entry) {
        self.push(mask, entry.cost(), entry);
    }

    /// Makes visible what was pushed.
    fn publish(&mut self);

    /// Lets go of what all shards have read. Returns how many entries are still held.
    fn release(&mut self) -> usize;

    /// Wakes the shards for which the sequencer waits.
    fn wake_lagging(&mut self);

    /// Published entries that this shard has still to pass; 0 when it is gone, and when it sleeps,
    /// since nothing is there for it then.
    fn lag(&self, shard: usize) -> u64;
}

impl Sink for Writer<Entry> {
    fn has_room(&mut self, entries: usize, bytes: usize) -> bool {
        Self::has_room(self, entries, bytes)
    }

    fn push(&mut self, mask: u64, bytes: usize, entry: Entry) {
        Self::push(self, mask, bytes, entry);
    }

    fn publish(&mut self) {
        Self::publish(self);
    }

    fn release(&mut self) -> usize {
        Self::release(self)
    }

    fn wake_lagging(&mut self) {
        Self::wake_lagging(self);
    }

    fn lag(&self, shard: usize) -> u64 {
        if self.is_parked(shard) { 0 } else { Self::lag(self, shard) }
    }
}
