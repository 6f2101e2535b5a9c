//! What one shard keeps of one channel: the recent entries, once, and their rendered lanes.
//!
//! Cursors are seqs of [`Entries`]; what is said of a gap is said in offsets, and of kept messages
//! only. What ended with a life of the channel is known by [`PastLives`].
//!
//! The log keeps whatever the channel's history still promises (its *floor*) and, beyond that, the
//! live window: what a connected laggard can still get. The sequencer alone moves the floor.
//! What neither holds is *loose* and dropped by [`ChannelLog::trim`]; [`super::overgrown`] knows
//! when.

use std::sync::Arc;

use super::entries::Entries;
use super::lane::{Renderer, Run, Want};
use super::lanes::{Lanes, Rendition};
use super::lives::PastLives;
use super::page::Pages;
use super::room::NoRoom;
use crate::channel::{ChannelId, ChannelName};
use crate::message::Message;
use crate::presence;
use crate::rule::{Rule, Slow};

/// One channel's log.
#[derive(Debug)]
pub(super) struct ChannelLog {
    /// The sequencer's number.
    pub(super) id: ChannelId,
    /// Its name.
    pub(super) name: Arc<ChannelName>,
    rule: Arc<Rule>,
    entries: Entries,
    lives: PastLives,
    /// First offset that history promises, as far as this shard was told.
    floor: u64,
    /// Bytes of kept entries that lie before the floor.
    loose_cost: usize,
    /// Where there is no room for a window: whether the next trim leaves the newest entry.
    tight: Option<bool>,
    /// What is rendered of the entries.
    pub(super) lanes: Lanes,
}

const _: () = assert!(size_of::<ChannelLog>() <= 160, "a shard may have a million of them");

impl ChannelLog {
    /// A log whose next kept message is behind `last`.
    pub(super) fn after(id: ChannelId, name: Arc<ChannelName>, rule: Arc<Rule>, last: u64) -> Self {
        Self {
            id,
            name,
            rule,
            entries: Entries::after(last),
            lives: PastLives::default(),
            // Not told yet. A guess above the true floor could never be lowered, and the log would
            // drop what history promises: an import first of all.
            floor: 1,
            loose_cost: 0,
            tight: None,
            lanes: Lanes::default(),
        }
    }

    /// What it holds.
    pub(super) fn entries(&self) -> &Entries {
        &self.entries
    }

    /// Which lives of the channel ended here.
    pub(super) fn lives(&self) -> &PastLives {
        &self.lives
    }

    /// Whether everything of the present epoch is still here.
    pub(super) fn is_whole(&self) -> bool {
        self.lives.is_whole(self.entries.first())
    }

    /// What becomes of those who want what is not here any more.
    pub(super) fn slow(&self) -> Slow {
        self.rule.slow
    }

    /// Where a cursor that has left the log goes on; `None` where its connection does not.
    pub(super) fn resumes_at(&self) -> Option<u64> {
        match self.rule.slow {
            Slow::Disconnect => None,
            Slow::Window => Some(self.entries.first()),
            Slow::Latest => Some(self.entries.newest()),
        }
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
        self.lanes.run(want, rendition, &self.entries, renderer)
    }

    /// Panics where what is counted or what is rendered is not what the entries say.
    pub(super) fn invariants(&self, renderer: &mut Renderer) {
        self.entries.invariants();
        assert_eq!(self.loose_cost, self.entries.kept_cost_within(0, self.floor), "what is loose");
        self.lanes.invariants(&self.entries, renderer);
    }
}

/// What the order tells.
impl ChannelLog {
    /// Puts messages that end where the log begins before it; empty is nothing.
    pub(super) fn import(&mut self, earlier: &[Arc<Message>], pages: &mut Pages) {
        if earlier.is_empty() {
            return;
        }
        // What was dropped had these numbers, and a page may still begin with some of it.
        let first = self.entries.first();
        self.lanes.change(|lane| lane.drop_up_to(first - 1, pages));
        self.entries.import(earlier);
    }

    /// Appends a message.
    pub(super) fn append(&mut self, message: Arc<Message>) {
        let floor = message.floor;
        self.entries.append(message);
        self.raise_floor(floor);
    }

    /// Appends a presence event.
    pub(super) fn append_presence(&mut self, event: Arc<presence::PlacedPresence>) {
        self.entries.append_presence(event);
    }

    /// History promises nothing before `floor` any more.
    pub(super) fn raise_floor(&mut self, floor: u64) {
        if floor > self.floor {
            self.loose_cost += self.entries.kept_cost_within(self.floor, floor);
            self.floor = floor;
        }
    }

    /// The channel's life ended: the next message has offset 1. What is here is of the old life
    /// and goes with it, because offsets are no order across lives. It is no loss to whoever has
    /// it; whoever has not is behind the log from now on. Presence events behind the last message
    /// stay: no life goes on for them, so one may end before anybody was told of them, and who has
    /// had all messages is not to be told that some are missing.
    pub(super) fn begin_anew(&mut self, pages: &mut Pages) {
        self.entries.begin_anew();
        self.lives.end(self.entries.first());
        self.promise_nothing(pages);
    }

    /// As [`ChannelLog::begin_anew`], because the epoch ended: every cursor is behind the log,
    /// also of those who had everything.
    pub(super) fn begin_epoch(&mut self, pages: &mut Pages) {
        self.entries.begin_epoch();
        self.lives.end_epoch(self.entries.first());
        self.promise_nothing(pages);
    }

    fn promise_nothing(&mut self, pages: &mut Pages) {
        (self.floor, self.loose_cost) = (1, 0);
        let first = self.entries.first();
        self.lanes.change(|lane| lane.drop_before(first, pages));
    }
}

/// What is too much.
impl ChannelLog {
    /// Bytes of what history does not promise, which is here for connected laggards alone.
    pub(super) fn loose_bytes(&self) -> usize {
        self.loose_cost + self.entries.ephemeral_cost()
    }

    /// Kept messages that history does not promise.
    fn loose_kept(&self) -> u64 {
        self.floor.min(self.entries.next_offset()).saturating_sub(self.entries.first_offset())
    }

    /// There is no room for a live window: the next trim leaves the newest entry, or nothing that
    /// history does not promise where there is no more than one such. So twice is enough for all.
    pub(super) fn tighten(&mut self) {
        let loose = self.loose_kept() + self.entries.ephemeral() as u64;
        self.tight = Some(loose > 1);
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
        let stay = usize::from(self.tight.unwrap_or(true));
        self.entries.len() > stay
            && (self.is_tight() || self.entries.exceed(self.rule.window))
            && (self.loose_kept() > 0 || self.entries.begin_ephemeral())
    }

    /// Whether ephemeral entries stand behind what history promises, so many that it is worth the
    /// work to take them out from between: as many as there are others, beyond the window. Where
    /// there is no room for a window, any.
    fn is_cluttered(&self) -> bool {
        let entries = &self.entries;
        if let Some(newest_stays) = self.tight {
            return entries.ephemeral() > usize::from(newest_stays && entries.end_ephemeral());
        }
        let window = self.rule.window;
        entries.ephemeral() > 1
            && (entries.ephemeral() as u64 > window.count.saturating_add(entries.kept() as u64)
                || entries.ephemeral_cost() > window.bytes.saturating_add(entries.kept_cost()))
    }

    /// Whether two windows of messages are kept that history does not promise: more than a
    /// connected client can ask for, even while it is not its turn.
    pub(super) fn is_far_over(&self) -> bool {
        let (entries, window) = (&self.entries, self.rule.window);
        let (count, bytes) = (window.count.saturating_mul(2), window.bytes.saturating_mul(2));
        // One message that is longer than two windows is no reason to wait: it always stays.
        self.is_over()
            && (self.loose_kept() > count
                || self.loose_cost > bytes
                || entries.ephemeral() as u64 > count.saturating_add(entries.kept() as u64)
                || entries.ephemeral_cost() > bytes.saturating_add(entries.kept_cost()))
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
            let seq = self.entries.first();
            let Some(entry) = self.entries.pop() else { break };
            if entry.is_ephemeral() {
                dropped.push(seq);
            } else {
                self.loose_cost -= entry.cost();
            }
        }
        let first = self.entries.first();
        self.lanes.change(|lane| lane.drop_before(first, pages));
        if self.is_cluttered() {
            let window = || self.entries.count_within(self.rule.window).max(1);
            let stay = self.tight.map_or_else(window, usize::from);
            self.entries.drop_ephemeral(stay, dropped);
            let last = dropped.last().copied().unwrap_or_default();
            self.lanes.change(|lane| lane.drop_up_to(last, pages));
        }
        self.tight = None;
        self.lives.move_up(dropped.len() as u64);
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
