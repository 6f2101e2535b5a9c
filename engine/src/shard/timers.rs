//! Deadlines: what is due when, by phase.
//!
//! What came is read before time is judged. A thread may stand still for seconds (a busy machine, a
//! paused one), and what its clients sent meanwhile came in time. So two times go through here:
//! `told`, up to which the kernel has told everything, by which deadlines are judged; and `now`,
//! from which new ones run. And whoever waits to be read or written to by us is not late.

use fanfare_protocol::http::Violation;

use super::connection::{Flags, NEVER, Phase, Transport};
use super::messages::ClientMessages;
use super::sessions::Sessions;
use super::stamp::Stamp;
use crate::clock::Millis;
use crate::driver::{Close, Token};

/// How often a client is looked at whose time is over while we have not come to read it, or to
/// write to it.
pub(super) const OUR_TURN_MS: u64 = 100;

impl<M: ClientMessages> Sessions<M> {
    /// Lets the wheel look at a connection when its deadline is over.
    pub(super) fn arm(&mut self, token: Token, now: Millis) {
        let Some(connection) = self.table.get_mut(token) else { return };
        let due = connection.due(now);
        if due < NEVER {
            self.wheel.look_by(&mut self.table, token.index, due);
        }
    }

    /// Does what is due by `told`, up to which everything that happened is known.
    pub(super) fn timers(&mut self, told: Millis, now: Millis) {
        let mut due = std::mem::take(&mut self.due);
        self.wheel.fire(&mut self.table, told, &mut due);
        for index in due.drain(..) {
            // What was due before may have ended this one.
            let Some(connection) = self.table.at(index) else { continue };
            let token = Token { index, generation: connection.generation };
            if connection.due(told) <= told {
                self.timer(token, told, now);
            }
            self.arm(token, now);
        }
        self.due = due;
    }

    fn timer(&mut self, token: Token, told: Millis, now: Millis) {
        let Some(connection) = self.table.get_mut(token) else { return };
        let Flags { linger, cut, reading, blocked, .. } = connection.flags;
        let has_private = connection.has_private();
        match connection.phase {
            Phase::Asking => {}
            // It has room for what it is owed, and it is we who have not come to write it. If that
            // was no room after all, the send finds out, and judges it (`settle`).
            Phase::Head | Phase::Leaving if has_private && !blocked => {
                connection.beat = Stamp::after(now, OUR_TURN_MS);
            }
            // It was too slow before: no byte that it takes now gives it more time.
            Phase::Leaving if cut => self.end(token, Close::Abort),
            Phase::Head | Phase::Leaving if has_private && !linger => {
                self.check_answer(token, told);
            }
            // Its bytes are here, and it is we who have not come to read them.
            Phase::Head if reading => connection.beat = Stamp::after(now, OUR_TURN_MS),
            Phase::Head => {
                let idle = connection.input.is_none() && connection.flags.keep_alive;
                let (idle_ms, since) = (self.context.limits.idle_ms, connection.progress.at(now));
                if idle && now.since(since) < idle_ms {
                    connection.beat = Stamp::after(since, idle_ms);
                } else if idle {
                    self.end(token, Close::Gracefully);
                } else {
                    self.refuse(token, Violation::HeadDeadline, now);
                }
            }
            Phase::Waiting => self.answer_poll(token, now),
            Phase::Leaving if has_private => self.end(token, Close::Abort),
            Phase::Leaving => self.end(token, Close::Gracefully),
            Phase::Open if blocked => self.check_blocked(token, told, now),
            Phase::Open => self.beat(token, told, now),
        }
    }

    /// A client that has not taken its whole answer: it has time for as long as it takes bytes.
    fn check_answer(&mut self, token: Token, told: Millis) {
        let stall_ms = self.context.limits.stall_ms;
        let Some(connection) = self.table.get_mut(token) else { return };
        let progress = connection.progress.at(told);
        if told.since(progress) < stall_ms {
            connection.beat = Stamp::after(progress, stall_ms);
        } else {
            self.metrics().slow_closed.add(1);
            self.end(token, Close::Abort);
        }
    }

    /// A client whose buffer is full: has it stalled, or has it left the live window of a channel
    /// that closes for that? Who goes on after a gap is told of it when there is room.
    fn check_blocked(&mut self, token: Token, told: Millis, now: Millis) {
        let Some(connection) = self.table.get_mut(token) else { return };
        connection.checked = Stamp::of(now);
        let beat = connection.beat.at(told);
        if told.since(connection.waits_since.at(told)) >= self.context.limits.stall_ms {
            self.metrics().slow_closed.add(1);
            return self.end(token, Close::Abort);
        }
        if self.fanout.must_close(&connection.subscriptions) {
            self.close_slow(token, now);
        } else if connection.transport == Transport::EventStream {
            connection.beat = Stamp::after(now, self.context.limits.heartbeat_ms);
        } else if self.message_in_time(token, told, now) && told >= beat {
            let Some(connection) = self.table.get_mut(token) else { return };
            connection.flags.pinged = false; // while bytes wait no pong is owed
            connection.beat = Stamp::after(now, self.context.limits.ping_ms);
        }
    }

    /// A ping, a heartbeat, or the end of a client that is gone.
    fn beat(&mut self, token: Token, told: Millis, now: Millis) {
        let heartbeat_ms = self.context.limits.heartbeat_ms;
        let Some(connection) = self.table.get_mut(token) else { return };
        if connection.transport == Transport::WebSocket {
            return self.beat_websocket(token, told, now);
        }
        let patience_ms = early_beat(token, heartbeat_ms);
        // Messages are heartbeats too: only a silent stream needs a comment (THREATS E8). All have
        // the same message in one moment, so from there, too, each has a patience of its own.
        let silent_since = connection.progress.at(told);
        if told.since(silent_since) >= patience_ms {
            self.spare.lend(&mut connection.outbox);
            let framing = connection.encoding.framing();
            framing.heartbeat(connection.private());
            connection.beat = Stamp::after(now, heartbeat_ms);
            self.visit_soon(token);
        } else {
            connection.beat = Stamp::after(silent_since, patience_ms);
        }
    }

    /// When the next deadline of anyone is over.
    pub(super) fn next_due(&self) -> Option<Millis> {
        self.wheel.next_due()
    }
}

/// From its opening to a connection's first ping or heartbeat, and from a message to a stream's
/// next one, where those after it come every `period_ms`: half of that to all of it, by its place
/// in the table. So clients that came in one moment, as after a restart, or had a message in one,
/// are not all spoken to in one moment for as long as they stay.
pub(super) fn early_beat(token: Token, period_ms: u64) -> u64 {
    // Fibonacci hashing: neighbours lie far apart.
    let spread = token.index.wrapping_mul(0x9e37_79b9) >> 16;
    period_ms - ((u64::from(spread) * (period_ms / 2)) >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_beats_of_those_who_came_together_are_spread_evenly() {
        const PERIOD_MS: u64 = 25_000;
        let mut tenths = [0; 10];
        for index in 0..20_000 {
            let beat = early_beat(Token { index, generation: 1 }, PERIOD_MS);
            assert!((PERIOD_MS / 2 + 1..=PERIOD_MS).contains(&beat), "{beat}");
            tenths[((PERIOD_MS - beat) * 20 / PERIOD_MS) as usize] += 1;
        }
        assert!(tenths.iter().all(|count| (1_950..=2_050).contains(count)), "{tenths:?}");
        assert_eq!(early_beat(Token { index: 7, generation: 1 }, 1), 1, "never at once");
    }
}
