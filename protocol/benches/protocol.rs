//! What the wire costs without a wire: each codec on the path of a connection or of a message.
//!
//! Every benchmark first holds its answer against bytes written out by hand, as the RFC or a
//! browser would say them, and then times the very function that was checked. `cargo test
//! --benches` runs each once, checks included.
//!
//!     cargo bench -p fanfare-protocol [-- NAME]

use std::fmt::Debug;
use std::hint::black_box;

use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, measurement::WallTime};
use criterion::{criterion_group, criterion_main};
use fanfare_protocol::dialect::{Encoding, Form, plain};
use fanfare_protocol::framing::Framing;
use fanfare_protocol::http::{Fed, HeadReader, HttpDate, Method, Request};
use fanfare_protocol::id::{Epoch, Id};
use fanfare_protocol::limits::{HttpLimits, WsLimits};
use fanfare_protocol::message::{Kept, Kind, MessageView};
use fanfare_protocol::sse;
use fanfare_protocol::ws::handshake::{accept, decide, write_switch};
use fanfare_protocol::ws::header::write_header;
use fanfare_protocol::ws::mask::apply_mask;
use fanfare_protocol::ws::send::write_masked;
use fanfare_protocol::ws::{DataKind, Event, Opcode, Receiver, Role};

/// An upgrade as Chromium sends it, with the fields that every browser adds.
const BROWSER: &str = "GET /ws?channels=news,chat:17&since=7k2mq0xw-123456 HTTP/1.1\r\n\
    Host: live.example.com\r\n\
    Connection: Upgrade\r\n\
    Pragma: no-cache\r\n\
    Cache-Control: no-cache\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
    Chrome/142.0.0.0 Safari/537.36\r\n\
    Upgrade: websocket\r\n\
    Origin: https://live.example.com\r\n\
    Sec-WebSocket-Version: 13\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: en-GB,en;q=0.9\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";
/// The least that a load generator or a script sends.
const BARE: &str = "GET /sse?channels=news HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Times `run`, once its answer was held against `expected`.
fn checked<T: PartialEq + Debug>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    expected: &T,
    mut run: impl FnMut() -> T,
) {
    assert_eq!(&run(), expected, "{name} gives a wrong answer");
    group.bench_function(name, |bencher| bencher.iter(|| black_box(run())));
    assert_eq!(&run(), expected, "{name} gave another answer after its runs");
}

/// Times `write` into a buffer that is used again, once what it writes was held against `expected`.
fn written(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    expected: &[u8],
    mut write: impl FnMut(&mut Vec<u8>),
) {
    let mut out = Vec::with_capacity(1_024);
    write(&mut out);
    assert_eq!(out, expected, "{name} writes something else");
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            out.clear();
            write(&mut out);
            black_box(&mut out);
        });
    });
    assert_eq!(out, expected, "{name} wrote something else in the end");
}

fn whole(head: &str) -> HeadReader {
    let mut reader = HeadReader::new();
    let fed = reader.feed(head.as_bytes(), &HttpLimits::DEFAULT);
    assert_eq!(fed, Ok(Fed::Complete { taken: head.len() }));
    reader
}

/// From the first byte of a head to the checked request; one buffer is allocated, as in a shard.
fn head(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("head");
    let says = |request: &Request<'_>| {
        let Request { method, path, fields, keep_alive, .. } = request;
        (*method, path.len(), fields.one("host").ok().flatten().map(<[u8]>::len), *keep_alive)
    };
    for (name, head, expected) in [
        // Behind an upgrade comes no other request.
        ("browser", BROWSER, (Method::Get, 3, Some(16), false)),
        ("bare", BARE, (Method::Get, 4, Some(9), true)),
    ] {
        group.throughput(Throughput::Bytes(head.len() as u64));
        checked(&mut group, name, &expected, || {
            let reader = whole(black_box(head));
            says(&reader.request(&HttpLimits::DEFAULT).unwrap())
        });
        // As a network may cut it: the work must stay linear in the bytes.
        checked(&mut group, &format!("{name}, 16 bytes at a time"), &expected, || {
            let mut reader = HeadReader::new();
            for piece in black_box(head).as_bytes().chunks(16) {
                reader.feed(piece, &HttpLimits::DEFAULT).unwrap();
            }
            says(&reader.request(&HttpLimits::DEFAULT).unwrap())
        });
    }
    group.finish();
}

/// From a parsed request to the bytes of the 101.
fn handshake(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("handshake");
    let reader = whole(BROWSER);
    let request = reader.request(&HttpLimits::DEFAULT).unwrap();
    // RFC 6455, section 1.3.
    let key: &[u8] = b"dGhlIHNhbXBsZSBub25jZQ==";
    checked(&mut group, "accept key", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", || accept(black_box(key)));
    let date = HttpDate::from_unix_seconds(784_111_777);
    let answer: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\n\
        Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    written(&mut group, "decide and answer", answer, |out| {
        write_switch(out, date, &decide(black_box(&request)).unwrap());
    });
    group.finish();
}

/// Unmasking in place, by size.
fn mask(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mask");
    for size in [16, 125, 1_024, 16_384] {
        let mut data: Vec<u8> = (0..size).map(|at| at as u8).collect();
        let key = [0x37, 0xfa, 0x21, 0x3d];
        // The RFC's sentence (section 5.3), for a frame whose first two bytes came before.
        let expected: Vec<u8> = (0..size).map(|at: usize| at as u8 ^ key[(at + 2) % 4]).collect();
        apply_mask(&mut data, key, 2);
        assert!(data == expected, "{size} bytes are masked wrongly");
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| apply_mask(black_box(&mut data), black_box(key), 2));
        });
        // Each run undid the one before: what is left is one of the two, and nothing else.
        let original: Vec<u8> = (0..size).map(|at| at as u8).collect();
        assert!(data == expected || data == original, "{size} bytes were lost on the way");
    }
    group.finish();
}

/// Headers and whole frames of ours; frames of a client from bytes to events.
fn frame(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frame");
    let headers: [(usize, &[u8]); 3] = [
        (125, &[0x81, 125]),
        (128, &[0x81, 126, 0, 128]),
        (65_536, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
    ];
    for (length, expected) in headers {
        written(&mut group, &format!("header of {length}"), expected, |out| {
            write_header(Opcode::Text, black_box(length), out);
        });
    }
    // What a client says most: a short text, masked.
    let mut sent = Vec::new();
    write_masked(true, Opcode::Text, &[b'x'; 64], [1, 2, 3, 4], &mut sent);
    let mut scratch = sent.clone();
    checked(&mut group, "receive 64 bytes", &(64, true), || {
        scratch.copy_from_slice(&sent);
        let mut receiver = Receiver::new(Role::Server);
        let mut input = black_box(&mut scratch[..]);
        let mut heard = (0, false);
        while let Some(event) = receiver.next(&mut input, &WsLimits::DEFAULT).unwrap() {
            let Event::Data { kind: DataKind::Text, last, chunk, .. } = event else {
                panic!("{event:?} where a text was sent")
            };
            heard = (heard.0 + chunk.iter().filter(|byte| **byte == b'x').count(), last);
        }
        heard
    });
    group.finish();
}

/// A message of 128 bytes in encodings of each kind: what is paid once for all clients of one.
fn render(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("render");
    let data = format!(r#"{{"text":"{}"}}"#, "x".repeat(117));
    assert_eq!(data.len(), 128);
    let id = Id { epoch: Epoch::from_random(0), position: 7 };
    let message = MessageView {
        view: None,
        channel: "news",
        kept: Some(Kept { id, offset: 3 }),
        event: Some("tick"),
        kind: Kind::Json,
        data: data.as_bytes(),
    };
    let object = format!(
        r#"{{"channel":"news","id":"00000000-7","offset":3,"event":"tick","data":{data}}}"#
    );
    let long = |bytes: &str| {
        let [high, low] = (bytes.len() as u16).to_be_bytes();
        [&[0x81, 126, high, low], bytes.as_bytes()].concat()
    };
    let stream = |data: &str| format!("event: tick\ndata: {data}\nid: 00000000-7\n\n").into_bytes();
    let chunk =
        |event: Vec<u8>| [format!("{:x}\r\n", event.len()).as_bytes(), &event, b"\r\n"].concat();
    let raw = |framing| Encoding::of(Form::Plain(plain::Form::Raw), framing).unwrap();
    let json = |framing| Encoding::of(Form::Plain(plain::Form::Json), framing).unwrap();
    let sse = |chunked| Framing::Sse { chunked, named: true };
    let cases = [
        ("WebSocket raw", raw(Framing::Ws), long(&data)),
        ("WebSocket JSON", json(Framing::Ws), long(&object)),
        ("SSE raw", raw(sse(true)), chunk(stream(&data))),
        ("SSE JSON", json(sse(true)), chunk(stream(&object))),
        ("SSE raw, HTTP/1.0", raw(sse(false)), stream(&data)),
        ("poll", json(Framing::Poll), object.clone().into_bytes()),
    ];
    group.throughput(Throughput::Bytes(data.len() as u64));
    for (name, encoding, expected) in cases {
        written(&mut group, name, &expected, |out| {
            encoding.message(black_box(&message), out);
        });
    }
    // Line breaks are what an event stream has to look for.
    let lines = "line of text\n".repeat(10);
    let expected = format!("data: {}\n\n", lines.replace('\n', "\ndata: ")).into_bytes();
    group.throughput(Throughput::Bytes(lines.len() as u64));
    written(&mut group, "SSE of ten lines", &expected, |out| {
        sse::event(out, None, None, black_box(lines.as_bytes()));
    });
    group.finish();
}

criterion_group!(benches, head, handshake, mask, frame, render);
criterion_main!(benches);
