//! The ring against a list that anyone can read: whatever the order of calls, both say the same.

use std::collections::VecDeque;
use std::sync::Arc;

use proptest::prelude::*;

use super::{WakeCounter, ring_with_counters};
use crate::ring::{Reader, Writer};

const ENTRIES: usize = 8;
const BYTES: usize = 100;
const READERS: usize = 3;

#[derive(Debug, Clone)]
enum Op {
    /// Ask for room for all of these together; where there is, stage them.
    Push(Vec<(u64, usize)>),
    Publish,
    Release,
    Drain(usize, usize),
    DropReader(usize),
    /// Park; publish these one by one meanwhile, as far as there is room.
    Park(usize, Vec<(u64, usize)>),
}

fn op() -> impl Strategy<Value = Op> {
    // Masks may name a reader that does not exist, entries may exceed the whole byte budget.
    let entry = || (0u64..1 << (READERS + 1), prop_oneof![9 => 0usize..40, 1 => 0usize..150]);
    prop_oneof![
        6 => prop::collection::vec(entry(), 1..4).prop_map(Op::Push),
        4 => Just(Op::Publish),
        1 => Just(Op::Release),
        8 => (0..READERS, 0usize..6).prop_map(|(reader, max)| Op::Drain(reader, max)),
        1 => (0..READERS).prop_map(Op::DropReader),
        3 => (0..READERS, prop::collection::vec(entry(), 0..6))
            .prop_map(|(reader, entries)| Op::Park(reader, entries)),
    ]
}

struct Kept {
    number: u64,
    mask: u64,
    bytes: usize,
    item: Arc<u64>,
}

/// What the ring should be.
#[derive(Default)]
struct Oracle {
    kept: VecDeque<Kept>,
    /// How many of `kept` are published.
    published: u64,
    next: u64,
    cursors: [Option<u64>; READERS],
}

impl Oracle {
    fn bytes_from(&self, cursor: u64) -> usize {
        self.kept.iter().filter(|kept| kept.number >= cursor).map(|kept| kept.bytes).sum()
    }

    fn trim(&mut self) -> Vec<Arc<u64>> {
        let mut dropped = Vec::new();
        let slowest = self.cursors.iter().flatten().min().copied().unwrap_or(u64::MAX);
        while self.kept.front().is_some_and(|kept| kept.number < slowest) {
            dropped.extend(self.kept.pop_front().map(|kept| kept.item));
        }
        dropped
    }

    fn has_room(&mut self, entries: usize, bytes: usize) -> bool {
        self.trim();
        let all_bytes = self.bytes_from(0) + bytes;
        self.kept.len() + entries <= ENTRIES && (self.kept.is_empty() || all_bytes <= BYTES)
    }

    fn push(&mut self, mask: u64, bytes: usize) -> Arc<u64> {
        let item = Arc::new(self.next);
        if mask & ((1 << READERS) - 1) != 0 {
            self.kept.push_back(Kept { number: self.next, mask, bytes, item: item.clone() });
            self.next += 1;
        }
        item
    }

    fn lag(&self, reader: usize) -> u64 {
        self.cursors[reader].map_or(0, |cursor| self.published - cursor)
    }

    fn drain(&mut self, reader: usize, max: usize) -> (usize, Vec<u64>) {
        let Some(from) = self.cursors[reader] else { return (0, vec![]) };
        let to = self.published.min(from + max as u64);
        self.cursors[reader] = Some(to);
        let passed = self.kept.iter().filter(|kept| (from..to).contains(&kept.number));
        let taken = passed.filter(|kept| kept.mask >> reader & 1 == 1);
        ((to - from) as usize, taken.map(|kept| *kept.item).collect())
    }

    /// Whether a publish that begins at entry `from` wakes this reader if it is parked.
    fn wakes(&self, reader: usize, from: u64) -> bool {
        let Some(cursor) = self.cursors[reader] else { return false };
        let mut new = self.kept.iter().filter(|kept| kept.number >= from);
        let interested = new.any(|kept| kept.mask >> reader & 1 == 1);
        let entries = self.published - cursor;
        interested || entries as usize * 2 >= ENTRIES || self.bytes_from(cursor) * 2 >= BYTES
    }
}

/// Both, side by side.
struct Pair {
    oracle: Oracle,
    writer: Writer<Arc<u64>>,
    readers: Vec<Option<Reader<Arc<u64>>>>,
    counters: Vec<Arc<WakeCounter>>,
}

impl Pair {
    fn new() -> Self {
        let (writer, readers, counters) = ring_with_counters(ENTRIES, BYTES, READERS);
        let oracle = Oracle { cursors: [Some(0); READERS], ..Oracle::default() };
        Self { oracle, writer, readers: readers.into_iter().map(Some).collect(), counters }
    }

    fn push(&mut self, entries: &[(u64, usize)]) {
        let bytes = entries.iter().map(|entry| entry.1).sum();
        let room = self.writer.has_room(entries.len(), bytes);
        assert_eq!(room, self.oracle.has_room(entries.len(), bytes));
        for &(mask, bytes) in entries.iter().filter(|_| room) {
            self.writer.push(mask, bytes, self.oracle.push(mask, bytes));
        }
    }

    /// Publishes; says whether that wakes `parked`.
    fn publish(&mut self, parked: Option<usize>) -> bool {
        let from = std::mem::replace(&mut self.oracle.published, self.oracle.next);
        self.writer.publish();
        from < self.oracle.next && parked.is_some_and(|reader| self.oracle.wakes(reader, from))
    }

    fn park(&mut self, number: usize, entries: &[(u64, usize)]) {
        let Some(reader) = self.readers[number].take() else { return };
        let news = self.oracle.lag(number) > 0;
        let mut expected = 0;
        let slept = reader.park(|| {
            for entry in entries {
                self.push(std::slice::from_ref(entry));
                expected |= usize::from(self.publish(Some(number)));
            }
        });
        assert_eq!(slept.is_none(), news);
        assert_eq!(self.counters[number].wakes(), expected);
        self.readers[number] = Some(reader);
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Push(entries) => self.push(entries),
            Op::Publish => {
                self.publish(None);
            }
            Op::Release => {
                let dropped = self.oracle.trim();
                assert_eq!(self.writer.release(), self.oracle.kept.len());
                assert!(dropped.iter().all(|item| Arc::strong_count(item) == 1));
            }
            &Op::Drain(number, max) => {
                let Some(reader) = &mut self.readers[number] else { return };
                let mut taken = Vec::new();
                let passed = reader.drain(max, |item| taken.push(**item));
                assert_eq!((passed, taken), self.oracle.drain(number, max));
                assert_eq!(reader.waiting(), self.oracle.lag(number));
            }
            &Op::DropReader(number) => {
                self.readers[number] = None;
                self.oracle.cursors[number] = None;
            }
            Op::Park(number, entries) => self.park(*number, entries),
        }
        for number in 0..READERS {
            assert_eq!(self.writer.lag(number), self.oracle.lag(number));
        }
        // What someone has still to read is alive: the oracle's and the ring's.
        assert!(self.oracle.kept.iter().all(|kept| Arc::strong_count(&kept.item) == 2));
        assert!(
            self.counters.iter().all(|counter| counter.wakes() == 0),
            "only a parked reader is woken"
        );
    }
}

proptest! {
    #[test]
    fn the_ring_does_what_a_list_does(
        ops in prop::collection::vec(op(), 0..120),
        writer_first: bool,
    ) {
        let mut pair = Pair::new();
        ops.iter().for_each(|op| pair.apply(op));
        let Pair { oracle, writer, readers, .. } = pair;
        if writer_first {
            drop(writer);
            drop(readers);
        } else {
            drop(readers);
            drop(writer);
        }
        prop_assert!(oracle.kept.iter().all(|kept| Arc::strong_count(&kept.item) == 1));
    }
}
