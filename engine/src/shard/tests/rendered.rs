//! What is rendered keeps within its budget, whoever holds it.

use std::collections::VecDeque;

use fanfare_protocol::message::Kind;

use super::peer::Peer;
use super::wire::{Said, Way, request};
use super::world::{COUNTED, Manner, Shape, World};
use crate::driver::sim::Standing;
use crate::limits::Limits;
use crate::rule::{HistoryRule, Slow, Window};
use crate::shard::tick_budget::TickBudget;

const JSON: Way = Way::Socket { json: true };

/// Where clients hold all that there may be, one is ended, and what it held is room for others.
#[test]
fn what_clients_let_go_of_is_dropped_when_there_is_no_room() {
    const BUDGET: usize = 100_000;
    const MESSAGE_BYTES: usize = 34_500;
    let shape = Shape::plain();
    let limits = Limits { rendered_bytes: BUDGET, ..shape.limits };
    let mut world = World::new(&Shape { limits, ..shape });
    let rendered = |world: &World| {
        let shard = &world.metrics.shards[0];
        (shard.rendered_bytes.read() + shard.window_bytes.read()) as usize
    };
    let mut well = Peer::follow(&mut world, JSON, &[3, 4, 5, 6, 7, 8]);
    // Three of them are a little too much.
    let stuck = [0, 1, 2].map(|channel| {
        let peer = Peer::follow(&mut world, JSON, &[channel]);
        world.nets[0].set_window(peer.client, 20);
        world.publish(channel, MESSAGE_BYTES, Kind::Text);
        world.steps(4);
        peer
    });
    let mut heard = 0;
    for nth in 0..30 {
        world.publish(3 + nth % 6, MESSAGE_BYTES, Kind::Text);
        world.pass(100); // whoever holds something has its time
        heard += well.listen(&world);
        let now = rendered(&world);
        assert!(now <= BUDGET + MESSAGE_BYTES + 1_000, "{now} after {nth}");
    }
    assert_eq!(heard, 30, "who takes everything gets everything");
    let ended = world.metrics.shards[0].holders_closed.read();
    assert!((1..3).contains(&ended), "{ended} were ended: that is no more than makes room");
    stuck.iter().for_each(|peer| world.nets[0].reset(peer.client));
    world.steps(4);
    world.invariants();
}

/// However many hold the same page: they have held it for longest, and whoever came last and reads
/// alone is not ended in their place.
#[test]
fn who_has_held_for_longest_goes_first_whoever_shares_with_it() {
    let mut world = tight(100_000);
    let first = stick(&mut world, 0, 5);
    world.pass(700);
    let second = stick(&mut world, 1, 5);
    world.pass(700);
    assert_eq!(ended(&world), 0, "there is room for two messages");
    let mut lone = stick(&mut world, 2, 1).remove(0);
    let is_open = |world: &World, peer: &Peer| peer.standing(world) == Standing::Open;
    assert_eq!(ended(&world), 5);
    assert!(first.iter().all(|peer| !is_open(&world, peer)), "these share and go all");
    assert!(second.iter().all(|peer| is_open(&world, peer)), "that is room enough");
    world.nets[0].set_window(lone.client, usize::MAX);
    world.steps(4);
    assert_eq!((lone.listen(&world), is_open(&world, &lone)), (1, true));
    world.invariants();
}

/// A world with room for so many bytes of what is rendered.
fn tight(rendered_bytes: usize) -> World {
    let shape = Shape::plain();
    let limits = Limits { rendered_bytes, ..shape.limits };
    World::new(&Shape { limits, capacity: (2_000, 2_000), ..shape })
}

fn rendered(world: &World) -> usize {
    world.metrics.shards[0].rendered_bytes.read() as usize
}

fn ended(world: &World) -> u64 {
    world.metrics.shards[0].holders_closed.read()
}

/// A payload that has a page alone, and what it is rendered to, with a little more.
const LONG: usize = 34_500;
const LONG_FRAME: usize = 39_000;

/// So many clients that take nothing, in the middle of the same message of a channel, if there is
/// room for that.
fn stick(world: &mut World, channel: usize, count: usize) -> Vec<Peer> {
    let peers: Vec<Peer> = (0..count).map(|_| Peer::follow(world, JSON, &[channel])).collect();
    peers.iter().for_each(|peer| world.nets[0].set_window(peer.client, 20));
    world.publish(channel, LONG, Kind::Text);
    world.steps(4);
    peers
}

/// Groups of thirty that come in one moment and take nothing. Nobody is ended before it has had its
/// time, and then they are served group by group; who reads is served and stays.
#[test]
fn crowds_that_share_what_they_do_not_take_keep_within_the_budget() {
    const BUDGET: usize = 400_000;
    const GROUPS: usize = 30;
    let mut world = tight(BUDGET);
    let most = BUDGET + BUDGET / 16 + LONG_FRAME;
    let mut short = Peer::follow(&mut world, JSON, &[100]);
    let mut groups = Vec::new();
    for group in 0..GROUPS {
        groups.extend(stick(&mut world, group, 30));
        assert!(rendered(&world) <= most, "{} after {group} groups", rendered(&world));
        world.publish(100, 100, Kind::Text);
        world.steps(4);
        assert_eq!(short.listen(&world), 1, "what is short has room of its own");
    }
    assert_eq!(ended(&world), 0, "nobody has had its time");
    assert!(rendered(&world) > BUDGET, "{} are full", rendered(&world));
    let mut lone = Peer::follow(&mut world, JSON, &[101]);
    world.publish(101, LONG, Kind::Text);
    world.steps(20);
    assert_eq!(lone.listen(&world), 0, "it waits behind those who came before");
    world.invariants();
    for _ in 0..50 {
        world.pass(100);
        assert!(rendered(&world) <= most, "{}", rendered(&world));
    }
    assert_eq!((lone.listen(&world), lone.standing(&world)), (1, Standing::Open));
    // Who came first was served first, and went first.
    let is_open = |peer: &Peer| peer.standing(&world) == Standing::Open;
    let gone = groups.len() - 30 * ((BUDGET - BUDGET / 32) / LONG_FRAME);
    assert_eq!(ended(&world) as usize, gone);
    assert!(groups[gone..].iter().all(is_open) && !groups[..gone].iter().any(is_open));
    assert!(rendered(&world) <= BUDGET, "{} when all is quiet", rendered(&world));
    groups.iter().for_each(|peer| world.nets[0].reset(peer.client));
    world.steps(20);
    world.invariants();
}

/// However little room there is, one message after the other has it.
#[test]
fn a_message_that_is_longer_than_the_budget_is_given_when_nobody_holds_another() {
    let mut world = tight(1_000);
    let mut well = Peer::follow(&mut world, JSON, &[0, 1, 2]);
    let mut poll = Peer::ask(&world, Way::Poll, &[1], None, 25);
    world.steps(6);
    let stuck = stick(&mut world, 3, 1).remove(0);
    for round in 0..3 {
        (0..3).for_each(|channel| world.publish(channel, LONG, Kind::Text));
        world.steps(20);
        let (heard, answered) = (well.listen(&world), poll.listen(&world));
        assert_eq!((heard, answered), if round == 0 { (0, 0) } else { (3, 0) }, "{round}");
        if round == 0 {
            assert!(poll.said.is_empty(), "no early answer: {:?}", poll.said);
            assert_eq!(stuck.standing(&world), Standing::Open);
            world.pass(1_100);
            assert_eq!(stuck.standing(&world), Standing::Reset);
            assert_eq!((well.listen(&world), poll.listen(&world)), (3, 1));
        }
    }
    assert_eq!(ended(&world), 1);
    world.invariants();
}

/// Whoever wants something short is not kept waiting by those who want something long.
#[test]
fn what_is_short_does_not_wait_behind_what_is_long() {
    let mut world = tight(100_000);
    let mut short = Peer::follow(&mut world, JSON, &[100]);
    // A little more than there is room for, of either kind.
    let _stuck: Vec<_> = (0..3).flat_map(|channel| stick(&mut world, channel, 1)).collect();
    let long: Vec<_> = (3..6).flat_map(|channel| stick(&mut world, channel, 1)).collect();
    world.publish(100, 100, Kind::Text);
    world.steps(10);
    assert_eq!((short.listen(&world), ended(&world)), (0, 0));
    world.now = world.now.plus(1_000);
    world.step();
    assert_eq!(short.listen(&world), 1, "in the tick in which there is room");
    let waiting = world.metrics.shards[0].waiting_for_room.read();
    assert!((1..3).contains(&waiting), "{waiting} others still wait");
    assert!(long.iter().all(|peer| peer.standing(&world) == Standing::Open));
    world.invariants();
}

/// Whoever wants what was published just now is not kept waiting by a crowd that wants what is
/// older and takes nothing, nor does it wait in their line, however long or short all that is.
#[test]
fn what_was_published_just_now_waits_for_nobody_who_wants_what_is_older() {
    for bytes in [300, LONG] {
        let mut world = tight(400_000);
        // Of a page, more than is copied to whoever is in the middle of it.
        let each = if bytes == LONG { 1 } else { 90 };
        let before = world.truth.position();
        for channel in 0..40 {
            (0..each).for_each(|_| world.publish(channel, bytes, Kind::Text));
            world.steps(4);
        }
        world.pass(3_000); // and they are new no more
        let mut well = Peer::follow(&mut world, JSON, &[100]);
        let mut poll = Peer::ask(&world, Way::Poll, &[101], None, 25);
        world.steps(6);
        let crowd: Vec<Peer> = (0..40)
            .map(|channel| {
                let peer = Peer::ask(&world, Way::Poll, &[channel], Some(before), 0);
                world.nets[0].set_window(peer.client, 20);
                world.step();
                peer
            })
            .collect();
        world.steps(10);
        let waiting = world.metrics.shards[0].waiting_for_room.read();
        assert!(waiting > 20 && ended(&world) == 0, "{waiting} wait");
        for _ in 0..3 {
            world.publish(100, bytes, Kind::Text);
            world.publish(101, bytes, Kind::Text);
            world.steps(6);
            assert_eq!((well.listen(&world), poll.listen(&world)), (1, 1), "at once");
            poll = Peer::ask(&world, Way::Poll, &[101], None, 25);
            world.steps(3);
        }
        assert_eq!(world.metrics.shards[0].waiting_for_room.read(), waiting);
        world.invariants();
        // Nobody is given more than its second, and each has its turn.
        world.pass(6_000);
        assert_eq!(world.metrics.shards[0].waiting_for_room.read(), 0);
        crowd.iter().for_each(|peer| world.nets[0].reset(peer.client));
        world.steps(20);
        world.invariants();
    }
}

/// A shard sleeps while nobody can be given room, and not while somebody can: of a crowd that
/// shares a page each gets its part when the first does.
#[test]
fn a_shard_sleeps_until_there_is_room_and_then_serves_all_who_share_it() {
    let mut world = tight(100_000);
    let has_work = |world: &World| world.node.shards[0].has_work(world.now);
    let waiting = |world: &World| world.metrics.shards[0].waiting_for_room.read();
    let _first = stick(&mut world, 0, 1);
    world.now = world.now.plus(500);
    let _others: Vec<_> = (1..3).flat_map(|channel| stick(&mut world, channel, 1)).collect();
    let crowd = stick(&mut world, 3, 300);
    world.steps(20);
    assert_eq!((waiting(&world), has_work(&world)), (300, false));
    world.now = world.now.plus(499);
    assert!(!has_work(&world), "nobody is to go yet");
    world.now = world.now.plus(1);
    while has_work(&world) {
        world.step();
    }
    assert_eq!((waiting(&world), ended(&world)), (0, 1));
    assert!(crowd.iter().all(|peer| !world.nets[0].take(peer.client).is_empty()));
    world.invariants();
}

/// No log waits for those who wait for room: then whoever holds that would hold publishers. They
/// are moved with what goes of a log meanwhile.
#[test]
fn who_waits_for_room_keeps_nobody_waiting_and_misses_what_leaves_the_window() {
    let shape = Shape::plain();
    let limits = Limits { rendered_bytes: 100_000, ..shape.limits };
    let window = Window { count: 2, bytes: 1 << 30 };
    let history = HistoryRule { count: 2, bytes: 1 << 30, age_ms: 600_000 };
    let slow = vec![Slow::Window; 200];
    let mut world = World::new(&Shape { limits, window, history, slow, ..shape });
    let mut other = Peer::follow(&mut world, JSON, &[100]);
    let _stuck: Vec<_> = (0..3).flat_map(|channel| stick(&mut world, channel, 1)).collect();
    let mut late = Peer::follow(&mut world, JSON, &[3]);
    for _ in 0..10 {
        let manner = Manner { ephemeral: true, ..Manner::default() };
        world.publish_in(3, 100, Kind::Text, manner);
        world.publish(3, 100, Kind::Text);
        world.steps(4);
    }
    world.publish(100, 100, Kind::Text);
    world.steps(4);
    assert_eq!((late.listen(&world), other.listen(&world)), (0, 0), "there is no room");
    assert!(world.node.shards[0].is_drained(), "publishers go on");
    world.pass(1_100);
    late.listen(&world);
    let told = late.said.iter().filter_map(|said| match said {
        Said::Gap(gap) => Some((gap.bounds, None)),
        Said::Message(message) => Some((None, message.offset)),
        _ => None,
    });
    let expected = [(Some((1, 8)), None), (None, Some(9)), (None, None), (None, Some(10))];
    assert_eq!(told.collect::<Vec<_>>(), expected);
    assert_eq!(other.listen(&world), 1);
    world.invariants();
}

/// What is too long for a client is known by its length, for which nothing is to be kept.
#[test]
fn what_is_too_long_for_a_client_needs_no_room() {
    const MAX: usize = 1_000;
    let mut world = tight(100_000);
    let mut poll = Peer::mute(&world, Way::Poll);
    let head = request(Way::Poll, &["c100".into()], Some(&world.id(0)), 25, Some(MAX));
    world.nets[0].write(poll.client, head.as_bytes());
    world.steps(6);
    let _stuck: Vec<_> = (0..3).flat_map(|channel| stick(&mut world, channel, 1)).collect();
    world.publish(100, MAX - 30, Kind::Text); // which is longer as a client gets it
    world.steps(10);
    poll.listen(&world);
    let Some(Said::Answer { messages, gaps, .. }) = poll.said.last() else {
        panic!("{:?}", poll.said)
    };
    assert_eq!((messages.len(), gaps.len(), ended(&world)), (0, 1, 0));
    world.invariants();
}

/// Pages that are used all the time are in nobody's way for ever.
#[test]
fn what_is_used_all_the_time_makes_room_for_those_who_wait() {
    let shape = Shape::plain();
    let limits = Limits { rendered_bytes: 100_000, channels_per_connection: 2_000, ..shape.limits };
    let capacity = (2_000, 2_000);
    let mut world = World::new(&Shape { limits, capacity, ..shape });
    // So many that each page is used again before the hand has gone round.
    let all: Vec<usize> = (0..1_500).collect();
    let _idle = Peer::follow(&mut world, JSON, &all);
    world.steps(40);
    assert_eq!(world.metrics.shards[0].subscriptions.read(), 1_500);
    let since = world.truth.position();
    (0..3).for_each(|channel| world.publish(channel, LONG, Kind::Text));
    world.steps(10);
    let (mut late, mut hot) = (None, VecDeque::new());
    for step in 0..200 {
        let ask = |channel| Peer::ask(&world, Way::Poll, &[channel], Some(since), 0);
        hot.extend((0..3).map(ask));
        world.step();
        if step == 50 {
            late = Some(Peer::ask(&world, JSON, &[300], None, 0));
        } else if step == 60 {
            world.publish(300, LONG, Kind::Text);
        }
        while hot.len() > 40 {
            hot.pop_front().inspect(|peer: &Peer| world.nets[0].reset(peer.client));
        }
    }
    assert_eq!(late.map(|mut peer| peer.listen(&world)), Some(1));
    assert_eq!(ended(&world), 0);
}

/// A poll that has something does not wait for room for more: it would hold that meanwhile.
#[test]
fn what_was_gathered_is_an_answer_where_there_is_no_room_for_more() {
    let mut world = tight(125_000);
    let stuck: Vec<Peer> = (0..2).flat_map(|channel| stick(&mut world, channel, 1)).collect();
    let since = world.truth.position();
    (2..4).for_each(|channel| world.publish(channel, LONG, Kind::Text));
    world.steps(4);
    let mut poll = Peer::ask(&world, Way::Poll, &[2, 3], Some(since), 0);
    world.steps(10);
    assert_eq!((poll.listen(&world), poll.standing(&world)), (1, Standing::Open));
    world.pass(1_100);
    assert_eq!((poll.listen(&world), ended(&world)), (0, 0), "it was answered, and took that");
    assert!(stuck.iter().all(|peer| peer.standing(&world) == Standing::Open));
    world.invariants();
}

/// The most that live windows came to where messages of 9,000 bytes came thick beside those who
/// poll one thing after the other, of whom somebody is always about to have a turn. Whoever takes
/// everything got everything.
fn most_of_windows(budget: usize, ephemeral: bool) -> usize {
    const CHANNELS: usize = 10;
    const MESSAGES: usize = 3_000;
    let history = HistoryRule { count: 1, bytes: 1_000_000, age_ms: 600_000 };
    let window = Window { count: 10_000, bytes: 1 << 30 };
    let tick = TickBudget { units: 16, ..COUNTED };
    let shape = Shape { history, window, budget: tick, capacity: (4_000, 4_000), ..Shape::plain() };
    let limits = Limits { rendered_bytes: budget, ..shape.limits };
    let mut world = World::new(&Shape { limits, ..shape });
    let all: Vec<usize> = (0..CHANNELS).collect();
    let poll = |world: &World| Peer::ask(world, Way::Poll, &all, None, 25);
    let mut well = Peer::follow(&mut world, JSON, &all);
    let mut crowd: Vec<Peer> = (0..60).map(|_| poll(&world)).collect();
    world.steps(100);
    // What history promises stands before all that is ephemeral.
    all.iter().for_each(|channel| world.publish(*channel, 10, Kind::Text));
    let (mut published, mut heard, mut most) = (CHANNELS, 0, 0);
    for _ in 0..20 * MESSAGES {
        for _ in 0..3 * usize::from(published < MESSAGES) {
            let manner = Manner { ephemeral, ..Manner::default() };
            world.publish_in(published % CHANNELS, 9_000, Kind::Text, manner);
            published += 1;
        }
        world.step();
        heard += well.listen(&world);
        for peer in &mut crowd {
            peer.hear(&world);
            if peer.messages() > 0 {
                world.nets[0].reset(peer.client);
                *peer = poll(&world);
            }
        }
        most = most.max(world.metrics.shards[0].window_bytes.read() as usize);
        if heard == published && published >= MESSAGES {
            break;
        }
    }
    assert_eq!(heard, published, "who takes everything gets everything");
    world.invariants();
    most
}

#[test]
fn live_windows_keep_to_their_half_and_wait_for_nobody_for_ever() {
    for ephemeral in [false, true] {
        let (budget, tick_of_ring) = (800_000, 300_000);
        let most = most_of_windows(budget, ephemeral);
        assert!(most <= budget / 2 + budget / 16 + tick_of_ring, "{most}, ephemeral: {ephemeral}");
    }
}
