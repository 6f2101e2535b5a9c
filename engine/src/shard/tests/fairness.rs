//! Nobody waits for a broadcast, nobody is always last, and nobody is passed over.

use std::collections::BTreeSet;

use fanfare_protocol::message::Kind;

use super::peer::Peer;
use super::wire::Way;
use super::world::{Shape, World};
use crate::driver::sim::Chance;
use crate::fanout::BATCH_SENDS_MAX;
use crate::rule::{HistoryRule, Window};

const RAW: Way = Way::Socket { json: false };

fn world(capacity: usize) -> World {
    World::new(&Shape { capacity: (capacity, capacity), ..Shape::plain() })
}

fn audience(world: &mut World, channel: usize, clients: usize) -> Vec<Peer> {
    let mut peers: Vec<Peer> =
        (0..clients).map(|_| Peer::ask(world, RAW, &[channel], None, 0)).collect();
    world.steps(clients / 20 + 10);
    peers.iter_mut().for_each(|peer| peer.hear(world));
    assert_eq!(world.metrics.shards[0].subscriptions.read() as usize, clients);
    peers
}

#[test]
fn a_message_to_one_client_goes_out_in_the_next_tick_of_a_broadcast() {
    let mut world = world(2_100);
    let crowd = audience(&mut world, 0, 2_000);
    let mut one = Peer::follow(&mut world, RAW, &[1]);
    let sends = |world: &World| world.metrics.shards[0].sends.read() as usize;
    let before = sends(&world);
    world.publish(0, 10, Kind::Text);
    world.step();
    assert!(sends(&world) - before < crowd.len() / 2, "the broadcast is under way");
    let before = sends(&world);
    world.publish(1, 10, Kind::Text);
    world.step();
    assert_eq!(one.listen(&world), 1, "it does not wait for the broadcast");
    assert!(sends(&world) - before <= 2 * BATCH_SENDS_MAX, "a tick is bounded");
}

#[test]
fn live_messages_do_not_wait_for_a_storm_of_resumes() {
    let history = HistoryRule { count: 5_000, bytes: 8_000_000, age_ms: 600_000 };
    let shape = Shape { capacity: (1_100, 1_100), history, ..Shape::plain() };
    let mut world = World::new(&shape);
    for _ in 0..200 {
        world.publish(0, 10_000, Kind::Text);
    }
    world.steps(10);
    let mut one = Peer::follow(&mut world, RAW, &[1]);
    let mut storm: Vec<Peer> =
        (0..1_000).map(|_| Peer::ask(&world, RAW, &[0], Some(0), 0)).collect();
    world.steps(20);
    assert!(
        world.node.shards[0].clients.connections.visits_waiting() > 2 * BATCH_SENDS_MAX,
        "the storm is under way"
    );
    world.publish(1, 10, Kind::Text);
    world.steps(2);
    assert_eq!(one.listen(&world), 1);
    for _ in 0..400 {
        world.step();
    }
    for peer in &mut storm {
        assert_eq!(peer.listen(&world), 200, "and the storm gets everything");
    }
}

#[test]
fn the_first_to_be_served_changes() {
    let mut world = world(700);
    let mut crowd = audience(&mut world, 0, 600);
    let mut firsts = BTreeSet::new();
    for _ in 0..8 {
        world.publish(0, 10, Kind::Text);
        world.step();
        let served: Vec<bool> = crowd.iter_mut().map(|peer| peer.listen(&world) == 1).collect();
        assert!(served.contains(&false), "a tick serves some");
        firsts.insert(served);
        world.steps(4);
        crowd.iter_mut().for_each(|peer| peer.hear(&world));
    }
    assert!(firsts.len() >= 3, "the start of the sweep rotates: {}", firsts.len());
    assert!(crowd.iter().all(|peer| peer.messages() == 8));
}

#[test]
fn who_comes_and_goes_in_a_sweep_makes_nobody_be_passed_over() {
    for seed in 0..6 {
        let mut chance = Chance::new(seed);
        let mut world = world(2_500);
        let mut crowd = audience(&mut world, 0, 900);
        for round in 1..4 {
            for step in 0..6 {
                if step == 3 {
                    world.publish(0, 10, Kind::Text); // some are on the way just now
                }
                world.step();
                // Those who come are not counted: they may come before or after the message.
                for _ in 0..chance.below(40) {
                    Peer::ask(&world, RAW, &[0], None, 0);
                }
                // Odd seeds: nobody leaves, whose place could hide who is passed over.
                for _ in 0..chance.below(60) * usize::from(seed % 2 == 0) {
                    let gone = crowd.swap_remove(chance.below(crowd.len()));
                    world.nets[0].reset(gone.client);
                }
            }
            world.steps(20);
            for peer in &mut crowd {
                peer.listen(&world);
                assert_eq!(peer.messages(), round, "seed {seed}");
            }
        }
    }
}

#[test]
fn a_burst_pushes_no_healthy_client_out_of_the_window() {
    let history = HistoryRule { count: 1, bytes: 1_000_000, age_ms: 600_000 };
    let window = Window { count: 64, bytes: 1_000_000 };
    let shape = Shape { capacity: (1_100, 1_100), history, window, ..Shape::plain() };
    let mut world = World::new(&shape);
    let mut crowd = audience(&mut world, 0, 700);
    for _ in 0..600 {
        world.publish(0, 10, Kind::Text);
    }
    for _ in 0..80 {
        world.step();
        crowd.iter_mut().for_each(|peer| peer.hear(&world));
    }
    assert!(crowd.iter().all(|peer| peer.messages() == 600));
    assert_eq!(world.metrics.shards[0].slow_closed.read(), 0);
}

#[test]
fn live_messages_do_not_wait_for_those_who_catch_up_by_polls() {
    let history = HistoryRule { count: 5_000, bytes: 8_000_000, age_ms: 600_000 };
    let shape = Shape { capacity: (200, 200), history, ..Shape::plain() };
    let mut world = World::new(&shape);
    for _ in 0..60 {
        world.publish(0, 9_000, Kind::Text);
        world.publish(2, 9_000, Kind::Text);
    }
    world.steps(10);
    let mut one = Peer::follow(&mut world, RAW, &[1]);
    let mut crowd: Vec<Peer> =
        (0..60).map(|_| Peer::ask(&world, Way::Poll, &[0, 2], Some(0), 0)).collect();
    let rendered = |world: &World| world.metrics.shards[0].rendered_bytes.read();
    let before = rendered(&world);
    for step in 0..400 {
        let last = rendered(&world);
        if step % 2 == 0 {
            world.publish(1, 10, Kind::Text);
        }
        world.step();
        assert!(rendered(&world) - last <= 512 << 10, "a tick is bounded");
        if step % 2 == 1 {
            assert_eq!(one.listen(&world), 1, "at step {step}");
        }
        crowd.iter_mut().for_each(|peer| peer.hear(&world));
    }
    assert!(rendered(&world) - before < 1_500_000, "they share what is rendered");
    for peer in &crowd {
        assert_eq!(peer.messages(), crowd[0].messages(), "the same answer");
    }
    assert!(crowd[0].messages() > 100, "as many as one has room for");
}
