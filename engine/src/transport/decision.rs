//! What is to be done about a request.

use fanfare_protocol::http::{Ending, Violation};

use super::door::HoldRequest;
use super::follow_body::PendingFollow;
use super::follow_request::FollowRequest;
use super::token_request::TokenRequest;
use crate::sequencer::command::Publication;
use crate::session_id::SessionId;

/// What is to be done about a request.
#[derive(Debug)]
pub enum Decision {
    /// It was answered; whether another may follow.
    Answered(Ending),
    /// It was refused, for this; whether another may follow.
    Refused(Violation, Ending),
    /// Ask the sequencer to follow channels.
    Follow(Box<FollowRequest>),
    /// Read a body of this length, then publish.
    Publish(Box<Publication>, usize),
    /// Read a body of this length, which says what to follow.
    Read(Box<PendingFollow>, usize),
    /// Do what it asks for with its token.
    Token(Box<TokenRequest>),
    /// Hold it for a session.
    Hold(Box<HoldRequest>),
    /// Read a body of this length, and bring it to a session.
    Bring {
        /// To which.
        session: SessionId,
        /// The origin of the page that may read the answer.
        origin: Option<Box<str>>,
        /// Of the body.
        length: usize,
    },
}
