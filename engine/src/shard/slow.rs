//! What becomes of a connection that has left the live window of a channel: what the channel's rule
//! says ([`Slow`]).
//!
//! A connection whose buffer is full is left alone where it may go on: what it has missed is known
//! when it takes bytes again, and told then, once, instead of with every message that it cannot
//! take. What it has begun to read is in its outbox and goes before the notice.

use fanfare_protocol::message::{GapReason, GapView};

use super::channels::Channels;
use super::connection::{Connection, Follow};
use super::farewell::Farewell;
use super::messages::ClientMessages;
use super::sessions::Sessions;
use crate::clock::Millis;
use crate::driver::Token;
use crate::rule::Slow;

/// From the decision that a client is slow to the end of its socket (THREATS W21).
const SLOW_CLOSE_MS: u64 = 5_000;

impl<M: ClientMessages> Sessions<M> {
    /// A client is owed messages that are not kept any more. Whether it goes on: then each channel
    /// that has lost some is told of in its outbox, and its cursors are where messages are.
    pub(super) fn goes_on(&mut self, token: Token, now: Millis) -> bool {
        let Some(connection) = self.table.get_mut(token) else { return false };
        if must_close(connection, &self.channels) {
            self.close_slow(token, now);
            return false;
        }
        connection.flags.lagging = true;
        let encoding = connection.encoding;
        let mut follows = std::mem::take(&mut connection.follows);
        let gaps = skip_lost(follows.as_mut_slice(), &self.channels, |gap| {
            encoding.gap(gap, connection.private());
        });
        connection.follows = follows;
        self.metrics().gaps.add(gaps);
        true
    }

    /// Closes a client that has left the live window of a channel where that is the end.
    pub(super) fn close_slow(&mut self, token: Token, now: Millis) {
        self.metrics().slow_closed.add(1);
        self.farewell(token, Farewell::Slow, SLOW_CLOSE_MS, now);
        if let Some(connection) = self.table.get_mut(token) {
            connection.flags.cut = true;
        }
    }
}

/// Whether a connection has left the live window of a channel whose rule is to disconnect; what its
/// other channels' rules say does not matter then.
pub(super) fn must_close(connection: &Connection, channels: &Channels) -> bool {
    connection.follows.as_slice().iter().any(|follow| {
        let log = &channels.at(follow.channel).log;
        log.slow() == Slow::Disconnect && follow.next < log.first()
    })
}

/// Moves cursors that have left their logs to where they go on, and tells each gap in the order of
/// the subscriptions. Who is not to go on, and is asked all the same (a poll is answered, whatever
/// the rule says), does so with the oldest. Returns how many there were.
pub(super) fn skip_lost(
    follows: &mut [Follow],
    channels: &Channels,
    mut tell: impl FnMut(&GapView<'_>),
) -> u64 {
    let mut gaps = 0;
    for follow in follows {
        let log = &channels.at(follow.channel).log;
        if follow.next >= log.first() {
            continue;
        }
        let next = log.goes_on_at().unwrap_or(log.first());
        let bounds = Some((follow.next, next - 1));
        tell(&GapView { channel: &log.name.name, bounds, reason: GapReason::Slow });
        follow.next = next;
        gaps += 1;
    }
    gaps
}
