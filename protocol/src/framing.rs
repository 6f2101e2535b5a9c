//! Framings: how the envelope that a dialect made becomes bytes of a transport.
//!
//! An [`Envelope`] is an opening, a payload and an end. Only the payload may be long, and how long
//! it will be is known before it is written, so a header that says the length is written in place:
//! what moves for it is the opening, which is small.

use std::fmt;

use crate::dialect::json;
use crate::http::chunk;
use crate::id::Id;
use crate::sse::write as sse;
use crate::ws::Opcode;
use crate::ws::header::{HEADER_BYTES_MAX, write_header};

/// A way to carry envelopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Framing {
    /// A frame of a WebSocket each, text or binary (RFC 6455).
    Ws,
    /// An event of an event stream each.
    Sse {
        /// Each is a chunk of an answer without a length: not for a client of HTTP/1.0 (RFC 9112,
        /// section 6.1).
        chunked: bool,
        /// The event's name stands beside its data. Without names every event is one that
        /// `onmessage` gets, ours too.
        named: bool,
    },
    /// An element each of a list that a poll is answered with.
    Poll,
}

/// What a dialect says, before anything frames it. Its opening is written by a closure, straight
/// to where it is to stand.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'a> {
    /// The event's name, for a framing that has a place for it.
    pub name: Option<&'a str>,
    /// The place in the order, for a framing whose clients bring it back by themselves.
    pub id: Option<Id>,
    /// How long to wait before connecting again, for a framing that says it.
    pub retry_ms: Option<u64>,
    /// What stands between the opening and the end.
    pub payload: Payload<'a>,
    /// What stands behind the payload. No line breaks.
    pub end: &'a [u8],
}

/// The bytes of a publisher, and what becomes of them.
#[derive(Clone, Copy, Debug)]
pub enum Payload<'a> {
    /// UTF-8 as it stands; line breaks lie where the framing may write them in its own way.
    Plain(&'a [u8]),
    /// UTF-8 as a JSON string.
    JsonString(&'a [u8]),
    /// Any bytes in base64, as a JSON string.
    Base64String(&'a [u8]),
    /// Any bytes as they stand; in base64 where the framing carries only text.
    Binary(&'a [u8]),
}

impl Envelope<'_> {
    /// An envelope of an opening alone.
    pub const BARE: Self =
        Self { name: None, id: None, retry_ms: None, payload: Payload::Plain(b""), end: b"" };
}

impl Framing {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Ws,
        Self::Sse { chunked: true, named: true },
        Self::Sse { chunked: true, named: false },
        Self::Sse { chunked: false, named: true },
        Self::Sse { chunked: false, named: false },
        Self::Poll,
    ];

    /// Whether it is Server-Sent Events.
    pub const fn is_event_stream(self) -> bool {
        matches!(self, Self::Sse { .. })
    }

    /// Whether each envelope is a chunk of an answer without a length.
    pub const fn is_chunked(self) -> bool {
        matches!(self, Self::Sse { chunked: true, .. })
    }

    /// Whether an event's name stands beside its envelope.
    pub const fn names_events(self) -> bool {
        matches!(self, Self::Sse { named: true, .. })
    }

    /// Whether an id stands beside its envelope.
    pub fn carries_ids(self) -> bool {
        self.is_event_stream()
    }

    /// Whether it goes on until somebody ends it, so that it has a beginning of its own.
    pub const fn is_stream(self) -> bool {
        !matches!(self, Self::Poll)
    }

    /// Whether bytes of publishers may stand in it with nothing around them. The elements of a poll
    /// are JSON; and in a stream of events without names, that of an event would be lost in
    /// silence.
    pub const fn takes_raw(self) -> bool {
        !matches!(self, Self::Poll | Self::Sse { named: false, .. })
    }

    /// What stands between two envelopes. Where they are rendered for many, each has it before
    /// itself, and the first of an answer leaves it out.
    pub fn separator(self) -> &'static [u8] {
        match self {
            Self::Poll => b",",
            Self::Ws | Self::Sse { .. } => b"",
        }
    }

    /// Appends one envelope, whose opening `opening` appends: UTF-8 without line breaks, unless the
    /// payload is [`Payload::Binary`].
    pub fn wrap(
        self,
        envelope: &Envelope<'_>,
        opening: impl FnOnce(&mut Vec<u8>),
        out: &mut Vec<u8>,
    ) {
        let start = out.len();
        let Envelope { name, id, retry_ms, payload, end } = *envelope;
        match self {
            Self::Ws => {
                opening(out);
                let bytes = out.len() - start + payload.bytes() + end.len();
                out.reserve(HEADER_BYTES_MAX + bytes);
                let behind = out.len();
                write_header(payload.opcode(), bytes, out);
                // Only now is the length known that stands before it all.
                let header_bytes = out.len() - behind;
                out[start..].rotate_right(header_bytes);
                payload.write(out);
                out.extend_from_slice(end);
            }
            Self::Sse { chunked, named } => {
                if let Some(retry_ms) = retry_ms {
                    sse::retry(out, retry_ms);
                }
                sse::begin(out, name.filter(|_| named));
                opening(out);
                payload.write_text(out);
                out.extend_from_slice(end);
                sse::end(out, id);
                close_chunk(chunked, start, out);
            }
            Self::Poll => {
                opening(out);
                payload.write(out);
                out.extend_from_slice(end);
            }
        }
    }

    /// Appends how long to wait before connecting again, where no envelope says it and the framing
    /// has a place for it: a line of the event that comes next.
    pub fn retry(self, retry_ms: u64, out: &mut Vec<u8>) {
        if let Self::Sse { chunked, .. } = self {
            let start = out.len();
            sse::retry(out, retry_ms);
            close_chunk(chunked, start, out);
        }
    }

    /// Appends the sign of life of a stream that has nothing to tell. A WebSocket has its pings,
    /// and a poll its answer.
    pub fn heartbeat(self, out: &mut Vec<u8>) {
        if let Self::Sse { chunked, .. } = self {
            let start = out.len();
            sse::comment(out, "");
            close_chunk(chunked, start, out);
        }
    }

    /// Appends what ends an answer that came in this framing, behind its last envelope.
    pub fn end(self, out: &mut Vec<u8>) {
        if self.is_chunked() {
            out.extend_from_slice(chunk::LAST);
        }
    }
}

impl fmt::Display for Framing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ws => "ws",
            Self::Sse { chunked: true, named: true } => "sse-chunked",
            Self::Sse { chunked: true, named: false } => "sse-chunked-unnamed",
            Self::Sse { chunked: false, named: true } => "sse",
            Self::Sse { chunked: false, named: false } => "sse-unnamed",
            Self::Poll => "poll",
        })
    }
}

fn close_chunk(chunked: bool, start: usize, out: &mut Vec<u8>) {
    if chunked {
        chunk::wrap(out, start);
    }
}

impl Payload<'_> {
    fn opcode(self) -> Opcode {
        if matches!(self, Self::Binary(_)) { Opcode::Binary } else { Opcode::Text }
    }

    fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::Plain(bytes) | Self::Binary(bytes) => out.extend_from_slice(bytes),
            Self::JsonString(text) => json::string(text, out),
            Self::Base64String(bytes) => json::base64_string(bytes, out),
        }
    }

    /// For a framing in which line breaks are its own.
    fn write_text(self, out: &mut Vec<u8>) {
        match self {
            // Line breaks in JSON lie between its tokens: a LF for a CR changes nothing.
            Self::Plain(text) => sse::lines(out, text),
            Self::Binary(bytes) => json::base64(bytes, out),
            Self::JsonString(_) | Self::Base64String(_) => self.write(out),
        }
    }

    /// Length of what [`Payload::write`] appends: a frame says it before the first byte.
    fn bytes(self) -> usize {
        match self {
            Self::Plain(bytes) | Self::Binary(bytes) => bytes.len(),
            Self::JsonString(text) => json::string_bytes(text),
            Self::Base64String(bytes) => json::base64_string_bytes(bytes),
        }
    }

    /// Length of the payload where it is longest, of all framings.
    pub fn longest_bytes(self) -> usize {
        match self {
            Self::Plain(text) => sse::lines_bytes(text),
            Self::Binary(bytes) | Self::Base64String(bytes) => json::base64_string_bytes(bytes),
            Self::JsonString(_) => self.bytes(),
        }
    }
}

#[cfg(test)]
mod tests;
