//! A stream that is open: messages go out as they come, until one of both ends it.

use fanfare_protocol::dialect::Encoding;
use fanfare_protocol::dialect::machine::Answer;

use super::events::Events;
use super::heard::Heard;
use super::held::Held;
use super::here::Here;
use super::leaving::{Farewell, Was};
use super::outbox::{self, Outbox, private};
use super::requests::Requests;
use super::socket::Socket;
use super::speaker::Speaker;
use crate::clock::Millis;
use crate::limits::Limits;
use crate::sequencer::command::Subscribed;
use crate::transport::input::Frames;

/// The streams that there are.
#[derive(Debug)]
pub(crate) enum Stream {
    /// A stream of events.
    Events(Events),
    /// A WebSocket.
    Socket(Socket),
    /// A client apart from its sockets.
    Held(Box<Held>),
}

impl Stream {
    /// How what it is told is encoded.
    pub(super) fn encoding(&self) -> Encoding {
        match self {
            Self::Events(events) => events.encoding,
            Self::Socket(socket) => socket.encoding,
            Self::Held(held) => held.encoding,
        }
    }

    /// Its client's commands, where it has any.
    fn speaker(&self) -> Option<&Speaker> {
        match self {
            Self::Events(_) => None,
            Self::Socket(socket) => socket.speaker(),
            Self::Held(held) => Some(&held.speaker),
        }
    }

    /// The same, to be called.
    pub(super) fn speaker_mut(&mut self) -> Option<&mut Speaker> {
        match self {
            Self::Events(_) => None,
            Self::Socket(socket) => socket.speaker_mut(),
            Self::Held(held) => Some(&mut held.speaker),
        }
    }

    /// Its client's commands, if the answer to this request is waited for.
    fn who_asked(&mut self, request: u32) -> Option<&mut Speaker> {
        let speaker = self.speaker_mut();
        speaker.filter(|speaker| speaker.requests.is_outstanding(request))
    }

    /// Its client's requests, where the client does more than listen.
    pub(super) fn requests(&self) -> Option<&Requests> {
        self.speaker().map(|speaker| &speaker.requests)
    }

    /// Bytes of memory beside those of a client that listens and says nothing.
    pub(super) fn memory(&self) -> usize {
        match self {
            Self::Events(_) => 0,
            Self::Socket(socket) => socket.memory(),
            Self::Held(held) => held.memory(),
        }
    }

    /// When it is to be looked at, whatever the kernel takes.
    pub(super) fn due(&self, now: Millis) -> Millis {
        match self {
            Self::Events(events) => events.due(now),
            Self::Socket(socket) => socket.due(now),
            Self::Held(held) => held.due(),
        }
    }

    /// Bytes of the client. Nobody reads a stream of events but to learn of its end.
    pub(super) fn take(&mut self, bytes: &mut [u8], here: &mut Here<'_>) -> Heard {
        match self {
            Self::Events(_) => Heard::Fine,
            Self::Socket(socket) => socket.take(bytes, here),
            Self::Held(held) => held.hear(bytes, here),
        }
    }

    /// There is room again for a client that was blocked.
    pub(super) fn has_room(&mut self, limits: &Limits, now: Millis) {
        if let Self::Socket(socket) = self {
            socket.has_room(limits, now);
        }
    }

    /// Whether it knocks for a client, which it takes over now.
    pub(super) fn takes_over(&mut self) -> bool {
        let Self::Socket(socket) = self else { return false };
        let early = socket.knock_mut().map(|knock| knock.early.get_or_insert_default());
        early.is_some()
    }

    /// What its machine asked for is followed, if there is one and it waits for that.
    pub(super) fn subscribed(&mut self, reply: &Subscribed, here: &mut Here<'_>) -> Heard {
        match self.who_asked(reply.requester.request) {
            Some(speaker) => speaker.subscribed(reply, here),
            None => Heard::Fine,
        }
    }

    /// How a request of its machine's ended that followed nothing, if it waits for that.
    pub(super) fn answered(
        &mut self,
        request: u32,
        answer: Answer<'_>,
        here: &mut Here<'_>,
    ) -> Heard {
        match self.who_asked(request) {
            Some(speaker) => speaker.answered(request, answer, here),
            None => Heard::Fine,
        }
    }

    /// What its machine is to be told of next as sent is sent.
    pub(super) fn caught_up(&mut self, here: &mut Here<'_>) -> Heard {
        self.speaker_mut().map_or(Heard::Fine, |speaker| speaker.caught_up(here))
    }

    /// What is due is a sign that we are there, or one of the client. Silent since then is a stream
    /// to which nothing was sent. `unread` says that bytes of the client wait for us to read them.
    pub(super) fn deadline(
        &mut self,
        unread: bool,
        silent_since: Millis,
        told: Millis,
        here: &mut Here<'_>,
    ) -> Heard {
        match self {
            Self::Socket(socket) => socket.deadline(unread, told, here),
            Self::Events(events) => {
                events.deadline(silent_since, told, here);
                Heard::Fine
            }
            Self::Held(held) => held.deadline(silent_since, told, here),
        }
    }

    /// The same of a client that has no room for what it is sent.
    pub(super) fn deadline_while_blocked(
        &mut self,
        unread: bool,
        (told, now): (Millis, Millis),
        limits: &Limits,
    ) -> Heard {
        match self {
            Self::Socket(socket) => socket.deadline_while_blocked(unread, (told, now), limits),
            Self::Events(events) => {
                events.heard_nothing(now, limits);
                Heard::Fine
            }
            Self::Held(held) => held.deadline_while_blocked(told, now),
        }
    }

    /// Says farewell. Whether its end waits for the client: a WebSocket's for its own close; the
    /// end of a stream of events is the end of its socket (FIN), and until it comes an
    /// `EventSource` does not know that it should come back.
    pub(super) fn say_farewell(
        &self,
        farewell: Farewell<'_>,
        retry_ms: u64,
        place: &mut Option<Box<Outbox>>,
    ) -> bool {
        match self {
            Self::Socket(_) => farewell.say_to_socket(private(place)),
            Self::Events(events) => {
                farewell.say_to_events(events.encoding, retry_ms, private(place))
            }
            Self::Held(held) if held.is_carried() => {
                let out = outbox::frame(place, held.encoding.framing());
                farewell.say_to_events(held.encoding, retry_ms, out)
            }
            Self::Held(_) => false,
        }
    }

    /// Writes the end that this is, if it is one. Whether that waits for the client.
    pub(super) fn end(&self, heard: Heard, here: &mut Here<'_>) -> Option<bool> {
        match (self, heard) {
            (_, Heard::Fine | Heard::TakesOver) => None,
            (Self::Held(held), _) => {
                if held.is_carried() {
                    held.encoding.framing().end(here.private());
                }
                Some(false)
            }
            (_, heard) => heard.end(here),
        }
    }

    /// What is left of it when it is to leave.
    pub(super) fn into_leaving(self) -> (Was, Option<Box<Frames>>) {
        match self {
            Self::Socket(socket) => (Was::Socket, socket.into_frames()),
            Self::Events(_) => (Was::Events, None),
            Self::Held(_) => (Was::Exchange, None),
        }
    }

    /// What it is, for whoever counts.
    pub(super) fn was(&self) -> Was {
        match self {
            Self::Events(_) => Was::Events,
            Self::Socket(_) => Was::Socket,
            Self::Held(_) => Was::Exchange,
        }
    }
}
