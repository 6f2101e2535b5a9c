//! The publisher's end: the server's bytes in, outcomes out.
//!
//! What a server may add later is skipped: frames of unknown type, and bytes after the ones that
//! are known in a frame.

use std::fmt;

use super::also::ChannelReceipts;
use super::assemble::{Assembler, Broken, Frame};
use super::code::{ErrorCode, GoodbyeCode, RefusalCode};
use super::numbers::{FLAG_DUPLICATE, FLAG_EPOCH, VERSION_WITH_SESSIONS, frame_type};
use super::session::Standing;

use crate::id::{Epoch, Id};
use crate::limits::{INGEST_SERVER_FRAME_BYTES_MAX, IngestLimits};
use crate::reader::Reader;

/// The server's first frame, and its answer to each OPEN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The version that both will speak.
    pub version: u8,
    /// The identity of the order that positions belong to, where an answer names no other.
    pub epoch: Epoch,
    /// What the publisher may send.
    pub limits: IngestLimits,
    /// Where the publisher's session stands; there is none in version 1.
    pub session: Option<Standing>,
}

/// A message has its place. Epoch and position make an [`Id`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer<'a> {
    /// Which message.
    pub sequence: u64,
    /// Whether the place was given earlier, to a message with the same idempotency key.
    pub duplicate: bool,
    /// Node-wide.
    pub position: u64,
    /// Within the channel, from 1; 0 where the channel's messages have none.
    pub offset: u64,
    /// Connections that follow the channel at that position.
    pub subscribers: u64,
    /// Its places in the further channels that were named, in their order.
    pub also: ChannelReceipts<'a>,
    /// The epoch that the place belongs to, where that is not the one of this connection's HELLO.
    pub epoch: Option<Epoch>,
}

impl Answer<'_> {
    /// The place as clients write it; `epoch` is that of this connection's HELLO.
    pub fn id(&self, epoch: Epoch) -> Id {
        Id { epoch: self.epoch.unwrap_or(epoch), position: self.position }
    }
}

/// What the server said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// Always first, unless it is an error.
    Hello(Hello),
    /// The message with this number has its place.
    Answer(Answer<'a>),
    /// The message with this number was not published.
    Refused {
        /// Which message.
        sequence: u64,
        /// For machines.
        code: RefusalCode,
        /// For people.
        text: &'a str,
    },
    /// Everything up to and including this number has its outcome; what was neither answered nor
    /// refused was accepted.
    Ack(u64),
    /// The server ends the connection, because of us.
    Error {
        /// For machines.
        code: ErrorCode,
        /// Place of the offending byte in what we sent.
        offset: u64,
        /// Lowest and highest version that the server speaks.
        versions: (u8, u8),
        /// For people.
        text: &'a str,
    },
    /// The server ends the connection, for no fault of ours. Everything after the last number was
    /// not published.
    Goodbye {
        /// The last message that has its outcome.
        last: u64,
        /// Why.
        code: GoodbyeCode,
    },
}

/// The server did not keep to the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Place in the server's stream of the offending frame's length or of its body.
    pub offset: u64,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong with a server's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// A frame of length 0.
    LengthZero,
    /// A frame over 1,024 bytes.
    FrameTooLong,
    /// Neither HELLO nor ERROR came first.
    NoHello,
    /// A frame without all its parts, or with a text that is not UTF-8.
    Unreadable,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.fault {
            Fault::LengthZero => "a frame of length 0",
            Fault::FrameTooLong => "a frame that is too long",
            Fault::NoHello => "no HELLO before other frames",
            Fault::Unreadable => "a frame that cannot be read",
        };
        let offset = self.offset;
        write!(f, "the server does not speak Fanfare's publish protocol: {what} at byte {offset}")
    }
}

impl std::error::Error for Violation {}

/// Reads what the server says on one connection.
#[derive(Debug)]
pub struct Decoder {
    frames: Assembler,
    greeted: bool,
    /// After a violation all input is dropped.
    over: bool,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// Before the first byte of a connection.
    pub fn new() -> Self {
        let frames = Assembler::lenient(0, INGEST_SERVER_FRAME_BYTES_MAX as u32, is_known);
        Self { frames, greeted: false, over: false }
    }

    /// Whether a frame was begun and not finished.
    pub fn is_mid_frame(&self) -> bool {
        self.frames.is_mid_frame()
    }

    /// Takes from the front of `input` up to the next reply; `None` when the input is used up.
    ///
    /// # Errors
    /// The server cannot be understood; all input after it is dropped.
    pub fn next<'e, 'i: 'e>(
        &'e mut self,
        input: &mut &'i [u8],
    ) -> Result<Option<Reply<'e>>, Violation> {
        let Self { frames, greeted, over } = self;
        if *over {
            *input = &[];
            return Ok(None);
        }
        let read = match frames.next(input) {
            Ok(None) => return Ok(None),
            Ok(Some(frame)) => read_reply(frame, *greeted),
            Err(broken) => Err(Violation::of(broken)),
        };
        *greeted = true;
        *over = read.is_err();
        read.map(Some)
    }
}

impl Violation {
    fn of(broken: Broken) -> Self {
        let (offset, fault) = match broken {
            Broken::LengthZero(at) => (at, Fault::LengthZero),
            Broken::LengthOverLimit(at) => (at, Fault::FrameTooLong),
            Broken::UnknownType(_) => unreachable!("a lenient assembler passes it over"),
        };
        Self { offset, fault }
    }
}

fn is_known(number: u8) -> bool {
    (frame_type::HELLO..=frame_type::GOODBYE).contains(&number)
}

fn read_reply(frame: Frame<'_>, greeted: bool) -> Result<Reply<'_>, Violation> {
    let refuse = |fault| Violation { offset: frame.at, fault };
    if !greeted && !matches!(frame.number, frame_type::HELLO | frame_type::ERROR) {
        return Err(refuse(Fault::NoHello));
    }
    read_body(frame).ok_or(refuse(Fault::Unreadable))
}

fn read_body(frame: Frame<'_>) -> Option<Reply<'_>> {
    let mut body = Reader::new(frame.body, frame.at);
    Some(match frame.number {
        frame_type::HELLO => Reply::Hello(read_hello(&mut body)?),
        frame_type::ANSWER => Reply::Answer(read_answer(body)?),
        frame_type::REFUSED => Reply::Refused {
            sequence: body.u64()?,
            code: RefusalCode(body.u16()?),
            text: read_text(&mut body)?,
        },
        frame_type::ACK => Reply::Ack(body.u64()?),
        frame_type::ERROR => Reply::Error {
            code: ErrorCode(body.u16()?),
            offset: body.u64()?,
            versions: (body.u8()?, body.u8()?),
            text: read_text(&mut body)?,
        },
        _ => Reply::Goodbye {
            last: body.u64()?,
            code: body.u16().map_or(GoodbyeCode::RESTART, GoodbyeCode),
        },
    })
}

fn read_answer(mut body: Reader<'_>) -> Option<Answer<'_>> {
    let sequence = body.u64()?;
    let flags = body.u8()?;
    Some(Answer {
        sequence,
        duplicate: flags & FLAG_DUPLICATE != 0,
        position: body.u64()?,
        offset: body.u64()?,
        subscribers: body.u64()?,
        epoch: match flags & FLAG_EPOCH {
            0 => None,
            _ => Some(Epoch::from_random(body.u64()?)),
        },
        also: ChannelReceipts::read(body),
    })
}

fn read_hello(body: &mut Reader<'_>) -> Option<Hello> {
    let (version, epoch) = (body.u8()?, Epoch::from_random(body.u64()?));
    Some(Hello {
        version,
        epoch,
        limits: IngestLimits {
            frame_bytes: body.u32()?,
            message_bytes: body.u32()?,
            batch_messages: body.u32()?,
            window: body.u32()?,
            channels: IngestLimits::DEFAULT.channels,
        },
        session: match version {
            VERSION_WITH_SESSIONS => Some(Standing::read(body, epoch)?),
            _ => None,
        },
    })
}

fn read_text<'a>(body: &mut Reader<'a>) -> Option<&'a str> {
    let length = body.u16()?;
    std::str::from_utf8(body.take(length.into())?).ok()
}
