//! Envelopes as another dialect would make them: what frames them knows none.

use super::*;
use crate::id::Epoch;

/// A push of a dialect whose envelopes end with the offset.
fn pushed(framing: Framing, payload: Payload<'_>) -> Vec<u8> {
    let id = Id { epoch: Epoch::from_random(5), position: 77 };
    let envelope = Envelope {
        name: Some("push"),
        id: Some(id),
        retry_ms: None,
        payload,
        end: br#","offset":42}}"#,
    };
    let mut out = b"before".to_vec();
    let opening = |out: &mut Vec<u8>| out.extend_from_slice(br#"{"push":{"data":"#);
    framing.wrap(&envelope, opening, &mut out);
    assert!(out.starts_with(b"before"));
    out.split_off(b"before".len())
}

#[test]
fn an_envelope_in_every_framing() {
    let payload = Payload::Plain(b"[1,\r\n2]");
    let cases: [(Framing, &str); 6] = [
        (Framing::Ws, "\u{81}%{\"push\":{\"data\":[1,\r\n2],\"offset\":42}}"),
        (Framing::Poll, "{\"push\":{\"data\":[1,\r\n2],\"offset\":42}}"),
        (
            Framing::Sse { chunked: false, named: true },
            "event: push\ndata: {\"push\":{\"data\":[1,\ndata: 2],\"offset\":42}}\n\
             id: 00000005-77\n\n",
        ),
        (
            Framing::Sse { chunked: false, named: false },
            "data: {\"push\":{\"data\":[1,\ndata: 2],\"offset\":42}}\nid: 00000005-77\n\n",
        ),
        (
            Framing::Sse { chunked: true, named: true },
            "4e\r\nevent: push\ndata: {\"push\":{\"data\":[1,\ndata: 2],\"offset\":42}}\n\
             id: 00000005-77\n\n\r\n",
        ),
        (
            Framing::Sse { chunked: true, named: false },
            "42\r\ndata: {\"push\":{\"data\":[1,\ndata: 2],\"offset\":42}}\n\
             id: 00000005-77\n\n\r\n",
        ),
    ];
    for (framing, expected) in cases {
        let text: String = pushed(framing, payload).into_iter().map(char::from).collect();
        assert_eq!(text, expected, "{framing:?}");
    }
}

#[test]
fn a_frame_says_what_it_is_and_how_long() {
    for (payload, opcode, text) in [
        (Payload::Plain(b"\"a\""), 0x81, &b"\"a\""[..]),
        (Payload::JsonString(b"a\n"), 0x81, b"\"a\\n\""),
        (Payload::Base64String(b"\xff"), 0x81, b"\"/w==\""),
        (Payload::Binary(b"\xff\r\0"), 0x82, b"\xff\r\0"),
    ] {
        let inside = [br#"{"push":{"data":"#, text, br#","offset":42}}"#].concat();
        let expected = [&[opcode, inside.len() as u8], &inside[..]].concat();
        assert_eq!(pushed(Framing::Ws, payload), expected, "{payload:?}");
    }
}

#[test]
fn what_only_carries_text_carries_binary_as_such() {
    let stream = pushed(Framing::Sse { chunked: false, named: false }, Payload::Binary(b"\xff\n"));
    let stream = String::from_utf8(stream).unwrap();
    assert!(stream.starts_with("data: {\"push\":{\"data\":/wo=,\"offset\":42}}\n"), "{stream}");
}

#[test]
fn no_framing_makes_a_payload_longer_than_the_longest() {
    let longest = |payload: Payload<'_>| {
        let lengths = Framing::ALL.map(|framing| pushed(framing, payload).len());
        let bare = Framing::ALL.map(|framing| pushed(framing, Payload::Plain(b"")).len());
        let payloads = lengths.iter().zip(bare).map(|(length, bare)| length - bare);
        (payloads.max().unwrap(), payload.longest_bytes())
    };
    // Headers of chunks grow by a digit.
    for payload in [
        Payload::Plain(b"a\r\n\r\n\n\rb"),
        Payload::JsonString(b"\0\n\"x"),
        Payload::Base64String(b"12345"),
        Payload::Binary(b"\n\n\n\n\n\n\n\n"),
    ] {
        let (most, told) = longest(payload);
        assert!(most <= told + 1 && told <= most + 2, "{payload:?}: {most}, {told}");
    }
}
