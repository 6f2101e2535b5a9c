//! `/v1/connections/{id}`, `/v1/users/{user}`, `POST /v1/disconnect` and `/v1/unsubscribe`: what
//! connections there are, and what a backend does to them. Each is done within one tenant.

use std::borrow::Cow;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use fanfare_identity::Pattern;
use serde::Deserialize;

use super::answer::{Fault, json};
use super::api::Api;
use super::caller::Caller;
use super::described::{DescribedBody, DisconnectedBody, SentBody, UnsubscribedBody, UserBody};
use super::json_object;
use super::publish::{kind_of, says_json};
use super::stated_reason::StatedReason;
use super::target::{self, connection_id, user};
use crate::clock;
use crate::inquiry::Whom;
use crate::inquiry::{Act, DIRECT_BYTES_MAX, DirectMessage, DirectRefusal, Dismissal, Findings};
use crate::origin::Origin;

/// Most bytes of a body that says whom and why.
const BODY_BYTES_MAX: usize = 8 << 10;
/// The reason that clients hear where the backend says none.
const UNSAID_DISCONNECT: &str = "disconnected by the application";
const UNSAID_UNSUBSCRIBE: &str = "unsubscribed by the application";

/// One connection.
pub(super) async fn connection(
    State(api): State<Arc<Api>>,
    caller: Caller,
    uri: Uri,
) -> Result<Response, Fault> {
    let (tenant, id) = (caller.tenant, connection_id(&uri)?);
    let whom = api.whom(id)?;
    let found = api.inquire(tenant, whom, Act::Describe).await?;
    let described = found.described.first().ok_or_else(gone)?;
    Ok(json(StatusCode::OK, &DescribedBody::of(described, clock::unix_seconds())))
}

/// Closes one connection.
pub(super) async fn close_connection(
    State(api): State<Arc<Api>>,
    caller: Caller,
    request: Request,
) -> Result<Response, Fault> {
    let (head, body) = request.into_parts();
    let (tenant, id) = (caller.tenant, connection_id(&head.uri)?);
    let why = api.why(&head, body).await?;
    let found = api.inquire(tenant, api.whom(id)?, Act::Disconnect(why)).await?;
    match found.connections {
        0 => Err(gone()),
        _ => Ok(disconnected(&found)),
    }
}

/// Sends the body to one connection alone.
pub(super) async fn send(
    State(api): State<Arc<Api>>,
    caller: Caller,
    request: Request,
) -> Result<Response, Fault> {
    let (head, body) = request.into_parts();
    let (tenant, id) = (caller.tenant, connection_id(&head.uri)?);
    target::spelled_right(&head.uri, &["event"])?;
    let event = target::event(target::parameter(&head.uri, "event")?)?;
    let mut taken = api.take(&head.headers, body, DIRECT_BYTES_MAX).await?;
    let (kind, data) = kind_of(&head.headers, std::mem::take(&mut taken.bytes));
    let longest = fanfare_protocol::dialect::longest_bytes("", event.as_deref(), kind, &data);
    if longest > DIRECT_BYTES_MAX {
        let message = format!(
            "the message takes {longest} bytes in one of the forms that clients may have, and one \
             for a single connection takes {DIRECT_BYTES_MAX} at most: publish longer ones"
        );
        return Err(Fault::too_large("message_too_large", message));
    }
    let message = DirectMessage { event, kind, data: data.into() };
    let found = api.inquire(tenant, api.whom(id)?, Act::Send(message)).await?;
    match (found.connections, found.not_taken) {
        (0, _) => Err(gone()),
        (_, Some(refusal)) => Err(not_taken(refusal)),
        (_, None) => Ok(json(StatusCode::OK, &SentBody { sent: true })),
    }
}

/// The connections of a user.
pub(super) async fn connections_of(
    State(api): State<Arc<Api>>,
    caller: Caller,
    uri: Uri,
) -> Result<Response, Fault> {
    let (tenant, user) = (caller.tenant, user(&uri)?);
    let found = api.inquire(tenant, Whom::User(user.clone()), Act::Describe).await?;
    Ok(json(StatusCode::OK, &UserBody::of(user.as_str(), &found, clock::unix_seconds())))
}

/// Closes the connections of a user.
pub(super) async fn close_user(
    State(api): State<Arc<Api>>,
    caller: Caller,
    request: Request,
) -> Result<Response, Fault> {
    let (head, body) = request.into_parts();
    let (tenant, user) = (caller.tenant, user(&head.uri)?);
    let why = api.why(&head, body).await?;
    let found = api.inquire(tenant, Whom::User(user), Act::Disconnect(why)).await?;
    Ok(disconnected(&found))
}

/// Closes the connections that a body names.
pub(super) async fn disconnect(
    State(api): State<Arc<Api>>,
    caller: Caller,
    request: Request,
) -> Result<Response, Fault> {
    let (head, body) = request.into_parts();
    let tenant = caller.tenant;
    let body = api.json_bytes(&head, body, BODY_BYTES_MAX).await?;
    let asked: Selection<'_> = json_object::read(&body, DISCONNECT)?;
    let why = asked.why(UNSAID_DISCONNECT)?;
    let whom = match (asked.whom(&api)?, &asked.channel) {
        (Some(whom), None) => whom,
        (None, Some(channel)) => Whom::Following(pattern(channel)?),
        _ => return Err(one_selector(DISCONNECT)),
    };
    Ok(disconnected(&api.inquire(tenant, whom, Act::Disconnect(why)).await?))
}

/// Ends subscriptions of the connections that a body names, or of all, to the channels that it
/// names.
pub(super) async fn unsubscribe(
    State(api): State<Arc<Api>>,
    caller: Caller,
    request: Request,
) -> Result<Response, Fault> {
    let (head, body) = request.into_parts();
    let tenant = caller.tenant;
    let body = api.json_bytes(&head, body, BODY_BYTES_MAX).await?;
    let asked: Selection<'_> = json_object::read(&body, UNSUBSCRIBE)?;
    let why = asked.why(UNSAID_UNSUBSCRIBE)?;
    let whom = asked.whom(&api)?.unwrap_or(Whom::Everyone);
    let channels = pattern(asked.channel.as_deref().ok_or_else(|| one_selector(UNSUBSCRIBE))?)?;
    let found = api.inquire(tenant, whom, Act::Unsubscribe(channels, why)).await?;
    let Findings { connections, subscriptions, .. } = found;
    Ok(json(StatusCode::OK, &UnsubscribedBody { connections, subscriptions }))
}

const DISCONNECT: &str = "send {\"connection\"|\"user\"|\"channel\"|\"all\":true,\"code\"?,\
                          \"reason\"?}, with one of the four";
const UNSUBSCRIBE: &str = "send {\"channel\",\"connection\"?|\"user\"?|\"all\"?,\"code\"?,\
                           \"reason\"?}, with one of the three at most";

/// Whom a body names, and why.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Selection<'a> {
    #[serde(borrow, default)]
    connection: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    user: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    channel: Option<Cow<'a, str>>,
    #[serde(default)]
    all: bool,
    code: Option<u64>,
    #[serde(borrow, default)]
    reason: Option<Cow<'a, str>>,
}

impl Selection<'_> {
    fn why(&self, unsaid: &str) -> Result<Dismissal, Fault> {
        StatedReason { code: self.code, reason: self.reason.as_deref().map(Cow::Borrowed) }
            .judged(unsaid)
    }

    /// Whom it names, without the channel.
    fn whom(&self, api: &Api) -> Result<Option<Whom>, Fault> {
        match (&self.connection, &self.user, self.all) {
            (None, None, false) => Ok(None),
            (Some(id), None, false) => {
                let id = Origin::parse(id).ok_or_else(target::bad_connection)?;
                api.whom(id).map(Some)
            }
            (None, Some(name), false) => target::user_name(name).map(Whom::User).map(Some),
            (None, None, true) => Ok(Some(Whom::Everyone)),
            _ => Err(Fault::unprocessable(
                "bad_selection",
                "\"connection\", \"user\" and \"all\" say whom, and only one of them may stand",
            )),
        }
    }
}

impl Api {
    /// The connection of this id, as a shard knows it.
    fn whom(&self, id: Origin) -> Result<Whom, Fault> {
        id.named(self.config.origins_key).map(Whom::Connection).ok_or_else(gone)
    }

    /// Why something is deleted: as the query says, or a body.
    async fn why(&self, head: &Parts, body: axum::body::Body) -> Result<Dismissal, Fault> {
        let queried = StatedReason::of_query(&head.uri)?;
        if target::is_bodiless(&head.headers) {
            return queried.judged(UNSAID_DISCONNECT);
        }
        let taken = self.take(&head.headers, body, BODY_BYTES_MAX).await?;
        if !queried.is_empty() {
            return Err(Fault::bad_request(
                "bad_parameter",
                "code and reason stand in the query or in the body, and here are both",
            ));
        }
        let why: StatedReason<'_> =
            json_object::read(&taken.bytes, "send {\"code\"?,\"reason\"?}")?;
        why.judged(UNSAID_DISCONNECT)
    }

    /// The body of a request that says whom. A page of a browser cannot send it unasked.
    pub(super) async fn json_bytes(
        &self,
        head: &Parts,
        body: axum::body::Body,
        most: usize,
    ) -> Result<Vec<u8>, Fault> {
        if !says_json(&head.headers) {
            return Err(Fault::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "not_json",
                "this path takes JSON: send \"Content-Type: application/json\" (curl --json does)",
            )
            .closing());
        }
        Ok(self.take(&head.headers, body, most).await?.bytes)
    }
}

fn pattern(text: &str) -> Result<Pattern, Fault> {
    Pattern::parse(text).map_err(|_| {
        Fault::unprocessable(
            "bad_channel",
            "\"channel\" is a channel's name or a pattern of names: segments between colons, \"*\" \
             for one segment, \"**\" at the end for any rest",
        )
    })
}

fn one_selector(how: &'static str) -> Fault {
    Fault::unprocessable("bad_selection", format!("the body does not say whom: {how}"))
}

fn gone() -> Fault {
    Fault::new(
        StatusCode::NOT_FOUND,
        "no_connection",
        "no connection has this id: it is gone, or on another node; a client that comes back has \
         another one",
    )
}

fn not_taken(refusal: DirectRefusal) -> Fault {
    match refusal {
        DirectRefusal::NoStream => Fault::new(
            StatusCode::CONFLICT,
            "no_stream",
            "the connection is no open stream: a poll takes what is published and nothing else",
        ),
        DirectRefusal::TooLong => Fault::new(
            StatusCode::CONFLICT,
            "too_long_for_it",
            "the client takes no message that is so long: its \"max\" says how long they may be",
        ),
        DirectRefusal::Full => Fault::unavailable(
            "connection_full",
            "the client has not taken yet what waits for it alone, or there is no memory for more: \
             try again in a second",
            1,
        ),
    }
}

fn disconnected(found: &Findings) -> Response {
    json(StatusCode::OK, &DisconnectedBody { disconnected: found.connections })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_of_a_selection_says_what_to_send() {
        let read = |text: &str| {
            json_object::read::<Selection<'_>>(text.as_bytes(), DISCONNECT).map(|_| ())
        };
        assert!(read(r#"{"user":"ada","code":4403,"reason":"x"}"#).is_ok());
        for text in ["", "[]", "{", r#"{"users":"ada"}"#, r#"{"all":"yes"}"#, r#"{"code":"4"}"#] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
