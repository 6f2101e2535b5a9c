//! The entries of a log and their three numbers.
//!
//! Each has a *seq*, by which the log numbers whatever it holds, and a *position* in the order of
//! all channels; a message that history keeps has an *offset*, too. What has none is ephemeral: a
//! message that is said in passing, or a presence event. Of such a one the offset is that of the
//! kept message that comes next.
//!
//! ```text
//! seq:       40  41  42  43  44      first() = 40, end() = 45
//! entry:      k   e   k   k   e      kept or ephemeral
//! offset:     7   8   8   9  10      first_offset() = 7, next_offset() = 10
//! ```
//!
//! Seqs and kept offsets are dense, so the first of each is known from the next one and how many
//! there are.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use fanfare_protocol::dialect::Encoding;

use super::entry::LogEntry;
use crate::message::Message;
use crate::presence;
use crate::rule::Window;

/// Seq of the first append. Imports come before it, and there are fewer of them; and what looks
/// like no offset is never taken for one.
const FIRST_SEQ: u64 = 1 << 32;

/// Entries in the order of their seqs, and what they come to.
#[derive(Debug)]
pub(super) struct Entries {
    list: VecDeque<LogEntry>,
    /// Seq of the next append.
    end: u64,
    /// Offset of the next kept message.
    next_offset: u64,
    /// Bytes of all.
    cost: usize,
    /// Bytes of the ephemeral ones.
    ephemeral_cost: usize,
    /// How many are ephemeral, and how many of those are presence events.
    ephemeral: u32,
    presence: u32,
}

impl Entries {
    /// None; the next kept message is behind offset `last`.
    pub(super) fn after(last: u64) -> Self {
        Self {
            list: VecDeque::new(),
            end: FIRST_SEQ,
            next_offset: last + 1,
            cost: 0,
            ephemeral_cost: 0,
            ephemeral: 0,
            presence: 0,
        }
    }

    /// None; the next one is kept and has this number as its seq and its offset.
    #[cfg(test)]
    pub(super) fn numbered_from(next: u64) -> Self {
        Self { end: next, ..Self::after(next - 1) }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// How many of them are ephemeral.
    pub(super) fn ephemeral(&self) -> usize {
        self.ephemeral as usize
    }

    /// How many of them history keeps, or did.
    pub(super) fn kept(&self) -> usize {
        self.list.len() - self.ephemeral()
    }

    /// Bytes of the ephemeral ones.
    pub(super) fn ephemeral_cost(&self) -> usize {
        self.ephemeral_cost
    }

    /// Bytes of those that history keeps, or did.
    pub(super) fn kept_cost(&self) -> usize {
        self.cost - self.ephemeral_cost
    }

    /// Whether they are more than a window holds.
    pub(super) fn exceed(&self, window: Window) -> bool {
        self.list.len() as u64 > window.count || self.cost > window.bytes
    }

    /// Whether any of them is a presence event.
    pub(super) fn has_presence(&self) -> bool {
        self.presence > 0
    }

    /// Whether the oldest one is ephemeral.
    pub(super) fn begin_ephemeral(&self) -> bool {
        self.ephemeral > 0 && self.list.front().is_some_and(LogEntry::is_ephemeral)
    }

    /// Whether the newest one is ephemeral.
    pub(super) fn end_ephemeral(&self) -> bool {
        self.ephemeral > 0 && self.list.back().is_some_and(LogEntry::is_ephemeral)
    }
}

/// What stands where.
impl Entries {
    /// First seq that can still be given.
    pub(super) fn first(&self) -> u64 {
        self.end - self.list.len() as u64
    }

    /// Whether an entry came while its channel was followed here, and was not imported.
    pub(super) fn came(seq: u64) -> bool {
        seq >= FIRST_SEQ
    }

    /// Seq of the next append.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// First offset of all entries, or of those to come.
    pub(super) fn first_offset(&self) -> u64 {
        self.next_offset - self.kept() as u64
    }

    /// Offset of the next kept message.
    pub(super) fn next_offset(&self) -> u64 {
        self.next_offset
    }

    /// Entry `seq`; `None` where it is not here.
    pub(super) fn get(&self, seq: u64) -> Option<&LogEntry> {
        let nth = seq.checked_sub(self.first())?;
        self.list.get(usize::try_from(nth).ok()?)
    }

    /// Entry `seq`, which is here.
    pub(super) fn at(&self, seq: u64) -> &LogEntry {
        &self.list[(seq - self.first()) as usize]
    }

    /// Position of entry `seq`; `None` where it is not here.
    pub(super) fn position(&self, seq: u64) -> Option<u64> {
        self.get(seq).map(LogEntry::position)
    }

    /// Position of entry `seq`, and which of its publication's channels this is: how entries of
    /// several logs are merged.
    pub(super) fn rank(&self, seq: u64) -> Option<(u64, u8)> {
        self.get(seq).map(LogEntry::rank)
    }

    /// First offset at or after `seq`, which is no more than [`Entries::end`]. It is known of what
    /// was dropped, too: all that went and did not take its number with it was kept.
    pub(super) fn offset_at(&self, seq: u64) -> u64 {
        match seq.checked_sub(self.first()) {
            None => self.first_offset() - (self.first() - seq),
            Some(nth) => self.list.get(nth as usize).map_or(self.next_offset, LogEntry::offset),
        }
    }

    /// Where a client begins that is to get kept messages from `offset` on, and nothing ephemeral
    /// that came before that one.
    pub(super) fn seq_of(&self, offset: u64) -> u64 {
        let before = |entry: &LogEntry| entry.next_offset() <= offset;
        self.first() + self.list.partition_point(before) as u64
    }

    /// Seq of the first entry at `position` or after it; [`Entries::end`] where there is none.
    pub(super) fn at_or_after(&self, position: u64) -> u64 {
        let before = self.list.partition_point(|entry| entry.position() < position);
        self.first() + before as u64
    }

    /// Seq of the first entry after `position`; [`Entries::end`] where there is none.
    pub(super) fn after_position(&self, position: u64) -> u64 {
        let until = self.list.partition_point(|entry| entry.position() <= position);
        self.first() + until as u64
    }

    /// Seq of the newest kept entry; of the newest of all where none is held. What is said in
    /// passing takes nothing from what is kept.
    pub(super) fn newest(&self) -> u64 {
        let nth = self.list.iter().rposition(|entry| !entry.is_ephemeral());
        nth.map_or(self.first().max(self.end - 1), |nth| self.first() + nth as u64)
    }

    /// Position of the message with offset 1, where that is here.
    pub(super) fn began_at(&self) -> Option<u64> {
        let mut kept = self.list.iter().filter(|entry| !entry.is_ephemeral());
        kept.next().filter(|first| first.offset() == 1).map(LogEntry::position)
    }

    /// How many of these seqs, which may be of anything, are ephemeral entries.
    pub(super) fn ephemeral_within(&self, seqs: Range<u64>) -> u64 {
        if self.ephemeral == 0 {
            return 0;
        }
        let here = |seq: u64| seq.clamp(self.first(), self.end);
        let range = self.range(here(seqs.start)..here(seqs.end));
        range.filter(|entry| entry.is_ephemeral()).count() as u64
    }

    /// How many of these seqs, which are of entries that are here, an encoding tells.
    pub(super) fn told_within(&self, seqs: Range<u64>, encoding: Encoding) -> u64 {
        let all = seqs.end - seqs.start;
        if !self.has_presence() || encoding.tells_presence() {
            return all;
        }
        all - self.range(seqs).filter(|entry| entry.is_presence()).count() as u64
    }

    /// Bytes of the kept ones with offsets from `from` on and before `to`.
    pub(super) fn kept_cost_within(&self, from: u64, to: u64) -> usize {
        let first = self.first_offset();
        let from = from.max(first);
        let nth = match self.ephemeral {
            0 => ((from - first) as usize).min(self.list.len()),
            _ => self.list.partition_point(|entry| entry.offset() < from),
        };
        let within = self.list.range(nth..).take_while(|entry| entry.offset() < to);
        within.filter(|entry| !entry.is_ephemeral()).map(LogEntry::cost).sum()
    }

    /// How many of the newest a window holds.
    pub(super) fn count_within(&self, window: Window) -> usize {
        let (mut room, mut held) = (window.bytes, 0);
        for entry in self.list.iter().rev() {
            let Some(left) = room.checked_sub(entry.cost()) else { break };
            if held == window.count {
                break;
            }
            (room, held) = (left, held + 1);
        }
        held as usize
    }

    fn range(&self, seqs: Range<u64>) -> impl Iterator<Item = &LogEntry> {
        let nth = |seq: u64| (seq - self.first()) as usize;
        self.list.range(nth(seqs.start)..nth(seqs.end))
    }
}

/// What comes and what goes.
impl Entries {
    /// Appends a message.
    pub(super) fn append(&mut self, message: Arc<Message>) {
        assert_eq!(message.offset, self.next_offset, "the ring keeps each channel dense");
        self.next_offset = message.next_offset();
        self.push(LogEntry::Message(message));
    }

    /// Appends a presence event.
    pub(super) fn append_presence(&mut self, event: Arc<presence::PlacedPresence>) {
        self.push(LogEntry::Presence(self.next_offset, event));
    }

    fn push(&mut self, entry: LogEntry) {
        self.count(&entry);
        self.end += 1;
        self.list.push_back(entry);
    }

    /// Puts kept messages before the first, which they end where it begins.
    pub(super) fn import(&mut self, earlier: &[Arc<Message>]) {
        let last = earlier.last().map(|last| last.next_offset());
        assert!(
            last.is_none_or(|next| next == self.first_offset()),
            "an import ends where the log begins"
        );
        for message in earlier.iter().rev() {
            self.cost += message.cost();
            self.list.push_front(LogEntry::Message(Arc::clone(message)));
        }
    }

    /// Takes out the oldest one.
    pub(super) fn pop(&mut self) -> Option<LogEntry> {
        let entry = self.list.pop_front()?;
        self.uncount(&entry);
        Some(entry)
    }

    /// Takes out the ephemeral ones before the newest `stay` entries, from between the others, and
    /// adds their seqs to `dropped`. What stood before each of them moves up by one.
    pub(super) fn drop_ephemeral(&mut self, stay: usize, dropped: &mut Vec<u64>) {
        let (first, outside) = (self.first(), self.list.len() - stay);
        let list = std::mem::replace(&mut self.list, VecDeque::with_capacity(stay));
        for (nth, entry) in list.into_iter().enumerate() {
            if nth < outside && entry.is_ephemeral() {
                self.uncount(&entry);
                dropped.push(first + nth as u64);
            } else {
                self.list.push_back(entry);
            }
        }
    }

    /// The next kept message has offset 1, and nothing stays but the presence events behind the
    /// last message.
    pub(super) fn begin_anew(&mut self) {
        let message = self.list.iter().rposition(|entry| !entry.is_presence());
        let stay = self.list.split_off(message.map_or(0, |nth| nth + 1));
        *self = Self { end: self.end - stay.len() as u64, ..Self::after(0) };
        for mut entry in stay {
            if let LogEntry::Presence(next, _) = &mut entry {
                *next = self.next_offset;
            }
            self.push(entry);
        }
    }

    /// As [`Entries::begin_anew`], and nothing stays: one seq passes for which nothing stands, so
    /// that every cursor is before the first.
    pub(super) fn begin_epoch(&mut self) {
        *self = Self { end: self.end + 1, ..Self::after(0) };
    }

    fn count(&mut self, entry: &LogEntry) {
        let cost = entry.cost();
        self.cost += cost;
        self.presence += u32::from(entry.is_presence());
        if entry.is_ephemeral() {
            self.ephemeral += 1;
            self.ephemeral_cost += cost;
        }
    }

    fn uncount(&mut self, entry: &LogEntry) {
        let cost = entry.cost();
        self.cost -= cost;
        self.presence -= u32::from(entry.is_presence());
        if entry.is_ephemeral() {
            self.ephemeral -= 1;
            self.ephemeral_cost -= cost;
        }
    }

    /// Panics where what is counted is not what there is.
    pub(super) fn invariants(&self) {
        let mut counted = Self { end: self.end, ..Self::after(0) };
        self.list.iter().for_each(|entry| counted.count(entry));
        let sums = |it: &Self| (it.cost, it.ephemeral_cost, it.ephemeral, it.presence);
        assert_eq!(sums(self), sums(&counted));
        let kept = self.list.iter().filter(|entry| !entry.is_ephemeral()).map(LogEntry::offset);
        assert!(kept.eq(self.first_offset()..self.next_offset), "kept offsets are dense");
        assert!(self.list.iter().is_sorted_by_key(LogEntry::rank), "in the order of all channels");
    }
}

#[cfg(test)]
mod tests {
    use fanfare_protocol::message::Change;

    use super::super::sample::{self, name};
    use super::*;
    use crate::channel::ChannelId;

    fn message(position: u64, offset: u64, ephemeral: bool) -> Arc<Message> {
        sample::message(position, offset, ephemeral, 1, Vec::new())
    }

    fn event(position: u64) -> Arc<presence::PlacedPresence> {
        Arc::new(presence::PlacedPresence {
            channel: ChannelId(1),
            name: name(),
            position,
            change: Change::Join,
            member: position.to_string().into(),
            info: Box::default(),
        })
    }

    /// Two ephemeral messages before the last of two kept ones, and one on either side.
    fn entries() -> Entries {
        let mut entries = Entries::after(4);
        for (position, offset, ephemeral) in
            [(1, 5, true), (2, 5, false), (3, 6, true), (4, 6, true), (5, 6, false), (6, 7, true)]
        {
            entries.append(message(position, offset, ephemeral));
        }
        entries.invariants();
        entries
    }

    fn offsets(entries: &Entries) -> Vec<u64> {
        (entries.first()..=entries.end()).map(|seq| entries.offset_at(seq)).collect()
    }

    #[test]
    fn who_begins_at_an_offset_gets_nothing_ephemeral_from_before_it() {
        let entries = entries();
        let position = |offset| entries.position(entries.seq_of(offset));
        assert_eq!([5, 6, 7].map(position), [Some(2), Some(5), None]);
        assert_eq!(entries.seq_of(7), entries.end());
        assert_eq!(offsets(&entries), [5, 5, 6, 6, 6, 7, 7]);
        let first = entries.first();
        assert_eq!(entries.ephemeral_within(0..u64::MAX), 4);
        assert_eq!(entries.ephemeral_within(first + 1..first + 4), 2);
    }

    #[test]
    fn of_what_went_the_offset_is_known() {
        let mut entries = entries();
        let first = entries.first();
        assert!(entries.pop().is_some_and(|entry| entry.is_ephemeral()));
        assert!(entries.pop().is_some_and(|entry| !entry.is_ephemeral()));
        entries.invariants();
        assert_eq!((entries.first(), entries.first_offset()), (first + 2, 6));
        assert_eq!([first + 1, first + 2].map(|seq| entries.offset_at(seq)), [5, 6]);
    }

    #[test]
    fn what_is_taken_out_from_between_moves_up_what_stands_before() {
        let (mut entries, mut dropped) = (entries(), Vec::new());
        let (first, end) = (entries.first(), entries.end());
        entries.drop_ephemeral(1, &mut dropped);
        entries.invariants();
        assert_eq!(dropped, [0, 2, 3].map(|nth| first + nth));
        assert_eq!((entries.first(), entries.end()), (first + 3, end));
        assert_eq!(offsets(&entries), [5, 6, 7, 7], "the newest stays");
    }

    #[test]
    fn what_is_imported_stands_before_the_first() {
        let mut entries = entries();
        let first = entries.first();
        entries.import(&[]);
        entries.import(&[message(1, 3, false), message(1, 4, false)]);
        entries.invariants();
        assert_eq!((entries.first(), entries.first_offset()), (first - 2, 3));
        assert_eq!(entries.at(first - 1).offset(), 4);
    }

    #[test]
    #[should_panic = "an import ends where the log begins"]
    fn an_import_leaves_no_hole() {
        entries().import(&[message(1, 3, false)]);
    }

    #[test]
    fn of_a_life_that_ends_events_behind_the_last_message_stay() {
        let mut entries = entries();
        let end = entries.end();
        entries.append_presence(event(7));
        entries.append_presence(event(8));
        assert_eq!(entries.told_within(entries.first()..entries.end(), Encoding::ALL[0]), 6);
        entries.begin_anew();
        entries.invariants();
        assert_eq!((entries.first(), entries.end()), (end, end + 2));
        assert_eq!(offsets(&entries), [1, 1, 1]);
        entries.append(message(9, 1, false));
        assert_eq!(entries.began_at(), Some(9));
        entries.begin_epoch();
        entries.invariants();
        assert_eq!((entries.first(), entries.end()), (end + 4, end + 4), "one seq has passed");
        assert_eq!((entries.next_offset(), entries.began_at()), (1, None));
    }
}
