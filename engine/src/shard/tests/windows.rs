//! Live windows that come to more than they may have: whoever takes what it is sent loses nothing
//! by that, and whoever does not holds publishers for a moment at most.

use fanfare_protocol::message::Kind;

use super::peer::Peer;
use super::wire::Way;
use super::world::{Shape, World};
use crate::driver::sim::Standing;
use crate::limits::Limits;
use crate::rule::{HistoryRule, Window};

const WAYS: [Way; 2] = [Way::Socket { json: true }, Way::Events { json: false }];
const BUDGET: usize = 800_000;
const CHANNELS: usize = 20;
const MESSAGE_BYTES: usize = 9_000;

/// A world in which a window alone has room for everything, and all together have for little.
fn tight() -> World {
    let history = HistoryRule { count: 1, bytes: 1_000_000, age_ms: 600_000 };
    let window = Window { count: 10_000, bytes: 1 << 30 };
    let shape = Shape { history, window, capacity: (4_000, 4_000), ..Shape::plain() };
    let limits = Limits { rendered_bytes: BUDGET, ..shape.limits };
    World::new(&Shape { limits, ..shape })
}

fn windows(world: &World) -> usize {
    world.metrics.shards[0].window_bytes.read() as usize
}

/// Publishers are far ahead of clients that take as much as they can, each step some of it: they
/// are blocked after nearly every send.
#[test]
fn who_takes_what_it_can_holds_publishers_and_loses_nothing() {
    const MESSAGES: usize = 600;
    let mut world = tight();
    let all: Vec<usize> = (0..CHANNELS).collect();
    let mut readers = WAYS.map(|way| Peer::follow(&mut world, way, &all));
    readers.iter().for_each(|peer| world.nets[0].set_window(peer.client, 30_000));
    let (mut published, mut most) = (0, 0);
    for _ in 0..20 * MESSAGES {
        for _ in 0..6 * usize::from(published < MESSAGES) {
            // A long run in one channel, and then in the next.
            world.publish(published / 60 % CHANNELS, MESSAGE_BYTES, Kind::Text);
            published += 1;
        }
        world.now = world.now.plus(1);
        world.step();
        readers.iter_mut().for_each(|peer| peer.hear(&world));
        most = most.max(windows(&world));
        if readers.iter().all(|peer| peer.messages() == MESSAGES) {
            break;
        }
    }
    for peer in &readers {
        assert_eq!((peer.standing(&world), peer.messages()), (Standing::Open, MESSAGES));
    }
    let at_once = 8 * (MESSAGE_BYTES + 500);
    assert!(most > BUDGET / 2, "{most}: they are behind by more than there is room for");
    assert!(most <= BUDGET / 2 + BUDGET / 16 + at_once, "{most}");
    world.invariants();
}

/// Strangers that take a byte now and then, and come again when they are ended for it.
#[test]
fn who_takes_little_holds_publishers_for_a_tenth_of_the_time_and_windows_not_at_all() {
    let mut world = tight();
    let all: Vec<usize> = (0..CHANNELS).collect();
    let stranger = |world: &World| {
        let peer = Peer::ask(world, WAYS[0], &all, None, 0);
        world.nets[0].set_window(peer.client, 2_000);
        peer
    };
    let mut well = Peer::follow(&mut world, WAYS[1], &all);
    let mut strangers: Vec<Peer> = (0..5).map(|_| stranger(&world)).collect();
    let (mut published, mut held, mut most) = (0, 0, 0);
    let began = world.now;
    for _ in 0..2_000 {
        if world.node.shards[0].is_drained() {
            (0..4).for_each(|nth| {
                world.publish((published + nth) % CHANNELS, MESSAGE_BYTES, Kind::Text)
            });
            published += 4;
        } else {
            held += 10;
        }
        world.now = world.now.plus(10);
        world.step();
        world.step();
        well.hear(&world);
        most = most.max(windows(&world));
        for peer in &mut strangers {
            world.nets[0].take_some(peer.client, 1);
            if peer.standing(&world) != Standing::Open {
                *peer = stranger(&world);
            }
        }
    }
    world.steps(100);
    well.hear(&world);
    assert_eq!((well.messages(), well.standing(&world)), (published, Standing::Open));
    let passed = world.now.since(began);
    assert!(held > 0 && held <= passed / 8, "publishers were held for {held} of {passed} ms");
    assert!(most <= BUDGET / 2 + BUDGET / 16 + 8 * (MESSAGE_BYTES + 500), "{most}");
    world.invariants();
}
