//! One request, checked: everything that a route may rely on without another look.

use std::borrow::Cow;

use super::accept::{self, MediaType};
use super::fields::{Fields, elements};
use super::framing::Body;
use super::method::Method;
use super::query::Query;
use super::response::Ending;
use super::violation::Violation;
use super::{framing, host, target};
use crate::limits::{FIELDS_MAX, HttpLimits};

/// A request head. Borrows from the [`super::HeadReader`] that collected it.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The method.
    pub method: Method,
    /// The path, decoded once: no dot segment, no backslash, no control character. `*` for
    /// `OPTIONS *`.
    pub path: Cow<'a, str>,
    /// What follows the first `?`, as sent. It may hold a token: not for logs.
    pub raw_query: Option<&'a str>,
    /// 0 or 1, of HTTP/1.
    pub minor_version: u8,
    /// Host and port that the client means, valid in syntax, without an empty port; always there in
    /// HTTP/1.1.
    pub host: Option<&'a str>,
    /// All header fields.
    pub fields: Fields<'a>,
    /// What follows the head.
    pub body: Body,
    /// Whether another request may come on this connection: the client would send one (RFC 9112,
    /// section 9.3), and asks for no WebSocket, after which every byte that is no frame is dropped.
    pub keep_alive: bool,
    /// Whether the client waits for `100 Continue` before it sends its body.
    pub expects_continue: bool,
}

impl<'a> Request<'a> {
    /// Takes a whole head apart, whose bytes [`super::HeadReader`] has passed.
    pub(super) fn parse(head: &'a [u8], limits: &HttpLimits) -> Result<Self, Violation> {
        let mut lines = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut parsed = httparse::Request::new(&mut lines[..limits.fields.min(FIELDS_MAX)]);
        match parsed.parse(head) {
            Ok(httparse::Status::Complete(end)) if end == head.len() => {}
            Err(httparse::Error::TooManyHeaders) => return Err(Violation::TooManyFields),
            Err(httparse::Error::Version) => return Err(Violation::HttpVersion),
            Err(httparse::Error::HeaderName | httparse::Error::HeaderValue) => {
                return Err(Violation::FieldLine);
            }
            _ => return Err(Violation::RequestLine),
        }
        let (Some(word), Some(raw_target), Some(minor_version)) =
            (parsed.method, parsed.path, parsed.version)
        else {
            return Err(Violation::RequestLine);
        };
        let lines = parsed.headers.iter();
        let fields =
            Fields::from_lines(lines.map(|line| (line.name, super::fields::trim(line.value))));
        Self::check(Method::parse(word)?, raw_target, minor_version, fields)
    }

    fn check(
        method: Method,
        raw_target: &'a str,
        minor_version: u8,
        fields: Fields<'a>,
    ) -> Result<Self, Violation> {
        let target = target::parse(raw_target, method)?;
        let body = framing::body(&fields, minor_version)?;
        if !body.is_empty() && is_coded(&fields) {
            return Err(Violation::ContentCoding);
        }
        Ok(Self {
            method,
            path: target::decode_path(target.path)?,
            raw_query: target.query,
            minor_version,
            host: host_of(&fields, target.authority, minor_version)?,
            body,
            keep_alive: keep_alive(&fields, minor_version) && !asks_for_websocket(&fields),
            expects_continue: expects_continue(&fields, minor_version)?,
            fields,
        })
    }

    /// The query, to be read by key.
    pub fn query(&self) -> Query<'a> {
        Query::new(self.raw_query.unwrap_or_default())
    }

    /// The page that asks, when a browser says it: `null` or scheme, host and port, not compared
    /// with anything yet.
    ///
    /// # Errors
    /// [`Violation::TwoOrigins`] for more than one, in two fields or in one; [`Violation::Origin`]
    /// for one that is empty or not ASCII.
    pub fn origin(&self) -> Result<Option<&'a str>, Violation> {
        let Some(value) = self.fields.one("origin").map_err(|_| Violation::TwoOrigins)? else {
            return Ok(None);
        };
        if value.iter().any(|byte| matches!(byte, b' ' | b'\t' | b',')) {
            return Err(Violation::TwoOrigins);
        }
        match std::str::from_utf8(value) {
            Ok(text) if text.is_ascii() && !text.is_empty() => Ok(Some(text)),
            _ => Err(Violation::Origin),
        }
    }

    /// Passes a request that sends nothing after its head.
    ///
    /// # Errors
    /// [`Violation::UnexpectedBody`]: on a GET it would be read as another request by someone.
    pub fn without_body(&self) -> Result<(), Violation> {
        if self.body.is_empty() { Ok(()) } else { Err(Violation::UnexpectedBody) }
    }

    /// What an answer may say when the body, if there is one, has not been read: only after a
    /// request without a body is the place known where the next one begins.
    pub fn ending(&self) -> Ending {
        if self.keep_alive && self.body.is_empty() { Ending::KeepAlive } else { Ending::Close }
    }

    /// Whether `Accept` lets a media type pass (see [`super::accept`]).
    pub fn accepts(&self, media_type: &MediaType) -> bool {
        accept::accepts(&self.fields, media_type)
    }
}

/// Host must stand once in HTTP/1.1 and may in HTTP/1.0 (RFC 9112, section 3.2); an absolute target
/// must agree with it, because one of the two was believed by whoever passed the request on.
fn host_of<'a>(
    fields: &Fields<'a>,
    authority: Option<&'a str>,
    minor_version: u8,
) -> Result<Option<&'a str>, Violation> {
    let Some(value) = fields.one("host").map_err(|_| Violation::Host)? else {
        let authority = authority.map(host::without_empty_port);
        return if minor_version == 0 { Ok(authority) } else { Err(Violation::Host) };
    };
    let value = std::str::from_utf8(value).map_err(|_| Violation::Host)?;
    if !host::is_authority(value) {
        return Err(Violation::Host);
    }
    let value = host::without_empty_port(value);
    let agrees = |authority| host::without_empty_port(authority).eq_ignore_ascii_case(value);
    if authority.is_none_or(agrees) { Ok(Some(value)) } else { Err(Violation::Host) }
}

/// Whether the body is not what its bytes say (RFC 9110, section 8.4). `identity` is no coding, and
/// an empty element of a list is nothing.
fn is_coded(fields: &Fields<'_>) -> bool {
    let mut codings = fields.all("content-encoding").flat_map(elements);
    codings.any(|name| !name.is_empty() && !name.eq_ignore_ascii_case(b"identity"))
}

/// Whether a WebSocket is asked for, well or badly. A proxy on the way may take the connection for
/// a tunnel from here on, whatever it is answered, and its peer may send through it what the proxy
/// would never pass on as a request. So only frames may follow, after a 101 (THREATS H15).
fn asks_for_websocket(fields: &Fields<'_>) -> bool {
    fields.has_token("upgrade", "websocket")
}

fn keep_alive(fields: &Fields<'_>, minor_version: u8) -> bool {
    !fields.has_token("connection", "close")
        && (minor_version >= 1 || fields.has_token("connection", "keep-alive"))
}

/// RFC 9110, section 10.1.1: an expectation of an HTTP/1.0 client is ignored when it is this one.
fn expects_continue(fields: &Fields<'_>, minor_version: u8) -> Result<bool, Violation> {
    match fields.one("expect") {
        Ok(None) => Ok(false),
        Ok(Some(value)) if value.eq_ignore_ascii_case(b"100-continue") => Ok(minor_version >= 1),
        _ => Err(Violation::Expectation),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{HeadReader, Parameters};

    const LIMITS: HttpLimits = HttpLimits::DEFAULT;

    fn read(head: &str) -> HeadReader {
        let mut reader = HeadReader::new();
        reader.feed(head.as_bytes(), &LIMITS).unwrap();
        reader
    }

    #[test]
    fn a_request_in_its_parts() {
        let reader = read(
            "GET /s%73e?channels=a,b&since=x HTTP/1.1\r\nHost: a.example:7070\r\n\
             Last-Event-ID: \t 0-1 \r\nOrigin: https://b.example\r\nEmpty:\r\n\r\n",
        );
        let request = reader.request(&LIMITS).unwrap();
        assert_eq!((request.method, &*request.path), (Method::Get, "/sse"));
        assert_eq!(request.raw_query, Some("channels=a,b&since=x"));
        assert_eq!(Parameters::of(request.query(), 10).unwrap().channels, ["a", "b"]);
        assert_eq!(request.host, Some("a.example:7070"));
        assert_eq!(request.fields.get("last-event-id"), Some(&b"0-1"[..]));
        assert_eq!(request.fields.get("empty"), Some(&b""[..]));
        assert_eq!(request.origin(), Ok(Some("https://b.example")));
        assert_eq!((request.body, request.keep_alive), (Body::None, true));
        assert_eq!(request.without_body(), Ok(()));
        assert!(!request.expects_continue);
    }

    #[test]
    fn persistence() {
        let cases = [
            ("1.1", "", true),
            ("1.1", "Connection: close\r\n", false),
            ("1.1", "Connection: Upgrade, CLOSE\r\n", false),
            ("1.0", "", false),
            ("1.0", "Connection: Keep-Alive\r\n", true),
            ("1.0", "Connection: keep-alive, close\r\n", false),
        ];
        for (version, line, expected) in cases {
            let reader = read(&format!("GET / HTTP/{version}\r\nHost: a\r\n{line}\r\n"));
            assert_eq!(reader.request(&LIMITS).unwrap().keep_alive, expected, "{version} {line}");
        }
        let reader = read("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n");
        let request = reader.request(&LIMITS).unwrap();
        assert!(request.keep_alive && request.ending() == Ending::Close, "a body lies between");
    }

    #[test]
    fn no_request_follows_one_that_asks_for_a_websocket() {
        let cases = [
            ("Upgrade: websocket\r\nConnection: Upgrade\r\n", false),
            ("Upgrade: WebSocket\r\n", false), // a proxy that read it may have taken Connection
            ("Upgrade: foo/2, websocket\r\nConnection: keep-alive, Upgrade\r\n", false),
            ("Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n", true), // ignored
            ("Connection: Upgrade\r\n", true),
        ];
        for (lines, expected) in cases {
            let reader = read(&format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n"));
            let request = reader.request(&LIMITS).unwrap();
            assert_eq!(request.keep_alive, expected, "{lines}");
            assert_eq!(request.ending() == Ending::KeepAlive, expected, "{lines}");
        }
    }

    #[test]
    fn minor_versions_that_are_yet_to_come_are_read_as_1_1() {
        for (version, expected) in [("1.0", 0), ("1.1", 1), ("1.2", 1), ("1.9", 1)] {
            let reader = read(&format!("GET / HTTP/{version}\r\nHost: a\r\n\r\n"));
            let request = reader.request(&LIMITS).unwrap();
            assert_eq!(request.minor_version, expected, "{version}");
            assert_eq!(request.keep_alive, expected == 1, "{version}");
        }
    }

    #[test]
    fn an_empty_port_is_none() {
        for (line, host, expected) in [
            ("GET /", "a:", "a"),
            ("GET /", "[::1]:", "[::1]"),
            ("GET http://a/", "a:", "a"),
            ("GET http://a:/", "a", "a"),
        ] {
            let reader = read(&format!("{line} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
            assert_eq!(reader.request(&LIMITS).unwrap().host, Some(expected), "{line} at {host}");
        }
        let reader = read("GET http://a:/ HTTP/1.0\r\n\r\n");
        assert_eq!(reader.request(&LIMITS).unwrap().host, Some("a"));
    }

    #[test]
    fn origins() {
        let cases = [
            ("", Ok(None)),
            ("Origin: null\r\n", Ok(Some("null"))),
            ("Origin: http://a\r\nORIGIN: http://a\r\n", Err(Violation::TwoOrigins)),
            ("Origin: http://a http://b\r\n", Err(Violation::TwoOrigins)),
            ("Origin: http://a,http://b\r\n", Err(Violation::TwoOrigins)),
            ("Origin:\r\n", Err(Violation::Origin)),
            ("Origin: http://ä\r\n", Err(Violation::Origin)),
        ];
        for (line, expected) in cases {
            let reader = read(&format!("GET / HTTP/1.1\r\nHost: a\r\n{line}\r\n"));
            assert_eq!(reader.request(&LIMITS).unwrap().origin(), expected, "{line}");
        }
    }

    #[test]
    fn an_absolute_target_names_the_host_of_http_1_0() {
        let reader = read("GET http://a:1/x?y HTTP/1.0\r\n\r\n");
        let request = reader.request(&LIMITS).unwrap();
        assert_eq!((request.host, &*request.path), (Some("a:1"), "/x"));
        assert_eq!(request.raw_query, Some("y"));
    }
}
