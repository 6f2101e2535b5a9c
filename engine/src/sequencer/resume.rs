//! Where a subscription or a reading begins, as far as that can be said without the channel.

use fanfare_protocol::id::Epoch;
use fanfare_protocol::message::GapReason;

use super::command::{Gap, Since};

/// Where to begin in every channel of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// With what is published next, after this gap.
    Head(Option<Gap>),
    /// With the oldest message that is kept, after this gap.
    Floor(Option<Gap>),
    /// With the first message after this position of the present order; the channel knows the gap.
    After(u64),
}

impl Start {
    /// What `since` means on a node of this epoch whose last position is `last`.
    pub(super) fn since(since: Since, epoch: Epoch, last: u64) -> Self {
        let unbounded = |reason| Some(Gap { bounds: None, reason });
        match since {
            Since::Now => Self::Head(None),
            Since::Unreadable => Self::Head(unbounded(GapReason::Unknown)),
            Since::After(id) if id.epoch != epoch => Self::Floor(unbounded(GapReason::Epoch)),
            // Nobody can have been told this position: the client's belongs to something else.
            Since::After(id) if id.position > last => Self::Head(unbounded(GapReason::Unknown)),
            Since::After(id) => Self::After(id.position),
        }
    }

    /// What whoever starts here missed of a channel that has no record: where the channel may have
    /// been forgotten after that position (`watermark`), nobody knows, and that is said.
    pub(super) fn gap_without_record(self, watermark: u64) -> Option<Gap> {
        match self {
            Self::Head(gap) | Self::Floor(gap) => gap,
            Self::After(position) if position < watermark => {
                Some(Gap { bounds: None, reason: GapReason::Unknown })
            }
            Self::After(_) => None,
        }
    }
}
