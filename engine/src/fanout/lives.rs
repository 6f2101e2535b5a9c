//! Which lives of its channel ended while a log was here: what cursors that stand in one of those
//! are told.
//!
//! A life ends when the channel is forgotten, or with the epoch. Offsets are no order across lives,
//! so a log keeps nothing of the old one, and knows of it only with which seq the present one
//! began: a cursor before that is of an earlier life.

use fanfare_protocol::message::GapReason;

/// What ended the life of a channel that went on being followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndedBy {
    /// It was forgotten. Who had all of it has lost nothing and hears nothing.
    Forgetting,
    /// The epoch ended, and that is told to everyone who followed it.
    Epoch,
}

impl EndedBy {
    /// Why what was missed of it cannot be told.
    pub(super) fn reason(self) -> GapReason {
        match self {
            Self::Forgetting => GapReason::Unknown,
            Self::Epoch => GapReason::Epoch,
        }
    }
}

/// The lives of one channel that ended here. Most logs see none end, and hold a word for it.
#[derive(Debug, Default)]
pub(super) struct PastLives(Option<Box<Ended>>);

#[derive(Clone, Copy, Debug, Default)]
struct Ended {
    /// How many.
    count: u64,
    /// Seq with which the present one began.
    began: u64,
    /// How many had ended when the last epoch began that was not the first, and the seq with which
    /// that was. Lives that began since may have been forgotten.
    by_epoch: u64,
    epoch_began: u64,
}

impl PastLives {
    fn ended_ones(&self) -> Ended {
        self.0.as_deref().copied().unwrap_or_default()
    }

    /// Which life the present one is: another number when that has ended.
    pub(super) fn present(&self) -> u64 {
        self.ended_ones().count
    }

    /// One ended, and the next begins with this seq.
    pub(super) fn end(&mut self, began: u64) {
        let ended = self.0.get_or_insert_default();
        ended.count += 1;
        ended.began = began;
    }

    /// One ended with the epoch, and the next begins with this seq.
    pub(super) fn end_epoch(&mut self, began: u64) {
        self.end(began);
        let ended = self.0.get_or_insert_default();
        (ended.by_epoch, ended.epoch_began) = (ended.count, began);
    }

    /// So many entries of the present life went and took their numbers with them: whatever stands
    /// before them moves up, and a cursor of an earlier life stays one.
    pub(super) fn move_up(&mut self, count: u64) {
        if let Some(ended) = &mut self.0 {
            ended.began += count;
            ended.epoch_began += count;
        }
    }

    /// What ended the life in which this cursor stands and of which it has not had all; `None`
    /// where it stands in the present one.
    pub(super) fn ended(&self, cursor: u64) -> Option<EndedBy> {
        let Ended { began, epoch_began, .. } = self.ended_ones();
        let by = if cursor < epoch_began { EndedBy::Epoch } else { EndedBy::Forgetting };
        (cursor < began).then_some(by)
    }

    /// What ended this life, unless it goes on; an epoch that began since, whatever was forgotten
    /// after it.
    pub(super) fn ended_since(&self, life: u64) -> Option<EndedBy> {
        let Ended { count, by_epoch, .. } = self.ended_ones();
        let by = if life < by_epoch { EndedBy::Epoch } else { EndedBy::Forgetting };
        (life != count).then_some(by)
    }

    /// Whether everything of the present epoch is still here, where the log begins with this seq.
    pub(super) fn is_whole(&self, first: u64) -> bool {
        let Ended { began, epoch_began, .. } = self.ended_ones();
        first <= began && began == epoch_began
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_saw_no_life_end_holds_a_word() {
        let lives = PastLives::default();
        assert_eq!((size_of::<PastLives>(), lives.present()), (8, 0));
        assert_eq!((lives.ended(0), lives.ended_since(0)), (None, None));
        assert!(!lives.is_whole(7), "no epoch began here");
    }

    #[test]
    fn a_cursor_is_told_what_ended_its_life() {
        let mut lives = PastLives::default();
        lives.end(10);
        assert_eq!([9, 10].map(|cursor| lives.ended(cursor)), [Some(EndedBy::Forgetting), None]);
        lives.end_epoch(20);
        assert_eq!([9, 19].map(|cursor| lives.ended(cursor)), [Some(EndedBy::Epoch); 2]);
        assert_eq!(lives.ended(20), None);
        lives.end(30);
        let ended = [19, 20, 29, 30].map(|cursor| lives.ended(cursor));
        let forgotten = Some(EndedBy::Forgetting);
        assert_eq!(ended, [Some(EndedBy::Epoch), forgotten, forgotten, None]);
    }

    #[test]
    fn a_life_is_told_from_the_present_one() {
        let mut lives = PastLives::default();
        lives.end(10);
        lives.end_epoch(20);
        lives.end(30);
        let since = [0, 1, 2, 3].map(|life| lives.ended_since(life));
        let epoch = Some(EndedBy::Epoch);
        assert_eq!(since, [epoch, epoch, Some(EndedBy::Forgetting), None]);
        assert_eq!(lives.present(), 3);
    }

    #[test]
    fn an_epoch_is_whole_until_something_of_it_has_gone() {
        let mut lives = PastLives::default();
        lives.end_epoch(20);
        assert!(lives.is_whole(20) && !lives.is_whole(21));
        lives.move_up(5);
        assert!(lives.is_whole(25), "what went was counted by nobody");
        assert_eq!([24, 25].map(|cursor| lives.ended(cursor)), [Some(EndedBy::Epoch), None]);
        lives.end(30);
        assert!(!lives.is_whole(30), "a channel was forgotten since");
    }
}
