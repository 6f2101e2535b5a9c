//! Tests of the ring: what one thread can see (`unit`), a naive oracle (`model`), real threads
//! (`threads`), and, under `scripts/loom`, every interleaving (`interleavings`).

#[cfg(fanfare_loom)]
mod interleavings;
#[cfg(not(fanfare_loom))]
mod model;
#[cfg(not(fanfare_loom))]
mod threads;
#[cfg(not(fanfare_loom))]
mod unit;

#[cfg(not(fanfare_loom))]
use std::sync::Arc;
#[cfg(not(fanfare_loom))]
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

#[cfg(not(fanfare_loom))]
use super::{Reader, Wake, Writer, ring};

/// Counts its wakes.
#[cfg(not(fanfare_loom))]
#[derive(Default)]
struct WakeCounter(AtomicUsize);

#[cfg(not(fanfare_loom))]
impl Wake for WakeCounter {
    fn wake(&self) {
        self.0.fetch_add(1, Relaxed);
    }
}

#[cfg(not(fanfare_loom))]
impl WakeCounter {
    /// Wakes since this was last asked.
    fn wakes(&self) -> usize {
        self.0.swap(0, Relaxed)
    }
}

/// A ring with a counter for each reader.
#[cfg(not(fanfare_loom))]
fn ring_with_counters<T: Send + Sync>(
    entries: usize,
    bytes: usize,
    readers: usize,
) -> (Writer<T>, Vec<Reader<T>>, Vec<Arc<WakeCounter>>) {
    let counters: Vec<_> = (0..readers).map(|_| Arc::new(WakeCounter::default())).collect();
    let wakers = counters.iter().map(|counter| counter.clone() as Arc<dyn Wake>).collect();
    let (writer, all) = ring(entries, bytes, wakers);
    (writer, all, counters)
}

/// Drains up to `max` entries into a list.
#[cfg(not(fanfare_loom))]
fn drained<T: Clone>(reader: &mut Reader<T>, max: usize) -> Vec<T> {
    let mut taken = Vec::new();
    reader.drain(max, |item| taken.push(item.clone()));
    taken
}
