//! A node of one shard on one thread: the real sequencer, ring and shard over whatever driver, with
//! the benchmark's hand on every step. Time stands still, so no timer has anything to do.
#![allow(dead_code)] // each benchmark uses its part

pub(crate) mod null;

use std::sync::Arc;

use fanfare::auth::address::Addresses;
use fanfare::channel::{ChannelName, Tenant};
use fanfare::clock::Millis;
use fanfare::driver::Driver;
use fanfare::limits::Limits;
use fanfare::metrics::{Metrics, ShardMetrics};
use fanfare::ring::{self, Wake, Writer};
use fanfare::rule::Rules;
use fanfare::sequencer::command::{Command, Entry, Publication};
use fanfare::sequencer::inbox::{Inbox, inbox};
use fanfare::sequencer::{self, Sequencer, Step};
use fanfare::shard::tick_budget::TickBudget;
use fanfare::shard::{Parts, Shard};
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

/// Nobody sleeps in a node of one thread.
struct Asleep;

impl Wake for Asleep {
    fn wake(&self) {}
}

/// The node.
pub(crate) struct Node<D> {
    sequencer: Sequencer<Writer<Entry>>,
    shard: Shard<D>,
    inbox: Inbox,
    metrics: Arc<Metrics>,
}

impl<D: Driver> Node<D> {
    /// A node without clients.
    pub(crate) fn new(driver: D, connections_max: usize) -> Self {
        let limits = Limits {
            connections: 1 << 20,
            connections_per_address: 0,
            control_frames_per_s: u32::MAX, // the second never ends
            ..Limits::default()
        };
        let epoch = Epoch::from_random(7);
        let metrics = Arc::new(Metrics::new(1));
        let (inbox, commands) = inbox(limits.inbox_commands);
        let wakers = vec![Arc::new(Asleep) as Arc<dyn Wake>];
        let (writer, mut readers) = ring::ring(limits.ring_entries, limits.ring_bytes, wakers);
        let rules = Rules::default();
        let settings = sequencer::Config { epoch, shards: 1, limits: limits.clone(), rules };
        let sequencer = Sequencer::new(settings, commands, writer, Arc::clone(&metrics));
        let parts = Parts {
            ring: readers.pop().expect("one for the one shard"),
            inbox: inbox.clone(),
            addresses: Arc::new(Addresses::new(&limits)),
            context: Arc::new(Context {
                loopback: true,
                ..Context::new(epoch, limits, Tenant::default())
            }),
            life: Arc::default(),
            metrics: Arc::clone(&metrics),
            machines: None,
            connections_max,
        };
        let shard = Shard::new(driver, parts, NOW);
        Self { sequencer, shard, inbox, metrics }
    }

    /// Other bounds of the shard's ticks.
    pub(crate) fn set_budget(&mut self, budget: TickBudget) {
        self.shard.set_budget(budget);
    }

    /// The shard's numbers.
    pub(crate) fn numbers(&self) -> &ShardMetrics {
        &self.metrics.shards[0]
    }

    /// One tick of the shard.
    pub(crate) fn tick(&mut self) {
        self.shard.tick(NOW, false);
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
            kind: Kind::Text,
            event: None,
            idempotency_key: None,
            data: data.into_bytes().into(),
        };
        let publications = texts.into_iter().map(publication).collect();
        let command = Command::PublishBatch(publications, Box::new(|_| {}));
        assert!(self.inbox.offer(command).is_ok(), "the inbox has room");
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
        while self.sequencer.step(NOW) == Step::Worked {}
    }
}
