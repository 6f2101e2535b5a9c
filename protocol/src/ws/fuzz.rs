//! The body of the fuzz target `websocket`: however a stream is cut, it tells the same, and the
//! same as a naive decoder. And that of `request_head`, on top of what `http` has for it.
//!
//! `cargo test` replays both corpora through it.

use super::{DataKind, Event, Receiver, Role, Violation, oracle};
use crate::limits::{CONTROL_PAYLOAD_BYTES_MAX, WsLimits};

/// Small, so that a fuzzer reaches them.
const SMALL: WsLimits = WsLimits { message_bytes: 300, fragments: 5 };
/// A message so long that its length has eight bytes is within them.
const LARGE: WsLimits = WsLimits { message_bytes: 70_000, fragments: 5 };
/// Longer streams are cut at some places only: the work is quadratic.
const CUTS_MAX: usize = 200;

/// What a stream told, with the pieces of a message put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    Message(DataKind, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

/// What a whole stream came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct StreamRead {
    pub(super) told: Vec<Told>,
    /// Bytes that were given of a message whose end did not come.
    pub(super) open: Vec<u8>,
    pub(super) violation: Option<Violation>,
    /// Whether the stream ended between two messages.
    pub(super) idle: bool,
}

/// The body of the fuzz target `request_head`: what is decided of an upgrade is the same however
/// its request came.
///
/// # Panics
/// As [`crate::http::fuzz::head`].
pub fn request_head(data: &[u8]) {
    crate::http::fuzz::head(data, &|request| format!("{:?}", super::handshake::decide(request)));
}

/// Feeds `data` to a server's and to a client's machine, whole and cut, and to the naive decoder.
///
/// # Panics
/// When they do not come to the same.
pub fn every_split(data: &[u8]) {
    for limits in [&SMALL, &LARGE] {
        if let Some(expected) = oracle::decode(data, limits) {
            same(&tell(data, &[], Role::Server, limits), &expected);
        }
    }
    for (role, limits) in [(Role::Server, &SMALL), (Role::Client, &LARGE)] {
        let whole = tell(data, &[], role, limits);
        let bytewise: Vec<usize> = (1..data.len()).collect();
        same(&whole, &tell(data, &bytewise, role, limits));
        let step = data.len() / CUTS_MAX + 1;
        for cut in (1..data.len()).step_by(step) {
            same(&whole, &tell(data, &[cut], role, limits));
        }
    }
}

/// Panics unless two ways of cutting one stream came to the same. A chunk that holds a wrong byte
/// is not given, so of a text that was broken off the two may have given more or less.
pub(super) fn same(a: &StreamRead, b: &StreamRead) {
    assert_eq!((&a.told, a.violation, a.idle), (&b.told, b.violation, b.idle));
    if a.violation == Some(Violation::TextNotUtf8) {
        assert!(a.open.starts_with(&b.open) || b.open.starts_with(&a.open));
    } else {
        assert_eq!(a.open, b.open);
    }
}

/// Reads `stream` in pieces that end at `cuts`, with a new machine whenever the last one was idle.
pub(super) fn tell(stream: &[u8], cuts: &[usize], role: Role, limits: &WsLimits) -> StreamRead {
    let mut outcome = StreamRead::default();
    let mut receiver = Receiver::new(role);
    let mut from = 0;
    for &to in cuts.iter().chain([&stream.len()]) {
        let mut scratch = stream[from..to].to_vec();
        from = to;
        if receiver.is_idle() {
            assert!(outcome.open.is_empty() && outcome.violation.is_none());
            receiver = Receiver::new(role);
        }
        let mut input = scratch.as_mut_slice();
        loop {
            match receiver.next(&mut input, limits) {
                Ok(Some(event)) => note(event, &mut outcome, limits),
                Ok(None) => break,
                Err(violation) => {
                    assert_eq!(outcome.violation.replace(violation), None, "told once");
                }
            }
        }
        assert!(input.is_empty(), "`None` means that all was taken");
    }
    outcome.idle = receiver.is_idle();
    outcome
}

fn note(event: Event<'_>, outcome: &mut StreamRead, limits: &WsLimits) {
    assert_eq!(outcome.violation, None, "nothing is told after a violation");
    assert!(!matches!(outcome.told.last(), Some(Told::Close(_))), "nothing is told after a close");
    match event {
        Event::Data { kind, first, last, chunk } => {
            assert!(!chunk.is_empty() || last, "an empty piece says only that it is the last");
            assert_eq!(first, outcome.open.is_empty(), "`first` begins a message");
            outcome.open.extend_from_slice(chunk);
            assert!(outcome.open.len() <= limits.message_bytes);
            if last {
                let bytes = std::mem::take(&mut outcome.open);
                assert!(kind == DataKind::Binary || std::str::from_utf8(&bytes).is_ok());
                outcome.told.push(Told::Message(kind, bytes));
            }
        }
        Event::Ping(payload) => outcome.told.push(Told::Ping(control(payload))),
        Event::Pong(payload) => outcome.told.push(Told::Pong(control(payload))),
        Event::Close(reason) => {
            let reason = reason.map(|(code, text)| (code.number(), text.to_owned()));
            outcome.told.push(Told::Close(reason));
        }
    }
}

fn control(payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() <= CONTROL_PAYLOAD_BYTES_MAX);
    payload.to_vec()
}
