//! Requests that are held until there is something to tell, and then have one answer.

use std::sync::Arc;

use fanfare_protocol::dialect::machine::{Answer, Machine, Piece, Turn};
use fanfare_protocol::message::Kind;

use super::held::{Asked, begin, get, is_empty_in_the_end, numbers, shape};
use super::peer::Peer;
use super::wire::Way;
use super::world::{COUNTED, Manner, Shape, World};
use crate::driver::sim::Standing;
use crate::rule::{HistoryRule, Slow, Window};
use crate::shard::tick_budget::TickBudget;

/// A client on shard 0 that follows `c0`, for which nothing is held.
pub(super) fn follower(world: &mut World) -> String {
    let (id, _) = begin(world, 0, Some(25));
    Asked::bring(world, 0, &id, "follow c0");
    world.steps(12);
    let mut poll = Asked::hold(world, 0, Some(&id), Some(25));
    world.steps(8);
    assert_eq!(poll.hear(world), ["following c0@1"]);
    id
}

pub(super) fn publish(world: &mut World, count: usize) {
    for _ in 0..count {
        world.publish(0, 10, Kind::Text);
        world.steps(2);
    }
}

/// However many requests are written before the first is answered.
#[test]
fn an_answer_says_its_length_and_its_connection_has_the_next() {
    for shard in [0, 1] {
        let mut world = World::new(&shape(2));
        let id = follower(&mut world);
        let mut poll = Asked::new(&world, shard, &get(Some(&id), Some(25)).repeat(3));
        world.steps(12);
        for nth in 1..=3 {
            assert_eq!((poll.hear(&world).len(), poll.status), (0, None), "it waits");
            publish(&mut world, 1);
            world.steps(8);
            assert_eq!(numbers(&poll.hear(&world)), [nth]);
            for field in [
                "Content-Type: application/json",
                "Cache-Control: no-store",
                "Connection: keep-alive",
            ] {
                assert!(poll.head.contains(&format!("\r\n{field}\r\n")), "{}", poll.head);
            }
            assert!(!poll.head.contains("Transfer-Encoding"), "{}", poll.head);
            poll.again(&world, "");
        }
        assert_eq!(poll.standing(&world), Standing::Open);
        is_empty_in_the_end(&mut world);
    }
}

/// What is the client's own comes first, then what it has missed for good, then messages in their
/// order; and all of it however little of it a client takes at a time.
#[test]
fn an_answer_is_the_same_however_it_is_taken() {
    let answer = |bytes: usize| {
        let mut shape = shape(2);
        shape.history = HistoryRule { count: 2, bytes: 100_000_000, age_ms: 600_000 };
        shape.window = Window { count: 16, bytes: 1 << 30 };
        shape.slow = vec![Slow::Window];
        let mut world = World::new(&shape);
        let id = follower(&mut world);
        publish(&mut world, 20);
        Asked::bring(&world, 1, &id, "say c1 #x;");
        world.steps(12);
        let mut poll = Asked::hold(&world, 1, Some(&id), Some(25));
        world.nets[1].set_window(poll.client, bytes);
        let (mut told, mut rounds) = (Vec::new(), 0);
        while told.is_empty() {
            world.steps(2);
            told = poll.hear(&world);
            rounds += 1;
            assert!(rounds < 4_000, "it comes to an end");
        }
        world.steps(4);
        let next = Asked::hold(&world, 0, Some(&id), Some(25));
        world.steps(12);
        assert_eq!((next.status, next.standing(&world)), (None, Standing::Open), "it goes on");
        is_empty_in_the_end(&mut world);
        told
    };
    let whole = answer(usize::MAX);
    assert_eq!(whole[0], "at 1");
    assert!(whole[1].contains(r#""from":1"#) && whole[1].contains("fanfare.gap"), "{}", whole[1]);
    let first = numbers(&whole)[0];
    assert_eq!(numbers(&whole), (first..=20).collect::<Vec<_>>());
    assert!(first > 1 && whole.len() == 2 + (20 - first as usize + 1), "{whole:?}");
    for bytes in 1..80 {
        assert_eq!(answer(bytes), whole, "{bytes} at a time");
    }
}

/// Where there is no room to render what comes first, what is the client's own is not kept waiting.
#[test]
fn an_answer_has_what_is_the_clients_own_where_there_is_no_room_for_more() {
    let mut shape = shape(2);
    shape.limits.rendered_bytes = 100_000;
    let mut world = World::new(&shape);
    let id = follower(&mut world);
    let many: Vec<String> = (10..50).map(|nth| format!("c{nth}=now")).collect();
    Asked::bring(&world, 0, &id, &format!("from {}", many.join(" ")));
    world.steps(12);
    assert_eq!(Asked::hold(&world, 0, Some(&id), Some(25)).heard_in(&mut world, 8).len(), 1);
    let polls = [5, 6, 7].map(|channel| Peer::ask(&world, Way::Poll, &[channel], None, 25));
    world.steps(8);
    for (poll, channel) in polls.iter().zip([5, 6, 7]) {
        world.nets[0].set_window(poll.client, 20);
        world.publish(channel, 34_500, Kind::Text);
        world.steps(8);
    }
    let mut poll = Asked::hold(&world, 0, Some(&id), Some(25));
    publish(&mut world, 1);
    world.steps(8);
    assert_eq!((poll.hear(&world).len(), poll.status), (0, None), "it waits for room");
    world.invariants(); // what it holds meanwhile is counted
    Asked::bring(&world, 1, &id, "say c1 #x;");
    world.steps(12);
    let told = poll.hear(&world);
    assert!(told.len() == 1 && told[0].starts_with("at "), "{told:?}");
    world.invariants();
    let mut next = Asked::hold(&world, 0, Some(&id), Some(25));
    world.pass(1_100);
    assert_eq!(numbers(&next.hear(&world)), [4]);
    polls.iter().for_each(|poll| world.nets[0].reset(poll.client));
    is_empty_in_the_end(&mut world);
}

/// A channel that is left is followed no more, also for who reads an answer from its beginning:
/// what is said while messages are gathered stands behind them, and ends the answer.
#[test]
fn what_is_said_while_an_answer_is_gathered_stands_behind_what_was() {
    let budget = TickBudget { batches: 1, ..COUNTED };
    let mut world = World::new(&Shape { budget, ..shape(1) });
    let id = follower(&mut world);
    for _ in 0..30 {
        world.publish(0, 34_000, Kind::Text);
        world.steps(2);
    }
    let mut poll = Asked::hold(&world, 0, Some(&id), Some(25));
    Asked::bring(&world, 0, &id, "leave c0");
    let told = poll.heard_in(&mut world, 40);
    assert_eq!(told.last().map(String::as_str), Some("left c0 true"));
    let given = numbers(&told);
    assert_eq!(given, (1..told.len() as u64).collect::<Vec<_>>());
    assert!((1..30).contains(&given.len()), "it was left in the middle: {given:?}");
    let mut next = Asked::hold(&world, 0, Some(&id), Some(25));
    assert_eq!((next.heard_in(&mut world, 20).len(), next.status), (0, None), "nothing follows");
    is_empty_in_the_end(&mut world);
}

/// Between the loss of a stream and the next tick its session is told nothing of it, and the log is
/// trimmed: what went by was ephemeral, and nothing is missed.
#[test]
fn who_loses_its_stream_in_the_tick_of_a_trim_stays_where_it_is() {
    let mut shape = shape(1);
    shape.history = HistoryRule { count: 0, ..HistoryRule::DEFAULT };
    shape.window = Window { count: 1, bytes: 1 << 20 };
    shape.slow = vec![Slow::Window];
    let mut world = World::new(&shape);
    let id = follower(&mut world);
    let mut poll = Asked::hold(&world, 0, Some(&id), Some(25));
    publish(&mut world, 1);
    assert_eq!(numbers(&poll.heard_in(&mut world, 8)), [1]);
    let mut stream = Asked::hold(&world, 0, Some(&id), None);
    assert!(stream.heard_in(&mut world, 8).is_empty());
    let ephemeral = Manner { ephemeral: true, ..Manner::default() };
    (0..3).for_each(|_| world.publish_in(0, 10, Kind::Text, ephemeral));
    world.offer();
    (0..4).for_each(|_| world.step_sequencer());
    world.nets[0].reset(stream.client); // and the node does not know yet
    world.tick(0);
    publish(&mut world, 1);
    let mut poll = Asked::hold(&world, 0, Some(&id), Some(25));
    let told = poll.heard_in(&mut world, 12);
    assert_eq!(numbers(&told).last(), Some(&5));
    assert!(told.iter().all(|it| !it.contains("fanfare.gap")), "{told:?}");
    is_empty_in_the_end(&mut world);
}

/// A part of an answer went: nobody knows whether the rest will be asked for.
#[test]
fn a_session_ends_with_an_answer_that_is_lost_or_not_taken() {
    for is_lost in [true, false] {
        let mut world = World::new(&shape(2));
        let id = follower(&mut world);
        publish(&mut world, 3);
        let mut poll = Asked::hold(&world, 1, Some(&id), Some(25));
        world.nets[1].set_window(poll.client, 100);
        world.steps(12);
        assert_eq!(world.nets[0].take(poll.client).len(), 100, "it has moved to its session");
        world.steps(1);
        match is_lost {
            true => world.nets[0].reset(poll.client),
            false => world.nets[0].set_window(poll.client, 0),
        }
        world.pass(if is_lost { 100 } else { 70_000 });
        assert_eq!(poll.standing(&world), Standing::Reset);
        let mut next = Asked::hold(&world, 1, Some(&id), Some(25));
        world.steps(12);
        next.hear(&world);
        assert_eq!(next.status, Some(410), "lost: {is_lost}");
        is_empty_in_the_end(&mut world);
        poll.hear(&world);
    }
}

/// Who has its answer may hang up in the same moment, and come back over another connection.
#[test]
fn who_has_the_whole_answer_may_go_and_come_again_at_once() {
    for hangs_up in [true, false] {
        // A tick ends between the send and the visit that finds nothing left to send.
        let budget = TickBudget { batches: 1, ..COUNTED };
        let mut world = World::new(&Shape { budget, ..shape(2) });
        let id = follower(&mut world);
        let mut poll = Asked::hold(&world, 0, Some(&id), Some(25));
        let mut next = Asked::new(&world, 0, "");
        world.steps(8);
        world.publish(0, 10, Kind::Text);
        world.offer();
        (0..4).for_each(|_| world.step_sequencer());
        let mut ticks = 0;
        while poll.hear(&world).is_empty() {
            world.tick(0);
            ticks += 1;
            assert!(ticks < 10, "it is answered");
        }
        if hangs_up {
            world.nets[0].reset(poll.client);
        }
        next.again(&world, &get(Some(&id), Some(25)));
        publish(&mut world, 1);
        world.steps(8);
        assert_eq!((numbers(&next.hear(&world)), next.status), (vec![2], Some(200)), "{hangs_up}");
        is_empty_in_the_end(&mut world);
    }
}

#[test]
fn a_poll_is_told_the_end_of_its_session_and_its_connection_stays() {
    let mut world = World::new(&shape(2));
    let id = follower(&mut world);
    let mut poll = Asked::hold(&world, 1, Some(&id), Some(25));
    world.steps(12);
    Asked::bring(&world, 0, &id, "what\nbye");
    world.steps(12);
    assert_eq!(poll.hear(&world), ["what is what"]);
    assert!(poll.ended && poll.standing(&world) == Standing::Open);
    poll.again(&world, &get(Some(&id), Some(25)));
    world.steps(12);
    poll.hear(&world);
    assert_eq!(poll.status, Some(410));

    let id = follower(&mut world);
    let mut poll = Asked::hold(&world, 1, Some(&id), Some(25));
    world.steps(12);
    let nobody_listens = follower(&mut world);
    let _ = world.node.inbox().offer(crate::sequencer::command::Command::Shutdown);
    world.steps(12);
    let told = poll.hear(&world);
    assert!(told[0].contains(r#""reason":"restart""#), "{told:?}");
    assert!(poll.head.contains("\r\nConnection: close\r\n"), "{}", poll.head);
    assert_ne!(nobody_listens, id);
    world.pass(2_000); // who was refused is listened to for a while
    assert!(world.metrics.shards.iter().all(|shard| shard.connections.read() == 0));
}

/// What a stream could not be told is told with the next poll, and the other way round.
#[test]
fn what_waits_is_written_anew_for_another_framing() {
    let mut world = World::new(&shape(2));
    let id = follower(&mut world);
    let mut stream = Asked::hold(&world, 0, Some(&id), None);
    world.steps(8);
    assert_eq!((stream.hear(&world).len(), stream.status), (0, Some(200)));
    world.nets[0].set_window(stream.client, 0);
    Asked::bring(&world, 1, &id, "what\nfollow c1");
    publish(&mut world, 2);
    world.steps(12);
    world.nets[0].reset(stream.client);
    world.steps(4);
    let mut poll = Asked::hold(&world, 1, Some(&id), Some(25));
    world.steps(12);
    let told = poll.hear(&world);
    assert_eq!(told[..2], ["what is what", "following c1@1"]);
    assert_eq!(numbers(&told), [1, 2]);

    Asked::bring(&world, 1, &id, "again c2\nwhat");
    publish(&mut world, 1);
    world.steps(12);
    let mut stream = Asked::hold(&world, 1, Some(&id), None);
    world.steps(12);
    let told = stream.hear(&world);
    assert_eq!(told[..2], ["what is what", "following c2@1"]);
    assert_eq!(numbers(&told), [3]);
    is_empty_in_the_end(&mut world);
}

/// Says something in one way, and knows no other.
struct Stubborn;

impl Machine for Stubborn {
    fn begin(&mut self, session: &str, turn: &mut dyn Turn) {
        turn.private().extend_from_slice(format!(r#",{{"text":"session {session}"}}"#).as_bytes());
    }

    fn piece(&mut self, _: Piece<'_>, turn: &mut dyn Turn) {
        turn.private().extend_from_slice(b",1");
    }

    fn answer(&mut self, _: u32, _: Answer<'_>, _: &mut dyn Turn) {}
}

#[test]
fn a_client_begins_anew_where_its_machine_knows_no_other_framing() {
    let mut shape = shape(1);
    shape.machines = Some(Arc::new(|| Box::new(Stubborn) as Box<dyn Machine>) as _);
    let mut world = World::new(&shape);
    let (id, _) = begin(&mut world, 0, Some(25));
    // Where nothing waits nothing is to be written anew.
    for wait in [None, Some(25)] {
        let nothing = Asked::hold(&world, 0, Some(&id), wait);
        world.steps(12);
        world.nets[0].reset(nothing.client);
        world.steps(4);
    }
    Asked::bring(&world, 0, &id, "say it as a list");
    world.steps(12);
    let mut stream = Asked::hold(&world, 0, Some(&id), None);
    world.steps(12);
    stream.hear(&world);
    assert_eq!(stream.standing(&world), Standing::Ended);
    let mut next = Asked::hold(&world, 0, Some(&id), Some(25));
    world.steps(12);
    next.hear(&world);
    assert_eq!(next.status, Some(410));
    is_empty_in_the_end(&mut world);
}
