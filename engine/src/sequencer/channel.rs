//! One life of a channel: its offsets, what it keeps, who follows it.

use std::sync::Arc;

use fanfare_protocol::message::GapReason;

use crate::channel::{ChannelId, ChannelName};
use crate::rule::Rule;

use super::command::Gap;
use super::forget::Links;
use super::history::History;
use super::interest::Audience;
use super::resume::Start;
use super::trimmed::{Missed, Trimmed};

/// The record of a channel, from its first use to its being forgotten.
pub(super) struct Channel {
    pub(super) id: ChannelId,
    pub(super) name: Arc<ChannelName>,
    pub(super) rule: Arc<Rule>,
    /// The rule's number in the table.
    pub(super) rule_number: usize,
    /// Last offset that was assigned; 0 before the first message.
    pub(super) head: u64,
    /// Whoever comes from before this position may have missed messages of an earlier, forgotten
    /// life of the channel.
    pub(super) unknown_before: u64,
    pub(super) history: History,
    pub(super) trimmed: Trimmed,
    pub(super) audience: Audience,
    /// Whether interested shards have yet to hear of the floor.
    pub(super) floor_untold: bool,
    /// Where it stands among those that may be forgotten.
    pub(super) links: Links,
}

impl Channel {
    pub(super) fn new(
        id: ChannelId,
        name: Arc<ChannelName>,
        (rule_number, rule): (usize, &Arc<Rule>),
        unknown_before: u64,
    ) -> Self {
        Self {
            id,
            name,
            rule: Arc::clone(rule),
            rule_number,
            head: 0,
            unknown_before,
            history: History::default(),
            trimmed: Trimmed::default(),
            audience: Audience::default(),
            floor_untold: false,
            links: Links::default(),
        }
    }

    /// First offset that history keeps, `head + 1` where it keeps none.
    pub(super) fn floor(&self) -> u64 {
        self.head + 1 - self.history.len() as u64
    }

    /// Position of the last message; 0 before the first.
    pub(super) fn last_position(&self) -> u64 {
        self.history.last().map_or(self.trimmed.newest(), |message| message.position)
    }

    /// First offset to deliver to whoever starts here, and what it missed.
    pub(super) fn start(&self, from: Start) -> (u64, Option<Gap>) {
        match from {
            Start::Head(gap) => (self.head + 1, gap),
            Start::Floor(gap) => (self.floor(), gap),
            Start::After(position) => self.start_after(position),
            // What was asked for is what there is, so nothing of it is missing.
            Start::Newest(count) => ((self.head + 1).saturating_sub(count).max(self.floor()), None),
            Start::Time(at, position) => match self.history.before(at) {
                0 => self.start_after(position),
                // What is older than a kept message that is too old is not asked for either.
                older => (self.floor() + older as u64, None),
            },
        }
    }

    fn start_after(&self, position: u64) -> (u64, Option<Gap>) {
        if position < self.unknown_before {
            return (self.floor(), Some(Gap { bounds: None, reason: GapReason::Unknown }));
        }
        let reason = self.trimmed.reason();
        match self.trimmed.after(position) {
            Missed::Nothing => (self.floor() + self.history.until(position) as u64, None),
            Missed::From(offset) => {
                (self.floor(), Some(Gap { bounds: Some((offset, self.floor() - 1)), reason }))
            }
            Missed::Unknown => (self.floor(), Some(Gap { bounds: None, reason })),
        }
    }

    /// Panics where the record contradicts itself.
    pub(super) fn invariants(&self) {
        self.history.invariants();
        self.trimmed.invariants(self.floor());
        self.audience.invariants(self.head);
        assert!(self.history.len() as u64 <= self.rule.history.count);
        assert!(self.history.bytes() <= self.rule.history.bytes);
        if let Some(first) = self.history.first() {
            assert_eq!(first.offset, self.floor());
            assert!(first.position > self.trimmed.newest());
        }
    }
}
