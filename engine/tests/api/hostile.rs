//! Bad input and the exact answer to it; after each case the API still serves.
//!
//! The rows are those of the public listener as far as they make sense here. Where hyper judges a
//! head itself, its answer is recorded as it is: an empty body, and for a few cases no answer.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use fanfare::channel::Tenant;
use fanfare::control::Bounds;
use fanfare::limits::Limits;
use fanfare::tenancy::PlainApiKey;

use crate::client::{Client, Node, PATIENCE, Wishes, bounds, post, until};

const HOST: &str = "Host: localhost\r\n";

fn raw_post(fields: &str, body: &str) -> String {
    format!("POST /v1/channels/demo HTTP/1.1\r\n{HOST}{fields}\r\n{body}")
}

fn still_serves(node: &Node) {
    assert_eq!(node.post("/v1/channels/canary", "", "alive").status, 200);
}

#[test]
fn bodies_that_are_no_messages() {
    let node = Node::start();
    let large = "x".repeat(1_001);
    let lone = |fields: &str| raw_post(fields, "");
    let cases = [
        (lone("Content-Length: 0\r\n"), 400, "empty_body", false),
        (raw_post("Transfer-Encoding: chunked\r\n", "0\r\n\r\n"), 400, "empty_body", false),
        (lone(""), 411, "length_required", true),
        // By its length alone: no byte of it was sent.
        (lone("Content-Length: 1001\r\n"), 413, "body_too_large", true),
        (lone("Content-Length: 9999999999999999999\r\n"), 413, "body_too_large", true),
    ];
    for (request, status, code, closes) in cases {
        let mut client = node.connect();
        client.send(&request);
        let answer = client.answer();
        assert_eq!((answer.status, &*answer.error()), (status, code), "{request}");
        assert_eq!(answer.field("connection") == Some("close"), closes, "{request}");
    }
    // hyper keeps the two largest numbers for itself.
    assert_eq!(node.ask(lone("Content-Length: 18446744073709551614\r\n")).status, 431);
    assert_eq!(node.post("/v1/channels/demo", "", &large[..1_000]).status, 200);
    assert_eq!(node.post("/v1/channels/demo", "", &large).status, 413);
    assert_eq!(node.sequencer.count(), 1);
    still_serves(&node);
}

#[test]
fn a_chunked_body_that_grows_too_large_is_cut_off() {
    let node = Node::start();
    let mut client = node.connect();
    client.send(raw_post("Transfer-Encoding: chunked\r\n", ""));
    for _ in 0..11 {
        client.send(format!("64\r\n{}\r\n", "x".repeat(100)));
    }
    let answer = client.answer();
    assert_eq!((answer.status, &*answer.error()), (413, "body_too_large"));
    assert_eq!(answer.field("connection"), Some("close"));
    // What still comes is read and dropped for a moment, so that the answer is not torn.
    client.send(format!("64\r\n{}\r\n", "x".repeat(100)));
    assert!(client.ends());
    assert_eq!(node.sequencer.count(), 0);
    still_serves(&node);
}

#[test]
fn a_large_upload_that_is_refused_reads_its_refusal() {
    let node = Node::start();
    let answer = node.post("/v1/channels/demo", "", vec![b'x'; 16 << 20]);
    assert_eq!((answer.status, &*answer.error()), (413, "body_too_large"));
}

#[test]
fn a_length_that_lies() {
    let node = Node::start();
    let mut client = node.connect();
    client.send(raw_post("Content-Length: 10\r\n", "short"));
    client.stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut rest = String::new();
    let _ = client.stream.read_to_string(&mut rest);
    assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 400 "), "{rest}");
    assert_eq!(node.sequencer.count(), 0);
    // More than declared is the next request, and is judged as one.
    let mut client = node.connect();
    client.send(raw_post("Content-Length: 2\r\n", "hiNOT HTTP\r\n\r\n"));
    assert_eq!(client.answer().status, 200);
    assert_eq!(client.answer().status, 400);
    assert!(client.ends());
    still_serves(&node);
}

/// H6, H9 to H13, as hyper answers them.
#[test]
fn framing_that_two_readers_could_read_in_two_ways() {
    let node = Node::start();
    let chunked = "Transfer-Encoding: chunked\r\n";
    let refused = [
        "Content-Length: 2\r\nContent-Length: 3\r\n",
        "Content-Length: +2\r\n",
        "Content-Length: 0x2\r\n",
        "Content-Length: 2, 2\r\n",
        "Content-Length: 1_0\r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Content-Length: -1\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: identity\r\n",
        "Content-Length : 2\r\n",
        " Content-Length: 2\r\n",
        "X: a\0b\r\n",
        "X: a\rb\r\n",
    ];
    for fields in refused {
        let mut client = node.connect();
        client.send(raw_post(fields, "hi"));
        assert_eq!(client.answer().status, 400, "{fields:?}");
        assert!(client.ends(), "{fields:?}");
    }
    // RFC 9112, section 6.3: the transfer coding wins, and the connection ends with the answer.
    let mut client = node.connect();
    client.send(raw_post(&format!("Content-Length: 2\r\n{chunked}"), "1\r\nx\r\n0\r\n\r\n"));
    let answer = client.answer();
    assert_eq!((answer.status, answer.field("connection")), (200, Some("close")));
    assert!(client.ends());
    // What would be published in its coding's clothes is not published.
    for codings in
        ["Transfer-Encoding: gzip, chunked\r\n", "Transfer-Encoding: chunked, chunked\r\n"]
    {
        let mut client = node.connect();
        client.send(raw_post(codings, "1\r\nx\r\n0\r\n\r\n"));
        assert_eq!(client.answer().status, 501, "{codings:?}");
        assert!(client.ends(), "{codings:?}");
    }
    let twice = format!("{chunked}{chunked}");
    assert_eq!(node.ask(raw_post(&twice, "1\r\nx\r\n0\r\n\r\n")).status, 501);
    // Two equal lengths are one.
    assert_eq!(node.ask(raw_post("Content-Length: 2\r\nContent-Length: 2\r\n", "hi")).status, 200);
    assert_eq!(node.sequencer.payloads(), [&b"x"[..], b"hi"]);
    let old = format!("POST /v1/channels/demo HTTP/1.0\r\n{HOST}{chunked}\r\n0\r\n\r\n");
    assert_eq!(node.ask(old).status, 400);
    for chunks in [
        "0x1\r\nx\r\n0\r\n\r\n",
        "+1\r\nx\r\n0\r\n\r\n",
        "1\nx\r\n0\r\n\r\n",
        "1\r\nx0\r\n\r\n",
        "11111111111111111\r\nx",
        "zz\r\n",
    ] {
        let answer = node.ask(raw_post(chunked, chunks));
        assert_eq!((answer.status, &*answer.error()), (400, "bad_body"), "{chunks:?}");
    }
    let trailers = "1\r\ny\r\n0\r\nHost: evil\r\nContent-Length: 9\r\n\r\n";
    assert_eq!(node.ask(raw_post(chunked, trailers)).status, 200); // dropped
    assert_eq!(node.sequencer.count(), 3);
    still_serves(&node);
}

#[test]
fn heads_that_are_too_large_or_no_heads() {
    let node = Node::start();
    let get = |rest: &str| format!("GET /healthz HTTP/1.1\r\n{HOST}{rest}\r\n");
    let fields = |count: usize| get(&"x: y\r\n".repeat(count));
    assert_eq!(node.ask(fields(60)).status, 200);
    let long = fanfare_protocol::limits::HttpLimits::DEFAULT.head_bytes;
    let cases = [
        (fields(2_000), 431),
        (get(&format!("x: {}\r\n", "y".repeat(long))), 431),
        (format!("GET /{} HTTP/1.1\r\n{HOST}\r\n", "x".repeat(long)), 431),
        ("\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n".into(), 400),
        ("SSH-2.0-OpenSSH_9.9\r\n\r\n".into(), 400),
        ("GET /healthz HTTP/3.0\r\n\r\n".into(), 400),
    ];
    for (request, status) in cases {
        let mut client = node.connect();
        client.send(&request);
        let start: String = request.chars().take(60).collect();
        assert_eq!(client.answer().status, status, "{start:?}");
        assert!(client.ends(), "{start:?}");
    }
    // The preface of HTTP/2 is ended without a word.
    let mut client = node.connect();
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert!(client.ends());
    still_serves(&node);
}

#[test]
fn one_host() {
    let node = Node::start();
    let line = "GET /healthz HTTP/1.1\r\n";
    for (request, code) in [
        (format!("{line}\r\n"), "bad_host"),
        (format!("{line}Host: \r\n\r\n"), "foreign_host"),
        (format!("{line}Host: localhost\r\nHost: localhost\r\n\r\n"), "repeated_field"),
        (format!("{line}Host: evil.example:7071\r\n\r\n"), "foreign_host"),
        (format!("{line}Host: localhost.evil.example\r\n\r\n"), "foreign_host"),
        ("GET http://evil/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".into(), "bad_host"),
    ] {
        let answer = node.ask(&request);
        let status = if code == "foreign_host" { 403 } else { 400 };
        assert_eq!((answer.status, &*answer.error()), (status, code), "{request}");
    }
    for host in ["localhost:7071", "127.0.0.1", "[::1]:1", "LOCALHOST"] {
        assert_eq!(node.ask(format!("{line}Host: {host}\r\n\r\n")).status, 200, "{host}");
    }
}

#[test]
fn pages_of_other_sites_are_refused() {
    let node = Node::start();
    let host = node.address;
    let post = |origin: &str| {
        let request = format!(
            "POST /v1/channels/demo HTTP/1.1\r\nHost: {host}\r\n{origin}Content-Length: 1\r\n\r\nx"
        );
        node.ask(request)
    };
    assert_eq!(post(&format!("Origin: http://{host}\r\n")).status, 200);
    for origin in ["http://evil.example", "null", "http://127.0.0.1:1", "http://localhost", "x"] {
        let answer = post(&format!("Origin: {origin}\r\n"));
        assert_eq!((answer.status, &*answer.error()), (403, "foreign_origin"), "{origin}");
        assert_eq!(answer.field("access-control-allow-origin"), None);
    }
    let two = format!("Origin: http://{host}\r\nOrigin: http://evil.example\r\n");
    assert_eq!(post(&two).status, 400);
    assert_eq!(node.sequencer.count(), 1);
    let preflight = format!(
        "OPTIONS /v1/channels/demo HTTP/1.1\r\nHost: {host}\r\nOrigin: http://evil.example\r\n\r\n"
    );
    assert_eq!(node.ask(preflight).status, 403);
}

#[test]
fn the_key_is_required_where_it_is_set() {
    let key = PlainApiKey::from("secret-key").hashed(Tenant::default());
    let node = Node::with(Wishes { api_keys: vec![key], ..Wishes::default() });
    for fields in [
        "",
        "Authorization: Bearer secret-kez\r\n",
        "Authorization: Bearer secret-ke\r\n",
        "Authorization: Bearer secret-key2\r\n",
        "Authorization: Basic secret-key\r\n",
        "Authorization: secret-key\r\n",
    ] {
        let answer = node.post("/v1/channels/demo", fields, "x");
        assert_eq!((answer.status, &*answer.error()), (401, "unauthorized"), "{fields}");
        assert_eq!(answer.field("www-authenticate"), Some("Bearer realm=\"fanfare\""));
        assert!(!answer.body.contains("secret"), "{answer:?}");
    }
    let key = "Authorization: Bearer secret-key\r\n";
    let twice = node.post("/v1/channels/demo", &format!("{key}{key}"), "x");
    assert_eq!((twice.status, &*twice.error()), (400, "repeated_field"));
    for path in ["/metrics", "/v1/channels/demo", "/nowhere"] {
        assert_eq!(node.get(path).status, 401, "{path}");
    }
    assert_eq!(node.get("/healthz").status, 200);
    assert_eq!(node.sequencer.count(), 0);
    assert_eq!(node.post("/v1/channels/demo", key, "x").status, 200);
    // Who has the key needs no Host of this machine.
    let request = format!("GET /v1/channels/a HTTP/1.1\r\nHost: api.example\r\n{key}\r\n");
    assert_eq!(node.ask(request).status, 200);
}

#[test]
fn unknown_paths_and_wrong_methods() {
    let node = Node::start();
    for path in ["/", "/v1", "/v1/channels/", "/v1/channels/a/b", "/ws", "/v1/channels/a/history/"]
    {
        let answer = node.get(path);
        assert_eq!((answer.status, &*answer.error()), (404, "unknown_path"), "{path}");
    }
    for (method, path, allow) in [
        ("PUT", "/v1/channels/a", "GET,HEAD,POST"),
        ("DELETE", "/v1/channels/a", "GET,HEAD,POST"),
        ("POST", "/v1/channels/a/history", "GET,HEAD"),
        ("GET", "/v1/publish", "POST"),
        ("POST", "/metrics", "GET,HEAD"),
        ("TRACE", "/healthz", "GET,HEAD"),
    ] {
        let answer =
            node.ask(format!("{method} {path} HTTP/1.1\r\n{HOST}Content-Length: 0\r\n\r\n"));
        assert_eq!((answer.status, &*answer.error()), (405, "wrong_method"), "{method} {path}");
        let mut allowed: Vec<_> = answer.field("allow").unwrap().split(',').collect();
        allowed.sort_unstable();
        assert_eq!(allowed.join(","), allow, "{method} {path}");
    }
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    for fields in ["", form, "Content-Type: text/json\r\n", "Content-Type: jsonx\r\n"] {
        let answer = node.post("/v1/publish", fields, r#"{"channel":"a","data":1}"#);
        assert_eq!((answer.status, &*answer.error()), (415, "not_json"), "{fields}");
    }
    let answer = node.post("/v1/channels/a", "Expect: the-unexpected\r\n", "x");
    assert_eq!((answer.status, &*answer.error()), (417, "bad_expectation"));
}

#[test]
fn names_that_may_not_be() {
    let node = Node::start();
    let long = "x".repeat(256);
    for channel in ["%00", "a%0d%0ab", "%C0%AF", "%2", "%zz", "*", "a*", "%ff", &long] {
        let answer = node.post(&format!("/v1/channels/{channel}"), "", "x");
        assert_eq!((answer.status, &*answer.error()), (400, "bad_channel"), "{channel}");
    }
    let shapes = ["", "a%0Ab", "%00", "%ff", "%", "+a", "a%20", ":a", "a:", &long];
    for event in ["fanfare.gap", "open", "error"].into_iter().chain(shapes) {
        let answer = node.post(&format!("/v1/channels/a?event={event}"), "", "x");
        assert_eq!((answer.status, &*answer.error()), (422, "bad_event"), "{event}");
    }
    for near in ["Event=x", "evnt=x", "events=x", "event[]=x"] {
        let answer = node.post(&format!("/v1/channels/a?{near}"), "", "x");
        assert_eq!((answer.status, &*answer.error()), (400, "misspelled_parameter"), "{near}");
    }
    for near in ["Since=x", "limits=1", "limt=1", "last=2", "last="] {
        let answer = node.get(&format!("/v1/channels/a/history?{near}"));
        assert_eq!((answer.status, &*answer.error()), (400, "misspelled_parameter"), "{near}");
    }
    let twice = node.post("/v1/channels/a?event=a&event=b", "", "x");
    assert_eq!((twice.status, &*twice.error()), (400, "bad_parameter"));
    assert_eq!(node.sequencer.count(), 0);
}

fn patient(limits: impl FnOnce(&mut Limits), bounds: Bounds) -> Node {
    let mut wishes = Wishes { bounds, ..Wishes::default() };
    limits(&mut wishes.limits);
    Node::with(wishes)
}

#[test]
fn slow_heads_are_ended() {
    let node = patient(|limits| limits.head_ms = 200, bounds());
    let begun = Instant::now();
    let mut silent = node.connect();
    let mut drip = node.connect();
    drip.send("GET /heal");
    assert_eq!((silent.answer().status, silent.ends()), (408, true));
    assert_eq!((drip.answer().status, drip.ends()), (408, true));
    assert!(begun.elapsed() >= Duration::from_millis(200));
}

#[test]
fn slow_bodies_are_ended() {
    let node = patient(|_| {}, Bounds { body_ms: 200, ..bounds() });
    let begun = Instant::now();
    let mut body = node.connect();
    body.send(raw_post("Content-Length: 10\r\n", "half"));
    let answer = body.answer();
    assert_eq!((answer.status, &*answer.error()), (408, "body_timeout"));
    assert!(begun.elapsed() >= Duration::from_millis(200));
    assert_eq!(node.sequencer.count(), 0);
    still_serves(&node);
}

#[test]
fn connections_that_ask_no_more_are_ended() {
    let node = patient(|limits| limits.idle_ms = 400, bounds());
    let begun = Instant::now();
    let mut idle = node.connect();
    let mut chunk = [0; 1_024];
    // Where the machine stands still for so long, it is ended before it has asked.
    loop {
        let _ = write!(idle.stream, "GET /healthz HTTP/1.1\r\n{HOST}\r\n");
        if idle.stream.read(&mut chunk).is_ok_and(|count| count > 0) {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "it is never answered");
        idle = node.connect();
    }
    assert!(chunk.starts_with(b"HTTP/1.1 200 "));
    assert!(idle.ends());
    assert!(begun.elapsed() >= Duration::from_millis(350));
}

#[test]
fn connections_are_bounded_and_come_back() {
    let node = patient(|_| {}, Bounds { connections: 2, ..bounds() });
    let ask = |client: &mut Client| {
        client.send(format!("GET /healthz HTTP/1.1\r\n{HOST}\r\n"));
        client.answer()
    };
    let (mut one, mut two) = (node.connect(), node.connect());
    assert_eq!((ask(&mut one).status, ask(&mut two).status), (200, 200));
    let mut three = node.connect();
    let answer = three.answer();
    assert_eq!((answer.status, &*answer.error()), (503, "busy"));
    assert_eq!(answer.field("retry-after"), Some("1"));
    assert_eq!(ask(&mut one).status, 200);
    drop((one, three));
    until("there is room again", || ask(&mut node.connect()).status == 200);
}

#[test]
fn bodies_together_are_bounded() {
    let node = patient(|limits| limits.bodies_bytes = 1_000, bounds());
    let mut half = node.connect();
    half.send(raw_post("Content-Length: 900\r\n", &"x".repeat(800)));
    until("that much is read", || node.metrics.bodies.held() >= 800);
    let answer = node.post("/v1/channels/demo", "", "y".repeat(300));
    assert_eq!((answer.status, &*answer.error()), (503, "busy"));
    half.send("x".repeat(100));
    assert_eq!(half.answer().status, 200);
    assert_eq!(node.post("/v1/channels/demo", "", "y".repeat(1_000)).status, 200);
    assert_eq!(node.sequencer.count(), 2);
}

#[test]
fn who_says_no_more_is_answered() {
    let node = Node::start();
    for length in [1, 1_000] {
        let mut client = node.connect();
        node.sequencer.deafen();
        client.send(post("/v1/channels/demo", "", "x".repeat(length)));
        client.stream.shutdown(std::net::Shutdown::Write).unwrap();
        until("it is in the inbox", || node.metrics.in_flight.held() > 0);
        node.sequencer.deaf.store(false, std::sync::atomic::Ordering::SeqCst);
        assert_eq!(client.answer().status, 200);
        assert!(client.ends());
    }
    // Half of a request is none.
    let mut client = node.connect();
    client.send(raw_post("Content-Length: 10\r\n", "half"));
    client.stream.shutdown(std::net::Shutdown::Write).unwrap();
    let answer = client.answer();
    assert_eq!((answer.status, answer.error().as_str()), (400, "bad_body"));
    assert!(client.ends());
    assert_eq!(node.sequencer.count(), 2);
}

#[test]
fn a_stop_lets_requests_end() {
    let mut node = Node::start();
    let mut idle = node.connect();
    idle.send(format!("GET /healthz HTTP/1.1\r\n{HOST}\r\n"));
    assert_eq!(idle.answer().status, 200);
    node.sequencer.deafen();
    let mut busy = node.connect();
    busy.send(post("/v1/channels/demo", "", "x"));
    until("it is in the inbox", || node.metrics.in_flight.held() > 0);
    let deaf = std::sync::Arc::clone(&node.sequencer.deaf);
    let idle = std::thread::spawn(move || {
        // The stop has begun, and the idle one is not waited for.
        let ends = idle.ends();
        deaf.store(false, std::sync::atomic::Ordering::SeqCst);
        ends
    });
    let address = node.address;
    let begun = Instant::now();
    node.stop(2 * PATIENCE);
    assert!(begun.elapsed() < 2 * PATIENCE, "the request was cut off");
    assert!(idle.join().unwrap());
    assert_eq!(busy.answer().status, 200);
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[test]
fn a_stop_does_not_wait_for_ever() {
    let mut node = Node::start();
    let mut stalled = node.connect();
    stalled.send(raw_post("Content-Length: 10\r\n", "half"));
    until("that much is read", || node.metrics.bodies.held() > 0);
    let begun = Instant::now();
    node.stop(Duration::from_millis(200));
    let took = begun.elapsed();
    assert!((Duration::from_millis(190)..PATIENCE).contains(&took), "{took:?}");
    let _ = stalled.stream.write_all(b"x");
    assert!(stalled.ends());
}

#[test]
fn what_follows_a_request_for_a_websocket_is_no_request() {
    let node = Node::start();
    for target in ["/ws?channels=a", "/v1/channels/a", "/healthz"] {
        let mut client = node.connect();
        let ask = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        let upgrade = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{ask}\r\n");
        client.send([upgrade.as_bytes(), &post("/v1/channels/a", "", "smuggled")].concat());
        assert_eq!(client.answer().field("connection"), Some("close"), "{target}");
        assert!(client.ends(), "{target}");
    }
    assert_eq!(node.sequencer.count(), 0);
}

#[test]
fn answers_say_the_date() {
    let node = Node::start();
    for request in ["GET /healthz", "GET /v1/channels/a", "GET /nowhere", "PUT /metrics"] {
        let answer = node.ask(format!("{request} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        assert!(answer.field("date").is_some_and(|date| date.ends_with(" GMT")), "{answer:?}");
    }
    let impatient = patient(|limits| limits.head_ms = 100, bounds());
    let refused = "GET / HTTP/1.1\r\nHost: localhost\r\nX : y\r\n\r\n";
    for (node, bytes, status) in [(&node, refused, 400), (&impatient, "GET / HTT", 408)] {
        let answer = node.ask(bytes);
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(answer.field("date").is_some_and(|date| date.ends_with(" GMT")), "{answer:?}");
    }
}
