//! Handles: numbers that are looked up, never pointers that are followed.
//!
//! ```text
//!  63            32 31     16 15      0
//!  │ generation    │ check   │ slot   │
//! ```
//!
//! A slot counts how often it was closed (its generation), so that a handle of an earlier opening
//! finds nothing. The check makes a number that was never a handle unlikely to look like one.
//!
//! **After a fork** the child has the table and none of the threads, and a lock may be held for
//! ever by a thread that is not there. So each slot says which process opened it, and that is
//! looked at before its lock is touched. A child opens in slots that its parent did not use.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::process;
use crate::code::{Code, FANFARE_E_BADF, FANFARE_E_FORKED, FANFARE_E_MFILE};
use crate::publisher::Publisher;

/// Handles that may be open at once.
const SLOTS: usize = 256;

/// What a handle stands for.
pub(super) struct Instance {
    pub(super) publisher: Publisher,
    /// Set by a panic: nothing is known of its state any more.
    pub(super) poisoned: Arc<AtomicBool>,
}

struct Slot {
    /// Process of the open handle; 0 while there is none.
    process: AtomicU32,
    entry: RwLock<Entry>,
}

struct Entry {
    generation: u32,
    instance: Option<Arc<Instance>>,
}

static TABLE: [Slot; SLOTS] = [const {
    Slot { process: AtomicU32::new(0), entry: RwLock::new(Entry { generation: 1, instance: None }) }
}; SLOTS];

/// Enters an instance; its handle.
pub(super) fn open(instance: Instance) -> Result<u64, Box<(Instance, Code)>> {
    let own = process::id();
    for (number, slot) in TABLE.iter().enumerate() {
        if slot.process.compare_exchange(0, own, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            continue;
        }
        // A lock that is held here was held when we were forked: then the slot is lost.
        let Ok(mut entry) = slot.entry.try_write() else { continue };
        entry.instance = Some(Arc::new(instance));
        return Ok(handle(number, entry.generation));
    }
    Err(Box::new((instance, FANFARE_E_MFILE)))
}

/// What a handle stands for.
pub(super) fn find(handle: u64) -> Result<Arc<Instance>, Code> {
    let entry = slot(handle)?.entry.read().unwrap_or_else(PoisonError::into_inner);
    let instance = entry.instance.as_ref().filter(|_| entry.generation == generation(handle));
    instance.cloned().ok_or(FANFARE_E_BADF)
}

/// Takes an instance out; nobody finds it any more.
pub(super) fn close(handle: u64) -> Result<Arc<Instance>, Code> {
    let slot = slot(handle)?;
    let mut entry = slot.entry.write().unwrap_or_else(PoisonError::into_inner);
    if entry.generation != generation(handle) {
        return Err(FANFARE_E_BADF);
    }
    let instance = entry.instance.take().ok_or(FANFARE_E_BADF)?;
    // A generation that would come again retires the slot: its process stays.
    if let Some(next) = entry.generation.checked_add(1) {
        entry.generation = next;
        drop(entry);
        slot.process.store(0, Ordering::Release);
    }
    Ok(instance)
}

/// The slot of a handle that may be open in this process.
fn slot(handle: u64) -> Result<&'static Slot, Code> {
    let slot = TABLE.get((handle & 0xffff) as usize).ok_or(FANFARE_E_BADF)?;
    if check(handle & 0xffff, generation(handle)) != (handle >> 16) as u16 {
        return Err(FANFARE_E_BADF);
    }
    match slot.process.load(Ordering::Acquire) {
        0 => Err(FANFARE_E_BADF),
        owner if owner != process::id() => Err(FANFARE_E_FORKED),
        _ => Ok(slot),
    }
}

fn handle(slot: usize, generation: u32) -> u64 {
    let slot = slot as u64;
    u64::from(generation) << 32 | u64::from(check(slot, generation)) << 16 | slot
}

fn generation(handle: u64) -> u32 {
    (handle >> 32) as u32
}

/// The upper bits of a multiplication by the golden ratio: every bit of both counts.
fn check(slot: u64, generation: u32) -> u16 {
    let mixed = (slot << 32 | u64::from(generation)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 48) as u16 | 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publisher::PublisherSettings;

    fn instance() -> Instance {
        let publisher =
            Publisher::open("unix:/nowhere/at/all", PublisherSettings::default()).unwrap();
        Instance { publisher, poisoned: Arc::default() }
    }

    #[test]
    fn a_handle_is_good_from_its_opening_to_its_closing() {
        let first = open(instance()).ok().unwrap();
        assert!(find(first).is_ok());
        close(first).ok().unwrap().publisher.close();
        let second = open(instance()).ok().unwrap();
        assert_ne!(first, second);
        for stale in [first, 0, u64::MAX, second ^ 1 << 20, second + (1 << 32), second ^ 1] {
            assert_eq!(find(stale).err(), Some(FANFARE_E_BADF), "{stale:x}");
            assert_eq!(close(stale).err(), Some(FANFARE_E_BADF), "{stale:x}");
        }
        close(second).ok().unwrap().publisher.close();
        assert_eq!(close(second).err(), Some(FANFARE_E_BADF));
    }
}
