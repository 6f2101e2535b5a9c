//! A request that is not whole: from the bytes of a head, and of a body, to a decision.

use std::sync::Arc;

use fanfare_identity::{Identity, TICKET_RANDOM_BYTES};
use fanfare_protocol::http::{Ending, Fed, HeadReader, Violation, response};

use super::effect::Effect;
use super::here::Here;
use super::shared::ShardResources;
use crate::bodies::{BodySender, BodyShare};
use crate::clock::Millis;
use crate::origin::Named;
use crate::payload;
use crate::sequencer::command::Publication;
use crate::transport::decision::Decision;
use crate::transport::door::HoldRequest;
use crate::transport::follow_body::PendingFollow;
use crate::transport::follow_request::FollowRequest;
use crate::transport::input::{Body, BroughtMessage, Purpose};
use crate::transport::request;
use crate::transport::token_request::{TokenErrand, TokenRequest};

/// A request of which a part is here.
#[derive(Debug)]
pub(crate) struct Reading {
    part: Part,
    /// When the head must be whole, or the body.
    pub(super) due: Millis,
}

#[derive(Debug)]
enum Part {
    /// Some of the head.
    Head(HeadReader),
    /// The head, and some of the body.
    Body {
        /// What is here of it.
        body: Body,
        /// Whether another request may follow.
        keep_alive: bool,
    },
}

/// What the bytes of one receive led to.
#[derive(Debug)]
pub(super) enum Next {
    /// The request is not whole yet.
    More(Box<Reading>),
    /// An answer was written; whether another request may follow.
    Answered { keep_alive: bool },
    /// A refusal was written that ends the connection.
    Refused,
    /// The request was good and asks to follow channels.
    Follow { ask: Box<FollowRequest>, keep_alive: bool },
    /// The request was good and publishes.
    Publish { publication: Box<Publication>, body: BodyShare, keep_alive: bool },
    /// The request was good and is to be held.
    Hold { request: Box<HoldRequest>, keep_alive: bool },
    /// The request was good and brings a new token to a connection.
    Refresh { of: Named, identity: Arc<Identity>, origin: Option<Box<str>>, keep_alive: bool },
    /// The request was good and brings something to a session.
    Bring { brought: Box<BroughtMessage>, origin: Option<Box<str>>, keep_alive: bool },
}

/// What a whole head led to.
enum Headed {
    Next(Next),
    Body { body: Body, keep_alive: bool, waits_for_go_on: bool },
}

impl Reading {
    /// A request that begins.
    pub(super) fn new(due: Millis) -> Self {
        Self { part: Part::Head(HeadReader::new()), due }
    }

    /// The origin of the page that sends a body and may read the answer.
    pub(super) fn reader(&self) -> Option<&str> {
        match &self.part {
            Part::Head(_) => None,
            Part::Body { body, .. } => body.reader(),
        }
    }

    /// Bytes of memory of what is here of it.
    pub(super) fn memory(&self) -> usize {
        match &self.part {
            Part::Head(reader) => reader.memory(),
            Part::Body { body, .. } => body.data.capacity(),
        }
    }

    /// Takes bytes. Returns how many of them belonged to the request, and what it came to.
    pub(super) fn take(self, bytes: &[u8], here: &mut Here<'_>) -> (usize, Next) {
        let mut reader = match self.part {
            Part::Head(reader) => reader,
            Part::Body { body, keep_alive } => {
                return take_body(body, keep_alive, self.due, bytes, here);
            }
        };
        let taken = match reader.feed(bytes, &here.shared.context.limits.http) {
            Ok(Fed::Partial) => {
                let part = Part::Head(reader);
                return (bytes.len(), Next::More(Box::new(Self { part, ..self })));
            }
            Ok(Fed::Complete { taken }) => taken,
            Err(violation) => {
                refuse_head(violation, &reader, here);
                return (bytes.len(), Next::Refused);
            }
        };
        here.shared.want(Effect::HeadDone);
        let rest = &bytes[taken..];
        match decide(&reader, rest.len(), here) {
            Headed::Next(next) => (taken, next),
            Headed::Body { body, keep_alive, waits_for_go_on } => {
                if waits_for_go_on {
                    response::go_on(here.private());
                    here.shared.want(Effect::Visit);
                }
                let due = here.now.plus(here.shared.context.limits.head_ms);
                let (more, next) = take_body(body, keep_alive, due, rest, here);
                (taken + more, next)
            }
        }
    }
}

/// A whole head, behind which `rest` bytes are here already.
fn decide(reader: &HeadReader, rest: usize, here: &mut Here<'_>) -> Headed {
    let context = here.shared.context.clone();
    let now = request::Now { date: here.date(), unix_ms: here.unix_ms() };
    let mut request = match reader.request(&context.limits.http) {
        Ok(request) => request,
        Err(violation) => {
            refuse_head(violation, reader, here);
            return Headed::Next(Next::Refused);
        }
    };
    // Who is to leave is told so with an answer, before the end.
    request.keep_alive &= !here.shared.draining();
    let keep_alive = request.keep_alive;
    let turned_away = here.shared.asks(&request.fields, here.now).err();
    if let Some(violation) = turned_away
        && (violation == Violation::BadForwarded || !request::is_event_stream(&request))
    {
        here.shared.complaints.about(violation, &request, here.now);
        refuse(violation, None, here);
        return Headed::Next(Next::Refused);
    }
    let (life, door) = (here.shared.life.clone(), here.shared.door());
    let decision = request::decide(&request, &context, &life, door.as_deref(), now, here.private());
    let body = match decision {
        Decision::Answered(ending) => {
            return Headed::Next(Next::Answered { keep_alive: ending == Ending::KeepAlive });
        }
        Decision::Refused(violation, ending) => {
            here.shared.complaints.about(violation, &request, here.now);
            return Headed::Next(refused(ending, here.shared));
        }
        Decision::Follow(mut ask) => {
            ask.turned_away = turned_away;
            return Headed::Next(Next::Follow { ask, keep_alive });
        }
        Decision::Publish(publication, length) => Body::new(Purpose::Publish(publication), length),
        Decision::Read(pending, length) => Body::new(Purpose::Follow(pending), length),
        Decision::Token(request) => return Headed::Next(about_token(&request, keep_alive, here)),
        Decision::Hold(request) => return Headed::Next(Next::Hold { request, keep_alive }),
        Decision::Bring { session, origin, length } => {
            Body::new(Purpose::Bring { session, origin }, length)
        }
    };
    let bodies = here.shared.bodies();
    if here.shared.is_full || !bodies.has_room(body.length, BodySender::Stranger, &context.limits) {
        refuse(Violation::Busy, body.reader(), here); // before it is read
        return Headed::Next(Next::Refused);
    }
    let waits_for_go_on = request.expects_continue && rest < body.length;
    Headed::Body { body, keep_alive, waits_for_go_on }
}

/// A whole head that is about a token.
fn about_token(request: &TokenRequest, keep_alive: bool, here: &mut Here<'_>) -> Next {
    let context = here.shared.context.clone();
    let bearer = request.bearer().cloned();
    let issued = match (bearer, &request.errand) {
        (Ok(bearer), TokenErrand::Refresh(of)) => {
            let origin = request.origin.clone();
            return Next::Refresh { of: *of, identity: bearer.identity, origin, keep_alive };
        }
        (Ok(_), TokenErrand::Ticket(_)) => {
            let mut random = [0; TICKET_RANDOM_BYTES];
            if getrandom::fill(&mut random).is_err() {
                refuse(Violation::Busy, request.origin.as_deref(), here);
                return Next::Refused;
            }
            let (when, now_ms) = ((here.date(), ending(keep_alive)), here.unix_ms());
            request.issue(&context, &random, when, now_ms, here.private())
        }
        (Err(denial), _) => Err(denial),
    };
    match issued {
        Ok(()) => Next::Answered { keep_alive },
        Err(denial) => {
            let who = request.bearer().ok().map(|bearer| &*bearer.identity);
            here.shared.denied(&denial, who, here.now);
            refuse(denial.violation, request.origin.as_deref(), here);
            Next::Refused
        }
    }
}

/// Bytes of a body. Returns how many of them belonged to it.
fn take_body(
    mut body: Body,
    keep_alive: bool,
    due: Millis,
    bytes: &[u8],
    here: &mut Here<'_>,
) -> (usize, Next) {
    let Some(taken) = body.take(bytes, here.shared.bodies(), &here.shared.context.limits) else {
        refuse(Violation::Busy, body.reader(), here);
        return (bytes.len(), Next::Refused);
    };
    if !body.is_whole() {
        let part = Part::Body { body, keep_alive };
        return (taken, Next::More(Box::new(Reading { part, due })));
    }
    let Body { purpose, data, share, .. } = body;
    let next = match purpose {
        Purpose::Publish(publication) => match settle(publication, &data, here.shared) {
            Ok(publication) => Next::Publish { publication, body: share, keep_alive },
            Err(violation) => {
                refuse(violation, None, here);
                Next::Refused
            }
        },
        Purpose::Follow(pending) => follow(*pending, &data, keep_alive, here),
        Purpose::Bring { session, origin } => {
            let brought = Box::new(BroughtMessage { session, data, share });
            Next::Bring { brought, origin, keep_alive }
        }
    };
    (taken, next)
}

/// A whole body of the playground's publish.
fn settle(
    mut publication: Box<Publication>,
    data: &[u8],
    shared: &ShardResources,
) -> Result<Box<Publication>, Violation> {
    let (kind, message) = payload::settle(data);
    let Publication { channel, event, .. } = &*publication;
    let message_bytes = shared.context.limits.message_bytes;
    payload::room(message_bytes, &channel.name, event.as_deref(), kind, message)
        .map_err(|_| Violation::MessageTooLong)?;
    publication.kind = kind;
    publication.data = message.into();
    Ok(publication)
}

/// A whole body that says what to follow.
fn follow(pending: PendingFollow, data: &[u8], keep_alive: bool, here: &mut Here<'_>) -> Next {
    let origin = pending.head.origin.clone();
    let violation = match pending.with(data, &here.shared.context) {
        Ok(ask) => return Next::Follow { ask: Box::new(ask), keep_alive },
        Err(violation) => violation,
    };
    let ending = if keep_alive { Ending::KeepAlive } else { Ending::Close };
    let cors = origin.as_deref().map(response::cors);
    let fields = cors.as_deref().unwrap_or_default();
    let (date, out) = (here.date(), here.private());
    let ending = response::refusal(out, date, violation, ending, fields, false);
    refused(ending, here.shared)
}

/// A refusal was written.
fn refused(ending: Ending, shared: &ShardResources) -> Next {
    shared.metrics().requests_refused.add(1);
    match ending {
        Ending::KeepAlive => Next::Answered { keep_alive: true },
        Ending::Close => Next::Refused,
    }
}

fn refuse_head(violation: Violation, reader: &HeadReader, here: &mut Here<'_>) {
    let (date, head_only) = (here.date(), reader.is_head_method());
    response::refusal(here.private(), date, violation, Ending::Close, &[], head_only);
    here.shared.metrics().requests_refused.add(1);
}

/// Writes a refusal that ends the connection and that a page of the origin `reader` may read.
pub(super) fn refuse(violation: Violation, reader: Option<&str>, here: &mut Here<'_>) {
    let cors = reader.map(response::cors);
    let fields = cors.as_deref().unwrap_or_default();
    let date = here.date();
    response::refusal(here.private(), date, violation, Ending::Close, fields, false);
    here.shared.metrics().requests_refused.add(1);
}

/// What an answer says of whether another request may follow it.
pub(super) fn ending(keep_alive: bool) -> Ending {
    if keep_alive { Ending::KeepAlive } else { Ending::Close }
}
