//! The ring's promises, one by one, on one thread: a park's `sleep` may use the writer, so even
//! wakes need no second one.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::{drained, ring_with_counters};
use crate::ring::{Reader, Wake, Writer, ring};

const ALL: u64 = u64::MAX;

#[test]
fn what_is_staged_is_seen_only_when_published() {
    let (mut writer, mut readers, _) = ring_with_counters(4, 100, 1);
    writer.push(ALL, 1, 'a');
    writer.push(ALL, 1, 'b');
    assert_eq!((readers[0].waiting(), drained(&mut readers[0], 9)), (0, vec![]));
    writer.publish();
    assert_eq!((readers[0].waiting(), writer.lag(0)), (2, 2));
    assert_eq!(drained(&mut readers[0], 9), ['a', 'b']);
    assert_eq!((readers[0].waiting(), writer.lag(0)), (0, 0));
}

#[test]
fn a_drain_passes_at_most_as_many_as_it_was_told() {
    let (mut writer, mut readers, _) = ring_with_counters(8, 100, 2);
    for (number, mask) in [0b01, 0b10, 0b11, 0b10].into_iter().enumerate() {
        writer.push(mask, 1, number);
    }
    writer.publish();
    assert_eq!(drained(&mut readers[0], 0), Vec::<usize>::new());
    assert_eq!(readers[0].drain(2, |&number| assert_eq!(number, 0)), 2, "skipped ones count");
    assert_eq!(drained(&mut readers[0], usize::MAX), [2]);
    assert_eq!(drained(&mut readers[1], 3), [1, 2]);
    assert_eq!((writer.lag(0), writer.lag(1)), (0, 1));
}

#[test]
fn whoever_has_enough_is_given_no_more() {
    let (mut writer, mut readers, _) = ring_with_counters(8, 100, 1);
    (0..5).for_each(|number| writer.push(ALL, 1, number));
    writer.publish();
    let mut given = Vec::new();
    let passed = readers[0].drain_while(8, |&number| {
        given.push(number);
        number < 1
    });
    assert_eq!((passed, readers[0].waiting()), (2, 3));
    assert_eq!(drained(&mut readers[0], 9), [2, 3, 4]);
    assert_eq!(given, [0, 1], "the one that was enough was given, and not again");
}

#[test]
fn the_slowest_reader_gates_the_writer() {
    let (mut writer, mut readers, _) = ring_with_counters(2, 100, 2);
    writer.push(ALL, 1, 1);
    writer.push(ALL, 1, 2);
    writer.publish();
    assert_eq!(drained(&mut readers[0], 2), [1, 2]);
    assert!(!writer.has_room(1, 1), "reader 1 has read nothing");
    assert_eq!(drained(&mut readers[1], 1), [1]);
    assert!(writer.has_room(1, 1));
    assert!(!writer.has_room(2, 1), "one slot is free, not two");
    drop(readers.pop());
    assert!(writer.has_room(2, 1), "a reader that is gone gates nobody");
    assert_eq!(writer.lag(1), 0);
}

#[test]
fn bytes_bound_the_ring_as_entries_do() {
    let (mut writer, mut readers, _) = ring_with_counters(8, 100, 1);
    assert!(writer.has_room(1, 60));
    writer.push(ALL, 60, 'a');
    assert!(writer.has_room(1, 40) && !writer.has_room(1, 41));
    assert!(!writer.has_room(1, 500), "bigger than the budget, and the ring is not empty");
    writer.publish();
    readers[0].drain(1, |_| ());
    assert!(writer.has_room(2, 500), "bigger than the budget, and the ring is empty");
    writer.push(ALL, 250, 'b');
    writer.push(ALL, 250, 'c');
    assert!(!writer.has_room(1, 0), "the overdraft was for those two");
}

#[test]
#[should_panic(expected = "ask has_room first")]
fn pushing_past_the_last_slot_panics() {
    let (mut writer, _readers, _) = ring_with_counters(2, 100, 1);
    (0..3).for_each(|number| writer.push(ALL, 0, number));
}

#[test]
#[should_panic(expected = "ask has_room first")]
fn pushing_past_the_bytes_panics() {
    let (mut writer, _readers, _) = ring_with_counters(8, 100, 1);
    (0..3).for_each(|number| writer.push(ALL, 40, number));
}

#[test]
#[should_panic(expected = "never fit")]
fn asking_for_more_slots_than_there_are_panics() {
    ring_with_counters::<u8>(2, 100, 1).0.has_room(3, 0);
}

#[test]
fn an_item_for_nobody_takes_no_entry() {
    let (mut writer, readers, _) = ring_with_counters(2, 100, 2);
    let item = Arc::new(());
    writer.push(0, 1, item.clone());
    writer.push(0b100, 1, item.clone());
    writer.publish();
    assert_eq!((Arc::strong_count(&item), writer.release(), readers[0].waiting()), (1, 0, 0));
}

#[test]
fn the_writer_drops_what_all_have_passed() {
    let (mut writer, mut readers, _) = ring_with_counters(4, 100, 2);
    let item = Arc::new(());
    (0..3).for_each(|_| writer.push(0b01, 1, item.clone()));
    writer.publish();
    readers[0].drain(3, |_| ());
    assert_eq!((writer.release(), Arc::strong_count(&item)), (3, 4), "reader 1 skips, but later");
    readers[1].drain(2, |_| panic!("not for reader 1"));
    assert_eq!((writer.release(), Arc::strong_count(&item)), (1, 2));
    writer.push(ALL, 1, item.clone());
    assert_eq!(writer.release(), 2, "what is staged is held");
    drop(readers);
    assert_eq!((writer.release(), Arc::strong_count(&item)), (0, 1));
    assert!(writer.has_room(4, 100));
}

#[test]
fn whoever_goes_last_leaves_nothing() {
    let item = Arc::new(());
    let filled = || {
        let (mut writer, mut readers, _) = ring_with_counters(4, 100, 2);
        (0..3).for_each(|_| writer.push(ALL, 1, item.clone()));
        writer.publish();
        writer.push(ALL, 1, item.clone());
        readers[0].drain(1, |_| ());
        readers[1].drain(2, |_| ());
        assert_eq!(Arc::strong_count(&item), 5);
        (writer, readers)
    };
    let (writer, mut readers) = filled();
    drop(writer);
    assert_eq!(Arc::strong_count(&item), 3, "passed by both, and staged: gone");
    assert_eq!(drained(&mut readers[0], 9).len(), 2, "a ring without a writer can be read out");
    drop(readers);
    assert_eq!(Arc::strong_count(&item), 1);

    let (writer, readers) = filled();
    drop(readers);
    drop(writer);
    assert_eq!(Arc::strong_count(&item), 1);
}

#[test]
fn an_entry_whose_reading_panicked_is_not_given_again() {
    let (mut writer, mut readers, _) = ring_with_counters(4, 100, 1);
    (1..=3).for_each(|number| writer.push(ALL, 1, number));
    writer.publish();
    let ended = catch_unwind(AssertUnwindSafe(|| {
        readers[0].drain(3, |&number| assert_ne!(number, 2, "on purpose"));
    }));
    assert!(ended.is_err());
    assert_eq!(writer.release(), 1, "the writer knows how far it came");
    assert_eq!(drained(&mut readers[0], 9), [3]);
}

/// Parks reader 0 of an 8-entry, 100-byte ring with two readers, lets `act` write meanwhile, and
/// counts the wakes.
fn wakes_of(act: impl FnOnce(&mut Writer<u8>)) -> usize {
    let (mut writer, readers, counters) = ring_with_counters(8, 100, 2);
    assert!(readers[0].park(|| act(&mut writer)).is_some());
    assert_eq!(counters[1].wakes(), 0, "reader 1 is not parked");
    counters[0].wakes()
}

fn publish(writer: &mut Writer<u8>, mask: u64, bytes: usize) {
    writer.push(mask, bytes, 0);
    writer.publish();
}

#[test]
fn a_parked_reader_is_woken_once_by_what_is_for_it() {
    assert_eq!(wakes_of(|writer| publish(writer, 0b01, 1)), 1);
    assert_eq!(wakes_of(|writer| (0..5).for_each(|_| publish(writer, ALL, 1))), 1);
    assert_eq!(wakes_of(|writer| writer.push(ALL, 1, 0)), 0, "nothing is published yet");
    assert_eq!(
        wakes_of(|writer| {
            writer.push(0b01, 1, 0);
            publish(writer, 0b10, 1);
        }),
        1,
        "the interest of a batch is that of all its entries"
    );
}

#[test]
fn a_parked_reader_is_woken_when_half_a_ring_behind() {
    assert_eq!(wakes_of(|writer| (0..3).for_each(|_| publish(writer, 0b10, 1))), 0);
    assert_eq!(wakes_of(|writer| (0..4).for_each(|_| publish(writer, 0b10, 1))), 1);
    assert_eq!(wakes_of(|writer| publish(writer, 0b10, 49)), 0);
    assert_eq!(wakes_of(|writer| publish(writer, 0b10, 50)), 1);
}

#[test]
fn half_a_ring_is_counted_from_the_readers_own_cursor() {
    let (mut writer, mut readers, counters) = ring_with_counters(8, 100, 2);
    (0..3).for_each(|_| publish(&mut writer, 0b10, 20));
    readers[0].drain(9, |_| ());
    readers[1].drain(1, |_| ());
    let slept = readers[0].park(|| {
        publish(&mut writer, 0b10, 20);
        writer.release();
        publish(&mut writer, 0b10, 20);
        assert_eq!(counters[0].wakes(), 0, "40 bytes behind");
        publish(&mut writer, 0b10, 10);
        assert_eq!(counters[0].wakes(), 1, "50 bytes behind");
    });
    assert!(slept.is_some());
}

#[test]
fn a_writer_that_waits_for_room_wakes_who_holds_it_up() {
    let nothing_to_read = wakes_of(|writer| writer.wake_lagging());
    assert_eq!(nothing_to_read, 0);
    let one_behind = wakes_of(|writer| {
        publish(writer, 0b10, 1);
        writer.wake_lagging();
        writer.wake_lagging();
    });
    assert_eq!(one_behind, 1);
}

#[test]
fn nobody_awake_is_woken() {
    let (mut writer, mut readers, counters) = ring_with_counters(4, 100, 1);
    writer.push(ALL, 1, 'a');
    writer.publish();
    assert_eq!(readers[0].park(|| panic!("there is something to read")), None::<()>);
    assert_eq!(drained(&mut readers[0], 1), ['a']);
    assert_eq!(readers[0].park(|| "slept"), Some("slept"));
    writer.push(ALL, 1, 'b');
    writer.publish();
    writer.wake_lagging();
    assert_eq!(counters[0].wakes(), 0, "both parks are over");
    drained(&mut readers[0], 1);
    let ended = catch_unwind(AssertUnwindSafe(|| readers[0].park(|| panic!("on purpose"))));
    assert!(ended.is_err());
    writer.push(ALL, 1, 'c');
    writer.publish();
    assert_eq!(counters[0].wakes(), 0, "a sleep that panicked is over, too");
}

#[test]
fn sixty_four_readers_have_sixty_four_bits() {
    let (mut writer, mut readers, _) = ring_with_counters(2, 100, 64);
    writer.push(1 << 63, 1, 'z');
    writer.publish();
    assert_eq!((readers[63].number(), drained(&mut readers[63], 1)), (63, vec!['z']));
    assert!((0..63).all(|number| drained(&mut readers[number], 1).is_empty()));
    assert_eq!(writer.release(), 0);
}

#[test]
fn a_ring_of_impossible_shape_is_refused() {
    let shape = |entries: usize, readers: usize| {
        let wakers = (0..readers).map(|_| Arc::new(super::WakeCounter::default()) as Arc<dyn Wake>);
        let wakers: Vec<_> = wakers.collect();
        catch_unwind(AssertUnwindSafe(|| {
            drop::<(Writer<u8>, Vec<Reader<u8>>)>(ring(entries, 1, wakers))
        }))
    };
    assert!(shape(0, 1).is_err() && shape(3, 1).is_err());
    assert!(shape(4, 0).is_err() && shape(4, 65).is_err());
    assert!(shape(1, 1).is_ok() && shape(4, 64).is_ok());
}
