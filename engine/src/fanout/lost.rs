//! What left the live windows of a client's channels before it had it: each channel's rule says
//! what becomes of it ([`Slow`]).

use fanfare_protocol::message::{GapReason, GapView};

use super::channels::FollowedChannels;
use super::lives::EndedBy;
use super::subscription::Subscriptions;
use crate::rule::Slow;

/// Whether one of these has left the live window of a channel whose rule is to disconnect, or of
/// one that was forgotten meanwhile, so that nobody knows what was missed; what the rules of the
/// others say does not matter then. The end of an epoch closes nobody who has lost nothing since.
pub(crate) fn must_close(subscriptions: &Subscriptions, channels: &FollowedChannels) -> bool {
    subscriptions.as_slice().iter().any(|it| {
        let log = &channels.at(it.channel).log;
        it.next < log.entries().first()
            && match log.lives().ended(it.next) {
                None => log.slow() == Slow::Disconnect,
                Some(EndedBy::Forgetting) => true,
                Some(EndedBy::Epoch) => log.slow() == Slow::Disconnect && !log.is_whole(),
            }
    })
}

/// Moves cursors that have left their logs to where they go on, and tells each gap in the order of
/// the subscriptions. Who is not to go on, and is asked all the same (a poll is answered, whatever
/// the rule says), does so with the oldest. Returns how many gaps there were. Of ephemeral messages
/// nothing is told: they are counted.
pub(crate) fn skip_lost(
    subscriptions: &mut Subscriptions,
    channels: &mut FollowedChannels,
    mut tell: impl FnMut(&GapView<'_>),
) -> u64 {
    let (mut gaps, mut ephemeral) = (0, 0);
    for subscription in subscriptions.as_mut_slice() {
        let log = &channels.at(subscription.channel).log;
        let entries = log.entries();
        if subscription.next >= entries.first() {
            continue;
        }
        let ended = log.lives().ended(subscription.next);
        let next = match ended {
            Some(EndedBy::Epoch) if log.is_whole() => entries.first(),
            _ => log.resumes_at().unwrap_or(entries.first()),
        };
        // Offsets of the present life say nothing of an earlier one.
        let bounds = || (entries.offset_at(subscription.next), entries.offset_at(next) - 1);
        let bounds = ended.is_none().then(bounds);
        let reason = ended.map_or(GapReason::Slow, EndedBy::reason);
        let view = log.lanes.view(subscription.seat.view());
        tell(&GapView { channel: &log.name.name, view, bounds, reason });
        gaps += 1;
        ephemeral += entries.ephemeral_within(subscription.next..next);
        subscription.next = next;
    }
    channels.lost(ephemeral);
    gaps
}
