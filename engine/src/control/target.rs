//! The request target: the channel in the path and the parameters, decoded once and then judged.

use std::borrow::Cow;

use axum::http::Uri;
use fanfare_protocol::names::{is_channel_name, is_event_name};

use super::answer::Fault;
use crate::channel::{ChannelName, Tenant};

/// What every path that names a channel begins with.
pub(super) const CHANNELS: &str = "/v1/channels/";

/// The channel that the path names.
pub(super) fn channel(uri: &Uri) -> Result<ChannelName, Fault> {
    let rest = uri.path().strip_prefix(CHANNELS).unwrap_or_default();
    let segment = rest.split('/').next().unwrap_or_default();
    let name = decode(segment, false).filter(|name| is_channel_name(name)).ok_or_else(|| {
        Fault::bad_request(
            "bad_channel",
            "the path names no channel: a name is 1 to 255 bytes of UTF-8 without control \
             characters and without \"*\", percent-encoded",
        )
    })?;
    Ok(ChannelName::new(Tenant::default(), &name))
}

/// The one value of a parameter, decoded; `None` where it was not given.
pub(super) fn parameter<'a>(uri: &'a Uri, name: &str) -> Result<Option<Cow<'a, str>>, Fault> {
    let pairs = uri.query().unwrap_or_default().split('&');
    let mut values = pairs.filter_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name).then_some(value)
    });
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        let message = format!("\"{name}\" is given more than once: give it once");
        return Err(Fault::bad_request("bad_parameter", message));
    }
    decode(value, true).map(Some).ok_or_else(|| {
        let message = format!("\"{name}\" is not percent-encoded UTF-8");
        Fault::bad_request("bad_parameter", message)
    })
}

/// An event name that may be published.
pub(super) fn event(name: Option<Cow<'_, str>>) -> Result<Option<Box<str>>, Fault> {
    match name {
        None => Ok(None),
        Some(name) if is_event_name(&name) => Ok(Some(name.into())),
        Some(_) => Err(Fault::unprocessable(
            "bad_event",
            "an event name is 1 to 255 bytes of UTF-8 without control characters, does not begin \
             or end with a space or \":\", and does not begin with \"fanfare.\"",
        )),
    }
}

/// Undoes percent-encoding, once; in a query `+` is a space, as forms and every language's URL
/// library write it. `None` for an escape that is none and for what is not UTF-8.
fn decode(text: &str, in_query: bool) -> Option<Cow<'_, str>> {
    if !text.bytes().any(|byte| byte == b'%' || (in_query && byte == b'+')) {
        return Some(Cow::Borrowed(text));
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let high = char::from(bytes.next()?).to_digit(16)?;
                let low = char::from(bytes.next()?).to_digit(16)?;
                (high << 4 | low) as u8
            }
            b'+' if in_query => b' ',
            other => other,
        });
    }
    String::from_utf8(out).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_undone_once() {
        let cases = [
            ("demo", Some("demo")),
            ("a%20b", Some("a b")),
            ("a%2Fb%2fc", Some("a/b/c")),
            ("%2541", Some("%41")),
            ("gr%C3%BC%C3%9Fe", Some("grüße")),
            ("a+b", Some("a+b")),
            ("%", None),
            ("%4", None),
            ("%zz", None),
            ("%+1", None),
            ("%C0%AF", None),
            ("%FF", None),
        ];
        for (text, expected) in cases {
            assert_eq!(decode(text, false).as_deref(), expected, "{text}");
        }
        assert_eq!(decode("a+b%2Bc", true).as_deref(), Some("a b+c"));
    }

    #[test]
    fn channels_of_paths() {
        let channel = |path: &str| channel(&path.parse().unwrap()).ok().map(|c| c.name.to_string());
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
        assert!(parameter(&uri, "bad").is_err());
    }
}
