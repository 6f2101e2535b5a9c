//! Where a subscription or a reading begins, as far as that can be said without the channel.

use fanfare_protocol::id::{Id, LifeId};
use fanfare_protocol::message::GapReason;

use super::applied::Applied;
use super::command::{Gap, Since};
use crate::clock::Millis;

/// Where to begin in a channel of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// With what is published next, after this gap.
    Next(Option<Gap>),
    /// With the oldest message that is kept, after this gap.
    Floor(Option<Gap>),
    /// With the first message after this position of the present order; the channel knows the gap.
    After(u64),
    /// With the message after this offset of the life that is named by this position of the present
    /// order; the channel knows the gap.
    Offset(u64, u64),
    /// With the newest so many messages that are kept.
    Newest(u64),
    /// With the first message of this time or a later one; all of those lie after this position.
    Time(Millis, u64),
}

impl Start {
    /// What `since` means where so much of the log is applied.
    pub(super) fn since(since: Since, applied: &Applied) -> Self {
        match since {
            Since::Now => Self::Next(None),
            Since::Unreadable => Self::Next(unbounded(GapReason::Unknown)),
            Since::After(id) => Self::after(id, applied),
            Since::Offset(offset, life) => Self::offset(offset, life, applied),
            Since::Earliest => Self::Floor(None),
            Since::Last(count) => Self::Newest(count),
            Since::Time(at) if applied.times.reaches_earlier_epoch(at) => {
                Self::Floor(unbounded(GapReason::Epoch))
            }
            Since::Time(at) => Self::Time(at, applied.times.before(at, applied.position)),
        }
    }

    /// After this place.
    pub(super) fn after(id: Id, applied: &Applied) -> Self {
        match id {
            _ if id.epoch != applied.epoch => Self::Floor(unbounded(GapReason::Epoch)),
            // Nobody can have been told this position: the client's belongs to something else.
            _ if id.position > applied.position => Self::Next(unbounded(GapReason::Unknown)),
            _ => Self::After(id.position),
        }
    }

    fn offset(offset: u64, life: LifeId, applied: &Applied) -> Self {
        let last = applied.position;
        match life.0 {
            id if id.epoch != applied.epoch => Self::Floor(unbounded(GapReason::Epoch)),
            // A life that is still to begin is named by the next position, and by no later one.
            id if id.position > last.saturating_add(1) => Self::Next(unbounded(GapReason::Unknown)),
            id => Self::Offset(offset, id.position),
        }
    }

    /// What a client that starts here missed of a channel that has no life now. A life that was
    /// forgotten may have ended as late as `watermark`: for a client from before that nobody knows,
    /// and it is told so.
    pub(super) fn gap_without_life(self, watermark: u64) -> Option<Gap> {
        match self {
            Self::Next(gap) | Self::Floor(gap) => gap,
            Self::After(position) | Self::Time(_, position) if position < watermark => {
                unbounded(GapReason::Unknown)
            }
            // The client had messages of a life that is over; or it had none yet, and the life may
            // be over all the same.
            Self::Offset(offset, life) if offset > 0 || life <= watermark => {
                unbounded(GapReason::Unknown)
            }
            Self::After(_) | Self::Offset(..) | Self::Newest(_) | Self::Time(..) => None,
        }
    }
}

fn unbounded(reason: GapReason) -> Option<Gap> {
    Some(Gap { bounds: None, reason })
}
