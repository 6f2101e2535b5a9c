//! What becomes of slow clients, by the rules of their channels, with exact expectations.

use fanfare_protocol::message::Kind;

use super::directed::pass_over;
use super::peer::Peer;
use super::wire::{GapSaid, Said, Way};
use super::world::{Shape, World};
use crate::driver::sim::Standing;
use crate::rule::{HistoryRule, Slow, Window};
use crate::sequencer::command::Command;

const RAW: Way = Way::Socket { json: false };
const JSON: Way = Way::Socket { json: true };
const SSE: Way = Way::Events { json: false };
const STREAMS: [Way; 4] = [RAW, JSON, SSE, Way::Events { json: true }];

/// Channels with these policies, windows of 16 messages, and histories of two.
fn world(slow: &[Slow]) -> World {
    let history = HistoryRule { count: 2, bytes: 100_000_000, age_ms: 600_000 };
    let window = Window { count: 16, bytes: 1 << 30 };
    World::new(&Shape { history, window, slow: slow.into(), ..Shape::plain() })
}

/// What matters of what a client was told: messages by the number of their publish, and slow gaps.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Told {
    Message(u64),
    Gap(usize, u64, u64),
    Close(u16),
}

fn told(peer: &Peer) -> Vec<Told> {
    let one = |said: &Said| match said {
        Said::Message(message) => {
            let payload = String::from_utf8_lossy(&message.payload);
            let (number, _) = payload.split_once(';').unwrap();
            Some(Told::Message(number.trim_start_matches("#n").parse().unwrap()))
        }
        Said::Gap(GapSaid { channel, bounds, reason }) => {
            assert_eq!(reason, "slow");
            let (from, to) = bounds.unwrap();
            Some(Told::Gap(channel[1..].parse().unwrap(), from, to))
        }
        Said::Close(code) => Some(Told::Close(*code)),
        _ => None,
    };
    peer.said.iter().filter_map(one).collect()
}

fn messages(numbers: impl IntoIterator<Item = u64>) -> Vec<Told> {
    numbers.into_iter().map(Told::Message).collect()
}

/// Publishes so many messages to a channel, a step for each.
fn publish(world: &mut World, channel: usize, count: usize) {
    for _ in 0..count {
        world.publish(channel, 100, Kind::Text);
        world.step();
    }
}

/// Lets a client read again, and reads all that it is given.
fn wake(world: &mut World, peer: &mut Peer) {
    world.nets[0].set_window(peer.client, usize::MAX);
    world.steps(12); // long messages go two in a tick
    peer.hear(world);
}

/// A client that stands still among thirty messages of one channel goes on after its gap.
fn resumes_after_its_gap(way: Way, slow: Slow, next: u64) {
    let mut world = world(&[slow]);
    let mut peer = Peer::follow(&mut world, way, &[0]);
    let mut other = Peer::follow(&mut world, way, &[0]);
    world.nets[0].set_window(peer.client, 150);
    for _ in 0..30 {
        publish(&mut world, 0, 1);
        assert_eq!(other.listen(&world), 1, "others are served as ever");
    }
    world.pass(20_000);
    let metrics = &world.metrics.shards[0];
    assert_eq!((metrics.slow_closed.read(), metrics.gaps.read()), (0, 0), "there is no hurry");
    wake(&mut world, &mut peer);
    let begun = told(&peer).iter().take_while(|told| matches!(told, Told::Message(_))).count();
    let begun = begun as u64;
    assert!((1..=2).contains(&begun), "a frame that was begun is finished: {begun}");
    let mut expected = messages(1..=begun);
    expected.push(Told::Gap(0, begun + 1, next - 1));
    expected.extend(messages(next..=30));
    assert_eq!(told(&peer), expected, "{way:?}");
    publish(&mut world, 0, 3);
    peer.hear(&world);
    expected.extend(messages(31..=33));
    assert_eq!(told(&peer), expected, "and it is like any other then");
    let metrics = &world.metrics.shards[0];
    assert_eq!((metrics.slow_closed.read(), metrics.gaps.read()), (0, 1));
    assert_eq!(peer.standing(&world), Standing::Open);
}

#[test]
fn window_goes_on_with_the_oldest_that_is_kept() {
    STREAMS.into_iter().for_each(|way| resumes_after_its_gap(way, Slow::Window, 15));
}

#[test]
fn latest_goes_on_with_the_newest() {
    STREAMS.into_iter().for_each(|way| resumes_after_its_gap(way, Slow::Latest, 30));
}

#[test]
fn who_takes_nothing_for_a_minute_is_ended_whatever_the_rule() {
    for slow in [Slow::Window, Slow::Latest] {
        for way in STREAMS {
            let mut world = world(&[slow]);
            let peer = Peer::follow(&mut world, way, &[0]);
            world.nets[0].set_window(peer.client, 150);
            publish(&mut world, 0, 30);
            world.pass(58_000);
            assert_eq!(peer.standing(&world), Standing::Open);
            world.pass(4_000);
            assert_eq!(peer.standing(&world), Standing::Reset);
            assert_eq!(world.metrics.shards[0].slow_closed.read(), 1);
        }
    }
}

#[test]
fn a_client_that_stands_still_again_is_told_again_from_there() {
    let mut world = world(&[Slow::Window]);
    let mut peer = Peer::follow(&mut world, JSON, &[0]);
    world.nets[0].set_window(peer.client, 0);
    publish(&mut world, 0, 30);
    // Room for the notice and a few messages.
    world.nets[0].set_window(peer.client, 700);
    world.steps(3);
    publish(&mut world, 0, 40);
    wake(&mut world, &mut peer);
    let told = told(&peer);
    let [Told::Gap(0, 1, 14), rest @ ..] = &told[..] else { panic!("{told:?}") };
    let at = rest.iter().position(|told| matches!(told, Told::Gap(..))).unwrap();
    assert!((1..6).contains(&at), "some messages came between: {told:?}");
    let last = 14 + at as u64;
    assert_eq!(rest[..at], messages(15..=last));
    assert_eq!(rest[at], Told::Gap(0, last + 1, 54));
    assert_eq!(rest[at + 1..], messages(55..=70));
}

#[test]
fn each_channel_tells_its_own_gap_and_the_rest_comes_in_order() {
    let policies = [Slow::Window, Slow::Latest, Slow::Disconnect];
    for way in [JSON, Way::Events { json: true }] {
        let mut world = world(&policies);
        let mut peer = Peer::follow(&mut world, way, &[0, 1, 2]);
        world.nets[0].set_window(peer.client, 0);
        // Positions 1 to 72: channels 0 and 1 in turns, and 2 in every sixth place.
        for position in 1..=72 {
            publish(&mut world, if position % 6 == 0 { 2 } else { position % 2 }, 1);
        }
        world.pass(5_000);
        wake(&mut world, &mut peer);
        // Channel 0 has had 24 messages (2, 4, 8, 10, ...) and keeps 16, channel 1 has had 36 (1,
        // 3, 5, ...) and goes on with its last, channel 2 has had 12 and lost none.
        let mut expected = vec![Told::Gap(0, 1, 8), Told::Gap(1, 1, 35)];
        let is_owed = |position: &u64| match (position % 6, position % 2) {
            (0, _) => true,
            (_, 0) => *position >= 26,
            _ => *position == 71,
        };
        expected.extend(messages((1..=72).filter(is_owed)));
        assert_eq!(told(&peer), expected);
        assert_eq!(world.metrics.shards[0].gaps.read(), 2);
    }
}

#[test]
fn a_channel_that_disconnects_does_so_whatever_the_others_say() {
    let policies = [Slow::Window, Slow::Disconnect, Slow::Latest];
    let mut world = world(&policies);
    let mut peer = Peer::follow(&mut world, RAW, &[0, 1, 2]);
    world.nets[0].set_window(peer.client, 0);
    for channel in [0, 2] {
        publish(&mut world, channel, 30);
    }
    publish(&mut world, 1, 16);
    world.pass(3_000);
    assert_eq!(world.metrics.shards[0].slow_closed.read(), 0, "it has not left that one's window");
    publish(&mut world, 1, 1);
    world.pass(1_100);
    assert_eq!(world.metrics.shards[0].slow_closed.read(), 1);
    wake(&mut world, &mut peer);
    assert_eq!(told(&peer), [Told::Close(4508)], "it resumes: there is nothing to announce");
    assert_eq!(world.metrics.shards[0].gaps.read(), 0);
}

#[test]
fn a_poll_goes_on_where_the_rule_says() {
    for (slow, first) in [(Slow::Disconnect, 16), (Slow::Window, 16), (Slow::Latest, 31)] {
        let mut world = world(&[slow]);
        let mut peer = Peer::ask(&world, Way::Poll, &[0], Some(0), 25);
        world.steps(6);
        pass_over(&mut world, true); // as if the sweep of a million came late
        publish(&mut world, 0, 31);
        pass_over(&mut world, false);
        let command = Command::Shutdown; // which answers every poll
        world.offers.push_back(command);
        world.steps(3);
        peer.hear(&world);
        let Some(Said::Answer { messages, gaps, .. }) = peer.said.first() else { panic!() };
        let offsets: Vec<u64> = messages.iter().filter_map(|message| message.offset).collect();
        assert_eq!(gaps[0].bounds, Some((1, first - 1)), "{slow:?}");
        assert_eq!(offsets, Vec::from_iter(first..=31), "{slow:?}");
    }
}

#[test]
fn at_the_end_of_the_order_a_slow_client_is_told_its_gap_and_then_farewell() {
    let mut world = world(&[Slow::Window]);
    let mut peer = Peer::follow(&mut world, RAW, &[0]);
    world.nets[0].set_window(peer.client, 0);
    publish(&mut world, 0, 30);
    world.offers.push_back(Command::Shutdown);
    world.steps(3);
    world.pass(500);
    wake(&mut world, &mut peer);
    let mut expected = vec![Told::Gap(0, 1, 14)];
    expected.extend(messages(15..=30));
    expected.push(Told::Close(1012));
    assert_eq!(told(&peer), expected);
}

#[test]
fn a_log_far_over_its_window_waits_for_the_healthy_and_not_for_the_blocked() {
    for slow in Slow::ALL {
        let mut world = world(&[slow]);
        let mut blocked = Peer::follow(&mut world, RAW, &[0]);
        let mut healthy = Peer::follow(&mut world, RAW, &[0]);
        world.nets[0].set_window(blocked.client, 0);
        // Each has a page of its own, and a tick sends two of them to one client: the ring brings
        // them faster than that.
        for _ in 0..100 {
            world.publish(0, 40_000, Kind::Text);
        }
        let (mut held_back, mut longest) = (0, 0);
        for _ in 0..80 {
            world.step();
            healthy.hear(&world);
            held_back += u64::from(world.node.shards[0].clients.fanout.holds_back());
            longest = world.node.shards[0].clients.fanout.channels.longest_log();
            assert!(longest <= 2 * 16 + 2 + 8, "two windows, history, what is read at once");
        }
        assert!(held_back > 10, "the log was far over its window: {held_back}");
        assert_eq!(told(&healthy), messages(1..=100), "and nothing was lost by that");
        assert_eq!(longest, 16, "afterwards it is as long as its window");
        world.pass(1_100);
        wake(&mut world, &mut blocked);
        let expected = match slow {
            Slow::Disconnect => vec![Told::Close(4508)],
            Slow::Window => [vec![Told::Gap(0, 1, 84)], messages(85..=100)].concat(),
            Slow::Latest => vec![Told::Gap(0, 1, 99), Told::Message(100)],
        };
        assert_eq!(told(&blocked), expected);
    }
}

#[test]
fn who_lags_on_and_on_keeps_nobody_waiting() {
    let mut world = world(&[Slow::Window]);
    let mut laggard = Peer::follow(&mut world, RAW, &[0]);
    let mut healthy = Peer::follow(&mut world, RAW, &[0]);
    world.nets[0].set_window(laggard.client, 0);
    let mut step = |world: &mut World, laggard: &mut Peer| {
        // As many as a tick sends to one client: who is behind stays behind.
        (0..2).for_each(|_| world.publish(0, 40_000, Kind::Text));
        world.step();
        laggard.hear(world);
        assert_eq!(healthy.listen(world), 2, "at once");
        assert!(!world.node.shards[0].clients.fanout.holds_back(), "the laggard is not waited for");
    };
    (0..20).for_each(|_| step(&mut world, &mut laggard));
    world.nets[0].set_window(laggard.client, usize::MAX);
    (0..60).for_each(|_| step(&mut world, &mut laggard));
    for _ in 0..20 {
        world.step();
        laggard.hear(&world);
    }
    let mut next = 1;
    for told in told(&laggard) {
        match told {
            Told::Message(number) => {
                assert_eq!(number, next);
                next += 1;
            }
            Told::Gap(_, from, to) => {
                assert_eq!(from, next);
                next = to + 1;
            }
            Told::Close(code) => panic!("closed with {code}"),
        }
    }
    assert_eq!(next, 161, "it has caught up, and everything was sent or told");
}
