//! The request target: the channel in the path and the parameters, decoded once and then judged.

use std::borrow::Cow;

use axum::http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use axum::http::{HeaderMap, HeaderValue, Uri};
use fanfare_identity::User;
use fanfare_protocol::http::percent::{Plus, decode};
use fanfare_protocol::http::{Query, spelling};
use fanfare_protocol::names::{is_channel_name, is_event_name};
use fanfare_protocol::refusals;

use super::answer::Fault;
use crate::channel::{ChannelName, Tenant};
use crate::origin::Origin;

/// What every path that names a channel begins with.
pub(super) const CHANNELS: &str = "/v1/channels/";
const CONNECTIONS: &str = "/v1/connections/";
const USERS: &str = "/v1/users/";

/// Most bytes of a user's name.
const USER_BYTES_MAX: usize = 255;

/// What an undecodable value is taken for: a control character, which no parameter allows.
const UNREADABLE: &str = "\0";

/// The channel that the path names.
pub(super) fn channel(uri: &Uri, tenant: &Tenant) -> Result<ChannelName, Fault> {
    let segment = segment(uri, CHANNELS);
    let name =
        decode(segment, Plus::Literal).filter(|name| is_channel_name(name)).ok_or_else(|| {
            Fault::bad_request(
                "bad_channel",
                format!("the path names no channel: {}, percent-encoded", refusals::BAD_CHANNEL),
            )
        })?;
    Ok(ChannelName::new(tenant.clone(), &name))
}

/// The connection that the path names.
pub(super) fn connection_id(uri: &Uri) -> Result<Origin, Fault> {
    Origin::parse(segment(uri, CONNECTIONS)).ok_or_else(bad_connection)
}

/// What is no connection's id.
pub(super) fn bad_connection() -> Fault {
    Fault::bad_request(
        "bad_connection",
        "a connection's id is sixteen hexadecimal digits: the \"origin\" of its fanfare.open",
    )
}

/// The user that the path names.
pub(super) fn user(uri: &Uri) -> Result<User, Fault> {
    let name = decode(segment(uri, USERS), Plus::Literal);
    user_name(&name.unwrap_or(Cow::Borrowed(UNREADABLE)))
}

/// A user of this name: as the `sub` of a token may be.
pub(super) fn user_name(name: &str) -> Result<User, Fault> {
    if (1..=USER_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control) {
        return Ok(User::new(name));
    }
    let message = format!(
        "a user is 1 to {USER_BYTES_MAX} bytes of UTF-8 without control characters, in a path \
         percent-encoded"
    );
    Err(Fault::bad_request("bad_user", message))
}

/// The segment of a path that comes after `before`.
fn segment<'a>(uri: &'a Uri, before: &str) -> &'a str {
    let rest = uri.path().strip_prefix(before).unwrap_or_default();
    rest.split('/').next().unwrap_or_default()
}

/// Whether a request has no body.
pub(super) fn is_bodiless(fields: &HeaderMap) -> bool {
    let declared = fields.get(CONTENT_LENGTH).map(HeaderValue::as_bytes);
    !fields.contains_key(TRANSFER_ENCODING) && declared.is_none_or(|length| length == b"0")
}

/// The one value of a parameter, not decoded; `None` where it was not given.
fn raw<'a>(uri: &'a Uri, name: &str) -> Result<Option<&'a str>, Fault> {
    Query::new(uri.query().unwrap_or_default()).raw(name).map_err(|_| {
        let message = format!("\"{name}\" is given more than once: give it once");
        Fault::bad_request("bad_parameter", message)
    })
}

/// The one value of a parameter as text; what cannot be decoded is no value that anyone expects.
pub(super) fn parameter<'a>(uri: &'a Uri, name: &str) -> Result<Option<Cow<'a, str>>, Fault> {
    let value = raw(uri, name)?;
    Ok(value.map(|value| decode(value, Plus::Space).unwrap_or(Cow::Borrowed(UNREADABLE))))
}

/// Refuses a parameter that is nearly one of those that a path knows. Otherwise a message whose
/// publisher mistyped `event` would be published without one.
pub(super) fn spelled_right(uri: &Uri, known: &[&str]) -> Result<(), Fault> {
    let keys = Query::new(uri.query().unwrap_or_default()).keys();
    for key in keys.filter(|key| !known.contains(&&**key)) {
        if let Some(right) = spelling::meant(&key, known) {
            let message = format!("a parameter is nearly one of ours: it is written {right}");
            return Err(Fault::bad_request("misspelled_parameter", message));
        }
    }
    Ok(())
}

/// Refuses the `last` of those who follow: whoever gave it to the history would get other messages
/// than the newest.
pub(super) fn no_last(uri: &Uri) -> Result<(), Fault> {
    let mut keys = Query::new(uri.query().unwrap_or_default()).keys();
    if keys.any(|key| key == "last") {
        let message = "\"last\" is of /ws, /sse and /poll: here it is \"limit\", the most messages \
                       of an answer, oldest first";
        return Err(Fault::bad_request("misspelled_parameter", message));
    }
    Ok(())
}

/// An event name that may be published.
pub(super) fn event(name: Option<Cow<'_, str>>) -> Result<Option<Box<str>>, Fault> {
    match name {
        None => Ok(None),
        Some(name) if is_event_name(&name) => Ok(Some(name.into())),
        Some(_) => Err(Fault::unprocessable("bad_event", refusals::BAD_EVENT)),
    }
}

/// Whether a message is ephemeral: only for those who follow its channel now.
pub(super) fn ephemeral(value: Option<Cow<'_, str>>) -> Result<bool, Fault> {
    match value.as_deref() {
        None | Some("0") => Ok(false),
        Some("1") => Ok(true),
        Some(_) => {
            let message = "ephemeral is 1, for a message that nothing keeps, or 0";
            Err(Fault::bad_request("bad_ephemeral", message))
        }
    }
}

/// The connection that does not get a message.
pub(super) fn except(value: Option<Cow<'_, str>>) -> Result<Option<Origin>, Fault> {
    let Some(text) = value else { return Ok(None) };
    Origin::parse(&text).map(Some).ok_or_else(|| {
        Fault::unprocessable("bad_except", format!("\"except\": {}", refusals::BAD_EXCEPT))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_of_paths() {
        let tenant = Tenant::new("t");
        let channel =
            |path: &str| channel(&path.parse().unwrap(), &tenant).ok().map(|c| c.name.to_string());
        assert_eq!(channel("/v1/channels/room:1"), Some("room:1".into()));
        assert_eq!(channel("/v1/channels/a%2Fb/history?limit=1"), Some("a/b".into()));
        assert_eq!(channel("/v1/channels/.."), Some("..".into()));
        assert_eq!(channel("/v1/channels/a%00"), None);
        assert_eq!(channel("/v1/channels/a%0d%0ab"), None);
        assert_eq!(channel("/v1/channels/*"), None);
        assert_eq!(channel(&format!("/v1/channels/{}", "x".repeat(256))), None);
    }

    #[test]
    fn parameters_of_queries() {
        let uri: Uri = "/x?event=a+b&since=&event2=c&two=1&two=2&bad=%f".parse().unwrap();
        assert_eq!(parameter(&uri, "event").unwrap().as_deref(), Some("a b"));
        assert_eq!(parameter(&uri, "since").unwrap().as_deref(), Some(""));
        assert_eq!(parameter(&uri, "limit").unwrap(), None);
        assert!(parameter(&uri, "two").is_err());
        assert_eq!(parameter(&uri, "bad").unwrap().as_deref(), Some("\0"));
    }
}
