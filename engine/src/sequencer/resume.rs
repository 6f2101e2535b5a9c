//! Where a subscription or a reading begins, as far as that can be said without the channel.

use fanfare_protocol::id::{Epoch, Id};
use fanfare_protocol::message::GapReason;

use super::command::{Gap, Since};
use super::times::Times;
use crate::clock::Millis;

/// Where to begin in a channel of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// With what is published next, after this gap.
    Head(Option<Gap>),
    /// With the oldest message that is kept, after this gap.
    Floor(Option<Gap>),
    /// With the first message after this position of the present order; the channel knows the gap.
    After(u64),
    /// With the newest so many messages that are kept.
    Newest(u64),
    /// With the first message of this time or a later one; all of those lie after this position.
    Time(Millis, u64),
}

impl Start {
    /// What `since` means on a node of this epoch whose last position is `last`.
    pub(super) fn since(since: Since, epoch: Epoch, last: u64, times: &Times) -> Self {
        match since {
            Since::Now => Self::Head(None),
            Since::Unreadable => Self::Head(unbounded(GapReason::Unknown)),
            Since::After(id) => Self::after(id, epoch, last),
            Since::Earliest => Self::Floor(None),
            Since::Last(count) => Self::Newest(count),
            Since::Time(at) if times.reaches_earlier_epoch(at) => {
                Self::Floor(unbounded(GapReason::Epoch))
            }
            Since::Time(at) => Self::Time(at, times.before(at, last)),
        }
    }

    /// After this place, on a node of this epoch whose last position is `last`.
    pub(super) fn after(id: Id, epoch: Epoch, last: u64) -> Self {
        match id {
            _ if id.epoch != epoch => Self::Floor(unbounded(GapReason::Epoch)),
            // Nobody can have been told this position: the client's belongs to something else.
            _ if id.position > last => Self::Head(unbounded(GapReason::Unknown)),
            _ => Self::After(id.position),
        }
    }

    /// After which position the first missed message is to be looked for.
    pub(super) fn position(self) -> Option<u64> {
        match self {
            Self::After(position) | Self::Time(_, position) => Some(position),
            Self::Head(_) | Self::Floor(_) | Self::Newest(_) => None,
        }
    }

    /// What whoever starts here missed of a channel without a life: where one may have been
    /// forgotten after that position (`watermark`), nobody knows, and that is said.
    pub(super) fn gap_without_life(self, watermark: u64) -> Option<Gap> {
        match self {
            Self::Head(gap) | Self::Floor(gap) => gap,
            Self::After(position) | Self::Time(_, position) if position < watermark => {
                Some(Gap { bounds: None, reason: GapReason::Unknown })
            }
            Self::After(_) | Self::Newest(_) | Self::Time(..) => None,
        }
    }
}

fn unbounded(reason: GapReason) -> Option<Gap> {
    Some(Gap { bounds: None, reason })
}
