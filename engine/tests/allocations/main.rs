//! Hot paths allocate nothing after warm-up: a ping and its pong, our own ping, a message into a
//! shard's logs, a step of a sweep, a send, somebody else's parameter.
//!
//! A shard is run over the simulated driver, with the real sequencer and the real ring, and an
//! allocator counts what one tick of it asks for. The sequencer is not counted (a message is an
//! allocation), and neither is the simulated network, which stands for the kernel.

mod counting;
mod node;

use std::time::Duration;

use fanfare::shard::Tick;
use fanfare_protocol::http::{Parameters, Query};

use counting::{allocations_of, uncounted};
use node::{Follower, Node};

/// Messages before anything is counted: whatever is kept for reuse has its size by then.
const WARM_UP: usize = 3_000;
/// Messages that are counted: hundreds of pages of rendered frames are begun and dropped.
const COUNTED: usize = 6_000;

/// What `rounds` of `round` allocated in ticks of the shard.
fn counted(node: &mut Node, rounds: usize, mut round: impl FnMut(&mut Node, usize)) -> u64 {
    let before = node.allocations;
    (0..rounds).for_each(|nth| round(node, nth));
    node.allocations - before
}

#[test]
fn a_ping_is_answered_without_an_allocation() {
    let mut node = Node::new();
    let clients = [node.follow("/ws?channels=a"), node.follow("/ws?channels=a&format=json")];
    let ping = |node: &mut Node, nth: usize| {
        for client in clients {
            node.say(client, 9, &[b'x'; 125][..nth % 126]);
        }
        node.pass(Duration::from_millis(1)); // all of it before our own first ping
        for client in clients {
            assert_eq!(node.heard(client), 2 + nth % 126, "a pong with what the ping had");
        }
    };
    node.outlive_heads();
    counted(&mut node, 200, ping);
    assert_eq!(counted(&mut node, 1_000, ping), 0);
}

#[test]
fn a_client_that_only_answers_our_pings_costs_no_allocation() {
    let mut node = Node::new();
    let clients: Vec<Follower> = (0..50).map(|_| node.follow("/ws?channels=a")).collect();
    let events = node.follow("/sse?channels=a");
    let mut pings = 0;
    let mut second = |node: &mut Node, _: usize| {
        node.pass(Duration::from_secs(1));
        node.heard(events);
        for client in &clients {
            if node.heard(*client) > 0 {
                pings += 1;
                node.say(*client, 10, b"");
            }
        }
    };
    counted(&mut node, 100, &mut second);
    assert_eq!(counted(&mut node, 300, &mut second), 0);
    assert!(pings >= 50 * 300 / 25, "they were pinged all the time: {pings}");
}

#[test]
fn a_message_is_logged_swept_and_sent_without_an_allocation() {
    let mut node = Node::new();
    let ways = [
        "/ws?channels=a",
        "/ws?channels=a&format=json",
        "/sse?channels=a",
        "/sse?channels=a&format=json&names=data",
    ];
    let alone: Vec<Follower> = ways.iter().map(|way| node.follow(way)).collect();
    // Another channel, and one connection on both: its sends are merged.
    let both = node.follow("/ws?channels=a,b");
    let message = |node: &mut Node, nth: usize| {
        node.publish(if nth.is_multiple_of(3) { "b" } else { "a" }, 100 + nth % 50);
        node.pass(Duration::from_millis(1));
        for client in alone.iter().filter(|_| !nth.is_multiple_of(3)).chain([&both]) {
            assert!(node.heard(*client) > 100, "message {nth} came");
        }
    };
    node.outlive_heads();
    counted(&mut node, WARM_UP, message);
    assert_eq!(counted(&mut node, COUNTED, message), 0);
}

#[test]
fn bursts_to_a_crowd_are_swept_without_an_allocation() {
    let mut node = Node::new();
    let clients: Vec<Follower> = (0..700).map(|_| node.follow("/ws?channels=a")).collect();
    let burst = |node: &mut Node, _: usize| {
        (0..20).for_each(|_| node.publish("a", 128));
        node.pass(Duration::from_millis(10));
        for client in &clients {
            assert_eq!(node.heard(*client), 20 * (4 + 128), "all of the burst, as frames");
        }
    };
    node.outlive_heads();
    counted(&mut node, 60, burst);
    assert_eq!(counted(&mut node, 60, burst), 0);
}

/// A stranger's parameters cost a look at each: no name of them is copied to be compared.
#[test]
fn foreign_parameters_are_passed_over_without_an_allocation() {
    const COUNT: usize = 1_000;
    let cost = |name: &str| {
        let raw = format!("channel=a{}", format!("&{name}=1").repeat(COUNT));
        let (found, count) = allocations_of(|| Parameters::of(Query::new(&raw), COUNT).is_ok());
        assert!(found, "{name}");
        count
    };
    let none = {
        let (_, count) = allocations_of(|| Parameters::of(Query::new("channel=a"), COUNT).is_ok());
        count
    };
    let (long, wide) = ("y".repeat(64), "\u{1f600}".repeat(4));
    for name in ["a", "abcd", "abcdefgh[]", "chanmels2", "Name", "wa__t", "", &long, &wide] {
        assert_eq!(cost(name), none, "{name:?}");
    }
    assert_eq!(cost("%61"), none + COUNT as u64, "what is escaped is decoded, once");
    let list = |names: usize| {
        let raw = format!("channels=a{}", "%2Ca".repeat(names));
        allocations_of(|| Parameters::of(Query::new(&raw), COUNT).is_ok())
    };
    assert_eq!(list(COUNT), list(1), "a name that is there already is not copied again");
}

/// The counting itself: without this the tests above could not fail.
#[test]
fn what_is_allocated_is_counted() {
    assert_eq!(allocations_of(|| 1 + 1).1, 0);
    let (bytes, count) = allocations_of(|| std::hint::black_box(vec![1u8; 100]));
    assert_eq!((bytes.len(), count), (100, 1));
    let grow = || bytes.iter().copied().cycle().take(1_000).collect::<Vec<_>>();
    assert!(allocations_of(grow).1 >= 1, "growing counts too");
    let (_, count) = allocations_of(|| uncounted(|| std::hint::black_box(vec![1u8; 100])));
    assert_eq!(count, 0, "what the network allocates is its own");
    let mut node = Node::new();
    let before = node.allocations;
    node.follow("/ws?channels=a");
    assert!(node.allocations > before, "a handshake allocates");
    assert_eq!(node.tick(), Tick::Goes);
}
