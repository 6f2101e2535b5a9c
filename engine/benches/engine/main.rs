//! What the engine's own part of a message costs, without a kernel: the broadcast ring from one
//! thread to others, a shard's log, and the sweep over those who follow.
//!
//! Everything goes through the public surface. The log and the sweep are private to the shard, and
//! stay so: they are timed as what a tick does with many messages for one client (the log), and
//! with one message for many clients (the sweep), over a driver that is a few lines long. So what
//! is measured is what runs, and nothing is exposed only to be measured.
//!
//! Each benchmark checks what came out: sums of everything handed over, and streams of clients byte
//! by byte. `cargo test --benches` runs each once.
//!
//!     cargo bench -p fanfare --bench engine [-- NAME]

#[path = "../node/mod.rs"]
mod node;
mod ring;
mod shard;

use criterion::{criterion_group, criterion_main};

criterion_group!(
    benches,
    ring::one_thread,
    ring::across_threads,
    shard::log,
    shard::entries,
    shard::sweep
);
criterion_main!(benches);
