//! Fanfare's engine: one sequencer decides the order, shards keep cursors and send.
//!
//! `docs/ARCHITECTURE.md` follows one message through it. Imports run one way: `sequencer`,
//! `shard`, `ingest` and `control` meet only in [`node`], which starts them and joins them.

pub mod admission;
pub mod api_tls;
pub mod authority;
pub mod bench;
pub mod bodies;
pub mod budget;
pub mod channel;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod diagnostics;
pub mod doctor;
pub mod driver;
pub mod error;
mod fanout;
pub mod in_flight;
pub mod ingest;
pub mod inquiry;
pub mod keys;
pub mod limits;
pub mod log;
pub mod message;
pub mod metrics;
pub mod node;
pub mod node_state;
pub mod origin;
pub mod os;
pub mod payload;
pub mod presence;
pub mod ring;
pub mod rule;
pub mod sequencer;
pub mod session;
pub mod session_id;
pub mod shard;
pub mod sim;
pub mod tenancy;
pub mod transport;
pub mod vigil;
