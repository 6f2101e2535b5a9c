//! Which position was the last before a time: for whoever begins with what was published since.
//!
//! Positions rise with the times of their records, so one table serves all channels. It holds the
//! first position of each millisecond in which something was placed, and is bounded: when it is
//! full, every other entry of its older half goes. So what was lately is known exactly, and what
//! was long ago is coarse; what is told then lies too early, never too late.

use fanfare_protocol::record::checkpoint::Time;

use crate::clock::Millis;

/// Entries of the table: 256 KiB.
const ENTRIES_MAX: usize = 16 << 10;

/// First positions, by time.
#[derive(Debug, Default)]
pub(super) struct Times {
    entries: Vec<(Millis, u64)>,
    /// When the epoch began, where another one was before it.
    epoch_began: Option<Millis>,
    /// So many of the oldest entries may have lost the one before them.
    coarse: usize,
}

impl Times {
    /// Something of this time was placed here; neither goes back.
    pub(super) fn note(&mut self, at: Millis, position: u64) {
        if self.entries.last().is_some_and(|(last, _)| *last >= at) {
            return;
        }
        if self.entries.len() == ENTRIES_MAX {
            self.thin_out();
        }
        self.entries.push((at, position));
    }

    /// Another epoch begins at this time: nobody asks any more where something was placed before
    /// it.
    pub(super) fn begin_epoch(&mut self, at: Millis) {
        *self = Self { epoch_began: Some(at), ..Self::default() };
    }

    /// Whether something of this time may belong to an earlier epoch.
    pub(super) fn reaches_earlier_epoch(&self, at: Millis) -> bool {
        self.epoch_began.is_some_and(|began| at <= began)
    }

    /// All that is known, as a checkpoint has it.
    pub(super) fn saved(&self) -> impl Iterator<Item = Time> {
        let all = self.entries.iter().enumerate();
        all.map(|(nth, (at, position))| Time {
            at: at.0,
            position: *position,
            is_coarse: nth < self.coarse,
        })
    }

    /// When the epoch began, where another one was before it.
    pub(super) fn epoch_began(&self) -> Option<Millis> {
        self.epoch_began
    }

    /// What a checkpoint says, one after the other.
    pub(super) fn restore(&mut self, time: &Time) {
        self.note(Millis(time.at), time.position);
        self.coarse += usize::from(time.is_coarse);
    }

    fn thin_out(&mut self) {
        let mut nth = 0;
        self.entries.retain(|_| {
            nth += 1;
            // The last one of the older half stays: what follows it is exact.
            nth > ENTRIES_MAX / 2 || nth % 2 == 0
        });
        self.coarse = ENTRIES_MAX / 4;
    }

    /// A position after which everything stands that was placed at `at` or later. Nothing else
    /// stands after it, where times are still known that exactly. `last` is the last position of
    /// all.
    pub(super) fn before(&self, at: Millis, last: u64) -> u64 {
        let nth = self.entries.partition_point(|(time, _)| *time < at);
        let Some((time, first)) = self.entries.get(nth) else { return last };
        if nth >= self.coarse || *time == at {
            return first - 1;
        }
        nth.checked_sub(1).map_or(0, |before| self.entries[before].1 - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two positions in each odd millisecond, from position 10 on.
    fn noted(until: u64) -> Times {
        let mut times = Times::default();
        for nth in 0..until {
            times.note(Millis(2 * nth + 1), 10 + 2 * nth);
            times.note(Millis(2 * nth + 1), 11 + 2 * nth);
        }
        times
    }

    #[test]
    fn what_was_lately_is_known_exactly() {
        assert_eq!(Times::default().before(Millis(5), 0), 0);
        let times = noted(3); // 10 and 11 at 1, 12 and 13 at 3, 14 and 15 at 5
        for (at, before) in [(0, 9), (1, 9), (2, 11), (3, 11), (4, 13), (5, 13), (6, 15), (99, 15)]
        {
            assert_eq!(times.before(Millis(at), 15), before, "at {at}");
        }
    }

    #[test]
    fn a_checkpoint_has_all_of_it() {
        for count in [0, 3, 3 * ENTRIES_MAX as u64] {
            let (times, mut restored) = (noted(count), Times::default());
            times.saved().for_each(|time| restored.restore(&time));
            assert_eq!((restored.entries, restored.coarse), (times.entries, times.coarse));
        }
    }

    #[test]
    fn what_was_long_ago_is_told_early_and_never_late() {
        let count = 5 * ENTRIES_MAX as u64;
        let (times, last) = (noted(count), 9 + 2 * count);
        assert!(times.entries.len() <= ENTRIES_MAX);
        let exact = |at: u64| (9 + at.div_ceil(2) * 2).min(last);
        for at in 0..2 * count {
            // The first position of 1 is 10, and so on: `at` rounded up to the next odd one.
            let truth = exact(at / 2 * 2);
            let told = times.before(Millis(at), last);
            assert!(told <= truth, "at {at}: {told} hides what {truth} does not");
            let is_recent = at + ENTRIES_MAX as u64 > 2 * count;
            assert!(!is_recent || told == truth, "at {at}: {told} and not {truth}");
        }
        assert!(times.before(Millis(count), last) > 0, "of the middle something is known");
    }
}
