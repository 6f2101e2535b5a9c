//! The one order of a node: what the sequencer knows and decides, without inbox and ring.

use std::collections::VecDeque;
use std::sync::Arc;

use fanfare_protocol::id::{Epoch, Id};
use fanfare_protocol::record::Secret;

use crate::channel::{ChannelId, ChannelName};
use crate::clock::Millis;
use crate::limits::Limits;
use crate::rule::Rules;

use super::channel::Channel;
use super::checkpoint::Checkpoint;
use super::command::EndedLife;
use super::interest::Lingering;
use super::keys::Keys;
use super::lives::Lives;
use super::retention::Retention;
use super::table::Channels;

/// Spreads what the hash of the state takes in: 2^64 over the golden ratio, which is odd.
const ODD_RANDOM: u64 = 0x9e37_79b9_7f4a_7c15;

/// Everything that is ordered: positions, channels, what they keep and who follows them.
pub(super) struct Order {
    pub(super) epoch: Epoch,
    pub(super) limits: Limits,
    pub(super) rules: Rules,
    /// The time of this step; never goes back.
    pub(super) now: Millis,
    /// The last position of the log that was applied.
    pub(super) position: u64,
    /// The log's time there.
    pub(super) at: Millis,
    /// A rolling hash of what was assigned: every message's position and offset.
    pub(super) state: u64,
    pub(super) channels: Channels,
    pub(super) lives: Lives,
    pub(super) retention: Retention,
    /// What was published under a key of its publisher's.
    pub(super) keys: Keys,
    /// The checkpoint that is being written.
    pub(super) checkpoint: Option<Box<Checkpoint>>,
    /// Checkpoints that were begun.
    pub(super) checkpoints: u32,
    /// One for each shard.
    pub(super) lingering: Vec<Lingering>,
    /// Numbers the waits for the end of an interest.
    pub(super) ticket: u64,
    /// Channels whose floor rose without a message.
    pub(super) untold: VecDeque<ChannelId>,
    /// Lives of channels that ended in the present piece of work.
    pub(super) ended: EndedLives,
    /// Subscriptions of all connections.
    pub(super) subscriptions: u64,
    /// Channels that have subscribers.
    pub(super) followed: usize,
}

/// Lives that ended and of which shards are still to be told.
#[derive(Debug, Default)]
pub(super) struct EndedLives {
    /// All shards that had an interest in one of the channels.
    pub(super) mask: u64,
    pub(super) lives: Vec<EndedLife>,
}

impl Order {
    pub(super) fn new(
        (epoch, secret): (Epoch, Secret),
        shards: usize,
        limits: Limits,
        rules: Rules,
    ) -> Self {
        let shards = u8::try_from(shards).ok().filter(|shards| (1..=64).contains(shards));
        let shards = shards.expect("1 to 64 shards: the width of the interest mask");
        Self {
            epoch,
            now: Millis(0),
            position: 0,
            at: Millis(0),
            state: 0,
            channels: Channels::default(),
            lives: Lives::new(limits.channels, limits.channel_idle_ms, &rules),
            retention: Retention::new(limits.history_bytes, &rules),
            keys: Keys::new(secret, limits.idempotency_keys, limits.idempotency_age_ms),
            checkpoint: None,
            checkpoints: 0,
            lingering: (0..shards).map(Lingering::new).collect(),
            ticket: 0,
            untold: VecDeque::new(),
            ended: EndedLives::default(),
            subscriptions: 0,
            followed: 0,
            limits,
            rules,
        }
    }

    /// Notes in the hash of the state what was assigned.
    pub(super) fn assigned(&mut self, what: u64) {
        self.state = (self.state ^ what).wrapping_mul(ODD_RANDOM).rotate_left(29);
    }

    /// Another epoch begins here: every life ends, and every key is free again. Returns the lives
    /// of which shards are to be told. This is the one piece of work that has no bound but the
    /// number of channels: nothing may be placed before all of it is done.
    pub(super) fn begin_epoch(&mut self, id: Id, at: Millis, secret: Secret) -> Box<[EndedLife]> {
        let Id { epoch, position } = id;
        debug_assert!(position > self.position, "positions rise along the log");
        debug_assert!(self.ended.lives.is_empty(), "of lives that ended before shards were told");
        // A checkpoint of what ends here would be of little use, and each life would be written.
        self.checkpoint = None;
        let lives = self.channels.iter().filter(|channel| channel.has_life());
        let lives: Vec<ChannelId> = lives.map(|channel| channel.id).collect();
        lives.into_iter().for_each(|id| self.end_life(id));
        self.keys.begin_anew(secret);
        self.lives.watermark = position;
        (self.epoch, self.position, self.at) = (epoch, position, at);
        self.assigned(epoch.number() ^ position.rotate_left(32));
        std::mem::take(&mut self.ended).lives.into()
    }

    /// The record of a channel, made where there is none.
    pub(super) fn find_or_make(&mut self, name: &ChannelName) -> ChannelId {
        if let Some(id) = self.channels.find(name) {
            return id;
        }
        let name = Arc::new(name.clone());
        let rule = self.rules.of(&name.name);
        self.channels.insert(&name, |id| Channel::new(id, Arc::clone(&name), rule))
    }

    /// Drops a record that nothing holds any more.
    pub(super) fn drop_unused(&mut self, id: ChannelId) {
        let unused = |channel: &Channel| !channel.has_life() && channel.audience.mask() == 0;
        if self.channels.of(id).is_some_and(unused) {
            self.channels.remove(id);
        }
    }

    /// Ends the lives that are over at this time of the log, `max` at most; says how many.
    pub(super) fn end_lives(&mut self, at: Millis, max: usize) -> usize {
        let mut ended = 0;
        while ended < max
            && let Some(id) = self.lives.over(at, &self.channels)
        {
            self.end_life(id);
            ended += 1;
        }
        ended
    }

    /// Ends the life of a channel, with all that is kept of it. Shards that are interested are to
    /// be told in the ring, before anything else is.
    pub(super) fn end_life(&mut self, id: ChannelId) {
        self.save(id);
        self.lives.end(id, &mut self.channels);
        let channel = self.channels.living(id);
        self.retention.forget(channel);
        let mask = channel.audience.mask();
        for shard in channel.audience.begin_anew() {
            self.lingering[usize::from(shard)].cancel();
        }
        if mask != 0 {
            let followed = channel.audience.mask();
            self.ended.mask |= mask;
            self.ended.lives.push(EndedLife { channel: id, followed });
        }
        self.drop_unused(id);
    }

    /// When the next upkeep is due, as far as time alone makes it so; and, where it is to be asked
    /// for, that of the log.
    pub(super) fn next_due(&mut self, of_log: bool) -> Option<Millis> {
        let all = &self.channels;
        let expiry = self.retention.next_expiry(all).map(|(due, _)| due);
        let interest = self.lingering.iter_mut().filter_map(|shard| shard.next_due(all)).min();
        let by_log = [self.lives.next_end(), self.keys.next_expiry()].into_iter().flatten();
        let by_log = by_log.filter(|_| of_log).min();
        [expiry, interest, by_log].into_iter().flatten().min()
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
        assert!(self.lives.watermark <= self.position);
        assert!(self.followed <= self.limits.followed_channels);
        let followed = all.iter().filter(|channel| channel.audience.subscribers() > 0).count();
        assert_eq!(self.followed, followed);
        let mut subscriptions = 0;
        let mut lingering = vec![0; self.lingering.len()];
        for channel in all.iter() {
            channel.invariants();
            assert_eq!(all.find(&channel.name), Some(channel.id));
            assert!(channel.life.unknown_before <= self.lives.watermark);
            assert!(channel.life.position <= self.position);
            assert!(channel.audience.subscribers() <= self.subscriptions);
            subscriptions += channel.audience.subscribers();
            channel.audience.lingering().for_each(|shard| lingering[usize::from(shard)] += 1);
            assert!(!channel.floor_untold || self.untold.contains(&channel.id));
        }
        assert_eq!(subscriptions, self.subscriptions);
        for (shard, live) in self.lingering.iter().zip(lingering) {
            shard.invariants(live, all);
        }
        self.lives.invariants(all);
        self.retention.invariants(all);
        self.keys.invariants();
    }
}
