//! A timer wheel: one turn of buckets, each a list that runs through the connections themselves.
//!
//! A connection has one deadline at a time and stands in one bucket at most, so the wheel allocates
//! nothing, whoever comes and goes. Moving a deadline later costs nothing: the connection is looked
//! at at the old time, is early, and is put in again. So what happens for every message never
//! touches the wheel. A deadline that lies beyond one turn is put in again as often as needed.
//!
//! ```text
//! heads     | 7 | - | 3 | ...       the first connection of each bucket
//!             |       |
//!             7 - 2   3             connections, linked both ways by their indexes
//! ```

use super::connection::Connection;
use super::link::{Link, NOBODY, NOWHERE};
use super::table::ConnectionTable;
use crate::clock::Millis;

/// Milliseconds that share a bucket: nothing here needs to be more exact.
const BUCKET_MS: u64 = 32;
const BUCKETS: u64 = 2_048;

/// The wheel.
#[derive(Debug)]
pub(super) struct Wheel {
    heads: Box<[u32]>,
    /// Number of the bucket that fires next, counted from time zero.
    next: u64,
    entries: usize,
}

impl Wheel {
    /// An empty wheel whose time begins at `now`.
    pub(super) fn new(now: Millis) -> Self {
        let heads = vec![NOBODY; BUCKETS as usize].into();
        Self { heads, next: now.0 / BUCKET_MS, entries: 0 }
    }

    /// Fires the connection at `at`, or up to one bucket later; or earlier, where it stands in an
    /// earlier bucket already.
    pub(super) fn look_by(&mut self, table: &mut ConnectionTable, index: u32, at: Millis) {
        let bucket = at.0.div_ceil(BUCKET_MS).clamp(self.next, self.next + BUCKETS - 1);
        let link = link(table, index);
        if link.bucket != NOWHERE {
            let ahead = |bucket: u64| bucket.wrapping_sub(self.next) % BUCKETS;
            if ahead(u64::from(link.bucket)) <= ahead(bucket) {
                return;
            }
            self.remove(table, index);
        }
        let bucket = (bucket % BUCKETS) as u16;
        let next = std::mem::replace(&mut self.heads[usize::from(bucket)], index);
        if next != NOBODY {
            member(table, next).link.previous = index;
        }
        member(table, index).link = Link { previous: NOBODY, next, bucket };
        self.entries += 1;
    }

    /// Takes a connection out, where it stands in a bucket.
    pub(super) fn remove(&mut self, table: &mut ConnectionTable, index: u32) {
        let Link { previous, next, bucket } = link(table, index);
        if bucket == NOWHERE {
            return;
        }
        match previous {
            NOBODY => self.heads[usize::from(bucket)] = next,
            previous => member(table, previous).link.next = next,
        }
        if next != NOBODY {
            member(table, next).link.previous = previous;
        }
        member(table, index).link = Link::NONE;
        self.entries -= 1;
    }

    /// Takes out everyone who was due by `now`.
    pub(super) fn fire(&mut self, table: &mut ConnectionTable, now: Millis, due: &mut Vec<u32>) {
        let end = now.0 / BUCKET_MS + 1;
        if end <= self.next {
            return;
        }
        for bucket in self.next..end.min(self.next + BUCKETS) {
            let head = &mut self.heads[(bucket % BUCKETS) as usize];
            let mut index = std::mem::replace(head, NOBODY);
            while index != NOBODY {
                let fired = member(table, index);
                due.push(index);
                index = std::mem::replace(&mut fired.link, Link::NONE).next;
                self.entries -= 1;
            }
        }
        self.next = end;
    }

    /// When the next bucket that holds somebody fires; `None` where none does.
    pub(super) fn next_due(&self) -> Option<Millis> {
        if self.entries == 0 {
            return None;
        }
        (self.next..self.next + BUCKETS)
            .find(|bucket| self.heads[(bucket % BUCKETS) as usize] != NOBODY)
            .map(|bucket| Millis(bucket * BUCKET_MS))
    }

    /// Panics where the lists contradict themselves or the table.
    pub(super) fn invariants(&self, table: &ConnectionTable) {
        let mut found = 0;
        for (bucket, head) in self.heads.iter().enumerate() {
            let (mut previous, mut index) = (NOBODY, *head);
            while index != NOBODY {
                let link = table.at(index).expect("who ends leaves the wheel").link;
                assert_eq!((usize::from(link.bucket), link.previous), (bucket, previous));
                (previous, index) = (index, link.next);
                found += 1;
            }
        }
        assert_eq!(found, self.entries);
        let standing = table.iter().filter(|(_, it)| it.link.bucket != NOWHERE).count();
        assert_eq!(found, standing, "who says that it stands in a bucket is found there");
    }
}

fn member(table: &mut ConnectionTable, index: u32) -> &mut Connection {
    table.at_mut(index).expect("who ends leaves the wheel")
}

fn link(table: &mut ConnectionTable, index: u32) -> Link {
    member(table, index).link
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::sim::Chance;

    fn table(connections: u32) -> ConnectionTable {
        let mut table = ConnectionTable::default();
        (0..connections).for_each(|index| table.insert(index, Connection::of_life(1), Millis(0)));
        table
    }

    fn fired(wheel: &mut Wheel, table: &mut ConnectionTable, now: Millis) -> Vec<u32> {
        let mut due = Vec::new();
        wheel.fire(table, now, &mut due);
        wheel.invariants(table);
        due.sort_unstable();
        due
    }

    #[test]
    fn fires_at_its_time_and_not_before() {
        let (mut wheel, mut table) = (Wheel::new(Millis(1_000)), table(3));
        wheel.look_by(&mut table, 1, Millis(1_500));
        wheel.look_by(&mut table, 2, Millis(0));
        assert_eq!(fired(&mut wheel, &mut table, Millis(1_032)), [2]);
        assert_eq!(fired(&mut wheel, &mut table, Millis(1_499)), [0; 0]);
        let next = wheel.next_due().unwrap();
        assert!(next >= Millis(1_500) && next <= Millis(1_532), "{next:?}");
        assert_eq!(fired(&mut wheel, &mut table, next), [1]);
        assert_eq!(wheel.next_due(), None);
    }

    #[test]
    fn what_lies_beyond_a_turn_comes_early() {
        let (mut wheel, mut table) = (Wheel::new(Millis(0)), table(1));
        wheel.look_by(&mut table, 0, Millis(10 * BUCKETS * BUCKET_MS));
        assert_eq!(fired(&mut wheel, &mut table, Millis((BUCKETS - 2) * BUCKET_MS)), [0; 0]);
        assert_eq!(fired(&mut wheel, &mut table, Millis(BUCKETS * BUCKET_MS)), [0]);
    }

    #[test]
    fn an_earlier_deadline_moves_it_and_a_later_one_does_not() {
        let (mut wheel, mut table) = (Wheel::new(Millis(0)), table(3));
        (0..3).for_each(|index| wheel.look_by(&mut table, index, Millis(5_000)));
        wheel.look_by(&mut table, 1, Millis(2_000));
        wheel.look_by(&mut table, 1, Millis(9_000));
        assert_eq!(fired(&mut wheel, &mut table, Millis(2_032)), [1]);
        wheel.remove(&mut table, 0);
        wheel.remove(&mut table, 0);
        assert_eq!(fired(&mut wheel, &mut table, Millis(20_000)), [2], "each fires once");
    }

    #[test]
    fn a_long_sleep_fires_each_once() {
        let (mut wheel, mut table) = (Wheel::new(Millis(0)), table(100));
        (0..100).for_each(|index| wheel.look_by(&mut table, index, Millis(u64::from(index) * 100)));
        let now = Millis(1 << 40);
        assert_eq!(fired(&mut wheel, &mut table, now), (0..100).collect::<Vec<_>>());
        wheel.look_by(&mut table, 7, now.plus(5));
        assert_eq!(fired(&mut wheel, &mut table, now.plus(64)), [7]);
    }

    /// Against the plainest model there is: a list of who is to be looked at when.
    #[test]
    fn whatever_is_done_nobody_is_late_or_lost() {
        const ALL: u32 = 40;
        let (mut wheel, mut table) = (Wheel::new(Millis(0)), table(ALL));
        let (mut deadlines, mut now) = (vec![None; ALL as usize], Millis(0));
        let chance = &mut Chance::new(11);
        for _ in 0..20_000 {
            let index = chance.below(ALL as usize);
            match chance.below(10) {
                0..5 => {
                    let at = now.plus(chance.below(90_000) as u64);
                    wheel.look_by(&mut table, index as u32, at);
                    let earlier = deadlines[index].unwrap_or(at).min(at);
                    deadlines[index] = Some(earlier);
                }
                5..7 => {
                    wheel.remove(&mut table, index as u32);
                    deadlines[index] = None;
                }
                _ => {
                    now = now.plus(chance.below(3_000) as u64);
                    for index in fired(&mut wheel, &mut table, now) {
                        let deadline = deadlines[index as usize].take();
                        assert!(deadline.is_some(), "{index} was not to be looked at");
                    }
                    let late = now.0.saturating_sub(BUCKET_MS);
                    let late = |deadline: &Option<Millis>| deadline.is_some_and(|at| at.0 < late);
                    assert!(!deadlines.iter().any(late));
                }
            }
        }
    }
}
