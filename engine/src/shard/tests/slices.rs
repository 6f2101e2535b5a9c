//! Requests to follow that are performed in slices.

use fanfare_protocol::message::Kind;

use super::peer::Peer;
use super::wire::{Said, Way};
use super::world::{COUNTED, Shape, World};
use crate::shard::tick_budget::TickBudget;

const JSON: Way = Way::Socket { json: true };
const ALL: [usize; 5] = [0, 1, 2, 3, 4];

/// A world whose turns are one channel long.
fn one_by_one() -> World {
    let shape = Shape { budget: TickBudget { units: 1, ..COUNTED }, ..Shape::plain() };
    let mut world = World::new(&shape);
    world.steps(3); // what the node's parts ask of the order at its start takes turns, too
    world
}

fn ids(peer: &Peer) -> Vec<String> {
    peer.heard().map(|message| message.id.clone().expect("it is kept")).collect()
}

/// Publishes in each channel in turn, for so many steps; says what each message is called.
fn publish(world: &mut World, steps: usize) -> Vec<String> {
    let place = |nth| {
        world.publish(nth % ALL.len(), 10, Kind::Text);
        world.step();
        world.id(world.metrics.sequencer.position.read())
    };
    (0..steps).map(place).collect()
}

#[test]
fn what_is_published_between_two_slices_is_neither_lost_nor_doubled() {
    let mut world = one_by_one();
    let mut said = publish(&mut world, 5);
    let mut back = Peer::ask(&world, JSON, &ALL, Some(0), 0);
    let mut newcomer = Peer::ask(&world, JSON, &ALL, None, 0);
    let mut steps = 0;
    while newcomer.said.is_empty() {
        said.extend(publish(&mut world, 1));
        back.hear(&world);
        newcomer.hear(&world);
        steps += 1;
        assert!(steps < 100, "it is answered in the end");
    }
    assert!(steps >= 2 * ALL.len(), "a channel of either was followed in each step: {steps}");
    said.extend(publish(&mut world, 7));
    world.steps(10);
    back.hear(&world);
    newcomer.hear(&world);
    assert_eq!(ids(&back), said, "all that there is, once, in its order");
    let Some(Said::Open(begin)) = newcomer.said.get(1) else { panic!("{:?}", newcomer.said) };
    let after = said.iter().position(|id| id == begin).expect("it begins after a message") + 1;
    assert!(after > 5 + ALL.len(), "its place is where the last of its channels is followed");
    assert_eq!(ids(&newcomer), said[after..]);
    world.invariants();
}

#[test]
fn whoever_leaves_between_two_slices_follows_nothing() {
    let mut world = one_by_one();
    let gone = Peer::ask(&world, JSON, &ALL, None, 0);
    world.steps(4);
    assert!(world.metrics.sequencer.subscriptions.read() > 1, "some of its channels are followed");
    world.nets[0].reset(gone.client);
    world.steps(30);
    assert_eq!(world.metrics.sequencer.subscriptions.read(), 0);
    world.is_empty();
}

#[test]
fn a_message_waits_for_a_slice_and_not_for_what_is_asked_for() {
    let mut world = one_by_one();
    let mut one = Peer::follow(&mut world, JSON, &[0]);
    let crowd: Vec<Peer> = (0..40).map(|_| Peer::ask(&world, JSON, &ALL, None, 0)).collect();
    world.steps(6);
    world.publish(0, 10, Kind::Text);
    world.steps(4);
    assert_eq!(one.listen(&world), 1, "though most of the crowd was not answered");
    let heads = |peers: &mut Vec<Peer>| {
        peers.iter_mut().for_each(|peer| peer.hear(&world));
        peers.iter().filter(|peer| !peer.said.is_empty()).count()
    };
    let mut crowd = crowd;
    assert!(heads(&mut crowd) < 10);
}

/// However far the order is ahead.
#[test]
fn a_tick_takes_in_so_many_channels_and_not_all_that_the_order_has_told() {
    let mut world = one_by_one();
    let mut crowd: Vec<Peer> = (0..20).map(|_| Peer::ask(&world, JSON, &ALL, None, 0)).collect();
    let now = world.now;
    // Every request is asked of the order, and answered, before a shard reads on.
    for _ in 0..crowd.len() {
        world.node.tick(0, now);
    }
    for _ in 0..crowd.len() * ALL.len() {
        world.node.step_order(now);
    }
    world.step();
    crowd.iter_mut().for_each(|peer| peer.hear(&world));
    let heads = |crowd: &[Peer]| crowd.iter().filter(|peer| !peer.said.is_empty()).count();
    assert!(heads(&crowd) <= 1, "{} of them were told", heads(&crowd));
    world.steps(200);
    crowd.iter_mut().for_each(|peer| peer.hear(&world));
    assert_eq!(heads(&crowd), crowd.len());
}

/// A message wakes them all, and each has as many channels as a tick has units.
#[test]
fn waiting_polls_are_answered_by_the_number_of_their_channels() {
    let shape = Shape { budget: TickBudget { units: 5, batches: 1, ..COUNTED }, ..Shape::plain() };
    let mut world = World::new(&shape);
    let mut crowd: Vec<Peer> =
        (0..20).map(|_| Peer::ask(&world, Way::Poll, &ALL, None, 60)).collect();
    world.steps(200);
    world.publish(0, 10, Kind::Text);
    let (mut answered, mut steps) = (0, 0);
    while answered < crowd.len() {
        world.step();
        crowd.iter_mut().for_each(|peer| peer.hear(&world));
        let now = crowd.iter().filter(|peer| peer.messages() > 0).count();
        assert!(now - answered <= 1, "{} of them in a tick", now - answered);
        answered = now;
        steps += 1;
        assert!(steps < 1_000, "all are answered in the end");
    }
}
