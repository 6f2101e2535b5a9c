//! Clients that say all they have to say, end their side, and listen.

use fanfare_protocol::message::Kind;

use super::peer::Peer;
use super::wire::{Said, Way, request};
use super::world::{Shape, World};
use crate::driver::sim::Standing;

const HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn messages(peer: &Peer) -> Vec<usize> {
    let count = |said: &Said| match said {
        Said::Answer { messages, .. } => Some(messages.len()),
        _ => None,
    };
    peer.said.iter().filter_map(count).collect()
}

/// Whenever the end comes: behind the request, while the sequencer is asked, while it waits.
#[test]
fn a_poll_gets_its_answer_and_then_the_end() {
    for steps in 0..8 {
        let mut world = World::new(&Shape::plain());
        let mut peer = Peer::ask(&world, Way::Poll, &[0], None, 25);
        world.steps(steps);
        world.nets[0].half_close(peer.client);
        world.pass(3_000);
        peer.listen(&world);
        assert_eq!((peer.said.len(), peer.standing(&world)), (0, Standing::Open), "it waits");
        assert_eq!(world.metrics.shards[0].polls.read(), 1);
        world.publish(0, 10, Kind::Text);
        world.steps(6);
        peer.listen(&world);
        assert_eq!((messages(&peer), peer.standing(&world)), (vec![1], Standing::Ended));
        world.pass(32_000);
        world.is_empty();
    }
}

#[test]
fn a_poll_that_waits_in_vain_is_told_so_in_its_time() {
    let mut world = World::new(&Shape::plain());
    let mut peer = Peer::ask(&world, Way::Poll, &[0], None, 25);
    world.steps(6);
    world.nets[0].half_close(peer.client);
    world.pass(24_000);
    assert_eq!(peer.standing(&world), Standing::Open);
    world.pass(1_500);
    peer.listen(&world);
    assert_eq!((messages(&peer), peer.standing(&world)), (vec![0], Standing::Ended));
}

#[test]
fn one_that_is_gone_is_let_go_at_once() {
    for half_closed in [false, true] {
        let mut world = World::new(&Shape::plain());
        let peer = Peer::ask(&world, Way::Poll, &[0], None, 25);
        world.steps(6);
        if half_closed {
            world.nets[0].half_close(peer.client);
            world.steps(3); // the head of its answer goes out, and a kernel would answer with RST
            let head = String::from_utf8(world.nets[0].take(peer.client)).unwrap();
            assert!(head.starts_with("HTTP/1.1 200") && head.contains("Connection: close\r\n"));
            assert!(!head.contains("Content-Length"), "{head}");
        }
        world.nets[0].reset(peer.client);
        world.steps(2);
        assert_eq!(world.metrics.shards[0].polls.read(), 0);
        assert_eq!(world.nets[0].open(), 0, "its place is free");
    }
}

#[test]
fn what_was_asked_behind_the_poll_is_answered_too() {
    for steps in 0..8 {
        let mut world = World::new(&Shape::plain());
        let peer = Peer::ask(&world, Way::Poll, &[0], None, 25);
        world.steps(steps);
        world.nets[0].write(peer.client, HEALTH);
        world.nets[0].half_close(peer.client);
        world.steps(6);
        world.publish(0, 10, Kind::Text);
        world.steps(12);
        let heard = String::from_utf8(world.nets[0].take(peer.client)).unwrap();
        assert_eq!(heard.matches("HTTP/1.1 200").count(), 2, "{heard}");
        assert!(heard.ends_with("ok\n"), "{heard}");
        assert_eq!(peer.standing(&world), Standing::Ended);
    }
}

#[test]
fn pipelined_requests_are_all_answered_before_the_end() {
    let mut world = World::new(&Shape::plain());
    let client = world.nets[0].connect();
    world.nets[0].write(client, &HEALTH.repeat(1_000));
    world.nets[0].half_close(client);
    let mut answers = 0;
    for _ in 0..4_000 {
        world.step();
        let heard = world.nets[0].take(client);
        answers += heard.windows(12).filter(|twelve| twelve == b"HTTP/1.1 200").count();
    }
    assert_eq!((answers, world.nets[0].standing(client)), (1_000, Standing::Ended));
}

/// One that has said everything and may be gone keeps its place for one wait, however many polls
/// it has asked for, and whenever its end is seen.
#[test]
fn polls_one_behind_the_other_do_not_each_keep_the_place_of_one_who_has_ended() {
    for steps in 0..8 {
        let mut world = World::new(&Shape::plain());
        let mut peer = Peer::ask(&world, Way::Poll, &[0], None, 25);
        let poll = request(Way::Poll, &["c0".into()], None, 25, None);
        world.nets[0].write(peer.client, poll.repeat(2).as_bytes());
        world.steps(steps);
        world.nets[0].half_close(peer.client);
        world.steps(24);
        peer.listen(&world);
        assert_eq!((messages(&peer), peer.standing(&world)), (vec![0, 0], Standing::Open));
        world.publish(0, 10, Kind::Text);
        world.steps(6);
        peer.listen(&world);
        assert_eq!((messages(&peer), peer.standing(&world)), (vec![0, 0, 1], Standing::Ended));
        world.pass(32_000);
        world.is_empty();
    }
}

/// Which requests wait behind a poll is read, not guessed from their bytes.
#[test]
fn only_a_poll_behind_it_hurries_a_poll_of_one_who_has_ended() {
    let poll = request(Way::Poll, &["c0".into()], None, 25, None);
    let said = "channels=c0";
    let follow = format!(
        "POST /sse?wait=25 HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n\r\n{said}",
        said.len()
    );
    let post = follow.replace("/sse", "/poll");
    let head = poll.replacen("GET", "HEAD", 1);
    let named = "GET /healthz?of=/poll HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned();
    for (behind, hurries) in [
        (named.clone(), false),
        (follow.replace(said, "a=GET /poll"), false),
        (head, false),
        (named.clone() + &poll[..poll.len() - 1], false),
        (poll.clone(), true),
        (named.clone() + &poll, true),
        (named.repeat(3) + &post, true),
        (follow + &poll, true),
    ] {
        let mut world = World::new(&Shape::plain());
        let peer = Peer::ask(&world, Way::Poll, &[0], None, 25);
        world.steps(6);
        world.nets[0].write(peer.client, behind.as_bytes());
        world.nets[0].half_close(peer.client);
        world.steps(6);
        let mut heard = world.nets[0].take(peer.client);
        world.publish(0, 10, Kind::Text);
        world.steps(12);
        heard.extend(world.nets[0].take(peer.client));
        let heard = String::from_utf8(heard).unwrap();
        let first = heard.split_once("\"messages\":[").unwrap().1;
        assert_eq!(first.starts_with(']'), hurries, "{behind}: {heard}");
    }
}
