//! Which messages have their outcome.

use std::collections::BTreeSet;

/// Numbers of settled messages, from 1: all up to one of them, and some beyond.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    through: u64,
    beyond: BTreeSet<u64>,
    /// Everything after this was not published, and that is an outcome too.
    last: Option<u64>,
}

impl Ledger {
    /// This message has its outcome.
    pub(super) fn settle(&mut self, sequence: u64) {
        if sequence > self.through {
            self.beyond.insert(sequence);
            self.close_ranks();
        }
    }

    /// All up to this one have their outcome.
    pub(super) fn settle_through(&mut self, sequence: u64) {
        if sequence > self.through {
            self.through = sequence;
            self.beyond = self.beyond.split_off(&(sequence + 1));
            self.close_ranks();
        }
    }

    /// Everything after this one was not published.
    pub(super) fn goodbye(&mut self, sequence: u64) {
        self.last = Some(sequence);
    }

    /// Up to which number all have their outcome.
    pub(super) fn through(&self) -> u64 {
        self.through
    }

    /// How many of the first `sent` have none.
    pub(super) fn open(&self, sent: u64) -> u64 {
        let sent = self.last.map_or(sent, |last| last.min(sent));
        let beyond = self.beyond.range(..=sent).count() as u64;
        sent.saturating_sub(self.through).saturating_sub(beyond)
    }

    fn close_ranks(&mut self) {
        while self.beyond.remove(&(self.through + 1)) {
            self.through += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_come_in_any_order() {
        let mut ledger = Ledger::default();
        assert_eq!((ledger.open(0), ledger.open(3)), (0, 3));
        ledger.settle(3);
        ledger.settle(1);
        ledger.settle(1);
        assert_eq!((ledger.open(3), ledger.through), (1, 1));
        ledger.settle(2);
        assert_eq!((ledger.open(3), ledger.open(5), ledger.through), (0, 2, 3));
        assert!(ledger.beyond.is_empty(), "what is settled takes no room");
    }

    #[test]
    fn an_acknowledgement_covers_all_before_it() {
        let mut ledger = Ledger::default();
        ledger.settle(2);
        ledger.settle(5);
        ledger.settle_through(4);
        assert_eq!((ledger.open(6), ledger.through), (1, 5));
        ledger.settle_through(3);
        assert_eq!(ledger.through, 5, "an old one takes nothing back");
    }

    #[test]
    fn what_was_not_taken_at_a_shutdown_is_no_riddle() {
        let mut ledger = Ledger::default();
        ledger.settle_through(2);
        ledger.goodbye(3);
        assert_eq!(ledger.open(9), 1);
    }
}
