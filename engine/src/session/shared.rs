//! What all sessions of a shard share.

use std::collections::VecDeque;
use std::sync::Arc;

use fanfare_identity::Identity;
use fanfare_protocol::dialect::machine::Machines;
use fanfare_protocol::http::{Ending, Fields, HttpDate, Violation, response};

use super::complaints::Complaints;
use super::dates::Dates;
use super::effect::Effect;
use super::outbox::Spare;
use crate::admission::address::TurnedAway;
use crate::admission::peers::{AdmittedPeers, NotForwarded};
use crate::authority::Denial;
use crate::bodies::Bodies;
use crate::clock::Millis;
use crate::driver::Close;
use crate::metrics::{Metrics, ShardMetrics};
use crate::node_state::NodeState;
use crate::transport::Context;
use crate::transport::door::Door;

/// What every session of one shard uses.
pub(crate) struct ShardResources {
    /// What is true for all clients of the node.
    pub(crate) context: Arc<Context>,
    /// How often [`ShardResources::context`] was replaced: what was allowed under another one is
    /// asked again.
    pub(super) revision: u32,
    /// How the node is.
    pub(crate) life: Arc<NodeState>,
    /// Whether the order has ended: clients that have all they are owed are told goodbye.
    pub(crate) ending: bool,
    /// Whether the memory that clients have for themselves is used up: new requests are told to
    /// come back.
    pub(crate) is_full: bool,
    /// Whose the connections are.
    pub(crate) peers: AdmittedPeers,
    /// The connection whose session is called.
    pub(crate) caller: u32,
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

impl ShardResources {
    /// For the sessions of shard `shard`. Without `machines` clients only listen.
    pub(crate) fn new(
        shard: u8,
        context: Arc<Context>,
        life: Arc<NodeState>,
        metrics: Arc<Metrics>,
        (machines, door): (Option<Machines>, Option<Arc<dyn Door>>),
        peers: AdmittedPeers,
    ) -> Self {
        let dates = Dates::new(context.wall);
        Self {
            context,
            revision: 0,
            life,
            ending: false,
            is_full: false,
            peers,
            caller: 0,
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

    /// All sessions are served by this from now on.
    pub(crate) fn set_context(&mut self, context: Arc<Context>) {
        assert_eq!(context.origins_key, self.context.origins_key, "it names the connections");
        self.dates = Dates::new(context.wall);
        self.context = context;
        self.revision = self.revision.wrapping_add(1);
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

    /// The connection whose session is called has a request with these fields. Where a trusted
    /// proxy sent it, its client is counted from here on.
    ///
    /// # Errors
    /// The request is refused for this.
    pub(super) fn asks(&mut self, fields: &Fields<'_>, now: Millis) -> Result<(), Violation> {
        let Context { limits, proxies, .. } = &*self.context;
        if proxies.is_empty() {
            return Ok(());
        }
        match self.peers.asks(self.caller, fields, (limits, proxies), now) {
            Ok(()) => Ok(()),
            Err(NotForwarded::TurnedAway(why)) => Err(self.turned_away(why)),
            Err(NotForwarded::Unreadable) => {
                self.metrics().forwarded_unreadable.add(1);
                Err(Violation::BadForwarded)
            }
        }
    }

    /// Counts somebody as turned away for his address; says what he is told.
    pub(crate) fn turned_away(&self, why: TurnedAway) -> Violation {
        let metrics = self.metrics();
        metrics.turned_away.add(1);
        let (number, violation) = match why {
            TurnedAway::NotAProxy => (&metrics.proxy_headers_refused, Violation::NotHttp),
            TurnedAway::Connections => {
                (&metrics.address_connections_refused, Violation::TooManyFromAddress)
            }
            TurnedAway::Heads => (&metrics.address_heads_refused, Violation::TooManyFromAddress),
            TurnedAway::TooFast => (&metrics.address_rate_refused, Violation::TooFastFromAddress),
        };
        number.add(1);
        violation
    }

    /// Somebody may not do what it asked for: an operator hears by which rule.
    pub(super) fn denied(&mut self, denial: &Denial, who: Option<&Identity>, now: Millis) {
        self.metrics().denied.add(1);
        self.complaints.about_denial(denial, who, now);
    }

    /// Wants this done.
    pub(super) fn want(&mut self, effect: Effect) {
        self.effects.push_back(effect);
    }

    /// Wants the end of a client that takes nothing of what it is sent.
    pub(super) fn cut_off_slow(&mut self) {
        self.metrics().slow_closed.add(1);
        self.want(Effect::End(Close::Abort));
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
