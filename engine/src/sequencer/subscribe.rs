//! A connection begins or ends to follow channels.
//!
//! A request may name thousands of channels and ask for all that they keep, so it is performed in
//! slices, and what backends publish comes between. Nothing else of clients does: whoever asks
//! later is performed later.

use std::sync::Arc;

use crate::channel::{ChannelId, ChannelName};

use super::command::{Refusal, Requester, Since, Subscribe, Subscribed, SubscribedChannel};
use super::order::Order;
use super::resume::Start;
use super::times::Times;

/// A request to follow that is being performed.
pub(super) struct Following {
    request: Box<Subscribe>,
    /// Its channels that are followed by now: the first so many.
    done: usize,
    /// Position before the first message to deliver, where there is one.
    before_owed: Option<u64>,
}

impl Following {
    /// Nothing of it is done.
    pub(super) fn new(request: Box<Subscribe>) -> Self {
        Self { request, done: 0, before_owed: None }
    }

    /// Another epoch begins: nothing is owed any more of what was told.
    pub(super) fn begin_epoch(&mut self) {
        self.before_owed = None;
    }

    /// Its shard.
    pub(super) fn shard(&self) -> u8 {
        self.request.requester.shard
    }

    /// Channels that are still to be followed.
    pub(super) fn left(&self) -> usize {
        self.request.channels.len() - self.done
    }
}

impl Order {
    /// Whether all channels of a request may be followed: it is done whole or not at all. Nothing
    /// else is followed before it is whole, so this is asked once.
    ///
    /// # Errors
    /// Where more channels would be followed than may be.
    pub(super) fn may_follow(&self, request: &Subscribe) -> Result<(), Refusal> {
        let free = self.limits.followed_channels - self.followed;
        if request.channels.len() <= free {
            return Ok(());
        }
        let new = request.channels.iter().filter(|(name, _)| !self.is_followed(name)).count();
        if new > free { Err(Refusal::ChannelLimit) } else { Ok(()) }
    }

    /// Follows the next channels of a request, until that was so many units of work: says how many.
    /// The reply is exact at the present position: it must be the next entry of the ring for its
    /// shard. It begins no channel's life: what is merely followed pushes out nothing.
    pub(super) fn follow(
        &mut self,
        following: &mut Following,
        units_max: usize,
        times: &Times,
    ) -> (Subscribed, usize) {
        let Following { request, done, before_owed } = following;
        let Requester { shard, .. } = request.requester;
        let (mut channels, mut units) = (Vec::new(), 0);
        for (name, since) in &request.channels[*done..] {
            if units >= units_max {
                break;
            }
            let id = self.find_or_make(name);
            self.join(id, shard);
            let (reply, owed) = self.reply(id, shard, *since, times);
            let before = owed.map(|position| position - 1);
            *before_owed = before_owed.iter().copied().chain(before).min();
            units += 1 + reply.import.len();
            channels.push(reply);
        }
        *done += channels.len();
        let reply = Subscribed {
            requester: request.requester,
            epoch: self.epoch,
            begin: before_owed.map_or(self.position, |before| before.min(self.position)),
            present: self.position,
            channels: channels.into(),
            left: following.left(),
        };
        (reply, units.max(1))
    }

    fn is_followed(&self, name: &ChannelName) -> bool {
        let channel = self.channels.find(name).and_then(|id| self.channels.of(id));
        channel.is_some_and(|channel| channel.audience.subscribers() > 0)
    }

    fn join(&mut self, id: ChannelId, shard: u8) {
        let channel = self.channels.living(id);
        self.followed += usize::from(channel.audience.subscribers() == 0);
        if channel.audience.join(shard, channel.life.offset + 1) {
            self.lingering[usize::from(shard)].cancel();
        }
        self.subscriptions += 1;
    }

    /// One channel's part of the reply, and the position of the first message to deliver.
    fn reply(
        &mut self,
        id: ChannelId,
        shard: u8,
        since: Since,
        times: &Times,
    ) -> (SubscribedChannel, Option<u64>) {
        let from = Start::since(since, self.epoch, self.position, times);
        let watermark = self.lives.watermark;
        let channel = self.channels.living(id);
        let (next, gap) = channel.start(from, watermark);
        // A gap without bounds may begin anywhere: in an earlier life, before all that is known.
        let first_missed = gap.and_then(|gap| gap.bounds).map(|(first, _)| first);
        let gap_begins = first_missed.and_then(|first| channel.trimmed.position_of(first));
        let (last, floor) = (channel.life.offset, channel.floor());
        let life = channel.life_name(self.position);
        let log_from = channel.audience.log_from(shard);
        // History reaches a shard once: all that is kept and that its log lacks, so that every
        // later resume on that shard is a position and nothing else.
        let import = if next < *log_from {
            let end = std::mem::replace(log_from, floor);
            channel.history.range(floor, end).cloned().collect()
        } else {
            Box::default()
        };
        let owed = channel.history.at(next).map(|message| message.position);
        let (name, rule) = (Arc::clone(&channel.name), Arc::clone(&channel.rule));
        let reply = SubscribedChannel {
            channel: id,
            name,
            rule,
            since,
            next,
            last,
            life,
            floor,
            gap,
            gap_begins,
            import,
        };
        (reply, owed)
    }

    /// One connection of `shard` follows these channels no more. Says in which of them that shard's
    /// interest ended with it: it must be told before anything else is.
    pub(super) fn unsubscribe(&mut self, shard: u8, channels: &[ChannelId]) -> Vec<ChannelId> {
        let ended = channels.iter().filter(|id| self.leave(shard, **id));
        ended.copied().collect()
    }

    fn leave(&mut self, shard: u8, id: ChannelId) -> bool {
        let Some(channel) = self.channels.of_mut(id) else {
            debug_assert!(false, "shard {shard} leaves {id:?}, which has no record");
            return false;
        };
        let before = channel.audience.subscribers();
        self.ticket += 1;
        let is_last = channel.audience.leave(shard, self.ticket);
        let left = channel.audience.subscribers();
        self.subscriptions -= before - left;
        self.followed -= usize::from(before > 0 && left == 0);
        if !is_last {
            return false;
        }
        if channel.has_life() {
            let due = self.now.plus(self.limits.interest_ms);
            self.lingering[usize::from(shard)].begin(id, self.ticket, due, &self.channels);
            return false;
        }
        channel.audience.release(shard);
        self.drop_unused(id);
        true
    }
}
