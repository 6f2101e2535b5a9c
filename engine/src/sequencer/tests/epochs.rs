//! An epoch begins in a running order: what was before it is gone, and nobody takes one for the
//! other.

use std::sync::{Arc, Mutex, mpsc};

use fanfare_protocol::id::{Epoch, Id};
use fanfare_protocol::message::GapReason;

use super::super::command::*;
use super::node::{Node, at, name, publication, rules};
use crate::clock::Millis;
use crate::limits::Limits;

const NEXT: u64 = 8;

fn node() -> Node {
    let limits = Limits { idempotency_age_ms: 1 << 30, ..Limits::default() };
    Node::new(limits, rules(vec![]))
}

fn next(position: u64) -> Id {
    Id { epoch: Epoch::from_random(NEXT), position }
}

const GAP: Option<Gap> = Some(Gap { bounds: None, reason: GapReason::Epoch });

#[test]
fn everything_begins_anew_at_one_place() {
    let mut node = node();
    let followed = node.subscribe(1, &["followed", "silent"], Since::Now).unwrap();
    let before = node.publish("followed", 5).unwrap();
    node.publish("kept", 5).unwrap();
    let left = node.subscribe(2, &["left"], Since::Now).unwrap();
    node.publish("left", 5).unwrap();
    node.unsubscribe(2, &[left.channels[0].channel]);
    let genesis = node.begin_epoch(NEXT);
    node.sequencer.invariants();
    assert!(genesis.id.position > before.id.position && genesis.id.epoch == next(0).epoch);
    // Of what ended those are told whose logs a shard has; a log that lingers goes.
    let mut lives = genesis.lives.to_vec();
    lives.sort_by_key(|life| life.followed);
    let ended =
        |channel: &SubscribedChannel, followed| EndedLife { channel: channel.channel, followed };
    assert_eq!(lives, [ended(&left.channels[0], 0), ended(&followed.channels[0], 0b10)]);
    assert_eq!(node.take().len(), 0, "nothing else is told");

    for channel in ["followed", "kept", "left"] {
        let stats = node.stats(channel);
        assert_eq!((stats.offset, stats.history_messages), (0, 0), "{channel}");
    }
    assert_eq!(node.stats("followed").subscribers, 1, "who follows goes on");
    let after = node.publish("followed", 5).unwrap();
    assert_eq!((after.id.epoch, after.offset, after.subscribers), (next(0).epoch, 1, 1));
    assert!(after.id.position > genesis.id.position, "positions go on");
    let [(0b10, Entry::Message(message))] = &node.take()[..] else { panic!("it is followed") };
    assert_eq!((message.offset, message.floor), (1, 1));
}

#[test]
fn old_places_are_told_as_a_gap_and_new_ones_are_not() {
    let mut node = node();
    let old = node.publish("a", 5).unwrap();
    node.advance(10);
    let genesis = node.begin_epoch(NEXT);
    for channel in ["a", "b"] {
        let reply = node.subscribe(0, &[channel], Since::After(old.id)).unwrap();
        let told = &reply.channels[0];
        assert_eq!((told.next, told.last, told.gap), (1, 0, GAP), "{channel}");
        assert_eq!((reply.epoch, reply.begin), (genesis.id.epoch, genesis.id.position));
        // An id of the new epoch that lies before it began was told to nobody.
        let forged = node.subscribe(1, &[channel], Since::After(next(1))).unwrap();
        let reason = forged.channels[0].gap.map(|gap| gap.reason);
        assert_eq!(reason, Some(GapReason::Unknown), "{channel}");
        let open = node.subscribe(2, &[channel], Since::After(genesis.id)).unwrap();
        assert_eq!(open.channels[0].gap, None, "{channel}: where the epoch began");
    }
    let new = node.publish("a", 5).unwrap();
    let reply = node.subscribe(0, &["a"], Since::After(old.id)).unwrap();
    assert_eq!((reply.channels[0].next, reply.channels[0].gap), (1, GAP), "all that is kept");
    let reply = node.subscribe(1, &["a"], Since::After(new.id)).unwrap();
    assert_eq!((reply.channels[0].next, reply.channels[0].gap), (2, None));
    let page = node.history("a", Some(old.id), 9);
    assert_eq!((page.messages.len(), page.gap, page.id), (1, GAP, new.id));
}

/// What was published at a time is not known any more where that lies in an earlier epoch.
#[test]
fn times_reach_back_to_where_the_epoch_began() {
    let mut node = node();
    node.publish("a", 5).unwrap();
    let began = node.now;
    node.advance(10);
    node.begin_epoch(NEXT);
    node.publish("a", 5).unwrap();
    for (since, gap) in [(began, GAP), (Millis(began.0 + 1), None), (node.now, None)] {
        let reply = node.subscribe(0, &["a"], Since::Time(since)).unwrap();
        assert_eq!((reply.channels[0].next, reply.channels[0].gap), (1, gap), "{since:?}");
    }
    let earliest = node.subscribe(0, &["a"], Since::Earliest).unwrap();
    assert_eq!(earliest.channels[0].gap, None, "what was asked for is what there is");
}

#[test]
fn a_key_is_free_again() {
    let mut node = node();
    let keyed = Publication { idempotency_key: Some(b"k"[..].into()), ..publication("a", 5) };
    let first = node.publish_this(keyed.clone()).unwrap();
    assert!(node.publish_this(keyed.clone()).unwrap().duplicate);
    node.begin_epoch(NEXT);
    let again = node.publish_this(keyed.clone()).unwrap();
    assert_eq!((again.duplicate, again.offset), (false, 1));
    assert_ne!(again.id.epoch, first.id.epoch);
    assert!(node.publish_this(keyed).unwrap().duplicate);
    node.sequencer.invariants();
}

/// Who hears of epochs hears of one before the answers of whatever was placed in it; a batch may
/// straddle, and each of its messages names the epoch that it has its place in.
#[test]
fn answers_that_straddle_name_their_epochs() {
    let mut node = node();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hears = Arc::clone(&heard);
    let hear = move |epoch: Epoch| hears.lock().unwrap().push(epoch);
    node.send(Command::HearEpochs(Box::new(hear)));
    node.run();
    assert_eq!(*heard.lock().unwrap(), [at(0).epoch], "at once");
    let (answer, results) = mpsc::channel();
    let epochs = node.epochs.clone();
    let first = Box::new(move |result: Result<Published, Refusal>| {
        epochs.begin(next(0).epoch); // while the rest of what was sent is under way
        answer.send(result.unwrap().id.epoch).unwrap();
    });
    node.send(Command::Publish(publication("a", 1), PublishAnswer::Callback(first)));
    let (answer, batch) = mpsc::channel();
    let seen = Arc::clone(&heard);
    let answer = Box::new(move |results: Vec<Result<Published, Refusal>>| {
        assert_eq!(seen.lock().unwrap().len(), 2, "of the epoch before what is in it");
        answer.send(results).unwrap();
    });
    let publications = vec![publication("a", 1), publication("b", 1)];
    node.send(Command::PublishBatch(publications, BatchAnswer::Each(answer)));
    node.run();
    assert_eq!(results.recv().unwrap(), at(0).epoch);
    let batch = batch.recv().unwrap();
    let told = |result: Result<Published, Refusal>| result.map(|it| (it.id.epoch, it.offset));
    let told: Vec<_> = batch.into_iter().map(told).collect();
    assert_eq!(told, [Ok((next(0).epoch, 1)), Ok((next(0).epoch, 1))]);
    assert_eq!(node.sequencer.performer.metrics.sequencer.epochs.read(), 1);
    assert!(node.sequencer.performer.order.channels.find(&name("a")).is_some());
}

/// It may be more than the ring has room for beside what shards have not read: then it waits.
#[test]
fn an_epoch_waits_for_room_in_the_ring() {
    let mut node = Node::with_ring(Limits::default(), rules(vec![]), 4, 300);
    let channels: Vec<String> = (0..40).map(|nth| format!("c{nth}")).collect();
    for channel in &channels {
        node.subscribe(0, &[channel], Since::Now).unwrap();
        node.publish(channel, 1).unwrap();
    }
    node.take();
    node.send(Command::Publish(publication("c0", 1), PublishAnswer::Nobody));
    node.sequencer.step(node.now);
    node.epochs.begin(next(0).epoch);
    node.send(Command::Publish(publication("c0", 1), PublishAnswer::Nobody));
    node.sequencer.step(node.now);
    let unread = node.sequencer.performer.ring.drain();
    assert!(matches!(unread[..], [(_, Entry::Message(_))]), "{unread:?}");
    node.run();
    let entries = node.take();
    let [(_, Entry::Genesis(genesis)), (_, Entry::Message(message))] = &entries[..] else {
        panic!("{entries:?}")
    };
    assert_eq!((genesis.lives.len(), message.offset), (40, 1));
}
