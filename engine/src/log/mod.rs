//! The log that decides the order: what is published stands in it, in records, and is placed by the
//! sequencer in the order in which it stands there.
//!
//! Deciding is one thing and applying another. The sequencer offers what it was asked to publish,
//! reads what stands in the log, and gives each item the place that the log says. So it assigns no
//! position itself, and whoever reads the same log computes the same offsets, duplicates and lives
//! of channels.
//!
//! A *record* is what one node appends in one piece. It has a number, counted from 1, and a time;
//! its items are numbered from 0. A **position** is the record's number times [`RECORD_ITEMS`] plus
//! the item's number: strictly increasing, never promised dense.

pub mod interrupted;
pub mod memory;
mod thread_waker;

use fanfare_protocol::id::Epoch;
use fanfare_protocol::record::Secret;

use crate::clock::Millis;
use crate::presence::Presence;
use crate::sequencer::command::Publication;

pub use interrupted::{Epochs, Interrupted, Others};
pub use memory::Memory;
pub use thread_waker::ThreadWaker;

/// Positions of one record. The last one is never given: a record may hold one item less, so that
/// its length fits its count.
pub const RECORD_ITEMS: u64 = 4_096;

/// What stands in the log.
pub struct Item<T> {
    /// Where it stands. What the log of one node says for itself takes no place: it has that of
    /// what stands before it.
    pub position: u64,
    /// The time of its record; never goes back along the log. Whatever must come out the same
    /// wherever the log is read is judged by this time and by no other.
    pub at: Millis,
    /// What it says.
    pub event: LogEvent<T>,
}

/// What an item of the log says.
pub enum LogEvent<T> {
    /// Something was published.
    Published {
        /// What it is.
        publication: Publication,
        /// What was given with it, where this node offered it.
        ticket: Option<T>,
    },
    /// Somebody came to a channel or left it.
    Presence(Presence),
    /// Time has passed.
    Heartbeat,
    /// The order begins anew: the log cannot prove that it goes on from what was read before.
    /// Lives, keys and history are gone with the epoch that they belong to. Positions go on, so
    /// that those of one connection rise whatever epoch they belong to: a log that counts its
    /// records anew is to be read with that added.
    Genesis {
        /// What the order is called from here on.
        epoch: Epoch,
        /// What digests of idempotency keys are made under from here on.
        secret: Secret,
    },
}

/// Whether a log takes an offer now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Readiness {
    /// It does.
    Ready,
    /// It has as much as it may hold: later, when it wakes by its [`ThreadWaker`].
    Full,
    /// Never again. What was offered and not given back is lost, or nobody knows.
    Failed,
}

/// Who decides the order. `T` is what a node wants back with its own items.
///
/// A log may do its work elsewhere, on a thread or at a broker: no call waits. What one step of the
/// order offers it makes one record of, if it can, and while that is on its way collects the next.
/// The defaults are those of a log where each call does all there is to do.
pub trait Log<T> {
    /// Called once, before anything else. It is to wake by `_waker` whenever there is something new
    /// for whoever sleeps: an item, an offer that is lost, room for more.
    fn wake_by(&mut self, _waker: ThreadWaker) {}

    /// Whether it takes an offer now. It is asked before each, and bounds what it holds by the
    /// answer.
    fn readiness(&self) -> Readiness {
        Readiness::Ready
    }

    /// Offers what is to stand in the log. [`Log::next`] gives it back once it does; what one node
    /// offers stands in the order in which it was offered.
    fn offer(&mut self, publication: Publication, ticket: T, now: Millis);

    /// Offers, and takes the next item: this very one, where what is offered stands at once.
    /// Nothing waited to be read before.
    fn offer_next(&mut self, publication: Publication, ticket: T, now: Millis) -> Option<Item<T>> {
        self.offer(publication, ticket, now);
        self.next()
    }

    /// The end of a step, in which something may have been offered: that is to go on its way.
    fn submit(&mut self) {}

    /// Lets the log say that time has passed, where it would not by itself: something is due. A
    /// [`LogEvent::Heartbeat`] of now or later follows; until it was read, it is not asked for
    /// again.
    fn pass(&mut self, now: Millis);

    /// Takes the next item, whoever offered it; `None` where the end of the log was reached.
    fn next(&mut self) -> Option<Item<T>>;

    /// Takes the ticket of what was offered and will not stand in the log, or of which nobody will
    /// know, in the order in which it was offered. A log that gives one has failed: of what was
    /// offered here, [`Log::next`] gives nothing any more.
    fn take_lost(&mut self) -> Option<T> {
        None
    }
}
