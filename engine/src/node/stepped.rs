//! A node in one thread, which whoever has it in hand steps: tests, the simulation and benchmarks.
//! Its parts are the server's; driver, log and time are the caller's.

use std::sync::Arc;

use super::parts::NodeParts;
use crate::clock::Millis;
use crate::driver::Driver;
use crate::log::Log;
use crate::metrics::Metrics;
use crate::node_state::NodeState;
use crate::ring::Writer;
use crate::sequencer::command::Entry;
use crate::sequencer::inbox::Inbox;
use crate::sequencer::{Sequencer, Step, Ticket};
use crate::shard::{Shard, Tick};
use crate::transport::{Context, ContextSlot};

/// The node.
///
/// ```
/// use fanfare::channel::Tenant;
/// use fanfare::clock::Millis;
/// use fanfare::driver::sim::{Sim, Temper};
/// use fanfare::limits::Limits;
/// use fanfare::log::Memory;
/// use fanfare::node::{Node, NodeParts, Plans};
/// use fanfare::rule::Rules;
/// use fanfare::transport::Context;
/// use fanfare_protocol::id::Epoch;
///
/// let (driver, net) = Sim::new(1, 64, Temper::HONEST);
/// let epoch = Epoch::from_random(1);
/// let context = Context::new(Limits::default(), Tenant::new("acme"));
/// let plans = Plans::stepped(epoch, context, Rules::default(), 1, 64);
/// let parts = NodeParts::join(plans, Memory::default());
/// let mut node = Node::new(parts, [driver], Millis(0));
/// let client = net.connect();
/// net.write(client, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
/// (0..4).for_each(|_| node.step(Millis(1)));
/// assert!(net.take(client).ends_with(b"ok\n"));
/// ```
pub struct Node<D, L> {
    /// The order.
    pub sequencer: Sequencer<Writer<Entry>, L>,
    /// The shards, by number.
    pub shards: Vec<Shard<D>>,
    inbox: Inbox,
    context: Arc<Context>,
    contexts: Arc<ContextSlot>,
    life: Arc<NodeState>,
    metrics: Arc<Metrics>,
    /// Which shards have ended.
    ended: Vec<bool>,
    /// Whether the order had nothing to do when it was stepped last.
    is_idle: bool,
}

impl<D: Driver, L: Log<Ticket>> Node<D, L> {
    /// A node without clients, over one driver for each shard.
    ///
    /// # Panics
    /// When there are not as many drivers as shards.
    pub fn new(parts: NodeParts<L>, drivers: impl IntoIterator<Item = D>, now: Millis) -> Self {
        let NodeParts { sequencer, shards, inbox, contexts, life, metrics, .. } = parts;
        let context = contexts.context();
        let ended = vec![false; shards.len()];
        let shards: Vec<_> = std::iter::zip(drivers, shards)
            .map(|(driver, parts)| Shard::new(driver, parts, now))
            .collect();
        assert_eq!(shards.len(), ended.len(), "each shard has a driver");
        Self { sequencer, shards, inbox, context, contexts, life, metrics, ended, is_idle: false }
    }

    /// A step of the order, and a tick of every shard.
    pub fn step(&mut self, now: Millis) {
        self.step_order(now);
        for shard in 0..self.shards.len() {
            self.tick(shard, now);
        }
    }

    /// A step of the order.
    pub fn step_order(&mut self, now: Millis) -> Step {
        let step = self.sequencer.step(now);
        self.is_idle = step == Step::Idle;
        step
    }

    /// A tick of one shard, unless it has ended.
    pub fn tick(&mut self, shard: usize, now: Millis) -> Tick {
        if !self.ended[shard] {
            self.ended[shard] = self.shards[shard].tick(now, false) == Tick::Ended;
        }
        if self.ended[shard] { Tick::Ended } else { Tick::Goes }
    }

    /// Whether a shard has ended, because the order has and its clients are gone.
    pub fn has_ended(&self, shard: usize) -> bool {
        self.ended[shard]
    }

    /// The way in, for which nobody pays.
    pub fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    /// What all its connections share.
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// Clients of all shards are served by this from the next tick on: [`ContextSlot`].
    pub fn set_context(&mut self, context: Context) {
        self.context = Arc::new(context);
        self.contexts.replace(|_| Arc::clone(&self.context));
    }

    /// How it is.
    pub fn life(&self) -> &Arc<NodeState> {
        &self.life
    }

    /// Its numbers.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Whether nothing is left to do for anyone, as far as can be seen from within.
    pub fn is_quiet(&self) -> bool {
        self.is_idle && self.sequencer.is_settled() && self.shards.iter().all(Shard::is_quiet)
    }

    /// Why it is not quiet, in the words of its shards.
    pub fn unrest(&self) -> Vec<String> {
        self.shards.iter().map(Shard::unrest).collect()
    }

    /// Panics where any structure contradicts itself or another. Walks over everything: for tests.
    pub fn invariants(&self) {
        self.sequencer.invariants();
        self.shards.iter().for_each(Shard::invariants);
    }
}
