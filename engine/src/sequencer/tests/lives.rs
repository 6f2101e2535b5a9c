//! Where a subscription begins that names a channel's life and an offset in it.

use fanfare_protocol::id::{Epoch, Id, LifeId};
use fanfare_protocol::message::GapReason;

use super::super::command::*;
use super::node::{Node, at, position, rule, rules};
use crate::limits::Limits;

const UNKNOWN: Option<Gap> = Some(Gap { bounds: None, reason: GapReason::Unknown });

fn trimmed(from: u64, to: u64) -> Option<Gap> {
    Some(Gap { bounds: Some((from, to)), reason: GapReason::Trimmed })
}

/// What is told of one channel, and by what its life is named.
fn told(node: &mut Node, channel: &str, since: Since) -> (SubscribedChannel, LifeId) {
    let reply = node.subscribe(0, &[channel], since).unwrap();
    let told = reply.channels[0].without_import();
    let life = LifeId(Id { epoch: reply.epoch, position: told.life });
    (told, life)
}

/// How its life is named, and the last offset of it.
fn named(node: &mut Node, channel: &str) -> (LifeId, u64) {
    let (told, life) = told(node, channel, Since::Now);
    (life, told.last)
}

/// Where who had `offset` of this life goes on, and what it missed.
fn after(node: &mut Node, channel: &str, offset: u64, life: LifeId) -> (u64, Option<Gap>) {
    let (told, _) = told(node, channel, Since::Offset(offset, life));
    node.sequencer.invariants();
    (told.next, told.gap)
}

/// Items 2 to 6 of the log are those of `a`, which keeps its last two; item 1 is of `b`.
fn five() -> Node {
    let mut node = Node::new(Limits::default(), rules(vec![rule("a", 2, usize::MAX, 1 << 40)]));
    node.publish("b", 1).unwrap();
    (0..5).for_each(|_| drop(node.publish("a", 1).unwrap()));
    node
}

#[test]
fn an_offset_resumes_where_its_life_goes_on() {
    let mut node = five();
    let (life, last) = named(&mut node, "a");
    assert_eq!((life, last), (LifeId(at(position(2))), 5), "it began with its first message");
    for (offset, next, gap, gap_begins) in [
        (0, 4, trimmed(1, 3), Some(position(2))),
        (2, 4, trimmed(3, 3), Some(position(4))),
        (3, 4, None, None),
        (4, 5, None, None),
        (5, 6, None, None),
        (6, 6, UNKNOWN, None),
        (u64::MAX, 6, UNKNOWN, None),
    ] {
        let (told, _) = told(&mut node, "a", Since::Offset(offset, life));
        assert_eq!((told.next, told.gap, told.gap_begins), (next, gap, gap_begins), "{offset}");
    }
}

#[test]
fn a_name_that_is_of_no_life_is_told_so() {
    let mut node = five();
    let epoch = Some(Gap { bounds: None, reason: GapReason::Epoch });
    let other = Id { epoch: Epoch::from_random(99), position: position(2) };
    for (life, expected) in [
        (other, (4, epoch)),
        (at(0), (4, UNKNOWN)),
        (at(position(3)), (4, UNKNOWN)), // it had begun before that
        (at(position(7)), (4, UNKNOWN)),
        (at(position(8)), (6, UNKNOWN)), // and nobody was told this yet
        (at(u64::MAX), (6, UNKNOWN)),
    ] {
        assert_eq!(after(&mut node, "a", 3, LifeId(life)), expected, "{life}");
    }
    assert_eq!(after(&mut node, "new", 0, LifeId(other)), (1, epoch));
    // None had begun there, and none of any channel has ended since.
    assert_eq!(after(&mut node, "new", 0, LifeId(at(position(3)))), (1, None));
    assert_eq!(after(&mut node, "new", 1, LifeId(at(position(3)))), (1, UNKNOWN));
}

#[test]
fn a_life_is_named_before_it_begins_and_stays_named_so() {
    let mut node = five();
    let (life, last) = named(&mut node, "new");
    assert_eq!((life, last), (LifeId(at(position(7))), 0));
    assert_eq!(after(&mut node, "new", 0, life), (1, None), "nothing has come");
    node.publish("b", 1).unwrap();
    (0..3).for_each(|_| drop(node.publish("new", 1).unwrap()));
    assert_eq!(after(&mut node, "new", 0, life), (1, None));
    assert_eq!(after(&mut node, "new", 2, life), (3, None));
    assert_eq!(named(&mut node, "new").0, LifeId(at(position(8))), "newcomers name its beginning");
}

#[test]
fn of_a_life_that_is_over_nothing_is_known() {
    let limits = Limits { channel_idle_ms: 500, ..Limits::default() };
    let mut node = Node::new(limits, rules(vec![rule("a", 9, usize::MAX, 100)]));
    let over = |node: &mut Node| node.advance(100 + 1_000 + 500);
    node.publish("a", 1).unwrap();
    let (first, _) = named(&mut node, "a");
    over(&mut node);
    // It was of one message: who had none of it missed that, and who had it may have missed more.
    assert_eq!(after(&mut node, "a", 0, first), (1, UNKNOWN));
    assert_eq!(after(&mut node, "a", 1, first), (1, UNKNOWN));
    let (second, last) = named(&mut node, "a");
    assert_eq!((last, after(&mut node, "a", 0, second)), (0, (1, None)));
    (0..3).for_each(|_| drop(node.publish("a", 1).unwrap()));
    assert_eq!(after(&mut node, "a", 1, second), (2, None));
    assert_eq!(after(&mut node, "a", 1, first), (1, UNKNOWN), "though it has an offset 1");
    let (begun, _) = named(&mut node, "a");
    over(&mut node);
    node.publish("a", 1).unwrap();
    for life in [first, second, begun] {
        assert_eq!(after(&mut node, "a", 1, life), (1, UNKNOWN), "{life}");
    }
    let (third, _) = named(&mut node, "a");
    assert_eq!(after(&mut node, "a", 1, third), (2, None));
}

#[test]
fn an_epoch_begins_with_lives_that_are_still_to_begin() {
    let mut node = five();
    let (old, _) = named(&mut node, "a");
    let genesis = node.begin_epoch(8);
    let (life, last) = named(&mut node, "a");
    let next = Id { position: genesis.id.position + 1, ..genesis.id };
    assert_eq!((life, last), (LifeId(next), 0));
    assert_eq!(after(&mut node, "a", 0, life), (1, None));
    let epoch = Some(Gap { bounds: None, reason: GapReason::Epoch });
    assert_eq!(after(&mut node, "a", 5, old), (1, epoch));
    node.publish("a", 1).unwrap();
    assert_eq!(after(&mut node, "a", 0, life), (1, None));
    assert_eq!(after(&mut node, "a", 1, old), (1, epoch));
}

#[test]
fn each_channel_of_a_request_has_an_offset_of_its_own() {
    let mut node = five();
    let [a, b, new] = ["a", "b", "new"].map(|name| named(&mut node, name).0);
    let channels =
        [("b", Since::Offset(0, b)), ("new", Since::Offset(0, new)), ("a", Since::Offset(4, a))];
    let reply = node.subscribe_each(1, &channels).unwrap();
    let next: Vec<u64> = reply.channels.iter().map(|told| told.next).collect();
    assert_eq!((next, reply.begin), (vec![1, 1, 5], 4_095), "before the first of `b`");
}
