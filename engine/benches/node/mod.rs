//! A node of one shard on one thread: the real sequencer, ring and shard over whatever driver, with
//! the benchmark's hand on every step. Time stands still, so no timer has anything to do.
#![allow(dead_code)] // each benchmark uses its part

pub(crate) mod null;

use fanfare::channel::{ChannelName, Tenant};
use fanfare::clock::Millis;
use fanfare::driver::Driver;
use fanfare::limits::Limits;
use fanfare::log::Memory;
use fanfare::metrics::ShardMetrics;
use fanfare::node::{self, NodeParts, Plans};
use fanfare::rule::Rules;
use fanfare::sequencer::command::{BatchAnswer, Command, Publication};
use fanfare::sequencer::{Step, Ticket};
use fanfare::shard::tick_budget::TickBudget;
use fanfare::transport::Context;
use fanfare_protocol::id::Epoch;
use fanfare_protocol::message::Kind;

/// Time stands still here.
const NOW: Millis = Millis(1_000);
/// Ticks after which something was lost.
const TICKS_MAX: usize = 1_000_000;

/// An upgrade to a WebSocket that follows channel `channel`.
pub(crate) fn upgrade(channel: &str) -> String {
    format!(
        "GET /ws?channels={channel} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// The node.
pub(crate) struct Node<D>(node::Node<D, Memory<Ticket>>);

impl<D: Driver> Node<D> {
    /// A node without clients.
    pub(crate) fn new(driver: D, connections_max: usize) -> Self {
        let limits = Limits {
            connections: 1 << 20,
            connections_per_address: 0,
            control_frames_per_s: u32::MAX, // the second never ends
            ..Limits::default()
        };
        let context = Context::new(limits, Tenant::default());
        let context = Context { loopback: true, ..context };
        let plans =
            Plans::stepped(Epoch::from_random(7), context, Rules::default(), 1, connections_max);
        Self(node::Node::new(NodeParts::join(plans, Memory::default()), [driver], NOW))
    }

    /// Other bounds of the shard's ticks.
    pub(crate) fn set_budget(&mut self, budget: TickBudget) {
        self.0.shards[0].set_budget(budget);
    }

    /// The shard's numbers.
    pub(crate) fn numbers(&self) -> &ShardMetrics {
        &self.0.metrics().shards[0]
    }

    /// One tick of the shard.
    pub(crate) fn tick(&mut self) {
        self.0.tick(0, NOW);
    }

    /// Steps until `count` subscriptions stand.
    pub(crate) fn settle(&mut self, count: u64) {
        for _ in 0..TICKS_MAX {
            self.order();
            self.tick();
            if self.numbers().subscriptions.read() == count {
                return self.tick(); // what was answered last goes out
            }
        }
        panic!("{} of {count} clients subscribed", self.numbers().subscriptions.read());
    }

    /// Publishes to `channel` as many texts as there are, in one command, and puts them into the
    /// ring. The shard has not read them then.
    pub(crate) fn publish(&mut self, channel: &str, texts: impl IntoIterator<Item = String>) {
        let publication = |data: String| Publication {
            channel: ChannelName::new(Tenant::default(), channel),
            also: Box::default(),
            kind: Kind::Text,
            event: None,
            idempotency_key: None,
            ephemeral: false,
            except: None,
            data: data.into_bytes().into(),
        };
        let publications = texts.into_iter().map(publication).collect();
        let command = Command::PublishBatch(publications, BatchAnswer::Each(Box::new(|_| {})));
        assert!(self.0.inbox().offer(command).is_ok(), "the inbox has room");
        self.order();
    }

    /// Ticks until `count` more messages were handed to the kernel than `before`.
    pub(crate) fn deliver(&mut self, before: u64, count: u64) {
        for _ in 0..TICKS_MAX {
            if self.numbers().deliveries.read() - before >= count {
                assert_eq!(self.numbers().deliveries.read() - before, count, "each client once");
                return;
            }
            self.tick();
        }
        panic!("{} of {count} deliveries", self.numbers().deliveries.read() - before);
    }

    /// Lets the sequencer do what there is to do.
    fn order(&mut self) {
        while self.0.step_order(NOW) == Step::Worked {}
    }
}
