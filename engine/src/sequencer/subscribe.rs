//! A connection begins or ends to follow channels.

use std::sync::Arc;

use crate::channel::{ChannelId, ChannelName};

use super::command::{Refusal, Since, Subscribe, Subscribed, SubscribedChannel};
use super::order::Order;
use super::resume::Start;
use super::times::Times;

impl Order {
    /// Follows all channels of the request, or none of them. The reply is exact at the present
    /// position: it must be the next entry of the ring for its shard. It begins no channel's life:
    /// what is merely followed pushes out nothing.
    ///
    /// # Errors
    /// Where more channels would be followed than may be.
    pub(super) fn subscribe(
        &mut self,
        request: &Subscribe,
        times: &Times,
    ) -> Result<Subscribed, Refusal> {
        let new = request.channels.iter().filter(|(name, _)| !self.is_followed(name)).count();
        if self.followed + new > self.limits.followed_channels {
            return Err(Refusal::ChannelLimit);
        }
        let shard = request.requester.shard;
        let join = |(name, _): &(ChannelName, Since)| {
            let id = self.find_or_make(name);
            self.join(id, shard);
            id
        };
        let ids: Vec<ChannelId> = request.channels.iter().map(join).collect();
        let mut begin = self.position;
        let sinces = request.channels.iter().map(|(_, since)| *since);
        let channels = ids.into_iter().zip(sinces).map(|(id, since)| {
            let from = Start::since(since, self.epoch, self.position, times);
            let (reply, owed) = self.reply(id, shard, from);
            begin = begin.min(owed.map_or(begin, |position| position - 1));
            reply
        });
        let channels = channels.collect();
        Ok(Subscribed { requester: request.requester, begin, present: self.position, channels })
    }

    fn is_followed(&self, name: &ChannelName) -> bool {
        let channel = self.channels.find(name).and_then(|id| self.channels.of(id));
        channel.is_some_and(|channel| channel.audience.subscribers() > 0)
    }

    fn join(&mut self, id: ChannelId, shard: u8) {
        let channel = self.channels.living(id);
        self.followed += usize::from(channel.audience.subscribers() == 0);
        if channel.audience.join(shard, channel.head.offset + 1) {
            self.lingering[usize::from(shard)].cancel();
        }
        self.subscriptions += 1;
    }

    /// One channel's part of the reply, and the position of the first message to deliver.
    fn reply(&mut self, id: ChannelId, shard: u8, from: Start) -> (SubscribedChannel, Option<u64>) {
        let watermark = self.heads.watermark;
        let channel = self.channels.living(id);
        let (next, gap) = channel.start(from, watermark);
        // A gap without bounds may begin anywhere: in an earlier life, before all that is known.
        let bounded = gap.filter(|gap| gap.bounds.is_some());
        let gap_begins =
            bounded.and(from.position()).and_then(|position| channel.trimmed.first_after(position));
        let (head, floor) = (channel.head.offset, channel.floor());
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
        let channel = id;
        let reply =
            SubscribedChannel { channel, name, rule, next, head, floor, gap, gap_begins, import };
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
