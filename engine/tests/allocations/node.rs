//! A node of one shard over the simulated driver, whose ticks are counted.

use std::time::Duration;

use fanfare::channel::{ChannelName, Tenant};
use fanfare::clock::Millis;
use fanfare::driver::sim::{Client, Sim, SimNet, Temper};
use fanfare::driver::{
    Close, Detached, Driver, Event, Exception, NotAdopted, Outgoing, Received, Token,
};
use fanfare::limits::Limits;
use fanfare::log::Memory;
use fanfare::node::{self, NodeParts, Plans};
use fanfare::rule::{HistoryRule, Rules, Window};
use fanfare::sequencer::Ticket;
use fanfare::sequencer::command::{Command, Publication, PublishAnswer};
use fanfare::shard::Tick;
use fanfare::transport::Context;
use fanfare_protocol::id::Epoch;
use fanfare_protocol::message::Kind;

use crate::counting::{allocations_of, counted, uncounted};

/// A client that follows something.
pub(super) type Follower = Client;

const CONNECTIONS: usize = 1_000;

pub(super) struct Node {
    /// What all ticks of the shard have allocated.
    pub(super) allocations: u64,
    now: Millis,
    node: node::Node<Kernel, Memory<Ticket>>,
    net: SimNet,
}

/// The simulated driver, which is not counted; the shard that it calls back is.
struct Kernel(Sim);

impl Driver for Kernel {
    fn capacity(&self) -> usize {
        self.0.capacity()
    }

    fn set_accepting(&mut self, on: bool) {
        uncounted(|| self.0.set_accepting(on));
    }

    fn recv_batch(&mut self, tokens: &[Token], taken: &mut dyn FnMut(Token, Received<'_>)) {
        let taken = &mut |token, received: Received<'_>| counted(|| taken(token, received));
        uncounted(|| self.0.recv_batch(tokens, taken));
    }

    fn send_batch(&mut self, sends: &[Outgoing<'_>], exceptions: &mut Vec<Exception>) {
        uncounted(|| self.0.send_batch(sends, exceptions));
    }

    fn watch_writable(&mut self, token: Token) {
        uncounted(|| self.0.watch_writable(token));
    }

    fn close(&mut self, token: Token, how: Close) {
        uncounted(|| self.0.close(token, how));
    }

    fn detach(&mut self, token: Token) -> Result<Detached, i32> {
        uncounted(|| self.0.detach(token))
    }

    fn adopt(&mut self, socket: Detached) -> Result<Token, NotAdopted> {
        uncounted(|| self.0.adopt(socket))
    }

    fn poll(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) {
        uncounted(|| self.0.poll(timeout, events));
    }
}

impl Node {
    pub(super) fn new() -> Self {
        let now = Millis(1_000);
        let limits = Limits {
            connections_per_address: 0,
            heads_per_address: 0,
            control_frames_per_s: 1_000,
            inbox_commands: 64,
            ring_entries: 256,
            ring_bytes: 1 << 20,
            ..Limits::default()
        };
        // Small ones, so that pages are dropped and begun all the time.
        let history = HistoryRule { count: 20, bytes: 1 << 20, age_ms: 60_000 };
        let window = Window { count: 64, bytes: 1 << 20 };
        let rules = Rules::new(Vec::new(), history, window);
        let (driver, net) = Sim::new(1, CONNECTIONS, Temper::HONEST);
        let context = Context::new(limits, Tenant::default());
        let context = Context { loopback: true, dev: true, ..context };
        let parts = NodeParts::join(
            Plans::stepped(Epoch::from_random(1), context, rules, 1, CONNECTIONS),
            Memory::default(),
        );
        Self { allocations: 0, now, node: node::Node::new(parts, [Kernel(driver)], now), net }
    }

    /// One counted tick of the shard.
    pub(super) fn tick(&mut self) -> Tick {
        let (tick, allocations) = allocations_of(|| self.node.tick(0, self.now));
        self.allocations += allocations;
        tick
    }

    /// Lets time pass, and everyone do what there is to do.
    pub(super) fn pass(&mut self, time: Duration) {
        self.now = self.now.plus(time.as_millis() as u64);
        for _ in 0..24 {
            self.node.step_order(self.now);
            assert_eq!(self.tick(), Tick::Goes);
        }
    }

    /// Lets the deadlines of request heads go by, which are the first that the wheel looks at.
    pub(super) fn outlive_heads(&mut self) {
        self.pass(Duration::from_secs(6));
    }

    /// A client that has asked for this and was answered.
    pub(super) fn follow(&mut self, target: &str) -> Follower {
        let client = self.net.connect();
        let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        let fields = if target.starts_with("/ws") { upgrade } else { "" };
        let head = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
        self.net.write(client, head.as_bytes());
        self.pass(Duration::ZERO);
        let answer = self.net.take(client);
        let status = if fields.is_empty() { "HTTP/1.1 200" } else { "HTTP/1.1 101" };
        assert!(answer.starts_with(status.as_bytes()), "{}", String::from_utf8_lossy(&answer));
        client
    }

    /// A WebSocket client says this in one frame.
    pub(super) fn say(&self, client: Follower, opcode: u8, payload: &[u8]) {
        let head = [0x80 | opcode, 0x80 | payload.len() as u8, 0, 0, 0, 0];
        self.net.write(client, &[&head, payload].concat());
    }

    /// Bytes that have come to a client since it was last asked.
    pub(super) fn heard(&self, client: Follower) -> usize {
        self.net.take(client).len()
    }

    /// A backend publishes a message of so many bytes.
    pub(super) fn publish(&mut self, channel: &str, bytes: usize) {
        let publication = Publication {
            channel: ChannelName::new(Tenant::default(), channel),
            also: Box::default(),
            kind: Kind::Text,
            event: None,
            idempotency_key: None,
            ephemeral: false,
            except: None,
            data: vec![b'm'; bytes].into(),
        };
        let command = Command::Publish(publication, PublishAnswer::Nobody);
        assert!(self.node.inbox().offer(command).is_ok(), "there is room");
        self.node.step_order(self.now);
    }
}
