//! What a WebSocket client sends: frames in, pongs and closes out.

use fanfare_protocol::ws::{CloseCode, Event, Receiver, Role, send};

use super::connection::Phase;
use super::messages::{ClientMessages, Piece};
use super::sessions::Sessions;
use super::stamp::Stamp;
use super::timers::OUR_TURN_MS;
use crate::clock::Millis;
use crate::driver::Token;
use crate::transport::input::{Frames, Input};

/// What the bytes of one receive led to.
enum Verdict {
    /// Go on.
    Open,
    /// The client closed; with its code, which it gets back.
    Closed(Option<CloseCode>),
    /// We close: the client broke the protocol or a limit.
    Close(CloseCode, &'static str),
}

impl<M: ClientMessages> Sessions<M> {
    /// Bytes of a client whose upgrade is done.
    pub(super) fn take_frames(&mut self, token: Token, bytes: &mut [u8], now: Millis) {
        let Some(connection) = self.table.get_mut(token) else { return };
        let mut frames = match connection.input.take().map(|input| *input) {
            Some(Input::Frames(frames)) => frames,
            _ => Frames {
                receiver: Receiver::new(Role::Server),
                due: now.plus(self.context.limits.client_message_ms),
            },
        };
        let verdict = self.read_frames(token, &mut frames, bytes, now);
        let Some(connection) = self.table.get_mut(token) else { return };
        let leaving = connection.phase == Phase::Leaving;
        match verdict {
            Verdict::Open => {
                if !frames.receiver.is_idle() {
                    connection.input = Some(Box::new(Input::Frames(frames)));
                }
                self.arm(token, now);
                self.visit_if_private(token);
            }
            // The client answered our close: nothing is owed.
            Verdict::Closed(_) if leaving => {
                connection.flags.linger = false;
                self.visit_soon(token);
            }
            // It may not have seen our close yet. What it says is dropped until it has, since bytes
            // that nobody reads would turn our FIN into RST; a new machine looks for its answer.
            Verdict::Close(..) if leaving => {}
            Verdict::Closed(code) => {
                match code {
                    Some(code) => send::write_close(code, "", connection.private()),
                    None => send::write_empty_close(connection.private()),
                }
                self.leave(token, self.context.limits.close_ms, false, now);
            }
            Verdict::Close(code, reason) => {
                self.close(token, code, reason, !frames.receiver.peer_closed(), now);
            }
        }
    }

    fn read_frames(
        &mut self,
        token: Token,
        frames: &mut Frames,
        mut bytes: &mut [u8],
        now: Millis,
    ) -> Verdict {
        let context = self.context.clone();
        loop {
            let Some(connection) = self.table.get_mut(token) else { return Verdict::Open };
            let idle = frames.receiver.is_idle();
            if idle {
                frames.due = now.plus(context.limits.client_message_ms);
            }
            match frames.receiver.next(&mut bytes, &context.limits.ws) {
                Ok(None) => return Verdict::Open,
                Err(violation) => {
                    return Verdict::Close(violation.close_code(), violation.reason());
                }
                Ok(Some(Event::Close(close))) => {
                    return Verdict::Closed(close.map(|(code, _)| code));
                }
                // After our close only the client's is of interest (RFC 6455, section 5.5.1).
                Ok(Some(_)) if connection.phase == Phase::Leaving => {}
                Ok(Some(Event::Pong(_))) => {
                    if connection.flags.pinged {
                        connection.flags.pinged = false;
                        let pinged_at = connection.pinged_at.at(now);
                        connection.beat = Stamp::after(pinged_at, context.limits.ping_ms);
                    }
                }
                Ok(Some(Event::Ping(payload))) => {
                    let second = now.0 / 1_000;
                    if connection.ping_second != second as u32 {
                        connection.ping_second = second as u32;
                        connection.pings = 0;
                    }
                    connection.pings = connection.pings.saturating_add(1);
                    if u32::from(connection.pings) > context.limits.control_frames_per_s {
                        let reason = "too many pings in a second";
                        return Verdict::Close(CloseCode::RATE_LIMITED, reason);
                    }
                    self.spare.lend(&mut connection.outbox);
                    send::write_pong(payload, connection.private());
                }
                Ok(Some(Event::Data { kind, last, chunk, .. })) => {
                    if last {
                        self.metrics().client_messages.add(1);
                    }
                    let piece = Piece { kind, last, bytes: chunk };
                    let connection = self.table.get_mut(token).expect("it was there");
                    self.spare.lend(&mut connection.outbox);
                    self.client_messages.piece(token, piece, connection.private());
                }
            }
        }
    }

    /// Closes with a code of ours for a fault of the client's; where `answered`, it is given time
    /// to answer with a close frame of its own.
    fn close(&mut self, token: Token, code: CloseCode, reason: &str, answered: bool, now: Millis) {
        self.metrics().protocol_faults.add(1);
        let Some(connection) = self.table.get_mut(token) else { return };
        send::write_close(code, reason, connection.private());
        self.leave(token, self.context.limits.close_ms, answered, now);
    }

    /// Our ping, or the end of a client that answered none; or of a message that never ends.
    pub(super) fn beat_websocket(&mut self, token: Token, told: Millis, now: Millis) {
        let limits = &self.context.limits;
        let (ping_ms, pong_ms) = (limits.ping_ms, limits.pong_ms);
        if !self.message_in_time(token, told, now) {
            return;
        }
        let Some(connection) = self.table.get_mut(token) else { return };
        if connection.beat.at(told) > told {
            return;
        }
        if connection.flags.pinged {
            // The pong may be among what we have not read; who only ever sends other things owes
            // it all the same.
            let waited_ms = told.since(connection.pinged_at.at(told));
            if connection.flags.reading && waited_ms < 2 * pong_ms {
                connection.beat = Stamp::after(now, OUR_TURN_MS);
                return;
            }
            self.metrics().pong_missed.add(1);
            return self.close(token, CloseCode::NO_PONG, "no pong came", true, now);
        }
        self.spare.lend(&mut connection.outbox);
        send::write_ping(b"", connection.private());
        connection.flags.pinged = true;
        connection.pinged_at = Stamp::of(now);
        connection.beat = Stamp::after(now, pong_ms.min(ping_ms));
        self.visit_soon(token);
    }

    /// Closes a client whose message should be whole by now; whether there was no need to.
    pub(super) fn message_in_time(&mut self, token: Token, told: Millis, now: Millis) -> bool {
        let Some(connection) = self.table.get_mut(token) else { return false };
        let unread = connection.flags.reading;
        let late = match connection.input.as_deref_mut() {
            Some(Input::Frames(frames)) if frames.due <= told && unread => {
                frames.due = now.plus(OUR_TURN_MS);
                false
            }
            Some(Input::Frames(frames)) => frames.due <= told,
            _ => false,
        };
        if late {
            self.close(token, CloseCode::POLICY, "the message took too long", true, now);
        }
        !late
    }

    fn visit_if_private(&mut self, token: Token) {
        let Some(connection) = self.table.get_mut(token) else { return };
        self.spare.take_back(&mut connection.outbox);
        if connection.has_private() {
            self.visit_soon(token);
        }
    }
}
