//! Which messages one client has had: loss, duplicates and disorder, told exactly and told apart.
//!
//! The usual client costs a number: the next sequence that it expects. Only one that misses
//! something remembers the holes, so that a message that comes late (disorder) is not taken for one
//! that comes twice.

/// Holes that are remembered. A client with more has lost so much that a late message may as well
/// be called a duplicate.
const HOLES_MAX: usize = 1_024;

/// The ledger of one client.
#[derive(Debug, Default)]
pub struct Ledger {
    /// What is expected next; 0 before the first.
    next: u32,
    /// Sequences that were passed over and have not come: from, and the first that has come.
    holes: Option<Box<Vec<(u32, u32)>>>,
    /// Messages that left [`HOLES_MAX`] no room.
    forgotten: u32,
}

/// What a message is to its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The one that was expected, or the first beyond a hole.
    New,
    /// One from a hole: it came after a later one.
    Late,
    /// One that came before.
    Again,
}

impl Ledger {
    /// Counts from `first` on, whatever came before.
    pub fn begin(&mut self, first: u32) {
        *self = Self { next: first, ..Self::default() };
    }

    /// Whether anything is expected yet.
    pub fn is_begun(&self) -> bool {
        self.next > 0
    }

    /// The last sequence that was not passed over; 0 where there is none.
    pub fn last(&self) -> u32 {
        self.next.saturating_sub(1)
    }

    /// Enters a message.
    pub fn enter(&mut self, sequence: u32) -> Entry {
        if sequence >= self.next {
            if sequence > self.next && self.next > 0 {
                self.pass_over(self.next, sequence);
            }
            self.next = sequence.saturating_add(1);
            return Entry::New;
        }
        if self.fill(sequence) { Entry::Late } else { Entry::Again }
    }

    /// Messages up to `last` that have not come.
    pub fn lost(&self, last: u32) -> u64 {
        if self.next == 0 {
            return 0;
        }
        let holes = self.holes.iter().flat_map(|holes| holes.iter());
        let passed: u64 = holes.map(|(from, to)| u64::from(to - from)).sum();
        let behind = last.saturating_add(1).saturating_sub(self.next);
        passed + u64::from(self.forgotten) + u64::from(behind)
    }

    fn pass_over(&mut self, from: u32, to: u32) {
        let holes = self.holes.get_or_insert_default();
        if holes.len() < HOLES_MAX {
            holes.push((from, to));
        } else {
            self.forgotten += to - from;
        }
    }

    fn fill(&mut self, sequence: u32) -> bool {
        let Some(holes) = &mut self.holes else { return false };
        let Some(at) = holes.iter().position(|(from, to)| (*from..*to).contains(&sequence)) else {
            return false;
        };
        let (from, to) = holes.swap_remove(at);
        holes.extend([(from, sequence), (sequence + 1, to)].iter().filter(|(a, b)| a < b));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_in_order_costs_nothing_and_loses_nothing() {
        let mut ledger = Ledger::default();
        ledger.begin(5);
        for sequence in 5..100 {
            assert_eq!(ledger.enter(sequence), Entry::New);
        }
        assert!(ledger.holes.is_none());
        assert_eq!((ledger.lost(99), ledger.lost(104), ledger.last()), (0, 5, 99));
    }

    #[test]
    fn late_and_again_are_told_apart() {
        let mut ledger = Ledger::default();
        ledger.begin(1);
        for (sequence, entry, lost) in [
            (1, Entry::New, 0),
            (5, Entry::New, 3),
            (3, Entry::Late, 2),
            (3, Entry::Again, 2),
            (1, Entry::Again, 2),
            (2, Entry::Late, 1),
            (4, Entry::Late, 0),
            (4, Entry::Again, 0),
            (5, Entry::Again, 0),
            (6, Entry::New, 0),
        ] {
            assert_eq!(ledger.enter(sequence), entry, "{sequence}");
            assert_eq!(ledger.lost(ledger.last()), lost, "after {sequence}");
        }
    }

    #[test]
    fn who_has_not_begun_begins_with_what_comes() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.lost(50), 0);
        assert_eq!(ledger.enter(7), Entry::New);
        assert_eq!((ledger.lost(7), ledger.lost(9)), (0, 2));
    }

    #[test]
    fn too_many_holes_are_still_counted() {
        let mut ledger = Ledger::default();
        ledger.begin(1);
        for nth in 0..2_000 {
            ledger.enter(2 * nth + 2);
        }
        assert_eq!(ledger.lost(4_000), 2_000);
        assert_eq!(ledger.enter(1), Entry::Late);
        assert_eq!(ledger.lost(4_000), 1_999);
    }
}
