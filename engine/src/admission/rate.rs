//! How often something may happen: a token bucket of eight bytes, for whatever is counted by
//! address, connection, user or tenant.
//!
//! A bucket does not hold its tokens but the time at which it would be full again (the generic cell
//! rate algorithm of ATM): so a fresh one is all zeros, one that nobody uses needs no clock and no
//! timer, and to forget a bucket that is full is to forget nothing.

use crate::clock::Millis;

const NANOS_PER_MS: u64 = 1_000_000;
const NANOS_PER_S: u64 = 1_000_000_000;

/// So many in a second, and so many at once after a silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Tokens that come back in a second; 0 for no limit.
    pub per_s: u32,
    /// Tokens of a full bucket. What costs more than that at once never passes; 0 is taken for 1.
    pub burst: u32,
}

impl Rate {
    /// The rate that limits nothing.
    pub const NONE: Self = Self { per_s: 0, burst: 0 };

    /// The part of one of `parts` that share the work without asking each other; it limits as long
    /// as the whole does.
    pub fn share(self, parts: usize) -> Self {
        let parts = u32::try_from(parts.max(1)).unwrap_or(u32::MAX);
        Self { per_s: self.per_s.div_ceil(parts), burst: self.burst.div_ceil(parts) }
    }

    /// Nanoseconds in which so many tokens come back.
    fn nanos(self, tokens: u32) -> u64 {
        u64::from(tokens).saturating_mul(NANOS_PER_S) / u64::from(self.per_s.max(1))
    }
}

/// What is left of a [`Rate`]. The default is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenBucket {
    /// When it is full, in nanoseconds of the clock that `now` is read from.
    full_ns: u64,
}

impl TokenBucket {
    /// Takes `cost` tokens, or none of them.
    ///
    /// # Errors
    /// After how many milliseconds there are enough, at least 1. Where the bucket is too small for
    /// so many, as long as it takes to fill: they never pass.
    pub fn take(&mut self, rate: Rate, now: Millis, cost: u32) -> Result<(), u64> {
        if rate.per_s == 0 {
            return Ok(());
        }
        let now_ns = now.0.saturating_mul(NANOS_PER_MS);
        let full_ns = self.full_ns.max(now_ns).saturating_add(rate.nanos(cost));
        let over_ns = (full_ns - now_ns).saturating_sub(rate.nanos(rate.burst.max(1)));
        if over_ns == 0 {
            self.full_ns = full_ns;
            return Ok(());
        }
        Err(over_ns.div_ceil(NANOS_PER_MS))
    }

    /// Takes `cost` tokens, even if they are not there: for what has happened already.
    pub fn owe(&mut self, rate: Rate, now: Millis, cost: u32) {
        if rate.per_s > 0 {
            let now_ns = now.0.saturating_mul(NANOS_PER_MS);
            self.full_ns = self.full_ns.max(now_ns).saturating_add(rate.nanos(cost));
        }
    }

    /// After how many milliseconds one token can be taken; 0 where one can be taken now.
    pub fn wait_ms(mut self, rate: Rate, now: Millis) -> u64 {
        self.take(rate, now, 1).err().unwrap_or(0)
    }

    /// Whether it is full: as good as one that was never used.
    pub fn is_full(self, now: Millis) -> bool {
        self.full_ns <= now.0.saturating_mul(NANOS_PER_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_s: 10, burst: 5 };

    #[test]
    fn a_burst_passes_and_then_one_at_a_time() {
        let mut bucket = TokenBucket::default();
        let taken = |bucket: &mut TokenBucket, ms| {
            (0..100).take_while(|_| bucket.take(RATE, Millis(ms), 1).is_ok()).count()
        };
        assert_eq!(taken(&mut bucket, 1_000), 5);
        assert_eq!(bucket.take(RATE, Millis(1_000), 1), Err(100), "a tenth of a second for one");
        assert_eq!(taken(&mut bucket, 1_099), 0);
        assert_eq!(taken(&mut bucket, 1_100), 1);
        assert_eq!(taken(&mut bucket, 1_300), 2);
        assert!(!bucket.is_full(Millis(1_799)) && bucket.is_full(Millis(1_800)));
        assert_eq!(taken(&mut bucket, 60_000), 5, "no more are saved up");
    }

    #[test]
    fn all_or_none_are_taken() {
        let mut bucket = TokenBucket::default();
        assert_eq!(bucket.take(RATE, Millis(0), 4), Ok(()));
        assert_eq!(bucket.take(RATE, Millis(0), 2), Err(100));
        assert_eq!(bucket.take(RATE, Millis(0), 1), Ok(()), "the refused ones cost nothing");
        assert_eq!(TokenBucket::default().take(RATE, Millis(0), 6), Err(100), "never");
        assert_eq!(TokenBucket::default().take(RATE, Millis(9_000), 6), Err(100), "never");
    }

    #[test]
    fn what_is_owed_is_paid_back_before_more_is_taken() {
        let mut bucket = TokenBucket::default();
        bucket.owe(RATE, Millis(0), 8);
        assert_eq!(bucket.wait_ms(RATE, Millis(0)), 400);
        assert_eq!(bucket.wait_ms(RATE, Millis(400)), 0);
        assert_eq!(bucket.take(RATE, Millis(400), 1), Ok(()));
    }

    #[test]
    fn over_a_long_time_exactly_the_rate_passes() {
        for rate in [
            Rate { per_s: 1, burst: 1 },
            Rate { per_s: 7, burst: 3 },
            Rate { per_s: 999, burst: 10 },
            Rate { per_s: 1_000_000, burst: 1_000_000 },
        ] {
            let mut bucket = TokenBucket::default();
            let mut passed = 0;
            for ms in 0..10_000 {
                while passed < 100_000_000 && bucket.take(rate, Millis(ms), 1).is_ok() {
                    passed += 1;
                }
            }
            let expected = u64::from(rate.burst) + u64::from(rate.per_s) * 10;
            let missing = expected - passed;
            assert!(missing <= u64::from(rate.per_s / 1_000 + 1), "{rate:?}: {passed}");
        }
    }

    #[test]
    fn nothing_is_limited_where_no_rate_is_set_and_large_numbers_do_no_harm() {
        let mut bucket = TokenBucket::default();
        assert!((0..1_000).all(|_| bucket.take(Rate::NONE, Millis(0), u32::MAX).is_ok()));
        let most = Rate { per_s: 1, burst: u32::MAX };
        assert_eq!(bucket.take(most, Millis(u64::MAX), u32::MAX), Ok(()));
        let mut bucket = TokenBucket::default();
        assert_eq!(bucket.take(most, Millis(0), u32::MAX), Ok(()));
        assert!(bucket.take(most, Millis(0), u32::MAX).is_err());
    }

    #[test]
    fn shares_make_at_least_the_whole() {
        assert_eq!(Rate { per_s: 10, burst: 5 }.share(4), Rate { per_s: 3, burst: 2 });
        assert_eq!(Rate::NONE.share(4), Rate::NONE);
        assert_eq!(RATE.share(0), RATE);
    }
}
