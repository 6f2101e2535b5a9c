//! What a state has at hand while it is called.

use fanfare_protocol::http::HttpDate;

use super::line::Line;
use super::outbox::private;
use super::shared::ShardResources;
use crate::channel::Tenant;
use crate::clock::Millis;

/// Where it writes what only its client gets, the time from which what begins now runs, and what
/// all sessions of the shard have together.
pub(crate) struct Here<'a> {
    /// What is on its way to the client.
    pub(super) line: &'a mut Line,
    pub(super) now: Millis,
    pub(super) shared: &'a mut ShardResources,
}

impl<'a> Here<'a> {
    /// For one call of the client at the end of this line.
    pub(super) fn new(line: &'a mut Line, now: Millis, shared: &'a mut ShardResources) -> Self {
        Self { line, now, shared }
    }

    /// Where private bytes are written.
    pub(super) fn private(&mut self) -> &mut Vec<u8> {
        private(&mut self.line.outbox)
    }

    /// The same for a few bytes that are gone in a moment, as a pong or a heartbeat is: the memory
    /// goes round.
    pub(super) fn brief(&mut self) -> &mut Vec<u8> {
        self.shared.spare.lend(&mut self.line.outbox);
        self.private()
    }

    /// Whether private bytes wait.
    pub(super) fn has_private(&self) -> bool {
        self.line.has_private()
    }

    /// Takes back what was written for the client and of which nothing was sent.
    pub(super) fn take_private(&mut self) -> Vec<u8> {
        self.line.outbox.take().map(|outbox| outbox.into_unsent()).unwrap_or_default()
    }

    /// Whose channels the client names.
    pub(super) fn tenant(&self) -> Tenant {
        self.shared.context.tenant_of(self.line.identity().map(|identity| &**identity))
    }

    /// Milliseconds since 1970.
    pub(super) fn unix_ms(&self) -> u64 {
        self.shared.context.wall.unix_millis(self.now)
    }

    /// The `Date` of an answer that is written now.
    pub(super) fn date(&mut self) -> HttpDate {
        self.shared.date(self.now)
    }
}
