//! The body of the fuzz target `ingest_frames`: however a stream is cut, it tells the same; what is
//! told is written back as the same; memory follows the bytes that came.
//!
//! `cargo test` replays `fuzz/corpus/ingest_frames` through it.

use super::client::{self, Reply};
use super::server::{self, Decoder, Event};
use super::session::Open;
use super::{PublishFrame, write};
use crate::limits::IngestLimits;

/// Small, so that a fuzzer reaches them.
pub(super) const LIMITS: IngestLimits = IngestLimits {
    frame_bytes: 600,
    message_bytes: 300,
    batch_messages: 5,
    window: 5,
    channels: 3,
};
/// As small.
pub(super) const UNCONFIRMED: u32 = 7;
/// Longer streams are cut at some places only: the work is quadratic.
const CUTS_MAX: usize = 200;

/// Reads `data` as a publisher's stream, and again as a server's; panics where it matters.
pub fn frames(data: &[u8]) {
    let step = data.len() / CUTS_MAX + 1;
    let bytewise: Vec<usize> = (1..data.len()).collect();
    let published = tell_server(data, &[], LIMITS);
    assert_eq!(published, tell_server(data, &bytewise, LIMITS));
    let replies = tell_client(data, &[]);
    assert_eq!(replies, tell_client(data, &bytewise));
    for cut in (1..data.len()).step_by(step) {
        assert_eq!(published, tell_server(data, &[cut], LIMITS), "cut at {cut}");
        assert_eq!(replies, tell_client(data, &[cut]), "cut at {cut}");
    }
}

/// What a stream told: a line for each event, and the violation, if one ended it.
pub(super) type Told<V> = (Vec<String>, Option<V>);

pub(super) fn tell_server(
    stream: &[u8],
    cuts: &[usize],
    limits: IngestLimits,
) -> Told<server::Violation> {
    let mut decoder = Decoder::new(limits);
    let mut told = (Vec::new(), None);
    let mut from = 0;
    for &to in cuts.iter().chain([&stream.len()]) {
        let mut input = &stream[from..to];
        from = to;
        loop {
            match decoder.next(&mut input) {
                Ok(Some(event)) => {
                    assert_eq!(told.1, None, "nothing is told after a violation");
                    written_back(&event, limits);
                    told.0.push(describe(&event, &limits));
                    if let Event::Open(open) = event
                        && let Some(taken) = stands_at(&open)
                    {
                        decoder.begin(taken, open.confirmed.min(taken), UNCONFIRMED);
                    }
                }
                Ok(None) => break,
                Err(violation) => {
                    assert!(violation.offset <= to as u64, "it names what came, or its end");
                    assert_eq!(told.1.replace(violation), None, "told once");
                }
            }
        }
        assert!(input.is_empty(), "`None` means that all was taken");
        assert!(decoder.offset() <= to as u64);
        assert!(decoder.buffer_bytes() <= (2 * to).max(64), "memory follows the bytes");
    }
    if told.1.is_none() {
        told.1 = decoder.finish().err();
    }
    told
}

pub(super) fn tell_client(stream: &[u8], cuts: &[usize]) -> Told<client::Violation> {
    let mut decoder = client::Decoder::new();
    let mut told = (Vec::new(), None);
    let mut from = 0;
    for &to in cuts.iter().chain([&stream.len()]) {
        let mut input = &stream[from..to];
        from = to;
        loop {
            match decoder.next(&mut input) {
                Ok(Some(reply)) => {
                    assert_eq!(told.1, None, "nothing is told after a violation");
                    let greeting = matches!(reply, Reply::Hello(_) | Reply::Error { .. });
                    assert!(greeting || !told.0.is_empty(), "a greeting comes first");
                    told.0.push(format!("{reply:?}"));
                }
                Ok(None) => break,
                Err(violation) => assert_eq!(told.1.replace(violation), None, "told once"),
            }
        }
        assert!(input.is_empty(), "`None` means that all was taken");
    }
    told
}

/// How far a session is that is opened here; `None` where it is not known.
pub(super) fn stands_at(open: &Open) -> Option<u64> {
    match open.resumes {
        false => Some(0),
        true => Some(open.confirmed % 100).filter(|_| open.session.0[0].is_multiple_of(2)),
    }
}

/// Everything that an event lends, and what comes of each message.
fn describe(event: &Event<'_>, limits: &IngestLimits) -> String {
    match event {
        Event::Preface | Event::Open(_) | Event::Confirm(_) | Event::End => format!("{event:?}"),
        Event::Publish { sequence, frame } => {
            format!("{sequence}: {frame:?} {:?}", frame.check(limits))
        }
        Event::Batch { first_sequence, batch } => {
            let messages: Vec<_> = batch.map(|frame| (frame, frame.check(limits))).collect();
            assert_eq!(messages.len(), batch.len());
            format!("{first_sequence}: {messages:?}")
        }
    }
}

/// Writes what was read and reads it again; unknown fields are lost on the way.
fn written_back(event: &Event<'_>, limits: IngestLimits) {
    let mut stream = Vec::new();
    if let Event::Open(open) = event {
        write::session_preface(&mut stream);
        write::open(open, &mut stream);
        let mut decoder = Decoder::new(limits);
        assert_eq!(decoder.next(&mut stream.as_slice()), Ok(Some(Event::Open(*open))));
        return;
    }
    write::preface(&mut stream);
    let known = |frame: &PublishFrame<'_>| frame.unknown_required.is_none();
    match event {
        Event::Publish { frame, .. } if known(frame) => write::publish(frame, &mut stream),
        Event::Batch { batch, .. } if batch.clone().all(|frame| known(&frame)) => {
            write::batch(&batch.collect::<Vec<_>>(), &mut stream);
        }
        _ => return,
    }
    let mut decoder = Decoder::new(limits);
    let mut input = stream.as_slice();
    assert_eq!(decoder.next(&mut input), Ok(Some(Event::Preface)));
    match (event, decoder.next(&mut input).expect("we write what we read")) {
        (Event::Publish { frame, .. }, Some(Event::Publish { frame: again, .. })) => {
            assert_eq!(*frame, again);
        }
        (Event::Batch { batch, .. }, Some(Event::Batch { batch: again, .. })) => {
            assert_eq!(*batch, again);
        }
        (event, again) => panic!("{event:?} was read back as {again:?}"),
    }
}
