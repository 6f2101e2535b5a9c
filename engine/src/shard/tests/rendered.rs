//! What is rendered keeps within its budget, whoever holds it.

use fanfare_protocol::message::Kind;

use super::peer::Peer;
use super::wire::Way;
use super::world::{Shape, World};
use crate::limits::Limits;

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
        world.steps(4);
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
