//! The ring on real threads: weaker than loom, but with real sizes and a real scheduler.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use crate::ring::{Reader, Wake, ring};

const ENTRIES: u64 = 50_000;

/// A sleep that a wake ends, even one that came before it.
#[derive(Default)]
struct Bed {
    woken: Mutex<bool>,
    rung: Condvar,
    wakes: AtomicU64,
}

impl Bed {
    fn sleep(&self) {
        let woken = self.woken.lock().unwrap();
        let limit = Duration::from_secs(60);
        let (mut woken, waited) =
            self.rung.wait_timeout_while(woken, limit, |woken| !*woken).unwrap();
        assert!(!waited.timed_out(), "a wake was lost");
        *woken = false;
    }
}

impl Wake for Bed {
    fn wake(&self) {
        self.wakes.fetch_add(1, Relaxed);
        *self.woken.lock().unwrap() = true;
        self.rung.notify_one();
    }
}

/// Counts its drops.
struct Item(u64, Arc<AtomicU64>);

impl Drop for Item {
    fn drop(&mut self) {
        self.1.fetch_add(1, Relaxed);
    }
}

/// Entry `n` is for the reader `n % 3` and for reader 0; the last is for all.
fn mask_of(number: u64) -> u64 {
    if number + 1 == ENTRIES { 0b111 } else { 0b001 | 1 << (number % 3) }
}

/// Reads to the end; returns its parks.
fn read_all(mut reader: Reader<Item>, bed: &Bed) -> u64 {
    let bit = 1 << reader.number();
    let mut expected = (0..ENTRIES).filter(|&number| mask_of(number) & bit != 0);
    let (mut passed, mut parks) = (0, 0);
    while passed < ENTRIES {
        let now = reader.drain(37, |item| assert_eq!(Some(item.0), expected.next()));
        passed += now as u64;
        if now == 0 {
            parks += 1;
            reader.park(|| bed.sleep());
        }
    }
    assert_eq!(expected.next(), None);
    parks
}

#[test]
fn every_reader_gets_its_entries_in_order_and_no_wake_is_lost() {
    let beds: Vec<_> = (0..3).map(|_| Arc::new(Bed::default())).collect();
    let wakers = beds.iter().map(|bed| bed.clone() as Arc<dyn Wake>).collect();
    let (mut writer, readers) = ring(64, 1_000, wakers);
    let dropped = Arc::new(AtomicU64::new(0));
    std::thread::scope(|scope| {
        let threads = readers.into_iter().zip(&beds);
        let threads: Vec<_> =
            threads.map(|(reader, bed)| scope.spawn(move || read_all(reader, bed))).collect();
        for number in 0..ENTRIES {
            while !writer.has_room(1, 20) {
                writer.publish();
                writer.wake_lagging();
                std::thread::yield_now();
            }
            writer.push(mask_of(number), 20, Item(number, dropped.clone()));
            if number % 5 == 0 {
                writer.publish();
            }
        }
        writer.publish();
        for (thread, bed) in threads.into_iter().zip(&beds) {
            let parks = thread.join().unwrap();
            assert!(bed.wakes.load(Relaxed) <= parks, "at most one wake per park");
        }
    });
    assert_eq!(writer.release(), 0);
    assert_eq!(dropped.load(Relaxed), ENTRIES, "each is dropped once");
}
