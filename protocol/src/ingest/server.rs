//! The server's end: a publisher's bytes in, its messages out.
//!
//! ```
//! use fanfare_protocol::ingest::{PublishFrame, server::{Decoder, Event}, write};
//! use fanfare_protocol::limits::IngestLimits;
//!
//! let mut stream = Vec::new();
//! write::preface(&mut stream);
//! write::publish(&PublishFrame::new("demo", b"hi"), &mut stream);
//!
//! let mut decoder = Decoder::new(IngestLimits::DEFAULT);
//! let mut input = stream.as_slice();
//! assert_eq!(decoder.next(&mut input)?, Some(Event::Preface)); // answer it with HELLO
//! let Some(Event::Publish { sequence, frame }) = decoder.next(&mut input)? else { panic!() };
//! assert_eq!((sequence, frame.channel, frame.data), (1, &b"demo"[..], &b"hi"[..]));
//! assert_eq!(decoder.next(&mut input)?, None);
//! # Ok::<(), fanfare_protocol::ingest::server::Violation>(())
//! ```

pub(super) mod violation;

pub use super::assemble::BUFFER_BYTES_KEPT;
use super::assemble::{Assembler, Broken, Frame, LENGTH_BYTES};
use super::code::ErrorCode;
use super::numbers::{MAGIC, VERSION, VERSION_WITH_SESSIONS, frame_type};
use super::publish::PublishFrame;
use super::session::Open;
use crate::limits::IngestLimits;
use crate::reader::Reader;
pub use violation::{Fault, Violation};

const PREFACE_BYTES: usize = MAGIC.len() + 1;

/// What a publisher did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// It speaks version 1: it is owed a HELLO.
    Preface,
    /// It speaks version 2 and wants this session: it is owed a HELLO, and [`Decoder::begin`] is
    /// called where it gets the session. Else it may ask for another one.
    Open(Open),
    /// It has seen the outcomes of all messages up to this one.
    Confirm(u64),
    /// It is done with its session.
    End,
    /// It published one message.
    Publish {
        /// The message's number in its session, else on this connection, from 1.
        sequence: u64,
        /// The message, unchecked.
        frame: PublishFrame<'a>,
    },
    /// It published many as one command.
    Batch {
        /// The number of the first; the others follow by one each.
        first_sequence: u64,
        /// The messages, unchecked.
        batch: Batch<'a>,
    },
}

/// The messages of a BATCH frame: at least one. The shape of each was checked.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    left: u32,
    reader: Reader<'a>,
}

impl PartialEq for Batch<'_> {
    fn eq(&self, other: &Self) -> bool {
        Iterator::eq(*self, *other)
    }
}

impl Eq for Batch<'_> {}

impl<'a> Iterator for Batch<'a> {
    type Item = PublishFrame<'a>;

    fn next(&mut self) -> Option<PublishFrame<'a>> {
        self.left = self.left.checked_sub(1)?;
        Some(PublishFrame::read(&mut self.reader).expect("read once when the frame was decoded"))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}

impl ExactSizeIterator for Batch<'_> {}

/// Reads one publisher's stream.
#[derive(Debug)]
pub struct Decoder {
    limits: IngestLimits,
    /// Bytes of the preface that have come.
    preface: usize,
    frames: Assembler,
    session: Session,
    /// The number of the next message.
    next_sequence: u64,
    /// The publisher has seen the outcomes up to here, and may send so many beyond.
    confirmed: u64,
    unconfirmed_max: u64,
    /// After a violation all input is dropped.
    over: bool,
}

/// Whether messages may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Session {
    /// They always may, in version 1.
    Needless,
    /// It has to be opened.
    None,
    Open,
    Ended,
}

impl Decoder {
    /// Before the first byte of a connection.
    pub fn new(limits: IngestLimits) -> Self {
        let is_known = |number| matches!(number, frame_type::PUBLISH | frame_type::BATCH);
        let frames = Assembler::strict(PREFACE_BYTES as u64, limits.frame_bytes, is_known);
        Self {
            limits,
            preface: 0,
            frames,
            session: Session::Needless,
            next_sequence: 1,
            confirmed: 0,
            unconfirmed_max: u64::MAX,
            over: false,
        }
    }

    /// The session that was asked for is open: the next message is the one after `taken`, and at
    /// most `unconfirmed` may lie behind the last one that is confirmed.
    pub fn begin(&mut self, taken: u64, confirmed: u64, unconfirmed: u32) {
        self.session = Session::Open;
        self.next_sequence = taken + 1;
        self.confirmed = confirmed;
        self.unconfirmed_max = unconfirmed.into();
    }

    /// Whether the publisher owes bytes: the rest of a frame, or its preface (THREATS D5).
    pub fn is_mid_frame(&self) -> bool {
        !self.over && (self.preface < PREFACE_BYTES || self.frames.is_mid_frame())
    }

    /// Number of the last message that was given; 0 before the first.
    pub fn last_sequence(&self) -> u64 {
        self.next_sequence - 1
    }

    /// Bytes that were taken from the stream so far.
    pub fn offset(&self) -> u64 {
        if self.preface < PREFACE_BYTES { self.preface as u64 } else { self.frames.taken }
    }

    /// Bytes that are reserved for the frame that has not come whole.
    pub fn buffer_bytes(&self) -> usize {
        self.frames.capacity()
    }

    /// The same when so many bytes more have come of it, which misses as many.
    pub fn buffer_bytes_with(&self, more: usize) -> usize {
        self.frames.capacity_with(more)
    }

    /// Bytes of it that have not come; 0 between two frames, and as long as its length is not told.
    pub fn missing_bytes(&self) -> usize {
        self.frames.missing()
    }

    /// Takes from the front of `input` up to the next event; `None` when the input is used up.
    ///
    /// # Errors
    /// What the publisher must be told. All input after it is dropped.
    pub fn next<'e, 'i: 'e>(
        &'e mut self,
        input: &mut &'i [u8],
    ) -> Result<Option<Event<'e>>, Violation> {
        if self.over {
            *input = &[];
            return Ok(None);
        }
        if self.preface < PREFACE_BYTES {
            match self.read_preface(input) {
                // Version 2 says nothing before its session.
                Ok(Some(_)) if self.session != Session::Needless => {}
                result => {
                    self.over = result.is_err();
                    return result;
                }
            }
        }
        let read = match self.frames.next(input) {
            Ok(None) => return Ok(None),
            Ok(Some(frame)) => {
                let last = self.confirmed.saturating_add(self.unconfirmed_max);
                read_frame(frame, self.session, self.next_sequence, last, &self.limits)
            }
            Err(broken) => Err(Violation::of(broken)),
        };
        match &read {
            Ok(Event::Batch { batch, .. }) => self.next_sequence += u64::from(batch.left),
            Ok(Event::Publish { .. }) => self.next_sequence += 1,
            Ok(Event::Confirm(sequence)) => self.confirmed = self.confirmed.max(*sequence),
            Ok(Event::End) => self.session = Session::Ended,
            Ok(Event::Preface | Event::Open(_)) => {}
            Err(_) => self.over = true,
        }
        read.map(Some)
    }

    /// The publisher will send no more: fine between two frames, and before the first byte.
    ///
    /// # Errors
    /// [`Fault::Truncated`] inside a frame.
    pub fn finish(&self) -> Result<(), Violation> {
        if self.is_mid_frame() && self.offset() > 0 {
            return Err(Violation::malformed(self.offset(), Fault::Truncated));
        }
        Ok(())
    }

    fn read_preface<'e>(&mut self, input: &mut &[u8]) -> Result<Option<Event<'e>>, Violation> {
        while let Some((byte, rest)) = input.split_first() {
            let offset = self.preface as u64;
            if self.preface == MAGIC.len() {
                match *byte {
                    VERSION => {}
                    VERSION_WITH_SESSIONS => self.expect_session(),
                    _ => {
                        let code = ErrorCode::BAD_VERSION;
                        return Err(Violation { code, offset, fault: Fault::Version });
                    }
                }
            } else if *byte != MAGIC[self.preface] {
                return Err(Violation::malformed(offset, Fault::Magic));
            }
            self.preface += 1;
            *input = rest;
            if self.preface == PREFACE_BYTES {
                return Ok(Some(Event::Preface));
            }
        }
        Ok(None)
    }
}

impl Decoder {
    fn expect_session(&mut self) {
        let is_known = |number| (frame_type::PUBLISH..=frame_type::END).contains(&number);
        let frame_bytes = self.limits.frame_bytes;
        self.frames = Assembler::strict(PREFACE_BYTES as u64, frame_bytes, is_known);
        self.session = Session::None;
    }
}

impl Violation {
    fn of(broken: Broken) -> Self {
        match broken {
            Broken::LengthZero(at) => Self::malformed(at, Fault::LengthZero),
            Broken::UnknownType(at) => Self::malformed(at, Fault::UnknownType),
            Broken::LengthOverLimit(offset) => {
                Self { code: ErrorCode::TOO_LARGE, offset, fault: Fault::FrameTooLong }
            }
        }
    }
}

/// `last` is the last message that may come now.
fn read_frame<'a>(
    frame: Frame<'a>,
    session: Session,
    sequence: u64,
    last: u64,
    limits: &IngestLimits,
) -> Result<Event<'a>, Violation> {
    let type_at = frame.at - 1;
    let opens = frame.number == frame_type::OPEN;
    let fault = match session {
        Session::None if !opens => Some(Fault::NoSession),
        Session::Open if opens => Some(Fault::OpenAgain),
        Session::Ended => Some(Fault::AfterEnd),
        Session::None | Session::Open | Session::Needless => None,
    };
    if let Some(fault) = fault {
        return Err(Violation::malformed(type_at, fault));
    }
    let mut reader = Reader::new(frame.body, frame.at);
    let mut messages = 0;
    let event = match frame.number {
        frame_type::OPEN => Event::Open(Open::read(&mut reader)?),
        frame_type::CONFIRM => {
            let short = Violation::malformed(frame.at, Fault::Short);
            Event::Confirm(reader.u64().ok_or(short)?)
        }
        frame_type::END => Event::End,
        frame_type::PUBLISH => {
            messages = 1;
            Event::Publish { sequence, frame: PublishFrame::read(&mut reader)? }
        }
        _ => {
            let batch = read_batch(&mut reader, limits)?;
            messages = batch.left.into();
            Event::Batch { first_sequence: sequence, batch }
        }
    };
    if !reader.is_empty() {
        return Err(Violation::malformed(reader.at, Fault::TrailingBytes));
    }
    if messages > 0 && sequence + (messages - 1) > last {
        let code = ErrorCode::TOO_LARGE;
        return Err(Violation { code, offset: type_at, fault: Fault::Unconfirmed });
    }
    Ok(event)
}

/// Walks over all messages, so that a batch is refused whole or given whole.
fn read_batch<'a>(reader: &mut Reader<'a>, limits: &IngestLimits) -> Result<Batch<'a>, Violation> {
    let overrun = Violation::malformed(reader.at, Fault::MessageOverrun);
    let flags_at = reader.at;
    if reader.u8().ok_or(overrun)? != 0 {
        return Err(Violation::malformed(flags_at, Fault::UnknownFlag));
    }
    let offset = reader.at;
    let count = reader.u32().ok_or(overrun)?;
    if count == 0 {
        return Err(Violation::malformed(offset, Fault::BatchEmpty));
    }
    if count > limits.batch_messages {
        let code = ErrorCode::TOO_LARGE;
        return Err(Violation { code, offset, fault: Fault::BatchTooLong });
    }
    let batch = Batch { left: count, reader: *reader };
    for _ in 0..count {
        PublishFrame::read(reader)?;
    }
    Ok(batch)
}

const _: () = assert!(LENGTH_BYTES == 4 && PREFACE_BYTES == 8, "as docs/PROTOCOLS.md has it");
