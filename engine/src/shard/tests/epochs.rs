//! Another epoch begins in a running node: what each client is told of it, and what it still gets
//! of the one before.

use fanfare_protocol::message::Kind;

use super::peer::Peer;
use super::wire::{GapSaid, Said, Way};
use super::world::{Shape, World};
use crate::rule::{HistoryRule, Slow, Window};
use crate::sequencer::command::Command;

const RAW: Way = Way::Socket { json: false };
const JSON: Way = Way::Socket { json: true };
const SSE: Way = Way::Events { json: false };
const STREAMS: [Way; 4] = [RAW, JSON, SSE, Way::Events { json: true }];

/// What matters of what a client was told: messages by the number of their publish, with the epoch
/// of their id where they have one, gaps, where delivery begins, a close.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Told {
    Message(u64),
    Gap(usize, Option<(u64, u64)>, String),
    Close(u16),
    Closed(String),
}

fn told(peer: &Peer) -> Vec<Told> {
    peer.said.iter().flat_map(one).collect()
}

fn one(said: &Said) -> Vec<Told> {
    match said {
        Said::Message(message) => vec![Told::Message(number(&message.payload))],
        Said::Gap(said) => vec![gap(said)],
        Said::Close(code) => vec![Told::Close(*code)],
        Said::Closed(why) => vec![Told::Closed(why.clone())],
        Said::Answer { messages, gaps, .. } => {
            let messages = messages.iter().map(|it| Told::Message(number(&it.payload)));
            gaps.iter().map(gap).chain(messages).collect()
        }
        _ => Vec::new(),
    }
}

fn number(payload: &[u8]) -> u64 {
    let payload = String::from_utf8_lossy(payload);
    let (number, _) = payload.split_once(';').unwrap();
    number.trim_start_matches("#n").parse().unwrap()
}

fn gap(GapSaid { channel, bounds, reason }: &GapSaid) -> Told {
    Told::Gap(channel[1..].parse().unwrap(), *bounds, reason.clone())
}

fn epoch_gap(channel: usize) -> Told {
    Told::Gap(channel, None, "epoch".into())
}

/// The ids that a client was shown, each with the position that the truth knows it by.
fn ids(world: &World, peer: &Peer) -> Vec<u64> {
    let shown = peer.said.iter().filter_map(|said| match said {
        Said::Open(id) | Said::Answer { id, .. } => Some(id),
        Said::Message(message) => message.id.as_ref(),
        _ => None,
    });
    shown.map(|id| world.truth.position_in(id)).collect()
}

/// Publishes so many messages to a channel, and no shard has read of them yet.
fn place(world: &mut World, channel: usize, count: usize) {
    (0..count).for_each(|_| world.publish(channel, 100, Kind::Text));
    while !world.offers.is_empty() {
        world.offer();
        world.step_sequencer();
    }
    world.step_sequencer();
}

fn begin_epoch(world: &mut World) {
    world.begin_epoch();
    world.step_sequencer();
}

#[test]
fn who_reads_gets_all_of_the_old_epoch_a_gap_and_all_of_the_new() {
    for way in STREAMS {
        let mut world = World::new(&Shape::plain());
        let mut peer = Peer::follow(&mut world, way, &[0, 1, 2]);
        place(&mut world, 0, 2);
        place(&mut world, 1, 1);
        begin_epoch(&mut world);
        place(&mut world, 0, 1);
        place(&mut world, 1, 1);
        world.steps(6); // the shard has read nothing yet
        peer.hear(&world);
        let mut expected = vec![Told::Message(1), Told::Message(2), Told::Message(3)];
        expected.extend((0..3).map(epoch_gap));
        expected.extend([Told::Message(4), Told::Message(5)]);
        assert_eq!(told(&peer), expected, "{way:?}");
        assert!(ids(&world, &peer).is_sorted(), "positions go on");
        assert_eq!(world.metrics.shards[0].gaps.read(), 3);
        assert!(world.is_quiet(), "{}", world.unrest());
        world.invariants();
    }
}

#[test]
fn a_poll_that_waits_is_answered_with_it() {
    let mut world = World::new(&Shape::plain());
    let mut peer = Peer::ask(&world, Way::Poll, &[0, 1], Some(0), 25);
    world.steps(6);
    peer.hear(&world);
    assert_eq!(peer.said.len(), 0, "it waits");
    begin_epoch(&mut world);
    world.steps(3);
    peer.hear(&world);
    assert_eq!(told(&peer), [epoch_gap(0), epoch_gap(1)]);
    let [at] = ids(&world, &peer)[..] else { panic!("{:?}", peer.said) };
    // Its id is one of the new epoch, so the next poll goes on there and is told nothing again.
    place(&mut world, 1, 1);
    let mut next = Peer::ask(&world, Way::Poll, &[0, 1], Some(at), 25);
    world.steps(6);
    next.hear(&world);
    assert_eq!(told(&next), [Told::Message(1)]);
}

/// A subscribe that was placed before the epoch began opens in the old one and is told; one that
/// was placed after it opens in the new one.
#[test]
fn who_is_subscribing_just_then_is_answered_right() {
    for before in [true, false] {
        let mut world = World::new(&Shape::plain());
        place(&mut world, 0, 1);
        let mut peer = Peer::ask(&world, JSON, &[0], None, 25);
        (0..3).for_each(|_| world.tick(0)); // the sequencer is asked
        if before {
            world.step_sequencer();
        }
        begin_epoch(&mut world);
        world.step_sequencer();
        place(&mut world, 0, 1);
        world.steps(6);
        peer.hear(&world);
        let open = peer.said.iter().find_map(|said| match said {
            Said::Open(id) => Some(world.truth.position_in(id)),
            _ => None,
        });
        let began = world.truth.position() - 1;
        assert_eq!(open.unwrap() < began, before, "{:?}", peer.said);
        let expected = [epoch_gap(0), Told::Message(2)];
        let expected = if before { &expected[..] } else { &expected[1..] };
        assert_eq!(told(&peer), expected);
    }
}

/// A window of four messages, and a client that takes nothing beyond the first.
fn blocked(way: Way, slow: Slow) -> (World, Peer) {
    let history = HistoryRule { count: 2, bytes: 1 << 20, age_ms: 600_000 };
    let window = Window { count: 4, bytes: 1 << 20 };
    let mut world = World::new(&Shape { history, window, slow: vec![slow], ..Shape::plain() });
    let peer = Peer::follow(&mut world, way, &[0]);
    world.nets[0].set_window(peer.client, 150);
    for _ in 0..3 {
        world.publish(0, 100, Kind::Text);
        world.step();
    }
    begin_epoch(&mut world);
    world.steps(3);
    (world, peer)
}

fn wake(world: &mut World, peer: &mut Peer) {
    world.nets[0].set_window(peer.client, usize::MAX);
    world.steps(6);
    peer.hear(world);
}

/// Nothing is waited for that a client does not take: what it had begun is finished, and what it
/// has not had of the old epoch the gap says. It goes on whatever its channel's rule says.
#[test]
fn who_takes_nothing_is_told_when_it_does() {
    for way in STREAMS {
        for slow in Slow::ALL {
            let (mut world, mut peer) = blocked(way, slow);
            world.publish(0, 100, Kind::Text);
            world.steps(3);
            world.pass(2_000);
            wake(&mut world, &mut peer);
            let told = told(&peer);
            let begun = told.iter().take_while(|told| matches!(told, Told::Message(_))).count();
            assert!(begun < 3, "{told:?}");
            let mut expected: Vec<Told> = (1..=begun as u64).map(Told::Message).collect();
            expected.extend([epoch_gap(0), Told::Message(4)]);
            assert_eq!(told, expected, "{way:?} {slow:?}");
        }
    }
}

/// One that then falls out of the window of the new epoch, too, is treated as its rule says, and
/// what it has lost of either is told as one gap.
#[test]
fn who_loses_messages_of_the_new_epoch_too_is_slow() {
    for (slow, next) in [(Slow::Window, 7), (Slow::Latest, 10), (Slow::Disconnect, 0)] {
        let (mut world, mut peer) = blocked(JSON, slow);
        for _ in 0..7 {
            world.publish(0, 100, Kind::Text);
            world.step();
        }
        if slow == Slow::Disconnect {
            world.pass(1_200); // it is looked at once in a second
        }
        wake(&mut world, &mut peer);
        let mut told = told(&peer);
        told.retain(|told| !matches!(told, Told::Message(..=3)));
        let expected: Vec<Told> = match slow {
            Slow::Disconnect => vec![Told::Close(4508)],
            _ => [epoch_gap(0)].into_iter().chain((next..=10).map(Told::Message)).collect(),
        };
        assert_eq!(told, expected, "{slow:?}");
    }
}

/// A client that takes a little now and then keeps the next epoch from the others for a second.
#[test]
fn who_takes_little_holds_nobody_up() {
    let mut world = World::new(&Shape::plain());
    let mut hog = Peer::follow(&mut world, RAW, &[0]);
    let mut other = Peer::follow(&mut world, JSON, &[1]);
    world.nets[0].set_window(hog.client, 100);
    for _ in 0..50 {
        world.publish(0, 30_000, Kind::Text);
    }
    world.steps(3);
    begin_epoch(&mut world);
    place(&mut world, 1, 1);
    let mut waited = 0;
    while other.messages() == 0 {
        assert!(waited <= 1_100, "others wait for a second at most");
        world.nets[0].set_window(hog.client, 100 + waited * 50);
        world.now = world.now.plus(10);
        waited += 10;
        world.step();
        hog.hear(&world);
        other.hear(&world);
    }
    assert_eq!(told(&other), [epoch_gap(1), Told::Message(51)]);
}

/// A channel that nobody follows any more, and one whose subscriber was gone before the answer
/// came: their logs go, or begin anew, and who comes next gets what there is.
#[test]
fn logs_that_nobody_reads_are_of_the_new_epoch_too() {
    let mut world = World::new(&Shape::plain());
    let left = Peer::follow(&mut world, JSON, &[0]);
    place(&mut world, 0, 2);
    world.steps(3);
    world.nets[0].reset(left.client);
    world.steps(3);
    let gone = Peer::ask(&world, JSON, &[1], None, 25);
    (0..3).for_each(|_| world.tick(0));
    world.step_sequencer();
    world.nets[0].reset(gone.client);
    begin_epoch(&mut world);
    place(&mut world, 0, 1);
    place(&mut world, 1, 1);
    world.steps(6);
    world.invariants();
    let mut peer = Peer::ask(&world, JSON, &[0, 1], Some(0), 25);
    world.steps(6);
    peer.hear(&world);
    let expected = [epoch_gap(0), epoch_gap(1), Told::Message(3), Told::Message(4)];
    assert_eq!(told(&peer), expected);
}

/// At the end of the order everyone has heard of the epoch that began right before it.
#[test]
fn the_end_comes_after_the_epoch() {
    let mut world = World::new(&Shape::plain());
    let mut peer = Peer::follow(&mut world, SSE, &[0]);
    place(&mut world, 0, 1);
    begin_epoch(&mut world);
    assert!(world.node.inbox().offer(Command::Shutdown).is_ok());
    world.step_sequencer();
    world.steps(6);
    peer.hear(&world);
    let expected = [Told::Message(1), epoch_gap(0), Told::Closed("restart".into())];
    assert_eq!(told(&peer), expected);
}
