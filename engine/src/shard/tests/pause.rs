//! A shard that stands still for longer than a deadline: what its clients sent meanwhile came in
//! time.

use fanfare_protocol::message::Kind;

use super::peer::Peer;
use super::wire::{Said, Way, masked};
use super::world::{Shape, World};
use crate::driver::sim::{Client, Standing};

const RAW: Way = Way::Socket { json: false };
const SSE: Way = Way::Events { json: false };

/// The thread does not run for so long; what was written before this is there when it does again.
fn stand_still(world: &mut World, ms: u64) {
    world.now = world.now.plus(ms);
    world.steps(8);
}

fn heard(world: &World, client: Client) -> String {
    String::from_utf8(world.nets[0].take(client)).unwrap()
}

#[test]
fn a_head_that_became_whole_meanwhile_is_answered() {
    let mut world = World::new(&Shape::plain());
    let clients: Vec<Client> = (0..50).map(|_| world.nets[0].connect()).collect();
    clients.iter().for_each(|one| world.nets[0].write(*one, b"GET /healthz HTTP/1.1\r\n"));
    world.steps(4);
    // More than one tick receives from: the last ones wait for their turn.
    clients.iter().for_each(|one| world.nets[0].write(*one, b"Host: localhost\r\n\r\n"));
    stand_still(&mut world, 6_000);
    for client in clients {
        assert!(heard(&world, client).starts_with("HTTP/1.1 200"));
    }
}

#[test]
fn a_body_that_became_whole_meanwhile_is_published() {
    let mut world = World::new(&Shape::plain());
    let client = world.nets[0].connect();
    let head = "POST /playground/publish?channel=a HTTP/1.1\r\nHost: localhost\r\n\
                Content-Length: 10\r\n\r\nhalf ";
    world.nets[0].write(client, head.as_bytes());
    world.steps(4);
    world.nets[0].write(client, b"whole");
    stand_still(&mut world, 6_000);
    assert!(heard(&world, client).starts_with("HTTP/1.1 200"));
}

#[test]
fn who_said_nothing_meanwhile_is_late_all_the_same() {
    let mut world = World::new(&Shape::plain());
    let client = world.nets[0].connect();
    world.nets[0].write(client, b"GET /healthz HTTP/1.1\r\n");
    world.steps(4);
    stand_still(&mut world, 6_000);
    assert!(heard(&world, client).starts_with("HTTP/1.1 408"));
}

#[test]
fn a_pong_that_came_meanwhile_counts() {
    for answers in [true, false] {
        let mut world = World::new(&Shape::plain());
        let mut peer = Peer::follow(&mut world, RAW, &[0]);
        peer.until_pinged(&mut world);
        if answers {
            peer.say(&world, 10, b"");
        }
        stand_still(&mut world, 15_000);
        peer.listen(&world);
        assert_eq!(peer.count(&Said::Close(4512)), usize::from(!answers));
    }
}

#[test]
fn a_ping_after_a_pause_has_its_whole_time() {
    let mut world = World::new(&Shape::plain());
    let mut peer = Peer::follow(&mut world, RAW, &[0]);
    stand_still(&mut world, 60_000);
    peer.listen(&world);
    assert_eq!(peer.said.last(), Some(&Said::Ping));
    world.pass(9_000);
    peer.say(&world, 10, b"");
    world.pass(5_000);
    peer.listen(&world);
    assert_eq!(peer.count(&Said::Close(4512)), 0, "its ten seconds begin when it is sent");
}

#[test]
fn a_client_that_sends_on_and_on_owes_its_pong_all_the_same() {
    let mut world = World::new(&Shape::plain());
    let mut peer = Peer::follow(&mut world, RAW, &[0]);
    peer.until_pinged(&mut world);
    for _ in 0..250 {
        // So much that its bytes always wait to be read.
        world.nets[0].write(peer.client, &masked(2, &[7; 100]).repeat(200));
        world.now = world.now.plus(100);
        world.step();
    }
    peer.listen(&world);
    assert_eq!(peer.count(&Said::Close(4512)), 1, "{:?}", peer.said.last());
}

#[test]
fn a_message_that_became_whole_meanwhile_is_heard() {
    let mut world = World::new(&Shape::plain());
    let mut peer = Peer::follow(&mut world, RAW, &[0]);
    let frame = masked(9, b"is it late?");
    world.nets[0].write(peer.client, &frame[..5]);
    world.steps(3);
    world.nets[0].write(peer.client, &frame[5..]);
    stand_still(&mut world, 31_000);
    peer.listen(&world);
    assert_eq!(peer.count(&Said::Pong(b"is it late?".to_vec())), 1);
    assert_eq!(peer.count(&Said::Close(1008)), 0);
}

#[test]
fn who_took_bytes_meanwhile_has_not_stalled() {
    let mut world = World::new(&Shape::plain());
    let stream = Peer::follow(&mut world, SSE, &[0]);
    world.nets[0].take(stream.client);
    world.nets[0].set_window(stream.client, 1);
    world.publish(0, 100, Kind::Text);
    let answer = world.nets[0].connect();
    world.nets[0].set_window(answer, 100);
    world.nets[0].write(answer, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    world.steps(4);
    world.nets[0].set_window(stream.client, usize::MAX);
    world.nets[0].set_window(answer, usize::MAX);
    stand_still(&mut world, 65_000);
    for client in [stream.client, answer] {
        assert_eq!(world.nets[0].standing(client), Standing::Open);
    }
    assert!(heard(&world, answer).ends_with("</html>\n"), "the whole page");
    assert_eq!(world.metrics.shards[0].slow_closed.read(), 0);
}
