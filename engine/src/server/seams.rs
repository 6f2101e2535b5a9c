//! Where parts that do not know each other meet: the ring wakes by eventfd, the sequencer writes
//! to the ring.

use crate::driver::waker::Waker;
use crate::ring::{Wake, Writer};
use crate::sequencer::command::Entry;
use crate::sequencer::Sink;

impl Wake for Waker {
    fn wake(&self) {
        Waker::wake(self);
    }
}

impl Sink for Writer<Entry> {
    fn has_room(&mut self, entries: usize, bytes: usize) -> bool {
        Writer::has_room(self, entries, bytes)
    }

    fn push(&mut self, mask: u64, bytes: usize, entry: Entry) {
        Writer::push(self, mask, bytes, entry);
    }

    fn publish(&mut self) {
        Writer::publish(self);
    }

    fn release(&mut self) -> usize {
        Writer::release(self)
    }

    fn wake_lagging(&mut self) {
        Writer::wake_lagging(self);
    }
}
