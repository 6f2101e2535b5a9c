//! What a client that follows channels asks for: found good, or refused with a reason.
//!
//! A request says it in two parts. [`FollowHead`] is what its head says; [`Parameters`] are what
//! its query says, or a body that came later.

use fanfare_identity::Right;
use fanfare_protocol::dialect::{Encoding, Form, plain};
use fanfare_protocol::framing::Framing;
use fanfare_protocol::http::parameters::{LastEventId, Parameters};
use fanfare_protocol::http::{Request, Violation, accept};
use fanfare_protocol::id::Id;
use fanfare_protocol::limits::{LAST_EVENT_ID_BYTES_MAX, POLL_WAIT_S_MAX};
use fanfare_protocol::since::Since as Asked;
use fanfare_protocol::ws::handshake::Switch;

use super::Context;
use super::claim::{Bearer, Claim};
use super::request::Asker;
use super::since::by_own_time;
use crate::authority::Denial;
use crate::channel::{ChannelName, Tenant};
use crate::clock::{Millis, Wall};
use crate::sequencer::command::Since;

/// A poll that names no `wait` waits as long as this.
const WAIT_S: u64 = 25;

/// How a client wants its messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Endpoint {
    /// `GET /ws`.
    WebSocket,
    /// `GET /sse`.
    EventStream,
    /// `GET /poll`.
    Poll,
}

/// What a stream says before anything else.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WantedOpening {
    /// Nothing.
    None,
    /// Where delivery begins, and what the connection is called.
    Plain,
}

/// A request to follow channels that was found good.
#[derive(Debug)]
pub struct FollowRequest {
    /// Where it came.
    pub endpoint: Endpoint,
    /// Whom it says that it is from.
    pub claim: Claim,
    /// The channels, no name twice.
    pub channels: Vec<ChannelName>,
    /// From where.
    begin: Asked,
    /// How messages are encoded.
    pub encoding: Encoding,
    /// Whether nobody has asked for raw messages or JSON: of several channels they are JSON.
    is_raw_unasked: bool,
    /// How long a poll waits, in milliseconds.
    pub wait_ms: u64,
    /// The longest message that it takes, in bytes of its encoding.
    pub max_bytes: Option<u32>,
    /// What it is told first.
    pub opening: WantedOpening,
    /// The origin of the page that asks and may read the answer;
    /// [`fanfare_protocol::http::response::ANY_ORIGIN`] where every page may.
    pub origin: Option<Box<str>>,
    /// Of a WebSocket, the answer to its key.
    pub switch: Option<Switch>,
    /// Why it is refused all the same: as a page can read it, where it is one that asks.
    pub turned_away: Option<Violation>,
}

impl FollowRequest {
    /// It is from this one: its channels are of that tenant, and those that the token follows by
    /// itself are among them.
    pub fn say_who(&mut self, bearer: Bearer) {
        let tenant = &bearer.identity.tenant;
        self.channels.iter_mut().for_each(|channel| channel.tenant = tenant.clone());
        for name in &bearer.identity.follow {
            if !self.channels.iter().any(|channel| channel.name == *name) {
                self.channels.push(ChannelName { tenant: tenant.clone(), name: name.clone() });
            }
        }
        if self.is_raw_unasked && self.channels.len() > 1 {
            let (form, framing) = (Form::Plain(plain::Form::Json), self.encoding.framing());
            self.encoding = Encoding::of(form, framing).expect("JSON goes over everything");
        }
        self.claim = Claim::Known(bearer);
    }

    /// Whether whoever it is from may follow all of it.
    ///
    /// # Errors
    /// Not one of these channels, or there is none, or more than may be.
    pub fn check(&self, context: &Context) -> Result<(), Denial> {
        let Some(authority) = &context.authority else { return Ok(()) };
        let refused = |violation| Denial { violation, rule: "the request itself".into() };
        let (identity, only) = match &self.claim {
            Claim::Known(bearer) => (Some(&*bearer.identity), bearer.only.as_deref()),
            _ => (None, None),
        };
        if self.channels.is_empty() {
            let violation = match identity {
                Some(_) => Violation::NoChannels,
                None => Violation::TokenNeeded,
            };
            return Err(refused(violation));
        }
        if self.channels.len() > context.limits.channels_per_connection {
            return Err(refused(Violation::TooManyChannels));
        }
        self.channels.iter().try_for_each(|channel| {
            if only.is_some_and(|names| !names.contains(&channel.name)) {
                let rule = "the ticket is for other channels".into();
                return Err(Denial { violation: Violation::Forbidden, rule });
            }
            authority.check(identity, Right::Subscribe, channel)
        })
    }

    /// Where to begin in every channel, if it is asked for at `now`, by the time of day that `wall`
    /// says.
    pub fn since(&self, wall: Wall, now: Millis) -> Since {
        by_own_time(self.begin, wall, now)
    }
}

/// What the head of a request says of whom is asked, wherever its parameters are.
#[derive(Debug)]
pub struct FollowHead {
    /// Where it came.
    pub endpoint: Endpoint,
    /// Whose channels it names.
    tenant: Tenant,
    /// Whom it says that it is from.
    claim: Claim,
    /// Whether it may name no channel, because a token may.
    may_name_none: bool,
    /// What `Last-Event-ID` says, where it says something.
    last_event_id: Option<Asked>,
    /// Whether a stream may come in chunks.
    takes_chunks: bool,
    /// As in [`FollowRequest`].
    pub origin: Option<Box<str>>,
    /// As in [`FollowRequest`].
    pub switch: Option<Switch>,
}

impl FollowHead {
    /// Reads a head.
    ///
    /// # Errors
    /// [`Violation::NotAcceptable`].
    pub(super) fn new(
        request: &Request<'_>,
        context: &Context,
        endpoint: Endpoint,
        asker: &Asker<'_>,
    ) -> Result<Self, Violation> {
        if endpoint == Endpoint::EventStream && !request.accepts(&accept::EVENT_STREAM) {
            return Err(Violation::NotAcceptable);
        }
        let last_event_id = match request.fields.one("last-event-id") {
            Ok(None | Some(b"")) => None,
            Ok(Some(text)) => Some(brought_back(text)),
            // Two of them are no position: which one is meant is not guessed.
            Err(_) => Some(Asked::Unreadable),
        };
        Ok(Self {
            endpoint,
            tenant: context.tenant.clone(),
            claim: asker.claim.clone(),
            may_name_none: context.authority.is_some(),
            last_event_id,
            takes_chunks: takes_chunks(request),
            origin: asker.reader.map(Into::into),
            switch: None,
        })
    }

    /// Puts both parts together.
    ///
    /// # Errors
    /// A parameter whose value is none of those that it may have.
    pub fn with(mut self, parameters: &Parameters<'_>) -> Result<FollowRequest, Violation> {
        if parameters.channels.is_empty() && !self.may_name_none {
            return Err(Violation::NoChannels);
        }
        let channel = |name: &_| ChannelName::new(self.tenant.clone(), name);
        let claim = std::mem::replace(&mut self.claim, Claim::Nobody);
        let mut ask = FollowRequest {
            endpoint: self.endpoint,
            channels: parameters.channels.iter().map(|name| channel(&**name)).collect(),
            claim: Claim::Nobody,
            is_raw_unasked: parameters.format.is_none(),
            begin: begin(self.last_event_id, parameters)?,
            encoding: self.encoding(parameters)?,
            wait_ms: wait_ms(parameters.wait.as_deref())?,
            max_bytes: parameters.max.as_deref().map(max_bytes).transpose()?,
            opening: match parameters.open.as_deref() {
                // It was told to those alone who asked for it, once.
                None | Some("1" | "origin") => WantedOpening::Plain,
                Some("0") => WantedOpening::None,
                Some(_) => return Err(Violation::BadOpen),
            },
            origin: self.origin,
            switch: self.switch,
            turned_away: None,
        };
        match claim {
            Claim::Known(bearer) => ask.say_who(bearer),
            claim => ask.claim = claim,
        }
        Ok(ask)
    }

    fn encoding(&self, parameters: &Parameters<'_>) -> Result<Encoding, Violation> {
        let json = match parameters.format.as_deref() {
            None => parameters.channels.len() != 1 || self.endpoint == Endpoint::Poll,
            Some("json") => true,
            Some("raw") if self.endpoint != Endpoint::Poll => false,
            Some(_) => return Err(Violation::BadFormat),
        };
        let named = match parameters.names.as_deref() {
            None | Some("event") => true,
            // Publishers' bytes have no place for a name, and without one it would be lost in
            // silence.
            Some("data") if !json => return Err(Violation::NamesNeedJson),
            Some("data") => false,
            Some(_) => return Err(Violation::BadNames),
        };
        let form = if json { plain::Form::Json } else { plain::Form::Raw };
        let framing = match self.endpoint {
            Endpoint::WebSocket => Framing::Ws,
            Endpoint::EventStream => Framing::Sse { chunked: self.takes_chunks, named },
            Endpoint::Poll => Framing::Poll,
        };
        let encoding = Encoding::of(Form::Plain(form), framing);
        Ok(encoding.expect("what cannot be carried was refused"))
    }
}

/// Whether a client knows chunks, as everyone has since HTTP/1.1.
pub(super) fn takes_chunks(request: &Request<'_>) -> bool {
    request.minor_version >= 1
}

/// What a client library brought back wins over `since` and `last`, because a browser that comes
/// back asks with the first URL again; and the header wins over the parameter of its name, because
/// whoever can set it does. What the page wrote must be right; what a library remembered need not
/// be.
fn begin(header: Option<Asked>, parameters: &Parameters<'_>) -> Result<Asked, Violation> {
    let asked = match (parameters.since.as_deref(), parameters.last.as_deref()) {
        (Some(_), Some(_)) => return Err(Violation::SinceAndLast),
        (None, None) => Asked::Now,
        (None, Some(text)) => Asked::Last(count(text).ok_or(Violation::BadLast)?),
        (Some(text), None) => Asked::parse(text).ok_or(Violation::BadSince)?,
    };
    let parameter = match &parameters.last_event_id {
        LastEventId::None => None,
        LastEventId::Some(text) => Some(brought_back(text.as_bytes())),
        LastEventId::Unreadable => Some(Asked::Unreadable),
    };
    Ok(header.or(parameter).unwrap_or(asked))
}

/// A whole number; more than there can be are all.
fn count(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

fn brought_back(text: &[u8]) -> Asked {
    match Id::parse(text) {
        Some(id) if text.len() <= LAST_EVENT_ID_BYTES_MAX => Asked::After(id),
        _ => Asked::Unreadable,
    }
}

/// Seconds, clamped; what is no such number is refused.
fn wait_ms(parameter: Option<&str>) -> Result<u64, Violation> {
    let Some(text) = parameter else { return Ok(WAIT_S * 1_000) };
    let number = text.parse::<f64>().ok().filter(|wait| wait.is_finite() && *wait >= 0.0);
    let seconds = number.ok_or(Violation::BadWait)?.min(POLL_WAIT_S_MAX as f64);
    Ok((seconds * 1_000.0) as u64)
}

/// A number of bytes; one that no message reaches is as good as any other such.
fn max_bytes(text: &str) -> Result<u32, Violation> {
    let digits = (1..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = if digits { text.parse::<u128>().unwrap_or(0) } else { 0 };
    if number == 0 { Err(Violation::BadMax) } else { Ok(u32::try_from(number).unwrap_or(u32::MAX)) }
}
