//! Reads of the order: a page of history, a channel's numbers. They never begin a record.

use fanfare_protocol::id::Id;

use crate::channel::ChannelName;

use super::command::{ChannelStats, HistoryPage};
use super::order::Order;
use super::resume::Start;

impl Order {
    /// Up to `limit` kept messages after `since`, oldest first.
    pub(super) fn history(
        &self,
        name: &ChannelName,
        since: Option<Id>,
        limit: usize,
    ) -> HistoryPage {
        let from = since
            .map_or(Start::Floor(None), |since| Start::after(since, self.epoch, self.position));
        let end = Id { epoch: self.epoch, position: self.position };
        let Some(channel) = self.channels.find(name).and_then(|id| self.channels.of(id)) else {
            let gap = from.gap_without_life(self.lives.watermark);
            return HistoryPage { messages: Vec::new(), gap, id: end, more: false };
        };
        let (next, gap) = channel.start(from, self.lives.watermark);
        let mut waiting = channel.history.range(next, channel.life.offset + 1);
        let messages: Vec<_> = waiting.by_ref().take(limit).cloned().collect();
        // What follows the page begins right after its last message; an empty page (`limit` 0)
        // ends right before the first one.
        let (id, more) = match (waiting.next(), messages.last()) {
            (None, _) => (end, false),
            (Some(_), Some(last)) => (Id { position: last.position, ..end }, true),
            (Some(first), None) => (Id { position: first.position - 1, ..end }, true),
        };
        HistoryPage { messages, gap, id, more }
    }

    /// A channel's numbers.
    pub(super) fn stats(&self, name: &ChannelName) -> ChannelStats {
        let channel = self.channels.find(name).and_then(|id| self.channels.of(id));
        channel.map_or(ChannelStats::default(), |channel| ChannelStats {
            subscribers: channel.audience.subscribers(),
            offset: channel.life.offset,
            history_messages: channel.history.len() as u64,
            history_bytes: channel.history.bytes() as u64,
        })
    }
}
