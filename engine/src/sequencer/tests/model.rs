//! The sequencer against the oracle, and shards' logs against what it takes them to hold.

use std::collections::{BTreeMap, HashMap};

use fanfare_protocol::id::{Epoch, Id, LifeId};
use proptest::prelude::*;

use super::super::command::*;
use super::journal::{self, NAMES, small_rules};
use super::node::{Node, at, id, name};
use super::oracle::{Oracle, Record, SHARDS};
use crate::channel::ChannelId;
use crate::clock::Millis;
use crate::limits::Limits;
use crate::message;

#[derive(Debug, Clone)]
enum Beginning {
    Now,
    Unreadable,
    OtherEpoch(u64),
    /// So many messages before the last position, or after that.
    Ago(i64),
    Earliest,
    Last(u64),
    /// So many milliseconds before now, or after.
    Time(i64),
    /// So many messages after the last that was told with this name of a life, or before it.
    Offset(NamedLife, i64),
    /// With the name of a life, and an offset, of another epoch.
    OtherLife(u64, u64),
}

/// Which name of a life a client brings.
#[derive(Debug, Clone)]
enum NamedLife {
    /// One that was told, whichever channel it was of.
    Told(prop::sample::Index),
    /// The last that was told of the channel that is asked for.
    Last,
    /// One that nobody was told, maybe: of a place that so many messages have followed.
    Ago(i64),
}

/// Channel, bytes, key.
type Saying = (usize, usize, Option<usize>);

#[derive(Debug, Clone)]
enum Op {
    Publish(Saying),
    Batch(Vec<Saying>),
    /// The channels begin at these two places in turn.
    Subscribe(usize, Vec<usize>, [Beginning; 2]),
    /// The same, a channel at a time, with one of these published after each.
    Slices(usize, Vec<usize>, [Beginning; 2], Vec<Saying>),
    Unsubscribe(prop::sample::Index),
    Advance(u64),
    History(usize, Beginning, usize),
}

fn from() -> impl Strategy<Value = Beginning> {
    prop_oneof![
        2 => Just(Beginning::Now),
        1 => Just(Beginning::Unreadable),
        1 => (0..9u64).prop_map(Beginning::OtherEpoch),
        8 => (-2..25i64).prop_map(Beginning::Ago),
        2 => (0..200i64).prop_map(Beginning::Ago),
        1 => Just(Beginning::Earliest),
        3 => (0..6u64).prop_map(Beginning::Last),
        6 => (-2..120i64).prop_map(Beginning::Time),
        8 => (life(), -3..9i64).prop_map(|(life, ago)| Beginning::Offset(life, ago)),
        1 => (0..9u64, 0..3u64).prop_map(|(place, had)| Beginning::OtherLife(place, had)),
    ]
}

fn life() -> impl Strategy<Value = NamedLife> {
    prop_oneof![
        1 => any::<prop::sample::Index>().prop_map(NamedLife::Told),
        6 => Just(NamedLife::Last),
        1 => (-2..25i64).prop_map(NamedLife::Ago),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let channel = || 0..NAMES.len();
    let plain = || (channel(), prop_oneof![9 => 0..300usize, 1 => 900..6_000usize], Just(None));
    // Few channels, bodies and keys, so that they meet again.
    let keyed = || (0..3usize, prop_oneof![9 => Just(1usize), 1 => 2..4usize], 0..3usize);
    let keyed = move || keyed().prop_map(|(channel, bytes, key)| (channel, bytes, Some(key)));
    let said = move || prop_oneof![3 => plain(), 2 => keyed()];
    let several = |most| {
        prop::sample::subsequence((0..NAMES.len()).collect::<Vec<_>>(), 1..most).prop_shuffle()
    };
    let slices = (0..SHARDS, several(6), [from(), from()], prop::collection::vec(said(), 0..6));
    prop_oneof![
        8 => said().prop_map(Op::Publish),
        1 => prop::collection::vec(said(), 0..12).prop_map(Op::Batch),
        4 => (0..SHARDS, several(4), [from(), from()])
            .prop_map(|(shard, channels, from)| Op::Subscribe(shard, channels, from)),
        3 => slices.prop_map(|(shard, channels, from, said)| {
            Op::Slices(shard, channels, from, said)
        }),
        3 => any::<prop::sample::Index>().prop_map(Op::Unsubscribe),
        3 => prop_oneof![4 => 0..30u64, 4 => 0..200u64, 2 => 500..3_000u64].prop_map(Op::Advance),
        1 => (channel(), from(), 0..9usize)
            .prop_map(|(channel, from, limit)| Op::History(channel, from, limit)),
    ]
}

/// What one shard has, if it drops all that it may: offsets by channel; and which shard it is.
struct Logs(HashMap<ChannelId, (u64, BTreeMap<u64, u64>)>, usize);

impl Logs {
    fn read(&mut self, entry: &Entry) {
        match entry {
            Entry::Message(message) => {
                let log = self.0.get_mut(&message.channel).expect("a message of a followed one");
                log.1.insert(message.offset, message.position);
                Self::raise(log, message.floor);
            }
            Entry::Floors(floors) => {
                for (channel, floor) in floors.iter() {
                    if let Some(log) = self.0.get_mut(channel) {
                        assert!(*floor >= log.0, "a floor never goes back");
                        Self::raise(log, *floor);
                    }
                }
            }
            Entry::Released(channels) => {
                for channel in channels.iter() {
                    self.0.remove(channel);
                }
            }
            Entry::Ended(lives) => {
                for life in lives {
                    let follows = life.followed & 1 << self.1 != 0;
                    match self.0.get_mut(&life.channel) {
                        Some(log) if follows => *log = (1, BTreeMap::new()),
                        Some(_) => drop(self.0.remove(&life.channel)),
                        None => assert!(!follows, "it has a log of what it follows"),
                    }
                }
            }
            Entry::Subscribed(reply) => {
                reply.channels.iter().for_each(|channel| self.subscribed(channel));
            }
            _ => {}
        }
    }

    fn raise(log: &mut (u64, BTreeMap<u64, u64>), floor: u64) {
        log.0 = log.0.max(floor);
        log.1 = log.1.split_off(&log.0);
    }

    /// History reaches a shard once, and after that the log gives everything from `next` on.
    fn subscribed(&mut self, channel: &SubscribedChannel) {
        let log = self.0.entry(channel.channel).or_default();
        for message in &channel.import {
            let before = log.1.insert(message.offset, message.position);
            assert_eq!(before, None, "offset {} was imported twice", message.offset);
        }
        Self::raise(log, channel.floor);
        for offset in channel.next..=channel.last {
            assert!(log.1.contains_key(&offset), "offset {offset} of {channel:?} is missing");
        }
    }
}

struct World {
    node: Node,
    oracle: Oracle,
    logs: [Logs; SHARDS],
    /// Shard and records of each connection.
    connections: Vec<(usize, Vec<usize>)>,
    ids: HashMap<usize, ChannelId>,
    /// Names of lives that were told, each with its channel and the last by then.
    named: Vec<(&'static str, u64, u64)>,
    duplicates: u64,
    conflicts: u64,
}

fn said((channel, bytes, key): Saying) -> Publication {
    journal::said(NAMES[channel], bytes, key)
}

impl World {
    fn new(ring_entries: usize, ring_bytes: usize) -> Self {
        let limits = Limits {
            channels: 4,
            followed_channels: 5,
            history_bytes: 2_400,
            interest_ms: 50,
            channel_idle_ms: 120,
            idempotency_keys: 4,
            idempotency_age_ms: 90,
            inbox_commands: 4,
            ..Limits::default()
        };
        let node = Node::with_ring(limits.clone(), small_rules(), ring_entries, ring_bytes);
        let oracle = Oracle::new(node.now.0, small_rules(), &limits);
        let (connections, ids, named) = (Vec::new(), HashMap::new(), Vec::new());
        let logs = std::array::from_fn(|shard| Logs(HashMap::new(), shard));
        Self { node, oracle, logs, connections, ids, named, duplicates: 0, conflicts: 0 }
    }

    fn since(&self, from: &Beginning, name: &str) -> Since {
        match from {
            Beginning::Now => Since::Now,
            Beginning::Unreadable => Since::Unreadable,
            Beginning::OtherEpoch(position) => {
                let epoch = Epoch::from_random(1);
                Since::After(Id { epoch, position: *position })
            }
            Beginning::Ago(ago) => Since::After(at(self.oracle.ago(*ago))),
            Beginning::Earliest => Since::Earliest,
            Beginning::Last(count) => Since::Last(*count),
            Beginning::Time(ago) => {
                Since::Time(Millis(self.oracle.now.saturating_add_signed(-ago)))
            }
            Beginning::Offset(life, more) => {
                let (life, last) = self.named(life, name);
                Since::Offset(last.saturating_add_signed(*more), LifeId(at(life)))
            }
            Beginning::OtherLife(position, offset) => {
                let epoch = Epoch::from_random(1);
                Since::Offset(*offset, LifeId(Id { epoch, position: *position }))
            }
        }
    }

    /// The place by which a life is named, and the last that was told with it.
    fn named(&self, life: &NamedLife, name: &str) -> (u64, u64) {
        let told = match life {
            NamedLife::Told(_) if self.named.is_empty() => None,
            NamedLife::Told(nth) => Some(&self.named[nth.index(self.named.len())]),
            NamedLife::Last => self.named.iter().rfind(|(of, ..)| *of == name),
            NamedLife::Ago(ago) => return (self.oracle.ago(*ago), 0),
        };
        told.map_or((0, 0), |(_, life, last)| (*life, *last))
    }

    /// The channels of a request, which begin at these two places in turn.
    fn request(&self, channels: &[usize], from: &[Beginning; 2]) -> Vec<(&'static str, Since)> {
        let names = channels.iter().map(|place| NAMES[*place]);
        let asked = names.zip(from.iter().cycle());
        asked.map(|(name, from)| (name, self.since(from, name))).collect()
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Publish(saying) => self.publish(*saying),
            Op::Batch(said) => self.batch(said),
            Op::Subscribe(shard, channels, from) => {
                self.subscribe(*shard, &self.request(channels, from));
            }
            Op::Slices(shard, channels, from, said) => {
                self.slices(*shard, &self.request(channels, from), said);
            }
            Op::Unsubscribe(which) => self.unsubscribe(which),
            Op::Advance(ms) => {
                self.oracle.now += ms;
                self.oracle.upkeep();
                self.node.advance(*ms);
            }
            Op::History(channel, from, limit) => {
                let name = NAMES[*channel];
                self.history(name, self.since(from, name), *limit);
            }
        }
        self.read_entries();
        self.compare();
    }

    /// What the oracle says of a publish: the result, and the message entry if there is one.
    fn expect(&mut self, (name, bytes, key): Saying) -> (Result<Published, Refusal>, Told) {
        let name = NAMES[name];
        self.oracle.stand();
        self.oracle.end_lives(1);
        match key.and_then(|key| self.oracle.keyed(name, key)) {
            Some(keyed) if keyed.bytes == bytes => {
                self.duplicates += 1;
                return (Ok(Published { duplicate: true, ..keyed.published.clone() }), None);
            }
            Some(_) => {
                self.conflicts += 1;
                return (Err(Refusal::Conflict), None);
            }
            None => {}
        }
        let Some(life) = self.oracle.publish(name, message::cost(bytes, None)) else {
            return (Err(Refusal::ChannelLimit), None);
        };
        let last = self.oracle.lives[life].last;
        let record = &self.oracle.records[self.oracle.record(name).expect("it has a life")];
        let place = at(self.oracle.last());
        let subscribers = record.subscribers();
        let published =
            Published { id: place, offset: last, subscribers, duplicate: false, also: None };
        let told = (record.mask(), last, self.oracle.last(), self.oracle.floor(name));
        let told = (record.mask() != 0).then_some(told);
        if let Some(key) = key {
            self.oracle.remember(name, key, bytes, published.clone());
        }
        (Ok(published), told)
    }

    fn messages(&self) -> Vec<(u64, u64, u64, u64)> {
        let told = |(mask, entry): &(u64, Entry)| match entry {
            Entry::Message(message) => {
                Some((*mask, message.offset, message.position, message.floor))
            }
            _ => None,
        };
        self.node.entries.iter().filter_map(told).collect()
    }

    fn publish(&mut self, saying: Saying) {
        let (expected, told) = self.expect(saying);
        assert_eq!(self.node.publish_this(said(saying)), expected);
        assert_eq!(self.messages(), Vec::from_iter(told));
    }

    fn batch(&mut self, sayings: &[Saying]) {
        let expected: Vec<_> = sayings.iter().map(|saying| self.expect(*saying)).collect();
        let results = self.node.batch(sayings.iter().copied().map(said).collect());
        let (expected, told): (Vec<_>, Vec<_>) = expected.into_iter().unzip();
        assert_eq!(results, expected);
        assert_eq!(self.messages(), told.into_iter().flatten().collect::<Vec<_>>());
    }

    fn subscribe(&mut self, shard: usize, channels: &[(&'static str, Since)]) {
        let names: Vec<_> = channels.iter().map(|(name, _)| *name).collect();
        let may_follow = self.oracle.may_follow(&names);
        let reply = self.node.subscribe_each(shard as u8, channels);
        if !may_follow {
            return assert_eq!(reply.err(), Some(Refusal::FollowedLimit));
        }
        let records: Vec<_> = names.iter().map(|name| self.oracle.join(name, shard)).collect();
        let reply = reply.expect("there is room for all channels");
        self.read_entries();
        let mut begin = self.oracle.last();
        for ((record, told), (_, since)) in records.iter().zip(&reply.channels).zip(channels) {
            let owed = self.compare_start(*record, shard, *since, told);
            begin = begin.min(owed.map_or(begin, |position| position - 1));
        }
        assert_eq!(reply.begin, begin);
        assert_eq!(reply.channels.len(), records.len());
        self.connections.push((shard, records));
        self.logs[shard].read(&Entry::Subscribed(reply));
    }

    /// Each channel has a place of its own, and what is published between two of them is told
    /// between their replies: to the shard that follows the first, and is imported by no later one.
    fn slices(&mut self, shard: usize, channels: &[(&'static str, Since)], sayings: &[Saying]) {
        let names: Vec<_> = channels.iter().map(|(name, _)| *name).collect();
        // Where the ring has no room, which step does what depends on that.
        let has_room = self.node.sequencer.performer.ring.bytes_max > 100_000;
        if !self.oracle.may_follow(&names) || !has_room {
            return self.subscribe(shard, channels);
        }
        self.node.sequencer.set_turn(1);
        let asked = self.node.ask(shard as u8, channels);
        let (mut begin, mut records) = (u64::MAX, Vec::new());
        let mut told = None;
        for (nth, (name, since)) in channels.iter().enumerate() {
            self.node.step();
            let is_slice = |(_, entry): &(u64, Entry)| matches!(entry, Entry::Subscribed(_));
            let at = self.node.entries.iter().position(is_slice).expect("a slice for each step");
            let mut later = self.node.entries.split_off(at);
            let (mask, Entry::Subscribed(reply)) = later.remove(0) else { unreachable!() };
            assert_eq!(self.messages(), Vec::from_iter(told.take()));
            self.read_entries();
            assert_eq!((mask, reply.requester), (1 << shard, asked));
            let left = channels.len() - nth - 1;
            assert_eq!((reply.channels.len(), reply.left), (1, left));
            let record = self.oracle.join(name, shard);
            let owed = self.compare_start(record, shard, *since, &reply.channels[0]);
            begin = begin.min(owed.map_or(begin, |position| position - 1));
            assert_eq!(
                (reply.begin, reply.present),
                (begin.min(self.oracle.last()), self.oracle.last())
            );
            records.push(record);
            self.logs[shard].read(&Entry::Subscribed(reply));
            self.node.entries = later;
            self.read_entries();
            if let Some(saying) = sayings.get(nth).filter(|_| left > 0) {
                told = self.expect(*saying).1;
                let publish = Command::Publish(said(*saying), PublishAnswer::Nobody);
                self.node.send(publish);
            }
        }
        self.node.sequencer.set_turn(256);
        self.node.run();
        self.connections.push((shard, records));
    }

    /// Compares one channel of a reply; says the position of the first message that is owed.
    fn compare_start(
        &mut self,
        nth: usize,
        shard: usize,
        since: Since,
        told: &SubscribedChannel,
    ) -> Option<u64> {
        let record = &self.oracle.records[nth];
        assert_eq!(*told.name, name(record.name));
        let (owed, gap) = self.oracle.start(record.name, since);
        let (last, floor) = (self.oracle.last_offset(record.name), self.oracle.floor(record.name));
        assert_eq!((told.last, told.floor), (last, floor));
        assert_eq!(told.life, self.oracle.life_name(record.name));
        self.named.push((record.name, told.life, told.last));
        assert_eq!(told.gap, gap, "{} since {since:?}", record.name);
        assert_eq!(told.next, last + 1 - owed.len() as u64);
        let log_from = record.log_from[shard];
        let missing = if told.next < log_from { floor..log_from } else { 0..0 };
        let import: Vec<u64> = told.import.iter().map(|message| message.offset).collect();
        assert_eq!(import, missing.clone().collect::<Vec<_>>());
        if told.next < log_from {
            self.oracle.records[nth].log_from[shard] = floor;
        }
        let known = *self.ids.entry(nth).or_insert(told.channel);
        assert_eq!(known, told.channel, "a record has one number");
        let others = self.ids.iter().filter(|(_, id)| **id == known);
        assert_eq!(others.count(), 1, "a number has one record");
        owed.first().copied()
    }

    fn unsubscribe(&mut self, which: &prop::sample::Index) {
        if self.connections.is_empty() {
            return;
        }
        let (shard, records) = self.connections.swap_remove(which.index(self.connections.len()));
        let ids: Vec<_> = records.iter().map(|record| self.ids[record]).collect();
        records.iter().for_each(|record| self.oracle.unsubscribe(*record, shard));
        self.node.unsubscribe(shard as u8, &ids);
    }

    fn history(&mut self, channel: &'static str, since: Since, limit: usize) {
        let (since, asked) = match since {
            Since::After(id) => (since, Some(id)),
            // All that is kept.
            _ => (Since::After(id(0)), None),
        };
        let (owed, gap) = self.oracle.start(channel, since);
        let page = self.node.history(channel, asked, limit);
        let given: Vec<_> = page.messages.iter().map(|message| message.position).collect();
        assert_eq!(given, owed.iter().copied().take(limit).collect::<Vec<_>>());
        assert_eq!(page.gap, gap.filter(|_| asked.is_some()));
        assert_eq!(page.more, owed.len() > limit);
        // Continuing where the page ends gives the rest, and no gap again.
        let (rest, again) = self.oracle.start(channel, Since::After(page.id));
        assert_eq!(rest, owed.iter().copied().skip(limit).collect::<Vec<_>>());
        assert_eq!(again, None, "{page:?}");
    }

    fn read_entries(&mut self) {
        for (mask, entry) in self.node.take() {
            for (shard, logs) in self.logs.iter_mut().enumerate() {
                if mask & 1 << shard != 0 {
                    logs.read(&entry);
                }
            }
        }
    }

    fn compare(&mut self) {
        self.node.sequencer.invariants();
        let metrics = &self.node.metrics.sequencer;
        let ended = self.oracle.lives.iter().filter(|life| life.ended).count();
        let subscriptions: u64 =
            self.oracle.records.iter().map(|record| record.subscribers()).sum();
        let (alive, followed) = self.oracle.counts();
        assert_eq!(metrics.channels.read(), alive as u64);
        assert_eq!(metrics.followed_channels.read(), followed as u64);
        assert_eq!(metrics.channels_forgotten.read(), ended as u64);
        assert_eq!(metrics.subscriptions.read(), subscriptions);
        assert_eq!(metrics.position.read(), self.oracle.last());
        assert_eq!(metrics.published.read(), self.oracle.said.len() as u64);
        assert_eq!(metrics.duplicates.read(), self.duplicates);
        assert_eq!(metrics.key_conflicts.read(), self.conflicts);
        assert_eq!(metrics.history_bytes.read(), self.oracle.bytes() as u64);
        assert!(self.oracle.bytes() <= self.oracle.budget);
        assert_eq!(self.node.sequencer.performer.order.applied.watermark, self.oracle.watermark);
        for name in NAMES {
            let stats = self.node.stats(name);
            let kept = self.oracle.alive(name).map_or(Vec::new(), |life| self.oracle.kept(life));
            let record = self.oracle.record(name).map(|nth| &self.oracle.records[nth]);
            let expected = ChannelStats {
                subscribers: record.map_or(0, |record| record.subscribers()),
                offset: self.oracle.last_offset(name),
                history_messages: kept.len() as u64,
                history_bytes: kept.iter().map(|at| self.oracle.said[*at].cost as u64).sum(),
            };
            assert_eq!(stats, expected, "{name}");
        }
        self.compare_logs();
    }

    /// A shard has a log of exactly the channels in which it is interested, with everything that
    /// they keep from where the log begins, and knows how much that is.
    fn compare_logs(&self) {
        for (shard, logs) in self.logs.iter().enumerate() {
            let records = self.oracle.records.iter().enumerate();
            let interested =
                |(_, record): &(usize, &Record)| !record.gone && record.interest[shard].is_some();
            let interested: Vec<_> = records.filter(interested).collect();
            assert_eq!(logs.0.len(), interested.len());
            for (nth, record) in interested {
                let (floor, log) = &logs.0[&self.ids[&nth]];
                assert_eq!(*floor, self.oracle.floor(record.name), "{}", record.name);
                let offsets: Vec<u64> = log.keys().copied().collect();
                let from = record.log_from[shard].max(*floor);
                assert_eq!(
                    offsets,
                    (from..=self.oracle.last_offset(record.name)).collect::<Vec<_>>()
                );
            }
        }
    }
}

/// Mask, offset, position and floor of a message entry.
type Told = Option<(u64, u64, u64, u64)>;

proptest! {
    #[test]
    fn whatever_happens_is_what_the_oracle_says(
        ops in prop::collection::vec(op(), 1..160),
        ring_entries in prop_oneof![Just(4usize), Just(16), Just(4_096)],
        ring_bytes in prop_oneof![Just(1usize), Just(2_000), Just(1 << 20)],
    ) {
        let mut world = World::new(ring_entries, ring_bytes);
        for op in &ops {
            world.apply(op);
        }
    }
}
