//! A log in memory that loses its continuity whenever it is told to, which is what a broker does
//! that lost its end, and in which others put things. For tests and the simulation; no node runs
//! it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fanfare_protocol::id::{Epoch, Id};
use fanfare_protocol::record::Secret;

use super::{Item, Log, LogEvent, Memory, RECORD_ITEMS};
use crate::clock::Millis;
use crate::presence::Presence;
use crate::sequencer::command::Publication;

/// Epochs that are to begin, each before whatever is read of the log next, and those that have.
#[derive(Clone, Debug, Default)]
pub struct Epochs(Arc<Mutex<Both>>);

#[derive(Debug, Default)]
struct Both {
    to_begin: VecDeque<Epoch>,
    begun: Vec<Id>,
}

impl Epochs {
    /// Lets this epoch begin. Whoever sleeps over the log has still to be woken, by any command.
    pub fn begin(&self, epoch: Epoch) {
        self.lock().to_begin.push_back(epoch);
    }

    /// Those that have begun since the last call, and where.
    pub fn take_begun(&self) -> Vec<Id> {
        std::mem::take(&mut self.lock().begun)
    }

    fn next(&self, position: u64) -> Option<Epoch> {
        let mut both = self.lock();
        let epoch = both.to_begin.pop_front()?;
        both.begun.push(Id { epoch, position });
        Some(epoch)
    }

    fn lock(&self) -> MutexGuard<'_, Both> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What other nodes put into the log: presence, for which no client of this one asks.
#[derive(Clone, Debug, Default)]
pub struct Others(Arc<Mutex<VecDeque<Presence>>>);

impl Others {
    /// They put this there. Whoever sleeps over the log has still to be woken, by any command.
    pub fn put(&self, presence: Presence) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(presence);
    }

    fn take(&self) -> Option<Presence> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

/// The log.
pub struct Interrupted<T> {
    memory: Memory<T>,
    epochs: Epochs,
    others: Others,
    /// The last position and time that were read, and what is added to the positions of `memory`.
    last: (u64, Millis),
    shift: u64,
}

impl<T> Interrupted<T> {
    /// One that is interrupted by these.
    pub fn by(epochs: Epochs) -> Self {
        let (memory, others) = (Memory::default(), Others::default());
        Self { memory, epochs, others, last: (0, Millis(0)), shift: 0 }
    }

    /// The same, in which these others put things, too.
    pub fn shared_with(self, others: Others) -> Self {
        Self { others, ..self }
    }
}

impl<T> Log<T> for Interrupted<T> {
    fn offer(&mut self, publication: Publication, ticket: T, now: Millis) {
        self.memory.offer(publication, ticket, now);
    }

    fn pass(&mut self, now: Millis) {
        self.memory.pass(now);
    }

    fn next(&mut self) -> Option<Item<T>> {
        let (last, at) = self.last;
        let position = last + RECORD_ITEMS; // in a record of its own
        if let Some(epoch) = self.epochs.next(position) {
            let secret = Secret([epoch.number() as u8; 16]);
            self.shift += RECORD_ITEMS;
            self.last = (position, at);
            return Some(Item { position, at, event: LogEvent::Genesis { epoch, secret } });
        }
        if let Some(presence) = self.others.take() {
            self.shift += RECORD_ITEMS;
            self.last = (position, at);
            return Some(Item { position, at, event: LogEvent::Presence(presence) });
        }
        let mut item = self.memory.next()?;
        item.position += self.shift;
        self.last = (item.position, item.at);
        Some(item)
    }
}
