//! What a state has at hand while it is called.

use fanfare_protocol::http::HttpDate;

use super::outbox::Outbox;
use super::shared::Shared;
use crate::clock::Millis;

/// Where it writes what only its client gets, the time from which what begins now runs, and what
/// all sessions of the shard have together.
pub(crate) struct Here<'a> {
    /// The client's private bytes, if any wait.
    pub(super) outbox: &'a mut Option<Box<Outbox>>,
    pub(super) now: Millis,
    pub(super) shared: &'a mut Shared,
}

impl Here<'_> {
    /// Where private bytes are written.
    pub(super) fn private(&mut self) -> &mut Vec<u8> {
        self.outbox.get_or_insert_default().writer()
    }

    /// The same for a few bytes that are gone in a moment, as a pong or a heartbeat is: the memory
    /// goes round.
    pub(super) fn brief(&mut self) -> &mut Vec<u8> {
        self.shared.spare.lend(self.outbox);
        self.private()
    }

    /// Whether private bytes wait.
    pub(super) fn has_private(&self) -> bool {
        self.outbox.as_ref().is_some_and(|outbox| !outbox.is_empty())
    }

    /// Takes back what was written for the client and of which nothing was sent.
    pub(super) fn take_private(&mut self) -> Vec<u8> {
        self.outbox.take().map(|outbox| outbox.into_unsent()).unwrap_or_default()
    }

    /// The `Date` of an answer that is written now.
    pub(super) fn date(&mut self) -> HttpDate {
        self.shared.date(self.now)
    }
}
