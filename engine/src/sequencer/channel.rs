//! A channel: its present life, what this node keeps of it, and who follows it here.
//!
//! The life ([`Life`]) is the same wherever the log is read; the rest is this node's. A channel
//! that is merely followed has no life, and one that is merely published to has no audience: the
//! record is there for as long as either is.

use std::sync::Arc;

use fanfare_protocol::message::GapReason;

use crate::channel::{ChannelId, ChannelName};
use crate::rule::Rule;

use super::audience::Audience;
use super::command::Gap;
use super::history::History;
use super::life::Life;
use super::resume::Start;
use super::trimmed::{Missed, Trimmed};

/// The record of a channel.
pub(super) struct Channel {
    pub(super) id: ChannelId,
    pub(super) name: Arc<ChannelName>,
    pub(super) rule: Arc<Rule>,
    /// The number of the rule's pace.
    pub(super) pace: usize,
    pub(super) life: Life,
    pub(super) history: History,
    pub(super) trimmed: Trimmed,
    pub(super) audience: Audience,
    /// The last checkpoint in which it stands, or that was begun before its life was.
    pub(super) saved: u32,
    /// How many channels were used before it by the message of its last use.
    pub(super) used_nth: u8,
    /// Whether interested shards have yet to hear of the floor.
    pub(super) floor_untold: bool,
}

/// A node may have a million of them: what is rare lies in a box of its own.
const _: () = assert!(size_of::<Channel>() <= 192);

const UNKNOWN: Option<Gap> = Some(Gap { bounds: None, reason: GapReason::Unknown });

impl Channel {
    pub(super) fn new(
        id: ChannelId,
        name: Arc<ChannelName>,
        (pace, rule): (usize, &Arc<Rule>),
    ) -> Self {
        Self {
            id,
            name,
            rule: Arc::clone(rule),
            pace,
            life: Life::default(),
            history: History::default(),
            trimmed: Trimmed::default(),
            audience: Audience::default(),
            saved: 0,
            used_nth: 0,
            floor_untold: false,
        }
    }

    /// Whether it was published to, and was not forgotten since.
    pub(super) fn has_life(&self) -> bool {
        self.life.offset > 0
    }

    /// First offset that history keeps, one more than the last where it keeps none.
    pub(super) fn floor(&self) -> u64 {
        self.life.offset + 1 - self.history.len() as u64
    }

    /// The position that names its life, which is that of the life's first message. Before there is
    /// one it is the position after `position`, the order's last.
    pub(super) fn life_name(&self, position: u64) -> u64 {
        if self.has_life() { self.life.began } else { position + 1 }
    }

    /// First offset to deliver to whoever starts here, and what it missed; `watermark` is that of
    /// the order.
    pub(super) fn start(&self, from: Start, watermark: u64) -> (u64, Option<Gap>) {
        if !self.has_life() {
            return (1, from.gap_without_life(watermark));
        }
        match from {
            Start::Next(gap) => (self.life.offset + 1, gap),
            Start::Floor(gap) => (self.floor(), gap),
            Start::After(position) => self.start_after(position),
            Start::Offset(offset, life) => self.start_after_offset(offset, life),
            // Only what there is was asked for, so nothing is missing.
            Start::Newest(count) => {
                ((self.life.offset + 1).saturating_sub(count).max(self.floor()), None)
            }
            Start::Time(at, position) => match self.history.before(at) {
                0 => self.start_after(position),
                // Trimmed messages are older than those that are kept. If one of these is too old
                // already, none of the trimmed was asked for.
                older => (self.floor() + older as u64, None),
            },
        }
    }

    fn start_after(&self, position: u64) -> (u64, Option<Gap>) {
        if position < self.life.unknown_before {
            return (self.floor(), UNKNOWN);
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

    fn start_after_offset(&self, offset: u64, life: u64) -> (u64, Option<Gap>) {
        // A client may name it by where it began, or by an earlier position after which no other
        // life ended.
        let is_this = self.life.unknown_before < life && life <= self.life.began;
        if !is_this {
            return (self.floor(), UNKNOWN);
        }
        if offset > self.life.offset {
            return (self.life.offset + 1, UNKNOWN); // nobody was ever told such an offset
        }
        let (first, floor, reason) = (offset + 1, self.floor(), self.trimmed.reason());
        let gap = (first < floor).then(|| Gap { bounds: Some((first, floor - 1)), reason });
        (first.max(floor), gap)
    }

    /// Panics where the record contradicts itself.
    pub(super) fn invariants(&self) {
        self.history.invariants();
        self.trimmed.invariants(self.floor());
        self.audience.invariants(self.life.offset);
        assert!(self.has_life() || self.audience.mask() != 0, "a record is there for something");
        assert!(self.life.unknown_before < self.life.began || !self.has_life());
        assert!(self.life.began <= self.life.used_at.min(self.life.position));
        assert!(self.has_life() || (self.history.is_empty() && self.trimmed.newest() == 0));
        let newest = self.history.last().map_or(self.trimmed.newest(), |last| last.position);
        assert_eq!(self.life.position, newest, "the last message is kept, or its place is");
        assert!(self.history.len() as u64 <= self.rule.history.count);
        assert!(self.history.bytes() <= self.rule.history.bytes);
        if let Some(first) = self.history.first() {
            assert_eq!(first.offset, self.floor());
            assert!(first.position > self.trimmed.newest());
        }
    }
}
