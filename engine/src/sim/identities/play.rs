//! One world of several tenants from its seed.

use super::client::TenantClient;
use super::token::{CHANNELS, Issuers, TENANTS};
use super::world::{Slip, TenantsWorld};
use crate::driver::sim::Chance;
use crate::sim::trace::Trace;

/// Steps of a world, in each of which its clients, its publishers and its operators may act.
const STEPS: usize = 200;

/// What came of one world.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(in crate::sim) struct IdentitiesPlayed {
    /// Messages that its clients heard.
    pub(in crate::sim) heard: u64,
    /// New tokens that were taken on living connections.
    pub(in crate::sim) refreshed: u64,
    /// How often a client was told that it may not.
    pub(in crate::sim) denied: u64,
    /// A digest of all that clients read, and when.
    pub(in crate::sim) trace: u64,
}

/// Plays a seed, where the world makes a mistake or none.
///
/// # Panics
/// When somebody hears what it may not, or does not hear what it may.
pub(in crate::sim) fn play(seed: u64, slip: Option<Slip>) -> IdentitiesPlayed {
    let chance = &mut Chance::new(seed);
    let mut world = TenantsWorld::new(seed, chance);
    world.slip = slip;
    let (shards, count) = (world.nets.len(), 4 + chance.below(12));
    let mut clients: Vec<_> = (0..count).map(|_| TenantClient::new(shards, chance)).collect();
    let mut issuers = Issuers::default();
    for step in 0..STEPS {
        for _ in 0..[0, 0, 1, 4][chance.below(4)] {
            publish(&mut world, chance);
        }
        for client in &mut clients {
            client.act(&world, &mut issuers, chance);
        }
        world.now = world.now.plus(chance.below(20) as u64);
        if chance.percent(4) {
            world.now = world.now.plus([500, 3_000, 16_000, 40_000][chance.below(4)]);
        }
        if chance.percent(4) {
            world.stall(chance);
        }
        if chance.percent(10) {
            world.ask_again();
        }
        // What changes does so between any two who look at it.
        let before_order = chance.percent(50);
        if before_order {
            meddle(&mut world, &clients, chance);
        }
        world.step_order();
        if !before_order {
            meddle(&mut world, &clients, chance);
        }
        world.step_shards();
        clients.iter_mut().for_each(|client| client.listen(&world, chance));
        if chance.percent(5) || step + 1 == STEPS {
            world.settle(&mut clients, chance);
        }
    }
    clients.iter_mut().for_each(|client| client.reset(&world));
    world.settle(&mut clients, chance);
    world.assert_empty();
    let mut trace = Trace::new();
    for client in &clients {
        trace.note(world.now, &client.trace.digest().to_le_bytes());
    }
    IdentitiesPlayed {
        heard: clients.iter().map(|client| client.heard).sum(),
        refreshed: clients.iter().map(|client| client.refreshed).sum(),
        denied: clients.iter().map(|client| client.denied).sum(),
        trace: trace.digest(),
    }
}

/// A backend of some tenant has something for one channel or two.
fn publish(world: &mut TenantsWorld, chance: &mut Chance) {
    let first = chance.below(CHANNELS.len());
    let mut channels = vec![first];
    if chance.percent(20) {
        channels.push((first + 1) % CHANNELS.len());
    }
    world.publish(chance.below(TENANTS.len()), channels, chance);
}

/// Something is revoked, or the configuration is another one, or nothing.
fn meddle(world: &mut TenantsWorld, clients: &[TenantClient], chance: &mut Chance) {
    match chance.below(100) {
        0..=2 => {
            let tokens: Vec<_> = clients.iter().filter_map(TenantClient::token).collect();
            if !tokens.is_empty() {
                world.revoke(tokens[chance.below(tokens.len())], chance);
            }
        }
        3..=6 => world.reload(chance.below(TENANTS.len()), chance),
        _ => {}
    }
}
