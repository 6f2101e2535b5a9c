//! `POST /v1/revocations`, `/v1/explain` and `/v1/tickets`: what backends do about tokens of their
//! tenant.

use std::borrow::Cow;
use std::sync::{Arc, PoisonError};

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use fanfare_identity::{
    Identity, Revocation, Revoke, Right, TICKET_LIFE_MS, TICKET_RANDOM_BYTES, Ticket, User,
};
use serde::{Deserialize, Serialize};

use super::answer::{Fault, json};
use super::api::Api;
use super::caller::Caller;
use super::json_object;
use super::target;
use crate::authority::{Authority, Denial, Identified, TICKET_CHANNELS_MAX};
use crate::channel::{ChannelName, Tenant};
use crate::clock;

/// Most bytes of a body: a token of the largest size, and names.
const BODY_BYTES_MAX: usize = 16 << 10;

/// Bytes of a `jti`.
const NAME_BYTES_MAX: usize = 255;
/// By how much the clocks of whoever makes tokens may be ahead of ours.
const AHEAD_S_MAX: u64 = 60;

/// By whom clients are judged, for the API.
#[derive(Clone)]
pub struct Judge {
    /// The authority, as it is now.
    pub authority: Arc<dyn Fn() -> Option<Arc<Authority>> + Send + Sync>,
    /// Has everybody who is here asked again.
    pub ask_again: Arc<dyn Fn() + Send + Sync>,
}

const REVOKE: &str = "send {\"token_id\"|\"user\"|\"all\":true,\"issued_before\"?,\"until\"?}, \
                      with one of the three; times are seconds since 1970";
const EXPLAIN: &str = "send {\"token\"?,\"channel\",\"action\"?}; an action is subscribe, publish, \
                       presence or history";
const TICKET: &str = "send {\"token\",\"channels\"?}";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RevokeBody<'a> {
    #[serde(borrow, default)]
    token_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    user: Option<Cow<'a, str>>,
    #[serde(default)]
    all: bool,
    issued_before: Option<u64>,
    until: Option<u64>,
}

#[derive(Serialize)]
struct RevokedBody {
    revoked: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExplainBody<'a> {
    #[serde(borrow, default)]
    token: Option<Cow<'a, str>>,
    #[serde(borrow)]
    channel: Cow<'a, str>,
    #[serde(borrow, default)]
    action: Option<Cow<'a, str>>,
}

#[derive(Serialize)]
struct ExplainedBody {
    allowed: bool,
    steps: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TicketBody<'a> {
    #[serde(borrow)]
    token: Cow<'a, str>,
    #[serde(default)]
    channels: Option<Vec<String>>,
}

#[derive(Serialize)]
struct IssuedBody {
    ticket: String,
    expires_in: u64,
}

/// Takes tokens back. Who is connected by one is gone within a second.
pub(super) async fn revoke(
    State(api): State<Arc<Api>>,
    caller: Caller,
    request: Request,
) -> Result<Response, Fault> {
    let (head, body) = request.into_parts();
    let (judge, authority) = api.token_judge()?;
    let body = api.json_bytes(&head, body, BODY_BYTES_MAX).await?;
    let asked: RevokeBody<'_> = json_object::read(&body, REVOKE)?;
    // All until now is all before the next second: times in tokens are whole seconds.
    let before_s = asked.issued_before.unwrap_or_else(|| clock::unix_seconds() + 1);
    judge_times(before_s, asked.until)?;
    let what = match (&asked.token_id, &asked.user, asked.all) {
        (Some(id), None, false) if asked.issued_before.is_none() => {
            if !(1..=NAME_BYTES_MAX).contains(&id.len()) {
                let message = "a token_id is a jti, which has 1 to 255 bytes";
                return Err(Fault::unprocessable("bad_token_id", message));
            }
            Revoke::Token((&**id).into())
        }
        (None, Some(name), false) => {
            Revoke::User(User::new(target::user_name(name)?.as_str()), before_s)
        }
        (None, None, true) => Revoke::IssuedBefore(before_s),
        _ => return Err(Fault::unprocessable("bad_fields", REVOKE)),
    };
    let until_s = asked.until.unwrap_or(u64::MAX);
    let revocation = Revocation { tenant: caller.tenant, what, until_s };
    {
        let mut all = authority.revocations.lock().unwrap_or_else(PoisonError::into_inner);
        all.expire(clock::unix_seconds());
        all.revoke(&revocation)
            .map_err(|full| Fault::unavailable("too_many_revocations", full.to_string(), 60))?;
    }
    (judge.ask_again)();
    Ok(json(StatusCode::OK, &RevokedBody { revoked: true }))
}

/// Times that somebody meant: one in milliseconds would lock out all who sign in from now on.
fn judge_times(issued_before_s: u64, until_s: Option<u64>) -> Result<(), Fault> {
    let now_s = clock::unix_seconds();
    if issued_before_s > now_s + AHEAD_S_MAX {
        let message = "issued_before lies ahead: it is in seconds since 1970, and by a minute from \
                       now at most";
        return Err(Fault::unprocessable("bad_time", message));
    }
    if until_s.is_some_and(|until_s| until_s <= now_s) {
        let message =
            "until is over, so that nothing would be revoked: it is in seconds since 1970";
        return Err(Fault::unprocessable("bad_time", message));
    }
    Ok(())
}

/// Says step by step whether a token, or none, gives a right to a channel.
pub(super) async fn explain(
    State(api): State<Arc<Api>>,
    caller: Caller,
    request: Request,
) -> Result<Response, Fault> {
    let (head, body) = request.into_parts();
    let (_, authority) = api.token_judge()?;
    let body = api.json_bytes(&head, body, BODY_BYTES_MAX).await?;
    let asked: ExplainBody<'_> = json_object::read(&body, EXPLAIN)?;
    let right = match asked.action.as_deref() {
        None => Right::Subscribe,
        Some(name) => {
            Right::parse(name).ok_or_else(|| Fault::unprocessable("bad_fields", EXPLAIN))?
        }
    };
    if !fanfare_protocol::names::is_channel_name(&asked.channel) {
        return Err(Fault::unprocessable("bad_channel", fanfare_protocol::refusals::BAD_CHANNEL));
    }
    let channel = ChannelName::new(caller.tenant.clone(), &asked.channel);
    let explained = match whose(&authority, asked.token.as_deref(), &caller.tenant) {
        Ok(identity) => {
            let explained = authority.explain(&identity, right, &channel);
            ExplainedBody { allowed: explained.allowed, steps: explained.lines }
        }
        Err(denial) => {
            let word = denial.violation.code();
            ExplainedBody { allowed: false, steps: vec![format!("{word}: {denial}")] }
        }
    };
    Ok(json(StatusCode::OK, &explained))
}

/// Gives a ticket that stands in the place of a token, for whoever hands URLs to pages.
pub(super) async fn ticket(
    State(api): State<Arc<Api>>,
    caller: Caller,
    request: Request,
) -> Result<Response, Fault> {
    let (head, body) = request.into_parts();
    let (_, authority) = api.token_judge()?;
    let body = api.json_bytes(&head, body, BODY_BYTES_MAX).await?;
    let asked: TicketBody<'_> = json_object::read(&body, TICKET)?;
    let denied = |denial: Denial| {
        Fault::unprocessable(denial.violation.code(), format!("no ticket was made: {denial}"))
    };
    let identity = whose(&authority, Some(&asked.token), &caller.tenant).map_err(denied)?;
    let names = asked.channels.as_deref().unwrap_or_default();
    if names.len() > TICKET_CHANNELS_MAX {
        let message = "a ticket is for 32 channels at most; without \"channels\" it is for all";
        return Err(Fault::unprocessable("too_many_channels", message));
    }
    if asked.channels.as_ref().is_some_and(Vec::is_empty)
        || !names.iter().all(|name| fanfare_protocol::names::is_channel_name(name))
    {
        return Err(Fault::unprocessable("bad_channel", fanfare_protocol::refusals::BAD_CHANNEL));
    }
    for name in names {
        let channel = ChannelName::new(caller.tenant.clone(), name);
        authority.check(Some(&identity), Right::Subscribe, &channel).map_err(denied)?;
    }
    let channels = asked.channels.is_some();
    let channels = channels.then(|| names.iter().map(|name| name.as_str().into()).collect());
    let mut random = [0; TICKET_RANDOM_BYTES];
    getrandom::fill(&mut random)
        .map_err(|_| Fault::unavailable("busy", "the kernel gave no random number", 1))?;
    let ticket = Ticket { identity: Arc::new(identity), channels };
    let ticket = authority.issue(&random, ticket, clock::unix_millis()).map_err(denied)?;
    let expires_in = TICKET_LIFE_MS / 1_000;
    Ok(json(StatusCode::OK, &IssuedBody { ticket, expires_in }))
}

/// Of whom a token is, within a tenant. Of another tenant's nothing is told.
fn whose(authority: &Authority, token: Option<&str>, tenant: &Tenant) -> Result<Identity, Denial> {
    let Some(token) = token else { return Ok(Identity::anonymous(tenant.clone())) };
    match authority.identify_token(token.as_bytes(), clock::unix_millis())? {
        Identified::Known(bearer) if bearer.identity.tenant == *tenant => {
            Ok(Arc::unwrap_or_clone(bearer.identity))
        }
        Identified::Known(_) | Identified::Nobody => Err(Denial::of_another_tenant()),
        Identified::Pending(endpoint) => {
            authority.wanted.iter().for_each(|wanted| {
                wanted(endpoint);
            });
            Err(Denial::of_keys())
        }
    }
}

impl Api {
    fn token_judge(&self) -> Result<(Judge, Arc<Authority>), Fault> {
        let judge = self.changes.judge();
        let authority = judge.as_ref().and_then(|judge| (judge.authority)());
        judge.zip(authority).ok_or_else(|| {
            let message = "this node asks no client who it is, so there are no tokens: [auth] in \
                           the configuration begins that";
            Fault::new(StatusCode::CONFLICT, "no_auth", message).closing()
        })
    }
}
