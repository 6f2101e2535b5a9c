//! Version 2 row by row: what it refuses where, what its numbers count, round trips, every split.

use proptest::prelude::*;

use super::assemble::LENGTH_BYTES;
use super::client::{Hello, Reply};
use super::fuzz::{LIMITS, UNCONFIRMED, frames, stands_at, tell_client, tell_server};
use super::server::{Decoder, Event, Fault, Violation};
use super::session::{Open, SessionId, Standing};
use super::tests::{raw_frame, raw_message};
use super::{ErrorCode, PublishFrame, VERSION_WITH_SESSIONS, write};
use crate::id::Epoch;
use crate::limits::{IngestLimits, SessionLimits};

const ID: SessionId = SessionId(*b"0123456789abcdef");

fn after_preface(parts: &[&[u8]]) -> Vec<u8> {
    [&b"FANFARE\x02"[..], &parts.concat()].concat()
}

/// An OPEN frame byte by byte, as another language would write it.
fn raw_open(flags: u8, id: &[u8], confirmed: u64) -> Vec<u8> {
    raw_frame(3, &[&[flags][..], id, &confirmed.to_le_bytes()].concat())
}

#[test]
fn a_session_that_is_broken_names_the_byte() {
    let good = raw_frame(1, &raw_message(0, 3, b"demo", b"", b"hi"));
    let open = raw_open(0, &ID.0, 0);
    assert_eq!(open.len(), 30);
    let unknown = raw_open(1, b"\x01odd-are-unknown", 0);
    let eight = good.repeat(8);
    let confirm = raw_frame(4, &2_u64.to_le_bytes());
    // The preface is 8 bytes, an OPEN 30, this message 21, a frame's length 4.
    for (name, stream, code, offset, fault) in [
        ("a message before OPEN", after_preface(&[&good]), 400, 12, Fault::NoSession),
        ("a confirmation before OPEN", after_preface(&[&confirm]), 400, 12, Fault::NoSession),
        ("an end before OPEN", after_preface(&[b"\x01\0\0\0\x05"]), 400, 12, Fault::NoSession),
        ("after an unknown one", after_preface(&[&unknown, &good]), 400, 42, Fault::NoSession),
        ("a second OPEN", after_preface(&[&open, &open]), 400, 42, Fault::OpenAgain),
        ("a flag", after_preface(&[&raw_open(2, &ID.0, 0)]), 400, 13, Fault::UnknownFlag),
        ("OPEN cut", after_preface(&[&raw_open(0, &ID.0[1..], 0)]), 400, 13, Fault::Short),
        (
            "OPEN too long",
            after_preface(&[&raw_open(0, b"0123456789abcdefg", 0)]),
            400,
            38,
            Fault::TrailingBytes,
        ),
        ("CONFIRM cut", after_preface(&[&open, &raw_frame(4, &[0; 7])]), 400, 43, Fault::Short),
        (
            "CONFIRM too long",
            after_preface(&[&open, &raw_frame(4, &[0; 9])]),
            400,
            51,
            Fault::TrailingBytes,
        ),
        (
            "END with a body",
            after_preface(&[&open, &raw_frame(5, b"x")]),
            400,
            43,
            Fault::TrailingBytes,
        ),
        (
            "something after END",
            after_preface(&[&open, &raw_frame(5, b""), &good]),
            400,
            47,
            Fault::AfterEnd,
        ),
        ("type 6", after_preface(&[&open, &raw_frame(6, b"")]), 400, 42, Fault::UnknownType),
        (
            "one unconfirmed too many",
            after_preface(&[&open, &eight]),
            413,
            8 + 30 + 7 * 21 + 4,
            Fault::Unconfirmed,
        ),
        ("truncated OPEN", after_preface(&[&open[..20]]), 400, 28, Fault::Truncated),
    ] {
        let code = ErrorCode(code);
        let (_, violation) = tell_server(&stream, &[], LIMITS);
        assert_eq!(violation, Some(Violation { code, offset, fault }), "{name}");
        frames(&stream);
    }
}

fn first(event: Result<Option<Event<'_>>, Violation>) -> (u64, usize) {
    match event {
        Ok(Some(Event::Batch { first_sequence, batch })) => (first_sequence, batch.len()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn numbers_go_on_where_the_session_stands_and_confirmations_make_room() {
    let message = PublishFrame::new("demo", b"hi");
    let open = Open { session: ID, resumes: true, confirmed: 39 };
    let mut stream = Vec::new();
    write::session_preface(&mut stream);
    write::open(&open, &mut stream);
    let four = [message; 4];
    write::batch(&four, &mut stream);
    write::publish(&message, &mut stream);
    write::confirm(42, &mut stream);
    write::batch(&four, &mut stream);
    // An older confirmation takes no room away.
    write::confirm(40, &mut stream);
    write::end(&mut stream);
    frames(&stream);
    let mut decoder = Decoder::new(LIMITS);
    let mut input = stream.as_slice();
    assert_eq!(decoder.next(&mut input), Ok(Some(Event::Open(open))));
    assert!(decoder.is_mid_frame() || !input.is_empty());
    decoder.begin(40, 39, UNCONFIRMED);
    assert_eq!(first(decoder.next(&mut input)), (41, 4));
    let event = decoder.next(&mut input);
    assert_eq!(event, Ok(Some(Event::Publish { sequence: 45, frame: message })));
    assert_eq!(decoder.next(&mut input), Ok(Some(Event::Confirm(42))));
    assert_eq!(first(decoder.next(&mut input)), (46, 4));
    assert_eq!(decoder.next(&mut input), Ok(Some(Event::Confirm(40))));
    assert_eq!(decoder.next(&mut input), Ok(Some(Event::End)));
    assert_eq!((decoder.last_sequence(), decoder.finish()), (49, Ok(())));
}

#[test]
fn a_hello_of_version_1_has_no_session_and_one_of_version_2_must() {
    let (epoch, limits) = (Epoch::from_random(42), IngestLimits::DEFAULT);
    let mut stream = Vec::new();
    write::hello(&Hello { version: 1, epoch, limits, session: None }, &mut stream);
    assert_eq!(stream.len(), 30);
    // Bytes behind the limits are none of a session's, in version 1.
    let mut longer = stream.clone();
    longer[0] += 21;
    longer.extend([1; 21]);
    let (told, violation) = tell_client(&longer, &[]);
    assert!(violation.is_none() && told[0].contains("session: None"), "{told:?}");
    stream[5] = 2;
    assert!(tell_client(&stream, &[]).1.is_some());
}

proptest! {
    #[test]
    fn what_is_opened_is_read_back(id: [u8; 16], resumes: bool, confirmed: u64, to in 0_u64..99) {
        let open = Open { session: SessionId(id), resumes, confirmed };
        let mut stream = Vec::new();
        write::session_preface(&mut stream);
        write::open(&open, &mut stream);
        write::confirm(to, &mut stream);
        frames(&stream);
        let (told, violation) = tell_server(&stream, &[], LIMITS);
        prop_assert_eq!(&told[0], &format!("{:?}", Event::Open(open)));
        match stands_at(&open) {
            Some(_) => prop_assert_eq!(&told[1], &format!("Confirm({to})")),
            None => prop_assert_eq!(violation.map(|v| v.fault), Some(Fault::NoSession)),
        }
    }

    #[test]
    fn where_a_session_stands_is_read_back(known: bool, taken: u64, numbers: [u32; 3]) {
        let [unconfirmed, sessions, age_s] = numbers;
        let limits = SessionLimits { unconfirmed, sessions, age_s };
        let hello = Hello {
            version: VERSION_WITH_SESSIONS,
            epoch: Epoch::from_random(7),
            limits: IngestLimits::DEFAULT,
            session: Some(Standing { known, taken, limits, life: Epoch::from_random(taken) }),
        };
        let mut stream = Vec::new();
        write::hello(&hello, &mut stream);
        let (told, violation) = tell_client(&stream, &[]);
        prop_assert_eq!((told, violation), (vec![format!("{:?}", Reply::Hello(hello))], None));
    }

    /// The first servers of version 2 said no more than this.
    #[test]
    fn a_hello_without_a_life_is_of_its_epoch_and_a_cut_one_is_none(taken: u64, cut in 1usize..8) {
        let limits = SessionLimits { unconfirmed: 1, sessions: 2, age_s: 3 };
        let epoch = Epoch::from_random(7);
        let hello = Hello {
            version: VERSION_WITH_SESSIONS,
            epoch,
            limits: IngestLimits::DEFAULT,
            session: Some(Standing { known: true, taken, limits, life: epoch }),
        };
        let mut stream = Vec::new();
        write::hello(&hello, &mut stream);
        let shorter = |by: usize| {
            let mut stream = stream[..stream.len() - by].to_vec();
            let length = (stream.len() - LENGTH_BYTES) as u32;
            stream[..LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
            tell_client(&stream, &[])
        };
        let (told, violation) = shorter(8);
        prop_assert_eq!((told, violation), (vec![format!("{:?}", Reply::Hello(hello))], None));
        prop_assert!(shorter(cut).1.is_some());
    }

    #[test]
    fn any_bytes_in_any_pieces(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        frames(&after_preface(&[&bytes]));
        let open = raw_open(0, &ID.0, 0);
        frames(&after_preface(&[&open, &bytes]));
        frames(&after_preface(&[&open, &raw_frame(4, &bytes)]));
    }
}
