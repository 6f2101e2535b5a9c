//! The life of a connection: how far it is, and what it ends with.

use fanfare_protocol::ingest::server::Violation;
use fanfare_protocol::ingest::{ErrorCode, GoodbyeCode, write};

use crate::clock::Millis;

/// From our last byte to the end of the socket; meanwhile what arrives is dropped, so that one who
/// still writes comes to read what we said last.
const LINGER_MS: u64 = 1_000;

/// How far a connection is, and what of its end it has said or was told.
#[derive(Debug)]
pub(in crate::ingest) struct Lifecycle {
    phase: Phase,
    /// Whether it has said that it is done with its session.
    has_ended: bool,
    /// Whether it will send no more.
    is_mute: bool,
    /// Whether all outcomes were sent to it before our side was shut.
    was_told_all: bool,
}

/// How far it is. It goes down this list, and leaves out what it does not need.
#[derive(Debug, PartialEq, Eq)]
enum Phase {
    /// It is read, as long as it keeps within the window.
    Open,
    /// It is read no more; when all outcomes are written, the farewell follows.
    Settling(LastFrame),
    /// Nothing more is written; what is left is sent.
    Flushing,
    /// It has read nothing for too long: what is left is sent until then, as far as there is room;
    /// what arrives is dropped.
    Parting(Millis),
    /// All is sent and our side is shut; what arrives is dropped until then.
    Lingering(Millis),
    /// To be dropped.
    Over,
}

impl Lifecycle {
    /// That of one that has just connected.
    pub(super) fn new() -> Self {
        Self { phase: Phase::Open, has_ended: false, is_mute: false, was_told_all: false }
    }

    /// Whether it may still publish.
    pub(super) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// The farewell that follows when all outcomes are written.
    pub(super) fn settling(&self) -> Option<LastFrame> {
        match self.phase {
            Phase::Settling(farewell) => Some(farewell),
            _ => None,
        }
    }

    /// Whether what is unsent is still sent, and nothing will be added to it.
    pub(in crate::ingest) fn is_parting(&self) -> bool {
        matches!(self.phase, Phase::Flushing | Phase::Parting(_))
    }

    /// Whether nothing more is written to it.
    pub(super) fn is_ending(&self) -> bool {
        !matches!(self.phase, Phase::Open | Phase::Settling(_))
    }

    /// Whether what arrives is dropped.
    pub(in crate::ingest) fn drops_bytes(&self) -> bool {
        self.until().is_some()
    }

    /// When it is over whatever happens.
    pub(super) fn until(&self) -> Option<Millis> {
        match self.phase {
            Phase::Parting(until) | Phase::Lingering(until) => Some(until),
            _ => None,
        }
    }

    /// Whether there is nothing left to do for it.
    pub(super) fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// Whether the publisher is done with its session: it has said so, and knows all outcomes.
    pub(super) fn is_done_with_session(&self) -> bool {
        self.has_ended && self.was_told_all
    }

    /// Nothing more is taken from it. When all outcomes are written this farewell follows.
    pub(super) fn settle(&mut self, farewell: LastFrame) {
        if self.is_open() {
            self.phase = Phase::Settling(farewell);
        }
    }

    /// It has said that it is done with its session.
    pub(super) fn end_session(&mut self) {
        self.has_ended = true;
        self.settle(LastFrame::None);
    }

    /// All is written.
    pub(super) fn flush(&mut self) {
        self.phase = Phase::Flushing;
    }

    /// It has read nothing for too long. Returns what it is still to be told, if anything: the
    /// error that it was about to be told, or else `reason`.
    pub(super) fn part(&mut self, now: Millis, reason: LastFrame) -> Option<LastFrame> {
        match std::mem::replace(&mut self.phase, Phase::Parting(now.plus(LINGER_MS))) {
            Phase::Flushing => None,
            Phase::Settling(error @ LastFrame::Error(..)) => Some(error),
            _ => Some(reason),
        }
    }

    /// It will send no more.
    pub(super) fn mute(&mut self) {
        self.is_mute = true;
        if let Phase::Lingering(_) = self.phase {
            self.phase = Phase::Over;
        }
    }

    /// Our side is shut. Where it will send no more nothing arrives that would have to be dropped.
    pub(super) fn shut(&mut self, now: Millis) {
        // A publisher that was parted from was not told all outcomes.
        self.was_told_all = self.phase == Phase::Flushing;
        self.phase = if self.is_mute { Phase::Over } else { Phase::Lingering(now.plus(LINGER_MS)) };
    }

    /// Nothing can be sent to it, or nothing more need be.
    pub(super) fn end(&mut self) {
        self.phase = Phase::Over;
    }
}

/// What a connection ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LastFrame {
    /// The publisher has ended: nothing.
    None,
    /// An ERROR frame: its code, the offset of what it is about, and why.
    Error(ErrorCode, u64, &'static str),
    /// A GOODBYE frame.
    Goodbye(GoodbyeCode),
}

impl LastFrame {
    /// What one is told who broke the protocol.
    pub(super) fn after(violation: &Violation) -> Self {
        Self::Error(violation.code, violation.offset, violation.text())
    }

    /// Writes it behind the outcomes, of which the last is `settled`.
    pub(super) fn write(self, settled: u64, out: &mut Vec<u8>) {
        match self {
            Self::None => {}
            Self::Error(code, offset, text) => write::error(code, offset, text, out),
            Self::Goodbye(code) => write::goodbye(settled, code, out),
        }
    }
}
