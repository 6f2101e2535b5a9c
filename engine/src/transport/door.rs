//! Requests of a client protocol that brings one client over many sockets: one request is held for
//! what the client is told, others bring what it says.
//!
//! Such a client is a session that is apart from its sockets. The request that is held may end and
//! be followed by the next; whatever brings bytes may come to another shard.

use std::sync::Arc;

use fanfare_identity::Identity;
use fanfare_protocol::dialect::Encoding;
use fanfare_protocol::dialect::machine::Machine;
use fanfare_protocol::http::{ContentType, Request, Violation};
use fanfare_protocol::ws::handshake::Switch;

use crate::session_id::SessionId;

/// Knows which requests are of its protocol.
pub trait Door: Send + Sync {
    /// What this request is to do; `None` where it is none of this protocol's. It was checked as
    /// any other: a page whose origin may not connect is refused whatever this says.
    fn errand(&self, request: &Request<'_>) -> Option<Result<Errand, Violation>>;
}

/// What a request of such a protocol is to do.
#[derive(Clone, Copy, Debug)]
pub enum Errand {
    /// A client begins, and this request is held for it.
    Begin(Hold),
    /// It is held for a client that is there.
    Hold(SessionId, Hold),
    /// It is a WebSocket that may take over a client that is there.
    Upgrade(SessionId, Upgrade),
    /// Its body is one whole message of a client that is there.
    Bring(SessionId),
}

/// How a request is held.
#[derive(Clone, Copy, Debug)]
pub struct Hold {
    /// How messages of what the client follows are encoded for it. Where the framing is another one
    /// than that of the request before, what waits for the client is written anew
    /// ([`fanfare_protocol::dialect::machine::Machine::reframe`]).
    pub encoding: Encoding,
    /// Whether it has one answer when there is something to tell. Otherwise it is a stream, in
    /// chunks.
    pub once: Option<Once>,
}

/// A request that has one answer, with its length, after which the connection may be used again.
#[derive(Clone, Copy, Debug)]
pub struct Once {
    /// How long it waits for something to tell, in milliseconds.
    pub wait_ms: u64,
    /// What the answer is.
    pub content_type: ContentType,
    /// What stands in it before the frames, of which the first has no separator before it.
    pub before: &'static str,
    /// What stands behind them.
    pub behind: &'static str,
    /// The whole answer where there is nothing to tell.
    pub nothing: &'static str,
}

/// A WebSocket for a client that came by other requests until then. It *knocks*: what it says is
/// heard by a machine of its own, and meanwhile whoever polls is answered at once, so that the
/// client can leave off. When that machine says so ([`Turn::take_over`]) the socket takes the
/// client over.
///
/// [`Turn::take_over`]: fanfare_protocol::dialect::machine::Turn::take_over
#[derive(Clone, Copy, Debug)]
pub struct Upgrade {
    /// How messages of what the client follows are encoded from then on.
    pub encoding: Encoding,
    /// Makes what hears the socket until then.
    pub knocker: fn() -> Box<dyn Machine>,
}

/// What a request is to be for a session.
#[derive(Clone, Copy, Debug)]
pub enum Carriage {
    /// It is held for one that begins with it.
    Begin(Hold),
    /// It is held for this one.
    Held(SessionId, Hold),
    /// It becomes a WebSocket that knocks for this one, with this answer to its key.
    Socket(SessionId, Upgrade, Switch),
}

/// A request that is to carry a session.
#[derive(Debug)]
pub struct HoldRequest {
    /// Which, and how.
    pub carriage: Carriage,
    /// The origin of the page that asks and may read the answer.
    pub origin: Option<Box<str>>,
    /// Whom a client speaks for that begins with it, or knocks; `None` is nobody in particular.
    pub identity: Option<Arc<Identity>>,
}

impl Hold {
    /// The same for a client that is to leave off asking: it waits for nothing.
    #[must_use]
    pub fn at_once(self) -> Self {
        Self { once: self.once.map(|once| Once { wait_ms: 0, ..once }), ..self }
    }
}

impl HoldRequest {
    /// The session that is there already.
    pub fn session(&self) -> Option<&SessionId> {
        match &self.carriage {
            Carriage::Begin(_) => None,
            Carriage::Held(session, _) | Carriage::Socket(session, ..) => Some(session),
        }
    }
}
