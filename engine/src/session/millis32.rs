//! A time as a connection keeps it: in four bytes, because there are 100,000 connections.
//!
//! It is the lower half of [`Millis`]. The upper half is left out, since whoever reads it knows
//! what time it is: of all the times that end in these four bytes the one nearest to now is meant.
//! So it says what was meant for 24 days to either side of it, and no connection is
//! left alone for so long: an open one is pinged within an hour, and the longest wait of all is a
//! day ([`crate::config`]). A wait of 24 days or more, which only an embedder can ask for, is one
//! without an end.

use crate::clock::Millis;

/// How far these four bytes reach to either side.
const REACH_MS: u64 = 1 << 31;

/// A time within 24 days of now, or no time at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Millis32(u32);

impl Millis32 {
    /// A time that never comes.
    pub(super) const NEVER: Self = Self(u32::MAX);

    /// This time. One that would look like [`Millis32::NEVER`] is a millisecond early.
    pub(super) fn of(at: Millis) -> Self {
        Self((at.0 as u32).min(u32::MAX - 1))
    }

    /// So many milliseconds after `now`.
    pub(super) fn after(now: Millis, ms: u64) -> Self {
        if ms < REACH_MS { Self::of(now.plus(ms)) } else { Self::NEVER }
    }

    /// The time that is meant when it is `now`.
    pub(super) fn at(self, now: Millis) -> Millis {
        if self == Self::NEVER {
            return Millis(u64::MAX);
        }
        let ahead = self.0.wrapping_sub(now.0 as u32).cast_signed();
        Millis(now.0.saturating_add_signed(i64::from(ahead)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Times around which something could go wrong: the beginning, the turns, the sign.
    const EDGES: [u64; 6] = [0, 1 << 31, u32::MAX as u64, 1 << 32, 5 << 31, 7 << 32];

    #[test]
    fn it_says_the_same_time_for_24_days() {
        for edge in EDGES {
            for at in (edge.saturating_sub(3)..edge + 3).map(Millis) {
                let stamp = Millis32::of(at);
                let early = u64::from(at.0 as u32 == u32::MAX);
                for days in 0..24 {
                    let apart = days * 86_400_000;
                    assert_eq!(stamp.at(at.plus(apart)).0, at.0 - early, "{at:?} {days} days ago");
                    if at.0 >= apart {
                        let now = Millis(at.0 - apart);
                        assert_eq!(stamp.at(now).0, at.0 - early, "{at:?} in {days} days");
                    }
                }
            }
        }
    }

    #[test]
    fn deadlines_keep_their_order_over_a_turn() {
        let now = Millis((1 << 32) - 500);
        let (before, after) = (Millis32::after(now, 400), Millis32::after(now, 600));
        assert!(before.at(now) < after.at(now), "although the first four bytes are larger");
        assert!(after.at(now) > now && after.at(now.plus(600)) <= now.plus(600));
    }

    #[test]
    fn never_never_comes() {
        for now in EDGES.map(Millis) {
            assert_eq!(Millis32::NEVER.at(now), Millis(u64::MAX));
            assert_eq!(Millis32::after(now, u64::MAX), Millis32::NEVER);
            assert_eq!(Millis32::after(now, REACH_MS), Millis32::NEVER);
            assert_ne!(Millis32::after(now, REACH_MS - 1), Millis32::NEVER);
            assert_ne!(
                Millis32::of(Millis(now.0.saturating_sub(1))),
                Millis32::NEVER,
                "at {now:?}"
            );
        }
    }
}
