//! A timer wheel: one turn of buckets, entries checked when they fire.
//!
//! A connection has one deadline at a time. Moving it later costs nothing: the entry fires at the
//! old time, sees that it is early, and is put in again. So what happens for every message never
//! touches the wheel. An entry that lies beyond one turn is put in again as often as needed.

use crate::clock::Millis;
use crate::driver::Token;

/// Milliseconds that share a bucket: nothing here needs to be more exact.
const BUCKET_MS: u64 = 32;
const BUCKETS: u64 = 2_048;

/// The wheel.
#[derive(Debug)]
pub(super) struct Wheel {
    buckets: Vec<Vec<(Token, Millis)>>,
    /// Number of the bucket that fires next, counted from time zero.
    next: u64,
    entries: usize,
}

impl Wheel {
    /// An empty wheel whose time begins at `now`.
    pub(super) fn new(now: Millis) -> Self {
        let buckets = (0..BUCKETS).map(|_| Vec::new()).collect();
        Self { buckets, next: now.0 / BUCKET_MS, entries: 0 }
    }

    /// Fires `token` at `at`, or up to one bucket later.
    pub(super) fn insert(&mut self, token: Token, at: Millis) {
        let bucket = (at.0.div_ceil(BUCKET_MS)).clamp(self.next, self.next + BUCKETS - 1);
        self.buckets[(bucket % BUCKETS) as usize].push((token, at));
        self.entries += 1;
    }

    /// Hands out everything that was due by `now`, with the time it was put in for.
    pub(super) fn fire(&mut self, now: Millis, due: &mut Vec<(Token, Millis)>) {
        let end = now.0 / BUCKET_MS + 1;
        if end <= self.next {
            return;
        }
        for bucket in self.next..end.min(self.next + BUCKETS) {
            let bucket = &mut self.buckets[(bucket % BUCKETS) as usize];
            self.entries -= bucket.len();
            due.append(bucket);
            if bucket.capacity() > 1_024 {
                bucket.shrink_to(64); // a storm of connects leaves no memory behind
            }
        }
        self.next = end;
    }

    /// When the next bucket that holds something fires; `None` where none does.
    pub(super) fn next_due(&self) -> Option<Millis> {
        if self.entries == 0 {
            return None;
        }
        (self.next..self.next + BUCKETS)
            .find(|bucket| !self.buckets[(bucket % BUCKETS) as usize].is_empty())
            .map(|bucket| Millis(bucket * BUCKET_MS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(index: u32) -> Token {
        Token { index, generation: 0 }
    }

    #[test]
    fn fires_at_its_time_and_not_before() {
        let mut wheel = Wheel::new(Millis(1_000));
        wheel.insert(token(1), Millis(1_500));
        wheel.insert(token(2), Millis(0));
        let mut due = Vec::new();
        wheel.fire(Millis(1_032), &mut due);
        assert_eq!(due, [(token(2), Millis(0))]);
        due.clear();
        wheel.fire(Millis(1_499), &mut due);
        assert_eq!(due, []);
        let next = wheel.next_due().unwrap();
        assert!(next >= Millis(1_500) && next <= Millis(1_532), "{next:?}");
        wheel.fire(next, &mut due);
        assert_eq!(due, [(token(1), Millis(1_500))]);
        assert_eq!(wheel.next_due(), None);
    }

    #[test]
    fn what_lies_beyond_a_turn_comes_early_with_its_time() {
        let mut wheel = Wheel::new(Millis(0));
        let far = Millis(10 * BUCKETS * BUCKET_MS);
        wheel.insert(token(1), far);
        let mut due = Vec::new();
        wheel.fire(Millis(BUCKETS * BUCKET_MS), &mut due);
        assert_eq!(due, [(token(1), far)]);
    }

    #[test]
    fn a_long_sleep_fires_each_entry_once() {
        let mut wheel = Wheel::new(Millis(0));
        (0..100).for_each(|index| wheel.insert(token(index), Millis(u64::from(index) * 100)));
        let mut due = Vec::new();
        wheel.fire(Millis(1 << 40), &mut due);
        assert_eq!(due.len(), 100);
        wheel.insert(token(7), Millis((1 << 40) + 5));
        due.clear();
        wheel.fire(Millis((1 << 40) + 64), &mut due);
        assert_eq!(due.len(), 1);
    }
}
