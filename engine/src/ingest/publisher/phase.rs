//! How far a connection is, and what it ends with.

use fanfare_protocol::ingest::server::Violation;
use fanfare_protocol::ingest::{ErrorCode, GoodbyeCode, write};

use crate::clock::Millis;

/// From our last byte to the end of the socket; meanwhile what arrives is dropped, so that one who
/// still writes comes to read what we said last.
const LINGER_MS: u64 = 1_000;

/// How far a connection is. It goes down this list, and leaves out what it does not need.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It is read, as long as it keeps within the window.
    Open,
    /// It is read no more; when all outcomes are written, the farewell follows.
    Settling(Farewell),
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

impl Phase {
    /// It has read nothing for too long.
    pub(super) fn parting(now: Millis) -> Self {
        Self::Parting(now.plus(LINGER_MS))
    }

    /// Our side is shut now.
    pub(super) fn lingering(now: Millis) -> Self {
        Self::Lingering(now.plus(LINGER_MS))
    }

    /// Whether it may still publish.
    pub(super) fn is_open(&self) -> bool {
        *self == Self::Open
    }

    /// Whether what arrives is dropped.
    pub(super) fn drops_bytes(&self) -> bool {
        self.until().is_some()
    }

    /// Whether what is unsent is all that it is ever told.
    pub(super) fn is_parting(&self) -> bool {
        matches!(self, Self::Flushing | Self::Parting(_))
    }

    /// Whether nothing more is written to it.
    pub(super) fn is_ending(&self) -> bool {
        self.is_parting() || matches!(self, Self::Lingering(_) | Self::Over)
    }

    /// When it is over whatever happens.
    pub(super) fn until(&self) -> Option<Millis> {
        match self {
            Self::Parting(until) | Self::Lingering(until) => Some(*until),
            _ => None,
        }
    }
}

/// What a connection ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Farewell {
    /// The publisher has ended: nothing.
    None,
    /// An ERROR frame: its code, the offset of what it is about, and why.
    Error(ErrorCode, u64, &'static str),
    /// A GOODBYE frame.
    Goodbye(GoodbyeCode),
}

impl Farewell {
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
