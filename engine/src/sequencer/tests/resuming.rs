//! Where a subscription begins, what it is told to have missed, and how history reaches a shard.

use fanfare_protocol::id::{Epoch, Id};
use fanfare_protocol::message::GapReason;

use super::super::command::*;
use super::node::{Node, at, id, position, rule, rules};
use crate::channel::ChannelId;
use crate::clock::Millis;
use crate::limits::Limits;

fn gap(bounds: Option<(u64, u64)>, reason: GapReason) -> Option<Gap> {
    Some(Gap { bounds, reason })
}

fn import(channel: &SubscribedChannel) -> Vec<u64> {
    channel.import.iter().map(|message| message.offset).collect()
}

fn released(node: &mut Node) -> Vec<(u64, Vec<ChannelId>)> {
    let told = |(mask, entry)| match entry {
        Entry::Released(channels) => Some((mask, channels.to_vec())),
        _ => None,
    };
    node.take().into_iter().filter_map(told).collect()
}

/// Ten items of the log alternate between `a` (odd) and `b` (even); `a` keeps its last two.
fn alternating() -> Node {
    let mut node = Node::new(Limits::default(), rules(vec![rule("a", 2, usize::MAX, 1 << 40)]));
    for _ in 0..5 {
        node.publish("a", 1).unwrap();
        node.publish("b", 1).unwrap();
    }
    node
}

#[test]
fn one_position_resumes_many_channels() {
    // `a` has offsets 1..=5 as items 1, 3, 5, 7, 9 and keeps 4 and 5; `b` keeps all.
    let trimmed = |from, to| gap(Some((from, to)), GapReason::Trimmed);
    let cases = [
        (0, 4, trimmed(1, 3), 1, 1),
        (1, 4, trimmed(2, 3), 1, 1),
        (2, 4, trimmed(2, 3), 2, 3),
        (4, 4, trimmed(3, 3), 3, 5),
        (5, 4, None, 3, 5),
        (6, 4, None, 4, 6),
        (7, 5, None, 4, 7),
        (8, 5, None, 5, 8),
        (9, 6, None, 5, 9),
        (10, 6, None, 6, 10),
    ];
    for (since, a_next, a_gap, b_next, begin) in cases {
        let mut node = alternating();
        let reply = node.subscribe(0, &["a", "b"], Since::After(id(since))).unwrap();
        let [a, b] = &*reply.channels else { panic!("two channels were asked for") };
        assert_eq!((a.next, a.gap, a.last, a.floor), (a_next, a_gap, 5, 4), "since {since}");
        assert_eq!((b.next, b.gap, b.last, b.floor), (b_next, None, 5, 1), "since {since}");
        assert_eq!(reply.begin, position(begin), "since {since}");
    }
}

#[test]
fn other_beginnings() {
    let other = Id { epoch: Epoch::from_random(99), position: 3 };
    let epoch = gap(None, GapReason::Epoch);
    let unknown = gap(None, GapReason::Unknown);
    let cases = [
        (Since::Now, 6, None, 10),
        (Since::Unreadable, 6, unknown, 10),
        (Since::After(other), 4, epoch, 6),
        (Since::After(id(11)), 6, unknown, 10),
        (Since::After(at(u64::MAX)), 6, unknown, 10),
    ];
    for (since, next, gap, begin) in cases {
        let mut node = alternating();
        let reply = node.subscribe(0, &["a"], since).unwrap();
        let channel = &reply.channels[0];
        let expected = (next, gap, position(begin));
        assert_eq!((channel.next, channel.gap, reply.begin), expected, "{since:?}");
    }
    // A channel of which nothing is known has a gap where the epoch is another, and else none.
    let mut node = alternating();
    for (since, gap) in [(Since::After(other), epoch), (Since::After(id(3)), None)] {
        let reply = node.subscribe(0, &["new"], since).unwrap();
        let channel = &reply.channels[0];
        assert_eq!((channel.next, channel.last, channel.floor), (1, 0, 1));
        assert_eq!((channel.gap, reply.begin), (gap, position(10)));
    }
}

/// `a` keeps its last two messages and `b` those of the last 50 ms; both have one every 10 ms.
fn timed() -> Node {
    let rules = rules(vec![rule("a", 2, usize::MAX, 1 << 40), rule("b", 99, usize::MAX, 50)]);
    let mut node = Node::new(Limits::default(), rules);
    for _ in 0..10 {
        node.publish("a", 1).unwrap();
        node.publish("b", 1).unwrap();
        node.advance(10);
    }
    node
}

#[test]
fn a_newcomer_begins_with_what_is_kept() {
    // `a` keeps 9 and 10; `b`, at 100 ms, what was published after 50 ms: from 7 on.
    for (since, a, b) in [
        (Since::Earliest, 9, 7),
        (Since::Last(0), 11, 11),
        (Since::Last(1), 10, 10),
        (Since::Last(3), 9, 8),
        (Since::Last(u64::MAX), 9, 7),
    ] {
        let reply = timed().subscribe(0, &["a", "b"], since).unwrap();
        let told: Vec<_> = reply.channels.iter().map(|told| (told.next, told.gap)).collect();
        assert_eq!(told, [(a, None), (b, None)], "{since:?}: what was asked for is what there is");
    }
}

#[test]
fn a_newcomer_begins_at_a_time_and_hears_what_is_kept_no_more() {
    let trimmed = |from| gap(Some((from, 8)), GapReason::Trimmed);
    let expired = |from| gap(Some((from, 6)), GapReason::Expired);
    // Message n was published at 10 * (n - 1).
    for (ms, a, b) in [
        (0, (9, trimmed(1)), (7, expired(1))),
        (1, (9, trimmed(2)), (7, expired(2))),
        (10, (9, trimmed(2)), (7, expired(2))),
        (50, (9, trimmed(6)), (7, expired(6))),
        (51, (9, trimmed(7)), (7, None)),
        (60, (9, trimmed(7)), (7, None)),
        (61, (9, trimmed(8)), (8, None)),
        (71, (9, None), (9, None)),
        (80, (9, None), (9, None)),
        (81, (10, None), (10, None)),
        (91, (11, None), (11, None)),
        (5_000, (11, None), (11, None)),
    ] {
        let mut node = timed();
        let begun = node.now.0 - 100;
        let reply = node.subscribe(0, &["a", "b"], Since::Time(Millis(begun + ms))).unwrap();
        let told: Vec<_> = reply.channels.iter().map(|told| (told.next, told.gap)).collect();
        assert_eq!(told, [a, b], "since {ms} ms");
    }
    // A channel of which nothing is known has nothing to tell, unless some were forgotten.
    let reply = timed().subscribe(0, &["new"], Since::Time(Millis(0))).unwrap();
    assert_eq!((reply.channels[0].next, reply.channels[0].gap), (1, None));
}

#[test]
fn each_channel_of_a_request_begins_at_its_own_place() {
    let mut node = alternating();
    let channels = [("b", Since::Last(2)), ("a", Since::Now), ("c", Since::After(id(3)))];
    let reply = node.subscribe_each(0, &channels).unwrap();
    let next: Vec<u64> = reply.channels.iter().map(|told| told.next).collect();
    assert_eq!((next, reply.begin), (vec![4, 6, 1], position(7)), "b's fourth is item 8");
}

#[test]
fn history_reaches_a_shard_once() {
    let mut node = alternating();
    let reply = node.subscribe(0, &["a", "b"], Since::After(id(8))).unwrap();
    // All that is kept comes, not only what this client misses.
    assert_eq!(import(&reply.channels[0]), [4, 5]);
    assert_eq!(import(&reply.channels[1]), [1, 2, 3, 4, 5]);
    node.publish("b", 1).unwrap();
    let again = node.subscribe(0, &["a", "b"], Since::After(id(0))).unwrap();
    assert_eq!(import(&again.channels[0]), [0; 0]);
    assert_eq!((again.channels[1].next, import(&again.channels[1])), (1, vec![]));
    let elsewhere = node.subscribe(1, &["b"], Since::After(id(0))).unwrap();
    assert_eq!(import(&elsewhere.channels[0]), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn a_log_that_began_live_gets_only_what_lies_before_it() {
    let mut node = alternating();
    let live = node.subscribe(0, &["b"], Since::Now).unwrap();
    assert_eq!((live.channels[0].next, import(&live.channels[0])), (6, vec![]));
    node.publish("b", 1).unwrap();
    // From where the log begins on, nothing is imported.
    let near = node.subscribe(0, &["b"], Since::After(id(10))).unwrap();
    assert_eq!((near.channels[0].next, import(&near.channels[0])), (6, vec![]));
    let far = node.subscribe(0, &["b"], Since::After(id(8))).unwrap();
    assert_eq!((far.channels[0].next, import(&far.channels[0])), (5, vec![1, 2, 3, 4, 5]));
}

#[test]
fn interest_outlives_the_last_subscriber_and_ends_by_an_entry() {
    let limits = Limits { interest_ms: 30, ..Limits::default() };
    let mut node = Node::new(limits, rules(Vec::new()));
    let a = node.subscribe(0, &["a"], Since::Now).unwrap().channels[0].channel;
    node.subscribe(2, &["a"], Since::Now).unwrap();
    node.subscribe(0, &["a"], Since::Now).unwrap();
    assert_eq!(node.publish("a", 1).unwrap().subscribers, 3);
    node.unsubscribe(0, &[a]);
    node.unsubscribe(0, &[a]);
    node.take();
    node.advance(29);
    assert_eq!(node.publish("a", 1).unwrap().subscribers, 1);
    assert!(matches!(&*node.take(), [(0b101, Entry::Message(_))]), "it lingers");
    // Somebody comes back in time and leaves again: the wait begins anew.
    let back = node.subscribe(0, &["a"], Since::After(id(0))).unwrap();
    assert_eq!((back.channels[0].next, import(&back.channels[0])), (1, vec![]));
    node.advance(5);
    node.unsubscribe(0, &[a]);
    node.advance(29);
    assert_eq!(released(&mut node), []);
    node.advance(1);
    assert_eq!(released(&mut node), [(0b001, vec![a])]);
    node.publish("a", 1).unwrap();
    assert!(matches!(&*node.take(), [(0b100, Entry::Message(_))]));
    // The shard dropped its log, so the next one there gets it again.
    let anew = node.subscribe(0, &["a"], Since::After(id(1))).unwrap();
    assert_eq!((anew.channels[0].next, import(&anew.channels[0])), (2, vec![1, 2, 3]));
}

#[test]
fn interests_of_many_channels_end_in_one_entry_for_each_shard() {
    let limits = Limits { interest_ms: 30, ..Limits::default() };
    let mut node = Node::new(limits, rules(Vec::new()));
    let names: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut ids = Vec::new();
    assert!(names.iter().all(|name| node.publish(name, 1).is_ok()));
    for shard in 0..2 {
        let reply = node.subscribe(shard, &names, Since::Now).unwrap();
        ids = reply.channels.iter().map(|channel| channel.channel).collect();
        node.unsubscribe(shard, &ids);
    }
    node.advance(30);
    assert_eq!(released(&mut node), [(0b01, ids.clone()), (0b10, ids)]);
}

#[test]
fn the_interest_in_what_was_never_published_to_ends_with_its_last_subscriber() {
    let mut node = Node::new(Limits::default(), rules(Vec::new()));
    node.publish("c", 1).unwrap();
    let reply = node.subscribe(1, &["a", "b", "c"], Since::Now).unwrap();
    let [a, b, c] = [0, 1, 2].map(|nth| reply.channels[nth].channel);
    node.subscribe(1, &["b"], Since::Now).unwrap();
    node.unsubscribe(1, &[a, b, c]);
    assert_eq!(
        released(&mut node),
        [(0b10, vec![a])],
        "b is followed, and c's log is worth waiting"
    );
    node.unsubscribe(1, &[b]);
    assert_eq!(released(&mut node), [(0b10, vec![b])]);
    assert_eq!(node.sequencer.performer.order.channels.len(), 1, "nothing is left of a and b");
    node.sequencer.invariants();
}

fn ended(node: &mut Node) -> Vec<(u64, Vec<EndedLife>)> {
    let told = |(mask, entry)| match entry {
        Entry::Ended(lives) => Some((mask, lives.into_vec())),
        _ => None,
    };
    node.take().into_iter().filter_map(told).collect()
}

/// Whoever follows it is not asked: it could be another node's.
#[test]
fn a_life_ends_though_it_is_followed_and_the_next_message_begins_another() {
    let limits = Limits { channel_idle_ms: 500, interest_ms: 1 << 30, ..Limits::default() };
    let mut node = Node::new(limits, rules(vec![rule("a", 9, usize::MAX, 100)]));
    let a = node.subscribe(0, &["a"], Since::Now).unwrap().channels[0].channel;
    node.publish("a", 1).unwrap();
    let again = node.subscribe(2, &["a"], Since::After(id(0))).unwrap();
    assert_eq!(import(&again.channels[0]), [1]);
    node.unsubscribe(2, &[a]);
    node.advance(100 + 1_000 + 499);
    assert_eq!(ended(&mut node), []);
    node.advance(1);
    // Shard 0 goes on with a fresh log; the interest of shard 2 lingered, and has ended.
    let life = EndedLife { channel: a, followed: 0b001 };
    assert_eq!(ended(&mut node), [(0b101, vec![life])]);
    node.sequencer.invariants();
    let reply = node.subscribe(0, &["a"], Since::After(id(0))).unwrap();
    let missed = gap(None, GapReason::Unknown);
    assert_eq!((reply.channels[0].next, reply.channels[0].gap), (1, missed));
    assert_eq!((reply.channels[0].last, reply.channels[0].floor), (0, 1));
    assert_eq!(node.publish("a", 1).map(|published| published.offset), Ok(1));
    assert!(matches!(&*node.take(), [(0b001, Entry::Message(_))]));
    // The log of shard 0 has the new life from its first message on.
    let reply = node.subscribe(0, &["a"], Since::After(id(1))).unwrap();
    assert_eq!((reply.channels[0].channel, reply.channels[0].next), (a, 1));
    assert_eq!((import(&reply.channels[0]), reply.channels[0].gap), (vec![], None));
    node.sequencer.invariants();
}

/// A poll leaves a gap to the next one where it begins behind what the answer has room for.
#[test]
fn nobody_knows_where_a_gap_begins_that_an_earlier_life_may_have_a_part_of() {
    let limits = Limits { channel_idle_ms: 500, ..Limits::default() };
    let mut node = Node::new(limits, rules(vec![rule("a", 2, usize::MAX, 100)]));
    node.publish("a", 1).unwrap();
    node.advance(100 + 1_000 + 500);
    let ids: Vec<Id> = (0..4).map(|_| node.publish("a", 1).unwrap().id).collect();
    let reply = node.subscribe(0, &["a"], Since::After(id(0))).unwrap();
    let told = &reply.channels[0];
    assert_eq!((told.gap, told.gap_begins), (gap(None, GapReason::Unknown), None));
    let reply = node.subscribe(0, &["a"], Since::After(ids[0])).unwrap();
    let told = &reply.channels[0];
    let trimmed = gap(Some((2, 2)), GapReason::Trimmed);
    assert_eq!((told.gap, told.gap_begins), (trimmed, Some(ids[1].position)));
}

#[test]
fn a_life_that_makes_way_ends_the_interest_that_lingers_in_it() {
    let limits = Limits { channels: 1, ..Limits::default() };
    let mut node = Node::new(limits, rules(vec![rule("a", 0, 1, 1)]));
    node.publish("a", 1).unwrap();
    let a = node.subscribe(1, &["a"], Since::Now).unwrap().channels[0].channel;
    node.unsubscribe(1, &[a]);
    node.advance(1_000);
    assert!(node.publish("b", 1).is_ok());
    assert_eq!(ended(&mut node), [(0b10, vec![EndedLife { channel: a, followed: 0 }])]);
    node.advance(1 << 20);
    assert_eq!(released(&mut node), [], "it ends once");
    node.sequencer.invariants();
}

#[test]
fn nobody_interested_is_no_entry() {
    let mut node = Node::new(Limits::default(), rules(Vec::new()));
    let published = node.publish("a", 1).unwrap();
    assert_eq!(
        published,
        Published { id: id(1), offset: 1, subscribers: 0, duplicate: false, also: None }
    );
    assert!(node.take().is_empty());
}

#[test]
fn pages_of_history_join_without_a_hole() {
    let mut node = alternating();
    let offsets =
        |page: &HistoryPage| page.messages.iter().map(|message| message.offset).collect::<Vec<_>>();
    let first = node.history("b", None, 2);
    assert_eq!((offsets(&first), first.id, first.more), (vec![1, 2], id(4), true));
    let second = node.history("b", Some(first.id), 3);
    assert_eq!((offsets(&second), second.id, second.more), (vec![3, 4, 5], id(10), false));
    assert_eq!((first.gap, second.gap), (None, None));
    let trimmed = node.history("a", Some(id(2)), 9);
    assert_eq!(offsets(&trimmed), [4, 5]);
    assert_eq!(trimmed.gap, gap(Some((2, 3)), GapReason::Trimmed));
    assert_eq!(node.history("a", None, 9).gap, None);
    let nothing = node.history("b", Some(id(4)), 0);
    assert_eq!((offsets(&nothing), nothing.id, nothing.more), (vec![], id(5), true));
    let absent = node.history("nobody", None, 9);
    assert_eq!((offsets(&absent), absent.id, absent.more), (vec![], id(10), false));
    assert_eq!(node.stats("nobody"), ChannelStats::default());
}
