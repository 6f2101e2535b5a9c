//! Bodies in a content coding, and how long a connection is kept.

use std::io::Write;
use std::sync::atomic::Ordering::SeqCst;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

use crate::client::{Node, Wishes, post};

const JSON: &str = "Content-Type: application/json\r\n";
/// `{"a":1}` in br, as Node's `zlib.brotliCompressSync` makes it.
const BROTLI: &[u8] = &[11, 3, 128, 123, 34, 97, 34, 58, 49, 125, 3];

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn zlib(data: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn raw_deflate(data: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn coded(name: &str) -> String {
    format!("Content-Encoding: {name}\r\n")
}

#[test]
fn a_body_is_published_as_it_was_before_its_coding() {
    let node = Node::start();
    let text = br#"{"a":1}"#;
    let cases = [
        ("gzip", gzip(text)),
        ("X-GZip", gzip(text)),
        ("deflate", zlib(text)),
        ("deflate", raw_deflate(text)),
        ("br", BROTLI.to_vec()),
        ("identity", text.to_vec()),
        ("identity, deflate, gzip", gzip(&zlib(text))),
    ];
    for (name, body) in &cases {
        let answer = node.post("/v1/channels/demo", &coded(name), body);
        assert_eq!(answer.status, 200, "{name} {answer:?}");
    }
    let mut client = node.connect();
    let chunks = gzip(text);
    client.send("POST /v1/channels/demo HTTP/1.1\r\nHost: localhost\r\n");
    client.send("Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n");
    for chunk in chunks.chunks(3) {
        client.send([format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.answer().status, 200);
    assert_eq!(node.sequencer.payloads(), [&text[..]; 8]);
    let body = gzip(br#"{"channel":"a","data":[1]}"#);
    let answer = node.post("/v1/publish", &format!("{JSON}{}", coded("gzip")), body);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(*node.sequencer.payloads().last().unwrap(), b"[1]");
}

#[test]
fn codings_that_are_not_known_are_refused_with_those_that_are() {
    let node = Node::start();
    for name in ["zstd", "compress", "aws-chunked", "gzip, zstd", "gzip,gzip,gzip"] {
        for path in ["/v1/channels/demo", "/v1/publish"] {
            let answer = node.post(path, &format!("{JSON}{}", coded(name)), "x");
            assert_eq!((answer.status, &*answer.error()), (415, "bad_encoding"), "{name} {path}");
            assert_eq!(answer.field("accept-encoding"), Some("gzip, deflate, br"));
            assert_eq!(answer.field("connection"), Some("close"));
        }
    }
    assert_eq!(node.sequencer.count(), 0);
}

#[test]
fn corrupt_bodies_and_bombs() {
    let node = Node::start();
    let mut client = node.connect();
    for (name, body) in [
        ("gzip", b"not gzip".to_vec()),
        ("gzip", gzip(b"hi")[..19].to_vec()),
        ("deflate", zlib(b"hi")[..8].to_vec()),
        ("br", BROTLI[..9].to_vec()),
        ("gzip", [gzip(b"hi"), b"x".to_vec()].concat()),
    ] {
        client.send(post("/v1/channels/demo", &coded(name), body));
        let answer = client.answer();
        assert_eq!((answer.status, &*answer.error()), (400, "bad_body"), "{name}");
    }
    client.send(post("/v1/channels/demo", &coded("gzip"), gzip(b"")));
    let answer = client.answer();
    assert_eq!((answer.status, &*answer.error()), (400, "empty_body"));
    // Exactly the limit, and what of it cannot be made smaller; then a byte more, and a megabyte.
    let noise: Vec<u8> =
        (0..1_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for body in [vec![b'a'; 1_000], noise] {
        let answer = node.post("/v1/channels/demo", &coded("gzip"), gzip(&body));
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    for bytes in [1_001, 1_000_000] {
        let answer = node.post("/v1/channels/demo", &coded("gzip"), gzip(&vec![b'a'; bytes]));
        assert_eq!((answer.status, &*answer.error()), (413, "body_too_large"), "{bytes}");
    }
    // A bomb in a bomb: what comes of the first may not be larger than a body on the wire.
    let bomb = gzip(&gzip(&vec![b'a'; 10_000_000]));
    assert!(bomb.len() < 1_000);
    let answer = node.post("/v1/channels/demo", &coded("gzip, gzip"), bomb);
    assert_eq!((answer.status, &*answer.error()), (413, "body_too_large"));
    assert_eq!(node.sequencer.count(), 2);
}

#[test]
fn what_is_inflated_counts_in_the_budget_of_bodies() {
    let mut wishes = Wishes::default();
    wishes.limits.bodies_bytes = 900;
    let node = Node::with(wishes);
    let answer = node.post("/v1/channels/demo", &coded("gzip"), gzip(&[b'a'; 950]));
    assert_eq!((answer.status, &*answer.error()), (503, "busy"));
    let answer = node.post("/v1/channels/demo", &coded("gzip"), gzip(&[b'a'; 800]));
    assert_eq!(answer.status, 200, "all of it was given back: {answer:?}");
}

#[test]
fn answers_say_how_long_a_silent_connection_is_kept() {
    let node = Node::start();
    let get = |fields: &str| {
        node.ask(format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n"))
    };
    let answer = get("");
    assert_eq!(answer.field("keep-alive"), Some("timeout=74"), "a second less than it is");
    assert_eq!(answer.field("connection"), None, "HTTP/1.1 keeps it unless it says otherwise");
    let answer = get("Connection: x, Close\r\n");
    assert_eq!((answer.field("keep-alive"), answer.field("connection")), (None, Some("close")));
    // A refusal that ends the connection promises nothing.
    let answer = node.post("/nowhere", "", "x");
    assert_eq!((answer.field("keep-alive"), answer.field("connection")), (None, Some("close")));
}

#[test]
fn who_is_to_leave_is_told_with_an_answer_and_not_by_the_end() {
    let node = Node::start();
    let mut client = node.connect();
    client.send(post("/v1/channels/demo", "", "one"));
    assert_eq!(client.answer().field("connection"), None);
    node.ready.store(false, SeqCst); // as from the signal on
    client.send(post("/v1/channels/demo", "", "two"));
    let answer = client.answer();
    assert_eq!((answer.status, answer.field("connection")), (200, Some("close")));
    assert!(client.ends());
    assert_eq!(node.sequencer.payloads(), [&b"one"[..], b"two"]);
}
