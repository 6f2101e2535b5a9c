//! Steps: room in the ring before a command is taken, batches, the end, and the thread.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use fanfare_protocol::id::Epoch;

use super::super::command::*;
use super::super::inbox::{NotTaken, inbox};
use super::super::perform::Work;
use super::super::{Sequencer, SequencerConfig, Step};
use super::node::{
    EPOCH, Node, SECRET, id, name, position, publication, requester, rule, rules, session,
};
use crate::bodies::BodyShare;
use crate::clock::Clock;
use crate::limits::Limits;
use crate::log::Memory;
use crate::metrics::Metrics;
use crate::ring::{self, Wake};

fn offsets(entries: &[(u64, Entry)]) -> Vec<u64> {
    let told = |(_, entry): &(u64, Entry)| match entry {
        Entry::Message(message) => Some(message.offset),
        _ => None,
    };
    entries.iter().filter_map(told).collect()
}

fn connection(shard: u8, index: u32) -> PublishAnswer {
    PublishAnswer::Connection { requester: requester(shard, index, 7), body: BodyShare::default() }
}

fn nobody(channel: &str) -> Command {
    Command::Publish(publication(channel, 100), PublishAnswer::Nobody)
}

#[test]
fn a_full_ring_blocks_and_nothing_overtakes_what_waits() {
    let mut node = Node::with_ring(Limits::default(), rules(Vec::new()), 4, usize::MAX);
    node.subscribe(0, &["a"], Since::Now).unwrap();
    for _ in 0..6 {
        node.send(nobody("a"));
    }
    let (answer, heard) = mpsc::channel();
    node.send(Command::Stats(name("a"), Box::new(move |stats| answer.send(stats).unwrap())));
    assert_eq!(node.sequencer.step(node.now), Step::Worked);
    // A publish may write two entries, so three of four places are used.
    assert_eq!(offsets(&node.sequencer.performer.ring.entries), [1, 2, 3]);
    for _ in 0..3 {
        assert_eq!(node.sequencer.step(node.now), Step::Blocked);
    }
    assert_eq!(node.metrics.sequencer.ring_full.read(), 1, "one wait is counted once");
    assert!(heard.try_recv().is_err(), "the query stands behind the publishes");
    node.run();
    assert_eq!(offsets(&node.entries), [1, 2, 3, 4, 5, 6]);
    assert_eq!(heard.try_recv().map(|stats| stats.offset), Ok(6));
}

#[test]
fn a_publish_that_wakes_the_order_as_a_key_is_over_has_its_place() {
    let limits = Limits { idempotency_age_ms: 50, ..Limits::default() };
    let mut node = Node::with_ring(limits, rules(Vec::new()), usize::MAX, usize::MAX);
    node.subscribe(0, &["a"], Since::Now).unwrap();
    let key = Some(b"key"[..].into());
    let keyed = Publication { idempotency_key: key, ..publication("a", 10) };
    node.send(Command::Publish(keyed, PublishAnswer::Nobody));
    node.run();
    assert_eq!(node.metrics.sequencer.idempotency_keys.read(), 1);
    node.now = node.now.plus(1_000);
    // As the thread does that slept until then.
    node.sequencer.work = Some(Work::Command(nobody("a")));
    node.run();
    assert_eq!(offsets(&node.entries), [1, 2]);
    node.run();
    assert_eq!(node.metrics.sequencer.idempotency_keys.read(), 0, "and the key is over");
}

#[test]
fn a_publish_waits_for_one_turn_of_clients_and_not_for_all_of_them() {
    let mut node = Node::with_ring(Limits::default(), rules(Vec::new()), usize::MAX, usize::MAX);
    node.subscribe(0, &["a"], Since::Now).unwrap();
    let clients = node.inbox.for_clients();
    for index in 0..100 {
        let channels = (0..200).map(|nth| (name(&format!("{index}-{nth}")), Since::Now)).collect();
        let requester = requester(0, index, 1);
        let command = Command::Subscribe(Box::new(Subscribe { requester, channels }));
        assert!(clients.offer(command).is_ok());
    }
    let replies = |entries: &[(u64, Entry)]| {
        entries.iter().filter(|(_, entry)| matches!(entry, Entry::Subscribed(_))).count()
    };
    assert_eq!(node.sequencer.step(node.now), Step::Worked);
    let entries = node.sequencer.performer.ring.drain();
    assert_eq!(replies(&entries), 2, "a turn ends with the command that fills it");
    node.send(nobody("a"));
    assert_eq!(node.sequencer.step(node.now), Step::Worked);
    let entries = node.sequencer.performer.ring.drain();
    assert_eq!(offsets(&entries[..1]), [1], "the publish comes first in the next step");
    assert_eq!(replies(&entries), 2, "and clients have their turn beside it");
    let mut rest = 0;
    while node.sequencer.step(node.now) == Step::Worked {
        rest += replies(&node.sequencer.performer.ring.drain());
    }
    assert_eq!(rest, 96);
}

#[test]
fn a_ring_of_few_bytes_takes_one_message_at_a_time_whatever_its_size() {
    let mut node = Node::with_ring(Limits::default(), rules(Vec::new()), 64, 1_000);
    node.subscribe(0, &["a"], Since::Now).unwrap();
    for _ in 0..3 {
        node.publish("a", 5_000).unwrap();
    }
    assert_eq!(offsets(&node.entries), [1, 2, 3]);
}

#[test]
fn a_batch_larger_than_the_ring_keeps_together() {
    let mut node = Node::with_ring(Limits::default(), rules(Vec::new()), 4, usize::MAX);
    node.subscribe(0, &["a", "b"], Since::Now).unwrap();
    let (answer, heard) = mpsc::channel();
    let batch = (0..1_000).map(|_| publication("a", 1)).collect();
    let answer = BatchAnswer::Each(Box::new(move |all| answer.send(all).unwrap()));
    node.send(Command::PublishBatch(batch, answer));
    node.send(nobody("b"));
    node.run();
    let results = heard.try_recv().unwrap();
    assert_eq!(results.len(), 1_000);
    for (place, result) in results.iter().enumerate() {
        let offset = place as u64 + 1;
        assert_eq!(
            *result,
            Ok(Published { id: id(offset), offset, subscribers: 1, duplicate: false, also: None })
        );
    }
    assert_eq!(node.stats("b").offset, 1);
    let expected: Vec<u64> = (1..=1_000).chain([1]).collect();
    assert_eq!(offsets(&node.take()), expected);
    assert_eq!(node.batch(Vec::new()), []);
}

#[test]
fn a_step_is_bounded() {
    let limits = Limits { inbox_commands: 1_000, ..Limits::default() };
    let mut node = Node::new(limits, rules(Vec::new()));
    (0..1_000).for_each(|_| node.send(nobody("a")));
    node.sequencer.step(node.now);
    assert_eq!(node.metrics.sequencer.position.read(), position(256));
    node.run();
    assert_eq!(node.metrics.sequencer.position.read(), position(1_000));
    assert_eq!(node.metrics.sequencer.published_bytes.read(), 100_000);
}

#[test]
fn time_does_not_go_back() {
    let mut node = Node::new(Limits::default(), rules(Vec::new()));
    node.publish("a", 1).unwrap();
    let before = node.now;
    node.now = crate::clock::Millis(3);
    node.publish("a", 1).unwrap();
    let page = node.history("a", None, 9);
    assert!(page.messages.iter().all(|message| message.at == before));
}

#[test]
fn a_connection_hears_of_its_publish_after_the_message() {
    let mut node = Node::new(Limits::default(), rules(Vec::new()));
    node.subscribe(2, &["a"], Since::Now).unwrap();
    let answer = connection(1, 9);
    node.send(Command::Publish(publication("a", 1), answer));
    node.run();
    let published =
        Published { id: id(1), offset: 1, subscribers: 1, duplicate: false, also: None };
    match &*node.take() {
        [(0b100, Entry::Message(_)), (0b010, Entry::Published(to, result))] => {
            assert_eq!((to, result), (&requester(1, 9, 7), &Ok(published)));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_end_comes_after_what_was_asked_before_and_answers_the_rest() {
    let mut node = Node::with_ring(Limits::default(), rules(Vec::new()), 4, usize::MAX);
    let a = node.subscribe(0, &["a"], Since::Now).unwrap().channels[0].channel;
    let (answer, heard) = mpsc::channel();
    let callback = || {
        let answer = answer.clone();
        PublishAnswer::Callback(Box::new(move |result| answer.send(result).unwrap()))
    };
    node.send(Command::Publish(publication("a", 1), callback()));
    node.send(Command::Shutdown);
    node.send(Command::Publish(publication("a", 1), callback()));
    let (batch, batch_heard) = mpsc::channel();
    node.send(Command::PublishBatch(
        vec![publication("a", 1), publication("a", 1)],
        BatchAnswer::Each(Box::new(move |results| batch.send(results).unwrap())),
    ));
    let channels = [(name("b"), Since::Now)].into();
    let late = Subscribe { requester: requester(1, 5, 3), channels };
    node.send(Command::Subscribe(Box::new(late)));
    let answer = connection(2, 6);
    node.send(Command::Publish(publication("a", 1), answer));
    node.send(Command::Unsubscribe { shard: 0, session: session(0), channels: [a].into() });
    node.send(Command::Shutdown);
    node.run();
    let refused = || Err(Refusal::ShuttingDown);
    assert_eq!(heard.try_recv().unwrap().map(|published| published.offset), Ok(1));
    assert_eq!(heard.try_recv().unwrap(), refused());
    assert_eq!(batch_heard.try_recv().unwrap(), [refused(), refused()]);
    match &*node.take() {
        [
            (0b001, Entry::Message(_)),
            (0b010, Entry::SubscribeRefused(subscriber, Refusal::ShuttingDown)),
            (0b100, Entry::Published(publisher, result)),
            (0b111, Entry::End),
        ] => {
            assert_eq!((*subscriber, *publisher), (requester(1, 5, 3), requester(2, 6, 7)));
            assert_eq!(*result, refused());
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(node.metrics.sequencer.refused.read(), 4);
    assert_eq!(node.metrics.sequencer.subscriptions.read(), 0);
    assert_eq!(node.sequencer.step(node.now), Step::Ended);
    assert!(node.sequencer.performer.ring.entries.is_empty(), "nothing follows the end");
}

#[test]
fn an_inbox_that_everybody_left_is_the_end() {
    let mut node = Node::new(Limits::default(), rules(Vec::new()));
    node.send(nobody("a"));
    node.inbox = inbox(1).0;
    node.run();
    assert_eq!(node.metrics.sequencer.position.read(), position(1));
    assert!(matches!(&*node.take(), [(0b111, Entry::End)]));
}

/// Room is asked for the worst case: the end of an interest, the message, and the answer.
#[test]
fn a_publish_that_ends_a_life_and_answers_in_the_ring_has_room_for_all_three() {
    let limits = Limits { channels: 2, ..Limits::default() };
    let rules = rules(vec![rule("a", 0, 1, 1), rule("b", 0, 1, 1)]);
    let mut node = Node::with_ring(limits, rules, 4, usize::MAX);
    for held in [1, 2] {
        let reply = node.subscribe(0, &["a", "c"], Since::Now).unwrap();
        assert!(node.publish("a", 1).is_ok() && node.publish("c", 1).is_ok());
        node.advance(1_000);
        node.take();
        (0..held).for_each(|_| node.send(nobody("c")));
        let channels = [reply.channels[0].channel].into();
        node.send(Command::Unsubscribe { shard: 0, session: session(0), channels });
        let answer = connection(1, 6);
        node.send(Command::Publish(publication("b", 1), answer));
        assert_eq!(node.sequencer.step(node.now), Step::Worked);
        // Three entries of four are free beside one that is held, and two beside two.
        let expected = if held == 1 { 3 } else { 2 };
        assert_eq!(node.sequencer.performer.ring.entries.len(), expected, "{held} held");
        node.run();
        assert_eq!(node.stats("b").offset, 1);
        node.advance(1_000);
    }
}

#[test]
fn the_end_waits_for_a_refusal_that_found_no_room() {
    let mut node = Node::with_ring(Limits::default(), rules(Vec::new()), 4, usize::MAX);
    node.subscribe(0, &["a"], Since::Now).unwrap();
    (0..2).for_each(|_| node.send(nobody("a")));
    node.send(Command::Shutdown);
    let answer = connection(1, 6);
    node.send(Command::Publish(publication("a", 1), answer));
    node.run();
    let entries = node.take();
    assert!(
        matches!(&*entries, [.., (0b010, Entry::Published(..)), (0b111, Entry::End)]),
        "{entries:?}"
    );
}

struct NoWake;

impl Wake for NoWake {
    fn wake(&self) {}
}

/// The thread over the real ring, with one shard that reads slowly: everything arrives, in order,
/// through a ring of eight entries, and the thread ends.
#[test]
fn the_thread_serves_a_slow_reader_through_a_small_ring() {
    let limits = Limits { interest_ms: 5, ..Limits::default() };
    let (inbox, receiver) = inbox(16);
    let (writer, mut readers) = ring::ring(8, 1_000, vec![Arc::new(NoWake)]);
    let metrics = Arc::new(Metrics::new(1));
    let epoch = Epoch::from_random(EPOCH);
    let settings =
        SequencerConfig { epoch, secret: SECRET, shards: 1, limits, rules: rules(Vec::new()) };
    let sequencer =
        Sequencer::new(Memory::default(), settings, receiver, writer, Arc::clone(&metrics));
    let thread = std::thread::spawn(move || sequencer.run(Clock::start()));
    let sender = inbox.clone();
    let publisher = std::thread::spawn(move || {
        let channels = [(name("a"), Since::Now)].into();
        let subscribe = Subscribe { requester: requester(0, 1, 1), channels };
        assert!(sender.send(Command::Subscribe(Box::new(subscribe))).is_ok());
        for _ in 0..500 {
            assert!(sender.send(nobody("a")).is_ok());
        }
    });
    let (mut offsets, mut followed, mut ended) = (Vec::new(), None, false);
    let mut released = false;
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while !ended && std::time::Instant::now() < deadline {
        std::thread::sleep(Duration::from_micros(50));
        if metrics.sequencer.ring_full.read() == 0 {
            continue; // it is full before anything is read
        }
        readers[0].drain(5, |entry| match entry {
            Entry::Message(message) => offsets.push(message.offset),
            Entry::Subscribed(reply) => followed = Some(reply.channels[0].channel),
            Entry::Released(channels) => released = Some(channels[0]) == followed,
            Entry::End => ended = true,
            _ => {}
        });
        if offsets.len() == 500
            && !released
            && let Some(channel) = followed
            && metrics.sequencer.subscriptions.read() == 1
        {
            let channels = [channel].into();
            let left = Command::Unsubscribe { shard: 0, session: session(1), channels };
            assert!(inbox.offer(left).is_ok());
            offsets.push(0);
        }
        if released && offsets.len() == 501 {
            // It ended by time alone: the thread woke for it.
            assert!(inbox.offer(Command::Shutdown).is_ok());
            offsets.push(0);
        }
    }
    assert!(ended, "{} messages in time, released: {released}", offsets.len());
    thread.join().unwrap();
    publisher.join().unwrap();
    assert_eq!(offsets[..500], (1..=500).collect::<Vec<u64>>());
    assert!(matches!(inbox.offer(Command::Shutdown), Err(NotTaken::Ended(_))));
}
