//! The publish protocol row by row: what is refused where, round trips, and every split.

use proptest::prelude::*;

use super::client::{self, Answer, Hello, Reply};
use super::fuzz::{LIMITS, frames, tell_client, tell_server};
use super::server::{Decoder, Event, Fault, Violation};
use super::{
    ChannelNames, ChannelReceipt, ChannelReceipts, DeclaredKind, ErrorCode, GoodbyeCode,
    PublishFrame, RefusalCode, VERSION, write,
};
use crate::id::Epoch;
use crate::limits::{INGEST_SERVER_FRAME_BYTES_MAX, IngestLimits, MESSAGE_CHANNELS_MAX};
use crate::message::Kind;

/// A message of a frame, byte by byte, as another language would write it.
pub(super) fn raw_message(
    flags: u8,
    kind: u8,
    channel: &[u8],
    fields: &[u8],
    data: &[u8],
) -> Vec<u8> {
    let mut out = vec![flags, kind];
    out.extend((channel.len() as u16).to_le_bytes());
    out.extend((fields.len() as u16).to_le_bytes());
    out.extend((data.len() as u32).to_le_bytes());
    [&out, channel, fields, data].concat()
}

pub(super) fn raw_frame(number: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32 + 1).to_le_bytes();
    [&length[..], &[number], body].concat()
}

fn after_preface(rest: &[u8]) -> Vec<u8> {
    [b"FANFARE\x01", rest].concat()
}

/// The single message of a stream of one PUBLISH frame, as it is refused, if it is.
fn refusal(message: &[u8]) -> Option<RefusalCode> {
    let stream = after_preface(&raw_frame(1, message));
    let mut decoder = Decoder::new(LIMITS);
    let mut input = stream.as_slice();
    assert_eq!(decoder.next(&mut input), Ok(Some(Event::Preface)));
    match decoder.next(&mut input) {
        Ok(Some(Event::Publish { sequence: 1, frame })) => {
            frame.check(&LIMITS).err().map(|refusal| refusal.code)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_stream_that_is_broken_names_the_byte() {
    let good = raw_message(0, 3, b"demo", b"", b"hi");
    let with = |at: usize, byte: u8| {
        let mut message = good.clone();
        message[at] = byte;
        after_preface(&raw_frame(1, &message))
    };
    let fields =
        |fields: &[u8]| after_preface(&raw_frame(1, &raw_message(0, 3, b"demo", fields, b"hi")));
    let batch = |flags: u8, count: u32, messages: &[u8]| {
        let body = [&[flags][..], &count.to_le_bytes(), messages].concat();
        after_preface(&raw_frame(2, &body))
    };
    let two = [good.as_slice(), &good].concat();
    let long = [601_u32.to_le_bytes().as_slice(), b"\x01"].concat();
    // The preface is 8 bytes, a frame's length and type 5: a message begins at 13.
    for (name, stream, code, offset, fault) in [
        ("D4 not ours", b"POST /v1".to_vec(), 400, 0, Fault::Magic),
        ("D4 almost ours", b"FANFANE\x01".to_vec(), 400, 5, Fault::Magic),
        ("D4 version 0", b"FANFARE\x00".to_vec(), 426, 7, Fault::Version),
        ("D4 version 3", b"FANFARE\x03".to_vec(), 426, 7, Fault::Version),
        ("D4 length 0", after_preface(&[0; 4]), 400, 8, Fault::LengthZero),
        ("D4 length over the limit", after_preface(&long), 413, 8, Fault::FrameTooLong),
        ("D4 length 4 GiB", after_preface(&[255; 4]), 413, 8, Fault::FrameTooLong),
        (
            "a session in version 1",
            after_preface(&raw_frame(3, &[0; 25])),
            400,
            12,
            Fault::UnknownType,
        ),
        ("D4 type 0", after_preface(&raw_frame(0, b"")), 400, 12, Fault::UnknownType),
        ("D4 type of the server", after_preface(b"\x09\0\0\0\x84"), 400, 12, Fault::UnknownType),
        ("no message", after_preface(&raw_frame(1, b"")), 400, 13, Fault::MessageOverrun),
        ("flag", with(0, 2), 400, 13, Fault::UnknownFlag),
        ("kind", with(1, 4), 400, 14, Fault::UnknownKind),
        ("channel too long", with(2, 200), 400, 13, Fault::MessageOverrun),
        ("fields too long", with(4, 200), 400, 13, Fault::MessageOverrun),
        ("data too long", with(6, 3), 400, 13, Fault::MessageOverrun),
        ("data of 4 GiB", with(9, 255), 400, 13, Fault::MessageOverrun),
        ("bytes after the data", with(6, 1), 400, 28, Fault::TrailingBytes),
        ("field cut", fields(b"\x01\x00"), 400, 27, Fault::FieldOverrun),
        ("field too long", fields(b"\x01\x02\x00a"), 400, 27, Fault::FieldOverrun),
        ("field twice", fields(b"\x01\x00\x00\x01\x00\x00"), 400, 30, Fault::FieldOrder),
        ("fields out of order", fields(b"\x02\x00\x00\x01\x00\x00"), 400, 30, Fault::FieldOrder),
        ("field 0", fields(b"\x00\x00\x00"), 400, 27, Fault::FieldOrder),
        ("ephemeral and more", fields(b"\x03\x01\x00\x01"), 400, 27, Fault::FieldValue),
        ("a further name cut", fields(b"\x80\x03\x00\x02\x00a"), 400, 27, Fault::FieldOverrun),
        ("half a length", fields(b"\x80\x01\x00\x02"), 400, 27, Fault::FieldOverrun),
        ("batch flag", batch(1, 1, &good), 400, 13, Fault::UnknownFlag),
        ("batch of nothing", batch(0, 0, b""), 400, 14, Fault::BatchEmpty),
        ("batch of too many", batch(0, 6, b""), 413, 14, Fault::BatchTooLong),
        ("batch shorter than told", batch(0, 3, &two), 400, 50, Fault::MessageOverrun),
        ("batch longer than told", batch(0, 1, &two), 400, 34, Fault::TrailingBytes),
        ("truncated preface", b"FANF".to_vec(), 400, 4, Fault::Truncated),
        ("truncated length", after_preface(&[9, 0]), 400, 10, Fault::Truncated),
        ("truncated frame", after_preface(b"\x09\0\0\0\x01\0"), 400, 14, Fault::Truncated),
    ] {
        let code = ErrorCode(code);
        let (_, violation) = tell_server(&stream, &[], LIMITS);
        assert_eq!(violation, Some(Violation { code, offset, fault }), "{name}");
        frames(&stream);
    }
}

#[test]
fn what_is_wrong_with_a_message_refuses_that_message() {
    let long = [b'x'; 301];
    let fields = |fields: &[u8]| raw_message(0, 3, b"demo", fields, b"hi");
    let key_256 = [&b"\x02\x00\x01"[..], &[b'k'; 256]].concat();
    for (name, message, code) in [
        ("channel empty", raw_message(0, 3, b"", b"", b"hi"), 460),
        ("channel not UTF-8", raw_message(0, 3, b"\xff", b"", b"hi"), 460),
        ("channel with a control character", raw_message(0, 3, b"a\n", b"", b"hi"), 460),
        ("channel with a star", raw_message(0, 3, b"a*", b"", b"hi"), 460),
        ("channel of 256 bytes", raw_message(0, 3, &[b'c'; 256], b"", b"hi"), 460),
        ("event empty", fields(b"\x01\x00\x00"), 461),
        ("event of ours", fields(b"\x01\x0b\x00fanfare.gap"), 461),
        ("event of EventSource", fields(b"\x01\x05\x00error"), 461),
        ("event with a line end", fields(b"\x01\x02\x00a\n"), 461),
        ("event not UTF-8", fields(b"\x01\x01\x00\xff"), 461),
        ("key empty", fields(b"\x02\x00\x00"), 462),
        ("key of 256 bytes", fields(&key_256), 462),
        ("except of a word", fields(b"\x04\x02\x00me"), 465),
        ("except of nobody", fields(b"\x04\x10\x000000000000000000"), 465),
        ("data empty", raw_message(0, 3, b"demo", b"", b""), 463),
        ("text not UTF-8", raw_message(0, 1, b"demo", b"", b"\xff"), 463),
        ("data too long", raw_message(0, 2, b"demo", b"", &long), 413),
        ("a further channel empty", fields(b"\x80\x02\x00\x00\x00"), 460),
        ("a further channel with a star", fields(b"\x80\x03\x00\x01\x00*"), 460),
        ("the same channel again", fields(b"\x80\x06\x00\x04\x00demo"), 466),
        ("a further channel twice", fields(b"\x80\x06\x00\x01\x00a\x01\x00a"), 466),
        ("too many channels", fields(b"\x80\x09\x00\x01\x00a\x01\x00b\x01\x00c"), 466),
        ("field 129 is not known", fields(b"\x81\x00\x00"), 464),
        ("field 255 is not known", fields(b"\x01\x01\x00e\xff\x01\x00x"), 464),
    ] {
        assert_eq!(refusal(&message), Some(RefusalCode(code)), "{name}");
        frames(&after_preface(&raw_frame(1, &message)));
    }
    for (name, message) in [
        (
            "unknown fields below 128 are skipped",
            fields(b"\x01\x01\x00e\x05\x02\x00xy\x7f\x00\x00"),
        ),
        ("ephemeral, for all but one", fields(b"\x03\x00\x00\x04\x10\x003f9c0a51b7e2d846")),
        ("as many channels as may be", fields(b"\x80\x06\x00\x01\x00a\x01\x00b")),
        ("no further channel", fields(b"\x80\x00\x00")),
        ("the longest data", raw_message(1, 2, b"demo", b"", &long[..300])),
        ("binary need not be UTF-8", raw_message(0, 2, b"demo", b"", b"\xff")),
        ("detected need not be UTF-8", raw_message(0, 3, b"demo", b"", b"\xff")),
    ] {
        assert_eq!(refusal(&message), None, "{name}");
        frames(&after_preface(&raw_frame(1, &message)));
    }
}

#[test]
fn messages_are_counted_from_one_and_a_batch_counts_each() {
    let one = PublishFrame::new("a", b"1");
    let two = PublishFrame { answer: true, event: Some(b"e"), ..PublishFrame::new("b", b"2") };
    let mut stream = Vec::new();
    write::preface(&mut stream);
    write::publish(&one, &mut stream);
    write::batch(&[one, two, one], &mut stream);
    write::publish(&two, &mut stream);
    frames(&stream);
    let mut decoder = Decoder::new(LIMITS);
    let mut input = stream.as_slice();
    assert_eq!(decoder.next(&mut input), Ok(Some(Event::Preface)));
    assert_eq!(decoder.last_sequence(), 0);
    let event = decoder.next(&mut input);
    assert_eq!(event, Ok(Some(Event::Publish { sequence: 1, frame: one })));
    let Ok(Some(Event::Batch { first_sequence: 2, batch })) = decoder.next(&mut input) else {
        panic!("no batch");
    };
    assert_eq!(batch.len(), 3);
    assert_eq!(batch.collect::<Vec<_>>(), [one, two, one]);
    assert_eq!(decoder.last_sequence(), 4);
    let event = decoder.next(&mut input);
    assert_eq!(event, Ok(Some(Event::Publish { sequence: 5, frame: two })));
}

#[test]
fn a_publisher_owes_the_preface_and_the_rest_of_a_frame() {
    let mut stream = Vec::new();
    write::preface(&mut stream);
    write::publish(&PublishFrame::new("demo", b"hi"), &mut stream);
    let mut decoder = Decoder::new(LIMITS);
    for (i, byte) in stream.iter().enumerate() {
        assert_eq!(decoder.is_mid_frame(), i != 8, "before byte {i}");
        assert_eq!(decoder.finish().is_ok(), i == 0 || i == 8, "end before byte {i}");
        decoder.next(&mut &[*byte][..]).expect("the stream is good");
    }
    assert!(!decoder.is_mid_frame());
    assert_eq!(decoder.offset(), stream.len() as u64);
}

#[test]
fn a_declared_length_reserves_nothing_and_a_large_frame_is_given_back() {
    let limits = IngestLimits::DEFAULT;
    let mut decoder = Decoder::new(limits);
    let mut stream = after_preface(&limits.frame_bytes.to_le_bytes());
    stream.push(1);
    let mut input = stream.as_slice();
    while let Ok(Some(_)) = decoder.next(&mut input) {}
    assert!(decoder.is_mid_frame() && decoder.buffer_bytes() <= 64);

    let mut decoder = Decoder::new(limits);
    let data = vec![b'x'; 1 << 20];
    let mut stream = Vec::new();
    write::preface(&mut stream);
    write::publish(&PublishFrame::new("demo", &data), &mut stream);
    let mut events = 0;
    for piece in stream.chunks(1000) {
        let mut input = piece;
        while let Some(event) = decoder.next(&mut input).expect("the stream is good") {
            events += 1;
            if let Event::Publish { frame, .. } = event {
                assert_eq!(frame.data, data);
            }
        }
        assert!(decoder.buffer_bytes() <= stream.len());
    }
    assert_eq!(events, 2);
    assert_eq!(decoder.next(&mut &b"\x01"[..]), Ok(None));
    assert!(decoder.buffer_bytes() <= 16 << 10);
}

#[test]
fn a_frame_that_came_whole_is_lent_from_the_input() {
    let mut stream = Vec::new();
    write::preface(&mut stream);
    write::publish(&PublishFrame::new("demo", b"payload"), &mut stream);
    let mut decoder = Decoder::new(LIMITS);
    let mut input = stream.as_slice();
    assert_eq!(decoder.next(&mut input), Ok(Some(Event::Preface)));
    let Ok(Some(Event::Publish { frame, .. })) = decoder.next(&mut input) else { panic!() };
    assert!(stream.as_ptr_range().contains(&frame.data.as_ptr()));
    assert_eq!(decoder.buffer_bytes(), 0);
}

fn hello() -> Hello {
    let epoch = Epoch::from_random(42);
    Hello { version: VERSION, epoch, limits: IngestLimits::DEFAULT, session: None }
}

#[test]
fn a_client_skips_what_it_does_not_know() {
    let mut stream = raw_frame(0x90, b"something later");
    let start = stream.len();
    write::hello(&hello(), &mut stream);
    // Two more bytes than this version knows.
    stream[start] += 2;
    stream.extend(b"xy");
    stream.extend(raw_frame(0xff, b""));
    write::ack(7, &mut stream);
    let (told, violation) = tell_client(&stream, &[]);
    assert_eq!(told, [format!("{:?}", Reply::Hello(hello())), "Ack(7)".to_owned()]);
    assert_eq!(violation, None);
    frames(&stream);
}

#[test]
fn a_client_does_not_trust_the_server() {
    let mut greeting = Vec::new();
    write::hello(&hello(), &mut greeting);
    let at = greeting.len() as u64;
    let after = |rest: &[u8]| [greeting.as_slice(), rest].concat();
    for (name, stream, offset, fault) in [
        ("HTTP", b"HTTP/1.1 400".to_vec(), 0, client::Fault::FrameTooLong),
        ("length 0", after(&[0; 4]), at, client::Fault::LengthZero),
        ("no greeting", raw_frame(0x84, &[0; 8]), 5, client::Fault::NoHello),
        ("a cut ACK", after(&raw_frame(0x84, &[0; 7])), at + 5, client::Fault::Unreadable),
        (
            "a text that is not UTF-8",
            after(&raw_frame(0x83, &[&[0; 10][..], b"\x01\x00\xff"].concat())),
            at + 5,
            client::Fault::Unreadable,
        ),
    ] {
        let (_, violation) = tell_client(&stream, &[]);
        assert_eq!(violation, Some(client::Violation { offset, fault }), "{name}");
        frames(&stream);
    }
}

#[test]
fn the_longest_frame_of_a_server_is_within_what_clients_read() {
    let mut stream = Vec::new();
    write::error(ErrorCode::MALFORMED, u64::MAX, &"é".repeat(5000), &mut stream);
    assert!(stream.len() <= INGEST_SERVER_FRAME_BYTES_MAX);
    let (told, violation) = tell_client(&stream, &[]);
    assert_eq!(violation, None);
    assert!(told[0].contains(&"é".repeat(256)) && !told[0].contains(&"é".repeat(257)));
}

#[test]
fn the_longest_answer_is_within_what_clients_read() {
    let places = [ChannelReceipt { offset: u64::MAX, subscribers: 7 }; MESSAGE_CHANNELS_MAX - 1];
    let also = ChannelReceipts::of(&places);
    let (sequence, position, offset, subscribers) = (1, 2, 3, 4);
    let epoch = Some(Epoch::from_random(5));
    let first = Answer { sequence, duplicate: true, position, offset, subscribers, also, epoch };
    let mut stream = Vec::new();
    write::hello(&hello(), &mut stream);
    let begin = stream.len();
    write::answer(&first, &mut stream);
    assert!(stream.len() - begin <= INGEST_SERVER_FRAME_BYTES_MAX);
    // Behind the places something may come later.
    stream.extend(raw_frame(0x82, &[&[1; 33][..], &[2; 16], &[3; 15]].concat()));
    let mut decoder = client::Decoder::new();
    let mut input = stream.as_slice();
    assert_eq!(decoder.next(&mut input), Ok(Some(Reply::Hello(hello()))));
    assert_eq!(decoder.next(&mut input), Ok(Some(Reply::Answer(first))));
    let Ok(Some(Reply::Answer(second))) = decoder.next(&mut input) else { panic!() };
    let two = u64::from_le_bytes([2; 8]);
    assert_eq!(second.also.collect::<Vec<_>>(), [ChannelReceipt { offset: two, subscribers: two }]);
    frames(&stream);
}

#[test]
fn families_say_whether_to_try_again() {
    for code in [403, 409, 413, 460, 461, 462, 463, 464, 465, 466] {
        assert!(!RefusalCode(code).may_retry(), "{code}");
    }
    for code in [429, 503, 507, 599] {
        assert!(RefusalCode(code).may_retry(), "{code}");
    }
}

fn kind() -> impl Strategy<Value = DeclaredKind> {
    prop::sample::select(vec![
        DeclaredKind::Detect,
        DeclaredKind::Known(Kind::Json),
        DeclaredKind::Known(Kind::Text),
        DeclaredKind::Known(Kind::Binary),
    ])
}

type Field = Option<Vec<u8>>;
type Owned =
    ((bool, bool), DeclaredKind, Vec<u8>, (Field, Field, Field), Vec<u8>, Vec<&'static [u8]>);

fn owned() -> impl Strategy<Value = Owned> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..20);
    let name = || prop::option::of(bytes());
    let also = prop::sample::subsequence(vec![&b"x"[..], b"", b"yy", b"\xff"], 0..4);
    (any::<(bool, bool)>(), kind(), bytes(), (name(), name(), name()), bytes(), also)
}

fn lend(owned: &Owned) -> PublishFrame<'_> {
    let ((answer, ephemeral), kind, channel, (event, key, except), data, also) = owned;
    PublishFrame {
        answer: *answer,
        kind: *kind,
        channel,
        event: event.as_deref(),
        idempotency_key: key.as_deref(),
        ephemeral: *ephemeral,
        except: except.as_deref(),
        also: ChannelNames::of(also),
        data,
        unknown_required: None,
    }
}

proptest! {
    #[test]
    fn what_a_client_writes_a_server_reads(
        commands in prop::collection::vec(prop::collection::vec(owned(), 1..4), 0..4),
    ) {
        let mut stream = Vec::new();
        write::preface(&mut stream);
        for messages in &commands {
            match messages.as_slice() {
                [one] => {
                    let before = stream.len();
                    write::publish(&lend(one), &mut stream);
                    assert_eq!(stream.len() - before, write::publish_bytes(&lend(one)));
                }
                many => write::batch(&many.iter().map(lend).collect::<Vec<_>>(), &mut stream),
            }
        }
        frames(&stream);
        let mut decoder = Decoder::new(LIMITS);
        let mut input = stream.as_slice();
        prop_assert_eq!(decoder.next(&mut input), Ok(Some(Event::Preface)));
        let mut expected = 1;
        for messages in &commands {
            match decoder.next(&mut input) {
                Ok(Some(Event::Publish { sequence, frame })) => {
                    prop_assert_eq!((sequence, frame), (expected, lend(&messages[0])));
                }
                Ok(Some(Event::Batch { first_sequence, batch })) => {
                    prop_assert_eq!(first_sequence, expected);
                    let read: Vec<_> = batch.collect();
                    prop_assert_eq!(read, messages.iter().map(lend).collect::<Vec<_>>());
                }
                other => prop_assert!(false, "{:?}", other),
            }
            expected += messages.len() as u64;
        }
        prop_assert_eq!(decoder.next(&mut input), Ok(None));
    }

    #[test]
    fn what_a_server_writes_a_client_reads(
        numbers: [u64; 4], epoch: Option<u64>, duplicate: bool, code: u16, text in ".{0,40}",
        further in 0..3usize,
    ) {
        let [sequence, position, offset, subscribers] = numbers;
        let places = [ChannelReceipt { offset: position, subscribers: sequence }; 3];
        let also = ChannelReceipts::of(&places[..further]);
        let epoch = epoch.map(Epoch::from_random);
        let answer = Answer { sequence, duplicate, position, offset, subscribers, also, epoch };
        let mut stream = Vec::new();
        write::hello(&hello(), &mut stream);
        write::answer(&answer, &mut stream);
        write::refused(sequence, RefusalCode(code), &text, &mut stream);
        write::ack(sequence, &mut stream);
        write::error(ErrorCode(code), offset, &text, &mut stream);
        write::goodbye(sequence, GoodbyeCode(code), &mut stream);
        frames(&stream);
        let (told, violation) = tell_client(&stream, &[]);
        let (error, versions) = (ErrorCode(code), (1, 2));
        let expected = [
            Reply::Hello(hello()),
            Reply::Answer(answer),
            Reply::Refused { sequence, code: RefusalCode(code), text: &text },
            Reply::Ack(sequence),
            Reply::Error { code: error, offset, versions, text: &text },
            Reply::Goodbye { last: sequence, code: GoodbyeCode(code) },
        ];
        prop_assert_eq!(told, expected.map(|reply| format!("{reply:?}")).to_vec());
        prop_assert_eq!(violation, None);
    }

    #[test]
    fn any_bytes_in_any_pieces(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        frames(&bytes);
        frames(&after_preface(&bytes));
        frames(&after_preface(&raw_frame(1, &bytes)));
        frames(&after_preface(&raw_frame(2, &[&b"\0\x02\0\0\0"[..], &bytes].concat())));
    }
}
