//! One publication in several channels: one position, a place in each, all or none.

use fanfare_protocol::message::{ChannelReceipt, GapReason};

use super::super::command::*;
use super::node::{Node, id, name, publication, rule, rules};
use crate::limits::Limits;

/// To the first of these, and to the others as well.
fn to(channels: &[&str], bytes: usize) -> Publication {
    let also = channels[1..].iter().map(|channel| name(channel)).collect();
    Publication { also, ..publication(channels[0], bytes) }
}

fn place(offset: u64, subscribers: u64) -> ChannelReceipt {
    ChannelReceipt { offset, subscribers }
}

/// Of one message: the channel's name, position, offset and number.
type Told = (String, u64, u64, u8);

/// Which shards were told of each entry, and what.
fn told(node: &mut Node) -> Vec<(u64, Vec<Told>)> {
    let of = |message: &crate::message::Message| {
        (message.name.name.to_string(), message.position, message.offset, message.nth)
    };
    let told = node.take().into_iter().filter_map(|(mask, entry)| match entry {
        Entry::Message(message) => Some((mask, vec![of(&message)])),
        Entry::Messages(all) => Some((mask, all.iter().map(|message| of(message)).collect())),
        _ => None,
    });
    told.collect()
}

#[test]
fn it_has_one_position_and_an_offset_in_each_channel() {
    let mut node = Node::new(Limits::default(), rules(vec![rule("none", 0, 0, 0)]));
    node.publish("b", 10).unwrap();
    node.subscribe(0, &["a", "b"], Since::Now).unwrap();
    node.subscribe(2, &["b"], Since::Now).unwrap();
    node.take();
    let published = node.publish_this(to(&["a", "b", "none", "c"], 100)).unwrap();
    assert_eq!((published.id, published.offset, published.subscribers), (id(2), 1, 1));
    assert_eq!(published.also(), [place(2, 2), place(1, 0), place(1, 0)]);
    let position = id(2).position;
    let entry = vec![("a".to_owned(), position, 1, 0), ("b".to_owned(), position, 2, 1)];
    assert_eq!(told(&mut node), [(0b101, entry)], "one entry, of those that are followed");
    // Each keeps it as its own rule says; the payload is there once and counted in each.
    let kept = ["a", "b", "c", "none"].map(|channel| node.stats(channel).history_messages);
    assert_eq!(kept, [1, 2, 1, 0]);
    let cost = crate::message::cost(100, None) as u64;
    assert_eq!(node.stats("c").history_bytes, cost);
    assert_eq!(node.publish("c", 1).unwrap().offset, 2);
    node.sequencer.invariants();

    // Whoever comes back with its id, or a later one, has had it in all of them.
    let reply = node.subscribe(1, &["a", "b", "none"], Since::After(id(2))).unwrap();
    let next: Vec<_> = reply.channels.iter().map(|it| (it.next, it.gap)).collect();
    assert_eq!(next, [(2, None), (3, None), (2, None)]);
    let reply = node.subscribe(1, &["a", "b", "none"], Since::After(id(1))).unwrap();
    let next: Vec<_> = reply.channels.iter().map(|it| (it.next, it.gap)).collect();
    let gap = Gap { bounds: Some((1, 1)), reason: GapReason::Expired };
    assert_eq!(next, [(1, None), (2, None), (2, Some(gap))]);
    let of = |nth: usize| reply.channels[nth].import.iter().map(|it| (it.position, it.nth));
    assert_eq!(of(0).collect::<Vec<_>>(), [(position, 0)]);
    assert_eq!(of(1).next_back(), Some((position, 1)));
}

#[test]
fn what_is_ephemeral_is_passed_on_in_each_and_begins_no_life() {
    let mut node = Node::new(Limits::default(), rules(Vec::new()));
    node.publish("b", 10).unwrap();
    node.subscribe(1, &["b", "d"], Since::Now).unwrap();
    node.take();
    let brief = Publication { ephemeral: true, ..to(&["a", "b", "d"], 10) };
    let published = node.publish_this(brief).unwrap();
    assert_eq!((published.offset, published.subscribers), (0, 0));
    assert_eq!(published.also(), [place(0, 1), place(0, 1)]);
    let position = id(2).position;
    let entry = vec![("b".to_owned(), position, 2, 1), ("d".to_owned(), position, 1, 2)];
    assert_eq!(told(&mut node), [(0b010, entry)]);
    assert_eq!(node.metrics.sequencer.channels.read(), 1);
}

#[test]
fn where_one_channel_has_no_room_none_has_it() {
    let limits = Limits { channels: 3, ..Limits::default() };
    // The rule of "free" promises nothing a second after the last message.
    let table = || rules(vec![rule("free:*", 0, 0, 0)]);
    let mut node = Node::new(limits.clone(), table());
    node.publish("a", 1).unwrap();
    node.publish("free:1", 1).unwrap();
    assert_eq!(node.publish_this(to(&["a", "b", "c"], 10)), Err(Refusal::ChannelLimit));
    assert_eq!((node.stats("a").offset, node.stats("b").offset), (1, 0), "nothing is left of it");
    assert_eq!(node.publish_this(to(&["a", "b"], 10)).unwrap().also(), [place(1, 0)]);
    node.advance(1_500);
    // Now one may end for another; but none for the next of its own publication.
    assert_eq!(node.publish_this(to(&["free:1", "c"], 10)), Err(Refusal::ChannelLimit));
    assert_eq!(node.stats("free:1").offset, 1, "it lives on");
    assert_eq!(node.publish_this(to(&["b", "c"], 10)).unwrap().also(), [place(1, 0)]);
    assert_eq!(node.stats("free:1").offset, 0, "it made way");
    node.sequencer.invariants();

    // Where it has room because another ends, it is not its own channel that ends.
    let mut node = Node::new(limits.clone(), table());
    for channel in ["free:1", "free:2", "a"] {
        node.publish(channel, 1).unwrap();
    }
    node.advance(1_500);
    let placed = node.publish_this(to(&["free:1", "c"], 10)).unwrap();
    assert_eq!((placed.offset, placed.also()), (2, &[place(1, 0)][..]));
    assert_eq!(node.stats("free:2").offset, 0);
    node.sequencer.invariants();

    // One more than there may be never fits.
    let mut node = Node::new(limits, table());
    assert_eq!(node.publish_this(to(&["a", "b", "c", "d"], 10)), Err(Refusal::ChannelLimit));
    assert_eq!(node.publish_this(to(&["a", "b", "c"], 10)).unwrap().also().len(), 2);
    node.sequencer.invariants();
}

#[test]
fn a_key_covers_the_whole() {
    let mut node = Node::new(Limits::default(), rules(Vec::new()));
    let keyed = |channels: &[&str]| Publication {
        idempotency_key: Some(b"k".as_slice().into()),
        ..to(channels, 10)
    };
    node.publish("b", 1).unwrap();
    let first = node.publish_this(keyed(&["a", "b"])).unwrap();
    assert_eq!(first.also(), [place(2, 0)]);
    node.publish("a", 1).unwrap();
    let again = node.publish_this(keyed(&["a", "b"])).unwrap();
    assert_eq!(again, Published { duplicate: true, ..first });
    for other in [&["a"][..], &["a", "c"], &["a", "b", "c"]] {
        assert_eq!(node.publish_this(keyed(other)), Err(Refusal::Conflict), "{other:?}");
    }
    assert_eq!((node.stats("a").offset, node.stats("b").offset), (2, 2));
    // It belongs to the first channel.
    assert_eq!(node.publish_this(keyed(&["b", "a"])).unwrap().offset, 3);
}

fn many() -> Publication {
    let names: Vec<String> = (0..32).map(|nth| format!("c{nth}")).collect();
    to(&names.iter().map(String::as_str).collect::<Vec<_>>(), 10)
}

#[test]
fn work_is_counted_in_channels() {
    let mut node = Node::new(Limits::default(), rules(Vec::new()));
    for _ in 0..20 {
        node.send(Command::Publish(many(), PublishAnswer::Nobody));
    }
    node.sequencer.step(node.now);
    assert_eq!(node.metrics.sequencer.published.read(), 8, "256 places are a turn");
    node.run();
    assert_eq!(node.metrics.sequencer.published.read(), 20);
}

#[test]
fn it_has_room_in_the_smallest_ring() {
    let mut node = Node::with_ring(Limits::default(), rules(Vec::new()), 4, 1_000);
    let names: Vec<String> = (0..32).map(|nth| format!("c{nth}")).collect();
    for name in &names {
        node.subscribe(0, &[name], Since::Now).unwrap();
    }
    node.take();
    assert_eq!(node.publish_this(many()).unwrap().also(), [place(1, 1); 31]);
    assert_eq!(told(&mut node)[0].1.len(), 32);
    node.sequencer.invariants();
}
