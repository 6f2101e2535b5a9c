//! Rows of THREATS that are about time and readiness, with exact expectations.

use fanfare_protocol::message::Kind;

use super::peer::Peer;
use super::wire::{Said, Way};
use super::world::{Shape, World};
use crate::driver::sim::Standing;
use crate::rule::{HistoryRule, Window};
use crate::sequencer::command::Command;

const RAW: Way = Way::Socket { json: false };
const JSON: Way = Way::Socket { json: true };
const SSE: Way = Way::Events { json: false };

fn small_window() -> World {
    let history = HistoryRule { count: 2, bytes: 100_000, age_ms: 600_000 };
    let window = Window { count: 16, bytes: 1_000_000 };
    World::new(&Shape { history, window, ..Shape::plain() })
}

#[test]
fn w21_a_client_that_does_not_read_costs_its_cursor_and_is_closed_4508() {
    let mut world = small_window();
    let mut slow = Peer::follow(&mut world, RAW, &[0]);
    let mut other = Peer::follow(&mut world, RAW, &[0]);
    world.nets[0].set_window(slow.client, 150);
    for _ in 0..30 {
        world.publish(0, 100, Kind::Text);
        world.step();
        assert_eq!(other.listen(&world), 1, "others are served as ever");
    }
    let connection = world.node.shards[0]
        .clients
        .connections
        .table
        .iter()
        .find(|(_, it)| it.session.line.is_blocked());
    let outbox = connection.unwrap().1.session.line.outbox().map_or(0, |outbox| outbox.memory());
    assert!(outbox < 1_000, "the rest of one frame waits: {outbox}");
    world.pass(1_100);
    assert_eq!(world.metrics.shards[0].slow_closed.read(), 1, "within a second");
    world.nets[0].set_window(slow.client, usize::MAX);
    world.steps(3);
    slow.listen(&world);
    assert_eq!(slow.said.last(), Some(&Said::Close(4508)), "after the frame that was begun");
    assert!(slow.messages() >= 1);
    world.pass(5_200);
    assert_eq!(slow.standing(&world), Standing::Reset, "it did not answer");
    assert_eq!(other.standing(&world), Standing::Open);
}

#[test]
fn w21_who_does_not_even_take_the_close_is_cut_off_after_five_seconds() {
    let mut world = small_window();
    let slow = Peer::follow(&mut world, RAW, &[0]);
    world.nets[0].set_window(slow.client, 150);
    for _ in 0..30 {
        world.publish(0, 100, Kind::Text);
    }
    world.steps(5);
    world.pass(4_500);
    assert_eq!(slow.standing(&world), Standing::Open, "it has its five seconds");
    world.pass(2_000);
    assert_eq!(slow.standing(&world), Standing::Reset);
}

#[test]
fn a_slow_event_stream_ends_at_once_and_comes_back_by_itself() {
    let mut world = small_window();
    let mut slow = Peer::follow(&mut world, SSE, &[0]);
    world.nets[0].set_window(slow.client, 150);
    for _ in 0..30 {
        world.publish(0, 100, Kind::Text);
    }
    world.steps(5);
    world.pass(1_100);
    world.nets[0].set_window(slow.client, usize::MAX);
    world.steps(3);
    slow.listen(&world);
    assert_eq!(slow.said.last(), Some(&Said::Closed("slow".into())));
    assert_eq!(slow.standing(&world), Standing::Ended, "its end is what it waits for");
}

#[test]
fn w22_a_client_that_answers_no_ping_is_closed_4512() {
    let mut world = World::new(&Shape::plain());
    let mut lively = Peer::follow(&mut world, RAW, &[0]);
    lively.until_pinged(&mut world);
    lively.say(&world, 10, b"");
    let mut silent = Peer::follow(&mut world, RAW, &[0]);
    silent.until_pinged(&mut world);
    world.pass(9_700);
    lively.say(&world, 10, b"");
    silent.listen(&world);
    assert_eq!(silent.said.last(), Some(&Said::Ping), "not before its ten seconds");
    world.pass(500);
    silent.listen(&world);
    assert_eq!(silent.said.last(), Some(&Said::Close(4512)));
    world.pass(2_200);
    assert_eq!(silent.standing(&world), Standing::Ended);
    assert_eq!(lively.standing(&world), Standing::Open);
}

#[test]
fn w22_while_bytes_wait_no_pong_is_owed_and_a_stall_ends_it() {
    let mut world = World::new(&Shape::plain());
    let mut stuck = Peer::follow(&mut world, RAW, &[0]);
    let dead = Peer::follow(&mut world, RAW, &[0]);
    for peer in [&stuck, &dead] {
        world.nets[0].take(peer.client);
        world.nets[0].set_window(peer.client, 1);
    }
    world.publish(0, 100, Kind::Text);
    world.steps(2);
    world.pass(50_000);
    assert_eq!(stuck.standing(&world), Standing::Open);
    assert_eq!(world.metrics.shards[0].pong_missed.read(), 0, "no pong is owed");
    stuck.listen(&world); // it takes one byte
    world.pass(15_000);
    assert_eq!(stuck.standing(&world), Standing::Open, "which is a sign of life");
    assert_eq!(dead.standing(&world), Standing::Reset, "sixty seconds without a byte");
    world.pass(50_000);
    assert_eq!(stuck.standing(&world), Standing::Reset);
}

#[test]
fn a_stall_begins_when_bytes_begin_to_wait() {
    let mut world = World::new(&Shape::plain());
    let quiet = Peer::follow(&mut world, SSE, &[0]);
    world.pass(14_000);
    world.now = world.now.plus(600_000); // as if the shard's thread had not run for so long
    world.nets[0].set_window(quiet.client, 0);
    world.publish(0, 100, Kind::Text);
    world.steps(2);
    world.pass(55_000);
    assert_eq!(quiet.standing(&world), Standing::Open);
    world.pass(6_500);
    assert_eq!(quiet.standing(&world), Standing::Reset);
}

#[test]
fn a_ping_that_waited_behind_messages_has_its_whole_time() {
    let mut world = World::new(&Shape::plain());
    let mut peer = Peer::follow(&mut world, RAW, &[0]);
    peer.until_pinged(&mut world);
    world.nets[0].set_window(peer.client, 1);
    world.publish(0, 100, Kind::Text);
    world.pass(9_200);
    world.nets[0].set_window(peer.client, usize::MAX);
    world.pass(5_000);
    peer.listen(&world);
    assert_eq!(peer.count(&Said::Close(4512)), 0, "it could not have answered before");
    assert_eq!(peer.count(&Said::Ping), 1);
    world.pass(6_000);
    peer.listen(&world);
    assert_eq!(peer.said.last(), Some(&Said::Close(4512)));
}

#[test]
fn w16_the_thirty_third_ping_of_a_second_is_too_many() {
    let mut world = World::new(&Shape::plain());
    let mut peer = Peer::follow(&mut world, RAW, &[0]);
    for _ in 0..32 {
        peer.say(&world, 9, b"x");
    }
    world.steps(3);
    peer.listen(&world);
    assert_eq!(peer.count(&Said::Pong(b"x".to_vec())), 32);
    world.now = world.now.plus(1_000);
    for _ in 0..33 {
        peer.say(&world, 9, b"y");
    }
    world.steps(3);
    peer.listen(&world);
    assert_eq!(peer.count(&Said::Pong(b"y".to_vec())), 32);
    assert_eq!(peer.said.last(), Some(&Said::Close(4529)));
}

#[test]
fn e8_only_a_silent_stream_gets_heartbeats() {
    let mut world = World::new(&Shape::plain());
    let mut silent = Peer::follow(&mut world, SSE, &[0]);
    let mut busy = Peer::follow(&mut world, SSE, &[1]);
    for _ in 0..9 {
        world.publish(1, 10, Kind::Text);
        world.pass(7_000);
    }
    silent.listen(&world);
    busy.listen(&world);
    // The first one comes after half a period to a whole one, so in 63 s there are four.
    assert_eq!((silent.count(&Said::Heartbeat), busy.count(&Said::Heartbeat)), (4, 0));
    world.pass(9_000);
    busy.listen(&world);
    assert_eq!(busy.count(&Said::Heartbeat), 1, "fifteen seconds after its last message at most");
}

#[test]
fn streams_that_had_one_message_are_not_all_spoken_to_in_one_moment() {
    let mut world = World::new(&Shape::plain());
    let mut peers: Vec<_> = (0..40).map(|_| Peer::follow(&mut world, SSE, &[0])).collect();
    for _ in 0..2 {
        world.publish(0, 10, Kind::Text);
        let mut spoken_to = Vec::new();
        for _ in 0..16 {
            world.pass(1_000);
            let heard = peers.iter_mut().map(|peer| {
                peer.listen(&world);
                peer.count(&Said::Heartbeat)
            });
            spoken_to.push(heard.sum::<usize>());
        }
        let each_second: Vec<_> = spoken_to.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(each_second.iter().sum::<usize>(), 40, "each once: {each_second:?}");
        assert!(each_second.iter().all(|count| *count <= 8), "spread: {each_second:?}");
    }
}

#[test]
fn w19_a_message_that_never_ends_is_closed_1008() {
    let mut shape = Shape::plain();
    shape.limits.ping_ms = 3_600_000; // it would answer none
    let mut world = World::new(&shape);
    let mut peer = Peer::follow(&mut world, RAW, &[0]);
    world.nets[0].write(peer.client, &[0x82]);
    world.pass(24_000);
    world.nets[0].write(peer.client, &[0x85]);
    world.pass(5_500);
    peer.listen(&world);
    peer.say(&world, 0, b""); // four bytes of mask, and two of the payload
    assert_eq!(peer.count(&Said::Close(1008)), 0);
    world.pass(700);
    peer.listen(&world);
    assert_eq!(peer.said.last(), Some(&Said::Close(1008)));
}

#[test]
fn h4_a_head_has_five_seconds_from_the_accept() {
    let mut world = World::new(&Shape::plain());
    let mut peer = Peer::mute(&world, RAW);
    for byte in b"GET /ws?channels=c0 HTTP/1.1\r\nHost: localhost\r\n".chunks(1).take(48) {
        world.nets[0].write(peer.client, byte);
        world.pass(100);
    }
    peer.listen(&world);
    assert_eq!(peer.said, []);
    world.pass(500);
    peer.listen(&world);
    assert_eq!(peer.said, [Said::Head(408)]);
    world.pass(1_100);
    assert_eq!(peer.standing(&world), Standing::Ended);
}

#[test]
fn a_head_that_came_in_time_is_not_late_because_we_are() {
    let mut shape = Shape::plain();
    shape.limits.inbox_commands = 1;
    let mut world = World::new(&shape);
    let mut patient = Peer::mute(&world, RAW);
    world.steps(2);
    let head = "GET /ws?channels=c0 HTTP/1.1\r\nHost: localhost\r\n";
    world.nets[0].write(patient.client, head.as_bytes());
    world.steps(2);
    // The sequencer stands still, and its inbox is full: no head is read.
    let _others = [0, 1].map(|channel| Peer::ask(&world, RAW, &[channel], None, 25));
    (0..4).for_each(|_| world.tick(0));
    world.nets[0].write(patient.client, b"Connection: nothing of the kind\r\n\r\n");
    for _ in 0..80 {
        world.now = world.now.plus(100);
        world.tick(0);
    }
    assert!(world.metrics.shards[0].inbox_full.read() > 0, "the inbox was never full");
    patient.listen(&world);
    assert_eq!(patient.said, [], "eight seconds, none of them its fault");
    world.steps(6);
    patient.listen(&world);
    assert!(!patient.said.contains(&Said::Head(408)), "{:?}", patient.said);
    assert!(matches!(patient.said[..], [Said::Head(_)]), "it is read: {:?}", patient.said);
}

#[test]
fn a_poll_waits_as_long_as_it_said_and_its_connection_serves_again() {
    let mut world = World::new(&Shape::plain());
    world.publish(0, 10, Kind::Text);
    world.steps(2);
    let last = world.truth.position();
    let mut peer = Peer::ask(&world, Way::Poll, &[0], Some(last), 7);
    world.steps(4);
    world.pass(6_800);
    assert_eq!((peer.listen(&world), peer.said.len()), (0, 0));
    world.pass(300);
    peer.listen(&world);
    let id = world.id(last);
    assert_eq!(peer.said, [Said::Answer { id, messages: Vec::new(), gaps: Vec::new() }]);
    assert_eq!(world.metrics.shards[0].subscriptions.read(), 0);
    world.publish(0, 10, Kind::Text);
    let head = super::wire::request(Way::Poll, &["c0".into()], Some(&world.id(last)), 5, None);
    world.nets[0].write(peer.client, head.as_bytes());
    world.steps(6);
    assert_eq!(peer.listen(&world), 1);
    world.pass(73_000);
    assert_eq!(peer.standing(&world), Standing::Open, "it outlives the 60 s of common proxies");
    world.pass(3_000);
    assert_eq!(peer.standing(&world), Standing::Ended, "an idle connection ends");
}

#[test]
fn an_answer_that_is_read_slowly_is_given_whole() {
    let mut world = World::new(&Shape::plain());
    for _ in 0..40 {
        world.publish(0, 10_000, Kind::Text);
    }
    world.steps(3);
    let mut peer = Peer::ask(&world, Way::Poll, &[0], Some(0), 7);
    world.nets[0].set_window(peer.client, 10_000);
    world.steps(6);
    for _ in 0..45 {
        world.pass(3_000);
        peer.listen(&world);
    }
    assert_eq!(peer.messages(), 40, "it took two minutes, and never stood still for one");
    let mut stalled = Peer::ask(&world, Way::Poll, &[0], Some(0), 7);
    world.nets[0].set_window(stalled.client, 10_000);
    world.steps(6);
    world.pass(58_000);
    assert_eq!(stalled.standing(&world), Standing::Open);
    world.pass(5_000);
    assert_eq!(stalled.standing(&world), Standing::Reset);
    stalled.listen(&world);
}

#[test]
fn an_end_of_file_ends_a_stream_at_once_in_any_phase() {
    for way in [RAW, JSON, SSE, Way::Poll] {
        for steps in 0..8 {
            let mut world = World::new(&Shape::plain());
            let peer = Peer::ask(&world, way, &[0], Some(0), 25);
            world.steps(steps);
            world.nets[0].half_close(peer.client);
            world.steps(6);
            let waits = way == Way::Poll;
            let standing = peer.standing(&world);
            assert!(standing != Standing::Open || waits, "{way:?} after {steps}");
            world.pass(32_000);
            assert_ne!(peer.standing(&world), Standing::Open, "{way:?} after {steps}");
            world.pass(32_000);
            world.is_empty();
        }
    }
    let mut world = World::new(&Shape::plain());
    let peer = Peer::mute(&world, RAW);
    world.nets[0].write(peer.client, b"GET /ws?chan");
    world.steps(3);
    world.nets[0].half_close(peer.client);
    world.steps(3);
    assert_eq!(peer.standing(&world), Standing::Ended, "in the middle of a head");
}

#[test]
fn a_history_that_is_longer_than_the_window_is_given_whole() {
    let history = HistoryRule { count: 500, bytes: 1_000_000, age_ms: 600_000 };
    let window = Window { count: 4, bytes: 1_000 };
    let mut world = World::new(&Shape { history, window, ..Shape::plain() });
    for _ in 0..400 {
        world.publish(0, 10, Kind::Text);
    }
    world.steps(5);
    let last = world.truth.position();
    for since in [0, 17, 399] {
        // All were published in one millisecond: they are one record.
        let position = if since == 0 { 0 } else { last - (400 - since) };
        let mut peer = Peer::ask(&world, RAW, &[0], Some(position), 0);
        world.steps(12);
        assert_eq!(peer.listen(&world), 400 - since as usize, "after {since}");
    }
}

/// Lets visits pass over everyone.
pub(super) fn pass_over(world: &mut World, on: bool) {
    let table = &mut world.node.shards[0].clients.connections.table;
    for token in table.tokens() {
        table.get_mut(token).expect("it is open").flags.planned = on;
    }
}

#[test]
fn a_poll_that_is_overtaken_by_the_window_is_told_what_it_missed() {
    let mut world = small_window();
    let mut peer = Peer::ask(&world, Way::Poll, &[0], Some(0), 25);
    world.steps(6);
    // Nobody visits it while the window moves on: as if the sweep of a million came late.
    pass_over(&mut world, true);
    for _ in 0..30 {
        world.publish(0, 10, Kind::Text);
        world.step();
    }
    pass_over(&mut world, false);
    world.publish(0, 10, Kind::Text);
    world.steps(3);
    peer.listen(&world);
    let Some(Said::Answer { messages, gaps, .. }) = peer.said.first() else { panic!() };
    let [gap] = &gaps[..] else { panic!("{gaps:?}") };
    let (from, to) = gap.bounds.unwrap();
    assert_eq!((from, &*gap.reason), (1, "slow"));
    assert!(messages.len() >= 16, "the window is given");
    assert_eq!((messages[0].offset, messages.len() as u64), (Some(to + 1), 31 - to));
}

#[test]
fn everyone_is_given_what_is_owed_and_told_to_come_back() {
    let mut world = World::new(&Shape::plain());
    let mut socket = Peer::follow(&mut world, RAW, &[0]);
    let mut events = Peer::follow(&mut world, SSE, &[0]);
    let mut poll = Peer::ask(&world, Way::Poll, &[1], None, 25);
    world.steps(6);
    let idle = Peer::mute(&world, RAW);
    world.steps(3);
    world.publish(0, 10, Kind::Text);
    world.offers.push_back(Command::Shutdown);
    world.steps(6);
    for peer in [&mut socket, &mut events, &mut poll] {
        peer.listen(&world);
    }
    assert_eq!(socket.heard().count(), 1);
    assert_eq!(socket.said.last(), Some(&Said::Close(1012)));
    assert_eq!(events.heard().count(), 1);
    assert_eq!(events.said.last(), Some(&Said::Closed("restart".into())));
    assert!(matches!(poll.said[..], [Said::Answer { .. }]));
    for peer in [&events, &poll, &idle] {
        assert_eq!(peer.standing(&world), Standing::Ended);
    }
    socket.say(&world, 8, &1012u16.to_be_bytes());
    world.steps(3);
    assert_eq!(socket.standing(&world), Standing::Ended);
    assert!(world.node.has_ended(0), "nobody is left: the shard ends before its deadline");
}
