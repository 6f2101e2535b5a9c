//! What becomes of a connection that has left the live window of a channel: what the channel's rule
//! says ([`crate::rule::Slow`]).
//!
//! A connection whose buffer is full is left alone where it may go on: what it has missed is known
//! when it takes bytes again, and told then, once, instead of with every message that it cannot
//! take. What it has begun to read is in its outbox and goes before the notice.

use super::farewell::Farewell;
use super::messages::ClientMessages;
use super::sessions::Sessions;
use super::table::Table;
use crate::clock::Millis;
use crate::driver::Token;
use crate::fanout::{Members, Subscriptions};

/// From the decision that a client is slow to the end of its socket (THREATS W21).
const SLOW_CLOSE_MS: u64 = 5_000;

/// A log waits for nobody who takes nothing, or has not caught up since it was told of a loss.
impl Members for Table {
    fn has_turn(&self, member: u32) -> bool {
        let flags = self.at(member).expect("a member is open").flags;
        flags.queued && !flags.blocked && !flags.lagging
    }

    fn behind(&mut self, member: u32) -> Option<&mut Subscriptions> {
        let connection = self.at_mut(member).expect("a member is open");
        let behind = connection.flags.blocked || connection.flags.lagging;
        behind.then_some(&mut connection.subscriptions)
    }
}

impl<M: ClientMessages> Sessions<M> {
    /// A client is owed messages that are not kept any more. Whether it stays: then each channel
    /// that has lost some is told of in its outbox, and its cursors are where messages are.
    pub(super) fn stays_after_loss(&mut self, token: Token, now: Millis) -> bool {
        let Some(connection) = self.table.get_mut(token) else { return false };
        if self.fanout.must_close(&connection.subscriptions) {
            self.close_slow(token, now);
            return false;
        }
        connection.flags.lagging = true;
        let encoding = connection.encoding;
        let outbox = &mut connection.outbox;
        let gaps = self.fanout.skip_lost(&mut connection.subscriptions, |gap| {
            encoding.gap(gap, outbox.get_or_insert_default().writer());
        });
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
