//! All that a node is made of, joined and not started: the one place where inbox, order, ring and
//! shards are tied together. The server starts the parts on threads ([`super::start`]), everyone
//! else steps them ([`super::Node`]).

use std::sync::Arc;

use fanfare_protocol::id::Epoch;
use fanfare_protocol::record::Secret;

use crate::admission::address::Addresses;
use crate::in_flight::InFlight;
use crate::log::Log;
use crate::metrics::Metrics;
use crate::node_state::NodeState;
use crate::ring::{self, Wake, Writer};
use crate::rule::Rules;
use crate::sequencer::command::Entry;
use crate::sequencer::inbox::{Commands, Inbox, inbox};
use crate::sequencer::{self, Sequencer, Ticket};
use crate::session::machine::Machines;
use crate::shard;
use crate::transport::door::Door;
use crate::transport::{Context, ContextSlot};

/// What is decided of a node before it is made.
pub struct Plans {
    /// The identity with which the order begins.
    pub epoch: Epoch,
    /// What all connections share: the limits, too.
    pub context: Context,
    /// What digests of idempotency keys are made under. Random, and told to nobody: whoever knew it
    /// could make two messages pass for one.
    pub secret: Secret,
    /// What channels keep.
    pub rules: Rules,
    /// What makes, for each WebSocket client, who hears its commands; none where clients only
    /// listen.
    pub machines: Option<Machines>,
    /// What knows the requests of clients that come over many sockets, each of whom `machines`
    /// makes a machine for, too.
    pub door: Option<Arc<dyn Door>>,
    /// Who ends the sleep of each shard: one for each, 1 to 64.
    pub wakers: Vec<Arc<dyn Wake>>,
    /// Connections that each shard serves.
    pub connections_max: usize,
}

impl Plans {
    /// Those of a node whose clients only listen, and whose shards nobody has to wake, because
    /// whoever has it in hand steps it. Its secret is none: a run is a function of its seed.
    pub fn stepped(
        epoch: Epoch,
        context: Context,
        rules: Rules,
        shards: usize,
        connections_max: usize,
    ) -> Self {
        let wakers = (0..shards).map(|_| Arc::new(Awake) as Arc<dyn Wake>).collect();
        let secret = Secret([0; 16]);
        let machines = None;
        Self { epoch, context, secret, rules, machines, door: None, wakers, connections_max }
    }
}

/// Never sleeps.
struct Awake;

impl Wake for Awake {
    fn wake(&self) {}
}

/// The parts, over a log of whoever makes them.
pub struct NodeParts<L> {
    /// The one order.
    pub sequencer: Sequencer<Writer<Entry>, L>,
    /// What it is asked: for whoever has to answer in its place, should it be lost.
    pub commands: Commands,
    /// What each shard is made with, beside its driver.
    pub shards: Vec<shard::ShardParts>,
    /// The way in, for which nobody pays.
    pub inbox: Inbox,
    /// What all connections share, and where another one is put in its place.
    pub contexts: Arc<ContextSlot>,
    /// How the node is.
    pub life: Arc<NodeState>,
    /// Its numbers.
    pub metrics: Arc<Metrics>,
}

impl<L: Log<Ticket>> NodeParts<L> {
    /// Joins them.
    pub fn join(plans: Plans, log: L) -> Self {
        let Plans { epoch, context, secret, rules, machines, door, wakers, connections_max } =
            plans;
        let (limits, shards) = (context.limits.clone(), wakers.len());
        let metrics = Arc::new(Metrics::new(shards));
        metrics.budgets.say(&limits, shards);
        let life: Arc<NodeState> = Arc::default();
        let origins_key = context.origins_key;
        let contexts = Arc::new(ContextSlot::new(Arc::new(context)));
        let (inbox, commands) = inbox(limits.inbox_commands);
        let (writer, readers) = ring::ring(limits.ring_entries, limits.ring_bytes, wakers);
        let config =
            sequencer::SequencerConfig { epoch, secret, shards, limits: limits.clone(), rules };
        let sequencer = Sequencer::new(log, config, commands.clone(), writer, Arc::clone(&metrics));
        let addresses = Arc::new(Addresses::new(origins_key));
        let paying = inbox.paying(InFlight::of(&metrics, &limits));
        let part = |ring| shard::ShardParts {
            ring,
            inbox: paying.for_clients(),
            epoch,
            contexts: Arc::clone(&contexts),
            life: Arc::clone(&life),
            addresses: Arc::clone(&addresses),
            metrics: Arc::clone(&metrics),
            machines: machines.clone(),
            door: door.clone(),
            connections_max,
        };
        let shards = readers.into_iter().map(part).collect();
        Self { sequencer, commands, shards, inbox, contexts, life, metrics }
    }
}
