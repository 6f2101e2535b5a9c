//! Whatever is asked for, in whichever order, and whatever is dropped in between: what is given is
//! what is rendered of the entries one by one.

use std::sync::Arc;

use proptest::prelude::*;

use super::super::sample;
use super::*;
use crate::message::Message;

const WS: Encoding = Encoding::ALL[0];

fn message(seq: u64, bytes: usize) -> Arc<Message> {
    sample::message(seq * 10, seq, false, 1, vec![b'a' + (seq % 26) as u8; bytes])
}

/// A log from `first` on, and its lane.
struct World {
    entries: Entries,
    lane: Lane,
    renderer: Renderer,
}

impl World {
    fn new(first: u64, lengths: impl IntoIterator<Item = usize>) -> Self {
        let mut entries = Entries::numbered_from(first);
        (first..).zip(lengths).for_each(|(seq, bytes)| entries.append(message(seq, bytes)));
        let renderer = Renderer::new(Epoch::from_random(7));
        Self { entries, lane: Lane::default(), renderer }
    }

    fn end(&self) -> u64 {
        self.entries.end()
    }

    fn append(&mut self, bytes: usize) {
        self.entries.append(message(self.end(), bytes));
    }

    /// Where a run ends, its bytes, and its slice.
    fn run(&mut self, want: Want) -> (u64, Vec<u8>, Slice) {
        let viewed = Viewed { entries: &self.entries, view: None };
        let run = self.lane.run(want, WS, viewed, &mut self.renderer);
        (run.next, run.bytes().to_vec(), run.slice())
    }

    fn expected(&self, seqs: std::ops::Range<u64>) -> Vec<u8> {
        let mut out = Vec::new();
        for seq in seqs {
            self.entries.at(seq).render(None, WS, Epoch::from_random(7), &mut out);
        }
        out
    }

    /// Reads everything from `seq` on as visits do. Returns in how many sends.
    fn read(&mut self, mut seq: u64, bytes: usize) -> usize {
        let (mut got, mut sends) = (Vec::new(), 0);
        let expected = self.expected(seq..self.end());
        while seq < self.end() {
            let (next, bytes, _) = self.run(Want { seq, before: u64::MAX, bytes, ahead: true });
            assert!(next > seq);
            got.extend(bytes);
            (seq, sends) = (next, sends + 1);
        }
        assert!(got == expected);
        sends
    }

    fn check(&mut self, held: &[Slice]) {
        let viewed = Viewed { entries: &self.entries, view: None };
        self.lane.invariants(WS, viewed, &mut self.renderer.another());
        let mut pages: Vec<_> = self.lane.pages().chain(held.iter().map(Slice::page)).collect();
        pages.sort_by_key(|page| Rc::as_ptr(page));
        pages.dedup_by_key(|page| Rc::as_ptr(page));
        let memory: usize = pages.iter().map(|page| page.memory()).sum();
        assert_eq!(self.renderer.pages.bytes(), memory, "the count is true");
    }

    fn pages(&self) -> Vec<(u64, u64)> {
        self.lane.pages().map(|page| (page.first(), page.end())).collect()
    }
}

#[test]
fn what_nobody_asks_for_is_not_rendered() {
    let mut world = World::new(10, [1_000; 1_000]);
    let (next, bytes, _) = world.run(Want { seq: 500, before: 510, bytes: 64 << 10, ahead: false });
    assert!(next == 510 && bytes == world.expected(500..510));
    assert_eq!((world.pages(), world.renderer.work), (vec![(500, 510)], bytes.len()));
    // Who reads on has it rendered ahead, a page at most.
    let (next, ..) = world.run(Want { seq: 509, before: u64::MAX, bytes: 64 << 10, ahead: true });
    assert_eq!(world.pages(), [(500, next)]);
    assert!((525..=532).contains(&next), "{next}");
    assert_eq!(world.read(next, 64 << 10), 15);
}

#[test]
fn a_crowd_shares_what_the_first_of_it_rendered() {
    let mut world = World::new(1, [300; 2_000]);
    assert_eq!(world.read(1, 64 << 10), 19);
    let work = world.renderer.work;
    for seq in (1..2_000).step_by(97) {
        world.read(seq, 64 << 10);
    }
    assert_eq!(world.renderer.work, work, "nothing is rendered twice");
    world.check(&[]);
}

#[test]
fn those_who_come_each_a_message_further_back_leave_no_page_for_each() {
    let mut world = World::new(1, [300; 1_000]);
    for seq in (1..=1_000).rev() {
        world.run(Want { seq, before: u64::MAX, bytes: 64 << 10, ahead: true });
    }
    assert_eq!(world.pages().first(), Some(&(1, world.pages()[0].1)));
    let sends = world.read(1, 64 << 10);
    assert!(sends < 120, "{sends} sends where it would be ten");
    world.check(&[]);
}

#[test]
fn a_long_message_has_a_page_alone() {
    let mut world = World::new(1, [10, 10, 200_000, 10, PAGE_BYTES, 10]);
    assert_eq!(world.read(1, 64 << 10), 5);
    assert_eq!(world.pages(), [(1, 3), (3, 4), (4, 5), (5, 6), (6, 7)]);
    world.check(&[]);
}

#[test]
fn a_page_that_is_held_is_never_written_again() {
    let mut world = World::new(1, [100; 3]);
    let (_, before, held) = world.run(Want { seq: 1, before: 4, bytes: 64 << 10, ahead: true });
    world.append(100);
    world.read(3, 64 << 10);
    assert_eq!((world.pages(), held.bytes()), (vec![(1, 4), (4, 5)], &before[..]));
    world.check(&[held]);
    world.append(100);
    world.read(5, 64 << 10);
    assert_eq!(world.pages(), [(1, 4), (4, 6)]);
}

#[test]
fn the_newest_page_is_gone_on_with() {
    let mut world = World::new(1, [100]);
    for seq in 2..100 {
        world.append(100);
        let (next, bytes, _) =
            world.run(Want { seq, before: u64::MAX, bytes: 64 << 10, ahead: true });
        assert!(next == seq + 1 && bytes == world.expected(seq..next));
    }
    assert_eq!(world.pages(), [(2, 100)]);
}

proptest! {
    #[test]
    fn what_is_given_is_what_the_entries_say(
        lengths in prop::collection::vec(prop_oneof![
            8 => 0..300_usize, 2 => 300..9_000_usize, 1 => 30_000..70_000_usize], 1..120),
        steps in prop::collection::vec((0..9u8, 0..1_000u64, 0..200u64, 1..90_000usize), 1..120),
    ) {
        let mut world = World::new(1_000, lengths);
        let mut held: Vec<(Slice, Vec<u8>)> = Vec::new();
        for (kind, at, count, bytes) in steps {
            let seq = world.entries.first() + at % world.entries.len() as u64;
            match kind {
                0..=4 => {
                    let before = if kind == 0 { u64::MAX } else { seq + 1 + count };
                    let want = Want { seq, before, bytes, ahead: kind < 3 };
                    let (next, given, slice) = world.run(want);
                    prop_assert!(next > seq && next <= before.min(world.end()));
                    let expected = world.expected(seq..next);
                    prop_assert!(given == expected && (next == seq + 1 || given.len() <= bytes));
                    if kind == 4 {
                        held.push((slice, given));
                    }
                }
                5 => world.append(bytes % 2_000),
                6 if world.entries.len() > 1 => {
                    world.entries.pop();
                    world.lane.drop_before(world.entries.first(), &mut world.renderer.pages);
                }
                7 => world.lane.evict(|page| page.first() % 3 == at % 3),
                _ => drop(held.pop()),
            }
            for (slice, bytes) in &held {
                prop_assert!(slice.bytes() == bytes, "what is held stays");
            }
            let slices: Vec<Slice> = held.iter().map(|(slice, _)| slice.clone()).collect();
            world.check(&slices);
        }
    }
}
