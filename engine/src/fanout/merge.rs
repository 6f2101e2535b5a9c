//! What waits for a poll on all of its channels, one message after the other by position; what
//! stands in several of them at one position comes once, in the first.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use fanfare_protocol::dialect::Encoding;
use fanfare_protocol::message::{GapReason, GapView};

use super::channels::Channels;
use super::filter::{Ahead, Filter};
use super::subscription::{Subscription, Subscriptions};

/// Merges by position: gives the position and the rendered bytes of each message, or the gap that
/// is told where messages are too long for this client.
#[derive(Debug)]
pub(crate) struct Merged<'a> {
    logs: &'a Channels,
    encoding: Encoding,
    subscriptions: &'a [Subscription],
    filter: Option<&'a Filter>,
    /// Position, which of the publication's channels, subscription, seq.
    owed: BinaryHeap<Reverse<(u64, u8, u32, u64)>>,
}

impl<'a> Merged<'a> {
    /// Everything from each subscription's cursor on.
    pub(super) fn new(
        subscriptions: &'a Subscriptions,
        logs: &'a Channels,
        encoding: Encoding,
    ) -> Self {
        let filter = subscriptions.filter();
        let subscriptions = subscriptions.as_slice();
        let owed = BinaryHeap::with_capacity(subscriptions.len());
        let mut merged = Self { logs, encoding, subscriptions, filter, owed };
        for (nth, subscription) in subscriptions.iter().enumerate() {
            let log = &logs.at(subscription.channel).log;
            merged.push(nth as u32, subscription.next.max(log.first()));
        }
        merged
    }

    /// Goes on with a subscription at `next`.
    fn push(&mut self, nth: u32, mut next: u64) {
        let log = &self.logs.at(self.subscriptions[nth as usize].channel).log;
        if let Some(filter) = self.filter {
            filter.pass(&mut next, log, self.encoding);
        }
        if let Some((position, channel)) = log.rank(next) {
            self.owed.push(Reverse((position, channel, nth, next)));
        }
    }

    /// Takes what comes first, and passes it wherever else it stands.
    fn pop(&mut self) -> Option<(u64, u32, u64)> {
        let Reverse((position, _, nth, seq)) = self.owed.pop()?;
        while let Some(Reverse((other, ..))) = self.owed.peek()
            && *other == position
            && let Some(Reverse((.., twin, twin_seq))) = self.owed.pop()
        {
            self.push(twin, twin_seq + 1);
        }
        Some((position, nth, seq))
    }
}

impl<'a> Iterator for Merged<'a> {
    type Item = (u64, Result<&'a [u8], GapView<'a>>);

    fn next(&mut self) -> Option<Self::Item> {
        let (position, nth, seq) = self.pop()?;
        let (logs, encoding) = (self.logs, self.encoding);
        let log = &logs.at(self.subscriptions[nth as usize].channel).log;
        if let Some(filter) = self.filter
            && filter.ahead(seq, log, encoding, 0) == Ahead::TooLong
        {
            // The gap stands where its first message does, so nothing may come in between.
            let other = self.owed.peek().map(|Reverse((position, ..))| *position);
            let before = other.map_or(u64::MAX, |position| log.at_or_after(position));
            let (from, to, after) = filter.too_long(seq, before, log, encoding);
            self.push(nth, after);
            let (channel, bounds) = (&*log.name.name, Some((from, to)));
            return Some((position, Err(GapView { channel, bounds, reason: GapReason::Size })));
        }
        self.push(nth, seq + 1);
        let lane = log.lane(encoding).expect("a subscription has its lane");
        let run = lane.run(seq, seq + 1, usize::MAX).expect("the lane holds what the log does");
        Some((position, Ok(lane.slice(run))))
    }
}
