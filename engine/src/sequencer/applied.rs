//! How much of the log was applied, and what was assigned up to there.

use fanfare_protocol::id::{Epoch, Id};
use fanfare_protocol::record::checkpoint::Begin;

use super::times::Times;
use crate::clock::Millis;

/// Spreads what the hash of the state takes in: 2^64 over the golden ratio, which is odd.
const ODD_RANDOM: u64 = 0x9e37_79b9_7f4a_7c15;

/// The last place of the log that was applied, and what is a function of all before it.
pub(super) struct Applied {
    pub(super) epoch: Epoch,
    /// The last position.
    pub(super) position: u64,
    /// The log's time there.
    pub(super) at: Millis,
    /// A rolling hash of what was assigned: every message's position and offset.
    pub(super) state: u64,
    /// The last position of any life of a channel that ended.
    pub(super) watermark: u64,
    /// Which positions were placed when.
    pub(super) times: Times,
}

impl Applied {
    /// Nothing of the log.
    pub(super) fn nothing(epoch: Epoch) -> Self {
        Self { epoch, position: 0, at: Millis(0), state: 0, watermark: 0, times: Times::default() }
    }

    /// As a checkpoint of this epoch says.
    pub(super) fn restore(&mut self, epoch: Epoch, begin: &Begin) {
        (self.epoch, self.position) = (epoch, begin.position);
        (self.at, self.state) = (Millis(begin.at), begin.state);
        self.watermark = begin.watermark;
        if let Some(at) = begin.epoch_began {
            self.times.begin_epoch(Millis(at));
        }
    }

    /// The last place, as clients see it.
    pub(super) fn id(&self) -> Id {
        Id { epoch: self.epoch, position: self.position }
    }

    /// The next item of the log stands here.
    pub(super) fn advance(&mut self, position: u64, at: Millis) {
        debug_assert!(position > self.position, "positions rise along the log");
        (self.position, self.at) = (position, at);
    }

    /// The log says that it is this time; it may say so at a position that something else has.
    pub(super) fn advance_time(&mut self, position: u64, at: Millis) {
        (self.position, self.at) = (self.position.max(position), at);
    }

    /// Another epoch begins here: no life goes on.
    pub(super) fn begin_epoch(&mut self, id: Id, at: Millis) {
        self.advance(id.position, at);
        (self.epoch, self.watermark) = (id.epoch, id.position);
        self.times.begin_epoch(at);
        self.note_assigned(id.epoch.number() ^ id.position.rotate_left(32));
    }

    /// Notes in the hash of the state what was assigned.
    pub(super) fn note_assigned(&mut self, what: u64) {
        self.state = (self.state ^ what).wrapping_mul(ODD_RANDOM).rotate_left(29);
    }
}
