//! A queue in order of time whose entries may die in the middle.
//!
//! What an entry stands for is often over before its turn comes: a message was trimmed by count
//! long before its age, a subscriber came back while the shard's interest lingered. Finding the
//! entry to remove it would cost a search; so it stays, dead, and is dropped when it reaches the
//! front, or when dead entries outnumber live ones. Both cost O(1) for each push, amortised, and
//! the memory is at most twice what the live entries need, plus a constant.

use std::collections::VecDeque;

/// Dead entries that are not worth a walk.
const SLACK: usize = 1_024;

/// Entries in the order of their turns. Who is alive is the owner's knowledge.
pub(super) struct LazyQueue<T> {
    entries: VecDeque<T>,
}

impl<T> LazyQueue<T> {
    pub(super) fn new() -> Self {
        Self { entries: VecDeque::new() }
    }

    /// Appends an entry. `live` counts the live ones, this one included.
    pub(super) fn push(&mut self, entry: T, live: usize, alive: impl Fn(&T) -> bool) {
        self.entries.push_back(entry);
        if self.entries.len() > 2 * live + SLACK {
            self.entries.retain(alive);
        }
        if self.entries.capacity() > 4 * (self.entries.len() + SLACK) {
            self.entries.shrink_to(2 * self.entries.len());
        }
    }

    /// Drops the dead from the front and shows the first live entry.
    pub(super) fn first(&mut self, alive: impl Fn(&T) -> bool) -> Option<&T> {
        while self.entries.front().is_some_and(|entry| !alive(entry)) {
            self.entries.pop_front();
        }
        self.entries.front()
    }

    /// Takes the entry that [`LazyQueue::first`] showed.
    pub(super) fn pop(&mut self) -> Option<T> {
        self.entries.pop_front()
    }

    /// Panics where the memory bound is broken or a live entry is missing.
    pub(super) fn invariants(&self, live: usize, alive: impl Fn(&T) -> bool) {
        assert_eq!(self.entries.iter().filter(|entry| alive(entry)).count(), live);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dead_are_passed_over() {
        let mut queue = LazyQueue::new();
        for number in 0..6 {
            queue.push(number, 6, |_| true);
        }
        let odd = |number: &i32| number % 2 == 1;
        assert_eq!(queue.first(odd), Some(&1));
        assert_eq!(queue.pop(), Some(1));
        assert_eq!(queue.first(odd), Some(&3));
        assert_eq!(queue.first(|_| false), None);
    }

    #[test]
    fn dead_entries_never_outnumber_the_live_by_more_than_the_slack() {
        let mut queue = LazyQueue::new();
        queue.push(0, 1, |_| true);
        for number in 1..1_000_000 {
            // The first entry stays alive at the front, so that nothing is dropped from there.
            queue.push(number, 2, |entry| *entry == 0 || *entry == number);
            assert!(queue.entries.len() <= 2 * 2 + SLACK);
        }
        assert_eq!(queue.first(|_| true), Some(&0));
        assert!(queue.entries.capacity() <= 8 * SLACK);
    }

    #[test]
    fn memory_is_given_back() {
        let mut queue = LazyQueue::new();
        for number in 0..100_000 {
            queue.push(number, number + 1, |_| true);
        }
        queue.first(|number| *number >= 99_990);
        queue.push(100_000, 11, |_| true);
        assert!(queue.entries.capacity() <= 4 * (11 + SLACK));
    }
}
