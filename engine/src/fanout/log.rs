//! What one shard keeps of one channel: the recent messages, once, and their rendered lanes.
//!
//! A log numbers its entries itself, by *seq*: an entry may be a message that history keeps, which
//! has an offset, or what has none: an ephemeral message, or a presence event, which is one more
//! ephemeral entry to all that is said here. Cursors are seqs; what is said of a gap is said in
//! offsets, and of kept messages only.
//!
//! The log keeps whatever the channel's history still promises (its *floor*) and, beyond that, the
//! live window: what a connected laggard can still get. The sequencer alone moves the floor.
//! What neither holds is dropped by [`Log::trim`], whose time [`super::overgrown`] knows.

use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use fanfare_protocol::dialect::Encoding;
use fanfare_protocol::message::GapReason;

use super::entry::Entry;
use super::lane::{Entries, Renderer, Run, Want};
use super::lanes::{Lanes, Rendition};
use super::page::{Page, Pages};
use super::room::NoRoom;
use super::views::{ViewNumber, Views};
use crate::channel::{ChannelId, ChannelName};
use crate::message::Message;
use crate::presence;
use crate::rule::{Rule, Slow};

/// Seq of the first append of a log. Imports come before it, and there are fewer of them; and what
/// looks like no offset is never taken for one.
const FIRST_SEQ: u64 = 1 << 32;

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

/// One channel's log.
#[derive(Debug)]
pub(super) struct Log {
    /// The sequencer's number.
    pub(super) id: ChannelId,
    /// Its name.
    pub(super) name: Arc<ChannelName>,
    rule: Arc<Rule>,
    entries: VecDeque<Entry>,
    /// Seq of the next append.
    end: u64,
    /// Seq with which the channel's present life began, where an earlier one was seen here.
    began: u64,
    /// How many lives of the channel ended here.
    lives: u64,
    /// Seq with which the last epoch began here that was not the first, and how many lives had
    /// ended by then. Lives that began since may have been forgotten.
    epoch: (u64, u64),
    /// First offset of all entries, or of those to come.
    first_offset: u64,
    /// Offset of the next kept message.
    next_offset: u64,
    /// First offset that history promises, as far as this shard was told.
    floor: u64,
    /// Bytes of all entries.
    cost: usize,
    /// Those of kept entries that lie before the floor.
    loose_cost: usize,
    ephemeral: usize,
    ephemeral_cost: usize,
    /// Those of the ephemeral entries that are presence events.
    presence: usize,
    /// How many entries the next trim leaves that history does not promise, where there is no room
    /// for a window.
    tight: Option<usize>,
    views: Views,
    lanes: Lanes,
}

impl Log {
    /// A log whose next kept message is behind `last`.
    pub(super) fn after(id: ChannelId, name: Arc<ChannelName>, rule: Arc<Rule>, last: u64) -> Self {
        Self {
            id,
            name,
            rule,
            entries: VecDeque::new(),
            end: FIRST_SEQ,
            began: 0,
            lives: 0,
            epoch: (0, 0),
            first_offset: last + 1,
            next_offset: last + 1,
            // Not told yet. A guess above the true floor could never be lowered, and the log would
            // drop what history promises: an import first of all.
            floor: 1,
            cost: 0,
            loose_cost: 0,
            ephemeral: 0,
            ephemeral_cost: 0,
            presence: 0,
            tight: None,
            views: Views::default(),
            lanes: Lanes::default(),
        }
    }

    /// First seq that can still be given.
    pub(super) fn first(&self) -> u64 {
        self.end - self.entries.len() as u64
    }

    /// Seq of the next append.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Which life of the channel it is of: another number when that has ended.
    pub(super) fn life(&self) -> u64 {
        self.lives
    }

    /// First offset of all entries, or of those to come.
    pub(super) fn first_offset(&self) -> u64 {
        self.first_offset
    }

    /// Last offset that was assigned.
    pub(super) fn last(&self) -> u64 {
        self.next_offset - 1
    }

    /// Where a client begins that is to get kept messages from `offset` on, and nothing ephemeral
    /// that came before that one.
    pub(super) fn seq_of(&self, offset: u64) -> u64 {
        let before = |entry: &Entry| entry.next_offset() <= offset;
        self.first() + self.entries.partition_point(before) as u64
    }

    /// First offset at or after `seq`, which is no more than [`Log::end`]. It is known of what was
    /// dropped, too, unless that was of an earlier life of the channel.
    pub(super) fn offset_at(&self, seq: u64) -> Option<u64> {
        if seq < self.began {
            return None;
        }
        Some(match seq.checked_sub(self.first()) {
            // All that is gone and still counted was kept: see `trim`.
            None => self.first_offset - (self.first() - seq),
            Some(nth) => self.entries.get(nth as usize).map_or(self.next_offset, Entry::offset),
        })
    }

    /// Position of the first message of the present life, where that is here.
    pub(super) fn began_at(&self) -> Option<u64> {
        let mut kept = self.entries.iter().filter(|entry| !entry.is_ephemeral());
        kept.next().filter(|first| first.offset() == 1).map(Entry::position)
    }

    /// The channel's life ended: the next message has offset 1. What is here is of the old life
    /// and goes with it, because offsets are no order across lives. It is no loss to whoever has
    /// it; whoever has not is behind the log from now on. Presence events behind the last message
    /// stay: no life goes on for them, so one may end before anybody was told of them, and who has
    /// had all messages is not to be told that some are missing.
    pub(super) fn begin_anew(&mut self, pages: &mut Pages) {
        let message = self.entries.iter().rposition(|entry| !entry.is_presence());
        let mut stay = self.entries.split_off(message.map_or(0, |nth| nth + 1));
        let next_offset = |entry: &mut Entry| {
            if let Entry::Presence(next, _) = entry {
                *next = 1;
            }
        };
        stay.iter_mut().for_each(next_offset);
        self.entries = stay;
        self.began = self.first();
        self.lives += 1;
        (self.first_offset, self.next_offset, self.floor) = (1, 1, 1);
        (self.ephemeral, self.presence) = (self.entries.len(), self.entries.len());
        self.ephemeral_cost = self.entries.iter().map(Entry::cost).sum();
        (self.cost, self.loose_cost) = (self.ephemeral_cost, 0);
        self.lanes.change(|lane| lane.drop_before(self.began, pages));
    }

    /// As [`Log::begin_anew`], because the epoch ended: one seq passes for which nothing stands, so
    /// that every cursor is behind the log, also of those who had everything.
    pub(super) fn begin_epoch(&mut self, pages: &mut Pages) {
        self.entries.clear();
        self.end += 1;
        self.begin_anew(pages);
        self.epoch = (self.began, self.lives);
    }

    /// What ended the life of the channel in which this cursor stands and of which it has not had
    /// all; `None` where it stands in the present one.
    pub(super) fn ended(&self, seq: u64) -> Option<EndedBy> {
        let (began, _) = self.epoch;
        (seq < self.began).then_some(if seq < began { EndedBy::Epoch } else { EndedBy::Forgetting })
    }

    /// What ended a life of the channel, unless that goes on; an epoch that began since, whatever
    /// was forgotten after it.
    pub(super) fn ended_since(&self, life: u64) -> Option<EndedBy> {
        let (_, lives) = self.epoch;
        let by = if life < lives { EndedBy::Epoch } else { EndedBy::Forgetting };
        (life != self.life()).then_some(by)
    }

    /// Whether everything of the present epoch is still here.
    pub(super) fn is_whole(&self) -> bool {
        self.first() <= self.began && self.began == self.epoch.0
    }

    /// Ephemeral entries of these seqs.
    pub(super) fn ephemeral_within(&self, seqs: Range<u64>) -> u64 {
        if self.ephemeral == 0 {
            return 0;
        }
        let nth = |seq: u64| (seq.clamp(self.first(), self.end) - self.first()) as usize;
        let range = self.entries.range(nth(seqs.start)..nth(seqs.end));
        range.filter(|entry| entry.is_ephemeral()).count() as u64
    }

    /// Whether it holds any presence event.
    pub(super) fn has_presence(&self) -> bool {
        self.presence > 0
    }

    /// Entries of these seqs, which the log holds, that an encoding tells.
    pub(super) fn told_within(&self, seqs: Range<u64>, encoding: Encoding) -> u64 {
        let all = seqs.end - seqs.start;
        if !self.has_presence() || encoding.tells_presence() {
            return all;
        }
        let nth = |seq: u64| (seq - self.first()) as usize;
        let range = self.entries.range(nth(seqs.start)..nth(seqs.end));
        all - range.filter(|entry| entry.is_presence()).count() as u64
    }

    /// What becomes of those who want what is not here any more.
    pub(super) fn slow(&self) -> Slow {
        self.rule.slow
    }

    /// Where a cursor that has left the log goes on; `None` where its connection does not.
    pub(super) fn resumes_at(&self) -> Option<u64> {
        match self.rule.slow {
            Slow::Disconnect => None,
            Slow::Window => Some(self.first()),
            Slow::Latest => Some(self.newest()),
        }
    }

    /// Seq of the newest kept entry; of the newest of all where none is held. What is said in
    /// passing takes nothing from what is kept.
    fn newest(&self) -> u64 {
        let nth = self.entries.iter().rposition(|entry| !entry.is_ephemeral());
        nth.map_or(self.first().max(self.end - 1), |nth| self.first() + nth as u64)
    }

    /// Entry `seq`; `None` where the log does not hold it.
    pub(super) fn entry(&self, seq: u64) -> Option<&Entry> {
        let nth = seq.checked_sub(self.first())?;
        self.entries.get(usize::try_from(nth).ok()?)
    }

    /// Position of entry `seq`; `None` where the log does not hold it.
    pub(super) fn position(&self, seq: u64) -> Option<u64> {
        self.entry(seq).map(Entry::position)
    }

    /// Position of entry `seq`, and which of its publication's channels this is: how entries of
    /// several logs are merged.
    pub(super) fn rank(&self, seq: u64) -> Option<(u64, u8)> {
        self.entry(seq).map(Entry::rank)
    }

    /// Seq of the first entry at `position` or after it; [`Log::end`] where there is none.
    pub(super) fn at_or_after(&self, position: u64) -> u64 {
        let before = self.entries.partition_point(|entry| entry.position() < position);
        self.first() + before as u64
    }

    /// Seq of the first entry after `position`; [`Log::end`] where there is none.
    pub(super) fn after_position(&self, position: u64) -> u64 {
        let until = self.entries.partition_point(|entry| entry.position() <= position);
        self.first() + until as u64
    }

    /// Puts messages that end where the log begins before it; empty is nothing.
    pub(super) fn import(&mut self, earlier: &[Arc<Message>], pages: &mut Pages) {
        let Some(last) = earlier.last() else { return };
        // What was dropped had these numbers, and a page may still begin with some of it.
        let first = self.first();
        self.lanes.change(|lane| lane.drop_up_to(first - 1, pages));
        assert_eq!(last.offset + 1, self.first_offset, "an import ends where the log begins");
        for message in earlier.iter().rev() {
            self.cost += message.cost();
            self.entries.push_front(Entry::Message(Arc::clone(message)));
        }
        self.first_offset = earlier[0].offset;
    }

    /// Appends a message.
    pub(super) fn append(&mut self, message: Arc<Message>) {
        assert_eq!(message.offset, self.next_offset, "the ring keeps each channel dense");
        let cost = message.cost();
        self.cost += cost;
        if message.ephemeral {
            self.ephemeral += 1;
            self.ephemeral_cost += cost;
        }
        self.end += 1;
        self.next_offset = message.next_offset();
        let floor = message.floor;
        self.entries.push_back(Entry::Message(message));
        self.raise_floor(floor);
    }

    /// Appends a presence event.
    pub(super) fn append_presence(&mut self, event: Arc<presence::Placed>) {
        let cost = event.cost();
        self.cost += cost;
        self.ephemeral += 1;
        self.ephemeral_cost += cost;
        self.presence += 1;
        self.end += 1;
        self.entries.push_back(Entry::Presence(self.next_offset, event));
    }

    /// History promises nothing before `floor` any more.
    pub(super) fn raise_floor(&mut self, floor: u64) {
        if floor <= self.floor {
            return;
        }
        let from = self.floor.max(self.first_offset);
        let nth = match self.ephemeral {
            0 => ((from - self.first_offset) as usize).min(self.entries.len()),
            _ => self.entries.partition_point(|entry| entry.offset() < from),
        };
        let loose = self.entries.range(nth..).take_while(|entry| entry.offset() < floor);
        let loose = loose.filter(|entry| !entry.is_ephemeral());
        self.loose_cost += loose.map(|entry| entry.cost()).sum::<usize>();
        self.floor = floor;
    }

    /// Bytes of what history does not promise, which is here for connected laggards alone.
    pub(super) fn loose_bytes(&self) -> usize {
        self.loose_cost + self.ephemeral_cost
    }

    /// There is no room for a live window: the next trim leaves the newest entry, or nothing that
    /// history does not promise where there is no more than one such. So twice is enough for all.
    pub(super) fn tighten(&mut self) {
        let loose = self.loose_kept() + self.ephemeral as u64;
        self.tight = Some(usize::from(loose > 1));
    }

    /// Kept messages that history does not promise.
    fn loose_kept(&self) -> u64 {
        self.floor.min(self.next_offset).saturating_sub(self.first_offset)
    }

    /// Whether that is still to come.
    pub(super) fn is_tight(&self) -> bool {
        self.tight.is_some()
    }

    /// Whether there is something to drop.
    pub(super) fn is_over(&self) -> bool {
        self.front_is_over() || self.is_cluttered()
    }

    fn front_is_over(&self) -> bool {
        let window = self.rule.window;
        let is_long = || self.entries.len() as u64 > window.count || self.cost > window.bytes;
        let front_is_ephemeral =
            || self.ephemeral > 0 && self.entries.front().is_some_and(Entry::is_ephemeral);
        let stay = self.tight.unwrap_or(1);
        self.entries.len() > stay
            && (self.is_tight() || is_long())
            && (self.first_offset < self.floor || front_is_ephemeral())
    }

    /// Whether ephemeral entries stand behind what history promises, so many that it is worth the
    /// work to take them out from between: as many as there are others, beyond the window. Where
    /// there is no room for a window, any.
    fn is_cluttered(&self) -> bool {
        if let Some(stay) = self.tight {
            let stays = stay > 0 && self.entries.back().is_some_and(Entry::is_ephemeral);
            return self.ephemeral > usize::from(stays);
        }
        let window = self.rule.window;
        let kept = (self.entries.len() - self.ephemeral) as u64;
        let kept_cost = self.cost - self.ephemeral_cost;
        self.ephemeral > 1
            && (self.ephemeral as u64 > window.count.saturating_add(kept)
                || self.ephemeral_cost > window.bytes.saturating_add(kept_cost))
    }

    /// Whether two windows of messages are kept that history does not promise: more than a
    /// connected client can ask for, even while it is not its turn.
    pub(super) fn is_far_over(&self) -> bool {
        let window = self.rule.window;
        let (count, bytes) = (window.count.saturating_mul(2), window.bytes.saturating_mul(2));
        let loose = self.loose_kept();
        let kept = (self.entries.len() - self.ephemeral) as u64;
        let kept_cost = self.cost - self.ephemeral_cost;
        // One message that is longer than two windows is no reason to wait: it always stays.
        self.is_over()
            && (loose > count
                || self.loose_cost > bytes
                || self.ephemeral as u64 > count.saturating_add(kept)
                || self.ephemeral_cost > bytes.saturating_add(kept_cost))
    }

    /// Drops what neither history nor the window holds. The newest message stays, unless there is
    /// no room for any window.
    ///
    /// What was dropped and is still counted by cursors was kept: an ephemeral entry that goes
    /// takes its number with it, and whatever stands before it moves up by one. `dropped` is then
    /// the seqs that went so, in their order, and cursors before them have to move: see
    /// [`moved_up`].
    pub(super) fn trim(&mut self, dropped: &mut Vec<u64>, pages: &mut Pages) {
        dropped.clear();
        while self.front_is_over() {
            let seq = self.first();
            let Some(entry) = self.entries.pop_front() else { break };
            self.forget(&entry);
            if entry.is_ephemeral() {
                dropped.push(seq);
            } else {
                self.first_offset += 1;
            }
        }
        let first = self.first();
        self.lanes.change(|lane| lane.drop_before(first, pages));
        if self.is_cluttered() {
            self.drop_clutter(dropped, pages);
        }
        self.tight = None;
        if self.began > 0 {
            // It stands before whatever went so: a cursor of an earlier life stays one.
            let moved = dropped.len() as u64;
            (self.began, self.epoch.0) = (self.began + moved, self.epoch.0 + moved);
        }
    }

    fn forget(&mut self, entry: &Entry) {
        let cost = entry.cost();
        self.cost -= cost;
        self.presence -= usize::from(entry.is_presence());
        if entry.is_ephemeral() {
            self.ephemeral -= 1;
            self.ephemeral_cost -= cost;
        } else {
            self.loose_cost -= cost;
        }
    }

    /// Drops every ephemeral entry that the window does not hold, from between the others.
    fn drop_clutter(&mut self, dropped: &mut Vec<u64>, pages: &mut Pages) {
        let stay = self.tight.unwrap_or_else(|| self.window_entries().max(1));
        let first = self.first();
        let outside = self.entries.len() - stay;
        let entries = std::mem::take(&mut self.entries);
        self.entries = VecDeque::with_capacity(entries.len() - outside);
        for (nth, entry) in entries.into_iter().enumerate() {
            if nth < outside && entry.is_ephemeral() {
                self.forget(&entry);
                dropped.push(first + nth as u64);
            } else {
                self.entries.push_back(entry);
            }
        }
        let last = dropped.last().copied().unwrap_or_default();
        self.lanes.change(|lane| lane.drop_up_to(last, pages));
    }

    /// How many of the newest entries the window holds.
    fn window_entries(&self) -> usize {
        let window = self.rule.window;
        let (mut room, mut held) = (window.bytes, 0);
        for entry in self.entries.iter().rev() {
            let Some(left) = room.checked_sub(entry.cost()) else { break };
            if held == window.count {
                break;
            }
            (room, held) = (left, held + 1);
        }
        held as usize
    }

    /// What is wanted of the entries in a rendition, as far as it lies in one page: rendered now,
    /// where it was not. `None` where the log does not hold the first of it, or nothing is wanted.
    ///
    /// # Errors
    /// Where the first of it is not rendered and there is no room for that.
    pub(super) fn run(
        &mut self,
        want: Want,
        rendition: Rendition,
        renderer: &mut Renderer,
    ) -> Result<Option<Run<'_>>, NoRoom> {
        let first = self.first();
        if !(first..self.end.min(want.before)).contains(&want.seq) {
            return Ok(None);
        }
        if let Err(no_room) = renderer.room_for(&self.entries[(want.seq - first) as usize])
            && self.page_of(want.seq, rendition).is_none()
        {
            return Err(no_room);
        }
        let Rendition { encoding, view } = rendition;
        let entries = Entries { list: &self.entries, first, view: self.views.get(view) };
        Ok(Some(self.lanes.get_or_begin(rendition).run(want, encoding, entries, renderer)))
    }

    /// Drops pages of which `goes` says so.
    pub(super) fn evict(&mut self, mut goes: impl FnMut(&Rc<Page>) -> bool) {
        self.lanes.change(|lane| lane.evict(&mut goes));
    }

    /// The page that holds entry `seq`, where it is rendered.
    pub(super) fn page_of(&self, seq: u64, rendition: Rendition) -> Option<&Rc<Page>> {
        self.lanes.get(rendition)?.page_of(seq)
    }

    /// What a view of the channel says.
    pub(super) fn view(&self, number: ViewNumber) -> Option<&str> {
        self.views.get(number)
    }

    /// Whether one more subscription by `view` has room.
    pub(super) fn has_room_for(&self, view: &str) -> bool {
        self.views.has_room(view)
    }

    /// A subscription by `view` begins, if by any; it has room.
    pub(super) fn enter(&mut self, view: Option<&Arc<str>>) -> ViewNumber {
        view.map(|view| self.views.enter(view)).unwrap_or_default()
    }

    /// A subscription by this view ends.
    pub(super) fn leave(&mut self, view: ViewNumber) {
        if self.views.leave(view) {
            self.lanes.forget(view);
        }
    }

    /// Panics where what is rendered is not what the entries say.
    pub(super) fn invariants(&self, renderer: &mut Renderer) {
        for (Rendition { encoding, view }, lane) in self.lanes.iter() {
            let view = self.views.get(view);
            let entries = Entries { list: &self.entries, first: self.first(), view };
            lane.invariants(encoding, entries, renderer);
        }
    }

    /// All pages of all lanes.
    pub(super) fn pages(&self) -> impl Iterator<Item = &Rc<Page>> {
        self.lanes.iter().flat_map(|(_, lane)| lane.pages())
    }
}

/// Where a cursor stands when the ephemeral entries of `dropped` are gone, and how many of them it
/// had not had.
pub(super) fn moved_up(cursor: u64, dropped: &[u64]) -> (u64, u64) {
    let lost = (dropped.len() - dropped.partition_point(|seq| *seq < cursor)) as u64;
    (cursor + lost, lost)
}

#[cfg(test)]
mod tests;
