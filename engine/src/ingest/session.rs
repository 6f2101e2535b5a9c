//! One publisher's session: what is known of it beyond its connection, which moves from one to the
//! next with it.

use fanfare_protocol::ingest::session::{Open, SessionId};

use super::ledger::Ledger;

/// What is known of a publisher beyond its connection.
#[derive(Debug)]
pub struct PublisherSession {
    /// Names it among all of this node's life.
    pub(super) number: u64,
    /// Its name on the wire; `None` where it ends with its connection.
    pub(super) id: Option<SessionId>,
    /// Who opened it.
    pub(super) user: u32,
    pub(super) ledger: Ledger,
}

impl PublisherSession {
    /// Takes it from a connection, which has none from here on.
    pub(super) fn take(&mut self) -> Self {
        let none = Self { number: 0, id: None, user: self.user, ledger: Ledger::default() };
        std::mem::replace(self, none)
    }
}

/// Who asks for a session.
#[derive(Clone, Copy, Debug)]
pub(super) struct SessionRequest {
    pub(super) open: Open,
    pub(super) user: u32,
}
