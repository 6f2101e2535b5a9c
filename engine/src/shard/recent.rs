//! Which messages were published just now: those that the ring brought behind the place that it had
//! brought a second ago, or two.

use crate::clock::Millis;

/// How long a message is a new one, at least.
const NEW_MS: u64 = 1_000;

/// Places of the order, at two moments.
#[derive(Debug)]
pub(super) struct Recent {
    /// Where it was then, or before.
    position: u64,
    since: Millis,
    /// Where it was at such a moment before that.
    before: u64,
}

impl Recent {
    /// Nothing was published yet.
    pub(super) fn new(now: Millis) -> Self {
        Self { position: 0, since: now, before: 0 }
    }

    /// The position behind which messages are new, where the order is at `position` now.
    pub(super) fn after(&mut self, position: u64, now: Millis) -> u64 {
        if now.since(self.since) >= NEW_MS {
            *self = Self { position, since: now, before: self.position };
        }
        self.before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_new_for_a_second_or_two() {
        let mut recent = Recent::new(Millis(0));
        let mut after = |position, at| recent.after(position, Millis(at));
        assert_eq!(after(10, 500), 0);
        assert_eq!(after(20, 1_000), 0, "what came in the second before is new");
        assert_eq!(after(30, 1_999), 0);
        assert_eq!(after(40, 2_100), 20, "what came later than a second ago is");
        assert_eq!((after(50, 3_099), after(60, 3_100)), (20, 40));
        assert_eq!((after(70, 60_000), after(70, 61_000)), (60, 70), "not for ever");
    }
}
