//! What is wrong with a publisher's stream, and what it is told.

use std::fmt;

use super::super::code::ErrorCode;
use super::super::numbers::VERSIONS;

/// A publisher must be told this, and its connection ended (THREATS D4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    /// For machines.
    pub code: ErrorCode,
    /// Place of the offending byte in the stream, from 0: the first byte of the number that is
    /// wrong, or of the message or field that does not fit; where bytes are missing, their place.
    pub offset: u64,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong with a publisher's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// It does not begin with the magic.
    Magic,
    /// The version is not spoken here.
    Version,
    /// A frame of length 0.
    LengthZero,
    /// A frame over the limit.
    FrameTooLong,
    /// No frame has this number.
    UnknownType,
    /// A flag that has no meaning.
    UnknownFlag,
    /// No kind has this number.
    UnknownKind,
    /// The lengths of a message reach over the end of its frame.
    MessageOverrun,
    /// Bytes after the last message of a frame.
    TrailingBytes,
    /// A field reaches over the end of its message's fields.
    FieldOverrun,
    /// Fields are not in ascending order, or one is there twice, or has the number 0.
    FieldOrder,
    /// A field has a value that says all by being there.
    FieldValue,
    /// A batch of nothing.
    BatchEmpty,
    /// A batch of too many.
    BatchTooLong,
    /// A message, a confirmation or an end without a session.
    NoSession,
    /// A second session on one connection.
    OpenAgain,
    /// A frame ends before its last field.
    Short,
    /// More messages than may be unconfirmed.
    Unconfirmed,
    /// Something follows an end.
    AfterEnd,
    /// The stream ended inside the preface or inside a frame.
    Truncated,
}

impl Violation {
    pub(in crate::ingest) fn malformed(offset: u64, fault: Fault) -> Self {
        Self { code: ErrorCode::MALFORMED, offset, fault }
    }

    /// For people: what happened and what to do.
    pub fn text(&self) -> &'static str {
        match self.fault {
            Fault::Magic => {
                "this is Fanfare's publish socket, and the stream does not begin with \
                `FANFARE`; HTTP is spoken on another address"
            }
            Fault::Version => "this version is not spoken here; see the versions in this frame",
            Fault::LengthZero => "a frame has at least its type: its length cannot be 0",
            Fault::FrameTooLong => "the frame is longer than the `frame_bytes` that HELLO told",
            Fault::UnknownType => "no frame of a publisher has this type",
            Fault::UnknownFlag => "this flag has no meaning in this version",
            Fault::UnknownKind => "no kind has this number",
            Fault::MessageOverrun => "the lengths of this message reach over the end of its frame",
            Fault::TrailingBytes => "the frame goes on after its last message or field",
            Fault::FieldOverrun => "this field reaches over the end of the message's fields",
            Fault::FieldOrder => {
                "fields are in ascending order of their numbers, from 1, each once"
            }
            Fault::FieldValue => "the field `ephemeral` has no value: its length is 0",
            Fault::BatchEmpty => "a batch has at least one message",
            Fault::BatchTooLong => {
                "the batch has more messages than the `batch_messages` that HELLO told"
            }
            Fault::NoSession => {
                "no session is open: OPEN comes first, and again after a HELLO that \
                does not know the session that was to be resumed"
            }
            Fault::OpenAgain => "this connection has its session",
            Fault::Short => "the frame ends before its last field",
            Fault::Unconfirmed => {
                "more messages than the `unconfirmed` that HELLO told have outcomes that you did \
                not confirm"
            }
            Fault::AfterEnd => "nothing may follow an END",
            Fault::Truncated => "the stream ended inside a frame, which is not published",
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at byte {})", self.text(), self.offset)?;
        if self.fault == Fault::Version {
            write!(f, ": {} to {}", VERSIONS.0, VERSIONS.1)?;
        }
        Ok(())
    }
}

impl std::error::Error for Violation {}
