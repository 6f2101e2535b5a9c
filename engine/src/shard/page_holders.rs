//! Who holds pages of what is rendered: clients that are in the middle of a message or of an
//! answer, since when.
//!
//! Where they hold too much, the one goes first that has held for longest without having taken all
//! of it: whoever takes what it asked for comes and goes, and whoever takes nothing is soon at the
//! front, however many hold the same page. Nobody is to go within [`GRACE_MS`], unless messages of
//! live windows take the room, which nobody can keep from coming.
//!
//! The queue keeps whoever has let go until its turn, or until such are most of it: so each change
//! and each choice is a step or two, however many there are.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

use crate::clock::Millis;

/// For so long nobody is ended for what it holds: what takes the bytes at all takes them then.
pub(super) const GRACE_MS: u64 = 1_000;

/// Those that may have let go and are kept in the queue, beside as many as hold something.
const STALE_MAX: usize = 64;

/// Those who hold some.
#[derive(Default)]
pub(super) struct PageHolders {
    /// The one first that has held for longest. The first of all has not let go.
    queue: VecDeque<Holding>,
    /// Which of these is of now, of each place whose connection holds some.
    turns: HashMap<u32, u64>,
    /// How many there were so far.
    began: u64,
}

#[derive(Clone, Copy)]
struct Holding {
    index: u32,
    turn: u64,
    since: Millis,
}

impl PageHolders {
    /// The connection at this place holds some, since now if it did not before.
    pub(super) fn holds(&mut self, index: u32, now: Millis) {
        if let Entry::Vacant(place) = self.turns.entry(index) {
            self.began += 1;
            place.insert(self.began);
            self.queue.push_back(Holding { index, turn: self.began, since: now });
        }
    }

    /// The connection at this place holds none, or has gone.
    pub(super) fn lets_go(&mut self, index: u32) {
        if self.turns.remove(&index).is_some() {
            self.tidy();
        }
    }

    /// Who has held some for longest, and from when on it may be ended for that.
    pub(super) fn oldest(&self) -> Option<(u32, Millis)> {
        let first = self.queue.front()?;
        Some((first.index, first.since.plus(GRACE_MS)))
    }

    fn tidy(&mut self) {
        let turns = &self.turns;
        let holds = |it: &Holding| turns.get(&it.index) == Some(&it.turn);
        while self.queue.pop_front_if(|first| !holds(first)).is_some() {}
        if self.queue.len() > 2 * turns.len() + STALE_MAX {
            self.queue.retain(holds);
        }
    }

    /// Panics where it contradicts itself, or what the connections have.
    pub(super) fn invariants(&self, have: impl Iterator<Item = (u32, bool)>) {
        let holding: Vec<u32> = have.filter_map(|(index, holds)| holds.then_some(index)).collect();
        let known = |index: &u32| self.turns.contains_key(index);
        assert!(holding.len() == self.turns.len() && holding.iter().all(known));
        let holds = |it: &&Holding| self.turns.get(&it.index) == Some(&it.turn);
        assert_eq!(self.queue.iter().filter(holds).count(), self.turns.len());
        assert!(self.queue.front().is_none_or(|first| holds(&first)));
        assert!(self.queue.iter().is_sorted_by_key(|it| (it.since, it.turn)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(holders: &mut PageHolders) -> Vec<u32> {
        let mut all = Vec::new();
        while let Some((index, _)) = holders.oldest() {
            all.push(index);
            holders.lets_go(index);
        }
        all
    }

    #[test]
    fn who_has_held_for_longest_is_first_and_has_its_time() {
        let mut holders = PageHolders::default();
        assert_eq!(holders.oldest(), None);
        for (index, at) in [(7, 10), (3, 20), (5, 30), (7, 40)] {
            holders.holds(index, Millis(at));
        }
        assert_eq!(holders.oldest(), Some((7, Millis(10 + GRACE_MS))), "and it is none the newer");
        holders.lets_go(7);
        holders.holds(7, Millis(60));
        holders.lets_go(5);
        holders.invariants([(3, true), (5, false), (7, true)].into_iter());
        assert_eq!(whole(&mut holders), [3, 7]);
    }

    /// Beside one who takes nothing others come and go.
    #[test]
    fn who_has_let_go_is_forgotten_in_a_step_or_two() {
        let mut holders = PageHolders::default();
        holders.holds(0, Millis(0));
        for nth in 1..10_000 {
            holders.holds(nth % 100 + 1, Millis(u64::from(nth)));
            holders.lets_go(nth % 100 + 1);
            assert!(holders.queue.len() <= 2 + STALE_MAX, "{} are kept", holders.queue.len());
        }
        assert_eq!(whole(&mut holders), [0]);
        assert!(holders.queue.is_empty());
    }
}
