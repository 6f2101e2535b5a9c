//! Nodes over a log that outlives them, and all that can be asked of one.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex};

use fanfare_protocol::id::{Epoch, Id, LifeId};
use fanfare_protocol::record::{self, Channels, Delivery, Header, Record, Secret, Writer};

use super::super::command::*;
use super::super::inbox::{Inbox, inbox};
use super::super::keys::Seen;
use super::super::restore::Replay;
use super::super::resume::Start;
use super::super::{Sequencer, SequencerConfig, Step, Ticket};
use super::node::{EPOCH, Recorded, SECRET, name, publication, rule, rules};
use crate::channel::{ChannelName, Tenant};
use crate::clock::Millis;
use crate::limits::Limits;
use crate::log::{Item, Log, LogEvent, RECORD_ITEMS};
use crate::metrics::Metrics;
use crate::origin::Origin;
use crate::rule::Rules;

pub(super) const NAMES: [&str; 7] =
    ["few:1", "few:2", "small:1", "brief:1", "none:1", "other", "another"];

pub(super) fn small_rules() -> Rules {
    rules(vec![
        rule("few:*", 3, usize::MAX, 300),
        rule("small:*", 50, 800, 300),
        rule("brief:*", 50, usize::MAX, 40),
        rule("none:*", 0, usize::MAX, 40),
        rule("another", 9, usize::MAX, 0),
    ])
}

/// So small that all of them are met.
pub(super) fn small_limits() -> Limits {
    Limits {
        channels: 4,
        history_bytes: 2_400,
        interest_ms: 50,
        channel_idle_ms: 220,
        idempotency_keys: 6,
        idempotency_age_ms: 150,
        ..Limits::default()
    }
}

/// A log that outlives its nodes, whose records have one item each.
#[derive(Clone, Default)]
pub(super) struct Journal(Arc<Mutex<Vec<Written>>>);

/// A record's time and bytes.
type Written = (Millis, Vec<u8>);

impl Journal {
    /// Another epoch begins.
    pub(super) fn begin_epoch(&self, now: Millis, epoch: Epoch, secret: Secret) {
        self.append_in(Some(epoch), now, &record::Item::Genesis(secret));
    }

    fn append(&self, now: Millis, item: &record::Item<'_>) {
        self.append_in(None, now, item);
    }

    /// In this epoch, or that of the record before.
    fn append_in(&self, epoch: Option<Epoch>, now: Millis, item: &record::Item<'_>) {
        let mut records = self.0.lock().unwrap();
        let at = records.last().map_or(now, |(last, _)| now.max(*last));
        let number = records.len() as u64 + 1;
        let before = |(_, bytes): &Written| Record::read(bytes).expect("it is ours").header.epoch;
        let epoch = epoch.or_else(|| records.last().map(before));
        let epoch = epoch.unwrap_or(Epoch::from_random(EPOCH));
        let header = Header { epoch, incarnation: 1, number, seen: 0, chain: 0, state: 0 };
        let mut bytes = Vec::new();
        Writer::new(&header, &mut bytes).item(item);
        records.push((at, bytes));
    }

    fn write(&self, now: Millis, publication: &Publication) {
        let Publication { channel, also, kind, event, idempotency_key, ephemeral, except, data } =
            publication;
        let names: Vec<&str> = publication.channels().map(|channel| &*channel.name).collect();
        assert_eq!(names.len(), also.len() + 1);
        let delivery = if *ephemeral { Delivery::Ephemeral } else { Delivery::Kept };
        self.append(
            now,
            &record::Item::Publication(record::Publication {
                tenant: channel.tenant.in_records(),
                channels: Channels::of(&names),
                kind: *kind,
                event: event.as_deref(),
                except: except.and_then(|origin| NonZeroU64::new(origin.number())),
                key: idempotency_key.as_deref(),
                delivery,
                data,
            }),
        );
    }

    pub(super) fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    pub(super) fn read(&self, nth: usize) -> Option<Item<Ticket>> {
        let records = self.0.lock().unwrap();
        let (at, bytes) = records.get(nth)?;
        let record = Record::read(bytes).expect("it is ours");
        let (number, item) = record.items().next().expect("it has an item");
        let position = record.header.number * RECORD_ITEMS + u64::from(number);
        let event = match item {
            record::Item::Publication(read) => {
                let tenant = Tenant::of_records(read.tenant);
                let mut channels = read.channels.map(|name| ChannelName::new(tenant.clone(), name));
                let publication = Publication {
                    channel: channels.next().expect("it has a channel"),
                    also: channels.collect(),
                    kind: read.kind,
                    event: read.event.map(Into::into),
                    idempotency_key: read.key.map(Into::into),
                    ephemeral: read.delivery == Delivery::Ephemeral,
                    except: read.except.and_then(|origin| Origin::parse(&format!("{origin:016x}"))),
                    data: read.data.into(),
                };
                LogEvent::Published { publication, ticket: None }
            }
            record::Item::Heartbeat => LogEvent::Heartbeat,
            record::Item::Genesis(secret) => {
                LogEvent::Genesis { epoch: record.header.epoch, secret }
            }
            other => panic!("{other:?} is not written here"),
        };
        Some(Item { position, at: *at, event })
    }
}

/// One node's reading of it. Who leads writes it, too.
pub(super) struct Reader {
    journal: Journal,
    read: usize,
    leads: bool,
    tickets: VecDeque<Ticket>,
}

impl Log<Ticket> for Reader {
    fn offer(&mut self, publication: Publication, ticket: Ticket, now: Millis) {
        assert!(self.leads);
        self.journal.write(now, &publication);
        self.tickets.push_back(ticket);
    }

    fn pass(&mut self, now: Millis) {
        if self.leads {
            self.journal.append(now, &record::Item::Heartbeat);
        }
    }

    fn next(&mut self) -> Option<Item<Ticket>> {
        let mut item = self.journal.read(self.read)?;
        self.read += 1;
        if let LogEvent::Published { ticket, .. } = &mut item.event {
            *ticket = self.tickets.pop_front();
        }
        Some(item)
    }
}

pub(super) struct Replica {
    pub(super) sequencer: Sequencer<Recorded, Reader>,
    inbox: Inbox,
}

impl Replica {
    pub(super) fn new(journal: &Journal, leads: bool, limits: Limits, rules: Rules) -> Self {
        let epoch = Epoch::from_random(EPOCH);
        let (inbox, commands) = inbox(limits.inbox_commands);
        let reader = Reader { journal: journal.clone(), read: 0, leads, tickets: VecDeque::new() };
        let config = SequencerConfig { epoch, secret: SECRET, shards: 1, limits, rules };
        let metrics = Arc::new(Metrics::new(1));
        let sequencer = Sequencer::new(reader, config, commands, Recorded::boundless(), metrics);
        Self { sequencer, inbox }
    }

    pub(super) fn restored(journal: &Journal, replay: Replay) -> Self {
        let (inbox, commands) = inbox(8);
        let (read, tickets) = (journal.len(), VecDeque::new());
        let reader = Reader { journal: journal.clone(), read, leads: true, tickets };
        let (ring, metrics) = (Recorded::boundless(), Arc::new(Metrics::new(1)));
        let sequencer = Sequencer::restored(replay, reader, commands, ring, metrics);
        Self { sequencer, inbox }
    }

    pub(super) fn run(&mut self, now: Millis) {
        while self.sequencer.step(now) != Step::Idle {
            self.sequencer.performer.ring.drain();
        }
        self.sequencer.performer.ring.drain();
        self.sequencer.invariants();
    }

    pub(super) fn send(&mut self, command: Command) {
        assert!(self.inbox.offer(command).is_ok());
    }

    /// All that what comes next is decided by, and what everybody would be answered who comes.
    pub(super) fn state(&self) -> BTreeMap<String, String> {
        let order = &self.sequencer.performer.order;
        let applied = &order.applied;
        let mut state = BTreeMap::new();
        let numbers = [applied.position, applied.at.0, applied.state, applied.watermark];
        let kept = [order.retention.bytes(), order.retention.messages(), order.keys.len()];
        state.insert("order".into(), format!("{} {numbers:?} {kept:?}", applied.epoch));
        state.insert("keys".into(), format!("{:?}", order.keys.next_expiry()));
        let positions: Vec<u64> = (0..=applied.position / RECORD_ITEMS + 1)
            .flat_map(|nth| [(nth * RECORD_ITEMS).saturating_sub(1), nth * RECORD_ITEMS])
            .collect();
        for text in NAMES {
            let channel = order.channels.named(&name(text));
            if let Some(channel) = channel.filter(|channel| channel.has_life()) {
                let life = &channel.life;
                let (floor, packed) = (channel.floor(), channel.trimmed.bytes());
                let numbers = [life.offset, life.position, life.began, life.unknown_before, floor];
                let used =
                    (life.used, life.used_at, channel.used_nth, packed, channel.trimmed.reason());
                state.insert(text.into(), format!("{numbers:?} {used:?}"));
                let history = channel.history.range(0, u64::MAX).map(|message| {
                    let view = message.view(applied.epoch);
                    format!("{view:?} {:?} {:?} {}", message.at, message.except, message.nth)
                });
                let history: Vec<String> = history.collect();
                state.insert(format!("{text} history"), format!("{history:#?}"));
            }
            let start = |from| match channel {
                Some(channel) => channel.start(from, applied.watermark),
                None => (1, from.gap_without_life(applied.watermark)),
            };
            let starts = positions.iter().map(|position| {
                let since = Since::After(Id { epoch: applied.epoch, position: *position });
                start(Start::since(since, applied))
            });
            state.insert(format!("{text} since"), format!("{:?}", starts.collect::<Vec<_>>()));
            let starts = positions.iter().flat_map(|place| (0..4).map(move |had| (*place, had)));
            let starts = starts.map(|(position, had)| {
                let life = LifeId(Id { epoch: applied.epoch, position });
                start(Start::since(Since::Offset(had, life), applied))
            });
            state.insert(format!("{text} after"), format!("{:?}", starts.collect::<Vec<_>>()));
            let starts = (0..applied.at.0 + 50).rev().step_by(7).map(|time| {
                let since = Since::Time(Millis(time));
                start(Start::since(since, applied))
            });
            state.insert(format!("{text} at"), format!("{:?}", starts.collect::<Vec<_>>()));
            let seen = (0..3).map(|key| {
                match order.keys.look(&said(text, 1, Some(key)), applied.at) {
                    // How many followed it then, each node knows of itself.
                    Seen::Before(published) => {
                        let also = published.also().iter().map(|place| place.offset);
                        let also: Vec<u64> = also.collect();
                        format!("{} {} {also:?}", published.id, published.offset)
                    }
                    seen => format!("{seen:?}"),
                }
            });
            state.insert(format!("{text} keys"), format!("{:?}", seen.collect::<Vec<_>>()));
        }
        state
    }
}

pub(super) fn said(channel: &str, bytes: usize, key: Option<usize>) -> Publication {
    let key = key.map(|key| format!("key {key}").into_bytes().into());
    Publication { idempotency_key: key, ..publication(channel, bytes) }
}

/// Panics at the first difference, and says what it is.
pub(super) fn assert_same(one: &BTreeMap<String, String>, other: &BTreeMap<String, String>) {
    for (what, said) in one {
        assert_eq!(other.get(what), Some(said), "{what}");
    }
    assert_eq!(one.len(), other.len());
}
