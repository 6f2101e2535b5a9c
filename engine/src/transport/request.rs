//! What a request of the public listener asks for: routes, parameters, origins.

use fanfare_protocol::dialect::Rendition;
use fanfare_protocol::http::response::{self, ANY_ORIGIN, Field, NO_STORE};
use fanfare_protocol::http::{
    Answer, Body, ContentType, Ending, HttpDate, Method, Request, Status, Violation, accept,
};
use fanfare_protocol::id::Id;
use fanfare_protocol::limits::{LAST_EVENT_ID_BYTES_MAX, POLL_WAIT_S_MAX};
use fanfare_protocol::ws::handshake::{self, AcceptKey};

use super::{Facts, playground};
use crate::auth::origin::Verdict;
use crate::auth::proxy;
use crate::channel::ChannelName;
use crate::sequencer::command::{Publication, Since};

/// A poll that names no `wait` waits as long as this.
const WAIT_S: u64 = 25;

/// Whoever opens a page as a file, to try something out, reads in it what is wrong with that. The
/// words are fixed, and nothing else is given to such a page.
const TO_A_FILE: [Field<'static>; 2] =
    [("Access-Control-Allow-Origin", "null"), ("Vary", "Origin")];

/// How a client wants its messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// `GET /ws`.
    WebSocket,
    /// `GET /sse`.
    EventStream,
    /// `GET /poll`.
    Poll,
}

/// A request to follow channels that was found good.
#[derive(Debug)]
pub struct Ask {
    /// The transport.
    pub target: Target,
    /// The channels, no name twice.
    pub channels: Vec<ChannelName>,
    /// From where.
    pub since: Since,
    /// How messages are encoded.
    pub rendition: Rendition,
    /// How long a poll waits, in milliseconds.
    pub wait_ms: u64,
    /// Whether it is told where delivery begins.
    pub opening: bool,
    /// The origin of the page that asks and may read the answer; [`response::ANY_ORIGIN`] where
    /// every page may.
    pub origin: Option<Box<str>>,
    /// Of a WebSocket, the answer to its key.
    pub accept_key: Option<AcceptKey>,
}

/// What is to be done about a request.
#[derive(Debug)]
pub enum Decision {
    /// It was answered; whether another may follow.
    Answered(Ending),
    /// It was refused, for this; whether another may follow.
    Refused(Violation, Ending),
    /// Ask the sequencer.
    Follow(Box<Ask>),
    /// Read a body of this length, then publish.
    Publish(Box<Publication>, usize),
}

/// Decides about a whole head; writes the answer where one is due already, with `date` in it.
pub fn decide(request: &Request<'_>, facts: &Facts, date: HttpDate, out: &mut Vec<u8>) -> Decision {
    // On every path, whoever passed it on: a page that rebinds its name can add any field.
    if !facts.hosts.answers(request.host, facts.dev) {
        return refuse(request, Violation::ForeignHost, date, None, out);
    }
    let dev = facts.dev && !proxy::passed_on(&request.fields);
    let origin = match request.origin() {
        Ok(origin) => origin,
        Err(violation) => return refuse(request, violation, date, None, out),
    };
    let verdict = facts.origins.verdict(origin.map(str::as_bytes), request.host, dev);
    let origin = origin.map(|origin| if facts.origins.allows_any() { ANY_ORIGIN } else { origin });
    let reader = origin.filter(|_| verdict == Verdict::Allowed);
    if verdict == Verdict::Refused && is_guarded(&request.path) {
        return match origin {
            Some("null") => {
                let fields = if dev { &TO_A_FILE[..] } else { &[] };
                refuse_with(request, Violation::NullOrigin, date, fields, out)
            }
            _ => refuse(request, Violation::Origin, date, None, out),
        };
    }
    match route(request, facts, dev, date, reader, out) {
        Ok(decision) => decision,
        Err(violation) => refuse(request, violation, date, reader, out),
    }
}

fn is_guarded(path: &str) -> bool {
    matches!(path, "/ws" | "/sse" | "/poll" | "/playground/publish")
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
    facts: &Facts,
    dev: bool,
    date: HttpDate,
    reader: Option<&str>,
    out: &mut Vec<u8>,
) -> Result<Decision, Violation> {
    match (&*request.path, request.method) {
        ("/ws", _) => {
            let accept_key = handshake::decide(request)?;
            let mut ask = ask(request, facts, Target::WebSocket, reader)?;
            ask.accept_key = Some(accept_key);
            Ok(Decision::Follow(Box::new(ask)))
        }
        ("/" | "/healthz" | "/readyz" | "/sse" | "/poll", Method::Options) => {
            request.without_body()?;
            response::options(out, date, reader, request.ending());
            Ok(Decision::Answered(request.ending()))
        }
        ("/sse" | "/poll", Method::Get | Method::Head) => {
            request.without_body()?;
            let sse = request.path == "/sse";
            let target = if sse { Target::EventStream } else { Target::Poll };
            let ask = ask(request, facts, target, reader)?;
            if request.method == Method::Head {
                return Ok(answer_head(request, target, date, reader, out));
            }
            Ok(Decision::Follow(Box::new(ask)))
        }
        ("/playground/publish", Method::Post) => publish(request, facts, dev),
        ("/playground/publish", _) => Err(Violation::MethodNotPost),
        ("/" | "/healthz" | "/readyz", Method::Get | Method::Head) => {
            request.without_body()?;
            Ok(page(request, facts, dev, date, out))
        }
        ("/" | "/healthz" | "/readyz" | "/sse" | "/poll", _) => Err(Violation::MethodNotRead),
        _ => Err(Violation::NotFound),
    }
}

/// HEAD gets the head that GET would get, and follows nothing.
fn answer_head(
    request: &Request<'_>,
    target: Target,
    date: HttpDate,
    reader: Option<&str>,
    out: &mut Vec<u8>,
) -> Decision {
    let cors = reader.map(response::cors);
    let fields = cors.as_deref().unwrap_or_default();
    if target == Target::EventStream {
        response::event_stream(out, date, fields);
        return Decision::Answered(Ending::Close);
    }
    response::head_of_unknown_length(out, date, ContentType::Json, request.ending(), fields);
    Decision::Answered(request.ending())
}

fn page(
    request: &Request<'_>,
    facts: &Facts,
    dev: bool,
    date: HttpDate,
    out: &mut Vec<u8>,
) -> Decision {
    let (status, content_type, body) = match &*request.path {
        "/" => (Status::Ok, ContentType::Html, playground::page(dev)),
        "/readyz" if facts.draining() => {
            (Status::ServiceUnavailable, ContentType::Text, &b"draining\n"[..])
        }
        _ => (Status::Ok, ContentType::Text, &b"ok\n"[..]),
    };
    let (ending, head_only) = (request.ending(), request.method == Method::Head);
    let fields = &[NO_STORE];
    Answer { date, status, content_type, ending, fields, head_only }.write(out, body);
    Decision::Answered(ending)
}

fn ask(
    request: &Request<'_>,
    facts: &Facts,
    target: Target,
    reader: Option<&str>,
) -> Result<Ask, Violation> {
    let query = request.query();
    let names = query.channels(facts.limits.channels_per_connection)?;
    let json = match query.value("format")?.as_deref() {
        None => names.len() > 1 || target == Target::Poll,
        Some("json") => true,
        Some("raw") if target != Target::Poll => false,
        Some(_) => return Err(Violation::BadFormat),
    };
    let rendition = match (target, json) {
        (Target::WebSocket, false) => Rendition::WsRaw,
        (Target::WebSocket, true) => Rendition::WsJson,
        (Target::EventStream, false) => Rendition::SseRaw,
        (Target::EventStream, true) => Rendition::SseJson,
        (Target::Poll, _) => Rendition::PollItem,
    };
    if target == Target::EventStream && !request.accepts(&accept::EVENT_STREAM) {
        return Err(Violation::NotAcceptable);
    }
    let channel = |name: &_| ChannelName::new(facts.tenant.clone(), name);
    Ok(Ask {
        target,
        channels: names.iter().map(|name| channel(&**name)).collect(),
        since: since(request, target)?,
        rendition,
        wait_ms: wait_ms(query.value("wait")?.as_deref())?,
        opening: match query.value("open")?.as_deref() {
            None | Some("1") => true,
            Some("0") => false,
            Some(_) => return Err(Violation::BadOpen),
        },
        origin: reader.map(Into::into),
        accept_key: None,
    })
}

/// `Last-Event-ID` wins over `since`, because a browser that comes back sends the first URL again.
/// What the page wrote must be right; what a browser remembered need not be.
fn since(request: &Request<'_>, target: Target) -> Result<Since, Violation> {
    let parameter = match request.query().value("since")?.as_deref() {
        None => Since::Now,
        Some(text) => Since::After(Id::parse(text.as_bytes()).ok_or(Violation::BadSince)?),
    };
    if target != Target::EventStream {
        return Ok(parameter);
    }
    Ok(match request.fields.one("last-event-id") {
        Ok(None | Some(b"")) => parameter,
        Ok(Some(text)) if text.len() <= LAST_EVENT_ID_BYTES_MAX => {
            Id::parse(text).map_or(Since::Unreadable, Since::After)
        }
        // Two of them are no position: which one is meant is not guessed.
        _ => Since::Unreadable,
    })
}

/// Seconds, clamped; what is no such number is refused.
fn wait_ms(parameter: Option<&str>) -> Result<u64, Violation> {
    let Some(text) = parameter else { return Ok(WAIT_S * 1_000) };
    let number = text.parse::<f64>().ok().filter(|wait| wait.is_finite() && *wait >= 0.0);
    let seconds = number.ok_or(Violation::BadWait)?.min(POLL_WAIT_S_MAX as f64);
    Ok((seconds * 1_000.0) as u64)
}

/// The playground's publish: development mode only.
fn publish(request: &Request<'_>, facts: &Facts, dev: bool) -> Result<Decision, Violation> {
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
    if length > facts.limits.message_bytes {
        return Err(Violation::BodyTooLong);
    }
    let query = request.query();
    let name = query.value("channel")?.ok_or(Violation::NoChannels)?;
    if !fanfare_protocol::names::is_channel_name(&name) {
        return Err(Violation::BadChannel);
    }
    let event = query.value("event")?.filter(|event| !event.is_empty());
    if event.as_deref().is_some_and(|event| !fanfare_protocol::names::is_event_name(event)) {
        return Err(Violation::BadEvent);
    }
    let publication = Publication {
        channel: ChannelName::new(facts.tenant.clone(), &name),
        kind: fanfare_protocol::message::Kind::Text, // decided when the body is whole
        event: event.map(|event| event.as_ref().into()),
        idempotency_key: None,
        data: Box::default(),
    };
    Ok(Decision::Publish(Box::new(publication), length))
}

#[cfg(test)]
mod tests;
