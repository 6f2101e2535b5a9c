//! What is owed first on each channel of one client, to be taken in the order of positions.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use fanfare_protocol::dialect::Encoding;

use super::channels::FollowedChannels;
use super::filter::{Filter, Reads};
use super::lane::Renderer;
use super::log::ChannelLog;
use super::subscription::Subscription;

/// Position, which of the publication's channels, subscription: of those at one position the first
/// channel comes first. Memory is kept from client to client.
#[derive(Debug, Default)]
pub(super) struct Owed(BinaryHeap<Reverse<(u64, u8, u32)>>);

impl Owed {
    /// Finds what is owed first on each channel, past what passes in silence. `false` where it is
    /// not kept any more.
    pub(super) fn find(
        &mut self,
        (subscriptions, filter): (&mut [Subscription], Option<&Filter>),
        logs: &mut FollowedChannels,
        encoding: Encoding,
        renderer: &mut Renderer,
    ) -> bool {
        self.0.clear();
        for (nth, subscription) in subscriptions.iter_mut().enumerate() {
            let rendition = subscription.rendition(encoding);
            let log = &mut logs.at_mut(subscription.channel).log;
            if subscription.next < log.entries().first() {
                return false;
            }
            Reads { log, rendition, renderer }.pass(&mut subscription.next, filter);
            self.push(log.entries().rank(subscription.next), nth as u32);
        }
        true
    }

    /// Which subscription comes first, and at which position.
    pub(super) fn pop(&mut self) -> Option<(u64, u32)> {
        self.0.pop().map(|Reverse((position, _, nth))| (position, nth))
    }

    /// A subscription goes on there, if anywhere.
    pub(super) fn push(&mut self, rank: Option<(u64, u8)>, nth: u32) {
        self.0.extend(rank.map(|(position, channel)| Reverse((position, channel, nth))));
    }

    /// Whether nothing is owed.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How far a run of this log that begins at `position` may go before another channel's message
    /// comes. Where its first message stands elsewhere too it is a run of its own.
    pub(super) fn until_others(&self, log: &ChannelLog, position: u64) -> u64 {
        let other = self.0.peek().map(|Reverse((other, ..))| *other);
        other.map_or(u64::MAX, |other| log.entries().at_or_after(other.max(position + 1)))
    }

    /// Moves cursors past what stands at `position` in other channels as well, and says whose, and
    /// where they stood. It was given with the first, or told as a gap of that.
    pub(super) fn pass_twins(
        &mut self,
        position: u64,
        (subscriptions, filter): (&mut [Subscription], Option<&Filter>),
        logs: &mut FollowedChannels,
        encoding: Encoding,
        renderer: &mut Renderer,
        mut note: impl FnMut(u32, u64),
    ) {
        while let Some(Reverse((other, _, nth))) = self.0.peek().copied()
            && other == position
        {
            self.0.pop();
            let rendition = subscriptions[nth as usize].rendition(encoding);
            let Subscription { channel, next, .. } = &mut subscriptions[nth as usize];
            let log = &mut logs.at_mut(*channel).log;
            note(nth, *next);
            *next += 1;
            Reads { log, rendition, renderer }.pass(next, filter);
            self.push(log.entries().rank(*next), nth);
        }
    }
}
