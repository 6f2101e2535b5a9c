//! Who follows a channel: how many connections of which shards, and how far back each shard's log
//! of it reaches.
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

/// One channel's subscribers and interested shards.
#[derive(Default)]
pub(super) struct Audience {
    subscribers: u64,
    shards: Vec<Interest>,
    mask: u64,
}

/// One shard's interest in one channel.
struct Interest {
    shard: u8,
    subscribers: u64,
    /// First offset that the shard's log of the channel holds or held: what floors told it to drop
    /// is not subtracted.
    log_from: u64,
    /// Which wait for the end of the interest counts, where there are no subscribers.
    ticket: u64,
}

impl Audience {
    /// Connections that follow the channel, on all shards.
    pub(super) fn subscribers(&self) -> u64 {
        self.subscribers
    }

    /// A bit for each shard that gets the channel's messages.
    pub(super) fn mask(&self) -> u64 {
        self.mask
    }

    /// One connection of `shard` more. A shard that had no interest begins its log at `log_from`.
    /// Says whether an interest lingered that now does no more.
    pub(super) fn join(&mut self, shard: u8, log_from: u64) -> bool {
        self.subscribers += 1;
        match self.shards.iter_mut().find(|interest| interest.shard == shard) {
            Some(interest) => {
                interest.subscribers += 1;
                interest.subscribers == 1
            }
            None => {
                self.mask |= 1 << shard;
                // Most channels are followed on one shard, and there are 64 at most.
                self.shards.reserve_exact(1);
                self.shards.push(Interest { shard, subscribers: 1, log_from, ticket: 0 });
                false
            }
        }
    }

    /// One connection of `shard` fewer. `ticket` numbers the wait for the end of the interest;
    /// says whether that wait begins.
    pub(super) fn leave(&mut self, shard: u8, ticket: u64) -> bool {
        let interest = self.shards.iter_mut().find(|interest| interest.shard == shard);
        let Some(interest) = interest.filter(|interest| interest.subscribers > 0) else {
            debug_assert!(false, "shard {shard} leaves a channel that it does not follow");
            return false;
        };
        interest.subscribers -= 1;
        self.subscribers -= 1;
        interest.ticket = ticket;
        interest.subscribers == 0
    }

    /// Whether this wait for the end of `shard`'s interest still counts.
    fn lingers(&self, shard: u8, ticket: u64) -> bool {
        self.shards.iter().any(|interest| {
            (interest.shard, interest.subscribers, interest.ticket) == (shard, 0, ticket)
        })
    }

    /// The channel's life ended. Its next message has offset 1, and that is what each log of those
    /// who still follow begins with; interests that linger end with it: which shards' those are.
    pub(super) fn begin_anew(&mut self) -> Vec<u8> {
        let ended = self.lingering().collect();
        self.shards.retain_mut(|interest| {
            interest.log_from = 1;
            interest.subscribers > 0
        });
        self.mask = self.shards.iter().fold(0, |mask, interest| mask | 1 << interest.shard);
        ended
    }

    /// The shards whose interest lingers without a subscriber.
    pub(super) fn lingering(&self) -> impl Iterator<Item = u8> {
        let waiting = self.shards.iter().filter(|interest| interest.subscribers == 0);
        waiting.map(|interest| interest.shard)
    }

    /// The interest of a shard without subscribers ends.
    pub(super) fn release(&mut self, shard: u8) {
        self.shards.retain(|interest| interest.shard != shard);
        self.shards.shrink_to_fit();
        self.mask &= !(1 << shard);
    }

    /// From which offset on `shard` has what history keeps, to be changed by an import.
    pub(super) fn log_from(&mut self, shard: u8) -> &mut u64 {
        let interest = self.shards.iter_mut().find(|interest| interest.shard == shard);
        &mut interest.expect("the shard follows the channel").log_from
    }

    /// Panics where the structure contradicts itself.
    pub(super) fn invariants(&self, last: u64) {
        let sum: u64 = self.shards.iter().map(|interest| interest.subscribers).sum();
        assert_eq!(self.subscribers, sum);
        let mask = self.shards.iter().fold(0, |mask, interest| mask | 1u64 << interest.shard);
        assert_eq!(self.mask, mask);
        assert_eq!(mask.count_ones() as usize, self.shards.len(), "a shard stands once");
        assert!(self.shards.iter().all(|interest| interest.log_from <= last + 1));
    }
}

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

    /// The last subscriber of a channel left; [`Audience::leave`] was given the same ticket.
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
