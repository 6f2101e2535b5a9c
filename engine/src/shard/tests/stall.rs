//! Clients that take nothing, however long they are let, whatever events say and whether or not
//! they have ended their side.

use fanfare_protocol::message::Kind;

use super::peer::Peer;
use super::wire::Way;
use super::world::{Shape, World};
use crate::driver::sim::{Standing, Temper};
use crate::rule::{HistoryRule, Window};

const RAW: Way = Way::Socket { json: false };
const SSE: Way = Way::Events { json: false };
const STREAMS: [Way; 4] = [RAW, Way::Socket { json: true }, SSE, Way::Events { json: true }];

/// Says in every poll that there is room.
const HOLLOW: Temper = Temper { hollow: 100, ..Temper::HONEST };

fn slow_closed(world: &World) -> u64 {
    world.metrics.shards[0].slow_closed.read()
}

/// A client in whose window there is room for 150 bytes of what it is owed.
fn stalled(world: &mut World, way: Way, half_closed: bool) -> Peer {
    let peer = if way == Way::Poll {
        for _ in 0..10 {
            world.publish(0, 100, Kind::Text);
            world.step();
        }
        let peer = Peer::ask(world, way, &[0], Some(0), 0);
        world.nets[0].set_window(peer.client, 150);
        peer
    } else {
        let peer = Peer::follow(world, way, &[0]);
        world.nets[0].set_window(peer.client, 150);
        for _ in 0..10 {
            world.publish(0, 100, Kind::Text);
        }
        peer
    };
    world.steps(6);
    if half_closed {
        world.nets[0].half_close(peer.client);
    }
    world.steps(3);
    peer
}

#[test]
fn who_takes_no_byte_has_its_minute_though_room_is_told_of_on_and_on() {
    let streams = STREAMS.map(|way| (way, false));
    for (way, half_closed) in [(Way::Poll, false), (Way::Poll, true)].into_iter().chain(streams) {
        for temper in [Temper::HONEST, HOLLOW] {
            let mut world = World::new(&Shape::plain());
            let peer = stalled(&mut world, way, half_closed);
            world.nets[0].set_temper(temper);
            world.pass(58_000);
            assert_eq!(peer.standing(&world), Standing::Open, "{way:?}");
            world.pass(4_000);
            assert_eq!(peer.standing(&world), Standing::Reset, "{way:?} {half_closed} {temper:?}");
            assert_eq!(slow_closed(&world), 1, "{way:?}");
        }
    }
}

#[test]
fn who_takes_a_byte_has_another_minute_though_room_is_told_of_on_and_on() {
    for way in [Way::Poll, RAW, SSE] {
        let mut world = World::new(&Shape::plain());
        let peer = stalled(&mut world, way, false);
        world.nets[0].set_temper(HOLLOW);
        for _ in 0..3 {
            world.pass(50_000);
            assert_eq!(world.nets[0].take_some(peer.client, 1).len(), 1);
            world.steps(3);
        }
        world.pass(58_000);
        assert_eq!(peer.standing(&world), Standing::Open, "{way:?}");
        world.pass(4_000);
        assert_eq!(peer.standing(&world), Standing::Reset, "{way:?}");
    }
}

/// The shard's thread stands still for longer than a minute; room comes meanwhile.
#[test]
fn who_took_all_while_we_stood_still_has_not_stalled() {
    for way in [Way::Poll, RAW, SSE] {
        let mut world = World::new(&Shape::plain());
        let mut peer = stalled(&mut world, way, false);
        world.now = world.now.plus(90_000);
        peer.listen(&world);
        world.nets[0].set_window(peer.client, usize::MAX);
        world.steps(6);
        peer.listen(&world);
        assert_eq!((peer.messages(), slow_closed(&world)), (10, 0), "{way:?}");
    }
}

/// One that was decided to be slow has five seconds (THREATS W21), and not as long as it likes.
#[test]
fn who_is_too_slow_is_cut_off_in_its_time_in_every_transport() {
    for way in STREAMS {
        for half_closed in [false, true] {
            let history = HistoryRule { count: 2, bytes: 100_000, age_ms: 600_000 };
            let window = Window { count: 16, bytes: 1_000_000 };
            let mut world = World::new(&Shape { history, window, ..Shape::plain() });
            let peer = Peer::follow(&mut world, way, &[0]);
            world.nets[0].set_window(peer.client, 150);
            for _ in 0..30 {
                world.publish(0, 100, Kind::Text);
            }
            world.steps(5);
            while slow_closed(&world) == 0 {
                world.pass(100);
            }
            if half_closed {
                world.nets[0].half_close(peer.client);
            }
            world.pass(2_000);
            world.nets[0].take_some(peer.client, 1); // a sign of life is too late now
            world.pass(2_700);
            assert_eq!(peer.standing(&world), Standing::Open, "{way:?} has its five seconds");
            world.pass(600);
            assert_eq!(peer.standing(&world), Standing::Reset, "{way:?} {half_closed}");
            assert_eq!(slow_closed(&world), 1);
        }
    }
}
