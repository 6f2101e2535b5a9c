//! What is rendered keeps within its budget, whoever holds it.

use fanfare_protocol::message::Kind;

use super::peer::Peer;
use super::wire::Way;
use super::world::{COUNTED, Manner, Shape, World};
use crate::driver::sim::Standing;
use crate::limits::Limits;
use crate::rule::{History, Window};
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
    const MESSAGE_BYTES: usize = 34_500;
    let shape = Shape::plain();
    let limits = Limits { rendered_bytes: 100_000, ..shape.limits };
    let mut world = World::new(&Shape { limits, ..shape });
    let ended = |world: &World| world.metrics.shards[0].holders_closed.read();
    let mut stick = |world: &mut World, channel: usize, count: usize| {
        let peers: Vec<Peer> = (0..count).map(|_| Peer::follow(world, JSON, &[channel])).collect();
        peers.iter().for_each(|peer| world.nets[0].set_window(peer.client, 20));
        world.publish(channel, MESSAGE_BYTES, Kind::Text);
        world.steps(4);
        world.pass(700);
        peers
    };
    let first = stick(&mut world, 0, 5);
    let second = stick(&mut world, 1, 5);
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

/// The most that live windows came to where messages of 9,000 bytes came thick beside those who
/// poll one thing after the other, of whom somebody is always about to have a turn. Whoever takes
/// everything got everything.
fn most_of_windows(budget: usize, ephemeral: bool) -> usize {
    const CHANNELS: usize = 10;
    const MESSAGES: usize = 3_000;
    let history = History { count: 1, bytes: 1_000_000, age_ms: 600_000 };
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
