//! A connection begins or ends to follow channels.

use std::sync::Arc;

use crate::channel::ChannelId;

use super::command::{Refusal, Subscribe, Subscribed, SubscribedChannel};
use super::order::Order;
use super::resume::Start;
use super::times::Times;

impl Order {
    /// Follows all channels of the request, or none of them. The reply is exact at the present
    /// position: it must be the next entry of the ring for its shard.
    pub(super) fn subscribe(
        &mut self,
        request: &Subscribe,
        times: &Times,
    ) -> Result<Subscribed, Refusal> {
        if !self.has_records_for(request) {
            return Err(Refusal::ChannelLimit);
        }
        let shard = request.requester.shard;
        // Those that have a record first: from here on it cannot be forgotten for a new one.
        let mut ids: Vec<Option<ChannelId>> =
            request.channels.iter().map(|(name, _)| self.channels.find(name)).collect();
        for id in ids.iter().flatten() {
            self.join(*id, shard);
        }
        for (id, (name, _)) in ids.iter_mut().zip(&request.channels) {
            if id.is_none() {
                let begun = self.find_or_begin(name)?;
                self.join(begun, shard);
                *id = Some(begun);
            }
        }
        let mut begin = self.position;
        let sinces = request.channels.iter().map(|(_, since)| *since);
        let channels = ids.into_iter().flatten().zip(sinces).map(|(id, since)| {
            let from = Start::since(since, self.epoch, self.position, times);
            let (reply, owed) = self.reply(id, shard, from);
            begin = begin.min(owed.map_or(begin, |position| position - 1));
            reply
        });
        let channels = channels.collect();
        Ok(Subscribed { requester: request.requester, begin, present: self.position, channels })
    }

    /// Whether the channels of this request that have no record can all get one.
    fn has_records_for(&self, request: &Subscribe) -> bool {
        let (mut missing, mut spared) = (0, 0);
        for (name, _) in &request.channels {
            match self.channels.find(name).and_then(|id| self.channels.of(id)) {
                None => missing += 1,
                Some(channel) => spared += usize::from(channel.audience.subscribers() == 0),
            }
        }
        let free = self.limits.channels.saturating_sub(self.channels.len());
        missing <= free + self.unfollowed.len().saturating_sub(spared)
    }

    fn join(&mut self, id: ChannelId, shard: u8) {
        let channel = self.channels.living(id);
        if channel.audience.join(shard, channel.head + 1) {
            self.lingering[usize::from(shard)].cancel();
        }
        self.subscriptions += 1;
        self.unfollowed.settle(id, true, self.now, &mut self.channels);
    }

    /// One channel's part of the reply, and the position of the first message to deliver.
    fn reply(&mut self, id: ChannelId, shard: u8, from: Start) -> (SubscribedChannel, Option<u64>) {
        let channel = self.channels.living(id);
        let (next, gap) = channel.start(from);
        let gap_begins =
            gap.and(from.position()).and_then(|position| channel.trimmed.first_after(position));
        let (head, floor) = (channel.head, channel.floor());
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

    /// One connection of `shard` follows this channel no more.
    pub(super) fn unsubscribe(&mut self, shard: u8, id: ChannelId) {
        let Some(channel) = self.channels.of_mut(id) else {
            debug_assert!(false, "shard {shard} leaves {id:?}, which has no record");
            return;
        };
        let before = channel.audience.subscribers();
        self.ticket += 1;
        if channel.audience.leave(shard, self.ticket) {
            let due = self.now.plus(self.limits.interest_ms);
            self.lingering[usize::from(shard)].begin(id, self.ticket, due, &self.channels);
        }
        self.subscriptions -= before - self.channels.living(id).audience.subscribers();
        self.unfollowed.settle(id, true, self.now, &mut self.channels);
    }
}
