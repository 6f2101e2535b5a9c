//! The wire vectors of `docs/PROTOCOLS.md` are what this crate writes and reads, so that the page
//! from which others implement the publish protocol cannot rot.

use std::collections::BTreeMap;

use fanfare_protocol::id::Epoch;
use fanfare_protocol::ingest::client::{self, Answer, Hello, Reply};
use fanfare_protocol::ingest::server::{Decoder, Event};
use fanfare_protocol::ingest::{
    DeclaredKind, ErrorCode, PublishFrame, RefusalCode, VERSION, write,
};
use fanfare_protocol::limits::IngestLimits;
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
    Hello { version: VERSION, epoch, limits: IngestLimits::DEFAULT }
}

fn answer() -> Answer {
    Answer { sequence: 2, duplicate: false, position: 1042, offset: 17, subscribers: 3 }
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
        ("batch", written(|out| write::batch(&batch(), out))),
        ("answer", written(|out| write::answer(&answer(), out))),
        ("refused", written(|out| write::refused(3, RefusalCode::BAD_CHANNEL, "bad", out))),
        ("ack", written(|out| write::ack(4, out))),
        ("error", written(|out| write::error(ErrorCode::BAD_VERSION, 7, "version 2", out))),
        ("goodbye", written(|out| write::goodbye(42, out))),
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
        &vectors["batch"],
    ]
    .concat();
    let mut decoder = Decoder::new(IngestLimits::DEFAULT);
    let mut input = stream.as_slice();
    assert_eq!(decoder.next(&mut input), Ok(Some(Event::Preface)));
    let text = DeclaredKind::Known(Kind::Text);
    let tomorrow = PublishFrame { kind: text, ..PublishFrame::new("demo", b"hi") };
    let expected = [PublishFrame::new("demo", b"hi"), with_event_and_key(), tomorrow];
    for (sequence, frame) in (1..).zip(expected) {
        assert_eq!(decoder.next(&mut input), Ok(Some(Event::Publish { sequence, frame })));
        assert!(frame.check(&IngestLimits::DEFAULT).is_ok());
    }
    let Ok(Some(Event::Batch { first_sequence: 4, batch: read })) = decoder.next(&mut input) else {
        panic!("the fourth message begins a batch");
    };
    assert_eq!(read.collect::<Vec<_>>(), batch());
    assert_eq!(decoder.next(&mut input), Ok(None));
}

#[test]
fn a_client_reads_the_page() {
    let vectors = vectors();
    let names = ["hello", "answer", "refused", "ack", "error", "goodbye"];
    let stream = names.map(|name| vectors[name].as_slice()).concat();
    let mut decoder = client::Decoder::new();
    let mut input = stream.as_slice();
    let (code, versions) = (ErrorCode(426), (1, 1));
    for reply in [
        Reply::Hello(hello()),
        Reply::Answer(answer()),
        Reply::Refused { sequence: 3, code: RefusalCode(460), text: "bad" },
        Reply::Ack(4),
        Reply::Error { code, offset: 7, versions, text: "version 2" },
        Reply::Goodbye(42),
    ] {
        assert_eq!(decoder.next(&mut input), Ok(Some(reply)));
    }
    assert_eq!(decoder.next(&mut input), Ok(None));
    let id = answer().id(hello().epoch).to_string();
    assert!(PAGE.contains(&id), "the id {id} is the one that the page spells");
}
