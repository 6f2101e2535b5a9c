//! The broadcast ring: one writer, up to 64 readers, one order.
//!
//! ```text
//!            tail                    published      next
//!   released  |   held, some unread      |  staged   |   free
//!  -----------+--------------------------+-----------+----------> sequence numbers (u64, from 0)
//!             ^          ^               ^
//!        reader 2     reader 0        reader 1            slot of entry n: n & (entries - 1)
//! ```
//!
//! The writer is gated by its slowest reader (as the LMAX Disruptor is): a slot is written again
//! only after every reader moved its cursor past it. A ring that laps its readers would need them
//! to read what is being written, which is a data race in Rust even where the bytes are thrown
//! away afterwards. So nothing is dropped, nothing is copied, and a reader that stands still fills
//! the ring; its bounds, entries and bytes, are the price.
//!
//! * **Interest.** Each entry carries a mask of readers. The others pass it after reading the mask.
//! * **Ownership.** The writer alone drops entries, on release or before it writes their slot
//!   again, so memory goes back to where it came from and readers only ever borrow.
//! * **Wakes.** A reader with nothing to read parks. It costs at most one wake per park, given
//!   when something is published for it, or when it is half a ring behind. See `parker`.
//!
//! Every atomic is declared in `layout` or `parker`, with both sides of its ordering beside it.
//! `scripts/loom` proves the whole by exhaustive interleaving.

#![allow(unsafe_code)] // slots are shared cells; each block has its proof

mod layout;
mod parker;
mod primitive;
mod reader;
mod writer;

#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use parker::Wake;
pub use reader::Reader;
pub use writer::Writer;

/// Most readers of one ring: the width of the interest mask.
pub const READERS_MAX: usize = 64;

/// Makes a ring of `entries` slots (a power of two) whose entries together hold at most `bytes`,
/// with one reader for each of `wakers`, numbered in their order.
///
/// # Panics
/// When `entries` is no power of two, or `wakers` are not 1 to [`READERS_MAX`].
pub fn ring<T: Send + Sync>(
    entries: usize,
    bytes: usize,
    wakers: Vec<Arc<dyn Wake>>,
) -> (Writer<T>, Vec<Reader<T>>) {
    assert!(entries.is_power_of_two(), "a ring has a power of two of entries, not {entries}");
    let readers = wakers.len();
    assert!((1..=READERS_MAX).contains(&readers), "a ring has 1 to 64 readers, not {readers}");
    let shared = primitive::Arc::new(layout::SharedRing::new(entries, readers));
    let all = (0..readers).map(|number| Reader::new(shared.clone(), number as u8)).collect();
    (Writer::new(shared, bytes, wakers.into()), all)
}
