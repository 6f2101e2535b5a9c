//! H20 and E9: which pages may connect, and what a browser is told about it.

use fanfare::admission::origin::Origins;
use fanfare::node::{Server, Settings};

use crate::site::on_both;
use crate::wire::{Answer, connect, field, refused, status};

fn listed(settings: &mut Settings) {
    settings.origins = Origins::new(&["https://good.example".to_string()]).unwrap();
}

/// Pages that may connect to a node in development mode that the client calls `app.example:7070`.
const ALLOWED: [&str; 8] = [
    "http://app.example:7070", // the same host
    "http://APP.example:7070", // host names have no case
    "http://localhost:3000",   // this machine's, whatever the port
    "http://127.0.0.1",
    "http://[::1]:8080",
    "http://app.localhost",
    "https://good.example",     // listed
    "https://good.example:443", // the same
];

const REFUSED: [&str; 17] = [
    "null",
    "",
    "https://good.example.evil",
    "https://evilgood.example",
    "https://good.example:444",
    "http://good.example",
    "https://good.example/",
    "https://good.example@evil.example",
    "https://evil.example?https://good.example",
    "good.example",
    "http://app.example",
    "http://app.example:7071",
    "http://app.example.evil:7070",
    "http://localhost.evil.example",
    "http://127.0.0.1.evil.example",
    "https://good.example, https://evil.example",
    "https://good.example https://evil.example",
];

const TARGETS: [&str; 3] = ["/ws?channels=a", "/sse?channels=a", "/poll?channels=a&wait=0"];

/// A request of a page; for the path of a WebSocket, an upgrade.
fn request(method: &str, target: &str, fields: &str) -> Vec<u8> {
    let upgrade = if target.starts_with("/ws") {
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    } else {
        ""
    };
    let line = format!("{method} {target} HTTP/1.1\r\nHost: app.example:7070\r\n");
    format!("{line}{upgrade}{fields}\r\n").into_bytes()
}

fn head_of(node: &Server, bytes: &[u8]) -> String {
    let mut client = connect(node);
    client.send(bytes);
    client.head()
}

fn ok(target: &str) -> u16 {
    if target.starts_with("/ws") { 101 } else { 200 }
}

#[test]
fn h20_pages() {
    on_both(listed, |site| {
        site.case("H20: pages that may", |node| {
            for (origin, target) in ALLOWED.iter().flat_map(|o| TARGETS.map(|t| (o, t))) {
                let head = head_of(node, &request("GET", target, &format!("Origin: {origin}\r\n")));
                assert_eq!(status(&head), ok(target), "{origin} at {target}: {head}");
                if !target.starts_with("/ws") {
                    assert_eq!(field(&head, "Access-Control-Allow-Origin"), Some(*origin));
                    assert_eq!(field(&head, "Access-Control-Allow-Credentials"), Some("true"));
                    assert_eq!(field(&head, "Vary"), Some("Origin"));
                }
            }
        });
        site.case("H20: pages that may not", |node| {
            for (origin, target) in REFUSED.iter().flat_map(|o| TARGETS.map(|t| (o, t))) {
                let bytes = request("GET", target, &format!("Origin: {origin}\r\n"));
                let answer = refused(node, "H20", &bytes, 403);
                assert_eq!(answer.field("Access-Control-Allow-Credentials"), None, "{origin}");
                if answer.error() == "two_origins" {
                    continue;
                }
                assert!(answer.body.contains("origins = ['"), "it says what to do: {answer:?}");
                // Who opens a file is told why, in its own page: the words are fixed.
                let may_read = (origin == &"null").then_some("null");
                assert_eq!(answer.field("Access-Control-Allow-Origin"), may_read, "{origin}");
                // What a browser shows in the console of a page, whatever it may read.
                let first = answer.head.lines().next().unwrap();
                assert!(first.starts_with("HTTP/1.1 403 Forbidden: "), "{first}");
            }
        });
        site.case("H20: two pages at once", |node| {
            for target in TARGETS {
                let two = "Origin: https://good.example\r\n".repeat(2);
                let answer = refused(node, "H20", &request("GET", target, &two), 403);
                assert_eq!(answer.error(), "two_origins");
            }
        });
        site.case("no page, and pages of ours", |node| {
            for target in TARGETS {
                let head = head_of(node, &request("GET", target, ""));
                assert_eq!(status(&head), ok(target), "programs send no Origin");
                assert_eq!(field(&head, "Access-Control-Allow-Origin"), None);
            }
            // What holds nothing of anybody's is for all, and readable by none.
            let page = request("GET", "/healthz", "Origin: https://evil.example\r\n");
            let head = head_of(node, &page);
            assert_eq!(status(&head), 200);
            assert_eq!(field(&head, "Referrer-Policy"), Some("no-referrer"), "H30");
            assert_eq!(field(&head, "Access-Control-Allow-Origin"), None);
        });
    });
}

/// With `*` the operator has named nobody: every page reads, none as its visitor. A browser itself
/// withholds the answer to `withCredentials` then.
#[test]
fn every_page_may_and_none_with_credentials() {
    let any = |settings: &mut Settings| {
        settings.origins = Origins::new(&["*".to_string()]).unwrap();
    };
    on_both(any, |site| {
        site.case("H20: every page", |node| {
            for origin in ["https://evil.example", "http://localhost:3000", "null"] {
                let fields = format!("Origin: {origin}\r\nCookie: session=1\r\n");
                for (method, target, code) in [
                    ("GET", TARGETS[1], 200),
                    ("GET", TARGETS[2], 200),
                    ("HEAD", TARGETS[1], 200),
                    ("OPTIONS", "/sse", 204),
                    ("GET", "/sse?channels=", 400),
                ] {
                    let head = head_of(node, &request(method, target, &fields));
                    assert_eq!(status(&head), code, "{method} {target}");
                    assert_eq!(field(&head, "Access-Control-Allow-Origin"), Some("*"), "{head}");
                    assert_eq!(field(&head, "Access-Control-Allow-Credentials"), None, "{head}");
                }
            }
        });
    });
}

#[test]
fn e9_preflights_and_refusals_across_origins() {
    on_both(listed, |site| {
        site.case("E9: a preflight of a page that may", |node| {
            for target in ["/sse", "/poll", "/sse?channels=a"] {
                let fields = "Origin: https://good.example\r\n\
                              Access-Control-Request-Method: GET\r\n\
                              Access-Control-Request-Headers: last-event-id\r\n";
                let head = head_of(node, &request("OPTIONS", target, fields));
                assert_eq!(status(&head), 204, "{head}");
                let value = |name| field(&head, name);
                assert_eq!(value("Access-Control-Allow-Origin"), Some("https://good.example"));
                assert!(value("Access-Control-Allow-Methods").unwrap().contains("GET"));
                for needed in ["Authorization", "Content-Type", "Last-Event-ID"] {
                    assert!(value("Access-Control-Allow-Headers").unwrap().contains(needed));
                }
                assert_eq!(value("Access-Control-Allow-Credentials"), Some("true"));
                assert_eq!(value("Vary"), Some("Origin"));
                assert_eq!(value("Content-Length"), None);
            }
        });
        site.case("E9: a preflight of a page that may not", |node| {
            for origin in REFUSED {
                let bytes = request("OPTIONS", "/sse", &format!("Origin: {origin}\r\n"));
                let answer = refused(node, "E9", &bytes, 403);
                assert_eq!(answer.field("Referrer-Policy"), Some("no-referrer"), "H30");
                let may_read = (origin == "null").then_some("null");
                assert_eq!(answer.field("Access-Control-Allow-Origin"), may_read);
            }
        });
        site.case("a page that may also reads why it was refused", |node| {
            for target in ["/sse?channels=", "/poll?channels=a&since=x"] {
                let mut client = connect(node);
                client.send(&request("GET", target, "Origin: https://good.example\r\n"));
                let answer = Answer::read(&mut client);
                assert_eq!(answer.status, 400);
                let allowed = answer.field("Access-Control-Allow-Origin");
                assert_eq!(allowed, Some("https://good.example"));
            }
        });
        site.case("a page of another site cannot publish", |node| {
            let published = node.metrics().sequencer.published.read();
            let line = "POST /playground/publish?channel=a HTTP/1.1\r\nHost: app.example:7070\r\n";
            let fields = "Origin: https://evil.example\r\nContent-Length: 2\r\n";
            let bytes = format!("{line}{fields}Content-Type: text/plain\r\n\r\nhi");
            refused(node, "H20", bytes.as_bytes(), 403);
            assert_eq!(node.metrics().sequencer.published.read(), published);
        });
    });
}

#[test]
fn h20_pages_of_this_machine_may_in_development_only() {
    let production = |settings: &mut Settings| {
        listed(settings);
        settings.dev = false;
    };
    on_both(production, |site| {
        site.case("H20: the visitor's machine is not ours", |node| {
            for origin in ["http://localhost:3000", "http://127.0.0.1", "http://[::1]:8080", "null"]
            {
                for target in TARGETS {
                    let bytes = request("GET", target, &format!("Origin: {origin}\r\n"));
                    let answer = refused(node, "H20", &bytes, 403);
                    assert_eq!(answer.field("Access-Control-Allow-Origin"), None, "{origin}");
                }
            }
            for origin in ["https://good.example", "https://app.example:7070"] {
                let bytes = request("GET", TARGETS[2], &format!("Origin: {origin}\r\n"));
                assert_eq!(status(&head_of(node, &bytes)), 200, "{origin}");
            }
        });
    });
}
