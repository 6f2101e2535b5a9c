//! Cursors that have left the live windows of their channels: what becomes of whoever they belong
//! to is what each channel's rule says ([`Slow`]).

use fanfare_protocol::message::{GapReason, GapView};

use super::channels::Channels;
use super::subscription::Subscription;
use crate::rule::Slow;

/// Whether one of these has left the live window of a channel whose rule is to disconnect; what the
/// rules of the others say does not matter then.
pub(super) fn must_close(subscriptions: &[Subscription], channels: &Channels) -> bool {
    subscriptions.iter().any(|it| {
        let log = &channels.at(it.channel).log;
        log.slow() == Slow::Disconnect && it.next < log.first()
    })
}

/// Moves cursors that have left their logs to where they go on, and tells each gap in the order of
/// the subscriptions. Who is not to go on, and is asked all the same (a poll is answered, whatever
/// the rule says), does so with the oldest. Returns how many there were.
pub(super) fn skip_lost(
    subscriptions: &mut [Subscription],
    channels: &Channels,
    mut tell: impl FnMut(&GapView<'_>),
) -> u64 {
    let mut gaps = 0;
    for subscription in subscriptions {
        let log = &channels.at(subscription.channel).log;
        if subscription.next >= log.first() {
            continue;
        }
        let next = log.resumes_at().unwrap_or(log.first());
        let bounds = Some((subscription.next, next - 1));
        tell(&GapView { channel: &log.name.name, bounds, reason: GapReason::Slow });
        subscription.next = next;
        gaps += 1;
    }
    gaps
}
