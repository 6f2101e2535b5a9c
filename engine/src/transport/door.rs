//! Requests of a client protocol that brings one client over many sockets: one request is held for
//! what the client is told, others bring what it says.
//!
//! Such a client is a session that is apart from its sockets. The request that is held may end and
//! be followed by the next; whatever brings bytes may come to another shard.

use fanfare_protocol::dialect::Encoding;
use fanfare_protocol::http::{Body, ContentType, Request, Violation};

use super::Context;
use super::follow_request::takes_chunks;
use super::request::Decision;
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

/// A request that is to be held.
#[derive(Debug)]
pub struct HoldRequest {
    /// For whom; none where a client begins.
    pub session: Option<SessionId>,
    /// How.
    pub hold: Hold,
    /// The origin of the page that asks and may read the answer.
    pub origin: Option<Box<str>>,
}

/// Decides about a request that is to do this.
///
/// # Errors
/// It is refused for this.
pub(super) fn decide(
    errand: Errand,
    request: &Request<'_>,
    context: &Context,
    reader: Option<&str>,
) -> Result<Decision, Violation> {
    let origin = reader.map(Box::from);
    let (session, hold) = match errand {
        Errand::Begin(hold) => (None, hold),
        Errand::Hold(session, hold) => (Some(session), hold),
        Errand::Bring(session) => {
            let Body::Length(length) = request.body else {
                return Err(Violation::LengthNeeded);
            };
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            let limits = &context.limits;
            if length > limits.ws.message_bytes.min(limits.message_bytes) {
                return Err(Violation::BodyTooLong);
            }
            return Ok(Decision::Bring { session, origin, length });
        }
    };
    request.without_body()?;
    if hold.once.is_none() && !takes_chunks(request) {
        return Err(Violation::HttpVersion);
    }
    Ok(Decision::Hold(Box::new(HoldRequest { session, hold, origin })))
}
