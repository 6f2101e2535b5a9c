//! One message in several channels: who follows several of them gets it once, with the first.

use fanfare_protocol::message::Kind;

use super::commands;
use super::peer::Peer;
use super::wire::{MessageSaid, Said, Way, request};
use super::world::{Manner, Shape, World};
use crate::rule::{HistoryRule, Slow, Window};

const STREAMS: [Way; 2] = [Way::Socket { json: true }, Way::Events { json: true }];

/// The number and the channel of each message that came, and its offset there.
fn told(peer: &Peer) -> Vec<(u64, String, Option<u64>)> {
    let mut all = Vec::new();
    for said in &peer.said {
        let more = match said {
            Said::Message(message) => std::slice::from_ref(message),
            Said::Answer { messages, .. } => &messages[..],
            _ => &[],
        };
        all.extend(more.iter().map(|message| {
            let MessageSaid { channel, offset, payload, .. } = message;
            let number = super::truth::number_in(payload).expect("a message of ours");
            (number, channel.clone().expect("it is told"), *offset)
        }));
    }
    all
}

fn gaps(peer: &Peer) -> Vec<(String, Option<(u64, u64)>)> {
    let of = |said: &Said| match said {
        Said::Gap(gap) => vec![gap.clone()],
        Said::Answer { gaps, .. } => gaps.clone(),
        _ => Vec::new(),
    };
    peer.said.iter().flat_map(of).map(|gap| (gap.channel, gap.bounds)).collect()
}

fn is(number: u64, channel: &str, offset: u64) -> (u64, String, Option<u64>) {
    (number, channel.into(), Some(offset))
}

/// A message to all of these, in this order.
fn publish(world: &mut World, channels: &[usize]) {
    world.publish_to(channels.to_vec(), 10, Kind::Text, Manner::default());
}

#[test]
fn it_comes_once_with_the_first_that_is_followed() {
    for way in STREAMS {
        let mut world = World::new(&Shape::plain());
        let mut both = Peer::follow(&mut world, way, &[2, 1]);
        let mut second = Peer::follow(&mut world, way, &[2, 3]);
        let mut poll = Peer::ask(&world, Way::Poll, &[1, 2], None, 25);
        world.steps(6);
        publish(&mut world, &[2]);
        publish(&mut world, &[0, 1, 2]);
        publish(&mut world, &[2, 1]);
        publish(&mut world, &[1]);
        world.steps(6);
        for peer in [&mut both, &mut second, &mut poll] {
            peer.hear(&world);
        }
        let all = [is(1, "c2", 1), is(2, "c1", 1), is(3, "c2", 3), is(4, "c1", 3)];
        assert_eq!(told(&both), all, "{way:?}");
        assert_eq!(told(&second), [is(1, "c2", 1), is(2, "c2", 2), is(3, "c2", 3)]);
        assert_eq!(told(&poll), all, "one answer has all");
        world.invariants();
    }
}

#[test]
fn whoever_comes_back_gets_it_once_and_after_it_not_again() {
    for way in STREAMS.into_iter().chain([Way::Poll]) {
        let mut world = World::new(&Shape::plain());
        for channels in [&[0][..], &[1], &[1, 0], &[0, 1]] {
            publish(&mut world, channels);
        }
        world.steps(3);
        let places: Vec<u64> =
            (1..=4).map(|number| world.truth.place_of(number).unwrap().0).collect();
        for (since, first) in [(0, 0), (places[1], 2), (places[2], 3)] {
            let mut peer = Peer::ask(&world, way, &[0, 1], Some(since), 25);
            world.steps(6);
            peer.hear(&world);
            let all = [is(1, "c0", 1), is(2, "c1", 1), is(3, "c1", 2), is(4, "c0", 3)];
            assert_eq!(told(&peer), all[first..], "{way:?} since {since}");
            assert_eq!(gaps(&peer), []);
        }
        let mut late = Peer::ask(&world, way, &[0, 1], Some(places[3]), 0);
        world.steps(6);
        late.hear(&world);
        assert_eq!(told(&late), [], "its id leaves it behind in both");
    }
}

/// What the first has no more comes with the next that has it.
#[test]
fn a_gap_of_the_first_keeps_nothing_from_whoever_follows_another() {
    for way in STREAMS.into_iter().chain([Way::Poll]) {
        let history = HistoryRule { count: 1, bytes: 1 << 20, age_ms: 600_000 };
        let mut world = World::new(&Shape { history, ..Shape::plain() });
        publish(&mut world, &[0, 1]);
        publish(&mut world, &[0]);
        world.steps(3);
        let mut peer = Peer::ask(&world, way, &[0, 1], Some(0), 25);
        world.steps(6);
        peer.hear(&world);
        assert_eq!(gaps(&peer), [("c0".into(), Some((1, 1)))]);
        assert_eq!(told(&peer), [is(1, "c1", 1), is(2, "c0", 2)], "{way:?}");
    }
}

/// It is told once, though it is too long in each of its channels.
#[test]
fn what_is_too_long_is_told_of_the_first_alone() {
    for way in STREAMS.into_iter().chain([Way::Poll]) {
        let mut world = World::new(&Shape::plain());
        let names = ["c0".into(), "c1".into()];
        for (channels, bytes) in [(vec![0], 10), (vec![1, 0], 5_000), (vec![1], 10), (vec![0], 10)]
        {
            world.publish_to(channels, bytes, Kind::Text, Manner::default());
        }
        world.steps(3);
        let mut peer = Peer::mute(&world, way);
        let head = request(way, &names, Some(&world.id(0)), 25, Some(1_000));
        world.nets[0].write(peer.client, head.as_bytes());
        world.steps(6);
        peer.hear(&world);
        assert_eq!(gaps(&peer), [("c1".into(), Some((1, 1)))], "{way:?}");
        assert_eq!(told(&peer), [is(1, "c0", 1), is(3, "c1", 2), is(4, "c0", 3)], "{way:?}");
    }
}

#[test]
fn it_is_ephemeral_and_excludes_in_all_of_its_channels() {
    let mut world = World::new(&Shape::plain());
    let mut one = Peer::follow(&mut world, STREAMS[0], &[0, 1]);
    let mut other = Peer::follow(&mut world, STREAMS[0], &[0, 1]);
    let except = Some((0, one.client));
    let manner = Manner { ephemeral: false, except };
    world.publish_to(vec![1, 0], 10, Kind::Text, manner);
    world.publish_to(vec![1, 0], 10, Kind::Text, Manner { ephemeral: true, except: None });
    publish(&mut world, &[0, 1]);
    world.steps(6);
    one.hear(&world);
    other.hear(&world);
    let brief = (2, "c1".into(), None);
    assert_eq!(told(&other), [is(1, "c1", 1), brief.clone(), is(3, "c0", 2)]);
    assert_eq!(told(&one), [brief, is(3, "c0", 2)]);
}

/// The send of it does not go, and the channel with which it was to come is left: it comes with the
/// other.
#[test]
fn who_leaves_the_first_before_it_went_gets_it_with_the_next() {
    let mut world = World::new(&commands::shape());
    let mut peer = Peer::follow(&mut world, Way::Socket { json: false }, &[2]);
    peer.say(&world, 1, b"follow c0 c1");
    world.steps(8);
    assert_eq!(commands::heard(&mut peer, &world), ["1: following c0 c1"]);
    world.nets[0].set_window(peer.client, 0);
    publish(&mut world, &[0, 1]);
    publish(&mut world, &[1, 0]);
    world.steps(8);
    peer.say(&world, 1, b"leave c0");
    world.steps(8);
    world.invariants();
    world.nets[0].set_window(peer.client, usize::MAX);
    world.steps(8);
    let said = commands::heard(&mut peer, &world);
    let mut numbers: Vec<u64> =
        said.iter().filter_map(|text| super::truth::number_in(text.as_bytes())).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2], "{said:?}");
}

/// A client that takes it byte by byte, and so has it begun before it is whole.
#[test]
fn what_was_begun_is_had_in_all_of_its_channels() {
    for bytes in [1, 7, 60] {
        let window = Window { count: 1_024, bytes: 1 << 20 };
        let slow = vec![Slow::Window; 3];
        let mut world = World::new(&Shape { window, slow, ..Shape::plain() });
        let mut peer = Peer::follow(&mut world, STREAMS[0], &[0, 1, 2]);
        world.nets[0].set_window(peer.client, bytes);
        for nth in 0..6 {
            publish(&mut world, &[[0, 1, 2], [2, 1, 0], [1, 0, 2]][nth % 3]);
            publish(&mut world, &[nth % 3]);
        }
        for _ in 0..2_000 {
            world.steps(1);
            peer.hear(&world);
            world.nets[0].set_window(peer.client, bytes);
        }
        let numbers: Vec<u64> = told(&peer).iter().map(|(number, ..)| *number).collect();
        assert_eq!(numbers, (1..=12).collect::<Vec<_>>(), "each once, {bytes} bytes at a time");
        world.invariants();
    }
}
