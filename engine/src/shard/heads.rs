//! Requests: from the bytes of a head to a decision, and asking the sequencer.

use fanfare_protocol::dialect::CloseReason;
use fanfare_protocol::http::{Ending, Fed, HeadReader, Request, Violation, response};

use super::connection::Phase;
use super::messages::ClientMessages;
use super::sessions::Sessions;
use super::stamp::Stamp;
use crate::bodies::{Payer, Share};
use crate::clock::Millis;
use crate::driver::Token;
use crate::payload;
use crate::sequencer::command::{Command, Publication, PublishAnswer, Requester, Subscribe};
use crate::transport::follow_body::PendingFollow;
use crate::transport::follow_request::{Endpoint, FollowRequest};
use crate::transport::input::{Body, Early, Input, Purpose};
use crate::transport::request::Decision;
use crate::transport::{event_stream, request};

/// From a refusal to the end of its socket: what arrives meanwhile is read and dropped.
const REFUSED_CLOSE_MS: u64 = 1_000;

impl<M: ClientMessages> Sessions<M> {
    /// Bytes of a client whose request is not whole. What lies behind the request is kept until its
    /// answer is on its way.
    pub(super) fn take_request(&mut self, token: Token, bytes: &[u8], now: Millis) {
        let taken = self.take_head(token, bytes, now);
        if taken < bytes.len() {
            self.keep_early(token, Early::new(&bytes[taken..]));
        }
    }

    /// The answer to a request has gone out: what came with it is the next one.
    pub(super) fn next_request(&mut self, token: Token, now: Millis) {
        let Some(connection) = self.table.get_mut(token) else { return };
        if connection.phase != Phase::Head || !connection.has_early() {
            return;
        }
        let Some(Input::Early(mut early)) = connection.input.take().map(|input| *input) else {
            return;
        };
        let taken = self.take_head(token, early.rest(), now);
        if early.advance(taken) {
            self.keep_early(token, early);
        }
    }

    /// Keeps what came behind a request; behind a refusal that ends the connection nothing is kept.
    /// While it is here nothing more is read: [`super::sessions`].
    pub(super) fn keep_early(&mut self, token: Token, early: Early) {
        let Some(connection) = self.table.get_mut(token) else { return };
        if matches!(connection.phase, Phase::Head | Phase::Asking | Phase::Waiting) {
            debug_assert!(connection.input.is_none(), "bytes were read that nobody wanted");
            connection.input = Some(Box::new(Input::Early(early)));
        }
    }

    /// Returns how many of `bytes` belonged to the request.
    fn take_head(&mut self, token: Token, bytes: &[u8], now: Millis) -> usize {
        let date = self.dates.at(now);
        let limits = &self.context.limits;
        let Some(connection) = self.table.get_mut(token) else { return 0 };
        let mut reader = match connection.input.take().map(|input| *input) {
            Some(Input::Head(reader)) => reader,
            Some(Input::Body(body)) => return self.take_body(token, body, bytes, now),
            _ => {
                if connection.flags.keep_alive {
                    connection.beat = Stamp::after(now, limits.head_ms);
                }
                HeadReader::new()
            }
        };
        match reader.feed(bytes, &limits.http) {
            Ok(Fed::Partial) => {
                connection.input = Some(Box::new(Input::Head(reader)));
                self.arm(token, now);
                bytes.len()
            }
            Ok(Fed::Complete { taken }) => {
                taken + self.take_whole_head(token, &reader, &bytes[taken..], now)
            }
            Err(violation) => {
                let head_only = reader.is_head_method();
                let private = connection.private();
                response::refusal(private, date, violation, Ending::Close, &[], head_only);
                self.refused(token, Ending::Close, now);
                bytes.len()
            }
        }
    }

    /// A whole head. Returns how many bytes of `rest`, which came after it, were its body.
    fn take_whole_head(
        &mut self,
        token: Token,
        reader: &HeadReader,
        rest: &[u8],
        now: Millis,
    ) -> usize {
        let date = self.dates.at(now);
        let context = self.context.clone();
        if let Some(connection) = self.table.get_mut(token)
            && connection.flags.counted
        {
            self.addresses.head_done(self.number, token.index);
        }
        let Some(connection) = self.table.get_mut(token) else { return 0 };
        let request = match reader.request(&context.limits.http) {
            // Who is to leave is told so with an answer, before the end.
            Ok(mut request) => {
                request.keep_alive &= !(self.ending || self.life.is_draining());
                request
            }
            Err(violation) => {
                let head_only = reader.is_head_method();
                let private = connection.private();
                response::refusal(private, date, violation, Ending::Close, &[], head_only);
                self.refused(token, Ending::Close, now);
                return 0;
            }
        };
        connection.flags.keep_alive = request.keep_alive;
        match request::decide(&request, &context, &self.life, date, connection.private()) {
            Decision::Answered(ending) => {
                connection.flags.keep_alive = ending == Ending::KeepAlive;
                self.answered(token, now);
            }
            Decision::Refused(violation, ending) => {
                self.complaints.about(violation, &request, now);
                self.refused(token, ending, now);
            }
            Decision::Follow(ask) => self.ask(token, ask, now),
            Decision::Publish(publication, length) => {
                let body = Body::new(Purpose::Publish(publication), length);
                return self.begin_body(token, body, &request, rest, now);
            }
            Decision::Read(pending, length) => {
                let body = Body::new(Purpose::Follow(pending), length);
                return self.begin_body(token, body, &request, rest, now);
            }
        }
        0
    }

    /// A request whose body follows. Returns how many bytes of `rest` belonged to it.
    fn begin_body(
        &mut self,
        token: Token,
        body: Body,
        request: &Request<'_>,
        rest: &[u8],
        now: Millis,
    ) -> usize {
        let limits = &self.context.limits;
        let bodies = &self.all_metrics().bodies;
        let has_room = bodies.has_room(body.length, Payer::Stranger, limits);
        let Some(connection) = self.table.get_mut(token) else { return 0 };
        if !has_room {
            self.refuse_to(token, body.reader(), Violation::Busy, now); // before it is read
            return 0;
        }
        if request.expects_continue && rest.len() < body.length {
            response::go_on(connection.private());
        }
        connection.beat = Stamp::after(now, limits.head_ms);
        let taken = self.take_body(token, body, rest, now);
        self.visit_soon(token);
        taken
    }

    /// Asks the sequencer; the reply comes in the ring.
    fn ask(&mut self, token: Token, ask: Box<FollowRequest>, now: Millis) {
        let draining = self.ending || self.life.is_draining();
        let requester = self.requester(token);
        let Some(connection) = self.table.get_mut(token) else { return };
        if draining || connection.flags.extra {
            let violation = if draining { Violation::Draining } else { Violation::Full };
            self.metrics().turned_away.add(1);
            return self.refuse_ask(token, &ask, violation, now);
        }
        connection.phase = Phase::Asking;
        let command = Command::Subscribe(Box::new(Subscribe {
            requester,
            channels: ask.channels.iter().map(|name| (name.clone(), ask.since)).collect(),
        }));
        connection.ask = Some(ask);
        self.commands.push_back(command);
        self.drop_empty_outbox(token);
    }

    /// Before its stream begins a connection has one request at a time.
    fn requester(&self, session: Token) -> Requester {
        Requester { shard: self.number, session, request: 0 }
    }

    fn drop_empty_outbox(&mut self, token: Token) {
        let Some(connection) = self.table.get_mut(token) else { return };
        self.spare.take_back(&mut connection.outbox);
    }

    /// Says no to a request that was good.
    pub(super) fn refuse_ask(
        &mut self,
        token: Token,
        ask: &FollowRequest,
        violation: Violation,
        now: Millis,
    ) {
        let (retry_ms, date) = (self.context.limits.retry_ms, self.dates.at(now));
        let Some(connection) = self.table.get_mut(token) else { return };
        if ask.endpoint == Endpoint::EventStream {
            let reason = match violation {
                Violation::Draining => CloseReason::Restart,
                _ => CloseReason::Full,
            };
            event_stream::come_back(ask, reason, retry_ms, date, connection.private());
            self.metrics().requests_refused.add(1);
            // The end of the stream is the answer, so it does not wait for the client's.
            return self.leave(token, REFUSED_CLOSE_MS, false, now);
        }
        self.refuse_to(token, ask.origin.as_deref(), violation, now);
    }

    /// Answers with a refusal and leaves. The page that has sent a part of a body may read it.
    pub(super) fn refuse(&mut self, token: Token, violation: Violation, now: Millis) {
        let Some(connection) = self.table.get_mut(token) else { return };
        let input = connection.input.take(); // of who leaves nothing more is wanted
        let reader = match input.as_deref() {
            Some(Input::Body(body)) => body.reader(),
            _ => None,
        };
        self.refuse_to(token, reader, violation, now);
    }

    /// Answers with a refusal that a page of this origin may read, and leaves.
    fn refuse_to(&mut self, token: Token, reader: Option<&str>, violation: Violation, now: Millis) {
        let date = self.dates.at(now);
        let Some(connection) = self.table.get_mut(token) else { return };
        let cors = reader.map(response::cors);
        let fields = cors.as_deref().unwrap_or_default();
        response::refusal(connection.private(), date, violation, Ending::Close, fields, false);
        self.refused(token, Ending::Close, now);
    }

    /// A refusal was written.
    fn refused(&mut self, token: Token, ending: Ending, now: Millis) {
        self.metrics().requests_refused.add(1);
        let Some(connection) = self.table.get_mut(token) else { return };
        connection.flags.keep_alive = ending == Ending::KeepAlive;
        if connection.flags.keep_alive {
            self.answered(token, now);
        } else {
            self.leave(token, REFUSED_CLOSE_MS, true, now);
        }
    }

    /// The body of a request. Returns how many of `bytes` belonged to it.
    fn take_body(&mut self, token: Token, mut body: Body, bytes: &[u8], now: Millis) -> usize {
        let Some(taken) = body.take(bytes, &self.all_metrics().bodies, &self.context.limits) else {
            self.refuse_to(token, body.reader(), Violation::Busy, now);
            return bytes.len();
        };
        let Some(connection) = self.table.get_mut(token) else { return 0 };
        if !body.is_whole() {
            connection.input = Some(Box::new(Input::Body(body)));
            self.arm(token, now);
            return taken;
        }
        match body.purpose {
            Purpose::Publish(publication) => {
                self.publish(token, *publication, &body.data, body.share, now);
            }
            Purpose::Follow(pending) => self.follow(token, *pending, &body.data, now),
        }
        taken
    }

    /// A whole body of the playground's publish.
    fn publish(
        &mut self,
        token: Token,
        mut publication: Publication,
        data: &[u8],
        share: Share,
        now: Millis,
    ) {
        let (kind, message) = payload::settle(data);
        let Publication { channel, event, .. } = &publication;
        let message_bytes = self.context.limits.message_bytes;
        if payload::room(message_bytes, &channel.name, event.as_deref(), kind, message).is_err() {
            return self.refuse(token, Violation::MessageTooLong, now);
        }
        publication.kind = kind;
        publication.data = message.into();
        let answer = PublishAnswer::Connection { requester: self.requester(token), body: share };
        let Some(connection) = self.table.get_mut(token) else { return };
        connection.phase = Phase::Asking;
        self.commands.push_back(Command::Publish(publication, answer));
        self.drop_empty_outbox(token);
    }

    /// A whole body that says what to follow.
    fn follow(&mut self, token: Token, pending: PendingFollow, data: &[u8], now: Millis) {
        let (date, context) = (self.dates.at(now), self.context.clone());
        let origin = pending.head.origin.clone();
        let violation = match pending.with(data, &context) {
            Ok(ask) => return self.ask(token, Box::new(ask), now),
            Err(violation) => violation,
        };
        let Some(connection) = self.table.get_mut(token) else { return };
        let ending = if connection.flags.keep_alive { Ending::KeepAlive } else { Ending::Close };
        let cors = origin.as_deref().map(response::cors);
        let fields = cors.as_ref().map_or(&[][..], |fields| fields);
        let ending =
            response::refusal(connection.private(), date, violation, ending, fields, false);
        self.refused(token, ending, now);
    }
}
