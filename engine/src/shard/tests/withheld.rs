//! What a client is not to have: messages that were for others, and those that are too long for it.

use std::sync::Arc;

use fanfare_protocol::dialect::machine::Machine;
use fanfare_protocol::message::Kind;

use super::commands::{Words, heard};
use super::peer::Peer;
use super::wire::{GapSaid, Said, Way, request};
use super::world::{Manner, Shape, World};
use crate::rule::{HistoryRule, Slow, Window};

const STREAMS: [Way; 3] =
    [Way::Socket { json: true }, Way::Events { json: true }, Way::Events { json: false }];
const EPHEMERAL: Manner = Manner { ephemeral: true, except: None };

/// Windows of 8 messages, and histories of 100.
fn world() -> World {
    let history = HistoryRule { count: 100, bytes: 100_000_000, age_ms: 600_000 };
    let window = Window { count: 8, bytes: 1 << 30 };
    World::new(&Shape { history, window, slow: vec![Slow::Window], ..Shape::plain() })
}

/// The numbers of the messages that came, and the gaps.
fn told(peer: &Peer) -> (Vec<u64>, Vec<GapSaid>) {
    let (mut numbers, mut gaps) = (Vec::new(), Vec::new());
    for said in &peer.said {
        let more = match said {
            Said::Message(message) => std::slice::from_ref(message),
            Said::Answer { messages, gaps: more, .. } => {
                gaps.extend(more.iter().cloned());
                &messages[..]
            }
            Said::Gap(gap) => {
                gaps.push(gap.clone());
                &[]
            }
            _ => &[],
        };
        numbers.extend(more.iter().map(|message| {
            let payload = String::from_utf8_lossy(&message.payload);
            let (number, _) = payload.split_once(';').unwrap();
            number.trim_start_matches("#n").parse::<u64>().unwrap()
        }));
    }
    (numbers, gaps)
}

fn size(channel: &str, from: u64, to: u64) -> GapSaid {
    GapSaid { channel: channel.into(), bounds: Some((from, to)), reason: "size".into() }
}

/// A client that takes no messages longer than `max`.
fn with_max(world: &mut World, way: Way, channels: &[&str], max: usize) -> Peer {
    let peer = Peer::mute(world, way);
    let names: Vec<String> = channels.iter().map(|name| (*name).into()).collect();
    let head = request(way, &names, Some(&world.id(0)), 25, Some(max));
    world.nets[0].write(peer.client, head.as_bytes());
    world.steps(6);
    peer
}

#[test]
fn ephemeral_messages_go_to_those_who_follow_now_and_to_nobody_later() {
    for way in STREAMS {
        let mut world = world();
        let mut now = Peer::follow(&mut world, way, &[0]);
        for ephemeral in [false, true, true, false] {
            world.publish_in(0, 10, Kind::Text, Manner { ephemeral, ..Manner::default() });
            world.step();
        }
        now.hear(&world);
        assert_eq!(told(&now), (vec![1, 2, 3, 4], vec![]), "{way:?}");
        let numbered: Vec<bool> = now.heard().map(|message| message.id.is_some()).collect();
        assert_eq!(numbered, [true, false, false, true], "{way:?}");
        let mut later = Peer::ask(&world, way, &[0], Some(0), 0);
        world.steps(6);
        world.publish_in(0, 10, Kind::Text, EPHEMERAL);
        world.steps(6);
        later.hear(&world);
        assert_eq!(told(&later), (vec![1, 4, 5], vec![]), "{way:?}");
    }
}

/// What is too old for it in the channel that it joins says nothing of what it is owed in another.
#[test]
fn who_joins_a_channel_keeps_what_is_ephemeral_in_those_that_it_follows() {
    let machine = || Box::new(Words::default()) as Box<dyn Machine>;
    let mut world = World::new(&Shape { machines: Some(Arc::new(machine)), ..Shape::plain() });
    let way = Way::Socket { json: false };
    let _other = Peer::follow(&mut world, way, &[1]);
    let mut peer = Peer::follow(&mut world, way, &[0]);
    world.nets[0].set_window(peer.client, 0);
    for (channel, manner) in [(0, EPHEMERAL), (1, Manner::default()), (1, EPHEMERAL)] {
        world.publish_in(channel, 10, Kind::Text, manner);
        world.steps(3);
    }
    peer.say(&world, 1, b"again c1");
    world.steps(8);
    world.nets[0].set_window(peer.client, usize::MAX);
    world.steps(8);
    let begins = |said: &String| said.get(..3).unwrap_or_default().to_owned();
    let said: Vec<String> = heard(&mut peer, &world).iter().map(begins).collect();
    assert_eq!(said, ["1: ", "#n1", "#n2"], "of c1 what is kept, of c0 all");
    // What it has left is forgotten, and counts anew where it comes back.
    peer.say(&world, 1, b"leave c1\nagain c1");
    world.steps(8);
    let said: Vec<String> = heard(&mut peer, &world).iter().map(begins).collect();
    assert_eq!(said, ["lef", "2: ", "#n2"]);
    world.invariants();
}

#[test]
fn a_laggard_hears_of_kept_messages_that_it_lost_and_a_counter_of_the_others() {
    let mut world = world();
    let way = Way::Socket { json: true };
    let history = |ephemeral| Manner { ephemeral, ..Manner::default() };
    let mut slow = Peer::follow(&mut world, way, &[0]);
    let mut healthy = Peer::follow(&mut world, way, &[0]);
    world.nets[0].set_window(slow.client, 0);
    for nth in 0..600 {
        world.publish_in(0, 10, Kind::Text, history(nth % 4 != 0));
        world.step();
        assert_eq!(healthy.listen(&world), 1, "message {nth}");
    }
    world.nets[0].set_window(slow.client, usize::MAX);
    world.steps(40);
    slow.hear(&world);
    let (numbers, gaps) = told(&slow);
    let bounds = Some((1, 50)); // of 150 kept ones history holds 100
    let slow_gap = GapSaid { channel: "c0".into(), bounds, reason: "slow".into() };
    assert_eq!(gaps, [slow_gap]);
    let kept: Vec<u64> = numbers.iter().copied().filter(|number| number % 4 == 1).collect();
    assert_eq!(kept, (50..150).map(|nth| 4 * nth + 1).collect::<Vec<_>>(), "all that is kept");
    let lost = world.metrics.shards[0].ephemeral_lost.read();
    assert_eq!(numbers.len() as u64 - 100 + lost, 450, "each is given or counted");
    assert!(lost > 300, "{lost}");
}

#[test]
fn a_message_that_is_too_long_is_a_gap_and_the_stream_goes_on() {
    for way in STREAMS {
        let mut world = world();
        let mut all = Peer::follow(&mut world, way, &[0, 1]);
        let mut short = with_max(&mut world, way, &["c0", "c1"], 1_000);
        for (channel, bytes) in [(0, 10), (0, 2_000), (0, 3_000), (1, 10), (1, 1_500), (0, 20)] {
            world.publish(channel, bytes, Kind::Text);
        }
        world.publish_in(0, 5_000, Kind::Text, EPHEMERAL); // of which nothing is told
        world.publish(0, 10, Kind::Text);
        world.steps(12);
        all.hear(&world);
        short.hear(&world);
        assert_eq!(told(&all), ((1..=8).collect(), vec![]), "{way:?}");
        let gaps = vec![size("c0", 2, 3), size("c1", 2, 2)];
        assert_eq!(told(&short), (vec![1, 4, 6, 8], gaps), "{way:?}");
    }
}

#[test]
fn where_every_other_message_is_too_long_one_send_carries_many() {
    for way in STREAMS {
        for channels in [&["c0"][..], &["c0", "c1"]] {
            let mut world = world();
            for nth in 0..100 {
                world.publish(0, if nth % 2 == 0 { 10 } else { 2_000 }, Kind::Text);
            }
            world.steps(3);
            let mut short = with_max(&mut world, way, channels, 1_000);
            world.steps(20);
            short.hear(&world);
            let (numbers, gaps) = told(&short);
            assert_eq!(numbers, (1..=100).step_by(2).collect::<Vec<_>>(), "{way:?}");
            let each: Vec<_> = (2..=100).step_by(2).map(|nth| size("c0", nth, nth)).collect();
            assert_eq!(gaps, each, "{way:?}");
            let sends = world.metrics.shards[0].sends.read();
            assert!(sends < 8, "{sends} sends {way:?}");
            let deliveries = world.metrics.shards[0].deliveries.read();
            assert_eq!(deliveries, 50, "{way:?}");
        }
    }
}

#[test]
fn a_gap_of_a_poll_ends_before_what_comes_between() {
    let mut world = world();
    for (channel, bytes) in [(0, 2_000), (1, 10), (0, 2_000), (0, 2_000)] {
        world.publish(channel, bytes, Kind::Text);
    }
    world.steps(3);
    let mut poll = with_max(&mut world, Way::Poll, &["c0", "c1"], 1_000);
    poll.hear(&world);
    assert_eq!(told(&poll), (vec![2], vec![size("c0", 1, 1), size("c0", 2, 3)]));
}

#[test]
fn a_poll_is_told_what_is_too_long_for_it() {
    let mut world = world();
    for bytes in [2_000, 10, 3_000] {
        world.publish(0, bytes, Kind::Text);
    }
    world.steps(3);
    let mut poll = with_max(&mut world, Way::Poll, &["c0"], 1_000);
    poll.hear(&world);
    assert_eq!(told(&poll), (vec![2], vec![size("c0", 1, 1), size("c0", 3, 3)]));
    let Some(Said::Answer { id, .. }) = poll.said.last() else { panic!("{:?}", poll.said) };
    assert_eq!(*id, world.id(world.truth.position()), "what was told is not told again");
}

#[test]
fn whoever_is_excluded_gets_nothing_and_misses_nothing() {
    for way in STREAMS.into_iter().chain([Way::Socket { json: false }]) {
        for channels in [&[0][..], &[0, 1]] {
            let mut world = world();
            let mut one = Peer::follow(&mut world, way, channels);
            let mut other = Peer::follow(&mut world, way, channels);
            let except = Manner { ephemeral: false, except: Some((0, one.client)) };
            for manner in [except, Manner::default(), except, except, Manner::default()] {
                world.publish_in(0, 10, Kind::Text, manner);
                world.publish_in(0, 10, Kind::Text, Manner { ephemeral: true, ..manner });
            }
            world.steps(6);
            one.hear(&world);
            other.hear(&world);
            assert_eq!(told(&other), ((1..=10).collect(), vec![]), "{way:?}");
            assert_eq!(told(&one), (vec![3, 4, 9, 10], vec![]), "{way:?}");
        }
    }
}

#[test]
fn a_connection_stays_named_when_it_polls_again() {
    let mut world = world();
    let mut poll = Peer::ask(&world, Way::Poll, &[0], None, 25);
    world.steps(6);
    let except = Manner { ephemeral: false, except: Some((0, poll.client)) };
    world.publish_in(0, 10, Kind::Text, except);
    world.steps(3);
    assert_eq!(poll.listen(&world), 0, "it waits on");
    world.publish(0, 10, Kind::Text);
    world.publish_in(0, 10, Kind::Text, except);
    world.steps(3);
    poll.hear(&world);
    assert_eq!(told(&poll).0, [2]);
    let head = request(Way::Poll, &["c0".into()], Some(&world.id(0)), 0, None);
    world.nets[0].write(poll.client, head.as_bytes());
    world.steps(6);
    poll.hear(&world);
    assert_eq!(told(&poll).0, [2, 2], "what it was not to have is not in its history either");
}

/// What says when to come back is a line of the stream and of no message: a message that has room
/// with an opening before it has room without one.
#[test]
fn the_line_that_says_when_to_come_back_counts_for_no_message() {
    let given = |open: u8, max: usize| {
        let mut world = world();
        world.publish(0, 10, Kind::Text);
        world.steps(3);
        let client = world.nets[0].connect();
        let target = format!("/sse?channels=c0&format=json&last=1&open={open}&max={max}");
        let head = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        world.nets[0].write(client, head.as_bytes());
        world.steps(6);
        let said = String::from_utf8(world.nets[0].take(client)).unwrap();
        assert_eq!(said.matches("retry: 1000\n").count(), 1, "{said}");
        said.contains("#n1;")
    };
    let least = [0, 1].map(|open| (80..300).find(|max| given(open, *max)).unwrap());
    assert_eq!(least[0], least[1]);
    assert!([0, 1].iter().all(|open| !given(*open, least[0] - 1) && given(*open, least[0])));
}

/// A gap that goes on behind an answer is told again from there: its pieces overlap at their ends,
/// and none of it is left out.
#[test]
fn a_gap_that_an_answer_ends_in_is_told_on_from_there() {
    let history = HistoryRule { count: 1_500, bytes: 100_000_000, age_ms: 600_000 };
    let mut world = World::new(&Shape { history, ..Shape::plain() });
    for nth in 0..1_600 {
        world.publish(0, 10, Kind::Text);
        (0..if nth < 100 { 11 } else { 0 }).for_each(|_| world.publish(1, 10, Kind::Text));
        while !world.offers.is_empty() {
            world.offer();
            world.step_sequencer();
        }
        world.steps(1);
    }
    let (mut since, mut pieces, mut messages) = (world.id(0), Vec::new(), 0);
    loop {
        let poll = Peer::mute(&world, Way::Poll);
        let head = request(Way::Poll, &["c0".into(), "c1".into()], Some(&since), 0, None);
        world.nets[0].write(poll.client, head.as_bytes());
        let mut poll = poll;
        world.steps(30);
        poll.hear(&world);
        let [Said::Answer { id, messages: more, gaps }] = &poll.said[..] else {
            panic!("{:?}", poll.said)
        };
        since = id.clone();
        messages += more.len();
        pieces.extend(gaps.iter().map(|gap| gap.bounds.unwrap()));
        if more.is_empty() {
            break;
        }
    }
    assert_eq!(messages, 1_500 + 1_100);
    assert_eq!(pieces[0], (1, 100));
    assert!(pieces.len() > 1 && pieces.iter().all(|piece| piece.1 == 100), "{pieces:?}");
    assert!(pieces.windows(2).all(|two| two[0].0 < two[1].0), "{pieces:?}");
}
