//! What the order has told so far of a request to follow that it performs in slices.
//!
//! The logs of its channels are here from the first slice on; its connection follows them, and its
//! session hears of it, only with the last: there the whole request has its place. The order ends
//! one request before it begins the next, so of each shard no more than one is under way.

use crate::fanout::{FollowedChannels, Subscription, begin_late};
use crate::sequencer::command::{Subscribed, SubscribedChannel};

/// The channels that were told, without what was imported, each with the life that its log had.
#[derive(Default)]
pub(super) struct Slices(Vec<(SubscribedChannel, u64)>);

impl Slices {
    /// Keeps a reply that is not the last of its request. Its channels were imported.
    pub(super) fn keep(
        &mut self,
        reply: &Subscribed,
        imported: &[Subscription],
        channels: &FollowedChannels,
    ) {
        let lives = imported.iter().map(|subscription| subscription.life(channels));
        self.0.extend(reply.channels.iter().map(SubscribedChannel::without_import).zip(lives));
    }

    /// The whole of a request whose `last` reply came, and where the connection begins in each of
    /// its channels; `imported` belongs to the last reply. `None` where that reply is the whole.
    pub(super) fn whole(
        &mut self,
        last: &Subscribed,
        imported: &[Subscription],
        logs: &FollowedChannels,
    ) -> Option<(Subscribed, Vec<Subscription>)> {
        if self.0.is_empty() {
            return None;
        }
        let mut subscriptions = Vec::with_capacity(self.0.len() + imported.len());
        let mut channels = Vec::with_capacity(self.0.len() + imported.len());
        let mut begin = last.begin;
        for (mut channel, life) in std::mem::take(&mut self.0) {
            let (subscription, owed) = begin_late(&mut channel, life, last.present, logs);
            begin = begin.min(owed.map_or(begin, |position| position - 1));
            subscriptions.push(subscription);
            channels.push(channel);
        }
        subscriptions.extend_from_slice(imported);
        channels.extend(last.channels.iter().map(SubscribedChannel::without_import));
        let Subscribed { requester, epoch, present, left, .. } = *last;
        Some((
            Subscribed { requester, epoch, begin, present, channels: channels.into(), left },
            subscriptions,
        ))
    }
}
