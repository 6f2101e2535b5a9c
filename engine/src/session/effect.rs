//! What a session wants of its shard.

use std::sync::Arc;

use fanfare_identity::Identity;
use fanfare_identity::keys::EndpointId;

use super::whole_answer::WholeAnswer;
use crate::bodies::BodyShare;
use crate::channel::{ChannelId, ChannelName};
use crate::driver::{Close, Token};
use crate::origin::Named;
use crate::sequencer::command::{Publication, Since};
use crate::transport::door::HoldRequest;
use crate::transport::input::BroughtMessage;

/// What a session wants of its shard: done in order, after the call that led to it.
#[derive(Debug)]
pub(crate) enum Effect {
    /// A visit of its own: something private waits for the client, or nothing does and the visit
    /// finds it so ([`super::Session::drained`]).
    Visit,
    /// Ask the sequencer to follow these channels.
    Follow {
        /// The session's number for it.
        request: u32,
        /// Each channel with where to begin; no name twice, and none that is followed already.
        channels: Box<[(ChannelName, Since)]>,
    },
    /// Ask the sequencer to publish this.
    Publish {
        /// The session's number for it.
        request: u32,
        /// What.
        publication: Box<Publication>,
        /// What its payload costs until it is answered.
        body: BodyShare,
    },
    /// Follow this channel no longer.
    Unfollow(ChannelId),
    /// Follow nothing any longer.
    UnfollowAll,
    /// Hold this request for a session. Done when no batch of sends is under way.
    Hold(Box<HoldRequest>),
    /// What a request that is held has to say by itself is sent, the head of a stream or an answer:
    /// its session may go on.
    Carries(Token),
    /// Answer the request that is held for this session with this.
    Answer(Box<WholeAnswer>),
    /// Let go of the request that is held for this session.
    LetGo,
    /// Its WebSocket takes over the client that it knocks for.
    TakeOver,
    /// Bring this to a session, and tell the client what became of it.
    Bring(Box<BroughtMessage>),
    /// Ask this endpoint for its keys, and say when that was done.
    WantKeys(EndpointId),
    /// It has shown a new token: ask again whether what it follows may be followed.
    AskAgain,
    /// Bring a new token's identity to a connection of any shard, and tell the client what became
    /// of it.
    Refresh(Named, Arc<Identity>),
    /// The head of a request is whole: its address may begin another connection.
    HeadDone,
    /// A request has its answer, and the connection waits for the next one.
    Served,
    /// End the socket, and the session.
    End(Close),
}
