//! The present life of one channel: what of it is a function of the log.

use fanfare_protocol::record::checkpoint;

use crate::channel::ChannelId;
use crate::clock::Millis;

/// How exactly the time of the last use is known.
pub(super) const USED_AGAIN_MS: u64 = 1_000;

/// The present life of one channel; none where `offset` is 0.
#[derive(Debug, Default)]
pub(super) struct Life {
    /// Last offset that was assigned.
    pub(super) offset: u64,
    /// The last message's position.
    pub(super) position: u64,
    /// The first message's position: it names the life.
    pub(super) began: u64,
    /// Whoever comes from before this position may have missed messages of an earlier life.
    pub(super) unknown_before: u64,
    /// The log's time of the last message, or up to [`USED_AGAIN_MS`] before it.
    pub(super) used: Millis,
    /// The position at that time: of two channels the one that was used first has no higher one.
    pub(super) used_at: u64,
    /// The channels next to it in the list of its rule.
    pub(super) before: Neighbour,
    pub(super) after: Neighbour,
}

/// Who is next to a channel in its list, if anyone, in eight bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Neighbour(ChannelId);

impl Neighbour {
    /// The last life of the last place that there could be.
    pub(super) const NOBODY: Self = Self(ChannelId(u64::MAX));

    pub(super) fn of(id: Option<ChannelId>) -> Self {
        id.map_or(Self::NOBODY, Self)
    }

    pub(super) fn id(self) -> Option<ChannelId> {
        (self != Self::NOBODY).then_some(self.0)
    }
}

impl Default for Neighbour {
    fn default() -> Self {
        Self::NOBODY
    }
}

impl Life {
    /// As a checkpoint says.
    pub(super) fn restore(&mut self, read: &checkpoint::LifeItem<'_>) {
        (self.offset, self.position) = (read.offset, read.position);
        (self.began, self.unknown_before) = (read.began, read.unknown_before);
        (self.used, self.used_at) = (Millis(read.used), read.used_at);
    }
}
