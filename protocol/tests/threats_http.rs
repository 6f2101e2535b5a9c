//! The rows of bad input to an HTTP port that this crate decides alone, each as bytes and the
//! status that they get, whole and byte by byte. Rows that need a clock, a socket or a count of
//! connections are cases against the binary.

use fanfare_protocol::http::{Fed, HeadReader, Parameters};
use fanfare_protocol::limits::HttpLimits;
use fanfare_protocol::ws::handshake;

const LIMITS: HttpLimits = HttpLimits::DEFAULT;

/// The status of what the pieces ask for: an upgrade at `/ws`, and elsewhere 200 where the head is
/// fine.
fn status<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> u16 {
    let mut reader = HeadReader::new();
    for piece in pieces {
        match reader.feed(piece, &LIMITS) {
            Ok(Fed::Partial) => {}
            Ok(Fed::Complete { .. }) => break,
            Err(violation) => return violation.status().code(),
        }
    }
    let request = match reader.request(&LIMITS) {
        Ok(request) => request,
        Err(violation) => return violation.status().code(),
    };
    if let Err(violation) = request.origin() {
        return violation.status().code();
    }
    let channels = request.query().raw("channels").is_ok_and(|list| list.is_some());
    let refused = match &*request.path {
        "/ws" => handshake::decide(&request).err(),
        _ if channels => Parameters::of(request.query(), 1_000).err(),
        _ => None,
    };
    match refused {
        Some(violation) => violation.status().code(),
        None if request.path == "/ws" => 101,
        None => 200,
    }
}

fn check(row: &str, input: &[u8], expected: u16) {
    let shown = || String::from_utf8_lossy(&input[..input.len().min(200)]).into_owned();
    assert_eq!(status([input].into_iter()), expected, "{row}: {}", shown());
    assert_eq!(status(input.chunks(1)), expected, "{row}, byte by byte: {}", shown());
}

/// A GET of `/` with these lines after its Host.
fn get(lines: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n").into_bytes()
}

fn post(lines: &str) -> Vec<u8> {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n").into_bytes()
}

fn upgrade(line: &str, fields: &str) -> Vec<u8> {
    format!("{line}\r\nHost: a\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{fields}\r\n")
        .into_bytes()
}

#[test]
fn h1_to_h3_sizes() {
    check("H1", &get(&format!("X: {}\r\n", "x".repeat(24 << 10))), 431);
    check("H1", &get(&format!("X: {}\r\n", "x".repeat(15 << 10))), 200);
    check("H2", &get(&"X: y\r\n".repeat(63)), 200);
    check("H2", &get(&"X: y\r\n".repeat(64)), 431);
    check("H2", &get(&"X: y\r\n".repeat(2_000)), 431);
    let target =
        |bytes: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(bytes - 1));
    check("H3", target(16 << 10).as_bytes(), 200);
    check("H3", target((16 << 10) + 1).as_bytes(), 414);
    check("H3", target(1 << 20).as_bytes(), 414);
}

#[test]
fn h6_line_syntax() {
    for bytes in [
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        "GET / HTTP/1.1\r\nHost: a\rX: y\r\n\r\n",
        "GET / HTTP/1.1\rHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
        "GET /\r\n\r\n",
        "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
        "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / http/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.10\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.a\r\nHost: a\r\n\r\n",
        "GET /#x HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        check("H6", bytes.as_bytes(), 400);
    }
    for lines in [
        "X: y\r\n z\r\n",
        "X: y\r\n\tz\r\n",
        "X : y\r\n",
        "X\t: y\r\n",
        "X: a\0b\r\n",
        "X: a\x01b\r\n",
        "X: a\x0bb\r\n",
        "X: a\x7fb\r\n",
        ": y\r\n",
        "X\r\n",
        "X(y): z\r\n",
        "\u{e4}: z\r\n",
    ] {
        check("H6", &get(lines), 400);
    }
    check("H6: white space around a value is none of it", &get("X:\t y \t\r\n"), 200);
    check("H6: obs-text is a value", &get("X: \u{e4}\r\n"), 200);
    check("RFC 9112, 2.2: one empty line first", b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 200);
    check("and no second", b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400);
}

#[test]
fn h7_h8_host() {
    check("H7", b"GET / HTTP/1.1\r\n\r\n", 400);
    check("H7", b"GET / HTTP/1.0\r\n\r\n", 200);
    check("H7", b"GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", 400);
    for host in ["", "a b", "a,b", "a/b", "u@a", "a:x", "[::1", "a\u{e4}", "a:99999"] {
        check("H7", format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes(), 400);
    }
    check("RFC 3986, 3.2.3: a port may be empty", b"GET / HTTP/1.1\r\nHost: a:\r\n\r\n", 200);
    check("H8", b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    check("H8", b"GET http://a:80/ HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    check("H8", b"GET http://A/ HTTP/1.1\r\nHost: a\r\n\r\n", 200);
    check("H8", b"GET http://a/ HTTP/1.1\r\n\r\n", 400);
}

#[test]
fn h9_to_h11_framing() {
    check("H9", &post("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"), 400);
    check("H9", &post("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n"), 400);
    check("H10", &post("Content-Length: 5\r\nContent-Length: 5\r\n"), 400);
    for length in
        ["+5", "-5", "0x5", "5, 5", "5,5", "1_0", "5.0", "5 5", "", "18446744073709551616"]
    {
        check("H10", &post(&format!("Content-Length: {length}\r\n")), 400);
    }
    for length in ["0", "5", "005", "18446744073709551615"] {
        check("H10", &post(&format!("Content-Length: {length}\r\n")), 200);
    }
    for (coding, expected) in [
        ("chunked", 200),
        ("Chunked", 200),
        ("xchunked", 501),
        ("identity", 501),
        ("gzip, chunked", 501),
        ("chunked, identity", 400),
        ("chunked, chunked", 400),
        ("chunked,", 400),
        ("", 400),
        ("chunked;q=1", 400),
        (" chunked\x0b", 400),
        ("chun ked", 400),
    ] {
        check("H11", &post(&format!("Transfer-Encoding: {coding}\r\n")), expected);
    }
    check("H11", &post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400);
    check("H11", b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400);
}

#[test]
fn h14_to_h23_upgrades() {
    const WS: &str = "GET /ws HTTP/1.1";
    const ASK: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    const V13: &str = "Sec-WebSocket-Version: 13\r\n";
    let with = |line: &str, parts: &[&str]| upgrade(line, &parts.concat());
    check("H15", &[&with(WS, &[ASK, V13])[..], b"GET / HTTP/1.1\r\n\r\n"].concat(), 101);
    check("H14", &with(WS, &[ASK, V13, "Content-Length: 9\r\n"]), 400);
    check("H14", &with(WS, &[ASK, V13, "Transfer-Encoding: chunked\r\n"]), 400);
    check("H17", &with("POST /ws HTTP/1.1", &[ASK, V13]), 405);
    check("H17", &with("GET /ws HTTP/1.0", &[ASK, V13]), 400);
    check("H17", &with(WS, &[V13]), 426);
    check("H17", &with(WS, &["Upgrade: websocket\r\n", V13]), 426);
    check("H18", &with(WS, &[ASK, "Sec-WebSocket-Version: 8\r\n"]), 426);
    check("H18", &with(WS, &[ASK]), 426);
    check("H19", &with(WS, &[ASK, V13, "Sec-WebSocket-Key: AAAA\r\n"]), 400);
    check("H20", &with(WS, &[ASK, V13, "Origin: http://a\r\nOrigin: http://b\r\n"]), 403);
    check("H21", &with(WS, &[ASK, V13, "Sec-WebSocket-Protocol: a, b\r\n"]), 101);
    let offer = format!("Sec-WebSocket-Extensions: {}\r\n", "x; y=7, ".repeat(1024));
    check("H22", &with(WS, &[ASK, V13, &offer]), 101);
    check("H23", &with(WS, &[ASK, V13, "Expect: 100-continue\r\n"]), 417);
}

#[test]
fn h23_to_h26_methods_targets_and_noise() {
    check("H23", &post("Content-Length: 1\r\nExpect: 100-Continue\r\n"), 200);
    check("H23", &post("Content-Length: 1\r\nExpect: 200-ok\r\n"), 417);
    check("H23", &post("Expect: 100-continue\r\nExpect: 100-continue\r\n"), 417);
    check("H24", b"BREW /pot HTTP/1.1\r\nHost: a\r\n\r\n", 501);
    check("H24", b"get / HTTP/1.1\r\nHost: a\r\n\r\n", 501);
    check("H24", &b"A".repeat(33), 501);
    check("H24", b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 405);
    check("H24", b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 405);
    check("H24", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505);
    check("RFC 9110, 2.5: a later 1.x is 1.1", b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 200);
    check("RFC 9110, 2.5", b"GET / HTTP/1.9\r\nHost: a\r\n\r\n", 200);
    check("RFC 9110, 2.5: and needs a Host", b"GET / HTTP/1.2\r\n\r\n", 400);
    check("H24", b"GET / HTTP/3\r\nHost: a\r\n\r\n", 505);
    for path in ["/%00", "/%0d%0a", "/%c0%af", "/a/../b", "/%2e%2e/", "/a\\b", "/a%5Cb", "/%", "x"]
    {
        check("H25", format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes(), 400);
        let list = format!("GET /sse?channels={path} HTTP/1.1\r\nHost: a\r\n\r\n");
        let a_name = ["/a/../b", "/%2e%2e/", "/a\\b", "/a%5Cb", "x"].contains(&path);
        check("H25", list.as_bytes(), if a_name { 200 } else { 400 });
    }
    check("H26", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400);
    check("H26", b"SSH-2.0-OpenSSH_9.6p1 Debian-3\r\n", 400);
    check("H26", b"\x00\xff\xfe\x12", 400);
    check("H26", b"\x80\x9e\x01\x03\x01", 400);
}
