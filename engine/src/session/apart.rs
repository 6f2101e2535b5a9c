//! One client over many sockets: its session, what is held for it, and the WebSocket that takes it
//! over.

use fanfare_protocol::dialect::Encoding;
use fanfare_protocol::ws::handshake::{self, AcceptKey};

use super::Session;
use super::asking::Told;
use super::carrying::{Carrying, Unheld};
use super::exchange::Exchange;
use super::flow::Flow;
use super::held::Held;
use super::line::Line;
use super::outbox::private;
use super::shared::{Effect, Shared};
use super::socket::Socket;
use super::state::State;
use super::stream::Stream;
use crate::clock::Millis;
use crate::driver::Token;
use crate::transport::door::{Hold, Upgrade};

impl Session {
    /// What it is where its socket is held for a session.
    pub(crate) fn as_carrying(&self) -> Option<&Carrying> {
        self.state.as_carrying()
    }

    /// For which session its socket knocks, if for any.
    pub(crate) fn knocks_for(&self) -> Option<Token> {
        match &self.state {
            State::Stream(Stream::Socket(socket)) => socket.knock().map(|knock| knock.session),
            _ => None,
        }
    }

    /// What is left of a request that is to be held, which goes to another shard.
    pub(crate) fn into_unheld(self) -> Option<Unheld> {
        match self.state {
            State::Exchange(exchange) => exchange.into_unheld(),
            _ => None,
        }
    }

    /// This session as one of a client apart from its sockets.
    pub(crate) fn as_held(&mut self) -> Option<&mut Held> {
        self.state.as_held()
    }

    /// A request is to be held for it.
    pub(crate) fn comes(&mut self, hold: Hold, now: Millis, shared: &mut Shared) {
        let State::Stream(Stream::Held(held)) = &mut self.state else { return };
        let heard = held.comes(hold, &mut self.line.here(now, shared));
        if held.is_polled() {
            self.line.flow = Flow::new(now);
        }
        self.heard(heard, now, shared);
    }

    /// What the request has to say by itself is sent.
    pub(crate) fn has_come(&mut self, now: Millis, shared: &mut Shared) {
        let State::Stream(Stream::Held(held)) = &mut self.state else { return };
        if held.has_come(&mut self.line.here(now, shared)) {
            self.line.flow = Flow::new(now);
        }
    }

    /// Nothing carries this session any more.
    pub(crate) fn detach(&mut self, now: Millis, shared: &Shared) {
        if let Some(held) = self.as_held() {
            held.detach(now, &shared.context.limits);
            self.line.flow.block();
        }
    }

    /// One whole message of this session's client.
    pub(crate) fn bring(&mut self, bytes: &mut [u8], now: Millis, shared: &mut Shared) -> Told {
        if self.as_held().is_none() {
            return Told::Gone;
        }
        if !self.wants_bytes(false) {
            return Told::Full;
        }
        self.take(bytes, now, shared);
        Told::Taken
    }

    /// A WebSocket has come: who polls meanwhile is not kept waiting, so that it can leave off.
    pub(crate) fn hurry(&mut self, now: Millis, shared: &mut Shared) {
        let State::Stream(Stream::Held(held)) = &mut self.state else { return };
        held.hurry(&mut self.line.here(now, shared));
    }

    /// Its request becomes a WebSocket that knocks for this session. What came behind it is said
    /// over that.
    pub(crate) fn knock(
        &mut self,
        session: Token,
        (upgrade, key): (Upgrade, &AcceptKey),
        now: Millis,
        shared: &mut Shared,
    ) {
        let State::Exchange(exchange) = &mut self.state else { return };
        let Some(unheld) = std::mem::take(exchange).into_unheld() else { return };
        let mut here = self.line.here(now, shared);
        let date = here.date();
        handshake::write_switch(here.private(), date, key);
        shared.metrics().websockets.add(1);
        let socket = Socket::knocking(session, upgrade, now, &shared.context.limits);
        self.state = State::Stream(Stream::Socket(socket));
        shared.want(Effect::Visit);
        if let Some(mut early) = unheld.into_early() {
            self.take(early.rest(), now, shared);
        }
    }

    /// Gives its WebSocket to the session that it knocks for, with what is on its way over that.
    pub(crate) fn give_socket(&mut self, now: Millis, shared: &mut Shared) -> Option<GivenSocket> {
        let session = self.knocks_for()?;
        let given = State::Exchange(Exchange::given_to(session));
        let State::Stream(Stream::Socket(socket)) = std::mem::replace(&mut self.state, given)
        else {
            return None;
        };
        let line = std::mem::replace(&mut self.line, Line::new(now));
        shared.want(Effect::UnfollowAll);
        Some(GivenSocket { socket, line })
    }

    /// This WebSocket takes its client over, for which nothing is held. What waits is written anew,
    /// behind what is on its way, and what the client has said already is heard.
    pub(crate) fn take_over(&mut self, given: GivenSocket, now: Millis, shared: &mut Shared) {
        let GivenSocket { mut socket, line } = given;
        let framing = socket.encoding.framing();
        let State::Stream(Stream::Held(held)) = std::mem::take(&mut self.state) else { return };
        let mut speaker = held.speaker;
        let mut here = self.line.here(now, shared);
        let heard = speaker.carried_in(framing, &mut here);
        let unsent = here.take_private();
        self.line = line;
        private(&mut self.line.outbox).extend_from_slice(&unsent);
        let mut early = socket.take_over(speaker);
        self.state = State::Stream(Stream::Socket(socket));
        shared.want(Effect::Visit);
        self.heard(heard, now, shared);
        self.take(&mut early, now, shared);
    }
}

/// A WebSocket on its way from who knocked to its session.
#[derive(Debug)]
pub(crate) struct GivenSocket {
    socket: Socket,
    line: Line,
}

impl GivenSocket {
    /// How what it is told is encoded.
    pub(crate) fn encoding(&self) -> Encoding {
        self.socket.encoding
    }
}
