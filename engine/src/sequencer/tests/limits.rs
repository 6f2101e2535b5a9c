//! Everything is bounded: history, packed positions, records, and what is dropped is told.

use fanfare_protocol::message::GapReason;

use super::super::command::*;
use super::node::{Node, id, publication, rule, rules};
use crate::channel::{ChannelName, Tenant};
use crate::limits::Limits;
use crate::message;
use crate::tenancy::TenantLimits;

fn floors(node: &mut Node) -> Vec<(u64, Vec<u64>)> {
    let told = |(mask, entry)| match entry {
        Entry::Floors(floors) => Some((mask, floors.iter().map(|floor| floor.1).collect())),
        _ => None,
    };
    node.take().into_iter().filter_map(told).collect()
}

#[test]
fn history_is_bounded_by_count_and_by_bytes() {
    let table = rules(vec![rule("few", 3, usize::MAX, 1_000), rule("small", 100, 1_000, 1_000)]);
    let mut node = Node::new(Limits::default(), table);
    for _ in 0..5 {
        node.publish("few", 10).unwrap();
        node.publish("small", 240).unwrap();
    }
    let few = node.stats("few");
    assert_eq!((few.offset, few.history_messages, few.history_bytes), (5, 3, 3 * 170));
    let small = node.stats("small");
    assert_eq!((small.offset, small.history_messages, small.history_bytes), (5, 2, 800));
}

#[test]
fn a_message_that_no_bound_allows_takes_the_channels_history_with_it() {
    let table = rules(vec![rule("small", 100, 1_000, 1_000)]);
    let mut node = Node::new(Limits::default(), table);
    node.publish("small", 10).unwrap();
    node.publish("small", 1_000).unwrap();
    assert_eq!(node.stats("small").history_messages, 0);
    let reply = node.subscribe(0, &["small"], Since::After(id(0))).unwrap();
    let gap = Gap { bounds: Some((1, 2)), reason: GapReason::Trimmed };
    assert_eq!((reply.channels[0].next, reply.channels[0].gap), (3, Some(gap)));
}

#[test]
fn messages_expire_in_time_and_shards_are_told_once_for_all() {
    let table = rules(vec![rule("brief:*", 100, usize::MAX, 100)]);
    let mut node = Node::new(Limits::default(), table);
    node.subscribe(1, &["brief:a", "brief:b"], Since::Now).unwrap();
    node.publish("brief:a", 1).unwrap();
    node.publish("brief:b", 1).unwrap();
    node.advance(60);
    node.publish("brief:a", 1).unwrap();
    node.advance(39);
    assert_eq!(floors(&mut node), []);
    node.advance(1);
    assert_eq!(floors(&mut node), [(0b10, vec![2, 2])]);
    node.advance(60);
    assert_eq!(floors(&mut node), [(0b10, vec![3])]);
    let reply = node.subscribe(1, &["brief:a"], Since::After(id(1))).unwrap();
    let gap = Gap { bounds: Some((2, 2)), reason: GapReason::Expired };
    assert_eq!(reply.channels[0].gap, Some(gap));
}

#[test]
fn the_nodes_oldest_message_makes_way_first_and_its_shards_hear_of_it() {
    // The budget has room for three messages and the packed position of a fourth.
    let cost = message::cost(100, None);
    let limits = Limits { history_bytes: 3 * cost + 100, ..Limits::default() };
    let mut node = Node::new(limits, rules(Vec::new()));
    node.subscribe(2, &["a"], Since::Now).unwrap();
    for channel in ["a", "b", "c"] {
        node.publish(channel, 100).unwrap();
    }
    node.take();
    node.publish("b", 100).unwrap();
    assert_eq!(floors(&mut node), [(0b100, vec![2])]);
    assert_eq!(node.stats("a").history_messages, 0);
    assert_eq!(node.stats("b").history_messages, 2);
    node.publish("c", 100).unwrap();
    assert_eq!(node.stats("b").history_messages, 1);
    assert_eq!(node.stats("c").history_messages, 2);
}

#[test]
fn the_nodes_budget_is_never_exceeded() {
    let limits = Limits { history_bytes: 100_000, channels: 1_000, ..Limits::default() };
    let mut node = Node::new(limits, rules(vec![rule("none:*", 0, 1, 1)]));
    for round in 0..400 {
        let batch = (0..100).map(|number| {
            let place = (round * 31 + number * 17) % 120;
            let name = format!("{}{place}", if number % 3 == 0 { "none:" } else { "" });
            publication(&name, (round * 7 + number * 13) % 900)
        });
        assert!(node.batch(batch.collect()).iter().all(Result::is_ok));
        assert!(node.metrics.sequencer.history_bytes.read() <= 100_000);
        if round % 40 == 0 {
            node.sequencer.invariants();
        }
    }
    node.sequencer.invariants();
    assert!(node.metrics.sequencer.history_bytes.read() > 90_000, "the budget is used");
}

#[test]
fn a_million_messages_leave_one_small_page_of_positions() {
    let limits = Limits { history_bytes: 1_000_000, ..Limits::default() };
    let mut node = Node::new(limits, rules(vec![rule("none", 0, 1, 1)]));
    for _ in 0..1_000 {
        let batch = (0..1_000).map(|_| publication("none", 0)).collect();
        node.batch(batch);
    }
    assert_eq!(node.stats("none").offset, 1_000_000);
    // 65,536 positions at a byte each and 96 bytes for a block of 256.
    let bytes = node.metrics.sequencer.history_bytes.read();
    assert!((65_536..=257 * (96 + 256)).contains(&bytes), "{bytes}");
    node.sequencer.invariants();
    let gap = |node: &mut Node, since| node.history("none", Some(id(since)), 1).gap.unwrap().bounds;
    assert_eq!(gap(&mut node, 999_999), Some((1_000_000, 1_000_000)));
    assert_eq!(gap(&mut node, 1_000_000 - 65_536), Some((1_000_000 - 65_535, 1_000_000)));
    assert_eq!(gap(&mut node, 900_000), None);
}

#[test]
fn silent_channels_are_forgotten_and_the_watermark_remembers_them() {
    let limits = Limits { channel_idle_ms: 500, ..Limits::default() };
    let mut node = Node::new(limits, rules(vec![rule("brief", 9, usize::MAX, 100)]));
    node.publish("brief", 1).unwrap();
    node.publish("kept", 1).unwrap();
    // What it keeps, a second that is not known exactly, and then the limit.
    node.advance(100);
    node.advance(1_000 + 499);
    assert_eq!(node.metrics.sequencer.channels.read(), 2);
    node.advance(1);
    assert_eq!(node.metrics.sequencer.channels.read(), 1);
    assert_eq!(node.metrics.sequencer.channels_forgotten.read(), 1);
    // It was forgotten at position 1: nobody who was there by then missed anything of it.
    let unknown = Some(Gap { bounds: None, reason: GapReason::Unknown });
    assert_eq!(node.history("brief", Some(id(0)), 9).gap, unknown);
    assert_eq!(node.history("brief", Some(id(1)), 9).gap, None);
    assert_eq!(node.metrics.sequencer.channels.read(), 1, "reading begins no life");
    // Begun again it counts from 1, and still knows what it does not know.
    assert_eq!(node.publish("brief", 1).unwrap().offset, 1);
    let reply = node.subscribe(0, &["brief"], Since::After(id(0))).unwrap();
    assert_eq!((reply.channels[0].next, reply.channels[0].gap), (1, unknown));
    let reply = node.subscribe(0, &["brief"], Since::After(id(1))).unwrap();
    assert_eq!((reply.channels[0].next, reply.channels[0].gap), (1, None));
}

#[test]
fn at_the_limit_what_is_promised_stays_and_what_is_not_makes_way_oldest_first() {
    let limits = Limits { channels: 4, ..Limits::default() };
    let mut node = Node::new(limits, rules(vec![rule("none:*", 0, 1, 1)]));
    for name in ["old", "none:1", "none:2", "young"] {
        node.publish(name, 1).unwrap();
    }
    assert_eq!(node.publish("one", 1), Err(Refusal::ChannelLimit), "they are on their way");
    node.advance(1_000);
    node.publish("none:1", 1).unwrap();
    node.publish("one", 1).unwrap();
    let offsets = |node: &mut Node| {
        ["old", "none:1", "none:2", "young", "one", "two"].map(|name| node.stats(name).offset)
    };
    assert_eq!(offsets(&mut node), [1, 2, 0, 1, 1, 0]);
    node.advance(1_000);
    node.publish("two", 1).unwrap();
    assert_eq!(offsets(&mut node), [1, 0, 0, 1, 1, 1]);
    node.advance(1 << 30);
    assert_eq!(node.publish("three", 1), Err(Refusal::ChannelLimit), "all keep their history");
    assert_eq!(node.publish("one", 1).map(|published| published.offset), Ok(2));
    assert_eq!(offsets(&mut node), [1, 0, 0, 1, 2, 1]);
    let metrics = &node.metrics.sequencer;
    assert_eq!((metrics.channels_refused.read(), metrics.followed_refused.read()), (2, 0));
}

/// A million names of strangers pushed out what was acknowledged: they were records like all.
#[test]
fn names_that_are_merely_followed_leave_nothing_behind_and_push_out_nothing() {
    let limits = Limits { channels: 3, followed_channels: 40, ..Limits::default() };
    let mut node = Node::new(limits, rules(Vec::new()));
    node.publish("precious", 1).unwrap();
    for round in 0..100 {
        let names: Vec<String> = (0..40).map(|nth| format!("{round}:{nth}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let reply = node.subscribe(0, &names, Since::After(id(0))).unwrap();
        assert_eq!(node.metrics.sequencer.followed_channels.read(), 40);
        let ids: Vec<_> = reply.channels.iter().map(|channel| channel.channel).collect();
        node.unsubscribe(0, &ids);
        node.take();
    }
    assert_eq!(node.stats("precious").history_messages, 1);
    assert_eq!(node.history("precious", Some(id(0)), 9).gap, None);
    assert_eq!(node.sequencer.performer.order.channels.len(), 1);
    // And a channel that is followed has no place among those that are kept.
    node.subscribe(0, &["a", "b", "c", "d"], Since::Now).unwrap();
    assert!(node.publish("a", 1).is_ok() && node.publish("e", 1).is_ok());
    assert_eq!(node.metrics.sequencer.channels.read(), 3);
    assert_eq!(node.publish("b", 1), Err(Refusal::ChannelLimit));
    node.sequencer.invariants();
}

#[test]
fn a_refused_subscribe_leaves_nothing_behind() {
    let limits = Limits { channels: 3, followed_channels: 3, ..Limits::default() };
    let mut node = Node::new(limits, rules(Vec::new()));
    node.subscribe(0, &["a", "b"], Since::Now).unwrap();
    node.publish("c", 1).unwrap();
    let refusal = node.subscribe(1, &["a", "x", "y"], Since::Now).err();
    assert_eq!(refusal, Some(Refusal::FollowedLimit));
    assert_eq!(node.stats("a").subscribers, 1);
    assert_eq!(node.stats("c").offset, 1, "nothing was forgotten in vain");
    // That it was published to makes it no channel that is followed.
    let refusal = node.subscribe(1, &["x", "c"], Since::Now).err();
    assert_eq!(refusal, Some(Refusal::FollowedLimit));
    assert_eq!(node.publish("a", 1).unwrap().subscribers, 1);
    assert_eq!(node.sequencer.performer.order.channels.len(), 3);
    node.subscribe(1, &["a", "c"], Since::Now).unwrap();
    assert_eq!(node.subscribe(1, &["z"], Since::Now).err(), Some(Refusal::FollowedLimit));
    let metrics = &node.metrics.sequencer;
    assert_eq!((metrics.channels_refused.read(), metrics.followed_refused.read()), (0, 3));
    assert_eq!(metrics.refused.read(), 0);
    node.sequencer.invariants();
}

#[test]
fn churn_of_connections_leaves_no_memory_behind() {
    let limits = Limits { channels: 64, interest_ms: 1 << 30, ..Limits::default() };
    let mut node = Node::new(limits, rules(Vec::new()));
    for round in 0..5_000u64 {
        let name = format!("channel {}", round % 100);
        let reply = node.subscribe((round % 3) as u8, &[&name], Since::Now).unwrap();
        node.unsubscribe((round % 3) as u8, &[reply.channels[0].channel]);
        node.take();
    }
    node.sequencer.invariants();
    assert_eq!(node.sequencer.performer.order.channels.len(), 0);
    assert_eq!(node.metrics.sequencer.subscriptions.read(), 0);
}

/// One tenant with these limits, and others without.
fn limited(tenant: &Tenant, limits: TenantLimits) -> Node {
    let limits = Limits { tenants: [(tenant.clone(), limits)].into(), ..Limits::default() };
    Node::new(limits, rules(Vec::new()))
}

#[test]
fn a_tenant_that_publishes_too_fast_is_refused_and_nobody_else() {
    let (acme, other) = (Tenant::new("acme"), Tenant::new("other"));
    let (publish_rate, publish_burst) = (Some(2), Some(5));
    let limits = TenantLimits { publish_rate, publish_burst, ..TenantLimits::default() };
    let mut node = limited(&acme, limits);
    let mut placed = |tenant: &Tenant, messages: usize, ms: u64| {
        node.advance(ms);
        let channel = ChannelName::new(tenant.clone(), "a");
        let one = Publication { channel, ..publication("a", 1) };
        let results = node.batch(vec![one; messages]);
        let placed = results.iter().take_while(|result| result.is_ok()).count();
        let refused = |it: &Result<_, _>| it.as_ref().err() == Some(&Refusal::RateLimited);
        assert!(results[placed..].iter().all(refused), "those behind its burst");
        (placed, node.metrics.sequencer.rate_limited.read())
    };
    assert_eq!(placed(&acme, 4, 0), (4, 0));
    assert_eq!(placed(&acme, 3, 0), (1, 2));
    assert_eq!(placed(&other, 1_000, 0), (1_000, 2), "it is not for others");
    assert_eq!(placed(&acme, 1, 0), (0, 3));
    assert_eq!(placed(&acme, 3, 1_000), (2, 4), "two came back in a second");
    assert_eq!(placed(&acme, 9, 60_000), (5, 8), "and no more than its burst in a minute");
}

#[test]
fn a_tenant_follows_as_much_as_it_may_and_others_go_on() {
    let limits = TenantLimits { subscriptions: Some(3), ..TenantLimits::default() };
    let mut node = limited(&Tenant::default(), limits);
    let first = node.subscribe(0, &["a", "b"], Since::Now).unwrap();
    let refused = node.subscribe(1, &["a", "c"], Since::Now).err();
    assert_eq!(refused, Some(Refusal::FollowedLimit));
    node.subscribe(1, &["a"], Since::Now).unwrap();
    node.sequencer.invariants();
    assert_eq!(node.subscribe(1, &["b"], Since::Now).err(), Some(Refusal::FollowedLimit));
    node.unsubscribe(0, &[first.channels[0].channel]);
    node.subscribe(2, &["c"], Since::Now).unwrap();
    node.sequencer.invariants();
    assert_eq!(node.metrics.sequencer.subscriptions.read(), 3);
}
