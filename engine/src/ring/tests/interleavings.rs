//! The ring and the parking protocol under loom: every interleaving (up to a number of forced
//! preemptions) and every value that an atomic load may return. Run by `scripts/loom`.
//!
//! A sleep is a wait for a flag that only the reader's waker raises, so a lost wake is a deadlock,
//! which loom reports. Access to a slot that is not ordered is a data race, which loom reports
//! too. The canaries at the end leave out one fence each and must deadlock: they show that the
//! scenarios can fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use loom::sync::Notify;
use loom::thread;

use crate::ring::primitive::{LEFT_OUT, Side};
use crate::ring::{Reader, Wake, Writer, ring};

const ALL: u64 = u64::MAX;
const BYTES: usize = 1_000;

/// A bed that is left only when its bell rings. Its counts are std's: they belong to the test, and
/// must order nothing in the model.
struct Bed {
    bell: Notify,
    wakes: AtomicUsize,
}

impl Wake for Bed {
    fn wake(&self) {
        self.wakes.fetch_add(1, Relaxed);
        self.bell.notify();
    }
}

fn ring_with_beds<T: Send + Sync>(
    entries: usize,
    readers: usize,
) -> (Writer<T>, Vec<Reader<T>>, Vec<Arc<Bed>>) {
    let bed = |_| Arc::new(Bed { bell: Notify::new(), wakes: AtomicUsize::new(0) });
    let beds: Vec<_> = (0..readers).map(bed).collect();
    let wakers = beds.iter().map(|bed| bed.clone() as Arc<dyn Wake>).collect();
    let (writer, all) = ring(entries, BYTES, wakers);
    (writer, all, beds)
}

/// Explores `scenario` with at most `preemptions` forced switches (a thread that waits or yields
/// is no forced switch): three for two threads, two for three, which keeps a run within seconds.
fn explore(preemptions: usize, scenario: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    model.check(scenario);
}

/// Pushes one entry for `mask` as soon as there is room, and publishes it.
fn publish<T: Send + Sync>(writer: &mut Writer<T>, mask: u64, item: T) {
    while !writer.has_room(1, 1) {
        thread::yield_now();
    }
    writer.push(mask, 1, item);
    writer.publish();
}

/// Reads until `count` entries are passed, awake.
fn read<T: Clone>(reader: &mut Reader<T>, count: usize) -> Vec<T> {
    let (mut taken, mut passed) = (Vec::new(), 0);
    while passed < count {
        match reader.drain(2, |item| taken.push(item.clone())) {
            0 => thread::yield_now(),
            more => passed += more,
        }
    }
    taken
}

/// Reads until `count` entries are passed, asleep in between. Returns what was taken and how often
/// the reader parked or tried to.
fn read_parking<T: Clone>(reader: &mut Reader<T>, bed: &Bed, count: usize) -> (Vec<T>, usize) {
    let (mut taken, mut passed, mut parks) = (Vec::new(), 0, 0);
    while passed < count {
        match reader.drain(2, |item| taken.push(item.clone())) {
            0 => {
                parks += 1;
                reader.park(|| bed.bell.wait());
            }
            more => passed += more,
        }
    }
    (taken, parks)
}

#[test]
fn a_reader_gets_all_in_order_while_slots_are_used_again() {
    explore(3, || {
        let (mut writer, mut readers, _beds) = ring_with_beds(2, 1);
        let mut reader = readers.remove(0);
        let reading = thread::spawn(move || assert_eq!(read(&mut reader, 4), [0, 1, 2, 3]));
        (0..4).for_each(|number| publish(&mut writer, ALL, number));
        reading.join().unwrap();
    });
}

/// Two readers, asleep when there is nothing to read; entry `n` is for `masks[n]`. The ring is of
/// one or two `entries`, so that one is half of it and wakes both.
fn two_readers(entries: usize, masks: &'static [u64]) {
    explore(2, move || {
        let (mut writer, readers, beds) = ring_with_beds(entries, 2);
        let reading = readers.into_iter().zip(beds).map(|(mut reader, bed)| {
            thread::spawn(move || {
                let (taken, _) = read_parking(&mut reader, &bed, masks.len());
                let own = (0..masks.len()).filter(|&n| masks[n] >> reader.number() & 1 == 1);
                assert_eq!(taken, own.collect::<Vec<_>>());
            })
        });
        let reading: Vec<_> = reading.collect();
        masks.iter().enumerate().for_each(|(number, &mask)| publish(&mut writer, mask, number));
        reading.into_iter().for_each(|reader| reader.join().unwrap());
    });
}

#[test]
fn the_slower_of_two_readers_gates_the_writer() {
    two_readers(1, &[0b11, 0b11]);
}

#[test]
fn a_reader_skips_what_is_for_others() {
    two_readers(2, &[0b01, 0b10]);
}

/// One sleeper, two publishes. Deadlocks when a wake is lost.
fn park_beside_a_writer(preemptions: usize) {
    explore(preemptions, || {
        let (mut writer, mut readers, beds) = ring_with_beds(2, 1);
        let (mut reader, bed) = (readers.remove(0), beds[0].clone());
        let reading = thread::spawn(move || read_parking(&mut reader, &bed, 2));
        (0..2).for_each(|number| publish(&mut writer, ALL, number));
        let (taken, parks) = reading.join().unwrap();
        assert_eq!(taken, [0, 1]);
        assert!(beds[0].wakes.load(Relaxed) <= parks, "at most one wake per park");
    });
}

#[test]
fn no_wake_is_lost_and_none_is_given_twice() {
    park_beside_a_writer(3);
}

#[test]
fn a_sleeper_half_a_ring_behind_is_woken_by_what_is_for_others() {
    explore(3, || {
        let (mut writer, mut readers, beds) = ring_with_beds(4, 2);
        let (_other, mut reader, bed) = (readers.pop(), readers.remove(0), beds[0].clone());
        let reading = thread::spawn(move || read_parking(&mut reader, &bed, 2).0);
        (0..2).for_each(|number| writer.push(0b10, 1, number));
        writer.publish();
        assert!(reading.join().unwrap().is_empty());
    });
}

#[test]
fn a_sleeper_that_holds_the_writer_up_is_woken() {
    explore(3, || {
        let (mut writer, mut readers, beds) = ring_with_beds(4, 2);
        let mut other = readers.pop().unwrap();
        let (mut reader, bed) = (readers.remove(0), beds[0].clone());
        let reading = thread::spawn(move || read_parking(&mut reader, &bed, 1).0);
        publish(&mut writer, 0b10, 0);
        assert_eq!(read(&mut other, 1), [0]);
        while !writer.has_room(4, 1) {
            writer.wake_lagging();
            thread::yield_now();
        }
        assert!(reading.join().unwrap().is_empty());
    });
}

/// Counts its drops, outside of the model.
struct Item(Arc<AtomicUsize>);

impl Drop for Item {
    fn drop(&mut self) {
        self.0.fetch_add(1, Relaxed);
    }
}

#[test]
fn each_entry_is_dropped_once_whoever_goes_first() {
    explore(2, || {
        let dropped = Arc::new(AtomicUsize::new(0));
        let (mut writer, readers, _beds) = ring_with_beds(2, 2);
        let reading = readers.into_iter().map(|mut reader| {
            // One entry at most, then gone: it gates nobody, read or unread.
            thread::spawn(move || {
                let _ = reader.drain(1, |_| ());
            })
        });
        let reading: Vec<_> = reading.collect();
        (0..3).for_each(|_| publish(&mut writer, ALL, Item(dropped.clone())));
        if writer.has_room(1, 1) {
            writer.push(ALL, 1, Item(dropped.clone()));
        } else {
            drop(Item(dropped.clone()));
        }
        drop(writer);
        reading.into_iter().for_each(|reader| reader.join().unwrap());
        assert_eq!(dropped.load(Relaxed), 4);
    });
}

#[test]
fn what_a_gone_writer_left_is_read_and_dropped_once() {
    explore(3, || {
        let dropped = Arc::new(AtomicUsize::new(0));
        let (mut writer, mut readers, _beds) = ring_with_beds(2, 1);
        let mut reader = readers.remove(0);
        let reading = thread::spawn(move || {
            let passed = reader.drain(1, |_| ());
            passed + reader.drain(1, |_| ())
        });
        (0..2).for_each(|_| publish(&mut writer, ALL, Item(dropped.clone())));
        drop(writer);
        assert!(reading.join().unwrap() <= 2);
        assert_eq!(dropped.load(Relaxed), 2);
    });
}

#[test]
#[should_panic(expected = "deadlock")]
fn canary_a_writer_without_its_fence_loses_a_wake() {
    LEFT_OUT.set(Some(Side::Writer));
    park_beside_a_writer(3);
}

#[test]
#[should_panic(expected = "deadlock")]
fn canary_a_reader_without_its_fence_loses_a_wake() {
    LEFT_OUT.set(Some(Side::Reader));
    park_beside_a_writer(3);
}
