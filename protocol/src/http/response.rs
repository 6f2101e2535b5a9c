//! Writes answers into a buffer of the caller's, whole: a head, and what is small after it.
//!
//! Every answer but an interim one says its `Date` (RFC 9110, section 6.6.1). Nothing here reads a
//! clock, so the caller brings it: one text for all answers of a second.

use super::date::HttpDate;
use super::status::Status;
use super::violation::Violation;
use crate::id::write_decimal;

/// A field to be written: name and value, both ours or checked, without CR and LF.
pub type Field<'a> = (&'a str, &'a str);

/// What is asked of every cache, ours or not.
pub const NO_STORE: Field<'static> = ("Cache-Control", "no-store");

/// Said with whatever a browser may show as a page: a link in it tells nobody the address at which
/// it stands, in which a token or a ticket may be (THREATS H30).
pub const NO_REFERRER: Field<'static> = ("Referrer-Policy", "no-referrer");

/// What is asked of everyone between us and the reader of a stream: `no-transform` keeps a proxy
/// from compressing it, which in practice means holding every message until a block is full.
const NO_STORE_NO_TRANSFORM: Field<'static> = ("Cache-Control", "no-store, no-transform");

/// Whether another request may follow on the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It may. Said aloud, because an HTTP/1.0 client assumes the contrary.
    KeepAlive,
    /// It may not: the socket is closed after the answer.
    Close,
}

impl Ending {
    fn field(self) -> Field<'static> {
        ("Connection", if self == Self::Close { "close" } else { "keep-alive" })
    }
}

/// What a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // named after their types
pub enum ContentType {
    Json,
    Html,
    Text,
    JavaScript,
    Css,
    Svg,
}

impl ContentType {
    /// The media type, with the charset where one belongs. JSON has none: it is UTF-8 by itself
    /// (RFC 8259, sections 8.1 and 11), and clients read it so without being told.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Html => "text/html; charset=utf-8",
            Self::Text => "text/plain; charset=utf-8",
            Self::JavaScript => "text/javascript; charset=utf-8",
            Self::Css => "text/css; charset=utf-8",
            Self::Svg => "image/svg+xml",
        }
    }
}

/// An answer whose length is known.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// Now.
    pub date: HttpDate,
    /// The status.
    pub status: Status,
    /// What the body is.
    pub content_type: ContentType,
    /// Whether another request may follow.
    pub ending: Ending,
    /// Fields beyond those that an answer always has.
    pub fields: &'a [Field<'a>],
    /// Whether the request was a HEAD: the same head, no body (RFC 9110, section 9.3.2).
    pub head_only: bool,
}

impl Answer<'_> {
    /// Appends the head of an answer with `body_bytes` of body; the caller appends these, unless
    /// [`Self::head_only`].
    pub fn write_head(&self, out: &mut Vec<u8>, body_bytes: usize) {
        self.write_head_saying(self.status.reason(), out, body_bytes);
    }

    fn write_head_saying(&self, reason: &str, out: &mut Vec<u8>, body_bytes: usize) {
        begin(out, self.status, reason);
        field(out, ("Date", self.date.as_str()));
        field(out, ("Content-Type", self.content_type.as_str()));
        out.extend_from_slice(b"Content-Length: ");
        write_decimal(body_bytes as u64, out);
        out.extend_from_slice(b"\r\n");
        field(out, ("X-Content-Type-Options", "nosniff"));
        self.fields.iter().for_each(|extra| field(out, *extra));
        field(out, self.ending.field());
        end(out);
    }

    /// Appends the whole answer.
    pub fn write(&self, out: &mut Vec<u8>, body: &[u8]) {
        self.write_head(out, body.len());
        if !self.head_only {
            out.extend_from_slice(body);
        }
    }
}

/// Appends the answer to a request that is refused: the fields that its status demands, `fields`,
/// and a small fixed body `{"error":code,"message":sentence}`. `ending` is raised to
/// [`Ending::Close`] where the violation leaves no choice; what was written is returned.
pub fn refusal(
    out: &mut Vec<u8>,
    date: HttpDate,
    violation: Violation,
    ending: Ending,
    fields: &[Field<'_>],
    head_only: bool,
) -> Ending {
    let ending = if violation.must_close() { Ending::Close } else { ending };
    let fields: Vec<Field<'_>> =
        violation.fields().iter().chain(&[NO_STORE, NO_REFERRER]).chain(fields).copied().collect();
    let body =
        format!("{{\"error\":\"{}\",\"message\":\"{}\"}}", violation.code(), violation.message());
    let status = violation.status();
    let content_type = ContentType::Json;
    let answer = Answer { date, status, content_type, ending, fields: &fields, head_only };
    answer.write_head_saying(violation.reason(), out, body.len());
    if !head_only {
        out.extend_from_slice(body.as_bytes());
    }
    ending
}

/// Appends the head of an event stream. Its body comes in chunks ([`super::chunk`]), which are made
/// when a message is rendered, so that the bytes on the wire are the bytes of the log; for a client
/// of HTTP/1.0 it ends with its connection (RFC 9112, section 6.3, rule 8). The charset is the only
/// one that there is, and has to be said all the same: many a client takes text without one for
/// Latin-1. `X-Accel-Buffering` asks nginx to pass messages on as they come.
pub fn event_stream(
    out: &mut Vec<u8>,
    date: HttpDate,
    chunked: bool,
    ending: Ending,
    fields: &[Field<'_>],
) {
    dated(out, Status::Ok, date);
    if chunked {
        field(out, ("Transfer-Encoding", "chunked"));
    }
    field(out, ("Content-Type", "text/event-stream; charset=utf-8"));
    field(out, NO_STORE_NO_TRANSFORM);
    field(out, ("X-Accel-Buffering", "no"));
    fields.iter().for_each(|extra| field(out, *extra));
    field(out, ending.field());
    end(out);
}

/// Appends the head that answers a HEAD whose GET would wait for its body: a length that is not
/// known may be left out (RFC 9110, section 8.6).
pub fn head_of_unknown_length(
    out: &mut Vec<u8>,
    date: HttpDate,
    content_type: ContentType,
    ending: Ending,
    fields: &[Field<'_>],
) {
    dated(out, Status::Ok, date);
    field(out, ("Content-Type", content_type.as_str()));
    fields.iter().chain([&NO_STORE]).for_each(|extra| field(out, *extra));
    field(out, ending.field());
    end(out);
}

/// Appends `100 Continue`: the client may send its body now. An interim answer needs no `Date`.
pub fn go_on(out: &mut Vec<u8>) {
    begin(out, Status::Continue, Status::Continue.reason());
    end(out);
}

/// Stands for every origin where the operator has allowed them all; no page has this one.
pub const ANY_ORIGIN: &str = "*";

/// The fields that let a page read an answer.
#[derive(Clone, Copy, Debug)]
pub struct Cors<'a> {
    fields: [Field<'a>; 3],
    count: usize,
}

impl<'a> std::ops::Deref for Cors<'a> {
    type Target = [Field<'a>];

    fn deref(&self) -> &[Field<'a>] {
        &self.fields[..self.count]
    }
}

/// The fields that let the page of an allowed `origin` read an answer. A page that the operator
/// named may send credentials: an `EventSource` with `withCredentials` reads nothing otherwise.
/// Where all are allowed ([`ANY_ORIGIN`]) nobody was named, and none may. `Vary` keeps a cache from
/// giving the answer to another page.
pub fn cors(origin: &str) -> Cors<'_> {
    let fields = [
        ("Access-Control-Allow-Origin", origin),
        ("Access-Control-Allow-Credentials", "true"),
        ("Vary", "Origin"),
    ];
    Cors { fields, count: if origin == ANY_ORIGIN { 1 } else { fields.len() } }
}

/// The fields of an answer that no cache keeps, and that a page of the origin `reader` may read.
pub fn unstored(reader: Option<&str>) -> Vec<Field<'_>> {
    let cors = reader.map(cors);
    let cors = cors.iter().flat_map(|cors| cors.iter().copied());
    [NO_STORE].into_iter().chain(cors).collect()
}

/// Which methods a path takes, beside OPTIONS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Methods {
    /// Something is read there.
    Read,
    /// Channels are followed there, by POST and QUERY too, whose body a page names by
    /// `Content-Type`.
    Follow,
    /// A client comes over many requests: what it is told is read, what it says is brought.
    Carry,
    /// Something is sent there.
    Send,
}

impl Methods {
    /// `Allow`, and what a page is told.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Read => ("GET, HEAD, OPTIONS", "GET, HEAD"),
            Self::Follow => ("GET, HEAD, POST, QUERY, OPTIONS", "GET, HEAD, POST, QUERY"),
            Self::Carry => ("GET, POST, OPTIONS", "GET, POST"),
            Self::Send => ("POST, OPTIONS", "POST"),
        }
    }
}

/// Appends the answer to OPTIONS: 204, and where an allowed `origin` asks, what a page may do
/// (Fetch, "CORS-preflight fetch"). An origin that is not allowed is refused before.
pub fn options(
    out: &mut Vec<u8>,
    date: HttpDate,
    origin: Option<&str>,
    methods: Methods,
    ending: Ending,
) {
    let (allowed, pages) = methods.names();
    dated(out, Status::NoContent, date);
    field(out, ("Allow", allowed));
    if let Some(origin) = origin {
        cors(origin).iter().for_each(|extra| field(out, *extra));
        field(out, ("Access-Control-Allow-Methods", pages));
        // By name, never "*": that does not stand for Authorization, and with credentials for
        // nothing at all (Fetch, "CORS-preflight fetch").
        const TAKEN: &str = "Authorization, Content-Type, Last-Event-ID, Cache-Control";
        field(out, ("Access-Control-Allow-Headers", TAKEN));
        field(out, ("Access-Control-Max-Age", "600"));
    }
    field(out, ending.field());
    end(out);
}

/// The status line and the date: how every final answer begins, and the 101.
pub(crate) fn dated(out: &mut Vec<u8>, status: Status, date: HttpDate) {
    begin(out, status, status.reason());
    field(out, ("Date", date.as_str()));
}

fn begin(out: &mut Vec<u8>, status: Status, reason: &str) {
    out.extend_from_slice(b"HTTP/1.1 ");
    write_decimal(u64::from(status.code()), out);
    out.push(b' ');
    out.extend_from_slice(reason.as_bytes());
    out.extend_from_slice(b"\r\n");
}

pub(crate) fn field(out: &mut Vec<u8>, (name, value): Field<'_>) {
    // Injection would be our bug: what comes from a request has passed the head reader.
    assert!(!value.bytes().any(|byte| matches!(byte, b'\r' | b'\n' | 0)), "{name} breaks its line");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}

pub(crate) fn end(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn now() -> HttpDate {
        HttpDate::from_unix_seconds(784_111_777)
    }

    /// Status, fields and body as another parser sees them.
    fn parsed(bytes: &[u8]) -> (u16, Vec<(String, String)>, Vec<u8>) {
        let mut lines = [httparse::EMPTY_HEADER; 32];
        let mut response = httparse::Response::new(&mut lines);
        let httparse::Status::Complete(end) = response.parse(bytes).unwrap() else {
            panic!("the head has no end");
        };
        let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
        let fields = response.headers.iter().map(|h| (h.name.to_string(), text(h.value)));
        (response.code.unwrap(), fields.collect(), bytes[end..].to_vec())
    }

    fn value<'a>(fields: &'a [(String, String)], name: &str) -> Option<&'a str> {
        let mut values = fields.iter().filter(|(n, _)| n == name).map(|(_, value)| value.as_str());
        let first = values.next();
        assert_eq!(values.next(), None, "{name} twice");
        first
    }

    #[test]
    fn every_refusal_is_small_fixed_json() {
        for violation in Violation::ALL {
            let mut out = Vec::new();
            let extra = [("X-Extra", "1")];
            let ending = refusal(&mut out, now(), *violation, Ending::KeepAlive, &extra, false);
            let (code, fields, body) = parsed(&out);
            assert_eq!(code, violation.status().code());
            let reason = format!("HTTP/1.1 {code} {}\r\n", violation.reason());
            assert!(out.starts_with(reason.as_bytes()) && violation.reason().len() < 80);
            assert_eq!(value(&fields, "Content-Length"), Some(body.len().to_string().as_str()));
            assert_eq!(value(&fields, "X-Extra"), Some("1"));
            assert_eq!(value(&fields, "Date"), Some(NOW));
            let connection = if violation.must_close() { "close" } else { "keep-alive" };
            assert_eq!(value(&fields, "Connection"), Some(connection));
            assert_eq!(ending == Ending::Close, violation.must_close());
            for (name, expected) in violation.fields() {
                assert_eq!(value(&fields, name), Some(*expected));
            }
            let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(json["error"], violation.code());
            assert_eq!(json["message"], violation.message());
            assert_eq!(value(&fields, "Referrer-Policy"), Some("no-referrer"));
            assert!(out.len() < 600, "{violation:?} takes {} bytes", out.len());
        }
    }

    #[test]
    fn a_head_request_gets_the_same_head_alone() {
        let (mut whole, mut head) = (Vec::new(), Vec::new());
        refusal(&mut whole, now(), Violation::NotFound, Ending::KeepAlive, &[], false);
        refusal(&mut head, now(), Violation::NotFound, Ending::KeepAlive, &[], true);
        assert!(whole.starts_with(&head) && head.ends_with(b"\r\n\r\n"));
    }

    #[test]
    fn an_event_stream_is_ended_by_its_connection() {
        let mut out = Vec::new();
        event_stream(&mut out, now(), false, Ending::Close, &cors("https://a.example"));
        let (code, fields, body) = parsed(&out);
        assert_eq!((code, body.as_slice()), (200, &b""[..]));
        assert_eq!(value(&fields, "Content-Type"), Some("text/event-stream; charset=utf-8"));
        assert_eq!(value(&fields, "Cache-Control"), Some("no-store, no-transform"));
        assert_eq!(value(&fields, "X-Accel-Buffering"), Some("no"));
        assert_eq!(value(&fields, "Connection"), Some("close"));
        assert_eq!(value(&fields, "Content-Length"), None);
        assert_eq!(value(&fields, "Transfer-Encoding"), None);
        assert_eq!(value(&fields, "Access-Control-Allow-Origin"), Some("https://a.example"));
        assert_eq!(value(&fields, "Access-Control-Allow-Credentials"), Some("true"));
        assert_eq!(value(&fields, "Vary"), Some("Origin"));
    }

    /// Fetch, "CORS check": with `*` a browser gives no answer to a request with credentials, and
    /// an echoed origin with credentials would be every site's leave to read as its visitors.
    #[test]
    fn no_credentials_where_every_origin_may_read() {
        let mut out = Vec::new();
        event_stream(&mut out, now(), false, Ending::Close, &cors(ANY_ORIGIN));
        options(&mut out, now(), Some(ANY_ORIGIN), Methods::Read, Ending::Close);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.matches("\r\nAccess-Control-Allow-Origin: *\r\n").count(), 2);
        assert!(!text.contains("Credentials") && !text.contains("Vary"), "{text}");
    }

    #[test]
    fn preflight() {
        let mut out = Vec::new();
        options(&mut out, now(), Some("http://a"), Methods::Follow, Ending::KeepAlive);
        let (code, fields, body) = parsed(&out);
        assert_eq!((code, body.as_slice()), (204, &b""[..]));
        assert_eq!(value(&fields, "Access-Control-Allow-Origin"), Some("http://a"));
        assert_eq!(value(&fields, "Access-Control-Allow-Credentials"), Some("true"));
        assert_eq!(value(&fields, "Vary"), Some("Origin"));
        let methods = Some("GET, HEAD, POST, QUERY");
        assert_eq!(value(&fields, "Access-Control-Allow-Methods"), methods);
        assert_eq!(value(&fields, "Allow"), Some("GET, HEAD, POST, QUERY, OPTIONS"));
        let headers = value(&fields, "Access-Control-Allow-Headers").unwrap();
        for needed in ["Authorization", "Content-Type", "Last-Event-ID"] {
            assert!(headers.split(", ").any(|header| header == needed), "{headers}");
        }
        assert_eq!(value(&fields, "Content-Length"), None, "RFC 9110, section 8.6");
        out.clear();
        options(&mut out, now(), None, Methods::Read, Ending::Close);
        assert_eq!(value(&parsed(&out).1, "Access-Control-Allow-Origin"), None);
    }

    #[test]
    fn a_page() {
        let mut out = Vec::new();
        let (status, content_type) = (Status::Ok, ContentType::Html);
        let (date, ending, fields) = (now(), Ending::KeepAlive, &[NO_STORE]);
        Answer { date, status, content_type, ending, fields, head_only: false }
            .write(&mut out, b"<p>");
        let (code, fields, body) = parsed(&out);
        assert_eq!((code, body.as_slice()), (200, &b"<p>"[..]));
        assert_eq!(value(&fields, "Content-Length"), Some("3"));
        assert_eq!(value(&fields, "Content-Type"), Some("text/html; charset=utf-8"));
        assert_eq!(value(&fields, "Connection"), Some("keep-alive"));
    }

    #[test]
    fn go_on_has_no_fields() {
        let mut out = Vec::new();
        go_on(&mut out);
        assert_eq!(out, b"HTTP/1.1 100 Continue\r\n\r\n");
    }

    #[test]
    #[should_panic(expected = "breaks its line")]
    fn a_field_cannot_break_its_line() {
        event_stream(
            &mut Vec::new(),
            now(),
            true,
            Ending::Close,
            &cors("http://a\r\nSet-Cookie: x"),
        );
    }
}
