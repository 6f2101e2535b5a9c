//! Lines of the log that strangers can cause as often as they like: one of a kind in a while.

use crate::clock::Millis;

/// Lets one line of a kind through in `PAUSE_MS`, and counts the others.
#[derive(Debug, Default)]
pub(crate) struct LineLimit<const PAUSE_MS: u64> {
    /// When the next line may be written.
    next: Millis,
    /// How many were not, since the last one.
    untold: u64,
}

impl<const PAUSE_MS: u64> LineLimit<PAUSE_MS> {
    /// Whether a line may be written now, and if so, how many were not since the last one.
    pub(crate) fn take(&mut self, now: Millis) -> Option<u64> {
        if now < self.next {
            self.untold += 1;
            return None;
        }
        self.next = now.plus(PAUSE_MS);
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_in_a_while_says_how_many_it_is_for() {
        const PAUSE_MS: u64 = 10_000;
        let mut limit = LineLimit::<PAUSE_MS>::default();
        assert_eq!(limit.take(Millis(5)), Some(0));
        for _ in 0..1_000 {
            assert_eq!(limit.take(Millis(PAUSE_MS + 4)), None);
        }
        assert_eq!(limit.take(Millis(PAUSE_MS + 5)), Some(1_000));
        assert_eq!(limit.take(Millis(2 * PAUSE_MS + 5)), Some(0));
    }
}
