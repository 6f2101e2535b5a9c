//! Beginnings and ends: clients that are killed at any moment leave nothing behind, a node that
//! stops keeps its word to publishers and clients, and its port is free for the next one.

mod binary;
mod kills;
mod memory;
mod publisher;
mod reload;
mod starts;
mod stops;
#[path = "../support/mod.rs"]
mod support;
