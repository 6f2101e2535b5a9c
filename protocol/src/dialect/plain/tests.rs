//! Encodings read back by other parsers: serde_json, the event stream reader, and a frame reader
//! of three lines.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::dialect::{self, Encoding, longest_bytes};
use crate::id::{Epoch, Id};
use crate::message::GapReason;
use crate::sse::{Event, Reader};

const ID: &str = "00000005-77";

const SSE: Framing = Framing::Sse { chunked: true, named: true };
const SSE_UNNAMED: Framing = Framing::Sse { chunked: true, named: false };

fn raw_over(framing: Framing) -> Encoding {
    Encoding::of(dialect::Form::Plain(Form::Raw), framing).unwrap()
}

fn json_over(framing: Framing) -> Encoding {
    Encoding::of(dialect::Form::Plain(Form::Json), framing).unwrap()
}

/// The same for a client that knows no chunks.
fn without_chunks(encoding: Encoding) -> Encoding {
    let framing = match encoding.framing() {
        Framing::Sse { named, .. } => Framing::Sse { chunked: false, named },
        framing => framing,
    };
    Encoding::of(encoding.form(), framing).unwrap()
}

fn message<'a>(kind: Kind, event: Option<&'a str>, data: &'a [u8]) -> MessageView<'a> {
    let id = Id { epoch: Epoch::from_random(5), position: 77 };
    let kept = Some(Kept { id, offset: 12 });
    MessageView { channel: "room:\"1\"", view: None, kept, event, kind, data }
}

fn rendered(message: &MessageView<'_>, encoding: Encoding) -> Vec<u8> {
    let mut out = b"what was there".to_vec();
    encoding.message(message, &mut out);
    out.split_off(b"what was there".len())
}

/// Opcode and payload of exactly one frame.
fn unframed(bytes: &[u8]) -> (u8, &[u8]) {
    let (length, header) = match bytes[1] {
        126 => (usize::from(u16::from_be_bytes([bytes[2], bytes[3]])), 4),
        127 => (u64::from_be_bytes(bytes[2..10].try_into().unwrap()) as usize, 10),
        short => (usize::from(short), 2),
    };
    assert_eq!(bytes[0] & 0xf0, 0x80, "final, nothing reserved");
    assert_eq!(bytes.len(), header + length, "the header tells the true length");
    (bytes[0] & 15, &bytes[header..])
}

/// What whole chunks hold, read by another parser of their sizes.
fn unchunked(mut chunks: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !chunks.is_empty() {
        let size = httparse::parse_chunk_size(chunks).expect("a size");
        let httparse::Status::Complete((at, length)) = size else { panic!("a whole size") };
        let length = usize::try_from(length).unwrap();
        bytes.extend_from_slice(&chunks[at..at + length]);
        chunks = chunks[at + length..].strip_prefix(b"\r\n").expect("a chunk ends its line");
    }
    bytes
}

fn events(stream: &[u8]) -> Vec<Event> {
    let mut events = Vec::new();
    Reader::new(1 << 24).feed(stream, &mut events).unwrap();
    events
}

fn parsed(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

/// The object that every JSON encoding must hold.
fn check_json(message: &MessageView<'_>, expected: &Value) {
    let (opcode, payload) = {
        let bytes = rendered(message, json_over(Framing::Ws));
        let (opcode, payload) = unframed(&bytes);
        (opcode, parsed(payload))
    };
    assert_eq!((opcode, &payload), (1, expected));
    assert_eq!(&parsed(&rendered(message, json_over(Framing::Poll))), expected);
    let named = (json_over(SSE), message.event.unwrap_or("message"));
    for (encoding, name) in [named, (json_over(SSE_UNNAMED), "message")] {
        let stream = unchunked(&rendered(message, encoding));
        assert_eq!(stream, rendered(message, without_chunks(encoding)));
        let [event] = &events(&stream)[..] else { panic!("one event") };
        assert_eq!((event.id.as_str(), event.event.as_str()), (ID, name));
        assert_eq!(&parsed(event.data.as_bytes()), expected);
    }
}

#[test]
fn json_encodings() {
    let base = |rest: Value| {
        let mut object = json!({"channel": "room:\"1\"", "id": ID, "offset": 12});
        object.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        object
    };
    let cases = [
        (Kind::Json, None, &b"{\"a\":[1,\r\n2]}"[..], json!({"data": {"a": [1, 2]}})),
        (Kind::Json, Some("e"), b" 1\n", json!({"event": "e", "data": 1})),
        (Kind::Text, None, b"a\r\n\"b\"\0", json!({"data": "a\r\n\"b\"\0"})),
        (Kind::Text, Some("\u{e4}\""), b"", json!({"event": "\u{e4}\"", "data": ""})),
        (Kind::Binary, None, b"\xff\0\n", json!({"base64": "/wAK"})),
    ];
    for (kind, event, data, rest) in cases {
        check_json(&message(kind, event, data), &base(rest));
    }
}

#[test]
fn the_order_of_names_is_fixed() {
    let bytes = rendered(&message(Kind::Text, Some("e"), b"x"), json_over(Framing::Poll));
    let text = String::from_utf8(bytes).unwrap();
    assert_eq!(
        text,
        r#"{"channel":"room:\"1\"","id":"00000005-77","offset":12,"event":"e","data":"x"}"#
    );
}

#[test]
fn raw_encodings() {
    for (kind, opcode) in [(Kind::Json, 1), (Kind::Text, 1), (Kind::Binary, 2)] {
        let message = message(kind, Some("e"), b"[1]\n");
        assert_eq!(unframed(&rendered(&message, raw_over(Framing::Ws))), (opcode, &b"[1]\n"[..]));
    }
    let cases = [
        (Kind::Text, None, &b"a\rb"[..], "message", "a\nb"),
        (Kind::Json, Some("e"), b"[1]", "e", "[1]"),
        (Kind::Binary, None, b"\xff\0\n", "message", "/wAK"),
        (Kind::Text, None, b"", "message", ""),
    ];
    for (kind, name, data, event, expected) in cases {
        let event = Event { id: ID.into(), event: event.into(), data: expected.into() };
        let stream = rendered(&message(kind, name, data), without_chunks(raw_over(SSE)));
        assert_eq!(events(&stream), [event]);
        let chunk = rendered(&message(kind, name, data), raw_over(SSE));
        assert_eq!(unchunked(&chunk), stream);
    }
}

#[test]
fn gaps() {
    let cases = [
        (Some((3, 9)), GapReason::Slow, json!([3, 9, 7, "slow"])),
        (Some((5, 5)), GapReason::Trimmed, json!([5, 5, 1, "trimmed"])),
        (Some((1, 2)), GapReason::Expired, json!([1, 2, 2, "expired"])),
        (None, GapReason::Epoch, json!([null, null, null, "epoch"])),
        (None, GapReason::Unknown, json!([null, null, null, "unknown"])),
    ];
    for (bounds, reason, numbers) in cases {
        let expected = json!({
            "event": "fanfare.gap", "channel": "a\\b", "from": numbers[0], "to": numbers[1],
            "missed": numbers[2], "reason": numbers[3],
        });
        let view = GapView { channel: "a\\b", view: None, bounds, reason };
        let written = |encoding: Encoding| {
            let mut out = Vec::new();
            encoding.gap(&view, &mut out);
            out
        };
        for encoding in [raw_over(Framing::Ws), json_over(Framing::Ws)] {
            let bytes = written(encoding);
            let (opcode, payload) = unframed(&bytes);
            assert_eq!((opcode, parsed(payload)), (1, expected.clone()));
        }
        for (encoding, name) in
            [(raw_over(SSE), GAP), (json_over(SSE), GAP), (json_over(SSE_UNNAMED), "message")]
        {
            let stream = unchunked(&written(encoding));
            assert_eq!(stream, written(without_chunks(encoding)));
            let [event] = &events(&stream)[..] else { panic!("one event") };
            assert_eq!((event.id.as_str(), event.event.as_str()), ("", name));
            assert_eq!(parsed(event.data.as_bytes()), expected);
        }
        assert_eq!(parsed(&written(json_over(Framing::Poll))), expected);
    }
}

#[test]
fn beginnings() {
    let id = Id { epoch: Epoch::from_random(5), position: 77 };
    let written = |encoding: Encoding| {
        let mut out = Vec::new();
        encoding.open(&Opening { id, origin: None, retry_ms: 1_000 }, &mut out);
        out
    };
    assert_eq!(written(raw_over(Framing::Ws)), b"");
    assert_eq!(written(json_over(Framing::Poll)), b"");
    let bytes = written(json_over(Framing::Ws));
    assert_eq!(unframed(&bytes), (1, &br#"{"event":"fanfare.open","id":"00000005-77"}"#[..]));
    let block = String::from_utf8(written(without_chunks(json_over(SSE_UNNAMED)))).unwrap();
    let data = r#"{"event":"fanfare.open","id":"00000005-77"}"#;
    assert_eq!(block, format!("retry: 1000\ndata: {data}\nid: 00000005-77\n\n"));
    for encoding in [raw_over(SSE), json_over(SSE)] {
        let block = unchunked(&written(encoding));
        assert_eq!(block, written(without_chunks(encoding)));
        assert_eq!(
            String::from_utf8(block.clone()).unwrap(),
            "retry: 1000\nevent: fanfare.open\ndata: {\"id\":\"00000005-77\"}\nid: 00000005-77\n\n"
        );
        let (mut reader, mut events) = (Reader::new(1_000), Vec::new());
        reader.feed(&block, &mut events).unwrap();
        assert_eq!((events.len(), reader.last_id(), reader.retry_ms()), (1, ID, Some(1_000)));
    }
}

/// Who leaves the opening out gets no byte that a parser could take for a message.
#[test]
fn an_opening_that_is_left_out() {
    for encoding in Encoding::ALL {
        let mut out = Vec::new();
        encoding.framing().retry(1_000, &mut out);
        if encoding.framing().is_chunked() {
            out = unchunked(&out);
        }
        let is_stream = encoding.framing().is_event_stream();
        assert_eq!(out, if is_stream { &b"retry: 1000\n"[..] } else { b"" });
        if is_stream && !encoding.framing().is_chunked() {
            encoding.message(&message(Kind::Text, None, b"x"), &mut out);
            assert_eq!(events(&out).len(), 1, "the line is part of the first message's block");
        }
    }
}

#[test]
fn ends_and_signs_of_life() {
    for (chunked, plain) in [
        (raw_over(SSE), without_chunks(raw_over(SSE))),
        (json_over(SSE), without_chunks(json_over(SSE))),
    ] {
        assert!(chunked.framing().is_chunked() && !plain.framing().is_chunked());
        let written = |write: &dyn Fn(Encoding, &mut Vec<u8>), encoding| {
            let mut out = Vec::new();
            write(encoding, &mut out);
            out
        };
        let heartbeat = |encoding: Encoding, out: &mut Vec<u8>| encoding.framing().heartbeat(out);
        assert_eq!(written(&heartbeat, plain), b":\n");
        assert_eq!(written(&heartbeat, chunked), b"2\r\n:\n\r\n");
        for (reason, word) in [
            (CloseReason::Slow, "slow"),
            (CloseReason::Restart, "restart"),
            (CloseReason::Full, "full"),
            (CloseReason::FollowedLimit, "followed_limit"),
        ] {
            let end = |encoding: Encoding, out: &mut Vec<u8>| encoding.close(reason, 2_000, out);
            let block = written(&end, plain);
            assert_eq!(
                String::from_utf8(block.clone()).unwrap(),
                format!(
                    "retry: 2000\nevent: fanfare.close\n\
                     data: {{\"event\":\"fanfare.close\",\"reason\":\"{word}\"}}\n\n"
                )
            );
            let chunks = written(&end, chunked);
            assert!(chunks.ends_with(b"\r\n0\r\n\r\n"), "the answer is over");
            assert_eq!(unchunked(&chunks), block);
        }
    }
}

proptest! {
    #[test]
    fn the_longest_is_told_before_and_nearly_exact(
        data in "(\r|\n|\r\n|\0|\"|\\\\|[ -~é]){0,300}",
        kind in 0u8..3,
        channel in "[ -)+-~é]{1,100}",
        event in prop::option::of("[a-z][\"\\\\a-z]{0,99}"),
        position: u64,
        offset: u64,
    ) {
        let event = event.as_deref();
        let kind = Kind::from_number(kind).unwrap();
        let id = Id { epoch: Epoch::from_random(5), position };
        let data = data.as_bytes();
        let kept = Some(Kept { id, offset });
        let message = MessageView { channel: &channel, view: None, kept, event, kind, data };
        let longest = longest_bytes(&channel, event, kind, data);
        let lengths = Encoding::ALL.map(|encoding| rendered(&message, encoding).len());
        let most = lengths.into_iter().max().unwrap();
        prop_assert!(most <= longest, "{lengths:?} {longest}");
        // Text in an event stream without an envelope is longest where it is nearly all lines.
        let envelope = channel.len() * 2 + event.map_or(0, |event| event.len() * 2);
        prop_assert!(longest - most <= 256 + envelope, "{lengths:?} {longest}");
    }

    #[test]
    fn any_text_comes_back(text in "(\r|\n|\r\n|\0|\"|\\\\|\u{2028}|.){0,200}") {
        let message = message(Kind::Text, None, text.as_bytes());
        let expected = json!({
            "channel": "room:\"1\"", "id": ID, "offset": 12, "data": text,
        });
        check_json(&message, &expected);
    }

    #[test]
    fn frames_of_any_length_are_framed(length in 0usize..70_000, kind in 1u8..3) {
        let text = vec![b'\n'; length];
        let message = message(Kind::from_number(kind).unwrap(), None, &text);
        for encoding in [raw_over(Framing::Ws), json_over(Framing::Ws)] {
            unframed(&rendered(&message, encoding));
        }
    }
}

#[test]
fn a_connection_that_asks_is_told_what_it_is_called() {
    let id = Id { epoch: Epoch::from_random(5), position: 77 };
    let opening = Opening { id, origin: Some(0xa1), retry_ms: 1_000 };
    let mut out = Vec::new();
    json_over(Framing::Ws).open(&opening, &mut out);
    let expected = r#"{"event":"fanfare.open","id":"00000005-77","origin":"00000000000000a1"}"#;
    assert_eq!(unframed(&out), (1, expected.as_bytes()));
    let mut out = Vec::new();
    without_chunks(raw_over(SSE)).open(&opening, &mut out);
    let block = String::from_utf8(out).unwrap();
    let data = r#"data: {"id":"00000005-77","origin":"00000000000000a1"}"#;
    assert!(block.contains(data), "{block}");
}

#[test]
fn an_ephemeral_message_has_no_numbers() {
    let view = MessageView { kept: None, ..message(Kind::Json, Some("e"), b"[1]") };
    let object = r#"{"channel":"room:\"1\"","event":"e","data":[1]}"#;
    let bytes = rendered(&view, json_over(Framing::Ws));
    assert_eq!(unframed(&bytes), (1, object.as_bytes()));
    assert_eq!(rendered(&view, json_over(Framing::Poll)), object.as_bytes());
    let block = rendered(&view, without_chunks(json_over(SSE)));
    assert_eq!(String::from_utf8(block).unwrap(), format!("event: e\ndata: {object}\n\n"));
    let block = rendered(&view, without_chunks(raw_over(SSE)));
    assert_eq!(String::from_utf8(block).unwrap(), "event: e\ndata: [1]\n\n");
}

#[test]
fn a_view_stands_beside_the_channel_in_json_and_nowhere_in_what_is_raw() {
    let view = Some(r#"{"a":1}"#);
    let said = |view| MessageView { view, ..message(Kind::Json, None, b"[1]") };
    let json: Value =
        serde_json::from_slice(&rendered(&said(view), json_over(Framing::Poll))).unwrap();
    assert_eq!((&json["view"], &json["data"]), (&json!(r#"{"a":1}"#), &json!([1])));
    let mut out = Vec::new();
    let gap = GapView { channel: "c", view, bounds: None, reason: GapReason::Unknown };
    json_over(Framing::Poll).gap(&gap, &mut out);
    let json: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(json["view"], json!(r#"{"a":1}"#));
    let raw = raw_over(Framing::Ws);
    assert_eq!(rendered(&said(view), raw), rendered(&said(None), raw));
}
