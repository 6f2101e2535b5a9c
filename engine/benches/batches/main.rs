//! The curves behind the engine's batch sizes, over real sockets on loopback: how many sends share
//! one call into the kernel, and how much a shard does of one thing before it turns to the next
//! (`fanfare::shard::tick_budget`).
//!
//! Small numbers spend their time on calls, large ones make everything else wait: so each curve of
//! cost has one of waiting beside it. What clients receive is compared byte by byte, outside of the
//! time that is taken. On loopback a send does the receiver's share of the kernel's work too.
//!
//!     cargo bench -p fanfare --bench batches [-- NAME]

mod budget;
#[path = "../node/mod.rs"]
mod node;
mod sends;
mod sockets;

use criterion::{Criterion, criterion_group, criterion_main};

criterion_group!(benches, sends::per_enter, budget::sweep, budget::reading, has_rest);
criterion_main!(benches);

/// A run without io_uring would measure nothing of what it says: its benchmarks are passed over.
fn has_rest(_: &mut Criterion) {
    if !sockets::uring_works() {
        println!("io_uring is blocked here: only the send(2) loop was measured");
    }
}
