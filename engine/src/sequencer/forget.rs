//! Which channel record is forgotten next, and what is remembered of it.
//!
//! A record with subscribers is never forgotten. The others stand in one of two lists, in the order
//! of their last use: those that keep nothing, which go when they have been idle long enough, and
//! those that still keep messages or a shard's interest, which go only where the node has as many
//! records as it may, after all idle ones. The lists run through the records themselves, so every
//! move is O(1), exact, and takes no memory.
//!
//! **Forgetting is remembered**: the node's watermark rises to the record's last position. Whoever
//! comes back from before it to a channel without its record is told of a gap without bounds.

use crate::channel::ChannelId;
use crate::clock::Millis;

use super::channel::Channel;
use super::order::Order;
use super::table::Channels;

/// What keeps a record from being forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Standing {
    /// It has subscribers: it is never forgotten, and stands in no list.
    #[default]
    Followed,
    /// It has no subscribers, but messages or a shard's lingering interest.
    Kept,
    /// It has none of these.
    Idle,
}

/// A record's place in the list of its standing.
#[derive(Default)]
pub(super) struct Links {
    standing: Standing,
    /// When it was put at the list's end.
    since: Millis,
    before: Option<ChannelId>,
    after: Option<ChannelId>,
}

/// Both ends of a list.
#[derive(Default)]
struct Ends {
    oldest: Option<ChannelId>,
    newest: Option<ChannelId>,
    len: usize,
}

/// The records without subscribers, each list in the order of last use.
#[derive(Default)]
pub(super) struct Unfollowed {
    kept: Ends,
    idle: Ends,
}

impl Channel {
    fn standing(&self) -> Standing {
        if self.audience.subscribers() > 0 {
            Standing::Followed
        } else if self.audience.mask() != 0 || !self.history.is_empty() {
            Standing::Kept
        } else {
            Standing::Idle
        }
    }
}

impl Unfollowed {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.kept.len + self.idle.len
    }

    /// The one to forget where one must be.
    pub(super) fn oldest(&self) -> Option<ChannelId> {
        self.idle.oldest.or(self.kept.oldest)
    }

    /// The one that has been idle for longest, and since when.
    pub(super) fn oldest_idle(&self, all: &Channels) -> Option<(ChannelId, Millis)> {
        let channel = all.of(self.idle.oldest?)?;
        Some((channel.id, channel.links.since))
    }

    /// Puts a record where it belongs after a change; `used` moves it to the end of its list.
    pub(super) fn settle(&mut self, id: ChannelId, used: bool, now: Millis, all: &mut Channels) {
        let Some(channel) = all.of(id) else { return };
        let standing = channel.standing();
        if standing == channel.links.standing && !used {
            return;
        }
        self.take_out(id, all);
        self.put_last(id, standing, now, all);
    }

    /// Takes a record out of its list: it is followed, or it ends.
    pub(super) fn take_out(&mut self, id: ChannelId, all: &mut Channels) {
        let links = std::mem::take(&mut all.living(id).links);
        let Some(ends) = self.list(links.standing) else { return };
        ends.len -= 1;
        match links.before {
            Some(before) => all.living(before).links.after = links.after,
            None => ends.oldest = links.after,
        }
        match links.after {
            Some(after) => all.living(after).links.before = links.before,
            None => ends.newest = links.before,
        }
    }

    fn put_last(&mut self, id: ChannelId, standing: Standing, now: Millis, all: &mut Channels) {
        let Some(ends) = self.list(standing) else { return };
        ends.len += 1;
        let before = ends.newest.replace(id);
        match before {
            Some(before) => all.living(before).links.after = Some(id),
            None => ends.oldest = Some(id),
        }
        all.living(id).links = Links { standing, since: now, before, after: None };
    }

    fn list(&mut self, standing: Standing) -> Option<&mut Ends> {
        match standing {
            Standing::Followed => None,
            Standing::Kept => Some(&mut self.kept),
            Standing::Idle => Some(&mut self.idle),
        }
    }

    /// Panics where the lists contradict the records.
    pub(super) fn invariants(&self, all: &Channels) {
        for (ends, standing) in [(&self.kept, Standing::Kept), (&self.idle, Standing::Idle)] {
            let (mut len, mut before, mut since) = (0, None, Millis(0));
            let mut next = ends.oldest;
            while let Some(channel) = next.and_then(|id| all.of(id)) {
                assert_eq!(channel.standing(), standing);
                assert_eq!((channel.links.standing, channel.links.before), (standing, before));
                assert!(channel.links.since >= since, "in the order of last use");
                (len, before, since) = (len + 1, next, channel.links.since);
                next = channel.links.after;
            }
            assert_eq!((next, before, len), (None, ends.newest, ends.len));
            let standing_so = all.iter().filter(|channel| channel.standing() == standing);
            assert_eq!(standing_so.count(), len, "each stands in its list");
        }
    }
}

impl Order {
    /// Makes room for one more record, if it must, by forgetting the one that was unused for
    /// longest. `false` where all that there may be are followed.
    pub(super) fn make_record_room(&mut self) -> bool {
        if self.channels.len() < self.limits.channels {
            return true;
        }
        let Some(oldest) = self.unfollowed.oldest() else { return false };
        self.forget(oldest);
        true
    }

    /// Forgets records that have been idle for long enough, `max` at most; says how many.
    pub(super) fn forget_idle(&mut self, max: usize) -> usize {
        let mut forgotten = 0;
        while forgotten < max && self.next_idle_end().is_some_and(|due| due <= self.now) {
            let Some((id, _)) = self.unfollowed.oldest_idle(&self.channels) else { break };
            self.forget(id);
            forgotten += 1;
        }
        forgotten
    }

    /// When the next record will have been idle for long enough.
    pub(super) fn next_idle_end(&self) -> Option<Millis> {
        let (_, since) = self.unfollowed.oldest_idle(&self.channels)?;
        Some(since.plus(self.limits.channel_idle_ms))
    }

    /// Ends a record that nobody follows. Shards whose interest in it lingers are to be told, in
    /// the ring, before anything else is.
    fn forget(&mut self, id: ChannelId) {
        self.unfollowed.take_out(id, &mut self.channels);
        let Some(channel) = self.channels.remove(id) else { return };
        debug_assert_eq!(channel.audience.subscribers(), 0, "{} is followed", channel.name);
        self.watermark = self.watermark.max(channel.last_position());
        for shard in channel.audience.lingering() {
            self.lingering[usize::from(shard)].cancel();
        }
        if channel.audience.mask() != 0 {
            self.released.mask |= channel.audience.mask();
            self.released.channels.push(id);
        }
        self.retention.forgotten(&channel);
        self.forgotten += 1;
    }
}
