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
struct Bell(AtomicUsize);

#[cfg(not(fanfare_loom))]
impl Wake for Bell {
    fn wake(&self) {
        self.0.fetch_add(1, Relaxed);
    }
}

#[cfg(not(fanfare_loom))]
impl Bell {
    /// Wakes since this was last asked.
    fn rung(&self) -> usize {
        self.0.swap(0, Relaxed)
    }
}

/// A ring with a bell for each reader.
#[cfg(not(fanfare_loom))]
fn ring_with_bells<T: Send + Sync>(
    entries: usize,
    bytes: usize,
    readers: usize,
) -> (Writer<T>, Vec<Reader<T>>, Vec<Arc<Bell>>) {
    let bells: Vec<_> = (0..readers).map(|_| Arc::new(Bell::default())).collect();
    let wakers = bells.iter().map(|bell| bell.clone() as Arc<dyn Wake>).collect();
    let (writer, all) = ring(entries, bytes, wakers);
    (writer, all, bells)
}

/// Drains up to `max` entries into a list.
#[cfg(not(fanfare_loom))]
fn drained<T: Clone>(reader: &mut Reader<T>, max: usize) -> Vec<T> {
    let mut taken = Vec::new();
    reader.drain(max, |item| taken.push(item.clone()));
    taken
}
