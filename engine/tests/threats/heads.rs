//! H1 to H13 and H24 to H26: bytes that are no request, or one that two readers could read in two
//! ways.

use fanfare::clock::unix_seconds;
use fanfare_protocol::http::HttpDate;

use crate::site::on_both;
use crate::support::find;
use crate::wire::{accepted, connect, field, get, refused, status, upgrade};

fn post(fields: &str) -> Vec<u8> {
    let line = "POST /playground/publish?channel=a HTTP/1.1\r\nHost: localhost\r\n";
    format!("{line}{fields}\r\n").into_bytes()
}

#[test]
fn h1_to_h3_sizes() {
    on_both(
        |_| {},
        |site| {
            site.case("H1: a head of more than 24 KiB", |node| {
                let long = get("/healthz", &format!("X: {}\r\n", "x".repeat(24 << 10)));
                assert_eq!(refused(node, "H1", long.as_bytes(), 431).error(), "head_too_long");
            });
            site.case("H2: 2,000 fields, and 65", |node| {
                for more in [1_999, 64] {
                    let many = get("/healthz", &"X: y\r\n".repeat(more));
                    let answer = refused(node, "H2", many.as_bytes(), 431);
                    assert_eq!(answer.error(), "too_many_headers");
                }
                accepted(node, "64 are taken", get("/healthz", &"X: y\r\n".repeat(63)).as_bytes());
            });
            site.case("H3: a target of more than 16 KiB", |node| {
                for length in [(16 << 10) + 1, 1 << 20] {
                    let target = format!("/{}", "x".repeat(length - 1));
                    let answer = refused(node, "H3", get(&target, "").as_bytes(), 414);
                    assert_eq!(answer.error(), "target_too_long");
                }
                let target = format!("/healthz?{}", "x".repeat((16 << 10) - 9));
                accepted(node, "16 KiB are taken", get(&target, "").as_bytes());
            });
            site.case("H5: a head of 15 KiB in segments of one byte", |node| {
                let mut client = connect(node);
                for byte in get("/healthz", &format!("X: {}\r\n", "x".repeat(15 << 10))).bytes() {
                    client.send(&[byte]);
                }
                assert_eq!(client.answer().1, "ok\n");
            });
        },
    );
}

#[test]
fn h6_line_syntax() {
    let heads = [
        "GET /healthz HTTP/1.1\nHost: localhost\n\n",
        "GET /healthz HTTP/1.1\r\nHost: localhost\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\n",
        "GET /healthz HTTP/1.1\r\nHost: localhost\rX: y\r\n\r\n",
        "GET /healthz HTTP/1.1\rHost: localhost\r\n\r\n",
        "GET /healthz HTTP/1.1\r\n Host: localhost\r\n\r\n",
        "GET /healthz\r\n\r\n",
        "GET /healthz HTTP/1.1 \r\nHost: localhost\r\n\r\n",
        "GET  /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /a b HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /healthz http/1.1\r\nHost: localhost\r\n\r\n",
        "\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ];
    let fields = [
        "X: y\r\n z\r\n",  // a folded line
        "X: y\r\n\tz\r\n", // likewise
        "X : y\r\n",       // a space before the colon
        "X: a\0b\r\n",     // NUL
        "X: a\x01b\r\n",   // a control character
        "X: a\x7fb\r\n",   // DEL
        ": y\r\n",         // no name
        "X\r\n",           // no colon
        "X(y): z\r\n",     // no token
        "\u{e4}: z\r\n",   // not ASCII
    ];
    on_both(
        |_| {},
        |site| {
            site.case("H6: lines that are none", |node| {
                for head in heads {
                    refused(node, "H6", head.as_bytes(), 400);
                }
                for fields in fields {
                    refused(node, "H6", get("/healthz", fields).as_bytes(), 400);
                }
            });
            site.case("and those that are", |node| {
                for fields in ["X:\t y \t\r\n", "X:\r\n", "X: \u{e4}\r\n", "x-y_z~: 1\r\n"] {
                    accepted(node, "H6", get("/healthz", fields).as_bytes());
                }
                let after_an_empty_line = format!("\r\n{}", get("/healthz", ""));
                accepted(node, "RFC 9112, 2.2", after_an_empty_line.as_bytes());
            });
        },
    );
}

#[test]
fn h7_h8_one_host() {
    let heads = [
        "GET /healthz HTTP/1.1\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n",
        "GET http://b/healthz HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http://a:80/healthz HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http://a/healthz HTTP/1.1\r\n\r\n",
        "GET http://a@b/healthz HTTP/1.1\r\nHost: b\r\n\r\n",
    ];
    on_both(
        |_| {},
        |site| {
            site.case("H7, H8: no host, two, another one, a bad one", |node| {
                for head in heads {
                    refused(node, "H7, H8", head.as_bytes(), 400);
                }
                for host in ["", "a b", "a,b", "a/b", "u@a", "a:x", "a:99999", "[::1", "\u{e4}"] {
                    let head = format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n");
                    refused(node, "H7", head.as_bytes(), 400);
                }
            });
            site.case("one host", |node| {
                let absolute = "GET http://A/healthz HTTP/1.1\r\nHost: a\r\n\r\n";
                accepted(node, "H8", absolute.as_bytes());
                for host in ["localhost:", "127.0.0.1:", "[::1]:"] {
                    let head = format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n");
                    accepted(node, "RFC 3986, 3.2.3: a port may be empty", head.as_bytes());
                }
                accepted(node, "H7: HTTP/1.0 needs none", b"GET /healthz HTTP/1.0\r\n\r\n");
            });
        },
    );
}

#[test]
fn h9_to_h13_bodies_of_two_lengths() {
    let framings = [
        ("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", 400),
        ("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", 400),
        ("Content-Length: 5\r\nContent-Length: 5\r\n", 400),
        ("Content-Length: 5\r\nContent-Length: 6\r\n", 400),
        ("Content-Length: +5\r\n", 400),
        ("Content-Length: -5\r\n", 400),
        ("Content-Length: 0x5\r\n", 400),
        ("Content-Length: 5, 5\r\n", 400),
        ("Content-Length: 1_0\r\n", 400),
        ("Content-Length: 5.0\r\n", 400),
        ("Content-Length:\r\n", 400),
        ("Content-Length: 18446744073709551616\r\n", 400),
        ("Transfer-Encoding: xchunked\r\n", 501),
        ("Transfer-Encoding: identity\r\n", 501),
        ("Transfer-Encoding: gzip, chunked\r\n", 501),
        ("Transfer-Encoding: chunked, identity\r\n", 400),
        ("Transfer-Encoding:  chunked\x0b\r\n", 400),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400),
        // H12, H13: nothing on this listener reads chunks, so none is read in two ways.
        ("Transfer-Encoding: chunked\r\n", 411),
    ];
    on_both(
        |_| {},
        |site| {
            site.case("H9 to H13", |node| {
                let published = node.metrics().sequencer.published.read();
                for (fields, status) in framings {
                    let mut bytes = post(fields);
                    bytes.extend_from_slice(b"5\r\nhello\r\n0\r\nHost: b\r\n\r\n");
                    refused(node, "H9 to H13", &bytes, status);
                    // Where the path takes no body, one of an unknown length is no better.
                    let status = if status == 411 { 400 } else { status };
                    refused(node, "on a GET", get("/healthz", fields).as_bytes(), status);
                }
                let old = "POST /playground/publish?channel=a HTTP/1.0\r\n\
                           Transfer-Encoding: chunked\r\n\r\n";
                refused(node, "H11: chunks in HTTP/1.0", old.as_bytes(), 400);
                assert_eq!(node.metrics().sequencer.published.read(), published);
            });
            site.case("a GET with a body", |node| {
                let bytes = format!("{}hello", get("/healthz", "Content-Length: 5\r\n"));
                assert_eq!(refused(node, "H14", bytes.as_bytes(), 400).error(), "unexpected_body");
                accepted(node, "no body", get("/healthz", "Content-Length: 00\r\n").as_bytes());
            });
        },
    );
}

#[test]
fn h24_methods_and_versions() {
    let rows: [(&str, u16, Option<&str>); 9] = [
        ("BREW /pot HTTP/1.1\r\nHost: a\r\n\r\n", 501, None),
        ("get /healthz HTTP/1.1\r\nHost: a\r\n\r\n", 501, None),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 405, Some("GET, HEAD, OPTIONS")),
        ("TRACE /healthz HTTP/1.1\r\nHost: a\r\n\r\n", 405, Some("GET, HEAD, OPTIONS")),
        ("DELETE /sse HTTP/1.1\r\nHost: a\r\n\r\n", 405, Some("GET, HEAD, POST, QUERY, OPTIONS")),
        ("GET /playground/publish HTTP/1.1\r\nHost: a\r\n\r\n", 405, Some("POST")),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, None),
        ("GET /healthz HTTP/2\r\nHost: a\r\n\r\n", 505, None),
        ("PUT /ws HTTP/1.1\r\nHost: a\r\n\r\n", 405, Some("GET")),
    ];
    on_both(
        |_| {},
        |site| {
            site.case("H24", |node| {
                for (head, status, allow) in rows {
                    let answer = refused(node, "H24", head.as_bytes(), status);
                    assert_eq!(answer.field("Allow"), allow, "{head}");
                }
                refused(node, "H24: endless letters", &b"A".repeat(4_096), 501);
            });
            site.case("RFC 9110, 2.5: later versions of HTTP/1 are HTTP/1.1", |node| {
                for version in ["1.2", "1.9"] {
                    let head = format!("GET /healthz HTTP/{version}\r\nHost: localhost\r\n\r\n");
                    let answer = accepted(node, "2.5", head.as_bytes());
                    assert!(answer.head.starts_with("HTTP/1.1 200"), "{answer:?}");
                    assert_eq!(answer.field("Connection"), Some("keep-alive"));
                    let no_host = format!("GET /healthz HTTP/{version}\r\n\r\n");
                    refused(node, "2.5", no_host.as_bytes(), 400);
                }
            });
        },
    );
}

#[test]
fn h25_paths_and_h26_noise() {
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    on_both(
        |_| {},
        |site| {
            site.case("H25: paths that two readers could read in two ways", |node| {
                for path in [
                    "/%00",
                    "/%0d%0aX:y",
                    "/%c0%af",
                    "/sse/../ws",
                    "/%2e%2e/ws",
                    "/a\\b",
                    "/a%5cb",
                    "/%",
                    "/%zz",
                    "healthz",
                    "/healthz#x",
                    "/a%2fb",
                    "/\u{e4}",
                ] {
                    let answer = refused(node, "H25", get(path, "").as_bytes(), 400);
                    assert_eq!(answer.error(), "bad_target", "{path}");
                }
                accepted(node, "decoded once", get("/%68ealthz", "").as_bytes());
            });
            site.case("H26: what is no HTTP", |node| {
                let first_byte_tells: [&[u8]; 5] =
                    [hello, b"\0", b"\xff\xfe\xfd", b"\n", b"\x80\x9e\x01\x03\x01"];
                for noise in first_byte_tells {
                    assert_eq!(refused(node, "H26", noise, 400).error(), "not_http");
                    assert_eq!(
                        refused(node, "its first byte", &noise[..1], 400).error(),
                        "not_http"
                    );
                }
                refused(node, "H26: SSH", b"SSH-2.0-OpenSSH_9.6p1 Debian-3\r\n", 400);
                let garbage: Vec<u8> = (0..10_000u32).map(|n| (n * n % 251) as u8).collect();
                refused(node, "H26: garbage", &garbage, 400);
            });
            site.case("nothing of a request comes back", |node| {
                let secret = "hunter2";
                for request in [
                    get(&format!("/{secret}"), "Connection: close\r\n"),
                    get(&format!("/sse?channels=*{secret}"), "Connection: close\r\n"),
                    get("/healthz", &format!("{secret} : x\r\n")),
                    get("/ws?channels=a", &format!("Origin: http://{secret}.example\r\n")),
                ] {
                    let mut client = connect(node);
                    client.send(request.as_bytes());
                    client.socket.shutdown(std::net::Shutdown::Write).unwrap();
                    let (reset, bytes) = client.end();
                    assert!(
                        !reset && !bytes.is_empty() && find(&bytes, secret.as_bytes()).is_none()
                    );
                    assert_eq!(find(&bytes, env!("CARGO_PKG_VERSION").as_bytes()), None);
                }
            });
        },
    );
}

#[test]
fn every_final_answer_says_the_date() {
    let publish = "POST /playground/publish?channel=a HTTP/1.1\r\nHost: localhost\r\n\
                   Content-Length: 2\r\n\r\nhi";
    let rows: [(String, u16); 14] = [
        (upgrade("/ws?channels=a", ""), 101),
        (get("/", ""), 200),
        (get("/healthz", ""), 200),
        (get("/healthz", "").replacen("GET", "HEAD", 1), 200),
        (get("/sse?channels=a", ""), 200),
        (get("/sse?channels=a", "").replacen("GET", "HEAD", 1), 200),
        (get("/poll?channels=a&wait=0", ""), 200),
        (get("/poll?channels=a&wait=0", "").replacen("GET", "HEAD", 1), 200),
        (publish.into(), 200),
        (get("/sse", "").replacen("GET", "OPTIONS", 1), 204),
        (get("/poll?channels=a&since=x", ""), 400),
        (get("/nix", ""), 404),
        (get("/ws?channels=a", ""), 426),
        ("\0".into(), 400),
    ];
    on_both(
        |_| {},
        |site| {
            site.case("RFC 9110, 6.6.1", |node| {
                for (request, expected) in &rows {
                    let before = unix_seconds() - 1; // what a tick began with
                    let mut client = connect(node);
                    client.send(request.as_bytes());
                    let head = client.head();
                    let after = unix_seconds();
                    assert_eq!(status(&head), *expected, "{request}");
                    let date = field(&head, "Date").unwrap_or_else(|| panic!("no Date: {head}"));
                    let mut seconds = before..=after;
                    let now = seconds.any(|s| HttpDate::from_unix_seconds(s).as_str() == date);
                    assert!(now, "{date} is not now");
                }
            });
        },
    );
}
