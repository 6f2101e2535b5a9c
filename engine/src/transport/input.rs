//! What a connection has begun to say. `None` between requests and between frames, so that an idle
//! connection owns no buffer.

use std::sync::Arc;

use fanfare_protocol::http::{self, Fed, HeadReader};
use fanfare_protocol::limits::HttpLimits;
use fanfare_protocol::ws::{Receiver, Role};

use super::follow_body::PendingFollow;
use super::request::is_poll;
use super::token_message::TokenMessage;
use crate::bodies::{Bodies, BodySender, BodyShare};
use crate::clock::Millis;
use crate::limits::Limits;
use crate::sequencer::command::Publication;
use crate::session_id::SessionId;

/// What a body is for.
#[derive(Debug)]
pub enum Purpose {
    /// It is a message of the playground's: this is everything but its data.
    Publish(Box<Publication>),
    /// It says what to follow.
    Follow(Box<PendingFollow>),
    /// It is for a session.
    Bring {
        /// Which one.
        session: SessionId,
        /// The origin of the page that may read the answer.
        origin: Option<Box<str>>,
    },
}

/// The body of a request; it grows as it arrives.
#[derive(Debug)]
pub struct Body {
    /// What it is for.
    pub purpose: Purpose,
    /// Bytes that arrived.
    pub data: Vec<u8>,
    /// Bytes that were declared, within the configured size.
    pub length: usize,
    /// What the memory of `data` costs.
    pub share: BodyShare,
}

impl Body {
    /// A body of `length`, of which nothing is here.
    pub fn new(purpose: Purpose, length: usize) -> Self {
        Self { purpose, data: Vec::new(), length, share: BodyShare::default() }
    }

    /// Takes as many of `bytes` as belong to it and returns how many that were; `None` where bodies
    /// have no room. Memory is paid for before it is there, and grows with what came, not to what
    /// was declared.
    pub fn take(&mut self, bytes: &[u8], bodies: &Arc<Bodies>, limits: &Limits) -> Option<usize> {
        let taken = bytes.len().min(self.length - self.data.len());
        let (needed, there) = (self.data.len() + taken, self.data.capacity());
        if needed > there {
            let capacity = needed.max(2 * there).min(self.length);
            if !self.share.grow(bodies, capacity - there, BodySender::Stranger, limits) {
                return None;
            }
            self.data.reserve_exact(capacity - self.data.len());
        }
        self.data.extend_from_slice(&bytes[..taken]);
        Some(taken)
    }

    /// The origin of the page that sends it and may read the answer, as in
    /// [`super::follow_request::FollowHead::origin`]. The playground is read by pages of its own
    /// origin alone.
    pub fn reader(&self) -> Option<&str> {
        match &self.purpose {
            Purpose::Publish(_) => None,
            Purpose::Follow(pending) => pending.head.origin.as_deref(),
            Purpose::Bring { origin, .. } => origin.as_deref(),
        }
    }

    /// Whether all of it is here.
    pub fn is_whole(&self) -> bool {
        self.data.len() == self.length
    }
}

/// A whole message that a request brings to a session.
#[derive(Debug)]
pub struct BroughtMessage {
    /// To which.
    pub session: SessionId,
    /// What the client says.
    pub data: Vec<u8>,
    /// What its memory costs until the session has taken it.
    pub share: BodyShare,
}

/// What came behind a request: the next requests, or frames before our 101. While there is any,
/// nothing more is read of that client, so it is at most what one receive brings; and of many
/// requests each is taken from its front, so none is copied for those before it.
#[derive(Debug)]
pub struct Early {
    bytes: Box<[u8]>,
    taken: usize,
}

impl Early {
    /// Keeps a copy of these.
    pub fn new(bytes: &[u8]) -> Self {
        Self { bytes: bytes.into(), taken: 0 }
    }

    /// What is left.
    pub fn rest(&mut self) -> &mut [u8] {
        &mut self.bytes[self.taken..]
    }

    /// Bytes of memory of its own.
    pub fn memory(&self) -> usize {
        self.bytes.len()
    }

    /// Whether one of the requests that are whole in what is left is a poll.
    pub fn holds_poll(&self, limits: &HttpLimits) -> bool {
        let mut rest = &self.bytes[self.taken..];
        loop {
            let mut reader = HeadReader::new();
            let Ok(Fed::Complete { taken }) = reader.feed(rest, limits) else { return false };
            let Ok(request) = reader.request(limits) else { return false };
            if is_poll(&request) {
                return true;
            }
            let body_bytes = match request.body {
                http::Body::None => 0,
                http::Body::Length(length) => usize::try_from(length).unwrap_or(usize::MAX),
                http::Body::Chunked => return false, // it is refused, and nothing comes after it
            };
            let Some(next) = rest[taken..].get(body_bytes..) else { return false };
            rest = next;
        }
    }

    /// The first `count` of what is left were taken. Whether more is left.
    pub fn advance(&mut self, count: usize) -> bool {
        self.taken += count;
        self.taken < self.bytes.len()
    }
}

/// A WebSocket client in the middle of a frame or a message.
#[derive(Debug)]
pub struct Frames {
    /// The machine.
    pub receiver: Receiver,
    /// When the message must be whole.
    pub due: Millis,
    /// What it has said of a message that may bring a token.
    pub token: TokenMessage,
}

impl Frames {
    /// Nothing was said yet.
    pub fn new(due: Millis) -> Self {
        Self { receiver: Receiver::new(Role::Server), due, token: TokenMessage::new() }
    }

    /// Bytes of memory.
    pub fn memory(&self) -> usize {
        size_of::<Self>() + self.token.memory()
    }
}
