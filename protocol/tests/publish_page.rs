//! The wire vectors of `docs/PROTOCOLS.md` are what this crate writes and reads, so that the page
//! from which others implement the publish protocol cannot rot.

use std::collections::BTreeMap;

use fanfare_protocol::id::Epoch;
use fanfare_protocol::ingest::client::{self, Answer, Hello, Reply};
use fanfare_protocol::ingest::server::{Decoder, Event};
use fanfare_protocol::ingest::session::{Open, SessionId, Standing};
use fanfare_protocol::ingest::{
    ChannelNames, ChannelReceipt, ChannelReceipts, DeclaredKind, ErrorCode, GoodbyeCode,
    PublishFrame, RefusalCode, VERSION, VERSION_WITH_SESSIONS, write,
};
use fanfare_protocol::limits::{IngestLimits, SessionLimits};
use fanfare_protocol::message::Kind;

const PAGE: &str = include_str!("../../docs/PROTOCOLS.md");

/// The blocks that begin with three backticks and `wire`, by name: hex up to `|` on each line.
fn vectors() -> BTreeMap<&'static str, Vec<u8>> {
    let blocks = PAGE.split("\n```wire ").skip(1);
    blocks
        .map(|block| {
            let (name, rest) = block.split_once('\n').expect("a name");
            let (lines, _) = rest.split_once("\n```").expect("an end");
            let bytes = lines.lines().flat_map(|line| {
                let (hex, _) = line.split_once('|').expect("a meaning beside the hex");
                hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).expect("hex"))
            });
            (name, bytes.collect())
        })
        .collect()
}

fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

fn hello() -> Hello {
    let epoch = Epoch::from_random(0x12_3456_789a);
    Hello { version: VERSION, epoch, limits: IngestLimits::DEFAULT, session: None }
}

fn hello_to_a_session() -> Hello {
    let (limits, life) = (SessionLimits::DEFAULT, hello().epoch);
    let standing = Standing { known: true, taken: 42, limits, life };
    Hello { version: VERSION_WITH_SESSIONS, session: Some(standing), ..hello() }
}

fn open(resumes: bool, confirmed: u64) -> Open {
    let session = SessionId(*b"\x9f\x0c\x51\x2e\x77\xd3\x40\x86\xb1\x6a\xe4\x95\x3d\x08\xc2\x7b");
    Open { session, resumes, confirmed }
}

fn answer() -> Answer<'static> {
    let (also, epoch) = (ChannelReceipts::default(), None);
    let (sequence, position, offset, subscribers) = (2, 1042, 17, 3);
    Answer { sequence, duplicate: false, position, offset, subscribers, also, epoch }
}

fn answer_of_another_epoch() -> Answer<'static> {
    Answer { epoch: Some(Epoch::from_random(1)), ..answer() }
}

fn answer_of_two_channels() -> Answer<'static> {
    Answer {
        also: ChannelReceipts::of(&[ChannelReceipt { offset: 5, subscribers: 0 }]),
        ..answer()
    }
}

fn in_two_channels() -> PublishFrame<'static> {
    PublishFrame { also: ChannelNames::of(&[b"news"]), ..PublishFrame::new("demo", b"hi") }
}

fn with_event_and_key() -> PublishFrame<'static> {
    PublishFrame {
        answer: true,
        kind: DeclaredKind::Known(Kind::Json),
        event: Some(b"greeting"),
        idempotency_key: Some(b"k-42"),
        ..PublishFrame::new("demo", br#"{"a":1}"#)
    }
}

fn for_now_and_all_but_one() -> PublishFrame<'static> {
    PublishFrame {
        ephemeral: true,
        except: Some(b"3f9c0a51b7e2d846"),
        ..PublishFrame::new("demo", b"hi")
    }
}

fn batch() -> [PublishFrame<'static>; 2] {
    let kind = DeclaredKind::Known(Kind::Binary);
    let second = PublishFrame { answer: true, kind, ..PublishFrame::new("b", b"\xff") };
    [PublishFrame::new("a", b"first"), second]
}

#[test]
fn the_page_shows_what_is_written() {
    let mut vectors = vectors();
    // Nothing here writes a field that is not known yet; it is read below.
    assert!(vectors.remove("publish with a field of tomorrow").is_some());
    let ours = [
        ("preface", written(write::preface)),
        ("hello", written(|out| write::hello(&hello(), out))),
        ("publish", written(|out| write::publish(&PublishFrame::new("demo", b"hi"), out))),
        (
            "publish with an event, a key and an answer",
            written(|out| write::publish(&with_event_and_key(), out)),
        ),
        (
            "publish for all who follow now but one",
            written(|out| write::publish(&for_now_and_all_but_one(), out)),
        ),
        ("publish in two channels", written(|out| write::publish(&in_two_channels(), out))),
        ("batch", written(|out| write::batch(&batch(), out))),
        ("answer", written(|out| write::answer(&answer(), out))),
        ("answer of two channels", written(|out| write::answer(&answer_of_two_channels(), out))),
        ("answer of another epoch", written(|out| write::answer(&answer_of_another_epoch(), out))),
        ("refused", written(|out| write::refused(3, RefusalCode::BAD_CHANNEL, "bad", out))),
        ("ack", written(|out| write::ack(4, out))),
        ("error", written(|out| write::error(ErrorCode::BAD_VERSION, 7, "version 3", out))),
        ("goodbye", written(|out| write::goodbye(42, GoodbyeCode::RESTART, out))),
        ("session preface", written(write::session_preface)),
        ("open", written(|out| write::open(&open(false, 0), out))),
        ("open again", written(|out| write::open(&open(true, 40), out))),
        ("hello to a session", written(|out| write::hello(&hello_to_a_session(), out))),
        ("confirm", written(|out| write::confirm(41, out))),
        ("end", written(write::end)),
    ];
    assert_eq!(vectors, BTreeMap::from(ours));
}

#[test]
fn a_server_reads_the_page() {
    let vectors = vectors();
    let stream = [
        &vectors["preface"][..],
        &vectors["publish"],
        &vectors["publish with an event, a key and an answer"],
        &vectors["publish with a field of tomorrow"],
        &vectors["publish for all who follow now but one"],
        &vectors["publish in two channels"],
        &vectors["batch"],
    ]
    .concat();
    let mut decoder = Decoder::new(IngestLimits::DEFAULT);
    let mut input = stream.as_slice();
    assert_eq!(decoder.next(&mut input), Ok(Some(Event::Preface)));
    let text = DeclaredKind::Known(Kind::Text);
    let tomorrow = PublishFrame { kind: text, ..PublishFrame::new("demo", b"hi") };
    let (hi, all_but_one) = (PublishFrame::new("demo", b"hi"), for_now_and_all_but_one());
    let expected = [hi, with_event_and_key(), tomorrow, all_but_one, in_two_channels()];
    for (sequence, frame) in (1..).zip(expected) {
        assert_eq!(decoder.next(&mut input), Ok(Some(Event::Publish { sequence, frame })));
        assert!(frame.check(&IngestLimits::DEFAULT).is_ok());
    }
    let Ok(Some(Event::Batch { first_sequence: 6, batch: read })) = decoder.next(&mut input) else {
        panic!("the sixth message begins a batch");
    };
    assert_eq!(read.collect::<Vec<_>>(), batch());
    assert_eq!(decoder.next(&mut input), Ok(None));
}

#[test]
fn a_server_reads_the_page_of_sessions() {
    let vectors = vectors();
    let stream = [
        &vectors["session preface"][..],
        &vectors["open again"],
        &vectors["open"],
        &vectors["publish"],
        &vectors["confirm"],
        &vectors["batch"],
        &vectors["end"],
    ]
    .concat();
    let mut decoder = Decoder::new(IngestLimits::DEFAULT);
    let mut input = stream.as_slice();
    // Not known here, so another one is opened behind it.
    assert_eq!(decoder.next(&mut input), Ok(Some(Event::Open(open(true, 40)))));
    assert_eq!(decoder.next(&mut input), Ok(Some(Event::Open(open(false, 0)))));
    decoder.begin(41, 41, SessionLimits::DEFAULT.unconfirmed);
    let frame = PublishFrame::new("demo", b"hi");
    assert_eq!(decoder.next(&mut input), Ok(Some(Event::Publish { sequence: 42, frame })));
    assert_eq!(decoder.next(&mut input), Ok(Some(Event::Confirm(41))));
    let next = decoder.next(&mut input);
    assert!(matches!(next, Ok(Some(Event::Batch { first_sequence: 43, .. }))), "{next:?}");
    assert_eq!(decoder.next(&mut input), Ok(Some(Event::End)));
}

#[test]
fn a_client_reads_the_page() {
    let vectors = vectors();
    let names = [
        "hello",
        "answer",
        "answer of two channels",
        "answer of another epoch",
        "refused",
        "ack",
        "hello to a session",
        "error",
        "goodbye",
    ];
    let stream = names.map(|name| vectors[name].as_slice()).concat();
    let mut decoder = client::Decoder::new();
    let mut input = stream.as_slice();
    let (code, versions) = (ErrorCode(426), (1, 2));
    for reply in [
        Reply::Hello(hello()),
        Reply::Answer(answer()),
        Reply::Answer(answer_of_two_channels()),
        Reply::Answer(answer_of_another_epoch()),
        Reply::Refused { sequence: 3, code: RefusalCode(460), text: "bad" },
        Reply::Ack(4),
        Reply::Hello(hello_to_a_session()),
        Reply::Error { code, offset: 7, versions, text: "version 3" },
        Reply::Goodbye { last: 42, code: GoodbyeCode::RESTART },
    ] {
        assert_eq!(decoder.next(&mut input), Ok(Some(reply)));
    }
    assert_eq!(decoder.next(&mut input), Ok(None));
    let id = answer().id(hello().epoch).to_string();
    assert!(PAGE.contains(&id), "the id {id} is the one that the page spells");
}
