//! The receiving machine: bytes of a peer in, events out.
//!
//! State is one of: before or in a header; in a payload; over. Beside it stands the message that is
//! open, because control frames may come between its fragments (RFC 6455, section 5.4).
//!
//! Data payloads are lent chunk by chunk as they arrive, so a message needs no buffer here; its
//! size is counted. A control payload is lent from the input where it came whole, else it is
//! collected in the machine: at most 125 bytes.

use super::close;
use super::close_code::CloseCode;
use super::frame::{Admission, FrameHeader, HeaderDecoder, Opcode};
use super::mask::apply_mask;
use super::utf8::Utf8;
use super::violation::Violation;
use crate::limits::{CONTROL_PAYLOAD_BYTES_MAX, WsLimits};

/// Which end this machine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Reads a client's frames, which must be masked.
    Server,
    /// Reads a server's frames, which must not be masked.
    Client,
}

/// What a message is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DataKind {
    /// UTF-8, checked as it arrives; a chunk may end inside a code point.
    Text,
    /// Bytes.
    Binary,
}

/// What the peer did. Payloads are unmasked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A piece of a message. A message is one or more of them; an empty message is one empty piece.
    Data {
        /// What the whole message is.
        kind: DataKind,
        /// Whether it is the message's first piece.
        first: bool,
        /// Whether it is the message's last piece.
        last: bool,
        /// The bytes.
        chunk: &'a [u8],
    },
    /// Owed a pong with the same payload (section 5.5.3).
    Ping(&'a [u8]),
    /// An answer to a ping, or nobody's.
    Pong(&'a [u8]),
    /// The peer is done; what it sends afterwards is ignored.
    Close(Option<(CloseCode, &'a str)>),
}

/// Reads the frames of one peer. Small: to be made when a client begins to speak and dropped when
/// [`Receiver::is_idle`].
#[derive(Debug)]
pub struct Receiver {
    state: State,
    role: Role,
    header: HeaderDecoder,
    /// The frame whose payload is being read.
    frame: FrameHeader,
    /// Bytes of its payload that have arrived.
    arrived: u64,
    message: Option<Message>,
    control: [u8; CONTROL_PAYLOAD_BYTES_MAX],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// `header` is reading; `frame` means nothing.
    Header,
    /// `frame` is good and fewer bytes than it declares have arrived, or none were due.
    Payload,
    /// A close frame or a violation came: all input is dropped.
    Over,
}

/// The data message that is open.
#[derive(Clone, Copy, Debug)]
struct Message {
    kind: DataKind,
    /// Whether a piece of it was given.
    begun: bool,
    /// Frames so far.
    fragments: u32,
    /// Bytes that its frames declared so far.
    bytes: u64,
    utf8: Utf8,
}

impl Receiver {
    /// A machine at the start of a frame, outside any message.
    pub fn new(role: Role) -> Self {
        Self {
            state: State::Header,
            role,
            header: HeaderDecoder::default(),
            frame: FrameHeader::default(),
            arrived: 0,
            message: None,
            control: [0; CONTROL_PAYLOAD_BYTES_MAX],
        }
    }

    /// Whether a new machine would go on in the same way: at a frame's start, outside any message,
    /// not closed. While this is false the peer owes bytes (or the connection is over).
    pub fn is_idle(&self) -> bool {
        self.state == State::Header && self.header.is_idle() && self.message.is_none()
    }

    /// Whether the peer's last frame was a close frame, good or broken: it sends nothing more.
    pub fn peer_closed(&self) -> bool {
        let close = [self.header.last_opcode(), self.frame.opcode].contains(&Opcode::Close);
        self.state == State::Over && close
    }

    /// Takes from the front of `input` up to the next event; `None` when the input is used up.
    ///
    /// After a violation, as after a close frame, all further input is dropped (THREATS W15).
    ///
    /// # Errors
    /// What the peer has done that RFC 6455 or a limit forbids; it names the close code.
    pub fn next<'e, 'i: 'e>(
        &'e mut self,
        input: &mut &'i mut [u8],
        limits: &WsLimits,
    ) -> Result<Option<Event<'e>>, Violation> {
        loop {
            match self.state {
                State::Over => {
                    *input = &mut [];
                    return Ok(None);
                }
                State::Header => {
                    let read = self.read_header(input, limits);
                    match self.over_if_broken(read)? {
                        Some(frame) => self.begin_payload(frame),
                        None => return Ok(None),
                    }
                }
                State::Payload => {}
            }
            let missing = self.frame.length - self.arrived;
            if missing > 0 && input.is_empty() {
                return Ok(None);
            }
            let taken = usize::try_from(missing).map_or(input.len(), |all| all.min(input.len()));
            let (chunk, rest) = std::mem::take(input).split_at_mut(taken);
            *input = rest;
            apply_mask(chunk, self.frame.mask, self.arrived);
            let from = self.arrived;
            self.arrived += taken as u64;
            let complete = self.arrived == self.frame.length;
            if complete {
                self.state = State::Header;
            }
            if self.frame.opcode.is_control() {
                if complete {
                    return self.control(from as usize, chunk).map(Some);
                }
                self.control[from as usize..][..taken].copy_from_slice(chunk);
            } else {
                let piece = self.data(chunk, complete);
                if let Some(event) = self.over_if_broken(piece)? {
                    return Ok(Some(event));
                }
            }
        }
    }

    fn over_if_broken<T>(&mut self, result: Result<T, Violation>) -> Result<T, Violation> {
        if result.is_err() {
            self.state = State::Over;
        }
        result
    }

    fn read_header(
        &mut self,
        input: &mut &mut [u8],
        limits: &WsLimits,
    ) -> Result<Option<FrameHeader>, Violation> {
        let (fragments, bytes) = self.message.map_or((0, 0), |open| (open.fragments, open.bytes));
        let admission = Admission {
            masked: self.role == Role::Server,
            in_message: self.message.is_some(),
            fragment_left: fragments < limits.fragments,
            room: (limits.message_bytes as u64).saturating_sub(bytes),
        };
        let mut used = 0;
        let mut header = None;
        while header.is_none() && used < input.len() {
            header = self.header.push(input[used], &admission)?;
            used += 1;
        }
        *input = &mut std::mem::take(input)[used..];
        Ok(header)
    }

    fn begin_payload(&mut self, frame: FrameHeader) {
        self.state = State::Payload;
        self.frame = frame;
        self.arrived = 0;
        if frame.opcode.is_control() {
            return;
        }
        let kind = if frame.opcode == Opcode::Text { DataKind::Text } else { DataKind::Binary };
        // A continuation finds the message open: its header was admitted.
        let message = self.message.get_or_insert(Message {
            kind,
            begun: false,
            fragments: 0,
            bytes: 0,
            utf8: Utf8::START,
        });
        message.fragments += 1;
        message.bytes += frame.length;
    }

    /// A piece of the open message; `None` where there is nothing to tell: an empty fragment that
    /// is not the last.
    fn data<'i>(
        &mut self,
        chunk: &'i [u8],
        complete: bool,
    ) -> Result<Option<Event<'i>>, Violation> {
        let message = self.message.as_mut().expect("a data frame opens a message or continues one");
        let last = complete && self.frame.fin;
        if message.kind == DataKind::Text {
            message.utf8.feed(chunk).map_err(|_| Violation::TextNotUtf8)?;
            if last && !message.utf8.is_complete() {
                return Err(Violation::TextNotUtf8);
            }
        }
        if chunk.is_empty() && !last {
            return Ok(None);
        }
        let first = !std::mem::replace(&mut message.begun, true);
        let kind = message.kind;
        if last {
            self.message = None;
        }
        Ok(Some(Event::Data { kind, first, last, chunk }))
    }

    /// A control frame whose last bytes are `chunk`; the `from` bytes before are in `self.control`.
    fn control<'e, 'i: 'e>(
        &'e mut self,
        from: usize,
        chunk: &'i [u8],
    ) -> Result<Event<'e>, Violation> {
        let payload: &'e [u8] = if from == 0 {
            chunk
        } else {
            let end = from + chunk.len();
            self.control[from..end].copy_from_slice(chunk);
            &self.control[..end]
        };
        match self.frame.opcode {
            Opcode::Ping => Ok(Event::Ping(payload)),
            Opcode::Pong => Ok(Event::Pong(payload)),
            _ => {
                self.state = State::Over;
                close::parse(payload).map(Event::Close)
            }
        }
    }
}

// It is boxed for each client that is in the middle of a frame.
const _: () = assert!(std::mem::size_of::<Receiver>() <= 200);
