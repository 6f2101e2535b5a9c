//! What heads ask for, decided without a socket.

use fanfare_protocol::http::{HeadReader, HttpDate};
use fanfare_protocol::id::{Epoch, Id};
use fanfare_protocol::limits::LAST_EVENT_ID_BYTES_MAX;

use super::*;
use crate::admission::origin::Origins;
use crate::channel::Tenant;
use crate::clock::{Millis, Wall};
use crate::limits::Limits;
use crate::sequencer::command::Since;
use crate::transport::door::Errand;

fn context() -> Context {
    Context { loopback: true, dev: true, ..Context::new(Limits::default(), Tenant::new("t")) }
}

/// The decision about `line` with `fields`, and what was written.
fn decided(line: &str, fields: &str) -> (Decision, String) {
    decided_in("HTTP/1.1", line, fields)
}

/// The same in a version of HTTP.
fn decided_in(version: &str, line: &str, fields: &str) -> (Decision, String) {
    decided_by((&context(), None), version, line, fields)
}

/// The same by a node like this, which may have a door.
fn decided_by(
    (context, door): (&Context, Option<&dyn Door>),
    version: &str,
    line: &str,
    fields: &str,
) -> (Decision, String) {
    let head = format!("{line} {version}\r\nHost: localhost\r\n{fields}\r\n");
    let mut reader = HeadReader::new();
    reader.feed(head.as_bytes(), &context.limits.http).unwrap();
    let mut out = Vec::new();
    let date = HttpDate::from_unix_seconds(0);
    let request = reader.request(&context.limits.http).unwrap();
    let now = Now { date, unix_ms: 0 };
    let decision = decide(&request, context, &NodeState::default(), door, now, &mut out);
    (decision, String::from_utf8(out).unwrap())
}

fn asked(line: &str, fields: &str) -> FollowRequest {
    match decided(line, fields) {
        (Decision::Follow(ask), out) if out.is_empty() => *ask,
        other => panic!("{line}: {other:?}"),
    }
}

/// The status and, of a refusal, its word.
fn told(line: &str, fields: &str) -> String {
    let (decision, out) = decided(line, fields);
    let status = out.get(9..12).unwrap_or("none");
    let word = out.split("{\"error\":\"").nth(1).and_then(|rest| rest.split('"').next());
    assert_eq!(matches!(decision, Decision::Refused(..)), word.is_some(), "{line}: {out}");
    word.map_or(status.to_owned(), |word| format!("{status} {word}"))
}

#[test]
fn routes() {
    for (line, expected) in [
        ("GET /", "200"),
        ("GET /healthz", "200"),
        ("GET /readyz", "200"),
        ("GET /nowhere", "404 not_found"),
        ("GET /sse/", "404 not_found"),
        ("POST /", "405 method_not_allowed"),
        ("PUT /sse?channels=a", "405 method_not_allowed"),
        ("QUERY /healthz", "405 method_not_allowed"),
        ("GET /playground/publish?channel=a", "405 method_not_allowed"),
        ("POST /playground/publish?channel=a", "400 empty_body"),
        ("GET /ws?channels=a", "426 upgrade_required"),
        ("GET /sse", "400 no_channels"),
        ("GET /poll?channels=", "400 empty_channel"),
        ("GET /poll?channels=a&format=raw", "400 bad_format"),
        ("GET /sse?channels=a&format=xml", "400 bad_format"),
        ("GET /sse?channels=a&since=0&since=0", "400 bad_parameter"),
        ("GET /sse?chanels=a", "400 misspelled_parameter"),
        ("GET /poll?channels=a&Since=00000001-7", "400 misspelled_parameter"),
        ("GET /sse?channels=a&names=data", "400 names_need_json"),
        ("GET /sse?channels=a,b&format=raw&names=data", "400 names_need_json"),
        ("GET /sse?channels=a&format=json&names=none", "400 bad_names"),
        ("POST /playground/publish?Channel=a", "400 empty_body"),
    ] {
        assert_eq!(told(line, ""), expected, "{line}");
    }
    let untyped = told("QUERY /sse?channels=a", "Content-Length: 1\r\n");
    assert_eq!(untyped, "415 unsupported_type");
    let json_only = told("GET /sse?channels=a", "Accept: application/json\r\n");
    assert_eq!(json_only, "406 not_acceptable");
    let stranger = told("GET /sse?channels=a", "Origin: https://evil.example\r\n");
    assert_eq!(stranger, "403 origin_not_allowed");
}

#[test]
fn methods_that_a_refusal_names_are_taken() {
    for path in ["/", "/healthz", "/readyz", "/sse?channels=a", "/poll?channels=a"] {
        let (_, refusal) = decided(&format!("PUT {path}"), "");
        let followed = path.contains('?');
        let methods =
            if followed { "GET, HEAD, POST, QUERY, OPTIONS" } else { "GET, HEAD, OPTIONS" };
        assert!(refusal.contains(&format!("\r\nAllow: {methods}\r\n")), "{path}: {refusal}");
        if followed {
            asked(&format!("POST {path}"), "");
            asked(&format!("QUERY {path}"), "");
        }
        assert_eq!(told(&format!("OPTIONS {path}"), ""), "204", "{path}");
        let (_, head) = decided(&format!("HEAD {path}"), "");
        assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{path}: {head}");
    }
}

/// A door to which each request under `/door` is wrong.
struct Shut;

impl Door for Shut {
    fn errand(&self, request: &Request<'_>) -> Option<Result<Errand, Violation>> {
        request.path.starts_with("/door").then_some(Err(Violation::SessionGone))
    }
}

/// What a page is told at the paths of a door is what it is told at ours.
#[test]
fn pages_are_answered_at_a_door_as_anywhere() {
    let origins = Origins::new(&["https://good.example".into()]).unwrap();
    let listed = Context { origins, ..context() };
    let origins = Origins::new(&["*".into()]).unwrap();
    let open = Context { origins, ..context() };
    let at = |context: &Context, line: &str, origin: &str| {
        let fields = format!("Origin: {origin}\r\n");
        decided_by((context, Some(&Shut)), "HTTP/1.1", line, &fields)
    };
    for (context, origin) in [
        (&listed, "https://good.example"),
        (&open, "https://good.example"),
        (&listed, "https://evil.example"),
        (&listed, "null"),
    ] {
        let (decision, ours) = at(context, "OPTIONS /sse", origin);
        let (_, door) = at(context, "OPTIONS /door/any", origin);
        let followed = ours.replace("GET, HEAD, POST, QUERY", "GET, POST");
        assert_eq!(door, followed, "{origin}");
        let (_, ours) = at(context, "PUT /sse", origin);
        let (refused, door) = at(context, "PUT /door", origin);
        let methods = ours
            .replace("GET, HEAD, POST, QUERY", "GET, POST")
            .replace("Content-Length: 94", "Content-Length: 81");
        assert_eq!(door, methods, "{origin}");
        assert!(matches!(refused, Decision::Refused(..)));
        let allowed = matches!(decision, Decision::Answered(Ending::KeepAlive));
        assert_eq!(allowed, origin == "https://good.example", "{ours}");
        for method in ["GET", "POST"] {
            let (decision, told) = at(context, &format!("{method} /door"), origin);
            let expected = if allowed { Violation::SessionGone } else { refusal(origin) };
            assert!(matches!(decision, Decision::Refused(why, _) if why == expected), "{told}");
            let readable = |answer: &str| answer.contains("\r\nAccess-Control-Allow-Origin: ");
            assert_eq!(readable(&told), readable(&ours), "{told}");
        }
    }
    let (_, unasked) = decided_by((&listed, Some(&Shut)), "HTTP/1.1", "OPTIONS /door", "");
    assert!(unasked.contains("\r\nAllow: GET, POST, OPTIONS\r\n"), "{unasked}");
    assert!(!unasked.contains("Access-Control"), "{unasked}");
    for method in ["HEAD", "QUERY", "DELETE"] {
        let line = format!("{method} /door");
        let (decision, _) = decided_by((&listed, Some(&Shut)), "HTTP/1.1", &line, "");
        assert!(matches!(decision, Decision::Refused(Violation::MethodNotCarry, _)), "{line}");
    }
    let (_, body) =
        decided_by((&listed, Some(&Shut)), "HTTP/1.1", "OPTIONS /door", "Content-Length: 1\r\n");
    assert!(body.contains("unexpected_body"), "{body}");
}

fn refusal(origin: &str) -> Violation {
    if origin == "null" { Violation::NullOrigin } else { Violation::Origin }
}

#[test]
fn a_body_that_nobody_reads_ends_the_connection() {
    let (kept, _) = decided("GET /nowhere", "");
    assert!(matches!(kept, Decision::Refused(_, Ending::KeepAlive)));
    let (ended, _) = decided("GET /nowhere", "Content-Length: 1\r\n");
    assert!(matches!(ended, Decision::Refused(_, Ending::Close)));
}

#[test]
fn a_client_of_http_1_0_gets_no_chunks() {
    for (target, encoding) in [
        ("/sse?channels=a", "plain-raw/sse"),
        ("/sse?channels=a,b", "plain-json/sse"),
        ("/poll?channels=a", "plain-json/poll"),
    ] {
        let (decision, _) = decided_in("HTTP/1.0", &format!("GET {target}"), "");
        let Decision::Follow(ask) = decision else { panic!("{target}: {decision:?}") };
        assert_eq!(ask.encoding.to_string(), encoding, "{target}");
    }
}

#[test]
fn one_channel_is_raw_and_several_are_json() {
    for (line, encoding) in [
        ("GET /sse?channels=a", "plain-raw/sse-chunked"),
        ("GET /sse?channels=a,a", "plain-raw/sse-chunked"),
        ("GET /sse?channels=a,b", "plain-json/sse-chunked"),
        ("GET /sse?channels=a&format=json", "plain-json/sse-chunked"),
        ("GET /sse?channels=a,b&format=raw", "plain-raw/sse-chunked"),
        ("GET /sse?channel=a,b", "plain-raw/sse-chunked"),
        ("GET /sse?channels=a%2Cb", "plain-json/sse-chunked"),
        ("GET /sse?channel=a&channel=b", "plain-json/sse-chunked"),
        ("GET /sse?channels=a,b&names=event", "plain-json/sse-chunked"),
        ("GET /sse?channels=a,b&names=data", "plain-json/sse-chunked-unnamed"),
        ("GET /sse?channels=a&format=json&names=data", "plain-json/sse-chunked-unnamed"),
        ("GET /poll?channels=a", "plain-json/poll"),
        ("GET /poll?channels=a&names=data", "plain-json/poll"),
    ] {
        assert_eq!(asked(line, "").encoding.to_string(), encoding, "{line}");
    }
}

#[test]
fn where_to_begin() {
    let id = |position| Since::After(Id { epoch: Epoch::from_random(1), position });
    let long = format!("Last-Event-ID: 00000001-{}\r\n", "1".repeat(LAST_EVENT_ID_BYTES_MAX));
    for (path, fields, expected) in [
        ("/sse?channels=a", "", Since::Now),
        ("/sse?channels=a&since=00000001-7", "", id(7)),
        ("/sse?channels=a&since=00000001-7", "Last-Event-ID: 00000001-9\r\n", id(9)),
        ("/sse?channels=a&since=00000001-7", "Last-Event-ID:\r\n", id(7)),
        ("/sse?channels=a", "Last-Event-ID: 9\r\n", Since::Unreadable),
        ("/sse?channels=a", &long, Since::Unreadable),
        (
            "/sse?channels=a",
            "Last-Event-ID: 00000001-9\r\nLast-Event-ID: 00000001-8\r\n",
            Since::Unreadable,
        ),
        ("/poll?channels=a", "Last-Event-ID: 00000001-9\r\n", id(9)),
        ("/poll?channels=a&lastEventId=00000001-9", "", id(9)),
        ("/sse?channels=a&lastEventId=00000001-9", "", id(9)),
        ("/sse?channels=a&Last-Event-ID=00000001-9&since=00000001-7", "", id(9)),
        ("/sse?channels=a&lastEventID=00000001-9", "Last-Event-ID: 00000001-11\r\n", id(11)),
        ("/sse?channels=a&last_event_id=00000001-9", "Last-Event-ID: 9\r\n", Since::Unreadable),
        ("/sse?channels=a&last_event_id=00000001-9", "Last-Event-ID:\r\n", id(9)),
        ("/sse?channels=a&lastEventId=&since=00000001-7", "", id(7)),
        ("/sse?channels=a&lastEventId=9&since=00000001-7", "", Since::Unreadable),
        ("/poll?channels=a&lastEventId=9", "", Since::Unreadable),
        ("/poll?channels=a&lastEventId=%ff", "", Since::Unreadable),
    ] {
        let asked = asked(&format!("GET {path}"), fields);
        assert_eq!(asked.since(WALL, NOW), expected, "{path} {fields}");
    }
    assert_eq!(told("GET /sse?channels=a&since=7", ""), "400 bad_since");
}

/// A minute after the node began, at one second and 500 ms of 1970.
const NOW: Millis = Millis(60_000);
const WALL: Wall = Wall::Since(1_700_000_000_500);

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

#[test]
fn where_newcomers_begin() {
    let time = |ms| Since::Time(Millis(ms));
    for (parameter, expected) in [
        ("since=earliest", Since::Earliest),
        ("last=0", Since::Last(0)),
        ("last=007", Since::Last(7)),
        ("last=99999999999999999999", Since::Last(u64::MAX)),
        ("since=10s", time(50_000)),
        ("since=1m", time(0)),
        ("since=2m", time(0)), // before the node began
        ("since=0s", time(60_000)),
        ("since=@1700000060.5", time(60_000)), // this very moment
        ("since=@1700000060", time(59_500)),
        ("since=@1700000050.5", time(50_000)),
        ("since=@1700000000.500", time(0)),
        ("since=@0", time(0)),
        ("since=@99999999999", time(60_001)), // is to come: nothing was published then
    ] {
        for path in ["ws", "sse", "poll"] {
            let line = format!("GET /{path}?channels=a&{parameter}");
            let fields = if path == "ws" { UPGRADE } else { "" };
            assert_eq!(asked(&line, fields).since(WALL, NOW), expected, "{line}");
        }
        // Who comes back goes on where it was.
        let back =
            asked(&format!("GET /sse?channels=a&{parameter}"), "Last-Event-ID: 00000001-9\r\n");
        let id = Id { epoch: Epoch::from_random(1), position: 9 };
        assert_eq!(back.since(WALL, NOW), Since::After(id), "{parameter}");
    }
    for (parameters, refused) in [
        ("since=", "bad_since"),
        ("since=10", "bad_since"),
        ("since=1.5h", "bad_since"),
        ("since=-10m", "bad_since"),
        ("since=@", "bad_since"),
        ("since=@yesterday", "bad_since"),
        ("since=latest", "bad_since"),
        ("last=", "bad_last"),
        ("last=-1", "bad_last"),
        ("last=1.0", "bad_last"),
        ("last=all", "bad_last"),
        ("last=1&since=earliest", "since_and_last"),
        ("last=1&last=1", "bad_parameter"),
        ("Last=1", "misspelled_parameter"),
        ("last[]=1", "misspelled_parameter"),
    ] {
        assert_eq!(
            told(&format!("GET /sse?channels=a&{parameters}"), ""),
            format!("400 {refused}")
        );
    }
    // Other people's words, as near as they are.
    for others in ["lat=52", "list=1", "past=1", "blast=1"] {
        assert_eq!(
            asked(&format!("GET /sse?channels=a&{others}"), "").since(WALL, NOW),
            Since::Now
        );
    }
}

#[test]
fn how_long_to_wait() {
    for (wait, expected) in [
        ("", Some(25_000)),
        ("&wait=0", Some(0)),
        ("&wait=007", Some(7_000)),
        ("&wait=0.5", Some(500)),
        ("&wait=1", Some(1_000)),
        ("&wait=30", Some(30_000)),
        ("&wait=31", Some(30_000)),
        ("&wait=1e9", Some(30_000)),
        ("&wait=99999999999999999999", Some(30_000)),
        ("&wait=", None),
        ("&wait=-1", None),
        ("&wait=NaN", None),
        ("&wait=inf", None),
        ("&wait=x", None),
    ] {
        let line = format!("GET /poll?channels=a{wait}");
        match expected {
            Some(ms) => assert_eq!(asked(&line, "").wait_ms, ms, "{wait}"),
            None => assert_eq!(told(&line, ""), "400 bad_wait", "{wait}"),
        }
    }
}
