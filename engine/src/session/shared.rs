//! What all sessions of a shard share, and the effects that they want done.

use std::collections::VecDeque;
use std::sync::Arc;

use fanfare_protocol::dialect::machine::Machines;
use fanfare_protocol::http::{Ending, HttpDate, Violation, response};

use super::complaints::Complaints;
use super::dates::Dates;
use super::outbox::Spare;
use super::whole_answer::WholeAnswer;
use crate::bodies::{Bodies, Share};
use crate::channel::{ChannelId, ChannelName};
use crate::clock::Millis;
use crate::driver::{Close, Token};
use crate::life::Life;
use crate::metrics::{Metrics, ShardMetrics};
use crate::sequencer::command::{Publication, Since};
use crate::transport::Context;
use crate::transport::door::{Door, HoldRequest};
use crate::transport::input::Brought;

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
        body: Share,
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
    Bring(Box<Brought>),
    /// The head of a request is whole: its address may begin another connection.
    HeadDone,
    /// End the socket, and the session.
    End(Close),
}

/// What every session of one shard uses.
pub(crate) struct Shared {
    /// What is true for all clients of the node.
    pub(crate) context: Arc<Context>,
    /// How the node is.
    pub(crate) life: Arc<Life>,
    /// Whether the order has ended: clients that have all they are owed are told goodbye.
    pub(crate) ending: bool,
    /// Whether the memory that clients have for themselves is used up: new requests are told to
    /// come back.
    pub(crate) is_full: bool,
    /// Outboxes that nobody uses.
    pub(crate) spare: Spare,
    /// Refusals that an operator is told of.
    pub(super) complaints: Complaints,
    metrics: Arc<Metrics>,
    shard: u8,
    machines: Option<Machines>,
    door: Option<Arc<dyn Door>>,
    dates: Dates,
    effects: VecDeque<Effect>,
}

impl Shared {
    /// For the sessions of shard `shard`. Without `machines` clients only listen.
    pub(crate) fn new(
        shard: u8,
        context: Arc<Context>,
        life: Arc<Life>,
        metrics: Arc<Metrics>,
        machines: Option<Machines>,
        door: Option<Arc<dyn Door>>,
    ) -> Self {
        let dates = Dates::new(context.wall);
        Self {
            context,
            life,
            ending: false,
            is_full: false,
            spare: Spare::default(),
            complaints: Complaints::default(),
            metrics,
            shard,
            machines,
            door,
            dates,
            effects: VecDeque::new(),
        }
    }

    /// Why nobody more is taken in now, if so: the node shuts down, there is no room for one more
    /// (`over_limit`), or no memory. Counts one client as turned away.
    pub(super) fn turns_away(&self, over_limit: bool) -> Option<Violation> {
        let violation = match (self.draining(), over_limit, self.is_full) {
            (true, ..) => Violation::Draining,
            (_, true, _) => Violation::Full,
            (.., true) => Violation::Busy,
            _ => return None,
        };
        self.metrics().turned_away.add(1);
        Some(violation)
    }

    /// Wants this done.
    pub(super) fn want(&mut self, effect: Effect) {
        self.effects.push_back(effect);
    }

    /// What is wanted next.
    pub(crate) fn next_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// The shard's numbers.
    pub(crate) fn metrics(&self) -> &ShardMetrics {
        &self.metrics.shards[usize::from(self.shard)]
    }

    /// How many shards there are.
    pub(crate) fn shards(&self) -> usize {
        self.metrics.shards.len()
    }

    /// The memory of all bodies of the node.
    pub(super) fn bodies(&self) -> &Arc<Bodies> {
        &self.metrics.bodies
    }

    /// What hears a new WebSocket client, unless clients only listen.
    pub(crate) fn machines(&self) -> Option<&Machines> {
        self.machines.as_ref()
    }

    /// What knows the requests of clients that come over many sockets.
    pub(super) fn door(&self) -> Option<Arc<dyn Door>> {
        self.door.clone()
    }

    /// The answer for a request that could not be taken to where it is to be held, and that a page
    /// of the origin `reader` may read.
    pub(crate) fn last_words(&mut self, reader: Option<&str>, now: Millis) -> Vec<u8> {
        let cors = reader.map(response::cors);
        let fields = cors.as_deref().unwrap_or_default();
        let (mut out, date) = (Vec::new(), self.date(now));
        response::refusal(&mut out, date, Violation::Draining, Ending::Close, fields, false);
        out
    }

    /// The `Date` of an answer that is written now.
    pub(super) fn date(&mut self, now: Millis) -> HttpDate {
        self.dates.at(now)
    }

    /// Whether those who come now are told to come back.
    pub(super) fn draining(&self) -> bool {
        self.ending || self.life.is_draining()
    }
}
