//! What waits for a poll on all of its channels, one message after the other by position.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use fanfare_protocol::dialect::Encoding;

use super::channels::Channels;
use super::subscription::Subscription;

/// Merges by position: gives the position and the rendered bytes of each message.
#[derive(Debug)]
pub(crate) struct Merged<'a> {
    logs: &'a Channels,
    encoding: Encoding,
    subscriptions: &'a [Subscription],
    /// Position, subscription, seq.
    owed: BinaryHeap<Reverse<(u64, u32, u64)>>,
}

impl<'a> Merged<'a> {
    /// Everything from each subscription's cursor on.
    pub(super) fn new(
        subscriptions: &'a [Subscription],
        logs: &'a Channels,
        encoding: Encoding,
    ) -> Self {
        let mut owed = BinaryHeap::with_capacity(subscriptions.len());
        for (nth, subscription) in subscriptions.iter().enumerate() {
            let log = &logs.at(subscription.channel).log;
            let next = subscription.next.max(log.first());
            if let Some(position) = log.position(next) {
                owed.push(Reverse((position, nth as u32, next)));
            }
        }
        Self { logs, encoding, subscriptions, owed }
    }
}

impl<'a> Iterator for Merged<'a> {
    type Item = (u64, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let Reverse((position, nth, seq)) = self.owed.pop()?;
        let log = &self.logs.at(self.subscriptions[nth as usize].channel).log;
        if let Some(position) = log.position(seq + 1) {
            self.owed.push(Reverse((position, nth, seq + 1)));
        }
        let lane = log.lane(self.encoding).expect("a subscription has its lane");
        let run = lane.run(seq, seq + 1, usize::MAX).expect("the lane holds what the log does");
        Some((position, lane.slice(run)))
    }
}
