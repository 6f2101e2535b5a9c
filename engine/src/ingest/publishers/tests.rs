//! Who is read, how much of it, and that nobody waits for ever.

use std::collections::VecDeque;
use std::sync::Arc;

use fanfare_protocol::id::{Epoch, Id};
use fanfare_protocol::ingest::client::{Decoder, Reply};
use fanfare_protocol::ingest::{
    ChannelNames, ChannelReceipt, PublishFrame, SessionId, session, write,
};

use super::super::ledger::GroupResults;
use super::*;
use crate::channel::Tenant;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::sequencer::command::Published;

const USER: u32 = 7;
const PEER: Peer = Peer { user: USER, group: USER };
const NOW: Millis = Millis(1_000);

/// Publishers whose bytes are all there from the beginning, and an order that is asked by hand.
struct World {
    limits: Limits,
    metrics: Metrics,
    publishers: Publishers,
    clients: BTreeMap<Key, VecDeque<u8>>,
    asked: VecDeque<Group>,
    published: u64,
}

impl World {
    fn new(change: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = Limits { message_bytes: 100_000, batch_messages: 10, ..Limits::default() };
        change(&mut limits);
        let metrics = Metrics::new(1);
        let settings = IngestConfig {
            path: "unused".into(),
            mode: 0o600,
            users: Vec::new(),
            peers: Vec::new(),
            limits: limits.clone(),
            epoch: Epoch::from_random(1),
            life: Epoch::from_random(1),
            tenant: Tenant::default(),
        };
        let in_flight = InFlight::of(&metrics, &limits);
        let publishers = Publishers::new(settings, in_flight, USER, 1);
        let (clients, asked) = (BTreeMap::new(), VecDeque::new());
        Self { limits, metrics, publishers, clients, asked, published: 0 }
    }

    /// One that will send all of this.
    fn connect(&mut self, bytes: Vec<u8>) -> Key {
        let (admission, refused) = self.publishers.admit(NOW, Some(PEER));
        let Admission::Taken(key) = admission else { panic!("it has a place") };
        assert!(!refused);
        self.clients.insert(key, bytes.into());
        key
    }

    /// Reads of everyone what may be read; how many bytes that were.
    fn turn(&mut self, now: Millis) -> usize {
        let mut read = 0;
        for (key, bytes) in &mut self.clients {
            if bytes.is_empty() {
                continue;
            }
            let most = self.publishers.read_at_most(now, *key).min(bytes.len());
            let piece: Vec<u8> = bytes.drain(..most).collect();
            if most > 0 {
                self.publishers.handle_bytes(now, *key, &piece);
            }
            read += most;
            self.asked.extend(self.publishers.take_groups());
        }
        self.publishers.open_sessions(now);
        self.asked.extend(self.publishers.take_groups());
        for key in self.clients.keys() {
            self.publishers.handle_deadline(now, now, *key);
            if let Some(publisher) = self.publishers.get(*key) {
                publisher.handle_sent(now, publisher.unsent().len());
            }
        }
        for key in self.publishers.end_turn(now) {
            self.clients.remove(&key);
        }
        read
    }

    /// The order places all that it was asked.
    fn answer(&mut self) {
        for Group { number, publications, .. } in std::mem::take(&mut self.asked) {
            let results = publications.iter().map(|publication| {
                self.published += 1;
                let id = Id { epoch: Epoch::from_random(1), position: self.published };
                Ok(Published {
                    id,
                    offset: self.published,
                    subscribers: 0,
                    duplicate: false,
                    also: (!publication.also.is_empty())
                        .then(|| Arc::new(vec![ChannelReceipt::default(); publication.also.len()])),
                })
            });
            let end = GroupEnd::Results(GroupResults::Each(results.collect()));
            self.publishers.end_group(NOW, number, end);
        }
    }

    fn held(&self) -> usize {
        self.metrics.in_flight.held()
    }

    /// What all may hold: the budget, and what everyone is always read of.
    fn most(&self) -> usize {
        self.limits.all_in_flight() + self.clients.len() * (BEGUN_BYTES + LITTLE_BYTES * BYTE_COST)
    }
}

fn hello() -> Vec<u8> {
    let mut out = Vec::new();
    write::preface(&mut out);
    out
}

fn messages(count: usize, bytes: usize) -> Vec<u8> {
    let mut frame = Vec::new();
    write::publish(&PublishFrame::new("demo", &vec![b'x'; bytes]), &mut frame);
    [hello(), frame.repeat(count)].concat()
}

/// A small budget: a few of the largest messages.
fn small(limits: &mut Limits) {
    limits.in_flight_bytes = 0;
}

#[test]
fn what_is_handed_over_keeps_within_the_budget_and_all_of_it_gets_through() {
    for bytes in [1, 20, 3_000, 100_000] {
        let mut world = World::new(small);
        let count = 300_000 / (bytes + 17);
        for _ in 0..40 {
            world.connect(messages(count, bytes));
        }
        let mut rounds = 0;
        while world.clients.values().any(|bytes| !bytes.is_empty()) {
            // The order is slow: everyone sends until nothing more is taken.
            while world.turn(NOW) > 0 {
                assert!(world.held() <= world.most(), "{} of {}", world.held(), world.most());
            }
            world.answer();
            rounds += 1;
            assert!(rounds < 100_000, "messages of {bytes} bytes do not get through");
        }
        world.answer();
        assert_eq!(world.published, 40 * count as u64, "messages of {bytes} bytes");
        world.turn(NOW);
        assert_eq!(world.held(), 0, "nothing is held of what has its outcome");
    }
}

#[test]
fn one_who_sends_a_little_gets_through_whatever_others_hold() {
    let mut world = World::new(small);
    for _ in 0..30 {
        world.connect(messages(100, 100_000));
    }
    while world.turn(NOW) > 0 {}
    assert!(world.publishers.held() >= 30);
    let before = world.asked.len();
    world.connect(messages(5, 20));
    world.turn(NOW);
    let publications = world.asked.iter().skip(before).map(|group| group.publications.len());
    assert_eq!(publications.sum::<usize>(), 5);
}

/// Or whoever is in the middle of a frame would keep all backends from publishing, and all clients
/// from following, for as long as it is waited for.
#[test]
fn who_has_the_reserve_leaves_as_much_room_to_others_as_anyone_has() {
    for count in [20, 60] {
        let mut world = World::new(|limits| {
            (limits.in_flight_bytes, limits.message_bytes) = (20_000_000, 1_000_000);
        });
        for _ in 0..count {
            let mut bytes = messages(1, 1_000_000);
            bytes.pop();
            world.connect(bytes);
        }
        while world.turn(NOW) > 0 {}
        let held = world.publishers.held();
        let reserved = world.metrics.in_flight_reserve.held();
        assert!(held > 0 && reserved > 0, "{held} wait, {reserved} bytes are reserved");
        assert!(world.held() + reserved <= world.most());
        let room = world.publishers.in_flight.room(0);
        assert!(room >= 100_000, "{room} are left to {count} and one more");
    }
}

#[test]
fn frames_for_which_there_is_no_room_end_one_after_the_other_each_in_its_time() {
    let all = Limits { message_bytes: 100_000, batch_messages: 10, ..Limits::default() };
    let all = Limits { in_flight_bytes: 0, ..all }.all_in_flight();
    let count = all / 100_000 + 4;
    let mut world = World::new(small);
    for _ in 0..count {
        world.connect(messages(1, 100_000));
    }
    while world.turn(NOW) > 0 {}
    let whole = world.asked.len();
    assert!((1..=count / 2).contains(&whole), "{whole} had room, or the reserve");
    assert_eq!(world.publishers.held(), count - whole, "the others are in the middle");
    world.answer();
    world.turn(NOW);
    // The next one sends a byte now and then: never late, and never done.
    let holder = |world: &World| world.publishers.reserve.as_ref().map(|it| it.holder);
    let slow = holder(&world).expect("somebody waits for it");
    let rest = world.clients.remove(&slow).unwrap();
    let mut now = NOW;
    for byte in rest.iter().take(2) {
        assert_eq!(holder(&world), Some(slow));
        now = now.plus(world.limits.head_ms * 2 / 3);
        assert!(world.publishers.read_at_most(now, slow) > 0);
        world.publishers.handle_bytes(now, slow, &[*byte]);
        world.publishers.handle_deadline(now, now, slow);
        world.publishers.end_turn(now);
    }
    let publisher = world.publishers.get(slow).unwrap();
    assert!(!publisher.keeps_its_bounds(), "it is told that its time is over");
    publisher.handle_failure();
    for _ in 0..count {
        while world.turn(now) > 0 {}
        world.answer();
    }
    assert!(world.clients.values().all(VecDeque::is_empty));
    assert_eq!(world.published, count as u64 - 1);
}

#[test]
fn a_byte_comes_to_no_more_than_was_paid_for_it() {
    let tiny = |channel: &str, data: &[u8]| {
        let mut frame = Vec::new();
        write::publish(&PublishFrame::new(channel, data), &mut frame);
        frame
    };
    let event = PublishFrame { event: Some(b" "), ..PublishFrame::new("c", b"x") };
    let mut bad_event = Vec::new();
    write::publish(&event, &mut bad_event);
    for frame in [tiny("c", b"x"), tiny("", b""), tiny("*", b"x"), tiny("c", b""), bad_event] {
        let mut world = World::new(|limits| limits.batch_messages = 100_000);
        let key = world.connect([hello(), frame.repeat(5_000)].concat());
        let read = world.turn(NOW);
        assert!(read > 60_000);
        let publisher = world.publishers.get(key).unwrap();
        let (bytes, told) = (publisher.bytes(), publisher.under_way_bytes());
        assert!(bytes.max(told) <= read * BYTE_COST, "{bytes} for {read}");
    }
}

#[test]
fn sessions_without_a_connection_hold_a_quarter() {
    let mut world = World::new(|limits| {
        small(limits);
        (limits.batch_messages, limits.publishers) = (1_000, 2);
    });
    let most = world.limits.all_in_flight() / 4;
    let mut ids = 0_u8;
    let mut forgotten = 0;
    while forgotten == 0 {
        ids += 1;
        assert!(ids < 255, "{} of {most}", world.publishers.sessions.kept_bytes());
        let mut bytes = Vec::new();
        write::session_preface(&mut bytes);
        let id = SessionId([ids; 16]);
        let open = session::Open { session: id, resumes: false, confirmed: 0 };
        write::open(&open, &mut bytes);
        let mut refused = Vec::new();
        write::publish(&PublishFrame::new("bad*", b"x"), &mut refused);
        bytes.extend(refused.repeat(1_000));
        let key = world.connect(bytes);
        while world.turn(NOW) > 0 {}
        let kept = world.publishers.sessions.kept_bytes();
        world.publishers.get(key).unwrap().handle_failure();
        world.turn(NOW);
        assert!(world.publishers.sessions.kept_bytes() <= most);
        assert_eq!(world.held(), world.publishers.sessions.kept_bytes());
        forgotten += world.publishers.take_counts().forgotten;
        assert!(forgotten > 0 || world.publishers.sessions.kept_bytes() > kept);
    }
    assert!(world.publishers.sessions.kept_bytes() > most / 2);
}

/// Nobody breaks a rule here: each confirms nothing, has messages in as many channels as may be,
/// and sends no more than it was promised.
#[test]
fn outcomes_that_nobody_confirms_leave_half_to_others() {
    for budget in [1, 40_000_000] {
        let mut world = World::new(|limits| {
            (limits.in_flight_bytes, limits.batch_messages) = (budget, 1_000);
            limits.publishers = 20;
        });
        let also: Vec<String> =
            (1..world.limits.channels_per_message).map(|nth| nth.to_string()).collect();
        let also: Vec<&[u8]> = also.iter().map(|name| name.as_bytes()).collect();
        let frame = PublishFrame {
            answer: true,
            also: ChannelNames::of(&also),
            ..PublishFrame::new("a", b"x")
        };
        let mut message = Vec::new();
        write::publish(&frame, &mut message);
        let promised = world.publishers.settings.sessions().unconfirmed as usize;
        for id in 0..20 {
            let mut bytes = Vec::new();
            write::session_preface(&mut bytes);
            let id = SessionId([id; 16]);
            let open = session::Open { session: id, resumes: false, confirmed: 0 };
            write::open(&open, &mut bytes);
            bytes.extend(message.repeat(promised));
            world.connect(bytes);
        }
        let mut idle = 0;
        while idle < 3 {
            idle = if world.turn(NOW) > 0 { 0 } else { idle + 1 };
            world.answer();
        }
        let (held, all) = (world.held(), world.limits.all_in_flight());
        assert_eq!((world.clients.len(), world.published as usize), (20, 20 * promised));
        assert!(held > all / 4 && held <= all / 2, "{held} of {all}");
    }
}

#[test]
fn what_may_be_read_is_what_there_is_room_for() {
    // A buffer that has room for 30 bytes more, and then for all of a frame.
    let growth = |more| if more > 30 { 100 } else { 0 };
    let within = |room, missing| Reading::within(room, missing, 1_000, growth);
    assert_eq!(within(480, 0), Reading { bytes: 10, cost: 480 });
    assert_eq!(within(usize::MAX, 0).bytes, TURN_BYTES);
    // Of a frame: all but its last byte, or all of it and what it comes to, or more than it.
    assert_eq!(within(99, 200), Reading { bytes: 30, cost: 0 });
    assert_eq!(within(100, 200), Reading { bytes: 199, cost: 100 });
    assert_eq!(within(1_399, 200), Reading { bytes: 199, cost: 100 });
    assert_eq!(within(1_400, 200), Reading { bytes: 200, cost: 1_400 });
    assert_eq!(within(1_448, 200), Reading { bytes: 201, cost: 1_448 });
    assert_eq!(within(usize::MAX, 1 << 20), Reading { bytes: TURN_BYTES, cost: 2 * TURN_BYTES });
}

/// Who was told of the old epoch hears the outcomes of what was read of it and is told goodbye; who
/// has said nothing yet is greeted in the new one.
#[test]
fn an_epoch_that_begins_is_told_to_those_who_know_the_old_one() {
    let mut world = World::new(|_| {});
    let asks = PublishFrame { answer: true, ..PublishFrame::new("demo", b"x") };
    let mut bytes = hello();
    write::publish(&asks, &mut bytes);
    let old = world.connect(Vec::new());
    world.publishers.handle_bytes(NOW, old, &bytes);
    world.asked.extend(world.publishers.take_groups());
    let silent = world.connect(Vec::new());
    let next = Epoch::from_random(2);
    world.publishers.begin_epoch(NOW, Epoch::from_random(1));
    assert!(world.publishers.wants_bytes(old), "that is the one it knows");
    world.publishers.begin_epoch(NOW, next);
    assert!(!world.publishers.wants_bytes(old), "it is read no more");
    let placed = Id { epoch: next, position: 7 };
    let Group { number, .. } = world.asked.pop_front().unwrap();
    let (offset, subscribers, duplicate, also) = (1, 0, false, None);
    let place = Published { id: placed, offset, subscribers, duplicate, also };
    world.publishers.end_group(NOW, number, GroupEnd::Results(GroupResults::Each(vec![Ok(place)])));
    world.publishers.handle_bytes(NOW, silent, &hello());
    let mut told = |key| {
        let mut decoder = Decoder::new();
        let publisher = world.publishers.get(key).unwrap();
        let (mut bytes, mut told, mut epoch) = (publisher.unsent(), Vec::new(), None);
        while let Some(reply) = decoder.next(&mut bytes).unwrap() {
            told.push(match reply {
                Reply::Hello(hello) => {
                    epoch = Some(hello.epoch);
                    format!("hello {}", hello.epoch.number())
                }
                Reply::Answer(answer) => answer.id(epoch.unwrap()).to_string(),
                Reply::Ack(sequence) => format!("ack {sequence}"),
                Reply::Goodbye { last, code } => format!("goodbye {last} {}", code.0),
                other => panic!("{other:?}"),
            });
        }
        told
    };
    assert_eq!(told(old), ["hello 1", &placed.to_string(), "ack 1", "goodbye 1 205"]);
    assert_eq!(told(silent), ["hello 2"]);
}
