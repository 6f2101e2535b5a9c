//! Requests that come behind one another, faster than they are answered.

use super::peer::Peer;
use super::wire::Way;
use super::world::{Shape, World};
use crate::driver::sim::Standing;

const HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
/// What one receive brings at most, and an answer beside it.
const HELD_MAX: usize = (16 << 10) + (1 << 10);

/// Bytes that the shard keeps for its clients, beside what kernels keep.
fn held(world: &World) -> usize {
    let table = world.node.shards[0].clients.connections.table.iter();
    table
        .map(|(_, connection)| {
            let outbox = connection.session.line.outbox().map_or(0, |outbox| outbox.memory());
            outbox + connection.session.state.early_memory()
        })
        .sum()
}

fn answers(bytes: &[u8]) -> usize {
    bytes.windows(12).filter(|twelve| twelve == b"HTTP/1.1 200").count()
}

#[test]
fn what_is_read_ahead_is_what_one_receive_brings() {
    let mut world = World::new(&Shape::plain());
    let client = world.nets[0].connect();
    let mut answered = 0;
    for step in 0..3_000 {
        if step < 100 {
            world.nets[0].write(client, &HEALTH.repeat(1_000));
        }
        world.step();
        answered += answers(&world.nets[0].take(client));
        assert!(held(&world) <= HELD_MAX, "{} bytes in step {step}", held(&world));
    }
    assert!(answered >= 1_000, "they are answered meanwhile: {answered}");
}

#[test]
fn each_is_answered_once_and_in_order_whatever_the_cuts() {
    let mut world = World::new(&Shape::plain());
    let client = world.nets[0].connect();
    let targets = ["/healthz", "/nothing", "/poll?channels=a&wait=0", "/readyz"];
    let all: Vec<u8> = (0..400)
        .flat_map(|nth| {
            format!("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", targets[nth % 4]).into_bytes()
        })
        .collect();
    let mut heard = Vec::new();
    for piece in all.chunks(7_001) {
        world.nets[0].write(client, piece);
        world.step();
        heard.extend(world.nets[0].take(client));
    }
    for _ in 0..4_000 {
        world.step();
        heard.extend(world.nets[0].take(client));
    }
    let text = String::from_utf8(heard).unwrap();
    let statuses: Vec<&str> = text.split("HTTP/1.1 ").skip(1).map(|rest| &rest[..3]).collect();
    assert_eq!(statuses.len(), 400);
    for (nth, status) in statuses.iter().enumerate() {
        assert_eq!(*status, if nth % 4 == 1 { "404" } else { "200" }, "answer {nth}");
    }
}

#[test]
fn who_takes_no_answer_is_not_read() {
    let mut world = World::new(&Shape::plain());
    let client = world.nets[0].connect();
    world.nets[0].set_window(client, 100);
    for step in 0..200 {
        world.nets[0].write(client, &HEALTH.repeat(500));
        world.step();
        assert!(held(&world) <= HELD_MAX, "{} bytes in step {step}", held(&world));
    }
    world.pass(62_000);
    assert_eq!(world.nets[0].standing(client), Standing::Reset, "it stalls, and is ended");
}

#[test]
fn behind_a_poll_that_waits_nothing_is_read() {
    let mut world = World::new(&Shape::plain());
    let poll = Peer::ask(&world, Way::Poll, &[0], None, 25);
    for step in 0..200 {
        world.nets[0].write(poll.client, &HEALTH.repeat(500));
        world.step();
        assert!(held(&world) <= HELD_MAX, "{} bytes in step {step}", held(&world));
    }
    assert_eq!(world.metrics.shards[0].polls.read(), 1, "it waits");
    world.publish(0, 10, fanfare_protocol::message::Kind::Text);
    world.steps(300);
    assert!(answers(&world.nets[0].take(poll.client)) >= 100, "its answer, and those behind it");
}

/// From the signal on, an answer says that it is the last, before the end comes.
#[test]
fn who_is_to_leave_is_told_so_with_an_answer() {
    let mut world = World::new(&Shape::plain());
    let client = world.nets[0].connect();
    world.nets[0].write(client, HEALTH);
    world.steps(4);
    let heard = String::from_utf8(world.nets[0].take(client)).unwrap();
    assert!(heard.contains("Connection: keep-alive\r\n"), "{heard}");
    world.life.drain_until(world.now.plus(100_000));
    world.nets[0].write(client, &HEALTH.repeat(2));
    world.steps(4);
    let heard = String::from_utf8(world.nets[0].take(client)).unwrap();
    assert!(heard.contains("Connection: close\r\n"), "{heard}");
    assert_eq!((answers(heard.as_bytes()), world.nets[0].standing(client)), (1, Standing::Ended));
}

#[test]
fn a_kept_connection_outlives_a_proxys_minute() {
    let mut world = World::new(&Shape::plain());
    let client = world.nets[0].connect();
    for _ in 0..3 {
        world.nets[0].write(client, HEALTH);
        world.steps(4);
        assert_eq!(answers(&world.nets[0].take(client)), 1);
        world.pass(74_000);
        assert_eq!(world.nets[0].standing(client), Standing::Open);
    }
    world.pass(2_000);
    assert_eq!(world.nets[0].standing(client), Standing::Ended);
}
