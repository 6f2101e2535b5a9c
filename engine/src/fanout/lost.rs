//! What clients do not get: what left the live windows of their channels before they had it, of
//! which each channel's rule says what becomes of them ([`Slow`]); and what is too long for them.

use fanfare_protocol::dialect::Encoding;
use fanfare_protocol::message::{GapReason, GapView};

use super::channels::Channels;
use super::filter::{Ahead, Filter};
use super::subscription::Subscription;
use crate::rule::Slow;

/// Whether one of these has left the live window of a channel whose rule is to disconnect, or of
/// one that was forgotten meanwhile, so that nobody knows what was missed; what the rules of the
/// others say does not matter then.
pub(super) fn must_close(subscriptions: &[Subscription], channels: &Channels) -> bool {
    subscriptions.iter().any(|it| {
        let log = &channels.at(it.channel).log;
        let is_behind = it.next < log.first();
        is_behind && (log.slow() == Slow::Disconnect || log.is_of_earlier_life(it.next))
    })
}

/// Moves cursors that have left their logs to where they go on, and tells each gap in the order of
/// the subscriptions. Who is not to go on, and is asked all the same (a poll is answered, whatever
/// the rule says), does so with the oldest.
pub(super) fn skip_lost(
    subscriptions: &mut [Subscription],
    channels: &Channels,
    mut tell: impl FnMut(&GapView<'_>),
) -> Skipped {
    let mut skipped = Skipped::default();
    for subscription in subscriptions {
        let log = &channels.at(subscription.channel).log;
        if subscription.next >= log.first() {
            continue;
        }
        let next = log.resumes_at().unwrap_or(log.first());
        let bounds = log.offset_at(subscription.next).zip(log.offset_at(next));
        let bounds = bounds.map(|(from, next)| (from, next - 1));
        let reason = if bounds.is_some() { GapReason::Slow } else { GapReason::Unknown };
        tell(&GapView { channel: &log.name.name, bounds, reason });
        skipped.gaps += 1;
        skipped.ephemeral += log.ephemeral_within(subscription.next..next);
        subscription.next = next;
    }
    skipped
}

/// Where what is owed first is too long for this member, moves its cursor past that and tells it.
/// Returns how many gaps there were.
pub(super) fn skip_long(
    (subscriptions, filter): (&mut [Subscription], Option<&Filter>),
    channels: &Channels,
    encoding: Encoding,
    tell: impl FnOnce(&GapView<'_>),
) -> u64 {
    let Some(filter) = filter else { return 0 };
    let position = |it: &&mut Subscription| channels.at(it.channel).log.position(it.next);
    let owed = subscriptions.iter_mut().filter(|it| position(it).is_some());
    let Some(first) = owed.min_by_key(position) else { return 0 };
    let log = &channels.at(first.channel).log;
    if filter.ahead(first.next, log, encoding, 0) != Ahead::TooLong {
        return 0;
    }
    let (from, to, after) = filter.too_long(first.next, log, encoding);
    let bounds = Some((from, to));
    tell(&GapView { channel: &log.name.name, bounds, reason: GapReason::Size });
    first.next = after;
    1
}

/// What cursors that moved on have passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Skipped {
    /// Gaps that were told.
    pub(crate) gaps: u64,
    /// Ephemeral messages, of which nothing is told.
    pub(crate) ephemeral: u64,
}
