//! Two nodes over one log, of which each reads as much as it likes when it likes, and which
//! different clients follow: they assign the same, and a difference is found.

use std::sync::{Arc, Mutex};

use fanfare_protocol::id::Epoch;
use fanfare_protocol::record::Secret;
use proptest::prelude::*;

use super::super::command::*;
use super::super::inbox::{Inbox, inbox};
use super::super::life::Life;
use super::super::{Sequencer, SequencerConfig, Step, Ticket};
use super::node::{EPOCH, Recorded, SECRET, name, publication, rule, rules, session};
use super::presence::join;
use crate::clock::Millis;
use crate::limits::Limits;
use crate::log::{Item, Log, LogEvent, RECORD_ITEMS};
use crate::metrics::Metrics;
use crate::presence::Presence;

const NAMES: [&str; 5] = ["brief:1", "brief:2", "none:1", "none:2", "other"];

/// Whose item it is, its time, and what it says.
type Written = (usize, Millis, Said);

#[derive(Clone)]
enum Said {
    Published(Publication),
    Heartbeat,
    Genesis(Epoch),
    Presence(Presence),
}

/// The log as both see it; each item is a record of its own.
#[derive(Clone, Default)]
struct Script(Arc<Mutex<Vec<Written>>>);

impl Script {
    fn write(&self, node: usize, at: Millis, said: Said) {
        let mut items = self.0.lock().unwrap();
        let at = items.last().map_or(at, |(_, last, _)| at.max(*last));
        items.push((node, at, said));
    }
}

/// One node's way of reading it. Answers wait until their items are read.
struct Reader {
    node: usize,
    script: Script,
    read: usize,
    /// Up to where it may read for now.
    until: Arc<Mutex<usize>>,
    tickets: std::collections::VecDeque<Ticket>,
    /// Which item it takes for another one than it is.
    misread: Option<usize>,
    /// Whether it knows of no presence, and skips it.
    skips: bool,
}

impl Log<Ticket> for Reader {
    fn offer(&mut self, publication: Publication, ticket: Ticket, now: Millis) {
        self.script.write(self.node, now, Said::Published(publication));
        self.tickets.push_back(ticket);
    }

    fn pass(&mut self, now: Millis) {
        self.script.write(self.node, now, Said::Heartbeat);
    }

    fn next(&mut self) -> Option<Item<Ticket>> {
        if self.read >= *self.until.lock().unwrap() {
            return None;
        }
        let (node, at, said) = self.script.0.lock().unwrap().get(self.read).cloned()?;
        self.read += 1;
        let position = self.read as u64 * RECORD_ITEMS;
        if self.skips && matches!(said, Said::Presence(_)) {
            return self.next();
        }
        let mut publication = match said {
            Said::Published(publication) => publication,
            Said::Heartbeat => return Some(Item { position, at, event: LogEvent::Heartbeat }),
            Said::Presence(it) => {
                return Some(Item { position, at, event: LogEvent::Presence(it) });
            }
            Said::Genesis(epoch) => {
                let secret = Secret([epoch.number() as u8; 16]);
                return Some(Item { position, at, event: LogEvent::Genesis { epoch, secret } });
            }
        };
        if self.misread == Some(self.read - 1) {
            publication.channel = name("misread");
        }
        let ticket = if node == self.node { self.tickets.pop_front() } else { None };
        Some(Item { position, at, event: LogEvent::Published { publication, ticket } })
    }
}

struct Replica {
    sequencer: Sequencer<Recorded, Reader>,
    inbox: Inbox,
    until: Arc<Mutex<usize>>,
}

impl Replica {
    fn new(node: usize, script: &Script, misread: Option<usize>) -> Self {
        let limits = Limits {
            channels: 3,
            channel_idle_ms: 500,
            idempotency_keys: 3,
            idempotency_age_ms: 900,
            ..Limits::default()
        };
        let rules = rules(vec![rule("brief:*", 9, 900, 200), rule("none:*", 0, 1, 1)]);
        let (inbox, commands) = inbox(limits.inbox_commands);
        let (until, script) = (Arc::default(), script.clone());
        let tickets = Default::default();
        let (read, skips, at) = (0, node == 1, Arc::clone(&until));
        let reader = Reader { node, script, read, until: at, tickets, misread, skips };
        let epoch = Epoch::from_random(EPOCH);
        let config = SequencerConfig { epoch, secret: SECRET, shards: 1, limits, rules };
        let metrics = Arc::new(Metrics::new(1));
        let ring = Recorded::boundless();
        let sequencer = Sequencer::new(reader, config, commands, ring, metrics);
        Self { sequencer, inbox, until }
    }

    fn run(&mut self, now: Millis, until: usize) {
        *self.until.lock().unwrap() = until;
        while self.sequencer.step(now) != Step::Idle {
            self.sequencer.performer.ring.drain();
            self.sequencer.invariants();
        }
        self.sequencer.performer.ring.drain();
    }

    /// What must be the same: of each channel that has a life its name and its numbers; the epoch,
    /// the watermark, the lives that ended, the place, and the hash.
    fn state(&self) -> (Vec<String>, [u64; 5]) {
        let order = &self.sequencer.performer.order;
        let lives = order.channels.iter().filter(|channel| channel.has_life());
        let lives = lives.map(|channel| {
            let Life { offset, position, began, unknown_before, used, used_at, .. } = &channel.life;
            let numbers = [*offset, *position, *began, *unknown_before, used.0, *used_at];
            format!("{} {numbers:?}", channel.name.name)
        });
        let mut lives: Vec<String> = lives.collect();
        lives.sort();
        let known = &order.lives;
        let epoch = order.applied.epoch.number();
        (
            lives,
            [
                epoch,
                order.applied.watermark,
                known.ended,
                order.applied.position,
                self.sequencer.state(),
            ],
        )
    }
}

#[derive(Clone, Debug)]
enum Op {
    Publish(usize, usize, Option<usize>),
    Follow(usize, usize),
    /// A node reads up to so many items behind the end.
    Read(usize, usize),
    Advance(u64),
    /// The log begins an epoch.
    Genesis(u64),
    /// Somebody joins.
    Presence(usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0..2usize, 0..NAMES.len(), prop::option::of(0..3usize))
            .prop_map(|(node, channel, key)| Op::Publish(node, channel, key)),
        1 => (0..2usize, 0..NAMES.len()).prop_map(|(node, channel)| Op::Follow(node, channel)),
        3 => (0..2usize, 0..5usize).prop_map(|(node, behind)| Op::Read(node, behind)),
        2 => (1..900u64).prop_map(Op::Advance),
        1 => (0..99u64).prop_map(Op::Genesis),
        2 => (0..NAMES.len()).prop_map(Op::Presence),
    ]
}

/// Plays `ops` on two nodes, of which the second knows of no presence; both have read everything in
/// the end, which is a message.
fn play(ops: &[Op], misread: Option<usize>) -> [Replica; 2] {
    let script = Script::default();
    let mut nodes = [Replica::new(0, &script, None), Replica::new(1, &script, misread)];
    let mut now = Millis(1_000);
    for op in ops {
        match op {
            Op::Publish(node, channel, key) => {
                let key = key.map(|key| format!("key {key}").into_bytes().into());
                let plain = publication(NAMES[*channel], 10);
                let publication = Publication { idempotency_key: key, ..plain };
                let command = Command::Publish(publication, PublishAnswer::Nobody);
                assert!(nodes[*node].inbox.offer(command).is_ok());
            }
            Op::Follow(node, channel) => {
                let requester = Requester { shard: 0, session: session(0), request: 0 };
                let channels = [(name(NAMES[*channel]), Since::Now)].into();
                let subscribe = Command::Subscribe(Box::new(Subscribe { requester, channels }));
                assert!(nodes[*node].inbox.offer(subscribe).is_ok());
            }
            Op::Read(node, behind) => {
                let read = nodes[*node].until.lock().unwrap().to_owned();
                let until = script.0.lock().unwrap().len().saturating_sub(*behind).max(read);
                nodes[*node].run(now, until);
            }
            Op::Advance(ms) => now = now.plus(*ms),
            Op::Genesis(epoch) => script.write(0, now, Said::Genesis(Epoch::from_random(*epoch))),
            Op::Presence(channel) => {
                script.write(0, now, Said::Presence(join(NAMES[*channel], "somebody")));
            }
        }
    }
    script.write(nodes.len(), now, Said::Published(publication("other", 1)));
    for _ in 0..3 {
        nodes.iter_mut().for_each(|node| node.run(now, usize::MAX));
    }
    nodes
}

proptest! {
    #[test]
    fn two_nodes_over_one_log_assign_the_same(ops in prop::collection::vec(op(), 1..150)) {
        let [one, other] = play(&ops, None);
        prop_assert_eq!(one.state(), other.state());
    }
}

#[test]
fn a_difference_is_found() {
    let ops: Vec<Op> = (0..40).map(|nth| Op::Publish(nth % 2, 4, None)).collect();
    let [one, other] = play(&ops, None);
    assert_eq!(one.sequencer.state(), other.sequencer.state());
    let [one, other] = play(&ops, Some(7));
    assert_ne!(one.sequencer.state(), other.sequencer.state());
}
