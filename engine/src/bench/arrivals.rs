//! When a thread's clients had each message: how far all have all, and how long the last waited.

use std::collections::VecDeque;

/// Messages whose last latency is remembered (64 MiB); a longer run tells it for the first ones.
const REMEMBERED_MAX: usize = 1 << 24;

/// The arrivals at one thread's main clients.
#[derive(Debug, Default)]
pub struct Arrivals {
    /// The first sequence that is counted.
    first: u32,
    /// The first that not all clients have.
    open: u32,
    /// How many clients have each sequence, from `open` on.
    counts: VecDeque<u32>,
    /// The longest latency of each sequence in microseconds, from `first` on.
    last_us: Vec<u32>,
}

impl Arrivals {
    /// Counts from `first` on.
    pub fn begin(&mut self, first: u32) {
        *self = Self { first, open: first, ..Self::default() };
    }

    /// A client has a message.
    pub fn enter(&mut self, sequence: u32, nanos: u64) {
        let Some(at) = sequence.checked_sub(self.first) else { return };
        let at = at as usize;
        if at < REMEMBERED_MAX {
            if self.last_us.len() <= at {
                self.last_us.resize(at + 1, 0);
            }
            let us = u32::try_from(nanos / 1_000).unwrap_or(u32::MAX);
            self.last_us[at] = self.last_us[at].max(us);
        }
        // A late one, after clients that were gone had been written off.
        let Some(at) = sequence.checked_sub(self.open) else { return };
        let at = at as usize;
        if self.counts.len() <= at {
            self.counts.resize(at + 1, 0);
        }
        self.counts[at] += 1;
    }

    /// The first sequence that not all of `clients` have.
    pub fn advance(&mut self, clients: u32) -> u32 {
        while self.counts.front().is_some_and(|count| *count >= clients) {
            self.counts.pop_front();
            self.open += 1;
        }
        self.open
    }

    /// Takes in what another thread saw: a message is had by all where both have it.
    pub fn merge(&mut self, other: Self) {
        self.open = self.open.min(other.open);
        if self.last_us.len() < other.last_us.len() {
            self.last_us.resize(other.last_us.len(), 0);
        }
        for (mine, theirs) in self.last_us.iter_mut().zip(other.last_us) {
            *mine = (*mine).max(theirs);
        }
    }

    /// The latency of the last receiver of each message that all have, in microseconds, with its
    /// sequence.
    pub fn last(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        let whole = (self.open - self.first) as usize;
        (self.first..).zip(self.last_us.iter().copied()).take(whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_whole_when_all_have_it() {
        let mut one = Arrivals::default();
        one.begin(5);
        one.enter(4, 9);
        one.enter(5, 1_000);
        one.enter(6, 2_000);
        assert_eq!(one.advance(2), 5);
        one.enter(6, 9_000);
        assert_eq!(one.advance(2), 5, "5 comes before 6");
        one.enter(5, 3_000);
        assert_eq!(one.advance(2), 7);
        let mut two = Arrivals::default();
        two.begin(5);
        two.enter(5, 8_000);
        assert_eq!(two.advance(1), 6);
        one.merge(two);
        assert_eq!(one.last().collect::<Vec<_>>(), [(5, 8)]);
    }
}
