//! Reads of the order: a page of history, a channel's numbers. They never make a record for a
//! channel that has none.

use fanfare_protocol::id::Id;

use super::applied::Applied;
use super::channel::Channel;
use super::command::{ChannelStats, HistoryPage};
use super::resume::Start;

/// Up to `limit` kept messages of a channel after `since`, oldest first.
pub(super) fn history(
    channel: Option<&Channel>,
    since: Option<Id>,
    limit: usize,
    applied: &Applied,
) -> HistoryPage {
    let from = since.map_or(Start::Floor(None), |since| Start::after(since, applied));
    let end = applied.id();
    let Some(channel) = channel else {
        let gap = from.gap_without_life(applied.watermark);
        return HistoryPage { messages: Vec::new(), gap, id: end, more: false };
    };
    let (next, gap) = channel.start(from, applied.watermark);
    let mut waiting = channel.history.range(next, channel.life.offset + 1);
    let messages: Vec<_> = waiting.by_ref().take(limit).cloned().collect();
    // What follows the page begins right after its last message; an empty page (`limit` 0) ends
    // right before the first one.
    let (id, more) = match (waiting.next(), messages.last()) {
        (None, _) => (end, false),
        (Some(_), Some(last)) => (Id { position: last.position, ..end }, true),
        (Some(first), None) => (Id { position: first.position - 1, ..end }, true),
    };
    HistoryPage { messages, gap, id, more }
}

/// A channel's numbers; zeros where it has no record.
pub(super) fn stats(channel: Option<&Channel>) -> ChannelStats {
    channel.map_or(ChannelStats::default(), |channel| ChannelStats {
        subscribers: channel.audience.subscribers(),
        offset: channel.life.offset,
        history_messages: channel.history.len() as u64,
        history_bytes: channel.history.bytes() as u64,
    })
}
