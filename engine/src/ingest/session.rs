//! One publisher's session: what is known of it beyond its connection, which moves from one to the
//! next with it.

use fanfare_protocol::ingest::session::{Open, SessionId};

use super::ledger::Ledger;

/// What is known of a publisher beyond its connection.
#[derive(Debug)]
pub struct Session {
    /// Names it among all of this node's life.
    pub(super) number: u64,
    /// Its name on the wire; `None` where it ends with its connection.
    pub(super) id: Option<SessionId>,
    /// Who opened it.
    pub(super) user: u32,
    pub(super) ledger: Ledger,
}

impl Session {
    /// Stands where a session was that is elsewhere now.
    pub(super) fn none(user: u32) -> Self {
        Self { number: 0, id: None, user, ledger: Ledger::default() }
    }
}

/// Who asks for a session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) open: Open,
    pub(super) user: u32,
}
