//! A sequencer with a ring that only remembers, driven step by step.

use std::sync::Arc;
use std::sync::mpsc;

use fanfare_protocol::id::{Epoch, Id};
use fanfare_protocol::message::Kind;
use fanfare_protocol::record::Secret;

use super::super::command::*;
use super::super::inbox::{Inbox, inbox};
use super::super::{Sequencer, SequencerConfig, Sink, Step, Ticket};
use crate::channel::{ChannelId, ChannelName, Tenant};
use crate::clock::Millis;
use crate::driver::Token;
use crate::limits::Limits;
use crate::log::{Epochs, Interrupted, Others};
use crate::message::{Filling, Message};
use crate::metrics::Metrics;
use crate::rule::{HistoryRule, Pattern, Rule, Rules, Window};

pub(super) const EPOCH: u64 = 7;
pub(super) const SECRET: Secret = Secret([9; 16]);

/// A message for tests of single structures.
pub(in super::super) fn message(offset: u64, position: u64) -> Arc<Message> {
    Arc::new(Message {
        channel: ChannelId(0),
        name: Arc::new(name("test")),
        position,
        nth: 0,
        offset,
        ephemeral: false,
        except: None,
        floor: 1,
        at: Millis(position),
        kind: Kind::Text,
        event: None,
        data: Box::<[u8]>::default().into(),
        filling: Filling::default(),
    })
}

/// A ring of one reader that reads when the test says so.
pub(super) struct Recorded {
    pub(super) entries: Vec<(u64, Entry)>,
    pub(super) entries_max: usize,
    pub(super) bytes_max: usize,
    bytes: usize,
    published: usize,
}

impl Sink for Recorded {
    fn has_room(&mut self, entries: usize, bytes: usize) -> bool {
        assert!(entries <= self.entries_max, "a ring that would never have room");
        self.entries.is_empty()
            || (self.entries.len() + entries <= self.entries_max
                && self.bytes + bytes <= self.bytes_max)
    }

    fn push(&mut self, mask: u64, bytes: usize, entry: Entry) {
        assert_ne!(mask, 0, "{entry:?} is for nobody");
        assert_eq!(bytes, entry.cost());
        assert!(self.entries.len() < self.entries_max, "room was asked for {entry:?}");
        let overdraft = self.entries.len() < 3;
        assert!(overdraft || self.bytes + bytes <= self.bytes_max, "room for {entry:?}");
        self.bytes += bytes;
        self.entries.push((mask, entry));
    }

    fn publish(&mut self) {
        self.published = self.entries.len();
    }

    fn release(&mut self) -> usize {
        self.entries.len()
    }

    fn wake_lagging(&mut self) {}

    fn lag(&self, _shard: usize) -> u64 {
        self.published as u64
    }
}

impl Recorded {
    pub(super) fn boundless() -> Self {
        let (entries_max, bytes_max) = (usize::MAX, usize::MAX);
        Self { entries: Vec::new(), entries_max, bytes_max, bytes: 0, published: 0 }
    }

    pub(super) fn drain(&mut self) -> Vec<(u64, Entry)> {
        assert_eq!(self.published, self.entries.len(), "a step publishes what it wrote");
        (self.bytes, self.published) = (0, 0);
        std::mem::take(&mut self.entries)
    }
}

pub(super) struct Node {
    pub(super) sequencer: Sequencer<Recorded, Interrupted<Ticket>>,
    /// Epochs that are to begin.
    pub(super) epochs: Epochs,
    /// What others put into the log.
    pub(super) others: Others,
    pub(super) inbox: Inbox,
    pub(super) metrics: Arc<Metrics>,
    pub(super) now: Millis,
    /// Entries that were drained and not yet looked at.
    pub(super) entries: Vec<(u64, Entry)>,
    /// Subscribes that were sent.
    requests: u32,
}

pub(super) fn name(text: &str) -> ChannelName {
    ChannelName::new(Tenant::default(), text)
}

pub(super) fn rule(pattern: &str, count: u64, bytes: usize, age_ms: u64) -> Rule {
    let history = HistoryRule { count, bytes, age_ms };
    Rule { pattern: Pattern::parse(pattern).unwrap(), history, ..Rule::default() }
}

/// Everything is kept, except as `rules` say.
pub(super) fn rules(rules: Vec<Rule>) -> Rules {
    let all = HistoryRule { count: u64::MAX, bytes: usize::MAX, age_ms: 1 << 40 };
    Rules::new(rules, all, Window::DEFAULT)
}

pub(super) fn publication(channel: &str, bytes: usize) -> Publication {
    Publication {
        channel: name(channel),
        also: Box::default(),
        kind: Kind::Binary,
        event: None,
        idempotency_key: None,
        ephemeral: false,
        except: None,
        data: vec![b'x'; bytes].into(),
    }
}

/// The position of the nth item of a log while time stands still: 0 is before the first.
pub(super) fn position(nth: u64) -> u64 {
    let Some(before) = nth.checked_sub(1) else { return 0 };
    (before / 4_095 + 1) * 4_096 + before % 4_095
}

/// What that is called.
pub(super) fn id(nth: u64) -> Id {
    at(position(nth))
}

pub(super) fn at(position: u64) -> Id {
    Id { epoch: Epoch::from_random(EPOCH), position }
}

pub(super) fn session(index: u32) -> Token {
    Token { index, generation: 1 }
}

/// Request `request` of connection `index` of a shard.
pub(super) fn requester(shard: u8, index: u32, request: u32) -> Requester {
    Requester { shard, session: session(index), request }
}

impl Node {
    pub(super) fn new(limits: Limits, rules: Rules) -> Self {
        Self::with_ring(limits, rules, usize::MAX, usize::MAX)
    }

    pub(super) fn with_ring(
        limits: Limits,
        rules: Rules,
        entries_max: usize,
        bytes_max: usize,
    ) -> Self {
        let (inbox, receiver) = inbox(limits.inbox_commands);
        let metrics = Arc::new(Metrics::new(3));
        let entries = Vec::new();
        let ring = Recorded { entries, entries_max, bytes_max, bytes: 0, published: 0 };
        let epoch = Epoch::from_random(EPOCH);
        let settings = SequencerConfig { epoch, secret: SECRET, shards: 3, limits, rules };
        let epochs = Epochs::default();
        let others = Others::default();
        let log = Interrupted::by(epochs.clone()).shared_with(others.clone());
        let sequencer = Sequencer::new(log, settings, receiver, ring, Arc::clone(&metrics));
        let (now, entries) = (Millis(1_000), Vec::new());
        Self { sequencer, epochs, others, inbox, metrics, now, entries, requests: 0 }
    }

    /// Steps until nothing is left to do; the ring's reader reads after each step.
    pub(super) fn run(&mut self) {
        loop {
            let step = self.sequencer.step(self.now);
            let held = self.sequencer.performer.ring.drain();
            assert!(step != Step::Blocked || !held.is_empty(), "an empty ring has room");
            self.entries.extend(held);
            if matches!(step, Step::Idle | Step::Ended) {
                return;
            }
        }
    }

    /// One step, after which the ring's reader reads.
    pub(super) fn step(&mut self) {
        self.sequencer.step(self.now);
        let held = self.sequencer.performer.ring.drain();
        self.entries.extend(held);
    }

    pub(super) fn send(&mut self, command: Command) {
        assert!(self.inbox.offer(command).is_ok(), "the inbox has room");
    }

    /// Another epoch begins. Returns what shards were told of it; the entries before it are gone.
    pub(super) fn begin_epoch(&mut self, epoch: u64) -> Arc<Genesis> {
        self.epochs.begin(Epoch::from_random(epoch));
        self.run();
        let is_genesis = |(_, entry): &(u64, Entry)| matches!(entry, Entry::Genesis(_));
        let nth = self.entries.iter().position(is_genesis).expect("shards are told");
        let (mask, Entry::Genesis(genesis)) = self.entries.drain(..=nth).next_back().unwrap()
        else {
            unreachable!("it was looked for")
        };
        assert_eq!(mask, 0b111, "all of them");
        genesis
    }

    pub(super) fn advance(&mut self, ms: u64) {
        self.now = self.now.plus(ms);
        self.run();
    }

    pub(super) fn take(&mut self) -> Vec<(u64, Entry)> {
        std::mem::take(&mut self.entries)
    }

    pub(super) fn publish(&mut self, channel: &str, bytes: usize) -> Result<Published, Refusal> {
        self.publish_this(publication(channel, bytes))
    }

    pub(super) fn publish_this(&mut self, publication: Publication) -> Result<Published, Refusal> {
        let (answer, heard) = mpsc::channel();
        let answer = Box::new(move |result| answer.send(result).unwrap());
        self.send(Command::Publish(publication, PublishAnswer::Callback(answer)));
        self.run();
        heard.try_recv().expect("the answer is called")
    }

    pub(super) fn batch(&mut self, batch: Vec<Publication>) -> Vec<Result<Published, Refusal>> {
        let (answer, heard) = mpsc::channel();
        let answer = Box::new(move |results| answer.send(results).unwrap());
        self.send(Command::PublishBatch(batch, BatchAnswer::Each(answer)));
        self.run();
        heard.try_recv().expect("the answer is called")
    }

    /// Subscribes to all of these from one place.
    pub(super) fn subscribe(
        &mut self,
        shard: u8,
        channels: &[&str],
        since: Since,
    ) -> Result<Box<Subscribed>, Refusal> {
        let channels: Vec<_> = channels.iter().map(|channel| (*channel, since)).collect();
        self.subscribe_each(shard, &channels)
    }

    /// Asks to subscribe, as a shard does.
    pub(super) fn ask(&mut self, shard: u8, channels: &[(&str, Since)]) -> Requester {
        let channels = channels.iter().map(|(channel, since)| (name(channel), *since)).collect();
        self.requests += 1;
        let requester = requester(shard, u32::from(shard), self.requests);
        let subscribe = Command::Subscribe(Box::new(Subscribe { requester, channels }));
        assert!(self.inbox.for_clients().offer(subscribe).is_ok(), "the inbox has room");
        requester
    }

    /// Subscribes, and takes everything up to the reply out of the entries.
    pub(super) fn subscribe_each(
        &mut self,
        shard: u8,
        channels: &[(&str, Since)],
    ) -> Result<Box<Subscribed>, Refusal> {
        let requester = self.ask(shard, channels);
        self.run();
        let replies = self.entries.iter().position(|(_, entry)| {
            matches!(entry, Entry::Subscribed(_) | Entry::SubscribeRefused(..))
        });
        let (mask, reply) = self.entries.remove(replies.expect("there is a reply"));
        assert_eq!(mask, 1 << shard, "a reply is for one shard");
        match reply {
            Entry::Subscribed(reply) => {
                assert_eq!(reply.requester, requester);
                Ok(reply)
            }
            Entry::SubscribeRefused(to, refusal) => {
                assert_eq!(to, requester);
                Err(refusal)
            }
            _ => unreachable!("only replies were looked for"),
        }
    }

    pub(super) fn unsubscribe(&mut self, shard: u8, channels: &[ChannelId]) {
        self.send(Command::Unsubscribe {
            shard,
            session: session(u32::from(shard)),
            channels: channels.into(),
        });
        self.run();
    }

    pub(super) fn history(
        &mut self,
        channel: &str,
        since: Option<Id>,
        limit: usize,
    ) -> HistoryPage {
        let (answer, heard) = mpsc::channel();
        let answer = Box::new(move |page| answer.send(page).unwrap());
        let query = HistoryQuery { channel: name(channel), since, limit, answer };
        self.send(Command::History(Box::new(query)));
        self.run();
        heard.try_recv().expect("the answer is called")
    }

    pub(super) fn stats(&mut self, channel: &str) -> ChannelStats {
        let (answer, heard) = mpsc::channel();
        let answer = Box::new(move |stats| answer.send(stats).unwrap());
        self.send(Command::Stats(name(channel), answer));
        self.run();
        heard.try_recv().expect("the answer is called")
    }
}
