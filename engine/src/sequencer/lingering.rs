//! Interests of shards that wait for their end.
//!
//! A shard's interest in a channel that was published to outlives its last subscriber, so that a
//! page that reloads finds the log still there. While it lingers the shard gets the channel's
//! messages; then it is told that its interest has ended, drops the log, and what it knew is
//! forgotten here in the same moment. What was never published to has an empty log, for which
//! nobody comes back: there the interest ends with its last subscriber, and strangers who mention
//! names leave nothing behind.

use crate::channel::ChannelId;
use crate::clock::Millis;

use super::lazy::LazyQueue;
use super::table::Channels;

/// The interests of one shard that wait for their end, in the order in which they will.
pub(super) struct Lingering {
    shard: u8,
    queue: LazyQueue<Wait>,
    live: usize,
}

struct Wait {
    channel: ChannelId,
    ticket: u64,
    due: Millis,
}

impl Lingering {
    pub(super) fn new(shard: u8) -> Self {
        Self { shard, queue: LazyQueue::new(), live: 0 }
    }

    /// The last subscriber of a channel left; `Audience::leave` was given the same ticket.
    /// Waits are begun in the order of their ends.
    pub(super) fn begin(&mut self, channel: ChannelId, ticket: u64, due: Millis, all: &Channels) {
        self.live += 1;
        let shard = self.shard;
        let alive = |wait: &Wait| is_alive(all, shard, wait);
        self.queue.push(Wait { channel, ticket, due }, self.live, alive);
    }

    /// A wait counts no more: somebody came back, or the channel was forgotten.
    pub(super) fn cancel(&mut self) {
        self.live -= 1;
    }

    /// When the next interest ends.
    pub(super) fn next_due(&mut self, all: &Channels) -> Option<Millis> {
        let shard = self.shard;
        self.queue.first(|wait| is_alive(all, shard, wait)).map(|wait| wait.due)
    }

    /// Ends the interests that are due, `max` at most: the shard gets nothing more of these
    /// channels and must be told before anything else is.
    pub(super) fn end_due(
        &mut self,
        now: Millis,
        max: usize,
        all: &mut Channels,
    ) -> Vec<ChannelId> {
        let mut ended = Vec::new();
        while ended.len() < max && self.next_due(all).is_some_and(|due| due <= now) {
            let Some(wait) = self.queue.pop() else { break };
            let Some(channel) = all.of_mut(wait.channel) else { continue };
            channel.audience.release(self.shard);
            self.live -= 1;
            ended.push(wait.channel);
        }
        ended
    }

    /// Panics where the structure contradicts itself; `live` counts the waiting interests.
    pub(super) fn invariants(&self, live: usize, all: &Channels) {
        assert_eq!(self.live, live);
        self.queue.invariants(live, |wait| is_alive(all, self.shard, wait));
    }
}

fn is_alive(all: &Channels, shard: u8, wait: &Wait) -> bool {
    let channel = all.of(wait.channel);
    channel.is_some_and(|channel| channel.audience.lingers(shard, wait.ticket))
}
