//! A WebSocket on its way from who knocked to the client that it takes over.

use fanfare_protocol::dialect::Encoding;

use super::Session;
use super::effect::Effect;
use super::flow::Flow;
use super::heard::Heard;
use super::held::Held;
use super::here::Here;
use super::line::Line;
use super::shared::ShardResources;
use super::socket::Socket;
use super::state::State;
use super::stream::Stream;
use crate::clock::Millis;

/// The WebSocket, with what is on its way over it.
#[derive(Debug)]
pub(crate) struct GivenSocket {
    pub(super) socket: Socket,
    pub(super) line: Line,
}

/// A client that a WebSocket has taken over.
pub(super) struct TakenOver {
    pub(super) socket: Socket,
    /// What its machine said to that.
    pub(super) heard: Heard,
    /// What the client has said over the WebSocket, and nobody has heard yet.
    pub(super) early: Vec<u8>,
}

impl GivenSocket {
    /// How what it is told is encoded.
    pub(crate) fn encoding(&self) -> Encoding {
        self.socket.encoding
    }

    /// Takes over this client, for which nothing is held. What waits for it is written anew, behind
    /// what is on its way over the WebSocket.
    pub(super) fn take_over(self, client: Held, here: &mut Here<'_>) -> TakenOver {
        let Self { mut socket, line } = self;
        let mut speaker = client.speaker;
        let heard = speaker.carried_in(socket.encoding.framing(), here);
        let unsent = here.take_private();
        // It is the client, not the socket, that speaks for somebody.
        let tenure = here.line.tenure.take();
        *here.line = Line { tenure, ..line };
        here.private().extend_from_slice(&unsent);
        here.shared.want(Effect::Visit);
        let early = socket.take_over(speaker);
        TakenOver { socket, heard, early }
    }
}

/// The two ends of its way.
impl Session {
    /// Gives its WebSocket to the session that it knocks for.
    pub(crate) fn give_socket(
        &mut self,
        now: Millis,
        shared: &mut ShardResources,
    ) -> Option<GivenSocket> {
        let socket = self.state.give_socket()?;
        let line = std::mem::replace(&mut self.line, Line::new(Flow::new(now)));
        shared.want(Effect::UnfollowAll);
        Some(GivenSocket { socket, line })
    }

    /// This WebSocket takes its client over, and what that has said over it already is heard.
    pub(crate) fn take_over(
        &mut self,
        given: GivenSocket,
        now: Millis,
        shared: &mut ShardResources,
    ) {
        let State::Stream(Stream::Held(held)) = std::mem::take(&mut self.state) else { return };
        let here = &mut Here::new(&mut self.line, now, shared);
        let TakenOver { socket, heard, mut early } = given.take_over(*held, here);
        self.state = State::Stream(Stream::Socket(socket));
        self.heard(heard, now, shared);
        self.take(&mut early, now, shared);
    }
}
