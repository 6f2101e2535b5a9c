//! A WebSocket that is open: frames in, pongs and answers out, and pings that prove its client
//! there.

use fanfare_protocol::dialect::Encoding;
use fanfare_protocol::dialect::machine::Piece;
use fanfare_protocol::ws::{CloseCode, DataKind, Event, send};

use super::heard::Heard;
use super::here::Here;
use super::millis32::Millis32;
use super::overdue::RECHECK_MS;
use super::refresh;
use super::requests::Requests;
use super::shared::ShardResources;
use super::speaker::{Knock, Speaker};
use crate::channel::Tenant;
use crate::clock::Millis;
use crate::driver::Token;
use crate::limits::Limits;
use crate::sequencer::command::Subscribed;
use crate::transport::door::Upgrade;
use crate::transport::input::Frames;
use crate::transport::token_message::TokenMessage;

/// An open WebSocket.
#[derive(Debug)]
pub(crate) struct Socket {
    /// A frame or a message of which a part is here. `None` between messages.
    frames: Option<Box<Frames>>,
    /// Its dialect's commands, where it has any.
    speaker: Option<Box<Speaker>>,
    /// When our next ping is due; while a pong is owed, when that is.
    ping_due: Millis32,
    /// When our last ping went out.
    pinged_at: Millis32,
    /// The second in which `pings` were counted.
    ping_second: u32,
    /// Pings of the client in that second.
    pings: u16,
    /// Whether our last ping has no pong yet.
    pong_owed: bool,
    /// How what it is told is encoded.
    pub(super) encoding: Encoding,
}

impl Socket {
    /// Bytes of memory of what its client is in the middle of saying, and of its books.
    pub(super) fn memory(&self) -> usize {
        let frames = self.frames.as_deref().map_or(0, Frames::memory);
        frames + self.speaker().map_or(0, |speaker| speaker.requests.memory())
    }

    /// One whose first ping is due in `first_ping_ms`.
    pub(super) fn new(
        encoding: Encoding,
        tenant: Tenant,
        reply: &Subscribed,
        first_ping_ms: u64,
        now: Millis,
        shared: &ShardResources,
    ) -> Self {
        let speaker = shared.machines().map(|machines| {
            let (machine, requests) = (machines(), Requests::new(reply));
            Box::new(Speaker::new(machine, requests, tenant, encoding.framing()))
        });
        Self {
            frames: None,
            speaker,
            ping_due: Millis32::after(now, first_ping_ms),
            pinged_at: Millis32::NEVER,
            ping_second: 0,
            pings: 0,
            pong_owed: false,
            encoding,
        }
    }

    /// One that knocks for a session.
    pub(super) fn knocking(
        session: Token,
        upgrade: Upgrade,
        tenant: Tenant,
        now: Millis,
        limits: &Limits,
    ) -> Self {
        let Upgrade { encoding, knocker } = upgrade;
        let mut speaker = Speaker::new(knocker(), Requests::none(), tenant, encoding.framing());
        speaker.knock = Some(Knock { session, due: now.plus(limits.head_ms), early: None });
        Self {
            frames: None,
            speaker: Some(Box::new(speaker)),
            ping_due: Millis32::after(now, limits.ping_ms),
            pinged_at: Millis32::NEVER,
            ping_second: 0,
            pings: 0,
            pong_owed: false,
            encoding,
        }
    }

    /// For whom it knocks, if for anybody.
    pub(super) fn knock(&self) -> Option<&Knock> {
        self.speaker.as_deref()?.knock.as_ref()
    }

    /// The same, to be changed.
    pub(super) fn knock_mut(&mut self) -> Option<&mut Knock> {
        self.speaker.as_deref_mut()?.knock.as_mut()
    }

    /// It takes a client over, heard by this. Gives what was read of it and not heard.
    pub(super) fn take_over(&mut self, speaker: Speaker) -> Vec<u8> {
        let knocked = self.speaker.replace(Box::new(speaker)).and_then(|it| it.knock);
        knocked.and_then(|knock| knock.early).unwrap_or_default()
    }

    /// What it has begun to say, to be read on by whoever waits for its close.
    pub(super) fn into_frames(self) -> Option<Box<Frames>> {
        self.frames
    }

    /// Its dialect's commands, where it has any.
    pub(super) fn speaker(&self) -> Option<&Speaker> {
        self.speaker.as_deref()
    }

    /// The same, to be told of something.
    pub(super) fn speaker_mut(&mut self) -> Option<&mut Speaker> {
        self.speaker.as_deref_mut()
    }

    /// When it is to be looked at, whatever the kernel takes.
    pub(super) fn due(&self, now: Millis) -> Millis {
        let ping = self.ping_due.at(now);
        let knock = self.knock().map_or(ping, |knock| ping.min(knock.due));
        self.frames.as_deref().map_or(knock, |frames| knock.min(frames.due))
    }

    /// Bytes of the client.
    pub(super) fn take(&mut self, mut bytes: &mut [u8], here: &mut Here<'_>) -> Heard {
        if let Some(early) = self.knock_mut().and_then(|knock| knock.early.as_mut()) {
            early.extend_from_slice(bytes); // they are the client's
            return Heard::Fine;
        }
        let message_ms = here.shared.context.limits.client_message_ms;
        let mut last = Heard::Fine;
        let mut frames = match self.frames.take() {
            Some(frames) => *frames,
            None => Frames::new(here.now.plus(message_ms)),
        };
        loop {
            if frames.receiver.is_idle() {
                frames.due = here.now.plus(message_ms);
            }
            let heard = match frames.receiver.next(&mut bytes, &here.shared.context.limits.ws) {
                Ok(None) => break,
                Ok(Some(event)) => self.hear(event, &mut frames.token, here),
                Err(violation) => Heard::Fault {
                    code: violation.close_code(),
                    reason: violation.reason(),
                    may_answer: !frames.receiver.peer_closed(),
                },
            };
            match (heard, self.knock_mut()) {
                (Heard::TakesOver, Some(knock)) => {
                    knock.early = Some(bytes.to_vec());
                    last = Heard::TakesOver;
                    break;
                }
                (Heard::Fine | Heard::TakesOver, _) => {}
                (heard, _) => return heard,
            }
        }
        if !frames.receiver.is_idle() {
            self.frames = Some(Box::new(frames));
        }
        last
    }

    fn hear(&mut self, event: Event<'_>, token: &mut TokenMessage, here: &mut Here<'_>) -> Heard {
        match event {
            Event::Close(close) => return Heard::Closed(close.map(|(code, _)| code)),
            Event::Pong(_) if self.pong_owed => {
                self.pong_owed = false;
                let pinged_at = self.pinged_at.at(here.now);
                self.ping_due = Millis32::after(pinged_at, here.shared.context.limits.ping_ms);
            }
            Event::Pong(_) => {}
            Event::Ping(payload) => {
                if self.count_ping(here.now) > here.shared.context.limits.control_frames_per_s {
                    return Heard::fault(CloseCode::RATE_LIMITED, "too many pings in a second");
                }
                send::write_pong(payload, here.brief());
            }
            Event::Data { kind, first, last, chunk } => {
                if last {
                    here.shared.metrics().client_messages.add(1);
                }
                let piece = Piece { kind, last, bytes: chunk };
                if let Some(speaker) = &mut self.speaker {
                    return speaker.hear(piece, here);
                }
                if here.shared.context.authority.is_some() && kind == DataKind::Text {
                    token.take(first, chunk);
                    if last && let Some(token) = token.token() {
                        return refresh::by_token(&token, self.encoding, here);
                    }
                }
            }
        }
        Heard::Fine
    }

    /// How many pings the client has sent in this second.
    fn count_ping(&mut self, now: Millis) -> u32 {
        let second = (now.0 / 1_000) as u32;
        if self.ping_second != second {
            self.ping_second = second;
            self.pings = 0;
        }
        self.pings = self.pings.saturating_add(1);
        u32::from(self.pings)
    }

    /// What is due is a ping, or a pong, or the end of a message. `unread` says that bytes of the
    /// client wait for us to read them.
    pub(super) fn deadline(&mut self, unread: bool, told: Millis, here: &mut Here<'_>) -> Heard {
        if self.message_is_late(unread, told, here.now) {
            return Heard::fault(CloseCode::POLICY, "the message took too long");
        }
        if self.knock().is_some_and(|knock| knock.due <= told) {
            return Heard::fault(CloseCode::POLICY, "it took too long to take its client over");
        }
        if self.ping_due.at(told) > told {
            return Heard::Fine;
        }
        let Limits { ping_ms, pong_ms, .. } = here.shared.context.limits;
        if self.pong_owed {
            // The pong may be among what we have not read; who only ever sends other things owes
            // it all the same.
            if unread && told.since(self.pinged_at.at(told)) < 2 * pong_ms {
                self.ping_due = Millis32::after(here.now, RECHECK_MS);
                return Heard::Fine;
            }
            here.shared.metrics().pong_missed.add(1);
            return Heard::fault(CloseCode::NO_PONG, "no pong came");
        }
        send::write_ping(b"", here.brief());
        self.pong_owed = true;
        self.pinged_at = Millis32::of(here.now);
        self.ping_due = Millis32::after(here.now, pong_ms.min(ping_ms));
        Heard::Fine
    }

    /// The same of a client that has no room for what it is sent.
    pub(super) fn deadline_while_blocked(
        &mut self,
        unread: bool,
        (told, now): (Millis, Millis),
        limits: &Limits,
    ) -> Heard {
        let ping_is_due = told >= self.ping_due.at(told);
        if self.message_is_late(unread, told, now) {
            return Heard::fault(CloseCode::POLICY, "the message took too long");
        }
        if ping_is_due {
            self.pong_owed = false; // while bytes wait no pong is owed
            self.ping_due = Millis32::after(now, limits.ping_ms);
        }
        Heard::Fine
    }

    /// There is room again. Our ping may have waited too: the pong has its whole time from here.
    pub(super) fn has_room(&mut self, limits: &Limits, now: Millis) {
        if self.pong_owed && self.ping_due.at(now) < now.plus(limits.pong_ms) {
            self.ping_due = Millis32::after(now, limits.pong_ms);
        }
    }

    fn message_is_late(&mut self, unread: bool, told: Millis, now: Millis) -> bool {
        match self.frames.as_deref_mut() {
            Some(frames) if frames.due <= told && unread => {
                frames.due = now.plus(RECHECK_MS);
                false
            }
            Some(frames) => frames.due <= told,
            None => false,
        }
    }
}
