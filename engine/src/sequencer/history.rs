//! What a channel keeps for those who return: its newest messages, dense in offset.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::clock::Millis;
use crate::message::Message;

/// Below this capacity a queue is not worth shrinking.
const SMALL: usize = 16;

/// The kept messages of one channel, oldest first. Bounds are applied by its owner.
#[derive(Default)]
pub(super) struct History {
    messages: VecDeque<Arc<Message>>,
    bytes: usize,
}

impl History {
    /// How many messages are kept.
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether none is kept.
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// What they cost, as [`Message::cost`] counts.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The oldest one.
    pub(super) fn first(&self) -> Option<&Arc<Message>> {
        self.messages.front()
    }

    /// The newest one.
    pub(super) fn last(&self) -> Option<&Arc<Message>> {
        self.messages.back()
    }

    /// Appends the next message of the channel.
    pub(super) fn push(&mut self, message: Arc<Message>) {
        debug_assert!(self.last().is_none_or(|last| last.offset + 1 == message.offset));
        self.bytes += message.cost();
        // Most channels keep one message, and a queue begins with room for four.
        if self.messages.capacity() == 0 {
            self.messages.reserve_exact(1);
        }
        self.messages.push_back(message);
    }

    /// Drops the oldest message. Memory follows: a million channels that were busy once must not
    /// each keep the queue of their best day.
    pub(super) fn pop(&mut self) -> Option<Arc<Message>> {
        let message = self.messages.pop_front()?;
        self.bytes -= message.cost();
        if self.messages.is_empty() {
            self.messages = VecDeque::new();
        } else if self.messages.capacity() > SMALL
            && self.messages.len() < self.messages.capacity() / 4
        {
            self.messages.shrink_to(self.messages.capacity() / 2);
        }
        Some(message)
    }

    /// The message with this offset, where it is kept.
    pub(super) fn at(&self, offset: u64) -> Option<&Arc<Message>> {
        let first = self.first()?.offset;
        self.messages.get(usize::try_from(offset.checked_sub(first)?).ok()?)
    }

    /// Those with offsets in `from..to`, oldest first; offsets that are not kept are left out.
    pub(super) fn range(&self, from: u64, to: u64) -> impl ExactSizeIterator<Item = &Arc<Message>> {
        let first = self.first().map_or(0, |message| message.offset);
        let place = |offset: u64| {
            let place = usize::try_from(offset.saturating_sub(first)).unwrap_or(usize::MAX);
            place.min(self.messages.len())
        };
        let end = place(to);
        self.messages.range(place(from).min(end)..end)
    }

    /// Where they stand, oldest first.
    pub(super) fn positions(&self) -> impl Iterator<Item = u64> {
        self.messages.iter().map(|message| message.position)
    }

    /// How many of the kept lie at or before `position`.
    pub(super) fn until(&self, position: u64) -> usize {
        self.messages.partition_point(|message| message.position <= position)
    }

    /// How many of the kept are older than this time.
    pub(super) fn before(&self, at: Millis) -> usize {
        self.messages.partition_point(|message| message.at < at)
    }

    /// Panics where the structure contradicts itself.
    pub(super) fn invariants(&self) {
        assert_eq!(self.bytes, self.messages.iter().map(|message| message.cost()).sum::<usize>());
        for (one, next) in self.messages.iter().zip(self.messages.iter().skip(1)) {
            assert_eq!(one.offset + 1, next.offset);
            assert!(one.position < next.position);
            assert!(one.at <= next.at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::message;
    use super::*;

    fn history(offsets: std::ops::RangeInclusive<u64>) -> History {
        let mut history = History::default();
        for offset in offsets {
            history.push(message(offset, offset * 10));
        }
        history
    }

    fn offsets<'a>(messages: impl Iterator<Item = &'a Arc<Message>>) -> Vec<u64> {
        messages.map(|message| message.offset).collect()
    }

    #[test]
    fn ranges_leave_out_what_is_not_kept() {
        let history = history(5..=9);
        assert_eq!(offsets(history.range(0, 7)), [5, 6]);
        assert_eq!(offsets(history.range(6, 8)), [6, 7]);
        assert_eq!(offsets(history.range(8, 100)), [8, 9]);
        assert_eq!(offsets(history.range(8, 3)), [] as [u64; 0]);
        assert_eq!(offsets(history.range(10, 20)), [] as [u64; 0]);
        assert_eq!(offsets(History::default().range(1, 20)), [] as [u64; 0]);
        assert_eq!(history.at(4).map(|message| message.offset), None);
        assert_eq!(history.at(9).map(|message| message.offset), Some(9));
        assert_eq!(history.at(10).map(|message| message.offset), None);
    }

    #[test]
    fn positions_are_found_between_messages_too() {
        let history = history(5..=9);
        for (position, expected) in [(0, 0), (49, 0), (50, 1), (51, 1), (90, 5), (900, 5)] {
            assert_eq!(history.until(position), expected, "{position}");
        }
    }

    #[test]
    fn the_queue_shrinks_with_what_it_keeps() {
        let mut history = history(1..=10_000);
        while history.len() > 10 {
            history.pop();
        }
        history.invariants();
        assert!(history.messages.capacity() <= 64, "{}", history.messages.capacity());
        while history.pop().is_some() {}
        assert_eq!(history.messages.capacity(), 0);
        assert_eq!(history.bytes(), 0);
    }
}
