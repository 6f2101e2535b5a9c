//! Presence events in the order: they have a place, go to whoever follows, and change nothing else.

use fanfare_protocol::message::Change;

use super::super::command::*;
use super::node::{Node, id, name, position, rule, rules};
use crate::limits::Limits;
use crate::presence::Presence;

pub(super) fn join(channel: &str, member: &str) -> Presence {
    let (channel, change) = (name(channel), Change::Join);
    Presence { channel, change, member: member.into(), info: (*b"{}").into() }
}

fn put(node: &mut Node, presence: Presence) {
    node.others.put(presence);
    node.run();
}

/// To whom, where it stands, and who it is.
fn told(node: &mut Node) -> Vec<(u64, u64, Box<str>)> {
    let told = |(mask, entry)| match entry {
        Entry::Presence(event) => Some((mask, event.position, event.member.clone())),
        _ => None,
    };
    node.take().into_iter().filter_map(told).collect()
}

#[test]
fn it_goes_to_whoever_follows_now_and_has_no_offset() {
    let mut node = Node::new(Limits::default(), rules(Vec::new()));
    put(&mut node, join("a", "nobody hears of this"));
    node.subscribe(2, &["a"], Since::Now).unwrap();
    node.publish("a", 1).unwrap();
    node.take();
    put(&mut node, join("a", "one"));
    let place = node.metrics.sequencer.position.read();
    assert!(place > position(2), "it has a place");
    assert_eq!(told(&mut node), [(0b100, place, "one".into())]);
    put(&mut node, Presence { change: Change::Leave, ..join("b", "another") });
    assert_eq!(told(&mut node), []);
    let after = node.publish("a", 1).unwrap();
    assert_eq!(after.offset, 2, "offsets are of messages");
    assert!(after.id.position > place);
    let page = node.history("a", None, 9);
    assert_eq!(page.messages.len(), 2, "nothing keeps it");
    let back = node.subscribe(0, &["a"], Since::After(id(0))).unwrap();
    assert_eq!((back.channels[0].next, back.channels[0].gap), (1, None));
    assert_eq!(back.channels[0].import.len(), 2);
    node.sequencer.invariants();
}

/// Or strangers would keep every channel alive that they come to.
#[test]
fn no_life_begins_or_goes_on_for_it() {
    let limits = Limits { channel_idle_ms: 500, ..Limits::default() };
    let mut node = Node::new(limits, rules(vec![rule("a", 9, usize::MAX, 100)]));
    node.subscribe(0, &["a", "b"], Since::Now).unwrap();
    put(&mut node, join("b", "one"));
    assert_eq!(node.metrics.sequencer.channels.read(), 0);
    node.publish("a", 1).unwrap();
    for _ in 0..15 {
        node.advance(100);
        put(&mut node, join("a", "two"));
    }
    assert_eq!(node.metrics.sequencer.channels.read(), 1);
    node.advance(100);
    assert_eq!(node.metrics.sequencer.channels.read(), 0);
    put(&mut node, join("a", "three"));
    assert_eq!(told(&mut node).len(), 17, "its followers hear of it all the same");
    node.sequencer.invariants();
}
