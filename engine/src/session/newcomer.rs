//! A client that has asked to follow channels, before it is known whom it speaks for: its token
//! waits for keys, or, over a WebSocket that came without one, for its first message.

use fanfare_identity::keys::EndpointId;
use fanfare_protocol::http::Violation;
use fanfare_protocol::ws::{CloseCode, DataKind, Event, Receiver, Role, handshake, send};

use super::asking;
use super::effect::Effect;
use super::exchange::{Exchange, ExchangeStep};
use super::here::Here;

use crate::authority::Identified;
use crate::clock::Millis;
use crate::transport::claim::{Claim, Secret};
use crate::transport::follow_request::FollowRequest;
use crate::transport::input::Early;
use crate::transport::token_message::TokenMessage;
use crate::transport::websocket::close_of;

/// The client. It has as long as a head may take.
#[derive(Debug)]
pub(crate) struct Newcomer {
    ask: Box<FollowRequest>,
    keep_alive: bool,
    waits: Waits,
    pub(super) due: Millis,
    /// What came behind its request, or its token.
    pub(super) early: Option<Box<Early>>,
}

/// For what it waits.
#[derive(Debug)]
enum Waits {
    /// An endpoint is asked for its keys. What the client sends waits.
    Keys,
    /// Its first message, over a WebSocket that is open.
    Message(Box<Hearing>),
}

/// Frames of which some are here.
#[derive(Debug)]
struct Hearing {
    receiver: Receiver,
    message: TokenMessage,
}

impl Newcomer {
    /// One whose token waits for the keys of this endpoint.
    pub(super) fn waiting_for_keys(
        ask: Box<FollowRequest>,
        endpoint: EndpointId,
        keep_alive: bool,
        here: &mut Here<'_>,
    ) -> Self {
        here.shared.want(Effect::WantKeys(endpoint));
        let due = here.now.plus(here.shared.context.limits.auth_ms);
        Self { ask, keep_alive, waits: Waits::Keys, due, early: None }
    }

    /// One that is to say whom it speaks for: it is a WebSocket from here on.
    pub(super) fn to_say_who(mut ask: Box<FollowRequest>, here: &mut Here<'_>) -> Self {
        if let Some(switch) = ask.switch.take() {
            let date = here.date();
            handshake::write_switch(here.private(), date, &switch);
            here.shared.want(Effect::Visit);
        }
        let hearing =
            Hearing { receiver: Receiver::new(Role::Server), message: TokenMessage::new() };
        let due = here.now.plus(here.shared.context.limits.auth_ms);
        Self { ask, keep_alive: false, waits: Waits::Message(Box::new(hearing)), due, early: None }
    }

    /// Bytes of memory, beside what came behind it.
    pub(super) fn memory(&self) -> usize {
        let heard = match &self.waits {
            Waits::Keys => 0,
            Waits::Message(hearing) => size_of::<Hearing>() + hearing.message.memory(),
        };
        size_of::<Self>() + self.ask.claim.memory() + asking::names_bytes(&self.ask) + heard
    }

    /// Whether what the client sends is read.
    pub(super) fn wants_bytes(&self) -> bool {
        matches!(self.waits, Waits::Message(_)) && self.early.is_none()
    }

    /// Bytes of the client, which speaks in frames.
    pub(super) fn take(
        mut self: Box<Self>,
        mut bytes: &mut [u8],
        here: &mut Here<'_>,
    ) -> ExchangeStep {
        let Waits::Message(hearing) = &mut self.waits else {
            self.early = Some(Box::new(Early::new(bytes)));
            return ExchangeStep::On(Exchange::Newcomer(self));
        };
        loop {
            let limits = &here.shared.context.limits.ws;
            match hearing.receiver.next(&mut bytes, limits) {
                Ok(None) => return ExchangeStep::On(Exchange::Newcomer(self)),
                Ok(Some(Event::Ping(payload))) => send::write_pong(payload, here.brief()),
                Ok(Some(Event::Pong(_))) => {}
                Ok(Some(Event::Close(close))) => {
                    return closed(close.map(|(code, _)| code), here);
                }
                Ok(Some(Event::Data { kind, first, last, chunk })) => {
                    if kind != DataKind::Text || !hearing.message.take(first, chunk) {
                        return dismiss(CloseCode::BAD_COMMAND, NO_TOKEN, here);
                    }
                    if !last {
                        continue;
                    }
                    let Some(token) = hearing.message.token() else {
                        return dismiss(CloseCode::BAD_COMMAND, NO_TOKEN, here);
                    };
                    let early = (!bytes.is_empty()).then(|| Box::new(Early::new(bytes)));
                    self.early = early;
                    return self.shows(&token, here);
                }
                Err(violation) => {
                    here.shared.metrics().protocol_faults.add(1);
                    return dismiss(violation.close_code(), violation.reason(), here);
                }
            }
        }
    }

    /// The endpoint was asked: its token is judged anew.
    pub(super) fn keys_came(mut self: Box<Self>, here: &mut Here<'_>) -> ExchangeStep {
        match std::mem::replace(&mut self.ask.claim, Claim::Nobody) {
            Claim::Pending(_, Secret(token)) => self.shows(&token, here),
            claim => {
                self.ask.claim = claim;
                ExchangeStep::On(Exchange::Newcomer(self))
            }
        }
    }

    /// This is its token.
    fn shows(mut self: Box<Self>, token: &[u8], here: &mut Here<'_>) -> ExchangeStep {
        let context = here.shared.context.clone();
        let Some(authority) = &context.authority else { return (*self).goes_on(here) };
        match authority.identify_token(token, here.unix_ms()) {
            Ok(Identified::Pending(endpoint)) => {
                self.ask.claim = Claim::Pending(endpoint, Secret(token.into()));
                self.waits = Waits::Keys;
                here.shared.want(Effect::WantKeys(endpoint));
                return ExchangeStep::On(Exchange::Newcomer(self));
            }
            Ok(Identified::Known(bearer)) => self.ask.say_who(bearer),
            identified => self.ask.claim = identified.into(),
        }
        (*self).goes_on(here)
    }

    fn goes_on(self, here: &mut Here<'_>) -> ExchangeStep {
        let Self { ask, keep_alive, early, .. } = self;
        let mut step = asking::begin(ask, keep_alive, here);
        if let (ExchangeStep::On(next), Some(early)) = (&mut step, early) {
            next.keep_early(early);
        }
        step
    }

    /// Its time is over.
    pub(super) fn overdue(&self, here: &mut Here<'_>) -> ExchangeStep {
        match &self.waits {
            Waits::Keys => asking::refuse(&self.ask, Violation::KeysUnavailable, here),
            Waits::Message(_) => dismiss(CloseCode::AUTH_TIMEOUT, "no token came in time", here),
        }
    }

    /// There is no memory for it.
    pub(super) fn turn_away(&self, here: &mut Here<'_>) -> ExchangeStep {
        match &self.waits {
            Waits::Keys => asking::refuse(&self.ask, Violation::Busy, here),
            Waits::Message(_) => {
                let (code, reason) = close_of(Violation::Busy);
                dismiss(code, reason, here)
            }
        }
    }
}

/// What is expected, for who says something else.
const NO_TOKEN: &str = "the first message is {\"token\": \"...\"}";

/// Closes an open WebSocket.
pub(super) fn dismiss(code: CloseCode, reason: &str, here: &mut Here<'_>) -> ExchangeStep {
    send::write_close(code, reason, here.private());
    here.shared.metrics().requests_refused.add(1);
    ExchangeStep::Dismiss { lingers: true }
}

/// The client has closed, and has its code back.
fn closed(code: Option<CloseCode>, here: &mut Here<'_>) -> ExchangeStep {
    match code {
        Some(code) => send::write_close(code, "", here.private()),
        None => send::write_empty_close(here.private()),
    }
    ExchangeStep::Dismiss { lingers: false }
}
