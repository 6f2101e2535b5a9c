//! Who follows channels on this node, and whose interest lingers: all channels' audiences together.

use crate::channel::{ChannelId, ChannelName};
use crate::clock::Millis;
use crate::limits::Limits;

use super::channel::Channel;
use super::command::{Refusal, Subscribe};
use super::lingering::Lingering;
use super::table::Channels;
use super::tenants::TenantSubscriptions;

/// Subscriptions of all connections, and interests that wait for their end.
pub(super) struct Followers {
    /// Channels that may be followed at a time.
    followed_max: usize,
    /// How long an interest outlives its last subscriber.
    interest_ms: u64,
    /// One for each shard.
    lingering: Vec<Lingering>,
    /// Numbers the waits for the end of an interest.
    ticket: u64,
    subscriptions: u64,
    followed: usize,
    /// Of tenants that have limits of their own.
    by_tenant: TenantSubscriptions,
}

impl Followers {
    /// Nobody follows anything yet, on so many shards.
    ///
    /// # Panics
    /// When that is not 1 to 64.
    pub(super) fn new(shards: usize, limits: &Limits) -> Self {
        let shards = u8::try_from(shards).ok().filter(|shards| (1..=64).contains(shards));
        let shards = shards.expect("1 to 64 shards: the width of the interest mask");
        Self {
            followed_max: limits.followed_channels,
            interest_ms: limits.interest_ms,
            lingering: (0..shards).map(Lingering::new).collect(),
            ticket: 0,
            subscriptions: 0,
            followed: 0,
            by_tenant: TenantSubscriptions::new(limits),
        }
    }

    /// How many shards there are.
    pub(super) fn shards(&self) -> usize {
        self.lingering.len()
    }

    /// A bit for each shard.
    pub(super) fn all_shards(&self) -> u64 {
        u64::MAX >> (64 - self.shards())
    }

    /// Subscriptions of all connections.
    pub(super) fn subscriptions(&self) -> u64 {
        self.subscriptions
    }

    /// Channels that have subscribers.
    pub(super) fn followed(&self) -> usize {
        self.followed
    }

    /// Whether all channels of a request may be followed: it is done whole or not at all. Nothing
    /// else is followed before it is whole, so this is asked once.
    ///
    /// # Errors
    /// Where more channels would be followed than may be, by all or by its tenant.
    pub(super) fn may_follow(&self, request: &Subscribe, all: &Channels) -> Result<(), Refusal> {
        // A request is of one tenant.
        let tenant = request.channels.first().map(|(channel, _)| &channel.tenant);
        if tenant.is_some_and(|it| !self.by_tenant.have_room(it, request.channels.len())) {
            return Err(Refusal::FollowedLimit);
        }
        let free = self.followed_max - self.followed;
        if request.channels.len() <= free {
            return Ok(());
        }
        let is_followed = |name: &ChannelName| {
            all.named(name).is_some_and(|channel| channel.audience.subscribers() > 0)
        };
        let new = request.channels.iter().filter(|(name, _)| !is_followed(name)).count();
        if new > free { Err(Refusal::FollowedLimit) } else { Ok(()) }
    }

    /// One connection of `shard` more follows this channel.
    pub(super) fn join(&mut self, shard: u8, channel: &mut Channel) {
        self.followed += usize::from(channel.audience.subscribers() == 0);
        if channel.audience.join(shard, channel.life.offset + 1) {
            self.lingering[usize::from(shard)].cancel();
        }
        self.subscriptions += 1;
        self.by_tenant.join(&channel.name.tenant);
    }

    /// One connection of `shard` follows these channels no more. Returns those in which the shard's
    /// interest ended with it: the shard must be told before it is told anything else.
    pub(super) fn leave(
        &mut self,
        shard: u8,
        channels: &[ChannelId],
        now: Millis,
        all: &mut Channels,
    ) -> Vec<ChannelId> {
        let ended = channels.iter().filter(|id| self.leave_one(shard, **id, now, all));
        ended.copied().collect()
    }

    fn leave_one(&mut self, shard: u8, id: ChannelId, now: Millis, all: &mut Channels) -> bool {
        let Some(channel) = all.of_mut(id) else {
            debug_assert!(false, "shard {shard} leaves {id:?}, which has no record");
            return false;
        };
        let before = channel.audience.subscribers();
        self.ticket += 1;
        let is_last = channel.audience.leave(shard, self.ticket);
        let left = channel.audience.subscribers();
        self.subscriptions -= before - left;
        if left < before {
            self.by_tenant.leave(&channel.name.tenant);
        }
        self.followed -= usize::from(before > 0 && left == 0);
        if !is_last {
            return false;
        }
        if channel.has_life() {
            let due = now.plus(self.interest_ms);
            self.lingering[usize::from(shard)].begin(id, self.ticket, due, all);
            return false;
        }
        channel.audience.release(shard);
        all.drop_unused(id);
        true
    }

    /// The life of a channel ended, and with it the interests in it that linger.
    pub(super) fn end_life(&mut self, channel: &mut Channel) {
        for shard in channel.audience.begin_anew() {
            self.lingering[usize::from(shard)].cancel();
        }
    }

    /// When the next interest ends.
    pub(super) fn next_due(&mut self, all: &Channels) -> Option<Millis> {
        self.lingering.iter_mut().filter_map(|shard| shard.next_due(all)).min()
    }

    /// Whether an interest of this shard is to end now.
    pub(super) fn are_due(&mut self, shard: usize, now: Millis, all: &Channels) -> bool {
        self.lingering[shard].next_due(all).is_some_and(|due| due <= now)
    }

    /// Ends the interests of a shard that are due, `max` at most. The shard must be told before it
    /// is told anything else.
    pub(super) fn end_due(
        &mut self,
        shard: usize,
        now: Millis,
        max: usize,
        all: &mut Channels,
    ) -> Vec<ChannelId> {
        self.lingering[shard].end_due(now, max, all)
    }

    /// Panics where the counts contradict the channels.
    pub(super) fn invariants(&self, all: &Channels) {
        assert!(self.followed <= self.followed_max);
        let followed = all.iter().filter(|channel| channel.audience.subscribers() > 0).count();
        assert_eq!(self.followed, followed);
        let mut subscriptions = 0;
        let mut lingering = vec![0; self.lingering.len()];
        for channel in all.iter() {
            subscriptions += channel.audience.subscribers();
            channel.audience.lingering().for_each(|shard| lingering[usize::from(shard)] += 1);
        }
        assert_eq!(subscriptions, self.subscriptions);
        self.by_tenant.invariants(|tenant| {
            let theirs = all.iter().filter(|channel| channel.name.tenant == *tenant);
            theirs.map(|channel| channel.audience.subscribers()).sum()
        });
        for (shard, live) in self.lingering.iter().zip(lingering) {
            shard.invariants(live, all);
        }
    }
}
