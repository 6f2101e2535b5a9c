//! A node of several tenants under chance: whoever may hear something hears it, and nobody else.
//!
//! All tenants have the same channel names, users, names of keys and names of tokens, so that
//! whatever forgets whose something is meets somebody else's. A model of who may hear what, which
//! shares nothing with what decides in the node, is asked at each moment; tokens expire and are
//! refreshed, revoked and forged, and rules and keys change, while shards and the order lag.

mod client;
mod entitlements;
mod play;
mod token;
mod world;

#[cfg(test)]
mod tests;

pub(super) use play::{IdentitiesPlayed, play};
pub(super) use world::Slip;
