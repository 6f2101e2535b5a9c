//! What a request of the public listener asks for: routes, parameters, origins.

use fanfare_protocol::http::parameters::Gathering;
use fanfare_protocol::http::response::{self, ANY_ORIGIN, Field, Methods, NO_REFERRER, NO_STORE};
use fanfare_protocol::http::{
    Answer, Body, ContentType, Ending, HttpDate, Method, Query, Request, Status, Violation,
    spelling,
};
use fanfare_protocol::ws::handshake;

use super::claim::Claim;
use super::decision::Decision;
use super::door::Door;
use super::errand;
use super::follow_body::{BodyForm, PendingFollow};
use super::follow_request::{Endpoint, FollowHead, FollowRequest, takes_chunks};
use super::{Context, playground, token_request};
use crate::admission::origin::Access;
use crate::admission::proxy;
use crate::channel::ChannelName;
use crate::node_state::NodeState;
use crate::sequencer::command::Publication;

/// Whoever opens a page as a file, to try something out, reads in it what is wrong with that. The
/// words are fixed, and nothing else is given to such a page.
const TO_A_FILE: [Field<'static>; 2] =
    [("Access-Control-Allow-Origin", "null"), ("Vary", "Origin")];

/// Who asks.
pub(super) struct Asker<'a> {
    /// The origin of a page that may read the answer.
    pub(super) reader: Option<&'a str>,
    /// Whom it says that it is from.
    pub(super) claim: Claim,
}

/// When a request is decided about.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For answers.
    pub date: HttpDate,
    /// Milliseconds since 1970.
    pub unix_ms: u64,
}

/// Decides about a whole head; writes the answer where one is due already, with the date in it.
pub fn decide(
    request: &Request<'_>,
    context: &Context,
    life: &NodeState,
    door: Option<&dyn Door>,
    now: Now,
    out: &mut Vec<u8>,
) -> Decision {
    let date = now.date;
    // On every path, whoever passed it on: a page that rebinds its name can add any field.
    if !context.hosts.answers(request.host, context.dev) {
        return refuse(request, Violation::ForeignHost, date, None, out);
    }
    let dev = context.dev && !proxy::passed_on(&request.fields);
    let origin = match request.origin() {
        Ok(origin) => origin,
        Err(violation) => return refuse(request, violation, date, None, out),
    };
    let access = context.origins.access(origin.map(str::as_bytes), request.host, dev);
    let origin =
        origin.map(|origin| if context.origins.allows_any() { ANY_ORIGIN } else { origin });
    let reader = origin.filter(|_| access == Access::Allowed);
    let errand = door.and_then(|door| door.errand(request));
    if access == Access::Refused && (errand.is_some() || is_guarded(&request.path)) {
        return match origin {
            Some("null") => {
                let fields = if dev { &TO_A_FILE[..] } else { &[] };
                refuse_with(request, Violation::NullOrigin, date, fields, out)
            }
            _ => refuse(request, Violation::Origin, date, None, out),
        };
    }
    let claim = match request.method {
        Method::Options => Ok(Claim::Nobody), // a page asks before it asks, and brings nothing
        _ if errand.is_none() && !is_guarded(&request.path) => Ok(Claim::Nobody),
        _ => Claim::of(request, access, context, now.unix_ms),
    };
    let asker = match claim {
        Ok(claim) => Asker { reader, claim },
        Err(violation) => return refuse(request, violation, date, reader, out),
    };
    let decision = match errand {
        // Whatever else is right or wrong about it: a page asks before it asks.
        Some(_) if request.method == Method::Options => {
            options(request, Methods::Carry, date, reader, out)
        }
        Some(_) if !matches!(request.method, Method::Get | Method::Post) => {
            Err(Violation::MethodNotCarry)
        }
        Some(errand) => errand.and_then(|errand| errand::decide(errand, request, context, &asker)),
        None => route(request, context, life, dev, date, &asker, out),
    };
    match decision {
        Ok(decision) => decision,
        Err(violation) => refuse(request, violation, date, reader, out),
    }
}

/// Whether it asks to follow channels and waits for a message of theirs.
pub fn is_poll(request: &Request<'_>) -> bool {
    request.path == "/poll" && !matches!(request.method, Method::Head | Method::Options)
}

/// Whether it asks for a stream of events by GET, as `EventSource` does: which takes every other
/// answer than a stream for the last one.
pub fn is_event_stream(request: &Request<'_>) -> bool {
    request.path == "/sse" && request.method == Method::Get
}

fn is_guarded(path: &str) -> bool {
    matches!(path, "/ws" | "/sse" | "/poll" | "/playground/publish") || path.starts_with("/v1/")
}

fn refuse(
    request: &Request<'_>,
    violation: Violation,
    date: HttpDate,
    reader: Option<&str>,
    out: &mut Vec<u8>,
) -> Decision {
    let cors = reader.map(response::cors);
    refuse_with(request, violation, date, cors.as_deref().unwrap_or_default(), out)
}

fn refuse_with(
    request: &Request<'_>,
    violation: Violation,
    date: HttpDate,
    fields: &[Field<'_>],
    out: &mut Vec<u8>,
) -> Decision {
    let head_only = request.method == Method::Head;
    let ending = response::refusal(out, date, violation, request.ending(), fields, head_only);
    Decision::Refused(violation, ending)
}

fn route(
    request: &Request<'_>,
    context: &Context,
    life: &NodeState,
    dev: bool,
    date: HttpDate,
    asker: &Asker<'_>,
    out: &mut Vec<u8>,
) -> Result<Decision, Violation> {
    match (&*request.path, request.method) {
        ("/ws", _) => {
            let switch = handshake::decide(request)?;
            let mut follow = follow_request(request, context, Endpoint::WebSocket, asker)?;
            follow.switch = Some(switch);
            Ok(Decision::Follow(Box::new(follow)))
        }
        ("/" | "/healthz" | "/readyz" | "/sse" | "/poll", Method::Options) => {
            let followed = matches!(&*request.path, "/sse" | "/poll");
            let methods = if followed { Methods::Follow } else { Methods::Read };
            options(request, methods, date, asker.reader, out)
        }
        ("/sse" | "/poll", Method::Get | Method::Head) => {
            request.without_body()?;
            let endpoint = followed_by(request);
            let follow = follow_request(request, context, endpoint, asker)?;
            if request.method == Method::Head {
                return Ok(answer_head(request, endpoint, date, asker.reader, out));
            }
            Ok(Decision::Follow(Box::new(follow)))
        }
        ("/sse" | "/poll", Method::Post | Method::Query) => follow(request, context, asker),
        (path, method) if path.starts_with("/v1/") => {
            about_token(path, method, request, context, (date, asker), out)
        }
        ("/playground/publish", Method::Post) => publish(request, context, dev),
        ("/playground/publish", _) => Err(Violation::MethodNotPost),
        ("/" | "/healthz" | "/readyz", Method::Get | Method::Head) => {
            request.without_body()?;
            Ok(page(request, life, dev, date, out))
        }
        ("/" | "/healthz" | "/readyz", _) => Err(Violation::MethodNotRead),
        ("/sse" | "/poll", _) => Err(Violation::MethodNotFollow),
        _ => Err(Violation::NotFound),
    }
}

/// What a page asks for with its token. The rest of `/v1/` is for backends, on another listener.
fn about_token(
    path: &str,
    method: Method,
    request: &Request<'_>,
    context: &Context,
    (date, asker): (HttpDate, &Asker<'_>),
    out: &mut Vec<u8>,
) -> Result<Decision, Violation> {
    let refreshed = token_request::refreshed(path, context);
    match (method, refreshed) {
        (_, None) if path != token_request::TICKETS => Err(Violation::NotFound),
        (Method::Options, _) => options(request, Methods::Send, date, asker.reader, out),
        (Method::Post, None) => token_request::ticket(request, context, asker),
        (Method::Post, Some(of)) => token_request::refresh(of, request, context, asker),
        _ => Err(Violation::MethodNotPost),
    }
}

/// OPTIONS is told what a page may ask for.
fn options(
    request: &Request<'_>,
    methods: Methods,
    date: HttpDate,
    reader: Option<&str>,
    out: &mut Vec<u8>,
) -> Result<Decision, Violation> {
    request.without_body()?;
    response::options(out, date, reader, methods, request.ending());
    Ok(Decision::Answered(request.ending()))
}

/// HEAD gets the head that GET would get, and follows nothing.
fn answer_head(
    request: &Request<'_>,
    endpoint: Endpoint,
    date: HttpDate,
    reader: Option<&str>,
    out: &mut Vec<u8>,
) -> Decision {
    let cors = reader.map(response::cors);
    let fields = cors.as_deref().unwrap_or_default();
    if endpoint == Endpoint::EventStream {
        response::event_stream(out, date, takes_chunks(request), Ending::Close, fields);
        return Decision::Answered(Ending::Close);
    }
    response::head_of_unknown_length(out, date, ContentType::Json, request.ending(), fields);
    Decision::Answered(request.ending())
}

fn page(
    request: &Request<'_>,
    life: &NodeState,
    dev: bool,
    date: HttpDate,
    out: &mut Vec<u8>,
) -> Decision {
    let (status, content_type, body) = match &*request.path {
        "/" => (Status::Ok, ContentType::Html, playground::page(dev)),
        "/readyz" if life.is_draining() => {
            (Status::ServiceUnavailable, ContentType::Text, &b"draining\n"[..])
        }
        _ => (Status::Ok, ContentType::Text, &b"ok\n"[..]),
    };
    let (ending, head_only) = (request.ending(), request.method == Method::Head);
    let fields = &[NO_STORE, NO_REFERRER];
    Answer { date, status, content_type, ending, fields, head_only }.write(out, body);
    Decision::Answered(ending)
}

/// A request to follow channels whose parameters are in its query.
fn follow_request(
    request: &Request<'_>,
    context: &Context,
    endpoint: Endpoint,
    asker: &Asker<'_>,
) -> Result<FollowRequest, Violation> {
    let head = FollowHead::new(request, context, endpoint, asker)?;
    let channels_max = context.limits.channels_per_connection;
    let mut gathering = Gathering::new(channels_max);
    gathering.take_all(request.query())?;
    head.with(&gathering.found())
}

fn followed_by(request: &Request<'_>) -> Endpoint {
    if request.path == "/sse" { Endpoint::EventStream } else { Endpoint::Poll }
}

/// A request to follow channels that has a body for its parameters, or for some of them.
fn follow(
    request: &Request<'_>,
    context: &Context,
    asker: &Asker<'_>,
) -> Result<Decision, Violation> {
    let endpoint = followed_by(request);
    let length = match request.body {
        Body::None | Body::Length(0) => {
            return Ok(Decision::Follow(Box::new(follow_request(
                request, context, endpoint, asker,
            )?)));
        }
        Body::Length(length) => usize::try_from(length).unwrap_or(usize::MAX),
        Body::Chunked => return Err(Violation::LengthNeeded),
    };
    let form = BodyForm::of(request)?;
    if length > context.limits.subscribe_bytes {
        return Err(Violation::BodyTooLong);
    }
    let pending =
        PendingFollow::new(FollowHead::new(request, context, endpoint, asker)?, request, form);
    Ok(Decision::Read(Box::new(pending), length))
}

/// The playground's publish: development mode only.
fn publish(request: &Request<'_>, context: &Context, dev: bool) -> Result<Decision, Violation> {
    if !dev {
        return Err(Violation::NotInDevelopment);
    }
    let length = match request.body {
        Body::Length(length) => length,
        Body::None => return Err(Violation::EmptyBody),
        Body::Chunked => return Err(Violation::LengthNeeded),
    };
    if length == 0 {
        return Err(Violation::EmptyBody);
    }
    let length = usize::try_from(length).map_err(|_| Violation::BodyTooLong)?;
    if length > context.limits.message_bytes {
        return Err(Violation::BodyTooLong);
    }
    let query = request.query();
    spelled_right(query)?;
    let name = query.value("channel")?.ok_or(Violation::NoChannels)?;
    if !fanfare_protocol::names::is_channel_name(&name) {
        return Err(Violation::BadChannel);
    }
    let event = query.value("event")?.filter(|event| !event.is_empty());
    if event.as_deref().is_some_and(|event| !fanfare_protocol::names::is_event_name(event)) {
        return Err(Violation::BadEvent);
    }
    let publication = Publication {
        channel: ChannelName::new(context.tenant_of(None), &name),
        also: Box::default(),
        kind: fanfare_protocol::message::Kind::Text, // decided when the body is whole
        event: event.map(|event| event.as_ref().into()),
        idempotency_key: None,
        ephemeral: false,
        except: None,
        data: Box::default(),
    };
    Ok(Decision::Publish(Box::new(publication), length))
}

/// Refuses what is nearly a parameter of the playground's publish: a message that was to have a
/// name would be published without one.
fn spelled_right(query: Query<'_>) -> Result<(), Violation> {
    const KNOWN: [&str; 2] = ["channel", "event"];
    for key in query.keys().filter(|key| !KNOWN.contains(&&**key)) {
        match spelling::meant(&key, &KNOWN) {
            Some("channel") => return Err(Violation::MeantChannel),
            Some(_) => return Err(Violation::MeantEvent),
            None => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
