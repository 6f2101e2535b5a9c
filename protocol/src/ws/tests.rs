//! The receiving machine row by row of RFC 6455 and of our limits, under every split, and against a
//! naive decoder.

use proptest::prelude::*;

use super::fuzz::{StreamRead, Told, same, tell};
use super::send::{write_binary, write_close, write_masked, write_ping, write_pong, write_text};
use super::{CloseCode, DataKind, Event, Opcode, Receiver, Role, Violation, oracle};
use crate::limits::WsLimits;

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const FIN: bool = true;
const MORE: bool = false;

fn frame(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write_masked(fin, opcode, payload, KEY, &mut out);
    out
}

fn text(text: &str) -> Told {
    Told::Message(DataKind::Text, text.as_bytes().to_vec())
}

fn binary(bytes: &[u8]) -> Told {
    Told::Message(DataKind::Binary, bytes.to_vec())
}

/// Checks every single cut, every pair of cuts where the stream is short, and byte by byte.
fn under_every_split(stream: &[u8], limits: &WsLimits) -> StreamRead {
    let whole = tell(stream, &[], Role::Server, limits);
    let bytewise: Vec<usize> = (1..stream.len()).collect();
    same(&whole, &tell(stream, &bytewise, Role::Server, limits));
    for first in 0..=stream.len() {
        same(&whole, &tell(stream, &[first], Role::Server, limits));
        if stream.len() <= 64 {
            for second in first..=stream.len() {
                same(&whole, &tell(stream, &[first, second], Role::Server, limits));
            }
        }
    }
    whole
}

#[test]
fn what_clients_may_send() {
    use Opcode::{Binary, Close, Continuation, Ping, Pong, Text};
    let long = "0123456789".repeat(30);
    let emoji = "é😀";
    for (name, frames, told) in [
        ("text", vec![frame(FIN, Text, b"hello")], vec![text("hello")]),
        ("empty text", vec![frame(FIN, Text, b"")], vec![text("")]),
        ("empty binary", vec![frame(FIN, Binary, b"")], vec![binary(b"")]),
        ("binary", vec![frame(FIN, Binary, b"\x00\xff\xc0")], vec![binary(b"\x00\xff\xc0")]),
        ("16-bit length", vec![frame(FIN, Text, long.as_bytes())], vec![text(&long)]),
        (
            "fragments, empty ones too, with control frames between them",
            vec![
                frame(MORE, Text, b""),
                frame(FIN, Ping, b"one"),
                frame(MORE, Continuation, b"hel"),
                frame(FIN, Pong, b""),
                frame(MORE, Continuation, b""),
                frame(FIN, Continuation, b"lo"),
                frame(FIN, Binary, b"next"),
            ],
            vec![Told::Ping(b"one".to_vec()), Told::Pong(vec![]), text("hello"), binary(b"next")],
        ),
        (
            "a message of empty fragments",
            vec![frame(MORE, Binary, b""), frame(FIN, Continuation, b"")],
            vec![binary(b"")],
        ),
        (
            "an empty last fragment",
            vec![frame(MORE, Text, b"all"), frame(FIN, Continuation, b"")],
            vec![text("all")],
        ),
        (
            "W12: code points split over fragments",
            (0..emoji.len())
                .map(|i| {
                    let opcode = if i == 0 { Text } else { Continuation };
                    frame(i + 1 == emoji.len(), opcode, &emoji.as_bytes()[i..=i])
                })
                .collect(),
            vec![text(emoji)],
        ),
        (
            "the longest control payload",
            vec![frame(FIN, Ping, &[7; 125])],
            vec![Told::Ping(vec![7; 125])],
        ),
        ("close without a code", vec![frame(FIN, Close, b"")], vec![Told::Close(None)]),
        (
            "W15: after a close everything is ignored, a second close too",
            vec![
                frame(MORE, Text, b"never finished"),
                frame(FIN, Close, b"\x03\xe9bye"),
                frame(FIN, Close, b""),
                b"\xff\xff\xff garbage".to_vec(),
            ],
            vec![Told::Close(Some((1001, "bye".into())))],
        ),
    ] {
        let outcome = under_every_split(&frames.concat(), &WsLimits::DEFAULT);
        assert_eq!((outcome.told, outcome.violation), (told, None), "{name}");
    }
}

/// What limits of 1,000 bytes and 4 fragments forbid, up to the byte that decides it.
fn violations() -> Vec<(&'static str, Vec<u8>, u16)> {
    use Opcode::{Close, Continuation, Text};
    let start = frame(MORE, Text, b"a");
    let after = |rest: &[u8]| [start.as_slice(), rest].concat();
    let close = |payload: &[u8]| frame(FIN, Close, payload);
    let mut rows = vec![
        ("W1 unmasked", b"\x81\x05".to_vec(), 1002),
        ("W2 RSV1", b"\xc1".to_vec(), 1002),
        ("W2 RSV2", b"\xa1".to_vec(), 1002),
        ("W2 RSV3", b"\x91".to_vec(), 1002),
        ("W2 RSV1 on a continuation", after(b"\xc0"), 1002),
        ("W2 RSV1 on a control frame", b"\xc9".to_vec(), 1002),
        ("W4 top bit of the length", b"\x82\xff\x80".to_vec(), 1002),
        ("W4 all bits of the length", b"\x82\xff\xff".to_vec(), 1002),
        ("W5 126 form for 5", b"\x82\xfe\x00\x05".to_vec(), 1002),
        ("W5 127 form for 200", b"\x82\xff\0\0\0\0\0\0".to_vec(), 1002),
        ("W6 1 GiB declared, nothing sent", b"\x82\xff\0\0\0\0\x40".to_vec(), 1009),
        ("W6 one byte over", b"\x82\xfe\x03\xe9".to_vec(), 1009),
        (
            "W7 sum over fragments",
            [frame(MORE, Text, &[b'a'; 600]), b"\x80\xfe\x01\x91".to_vec()].concat(),
            1009,
        ),
        (
            "W7 sum over three fragments",
            [
                frame(MORE, Text, &[b'a'; 600]),
                frame(MORE, Continuation, b""),
                b"\x80\xfe\x01\x91".to_vec(),
            ]
            .concat(),
            1009,
        ),
        ("W9 continuation without start", b"\x80".to_vec(), 1002),
        (
            "W9 continuation after a whole message",
            [frame(FIN, Text, b"x"), b"\x80".to_vec()].concat(),
            1002,
        ),
        ("W9 text inside a message", after(b"\x81"), 1002),
        ("W9 binary inside a message", after(b"\x02"), 1002),
        ("W10 ping fragmented", b"\x09".to_vec(), 1002),
        ("W10 close fragmented inside a message", after(b"\x08"), 1002),
        ("W10 ping of 126 bytes", b"\x89\xfe".to_vec(), 1002),
        ("W11 wrong at once", frame(FIN, Text, b"\xff"), 1007),
        ("W11 overlong", frame(FIN, Text, b"\xc0\xaf"), 1007),
        ("W11 surrogate", frame(FIN, Text, b"ab\xed\xa0\x80"), 1007),
        ("W11 cut at the end of the message", frame(FIN, Text, b"\xe2\x82"), 1007),
        (
            "W11 cut at the end of an empty last fragment",
            [frame(MORE, Text, b"\xe2\x82"), frame(FIN, Continuation, b"")].concat(),
            1007,
        ),
        ("W14 one byte of close", b"\x88\x81".to_vec(), 1002),
        ("W14 reason is not UTF-8", close(b"\x03\xe8\xc3("), 1007),
    ];
    for opcode in (3..8).chain(11..16) {
        rows.push(("W3 reserved opcode", vec![0x80 | opcode], 1002));
    }
    for code in [0_u16, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65535] {
        rows.push(("W14 close code", close(&code.to_be_bytes()), 1002));
    }
    let empty = frame(MORE, Continuation, b"");
    let fragments = [start.clone(), empty.repeat(3), b"\x00".to_vec()].concat();
    rows.push(("W8 fragments, empty ones counted", fragments, 1008));
    rows
}

#[test]
fn what_clients_may_not_send() {
    use Opcode::Ping;
    let limits = WsLimits { message_bytes: 1000, fragments: 4 };
    for (name, stream, code) in violations() {
        let before = [frame(FIN, Ping, b"ok"), stream].concat();
        let outcome = under_every_split(&before, &limits);
        let told = outcome.violation.map(|violation| violation.close_code().number());
        assert_eq!(told, Some(code), "{name}");
        assert_eq!(outcome.told[0], Told::Ping(b"ok".to_vec()), "{name}: what came before is told");
        // As early as the bytes allow: without the last byte there is nothing to say against it.
        let shorter = tell(&before[..before.len() - 1], &[], Role::Server, &limits);
        let utf8 = [Violation::TextNotUtf8, Violation::CloseReasonNotUtf8];
        if !outcome.violation.is_some_and(|violation| utf8.contains(&violation)) {
            assert_eq!(shorter.violation, None, "{name}");
        }
    }
}

#[test]
fn default_limits_take_256_fragments_and_64_kib_and_no_more() {
    use Opcode::{Continuation, Text};
    let limits = WsLimits::DEFAULT;
    let middle = frame(MORE, Continuation, b"");
    let good = [frame(MORE, Text, b""), middle.repeat(254), frame(FIN, Continuation, b"")].concat();
    assert_eq!(tell(&good, &[], Role::Server, &limits).told, [text("")]);
    let bad = [frame(MORE, Text, b""), middle.repeat(256)].concat();
    let violation = tell(&bad, &[], Role::Server, &limits).violation;
    assert_eq!(violation, Some(Violation::TooManyFragments));

    let most = "x".repeat(65_536);
    let outcome = tell(&frame(FIN, Text, most.as_bytes()), &[9, 40_000], Role::Server, &limits);
    assert_eq!(outcome.told, [text(&most)]);
    let outcome = tell(b"\x81\xff\0\0\0\0\0\x01\0\x01", &[], Role::Server, &limits);
    assert_eq!(outcome.violation, Some(Violation::MessageTooLong));
}

#[test]
fn invalid_text_is_refused_in_the_chunk_that_brings_it() {
    // Autobahn 6.4.3: the frame declares more, and the wrong byte comes before the rest.
    let stream = frame(MORE, Opcode::Text, b"\xce\xba\xe1\xbd\xb9\xf4\x90\x80\x80edited");
    let mut receiver = Receiver::new(Role::Server);
    for (i, byte) in stream.iter().enumerate() {
        let mut byte = [*byte];
        let end = receiver.next(&mut &mut byte[..], &WsLimits::DEFAULT);
        // Header and mask are 6 bytes, the good text 5; then F4 could go on, but never with 90.
        if i == 6 + 5 + 1 {
            assert_eq!(end.err(), Some(Violation::TextNotUtf8));
            return;
        }
        assert!(end.is_ok(), "byte {i}");
    }
    panic!("the wrong byte was taken");
}

#[test]
fn idle_is_between_messages_only() {
    let stream = [
        frame(MORE, Opcode::Text, b"a"),
        frame(FIN, Opcode::Ping, b"b"),
        frame(FIN, Opcode::Continuation, b""),
    ]
    .concat();
    let mut receiver = Receiver::new(Role::Server);
    for (i, byte) in stream.iter().enumerate() {
        assert_eq!(receiver.is_idle(), i == 0, "before byte {i}");
        let _ = receiver.next(&mut &mut [*byte][..], &WsLimits::DEFAULT);
    }
    assert!(receiver.is_idle());
    for ending in [frame(FIN, Opcode::Close, b""), b"\xff".to_vec()] {
        let mut ending = ending;
        let _ = receiver.next(&mut ending.as_mut_slice(), &WsLimits::DEFAULT);
        assert!(!receiver.is_idle(), "a new machine would read on");
        receiver = Receiver::new(Role::Server);
    }
}

#[test]
fn payloads_that_came_whole_are_lent_from_the_input() {
    let mut stream =
        [frame(FIN, Opcode::Ping, b"ping"), frame(FIN, Opcode::Text, b"text")].concat();
    let range = stream.as_ptr_range();
    let mut input = stream.as_mut_slice();
    let mut receiver = Receiver::new(Role::Server);
    let mut lent = 0;
    while let Ok(Some(event)) = receiver.next(&mut input, &WsLimits::DEFAULT) {
        if let Event::Ping(bytes) | Event::Data { chunk: bytes, .. } = event {
            assert!(range.contains(&bytes.as_ptr()));
            lent += 1;
        }
    }
    assert_eq!(lent, 2);
}

#[test]
fn a_client_reads_what_a_server_writes() {
    let long = "long ".repeat(20_000);
    let mut stream = Vec::new();
    write_text("hi", &mut stream);
    write_binary(&[0; 300], &mut stream);
    write_text(&long, &mut stream);
    write_ping(b"p", &mut stream);
    write_pong(b"", &mut stream);
    write_close(CloseCode::RESTART, "the node restarts", &mut stream);
    let limits = WsLimits { message_bytes: 1 << 20, ..WsLimits::DEFAULT };
    let outcome = tell(&stream, &[1, 5, 8, 4000], Role::Client, &limits);
    let told = [
        text("hi"),
        binary(&[0; 300]),
        text(&long),
        Told::Ping(b"p".to_vec()),
        Told::Pong(vec![]),
        Told::Close(Some((1012, "the node restarts".into()))),
    ];
    assert_eq!((outcome.told.as_slice(), outcome.violation), (&told[..], None));
    let masked = frame(FIN, Opcode::Text, b"hi");
    let violation = tell(&masked, &[], Role::Client, &limits).violation;
    assert_eq!(violation, Some(Violation::Masked));
}

#[test]
fn every_reason_fits_a_close_frame_and_every_code_may_be_sent() {
    for violation in Violation::ALL {
        let mut stream = Vec::new();
        write_close(violation.close_code(), violation.reason(), &mut stream);
        let told = tell(&stream, &[], Role::Client, &WsLimits::DEFAULT).told;
        let code = violation.close_code().number();
        assert_eq!(told, [Told::Close(Some((code, violation.reason().into())))]);
    }
}

/// Frames as a careless or hostile client might string them together: mostly good.
fn some_frame() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop_oneof![
        3 => "[a-zé😀]{0,12}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..200),
        1 => Just(vec![b'x'; 130]),
        1 => (990_u16..1020).prop_map(|code| code.to_be_bytes().to_vec()),
    ];
    let opcode = prop::sample::select(vec![0_u8, 0, 0, 1, 1, 2, 2, 8, 9, 9, 10]);
    let good = (any::<bool>(), opcode, payload, any::<[u8; 4]>()).prop_map(
        |(fin, opcode, payload, key)| {
            let opcode = Opcode::from_number(opcode).expect("chosen from the good ones");
            let mut out = Vec::new();
            let fin = fin || opcode.is_control();
            write_masked(fin, opcode, &payload, key, &mut out);
            out
        },
    );
    prop_oneof![
        8 => good.clone(),
        1 => (good, 0..4_usize, any::<u8>()).prop_map(|(mut bytes, at, with)| {
            bytes[at] ^= with;
            bytes
        }),
    ]
}

proptest! {
    #[test]
    fn like_the_naive_decoder(
        frames in prop::collection::vec(some_frame(), 0..8),
        cut: prop::sample::Index,
    ) {
        let limits = WsLimits { message_bytes: 300, fragments: 3 };
        let mut stream = frames.concat();
        // What a changed length swallows is there, whatever it is.
        stream.extend_from_slice(&frame(FIN, Opcode::Ping, &[0; 100]).repeat(8));
        let whole = tell(&stream, &[], Role::Server, &limits);
        if let Some(expected) = oracle::decode(&stream, &limits) {
            same(&whole, &expected);
        }
        let bytewise: Vec<usize> = (1..stream.len()).collect();
        same(&whole, &tell(&stream, &bytewise, Role::Server, &limits));
        same(&whole, &tell(&stream, &[cut.index(stream.len() + 1)], Role::Server, &limits));
    }
}
