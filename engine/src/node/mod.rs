//! A node: its parts, and the two ways in which they run.
//!
//! ```text
//! control (tokio) ──┐                       ┌── shard 0
//! ingest (unix)  ───┼─ inbox ─ sequencer ─ ring ── shard 1
//! shards         ───┘                       └── ...
//! ```
//!
//! [`NodeParts`] ties them together, once. A [`Server`] runs them on threads, with sockets and ways
//! in for backends; a [`Node`] is stepped by whoever has it in hand, over whatever driver and at
//! whatever time.

mod driver_choice;
mod listening;
mod parts;
pub(crate) mod plan;
mod posting;
mod reload;
mod server;
mod settings;
mod stepped;
mod threads;

pub(crate) use driver_choice::machine;
pub(crate) use listening::taken;
pub use parts::{NodeParts, Plans};
pub use posting::ContextPost;
pub use server::{Server, ServerAddresses, start, start_over, start_with, start_with_door};
pub use settings::{DriverChoice, Settings};
pub use stepped::Node;
