//! Who comes and who goes, as clients hear of it: those whose dialect tells it, in the order in
//! which it stands among messages, and others without a byte.

use std::sync::Arc;

use fanfare_protocol::dialect::machine::Machine;
use fanfare_protocol::dialect::{Encoding, Form, witness};
use fanfare_protocol::http::{Request, Violation};
use fanfare_protocol::message::Change::{self, Join, Leave};
use fanfare_protocol::message::Kind;

use super::commands::heard;
use super::held::{Asked, begin};
use super::lines::{Lines, Talk};
use super::peer::Peer;
use super::wire::Way;
use super::world::{Shape, World};
use crate::driver::sim::Standing;
use crate::limits::Limits;
use crate::rule::{HistoryRule, Slow, Window};
use crate::transport::door::{Door, Errand, Hold};

const EVENTS: Way = Way::Events { json: true };

/// As the tests' small protocol, of a dialect that tells presence.
struct Witnesses;

impl Door for Witnesses {
    fn errand(&self, request: &Request<'_>) -> Option<Result<Errand, Violation>> {
        let tells = |hold: Hold| {
            let form = Form::Witness(witness::Form);
            let encoding = Encoding::of(form, hold.encoding.framing()).unwrap();
            Hold { encoding, ..hold }
        };
        Some(Lines.errand(request)?.map(|errand| match errand {
            Errand::Begin(hold) => Errand::Begin(tells(hold)),
            Errand::Hold(session, hold) => Errand::Hold(session, tells(hold)),
            other => other,
        }))
    }
}

fn shape() -> Shape {
    let machine = || Box::new(Talk::default()) as Box<dyn Machine>;
    let (machines, door) = (Some(Arc::new(machine) as _), Some(Arc::new(Witnesses) as _));
    Shape { machines, door, ..Shape::plain() }
}

/// A client whose dialect tells presence, and that follows these.
fn witness(world: &mut World, channels: &str) -> Asked {
    let (id, mut stream) = begin(world, 0, None);
    let lines: Vec<String> = channels.split(' ').map(|name| format!("follow {name}")).collect();
    Asked::bring(world, 0, &id, &lines.join("\n"));
    world.steps(12);
    assert_eq!(stream.hear(world).len(), lines.len());
    stream
}

fn change(world: &mut World, change: Change, channel: usize, member: &str) {
    world.change(change, channel, member);
    world.step_sequencer();
}

fn message(world: &mut World, channel: usize) {
    world.publish(channel, 10, Kind::Text);
    while !world.offers.is_empty() {
        world.offer();
        world.step_sequencer();
    }
    world.step_sequencer();
}

/// What was heard, in short: the number of each message, and who came and went.
fn short(said: &[String]) -> Vec<String> {
    let one = |text: &String| match text.split_once("#n") {
        Some((_, rest)) => rest.split_once(';').unwrap().0.into(),
        None => text.split(',').next().unwrap().replace(['{', '"'], ""),
    };
    said.iter().map(one).collect()
}

#[test]
fn it_stands_among_messages_where_it_stands_in_the_order() {
    let mut world = World::new(&shape());
    change(&mut world, Join, 0, "before");
    let mut stream = witness(&mut world, "c0 c1");
    let mut plain = Peer::follow(&mut world, EVENTS, &[0, 1]);
    message(&mut world, 0);
    change(&mut world, Join, 0, "ann");
    message(&mut world, 1);
    change(&mut world, Join, 1, "bob");
    change(&mut world, Leave, 0, "ann");
    message(&mut world, 0);
    change(&mut world, Leave, 2, "nobody");
    world.steps(10);
    let expected = ["1", "join:ann", "2", "join:bob", "leave:ann", "3"];
    assert_eq!(short(&stream.hear(&world)), expected);
    assert_eq!(heard(&mut plain, &world).len(), 3, "messages alone");
    world.invariants();
    assert!(world.is_quiet(), "{}", world.unrest());
    // Who comes now hears of what comes now.
    let mut late = witness(&mut world, "c0");
    change(&mut world, Join, 0, "cy");
    world.steps(8);
    assert_eq!(short(&late.hear(&world)), ["join:cy"]);
}

#[test]
fn it_is_told_by_the_view_that_its_channel_is_read_by() {
    let mut world = World::new(&shape());
    let mut stream = witness(&mut world, "c0");
    let (id, mut other) = begin(&mut world, 0, None);
    Asked::bring(&world, 0, &id, "follow c0 red");
    world.steps(12);
    assert_eq!(other.hear(&world).len(), 1);
    change(&mut world, Join, 0, "ann");
    world.steps(8);
    let (plain, red) = (stream.hear(&world), other.hear(&world));
    assert!(plain[0].contains(r#""join":"ann","channel":"c0""#), "{plain:?}");
    assert!(!plain[0].contains("view"), "{plain:?}");
    assert!(red[0].contains(r#""channel":"c0","view":"red""#), "{red:?}");
    world.invariants();
}

#[test]
fn who_is_told_nothing_of_it_passes_it_without_a_byte_and_has_caught_up() {
    let (raw, json) = (Way::Socket { json: false }, Way::Socket { json: true });
    for way in [raw, json, EVENTS, Way::Events { json: false }] {
        for channels in [&[0][..], &[0, 1]] {
            let mut world = World::new(&Shape::plain());
            let mut peer = Peer::follow(&mut world, way, channels);
            let deliveries = |world: &World| world.metrics.shards[0].deliveries.read();
            change(&mut world, Join, 0, "ann");
            world.steps(6);
            let taken = world.nets[0].take(peer.client);
            assert_eq!((taken.len(), deliveries(&world)), (0, 0), "{way:?}");
            message(&mut world, 0);
            change(&mut world, Leave, 0, "ann");
            change(&mut world, Join, 0, "bob");
            message(&mut world, 0);
            change(&mut world, Leave, 0, "bob");
            world.steps(8);
            assert_eq!((peer.listen(&world), deliveries(&world)), (2, 2), "{way:?}");
            assert!(world.is_quiet(), "{}", world.unrest());
            world.invariants();
        }
    }
}

#[test]
fn a_poll_is_not_answered_for_what_it_is_told_nothing_of() {
    let mut world = World::new(&shape());
    let mut poll = Peer::ask(&world, Way::Poll, &[0, 1], None, 25);
    world.steps(6);
    change(&mut world, Join, 0, "ann");
    world.steps(6);
    assert_eq!((poll.listen(&world), poll.said.len()), (0, 0));
    message(&mut world, 1);
    change(&mut world, Join, 0, "bob");
    world.steps(6);
    assert_eq!(poll.listen(&world), 1);
    assert_eq!(world.metrics.shards[0].deliveries.read(), 1);
}

/// Its followers have had every message, so nobody is closed for what they were not told yet.
#[test]
fn a_life_may_end_right_behind_it() {
    let history = HistoryRule { age_ms: 100, ..HistoryRule::DEFAULT };
    let limits = Limits { channel_idle_ms: 500, ..shape().limits };
    let mut world = World::new(&Shape { history, limits, ..shape() });
    let mut stream = witness(&mut world, "c0");
    let mut plain = Peer::follow(&mut world, EVENTS, &[0]);
    message(&mut world, 0);
    world.steps(6);
    assert_eq!((plain.listen(&world), stream.hear(&world).len()), (1, 1));
    world.now = world.now.plus(100 + 1_000 + 500);
    change(&mut world, Join, 0, "ann");
    world.step_sequencer();
    assert_eq!(world.metrics.sequencer.channels.read(), 0, "before the shard has read anything");
    world.steps(6);
    assert_eq!(short(&stream.hear(&world)), ["join:ann"]);
    message(&mut world, 0);
    world.steps(6);
    assert_eq!((plain.listen(&world), stream.hear(&world).len()), (1, 1));
    assert_eq!(plain.standing(&world), Standing::Open);
    world.invariants();
}

#[test]
fn who_lags_loses_it_without_a_gap_and_it_is_counted() {
    let window = Window { count: 3, ..Window::DEFAULT };
    let slow = vec![Slow::Window];
    let mut world = World::new(&Shape { window, slow, ..shape() });
    let mut stream = witness(&mut world, "c0");
    world.nets[0].set_window(stream.client, 0);
    for nth in 0..12 {
        change(&mut world, Join, 0, &format!("member {nth}"));
        world.steps(2);
    }
    message(&mut world, 0);
    world.steps(4);
    assert!(world.metrics.shards[0].ephemeral_lost.read() >= 9);
    world.nets[0].set_window(stream.client, usize::MAX);
    world.steps(8);
    let heard = short(&stream.hear(&world));
    assert_eq!(heard.last().map(String::as_str), Some("1"), "{heard:?}");
    assert!(heard.len() <= 4, "the window: {heard:?}");
    assert_eq!(world.metrics.shards[0].gaps.read(), 0);
    world.invariants();
}
