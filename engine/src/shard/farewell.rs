//! The last thing that a connection is told when it is we who end it.

use fanfare_protocol::dialect::CloseReason;
use fanfare_protocol::ws::{CloseCode, send};

use super::connection::{Phase, Transport};
use super::messages::ClientMessages;
use super::sessions::Sessions;
use crate::clock::Millis;
use crate::driver::{Close, Token};

/// Why we end a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Farewell {
    /// It has left the live window: reconnect and resume.
    Slow,
    /// The node is shutting down: reconnect in a moment.
    Shutdown,
}

impl<M: ClientMessages> Sessions<M> {
    /// Says this farewell in the connection's transport, and ends it when that is sent. A WebSocket
    /// gets `close_ms` for its own close; the end of a stream is the end of its socket (FIN), and
    /// until it comes an `EventSource` does not know that it should come back.
    pub(super) fn farewell(
        &mut self,
        token: Token,
        farewell: Farewell,
        close_ms: u64,
        now: Millis,
    ) {
        let retry_ms = self.context.limits.retry_ms;
        let Some(connection) = self.table.get_mut(token) else { return };
        match (connection.transport, farewell) {
            (Transport::WebSocket, Farewell::Slow) => {
                let reason = "too slow: reconnect and resume";
                send::write_close(CloseCode::SLOW_CONSUMER, reason, connection.private());
            }
            (Transport::WebSocket, Farewell::Shutdown) => {
                let reason = "the server is shutting down: reconnect and resume";
                send::write_close(CloseCode::RESTART, reason, connection.private());
            }
            // `retry:` was told at the start; EventSource comes back by itself.
            (Transport::EventStream, farewell) => {
                let reason = match farewell {
                    Farewell::Slow => CloseReason::Slow,
                    Farewell::Shutdown => CloseReason::Restart,
                };
                let encoding = connection.encoding;
                encoding.close(reason, retry_ms, connection.private());
            }
            (Transport::Http | Transport::Poll, _) => {}
        }
        let answers = connection.transport == Transport::WebSocket;
        self.leave(token, close_ms, answers, now);
    }

    /// The order has ended: everyone gets what is owed, then a farewell.
    pub(super) fn end_all(&mut self, now: Millis) {
        self.ending = true;
        for index in 0..self.table.places() {
            let Some(connection) = self.table.at(index) else { continue };
            let token = Token { index, generation: connection.generation };
            match connection.phase {
                Phase::Open => self.farewell_when_sent(token, now),
                Phase::Waiting => self.answer_poll(token, now),
                Phase::Head if connection.input.is_none() && !connection.has_private() => {
                    self.end(token, Close::Gracefully);
                }
                // A head that is under way is refused when it is whole; answers are on their way.
                Phase::Head | Phase::Asking | Phase::Leaving => {}
            }
        }
    }

    /// Takes leave of an open connection as soon as it has everything that stands before the end.
    pub(super) fn farewell_when_sent(&mut self, token: Token, now: Millis) {
        let Some(connection) = self.table.get_mut(token) else { return };
        if self.fanout.owes(&connection.subscriptions) {
            self.visit_soon(token); // comes back here when nothing is owed
        } else {
            self.farewell(token, Farewell::Shutdown, self.context.limits.close_ms, now);
        }
    }
}
