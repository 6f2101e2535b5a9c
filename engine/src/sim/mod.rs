//! A whole node under chance: what the README promises is checked for every client at every step,
//! by an oracle that knows only what publishers were answered and what clients read.
//!
//! The real sequencer, ring and shards run in one thread over the simulated driver. The simulation
//! makes time and chance, so a world is a function of its seed, and a failing seed plays again:
//! `cargo run --release -p fanfare --example fanfare-sim -- --seeds 1..1000` plays as many as
//! wanted, `--seed 17` one of them. No part of the server uses it.

mod api;
mod backends;
mod canary;
mod command;
mod fact;
mod follower;
mod history;
mod identities;
pub mod lines;
mod persona;
mod placed;
mod play;
mod publications;
mod shape;
pub(crate) mod slow_log;
mod talker;
mod trace;
pub(crate) mod truth;
mod view;
pub(crate) mod wire;
pub(crate) mod world;

#[cfg(test)]
mod tests;

pub use command::main;

/// What plays one world again.
fn replay_command(seed: u64) -> String {
    format!("cargo run --release -p fanfare --example fanfare-sim -- --seed {seed}")
}
