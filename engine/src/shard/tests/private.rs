//! What clients hold, each for itself, keeps within its limit: who holds most goes first.

use fanfare_protocol::message::Kind;

use super::peer::Peer;
use super::truth::channel_name;
use super::wire::{Said, Way, request};
use super::world::{Shape, World};
use crate::driver::sim::{Client, Standing};
use crate::limits::Limits;
use crate::rule::HistoryRule;
use crate::shard::tick_budget::TickBudget;

const JSON: Way = Way::Socket { json: true };
const BODY_BYTES: usize = 500_000;

fn world() -> (World, usize) {
    let shape = Shape::plain();
    let limits = Limits { private_bytes: 1, ..shape.limits };
    let most = limits.all_private(1);
    (World::new(&Shape { limits, capacity: (2_000, 2_000), ..shape }), most)
}

/// Asks to follow with a body of which the end does not come.
fn begin(world: &World) -> Client {
    let client = world.nets[0].connect();
    let head = "POST /poll HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json";
    let head = format!("{head}\r\nContent-Length: {}\r\n\r\n", BODY_BYTES + 1);
    world.nets[0].write(client, head.as_bytes());
    world.nets[0].write(client, &vec![b' '; BODY_BYTES]);
    client
}

#[test]
fn who_holds_most_is_told_to_come_back_and_nobody_else() {
    let (mut world, most) = world();
    let mut small = Peer::follow(&mut world, JSON, &[0]);
    let begun = world.nets[0].connect();
    world.nets[0].write(begun, b"GET /poll?channels=c0&wait=0 HTTP/1.1\r\n");
    let hogs: Vec<Client> = (0..2 * most / BODY_BYTES).map(|_| begin(&world)).collect();
    let held = |world: &World| world.metrics.shards[0].private_bytes.read() as usize;
    let mut peak = 0;
    for _ in 0..200 {
        world.step();
        peak = peak.max(held(&world));
        world.invariants();
    }
    assert!(peak > most / 2 && peak <= most, "{peak} of {most}");
    let answers: Vec<String> =
        hogs.iter().map(|hog| String::from_utf8(world.nets[0].take(*hog)).unwrap()).collect();
    let refused = |answer: &&String| {
        answer.starts_with("HTTP/1.1 503") && answer.contains("\r\nRetry-After: 1\r\n")
    };
    let told = answers.iter().filter(refused).count();
    assert_eq!(told as u64, world.metrics.shards[0].private_let_go.read());
    assert!(told >= hogs.len() / 3 && told < hogs.len(), "{told} of {}", hogs.len());
    world.publish(0, 10, Kind::Text);
    world.nets[0].write(begun, b"Host: localhost\r\n\r\n");
    world.steps(6);
    assert_eq!(small.listen(&world), 1);
    assert!(world.nets[0].take(begun).starts_with(b"HTTP/1.1 200"), "it was no hog");
    hogs.iter().for_each(|hog| world.nets[0].reset(*hog));
    world.steps(10);
    assert_eq!(world.nets[0].standing(small.client), Standing::Open);
    assert_eq!(held(&world), 0, "all is given back");
}

#[test]
fn where_everyone_holds_little_and_all_is_used_up_the_limit_still_holds() {
    let (mut world, most) = world();
    let piece = [b"GET /poll HTTP/1.1\r\nHost: localhost\r\nX: ".to_vec(), vec![b'x'; 7_000]];
    let crowd = 2 * most / 7_000;
    let mut peak = 0;
    for round in 0..crowd.div_ceil(16) {
        for _ in 0..16 {
            let client = world.nets[0].connect();
            world.nets[0].write(client, &piece.concat());
        }
        world.step();
        peak = peak.max(world.metrics.shards[0].private_bytes.read() as usize);
        assert!(round < 10_000);
    }
    world.steps(100);
    assert!(peak > most - most / 8 && peak <= most + 64 * 16_384, "{peak} of {most}");
    assert!(world.metrics.shards[0].private_bytes.read() as usize <= most);
}

/// An answer is gathered in turns, and what of it is nobody else's is counted from the first on.
#[test]
fn what_is_gathered_for_a_poll_is_its_clients() {
    let history = HistoryRule { count: 1_000, bytes: 8_000_000, age_ms: 600_000 };
    let budget = TickBudget { batches: 1, ..TickBudget::DEFAULT };
    let mut world = World::new(&Shape { history, budget, ..Shape::plain() });
    // Each is told as a gap of its own: the next one stands in the other channel.
    for _ in 0..400 {
        world.publish(0, 300, Kind::Text);
        world.publish(1, 300, Kind::Text);
        world.step();
    }
    let names = [0, 1].map(channel_name);
    let mut peer = Peer::mute(&world, Way::Poll);
    let head = request(Way::Poll, &names, Some(&world.id(0)), 0, Some(310));
    world.nets[0].write(peer.client, head.as_bytes());
    let held = |world: &World| world.metrics.shards[0].private_bytes.read();
    let mut gathered = 0;
    while peer.said.is_empty() {
        gathered = gathered.max(held(&world));
        world.step();
        peer.hear(&world);
    }
    assert!(gathered > 10_000, "{gathered} bytes were counted before it was answered");
    let Said::Answer { messages, gaps, .. } = &peer.said[0] else { panic!("{:?}", peer.said) };
    assert_eq!((messages.len(), gaps.len()), (0, 800));
    world.steps(4);
    assert_eq!(held(&world), 0, "all is given back");
}
