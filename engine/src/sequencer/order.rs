//! The one order of a node: what the sequencer knows and decides, without inbox and ring.

use std::collections::VecDeque;
use std::sync::Arc;

use fanfare_protocol::id::Epoch;

use crate::channel::{ChannelId, ChannelName};
use crate::clock::Millis;
use crate::limits::Limits;
use crate::rule::Rules;

use super::channel::Channel;
use super::command::Refusal;
use super::forget::Unfollowed;
use super::interest::Lingering;
use super::keys::Keys;
use super::retention::Retention;
use super::table::Channels;

/// Everything that is ordered: positions, channels, what they keep and who follows them.
pub(super) struct Order {
    pub(super) epoch: Epoch,
    pub(super) limits: Limits,
    pub(super) rules: Rules,
    /// The time of this step; never goes back.
    pub(super) now: Millis,
    /// The last position of the log that was placed.
    pub(super) position: u64,
    /// The last position of any message whose channel was forgotten.
    pub(super) watermark: u64,
    pub(super) channels: Channels,
    pub(super) unfollowed: Unfollowed,
    pub(super) retention: Retention,
    /// What was published under a key of its publisher's.
    pub(super) keys: Keys,
    /// One for each shard.
    pub(super) lingering: Vec<Lingering>,
    /// Numbers the waits for the end of an interest.
    pub(super) ticket: u64,
    /// Channels whose floor rose without a message.
    pub(super) untold: VecDeque<ChannelId>,
    /// Interests that ended with their channels' records in the present command.
    pub(super) released: Released,
    /// Records forgotten so far.
    pub(super) forgotten: u64,
    /// Subscriptions of all connections.
    pub(super) subscriptions: u64,
}

/// Interests that ended and whose shards are still to be told.
#[derive(Debug, Default)]
pub(super) struct Released {
    /// All shards that had an interest in one of them.
    pub(super) mask: u64,
    /// The channels. No shard has an interest in any of them.
    pub(super) channels: Vec<ChannelId>,
}

impl Order {
    pub(super) fn new(epoch: Epoch, shards: usize, limits: Limits, rules: Rules) -> Self {
        let shards = u8::try_from(shards).ok().filter(|shards| (1..=64).contains(shards));
        let shards = shards.expect("1 to 64 shards: the width of the interest mask");
        Self {
            epoch,
            now: Millis(0),
            position: 0,
            watermark: 0,
            channels: Channels::default(),
            unfollowed: Unfollowed::default(),
            retention: Retention::new(limits.history_bytes, &rules),
            keys: Keys::new(limits.idempotency_keys, limits.idempotency_age_ms),
            lingering: (0..shards).map(Lingering::new).collect(),
            ticket: 0,
            untold: VecDeque::new(),
            released: Released::default(),
            forgotten: 0,
            subscriptions: 0,
            limits,
            rules,
        }
    }

    /// The record of a channel, begun where there is none.
    pub(super) fn find_or_begin(&mut self, name: &ChannelName) -> Result<ChannelId, Refusal> {
        if let Some(id) = self.channels.find(name) {
            return Ok(id);
        }
        if !self.make_record_room() {
            return Err(Refusal::ChannelLimit);
        }
        let (name, watermark) = (Arc::new(name.clone()), self.watermark);
        let rule = self.rules.of(&name.name);
        let make = |id| Channel::new(id, Arc::clone(&name), rule, watermark);
        let id = self.channels.insert(&name, make);
        self.unfollowed.settle(id, true, self.now, &mut self.channels);
        Ok(id)
    }

    /// When the next upkeep is due, as far as time alone makes it so.
    pub(super) fn next_due(&mut self) -> Option<Millis> {
        let all = &self.channels;
        let expiry = self.retention.next_expiry(all).map(|(due, _)| due);
        let interest = self.lingering.iter_mut().filter_map(|shard| shard.next_due(all)).min();
        [expiry, interest, self.next_idle_end(), self.keys.next_expiry()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Takes the floors that shards have not heard of, `max` at most, with the shards to tell.
    pub(super) fn take_floors(&mut self, max: usize) -> (u64, Vec<(ChannelId, u64)>) {
        let (mut mask, mut floors) = (0, Vec::new());
        for id in self.untold.drain(..max.min(self.untold.len())) {
            // A channel that was forgotten meanwhile has no shard left to tell.
            let Some(channel) = self.channels.of_mut(id) else { continue };
            channel.floor_untold = false;
            if channel.audience.mask() != 0 {
                mask |= channel.audience.mask();
                floors.push((id, channel.floor()));
            }
        }
        (mask, floors)
    }

    /// Panics where any structure contradicts itself or another.
    pub(super) fn invariants(&self) {
        let all = &self.channels;
        assert!(all.len() <= self.limits.channels);
        assert!(self.watermark <= self.position);
        let mut subscriptions = 0;
        let mut lingering = vec![0; self.lingering.len()];
        for channel in all.iter() {
            channel.invariants();
            assert_eq!(all.find(&channel.name), Some(channel.id));
            assert!(channel.unknown_before <= self.watermark);
            assert!(channel.last_position() <= self.position);
            assert!(channel.audience.subscribers() <= self.subscriptions);
            subscriptions += channel.audience.subscribers();
            channel.audience.lingering().for_each(|shard| lingering[usize::from(shard)] += 1);
            assert!(!channel.floor_untold || self.untold.contains(&channel.id));
        }
        assert_eq!(subscriptions, self.subscriptions);
        for (shard, live) in self.lingering.iter().zip(lingering) {
            shard.invariants(live, all);
        }
        self.unfollowed.invariants(all);
        self.retention.invariants(all);
        self.keys.invariants();
    }
}
