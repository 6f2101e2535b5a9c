//! Deadlines: what is due when, by phase.

use fanfare_protocol::http::Violation;
use fanfare_protocol::sse;

use super::connection::{NEVER, Phase, Transport};
use super::messages::ClientMessages;
use super::sessions::Sessions;
use super::slow::must_close;
use crate::clock::Millis;
use crate::driver::{Close, Token};
use crate::transport::input::Input;

/// How often a client whose buffer is full is looked at: has it left the live window?
const BLOCKED_CHECK_MS: u64 = 1_000;

impl<M: ClientMessages> Sessions<M> {
    /// Lets the wheel look at a connection when its deadline is over.
    pub(super) fn arm(&mut self, token: Token) {
        let Some(connection) = self.table.get_mut(token) else { return };
        connection.due = match connection.phase {
            Phase::Asking => NEVER,
            _ => connection.beat,
        };
        // Only a stream is looked at more often: what ends an answer or a farewell is its own time.
        let open = connection.phase == Phase::Open;
        if open && let Some(Input::Frames(frames)) = connection.input.as_deref() {
            connection.due = connection.due.min(frames.due);
        }
        if open && connection.flags.blocked {
            let since = connection.waits_since.max(connection.checked);
            connection.due = connection.due.min(since.plus(BLOCKED_CHECK_MS));
        }
        if connection.due < connection.armed {
            connection.armed = connection.due;
            self.wheel.insert(token, connection.due);
        }
    }

    /// Does what is due by `now`.
    pub(super) fn timers(&mut self, now: Millis) {
        let mut due = std::mem::take(&mut self.due);
        self.wheel.fire(now, &mut due);
        for (token, at) in due.drain(..) {
            let Some(connection) = self.table.get_mut(token) else { continue };
            if connection.armed != at {
                continue; // a later entry of the same connection counts
            }
            connection.armed = NEVER;
            if connection.due <= now {
                self.timer(token, now);
            }
            self.arm(token);
        }
        self.due = due;
    }

    fn timer(&mut self, token: Token, now: Millis) {
        let Some(connection) = self.table.get_mut(token) else { return };
        let answering = connection.has_private() && !connection.flags.linger;
        match connection.phase {
            Phase::Asking => {}
            Phase::Head | Phase::Leaving if answering => self.check_answer(token, now),
            Phase::Head => {
                let idle = connection.input.is_none() && connection.flags.keep_alive;
                if idle {
                    self.end(token, Close::Gracefully);
                } else {
                    self.refuse(token, Violation::HeadDeadline, now);
                }
            }
            Phase::Waiting => self.answer_poll(token, now),
            Phase::Leaving if connection.flags.cut || connection.has_private() => {
                self.end(token, Close::Abort);
            }
            Phase::Leaving => self.end(token, Close::Gracefully),
            Phase::Open if connection.flags.blocked => self.check_blocked(token, now),
            Phase::Open => self.beat(token, now),
        }
    }

    /// A client that has not taken its whole answer: it has time for as long as it takes bytes.
    fn check_answer(&mut self, token: Token, now: Millis) {
        let stall_ms = self.facts.limits.stall_ms;
        let Some(connection) = self.table.get_mut(token) else { return };
        if now.since(connection.progress) < stall_ms {
            connection.beat = connection.progress.plus(stall_ms);
        } else {
            self.metrics().slow_closed.add(1);
            self.end(token, Close::Abort);
        }
    }

    /// A client whose buffer is full: has it stalled, or has it left the live window of a channel
    /// that closes for that? Who goes on after a gap is told of it when there is room.
    fn check_blocked(&mut self, token: Token, now: Millis) {
        let Some(connection) = self.table.get_mut(token) else { return };
        connection.checked = now;
        let beat = connection.beat;
        if now.since(connection.waits_since) >= self.facts.limits.stall_ms {
            self.metrics().slow_closed.add(1);
            return self.end(token, Close::Abort);
        }
        if must_close(connection, &self.channels) {
            self.close_slow(token, now);
        } else if connection.transport == Transport::EventStream {
            connection.beat = now.plus(self.facts.limits.heartbeat_ms);
        } else if self.message_in_time(token, now) && now >= beat {
            let Some(connection) = self.table.get_mut(token) else { return };
            connection.flags.pinged = false; // while bytes wait no pong is owed
            connection.beat = now.plus(self.facts.limits.ping_ms);
        }
    }

    /// A ping, a heartbeat, or the end of a client that is gone.
    fn beat(&mut self, token: Token, now: Millis) {
        let heartbeat_ms = self.facts.limits.heartbeat_ms;
        let Some(connection) = self.table.get_mut(token) else { return };
        if connection.transport == Transport::WebSocket {
            return self.beat_websocket(token, now);
        }
        // Messages are heartbeats too: only a silent stream needs a comment (THREATS E8).
        let silent_since = connection.progress;
        if now.since(silent_since) >= heartbeat_ms {
            sse::write::comment(connection.private(), "");
            connection.beat = now.plus(heartbeat_ms);
            self.visit_soon(token);
        } else {
            connection.beat = silent_since.plus(heartbeat_ms);
        }
    }

    /// When the next deadline of anyone is over.
    pub(super) fn next_due(&self) -> Option<Millis> {
        self.wheel.next_due()
    }
}
