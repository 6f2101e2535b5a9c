//! Lives: the present life of each channel that was published to. What is here is a function of the
//! log alone, so it is the same wherever the log is read; who follows a channel does not matter.
//!
//! A life begins with a message, at offset 1, and ends by the log's time or for want of room:
//!
//! * when the channel has been silent for as long as its rule promises its messages, and then for
//!   `limits.channel_idle`;
//! * where a life is to begin and there are `limits.channels` already, the one that has been silent
//!   for longest ends, if its rule promises nothing any more. Where each still promises something,
//!   the new one does not begin: nothing that was acknowledged goes for a name.
//!
//! **Forgetting is remembered**: the watermark rises to the last position of the life that ended.
//! Whoever comes back from before it to a channel without its life is told of a gap without bounds.
//!
//! All channels of a rule are promised the same, so those of rules of one pace stand in a list in
//! the order of their last use, and the first of each is all that has to be looked at. The lists
//! run through the records themselves: a move is O(1) and takes no memory. Channels of one message
//! are used at one position, in the order in which it named them; of two lists the first goes first
//! then, since numbers of records differ from node to node. A busy channel moves once in
//! [`USED_AGAIN_MS`] and not with each message, which would be three cache misses for each.

use crate::channel::ChannelId;
use crate::clock::Millis;
use crate::rule::{Pace, Rules};

use super::applied::Applied;
use super::life::{Neighbour, USED_AGAIN_MS};
use super::table::Channels;

/// All of them.
pub(super) struct Lives {
    /// Most that there may be.
    limit: usize,
    len: usize,
    /// One for each pace of the rules.
    lists: Vec<List>,
    /// Lives that ended.
    pub(super) ended: u64,
    /// No life ends by time before this.
    next_end: Millis,
    /// The position of the last use, and how many channels were used there before.
    last_put: (u64, u8),
}

/// The lives of channels whose rules have one pace, in the order of their last use.
struct List {
    /// How long after the last use a life is promised to whoever returns.
    promised_ms: u64,
    /// How long after the last use it ends.
    life_ms: u64,
    oldest: Option<ChannelId>,
    newest: Option<ChannelId>,
}

impl List {
    fn new(Pace { kept_ms, .. }: Pace, idle_ms: u64) -> Self {
        // A use may have been later than is known; and what is kept for nobody is still on its way
        // to those who are connected.
        let promised_ms = kept_ms.saturating_add(USED_AGAIN_MS);
        let life_ms = promised_ms.saturating_add(idle_ms);
        Self { promised_ms, life_ms, oldest: None, newest: None }
    }
}

impl Lives {
    pub(super) fn new(limit: usize, idle_ms: u64, rules: &Rules) -> Self {
        let lists = rules.paces().map(|pace| List::new(pace, idle_ms)).collect();
        Self { limit, len: 0, lists, ended: 0, next_end: Millis(u64::MAX), last_put: (0, 0) }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// How many more there may be.
    pub(super) fn room(&self) -> usize {
        self.limit.saturating_sub(self.len)
    }

    /// A channel without a life begins one.
    pub(super) fn begin(&mut self, id: ChannelId, applied: &Applied, all: &mut Channels) {
        let life = &mut all.changing(id).life;
        (life.began, life.unknown_before) = (applied.position, applied.watermark);
        self.len += 1;
        self.put_last(id, applied.position, applied.at, all);
    }

    /// A channel has the life that its record says. Those of one pace come in the order of their
    /// last use; there may be more of them than may begin.
    pub(super) fn restore(&mut self, id: ChannelId, all: &mut Channels) {
        let channel = all.living(id);
        let (used, used_at, used_nth) = (channel.life.used, channel.life.used_at, channel.used_nth);
        self.len += 1;
        self.put_last(id, used_at, used, all);
        all.living(id).used_nth = used_nth;
    }

    /// A channel is published to.
    pub(super) fn used(&mut self, id: ChannelId, applied: &Applied, all: &mut Channels) {
        if all.living(id).life.used.plus(USED_AGAIN_MS) <= applied.at {
            all.changing(id);
            self.take_out(id, all);
            self.put_last(id, applied.position, applied.at, all);
        }
    }

    /// The life of a channel ends. Its record is the caller's.
    pub(super) fn end(&mut self, id: ChannelId, applied: &mut Applied, all: &mut Channels) {
        all.changing(id);
        self.take_out(id, all);
        let life = std::mem::take(&mut all.living(id).life);
        applied.watermark = applied.watermark.max(life.position);
        self.len -= 1;
        self.ended += 1;
    }

    /// A channel whose life is over at this time of the log.
    pub(super) fn over(&mut self, at: Millis, all: &Channels) -> Option<ChannelId> {
        if at < self.next_end {
            return None;
        }
        let fronts = self.lists.iter().filter_map(|list| {
            let first = all.of(list.oldest?)?;
            Some((first.life.used.plus(list.life_ms), first.life.used_at, first.id))
        });
        let first = fronts.min_by_key(|(due, used_at, _)| (*due, *used_at));
        self.next_end = first.map_or(Millis(u64::MAX), |(due, _, _)| due);
        first.filter(|(due, _, _)| *due <= at).map(|(_, _, id)| id)
    }

    /// When the next life is over, or earlier.
    pub(super) fn next_end(&self) -> Option<Millis> {
        (self.len > 0).then_some(self.next_end)
    }

    /// The channel that has been silent for longest of those whose rules promise nothing any more.
    pub(super) fn least_used(&self, at: Millis, all: &Channels) -> Option<ChannelId> {
        let fronts = self.lists.iter().filter_map(|list| {
            let first = all.of(list.oldest?)?;
            let is_free = first.life.used.plus(list.promised_ms) <= at;
            is_free.then_some((first.life.used_at, first.id))
        });
        fronts.min_by_key(|(used_at, _)| *used_at).map(|(_, id)| id)
    }

    /// Whether so many lives may end for want of room, beside those of these channels.
    pub(super) fn may_end(
        &self,
        count: usize,
        beside: &[ChannelId],
        at: Millis,
        all: &Channels,
    ) -> bool {
        let mut found = 0;
        for list in &self.lists {
            let mut next = list.oldest;
            while found < count
                && let Some(channel) = next.and_then(|id| all.of(id))
                && channel.life.used.plus(list.promised_ms) <= at
            {
                found += usize::from(!beside.contains(&channel.id));
                next = channel.life.after.id();
            }
        }
        found == count
    }

    fn take_out(&mut self, id: ChannelId, all: &mut Channels) {
        let channel = all.living(id);
        let pace = channel.pace;
        let before = std::mem::take(&mut channel.life.before).id();
        let after = std::mem::take(&mut channel.life.after).id();
        match before {
            Some(before) => all.living(before).life.after = Neighbour::of(after),
            None => self.lists[pace].oldest = after,
        }
        match after {
            Some(after) => all.living(after).life.before = Neighbour::of(before),
            None => self.lists[pace].newest = before,
        }
    }

    fn put_last(&mut self, id: ChannelId, position: u64, at: Millis, all: &mut Channels) {
        self.last_put = match self.last_put {
            (last, nth) if last == position => (last, nth.saturating_add(1)),
            _ => (position, 0),
        };
        let channel = all.living(id);
        channel.used_nth = self.last_put.1;
        let list = &mut self.lists[channel.pace];
        let before = list.newest.replace(id);
        (channel.life.used, channel.life.used_at) = (at, position);
        (channel.life.before, channel.life.after) = (Neighbour::of(before), Neighbour::NOBODY);
        self.next_end = self.next_end.min(at.plus(list.life_ms));
        match before {
            Some(before) => all.living(before).life.after = Neighbour::of(Some(id)),
            None => list.oldest = Some(id),
        }
    }

    /// Panics where the lists contradict the records.
    pub(super) fn invariants(&self, all: &Channels) {
        let mut len = 0;
        for (pace, list) in self.lists.iter().enumerate() {
            let (mut before, mut used_at, mut next) = (None, (0, 0), list.oldest);
            while let Some(channel) = next.and_then(|id| all.of(id)) {
                assert_eq!(channel.pace, pace);
                assert_eq!(channel.life.before.id(), before);
                let used = (channel.life.used_at, channel.used_nth);
                assert!(used > used_at, "in the order of last use");
                assert!(channel.life.used.plus(list.life_ms) >= self.next_end);
                (before, used_at) = (next, used);
                next = channel.life.after.id();
                len += 1;
            }
            assert_eq!((next, before), (None, list.newest));
        }
        assert_eq!(len, self.len);
        assert_eq!(all.iter().filter(|channel| channel.has_life()).count(), len);
    }
}
