//! What a backend does to one client: it is closed, its subscriptions end, it is sent something of
//! its own. And what a backend is told of it.

#[cfg(test)]
use std::sync::Arc;

#[cfg(test)]
use fanfare_identity::Identity;
use fanfare_identity::Pattern;
use fanfare_protocol::dialect::{CloseReason, Encoding, Form, UnsubscribedView, json};
use fanfare_protocol::http::{Answer, ContentType, Ending, Status, response};
use fanfare_protocol::ws::CloseCode;

use super::Session;
use super::effect::Effect;
use super::exchange::{Exchange, ExchangeStep, Idle};
use super::here::Here;
use super::leaving::{Farewell, REFUSED_CLOSE_MS};
use super::shared::ShardResources;
use super::state::{PRIVATE_BYTES_MAX, State};
use super::stream::Stream;
#[cfg(test)]
use super::tenure::Tenure;
use super::{newcomer, outbox};
use crate::channel::ChannelName;
use crate::clock::Millis;
use crate::driver::Close;
use crate::inquiry::{DirectMessage, DirectRefusal, Dismissal};
use crate::transport::event_stream;
use crate::transport::follow_request::{Endpoint, FollowRequest};

/// What a poll that is dismissed is told to wait before it asks again.
const RETRY_AFTER: (&str, &str) = ("Retry-After", "1");

/// What is done.
impl Session {
    /// It is closed, for this reason; whether there was anything to close. What came before the
    /// first request of a client is not: nobody knows who that is.
    pub(crate) fn dismiss(
        &mut self,
        why: &Dismissal,
        now: Millis,
        shared: &mut ShardResources,
    ) -> bool {
        match &mut self.state {
            State::Leaving(_) => return false,
            State::Stream(Stream::Held(held)) if held.is_detached() => {
                shared.want(Effect::End(Close::Gracefully)); // nobody is there to be told
            }
            State::Stream(_) => {
                let close_ms = shared.context.limits.close_ms;
                self.farewell(Farewell::Dismissed(why), close_ms, now, shared);
            }
            State::Exchange(exchange) if !exchange.is_dismissible() => return false,
            State::Exchange(exchange) => {
                let exchange = std::mem::take(exchange);
                let step = exchange.dismiss(why, &mut Here::new(&mut self.line, now, shared));
                self.step(step, now, shared);
            }
        }
        true
    }

    /// A backend has ended its subscriptions to these channels, or its requests for them, and
    /// nothing more of them is sent. `follows` says whether it follows any other.
    pub(crate) fn unsubscribed(
        &mut self,
        channels: &[ChannelName],
        follows: bool,
        why: &Dismissal,
        now: Millis,
        shared: &mut ShardResources,
    ) {
        let Dismissal { code, reason } = why;
        match &mut self.state {
            State::Stream(stream) => {
                for channel in channels {
                    let encoding = stream.encoding();
                    let view = stream.requests().and_then(|requests| requests.view(channel));
                    let notice = UnsubscribedView {
                        channel: &channel.name,
                        view: view.map(|view| &**view),
                        code: *code,
                        reason,
                    };
                    let out = outbox::frame(&mut self.line.outbox, encoding.framing());
                    encoding.unsubscribed(&notice, out);
                }
                self.tell_machine(channels, why, now, shared);
            }
            State::Exchange(Exchange::Waiting(waiting)) => {
                for channel in channels {
                    let (channel, view) = (&*channel.name, None);
                    let notice = UnsubscribedView { channel, view, code: *code, reason };
                    waiting.poll.unsubscribed(&notice);
                }
                waiting.begin_answer();
            }
            State::Exchange(_) | State::Leaving(_) => {}
        }
        shared.want(Effect::Visit);
        // Who has commands may follow others; who has none waits for nothing any more.
        let has_commands = matches!(&self.state, State::Stream(it) if it.requests().is_some());
        if !follows && !has_commands {
            self.dismiss(why, now, shared);
        }
    }

    /// The books and the machine of a client with commands hear that these channels are left.
    fn tell_machine(
        &mut self,
        channels: &[ChannelName],
        why: &Dismissal,
        now: Millis,
        shared: &mut ShardResources,
    ) {
        for channel in channels {
            let State::Stream(stream) = &mut self.state else { return };
            let here = &mut Here::new(&mut self.line, now, shared);
            let heard = stream.speaker_mut().map(|it| it.unsubscribed(channel, why, here));
            heard.into_iter().for_each(|heard| self.heard(heard, now, shared));
        }
    }

    /// It is sent a message of its own, where all frames that it takes are up to `max` long.
    ///
    /// # Errors
    /// It was not taken, for this reason.
    pub(crate) fn send_direct(
        &mut self,
        message: &DirectMessage,
        max: Option<u32>,
        shared: &mut ShardResources,
    ) -> Result<(), DirectRefusal> {
        let State::Stream(stream) = &self.state else { return Err(DirectRefusal::NoStream) };
        if self.state.knocks_for().is_some() {
            return Err(DirectRefusal::NoStream);
        }
        if shared.is_full || self.line.private_bytes() > PRIVATE_BYTES_MAX {
            return Err(DirectRefusal::Full);
        }
        let (encoding, mut frame) = (stream.encoding(), Vec::new());
        encoding.direct(&message.view(), &mut frame);
        if max.is_some_and(|max| frame.len() > max as usize) {
            return Err(DirectRefusal::TooLong);
        }
        outbox::frame(&mut self.line.outbox, encoding.framing()).extend_from_slice(&frame);
        shared.metrics().direct_messages.add(1);
        shared.want(Effect::Visit);
        Ok(())
    }
}

/// What is told of it.
impl Session {
    /// It speaks for somebody from here on: for tests without a token.
    #[cfg(test)]
    pub(crate) fn set_identity(&mut self, identity: Arc<Identity>) {
        self.line.tenure = Some(Box::new(Tenure::new(identity, None, 0, (Millis(0), 0))));
    }

    /// What it is at, in one word.
    pub(crate) fn transport(&self) -> &'static str {
        match &self.state {
            State::Exchange(Exchange::Waiting(_)) => "poll",
            State::Exchange(_) => "request",
            State::Stream(Stream::Socket(_)) => "websocket",
            State::Stream(Stream::Events(_)) => "sse",
            State::Stream(Stream::Held(_)) => "session",
            State::Leaving(_) => "leaving",
        }
    }

    /// The form of what it is told, where it is told something; `encoding` is that of its messages.
    pub(crate) fn form(&self, encoding: Encoding) -> Option<Form> {
        let is_told = self.state.is_stream() || self.state.is_polled();
        is_told.then(|| encoding.form())
    }

    /// Bytes that wait for it alone.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.line.private_bytes()
    }

    /// Channels that this matches for which it has asked and has no answer yet.
    pub(crate) fn asks_for(&self, pattern: &Pattern) -> Vec<ChannelName> {
        match &self.state {
            State::Exchange(Exchange::Asking(asking)) => {
                let asked = asking.follows().into_iter().flat_map(|ask| &ask.channels);
                asked.filter(|channel| pattern.matches(&channel.name)).cloned().collect()
            }
            State::Stream(stream) => {
                stream.requests().map_or_else(Vec::new, |requests| requests.pending(pattern))
            }
            _ => Vec::new(),
        }
    }
}

impl Exchange {
    /// Whether it is of a client that follows, asks to, or has done so before.
    fn is_dismissible(&self) -> bool {
        match self {
            Self::Idle(Idle { served, .. }) => *served,
            Self::Asking(asking) => asking.follows().is_some(),
            Self::Waiting(_) => true,
            // It has not shown who it is, and speaks for nobody.
            Self::Reading(_) | Self::Newcomer(_) | Self::Carrying(_) => false,
        }
    }

    /// It ends for this reason, and its request is told so.
    fn dismiss(self, why: &Dismissal, here: &mut Here<'_>) -> ExchangeStep {
        let lingers = match self {
            // Its last answer may be on its way.
            Self::Idle(_) | Self::Reading(_) | Self::Newcomer(_) | Self::Carrying(_) => false,
            // The head of its answer is out, so it ends with what there is.
            Self::Waiting(mut waiting) if waiting.poll.is_begun() => {
                waiting.begin_answer();
                here.shared.want(Effect::Visit);
                return ExchangeStep::On(Self::Waiting(waiting));
            }
            Self::Waiting(waiting) => {
                here.shared.metrics().polls.sub(1);
                refuse(why, waiting.poll.reader(), here);
                true
            }
            Self::Asking(asking) => match asking.follows() {
                // Its WebSocket is open already: it has shown its token over that.
                Some(ask) if ask.endpoint == Endpoint::WebSocket && ask.switch.is_none() => {
                    return newcomer::dismiss(why.code, &why.reason, here);
                }
                Some(ask) => turn_away(ask, why, here),
                None => true,
            },
        };
        ExchangeStep::Leave { ms: REFUSED_CLOSE_MS, lingers }
    }
}

/// Refuses a request to follow. Whether the connection lingers until the client ends its side.
fn turn_away(ask: &FollowRequest, why: &Dismissal, here: &mut Here<'_>) -> bool {
    // `EventSource` takes every status but 200 for the end: whoever is to come back gets a stream.
    if ask.endpoint != Endpoint::EventStream || !comes_back(why.code) {
        refuse(why, ask.origin.as_deref(), here);
        return true;
    }
    let reason = CloseReason::Dismissed { code: why.code, reason: &why.reason };
    let (date, retry_ms) = (here.date(), here.shared.context.limits.retry_ms);
    event_stream::come_back(ask, reason, retry_ms, date, here.private());
    here.shared.metrics().requests_refused.add(1);
    false
}

/// Whether a code says: come back.
fn comes_back(code: CloseCode) -> bool {
    matches!(code.number(), 4500..=4599)
}

/// Answers a request that a backend has ended: 403, or 503 where it is to be made again.
fn refuse(why: &Dismissal, reader: Option<&str>, here: &mut Here<'_>) {
    let mut body = br#"{"error":"disconnected","message":"#.to_vec();
    body.extend_from_slice(
        br#""the application has ended this request, with this code and reason","#,
    );
    body.extend_from_slice(format!(r#""code":{},"reason":"#, why.code.number()).as_bytes());
    json::string(why.reason.as_bytes(), &mut body);
    body.push(b'}');
    let mut fields = response::unstored(reader);
    let status = match comes_back(why.code) {
        true => Status::ServiceUnavailable,
        false => Status::Forbidden,
    };
    fields.extend(comes_back(why.code).then_some(RETRY_AFTER));
    let (date, content_type, ending) = (here.date(), ContentType::Json, Ending::Close);
    let answer = Answer { date, status, content_type, ending, fields: &fields, head_only: false };
    answer.write(here.private(), &body);
    here.shared.metrics().requests_refused.add(1);
}
