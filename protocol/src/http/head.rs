//! Finds the end of a request head in bytes that arrive anyhow, and refuses early.
//!
//! Every byte passes one state machine once, whatever the cuts: the work is linear in the bytes
//! (parsing again from the start with each segment is quadratic, CVE-2023-43669), and the first
//! byte that no request can hold at its place is the end: TLS or noise on the port is refused by
//! its first byte. The machine is stricter than `httparse`, which takes bare LF; `httparse` then
//! takes the whole head apart, once. A byte must please both.
//!
//! ```text
//!  Start --letter--> Method --SP--> Target --SP--> Version --CR--> LineLf --LF--+
//!    | CR            +-----------------------------------------------------+    |
//!    v               |                                                     |    v
//!  EmptyLf --LF--> Again --letter--> Method       Name <--token byte-- LineStart --CR--> EndLf
//!                                                  | ':'                    ^             | LF
//!                                                  v                        |             v
//!                                                Value --CR--> LineLf ------+           Whole
//! ```

use super::fields::is_token_byte;
use super::request::Request;
use super::violation::Violation;
use crate::limits::{FIELDS_MAX, HttpLimits};

/// Longer words are no method; the longest registered one has 17 letters.
const METHOD_BYTES_MAX: usize = 32;
const VERSION: &[u8] = b"HTTP/1.";

/// What became of a piece of input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fed {
    /// The head goes on; all of the input was taken.
    Partial,
    /// The head is whole.
    Complete {
        /// How many bytes of this input belonged to it. The rest is the caller's: a body, or
        /// WebSocket frames.
        taken: usize,
    },
}

/// What the next byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// The first byte of all: a method's, or the CR of one empty line (RFC 9112, section 2.2).
    Start,
    /// The LF of that empty line.
    EmptyLf,
    /// The first byte after it.
    Again,
    Method,
    Target,
    Version,
    /// The LF of a line.
    LineLf,
    /// The first byte of a field line or of the empty line at the end.
    LineStart,
    Name,
    Value,
    /// The last LF.
    EndLf,
    Whole,
}

/// Collects one request head.
///
/// Owns the bytes of the head and no others. Its buffer grows with what arrives, never with what
/// is promised, and never beyond [`HttpLimits::head_bytes`].
#[derive(Debug)]
pub struct HeadReader {
    buffer: Vec<u8>,
    at: At,
    /// Where in `buffer` the method, the target or the version began.
    begun: usize,
    fields: usize,
    /// Where in `buffer` a minor version stands that is yet to come.
    later_minor: Option<usize>,
    #[cfg(test)]
    looked_at: usize,
}

/// For whoever counts memory.
impl HeadReader {
    /// Bytes of memory of what has arrived.
    pub fn memory(&self) -> usize {
        self.buffer.capacity()
    }
}

impl Default for HeadReader {
    fn default() -> Self {
        Self::new()
    }
}

impl HeadReader {
    /// Nothing read, nothing allocated.
    pub fn new() -> Self {
        Self {
            buffer: Vec::new(),
            at: At::Start,
            begun: 0,
            fields: 0,
            later_minor: None,
            #[cfg(test)]
            looked_at: 0,
        }
    }

    /// Takes the next bytes. Once the head is whole, takes nothing until [`Self::clear`].
    ///
    /// # Errors
    /// The same violation at the same byte, however the input is cut. The reader is of no use
    /// after it.
    pub fn feed(&mut self, input: &[u8], limits: &HttpLimits) -> Result<Fed, Violation> {
        if self.at == At::Whole {
            return Ok(Fed::Complete { taken: 0 });
        }
        let before = self.buffer.len();
        let room = limits.head_bytes.saturating_sub(before);
        let readable = &input[..input.len().min(room)];
        let mut stepped = Ok(());
        let mut taken = 0;
        while taken < readable.len() && self.at != At::Whole && stepped.is_ok() {
            taken += self.pass_over(&readable[taken..]);
            let Some(byte) = readable.get(taken) else { break };
            stepped = self.step(*byte, before + taken, limits);
            taken += 1;
        }
        // Only now, and only what belongs to this head: of many requests in one input each is
        // copied once, and not all that come behind it.
        self.buffer.extend_from_slice(&readable[..taken]);
        // `httparse` knows minor versions 0 and 1 only. A later one is read as the highest that we
        // speak (RFC 9110, section 2.5).
        if let Some(at) = self.later_minor.take() {
            self.buffer[at] = b'1';
        }
        stepped?;
        if self.at == At::Whole {
            return Ok(Fed::Complete { taken });
        }
        if input.len() > room || self.buffer.len() >= limits.head_bytes {
            return Err(Violation::HeadTooLong);
        }
        Ok(Fed::Partial)
    }

    /// The request of a whole head, checked. Parses: call it once for each head.
    ///
    /// # Errors
    /// Whatever is wrong with the request that no single byte shows.
    ///
    /// # Panics
    /// When the head is not whole yet.
    pub fn request(&self, limits: &HttpLimits) -> Result<Request<'_>, Violation> {
        assert!(self.at == At::Whole, "a request is asked for before its head is whole");
        Request::parse(&self.buffer, limits)
    }

    /// Whether nothing has arrived since the beginning or the last [`Self::clear`]: a deadline
    /// that passes now ends an idle connection and not a slow head.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Whether an answer to what was read has no body: the method is HEAD, also where the request
    /// was refused.
    pub fn is_head_method(&self) -> bool {
        let line = self.buffer.strip_prefix(b"\r\n").unwrap_or(&self.buffer);
        line.starts_with(b"HEAD ")
    }

    /// Ready for the next request. Gives the memory back: between requests a connection is idle,
    /// and an idle connection holds no buffer.
    pub fn clear(&mut self) {
        *self = Self::new();
    }

    /// How many of the next bytes belong to the name or the value that is being read and change
    /// nothing: most of a head, in a loop of a few instructions.
    fn pass_over(&mut self, bytes: &[u8]) -> usize {
        let end = match self.at {
            At::Name => bytes.iter().position(|byte| !is_token_byte(*byte)),
            At::Value => bytes.iter().position(|byte| !is_value_byte(*byte)),
            _ => return 0,
        };
        let passed = end.unwrap_or(bytes.len());
        #[cfg(test)]
        {
            self.looked_at += passed;
        }
        passed
    }

    fn step(&mut self, byte: u8, offset: usize, limits: &HttpLimits) -> Result<(), Violation> {
        #[cfg(test)]
        {
            self.looked_at += 1;
        }
        self.at = match (self.at, byte) {
            (At::Start, b'\r') => At::EmptyLf,
            (At::EmptyLf, b'\n') => At::Again,
            (At::Start | At::Again, byte) if byte.is_ascii_alphabetic() => {
                self.begun = offset;
                At::Method
            }
            (At::Start | At::EmptyLf | At::Again, _) => return Err(Violation::NotHttp),
            (At::Method, _) => self.step_method(byte, offset)?,
            (At::Target, _) => self.step_target(byte, offset, limits)?,
            (At::Version, _) => self.step_version(byte, offset)?,
            (At::LineLf, b'\n') => At::LineStart,
            (At::EndLf, b'\n') => At::Whole,
            (At::LineStart, b'\r') => At::EndLf,
            (At::LineStart, byte) if is_token_byte(byte) => {
                self.fields += 1;
                if self.fields > limits.fields.min(FIELDS_MAX) {
                    return Err(Violation::TooManyFields);
                }
                At::Name
            }
            (At::Name, b':') => At::Value,
            (At::Name, byte) if is_token_byte(byte) => At::Name,
            (At::Value, b'\r') => At::LineLf,
            (At::Value, byte) if is_value_byte(byte) => At::Value,
            // A folded line, a space before the colon, a bare CR or LF, NUL, a control character.
            (At::LineLf | At::EndLf | At::LineStart | At::Name | At::Value, _) => {
                return Err(Violation::FieldLine);
            }
            (At::Whole, _) => unreachable!("feed stops at the end of the head"),
        };
        Ok(())
    }

    fn step_method(&mut self, byte: u8, offset: usize) -> Result<At, Violation> {
        match byte {
            b' ' => {
                self.begun = offset + 1;
                Ok(At::Target)
            }
            byte if !is_token_byte(byte) => Err(Violation::RequestLine),
            _ if offset - self.begun >= METHOD_BYTES_MAX => Err(Violation::UnknownMethod),
            _ => Ok(At::Method),
        }
    }

    fn step_target(
        &mut self,
        byte: u8,
        offset: usize,
        limits: &HttpLimits,
    ) -> Result<At, Violation> {
        match byte {
            b' ' if offset == self.begun => Err(Violation::RequestLine),
            b' ' => {
                self.begun = offset + 1;
                Ok(At::Version)
            }
            // HTTP/0.9 ends its line here.
            b'\r' | b'\n' => Err(Violation::RequestLine),
            b'#' => Err(Violation::Target), // a fragment is never sent (RFC 9112, section 3.2)
            0x21..=0x7e if offset - self.begun >= limits.target_bytes => {
                Err(Violation::TargetTooLong)
            }
            0x21..=0x7e => Ok(At::Target),
            _ => Err(Violation::Target),
        }
    }

    fn step_version(&mut self, byte: u8, offset: usize) -> Result<At, Violation> {
        let index = offset - self.begun;
        match (index, byte) {
            (0..7, byte) if byte == VERSION[index] => Ok(At::Version),
            // "HTTP/" and another digit: HTTP/2 with prior knowledge, or what is yet to come.
            (5, b'0'..=b'9') => Err(Violation::HttpVersion),
            (7, b'0' | b'1') => Ok(At::Version),
            (7, b'2'..=b'9') => {
                self.later_minor = Some(offset);
                Ok(At::Version)
            }
            (8, b'\r') => Ok(At::LineLf),
            _ => Err(Violation::RequestLine),
        }
    }
}

/// HTAB, SP, VCHAR and obs-text (RFC 9110, section 5.5).
fn is_value_byte(byte: u8) -> bool {
    matches!(byte, b'\t' | 0x20..=0x7e | 0x80..)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HttpLimits = HttpLimits::DEFAULT;

    #[test]
    fn the_rest_of_the_input_is_the_callers() {
        let mut reader = HeadReader::new();
        assert!(reader.is_empty());
        let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let input = [&head[..], b"\x81\x80frames"].concat();
        assert_eq!(reader.feed(&input, &LIMITS), Ok(Fed::Complete { taken: head.len() }));
        assert_eq!(reader.feed(b"more", &LIMITS), Ok(Fed::Complete { taken: 0 }));
        assert_eq!(reader.buffer, head);
        assert_eq!(reader.request(&LIMITS).unwrap().path, "/");
        assert!(!reader.is_empty() && !reader.is_head_method());
        reader.clear();
        assert!(reader.is_empty() && reader.buffer.capacity() == 0);
        let second = b"HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_eq!(reader.feed(second, &LIMITS), Ok(Fed::Complete { taken: second.len() }));
        assert_eq!(reader.request(&LIMITS).unwrap().path, "/x");
        assert!(reader.is_head_method());
    }

    #[test]
    fn what_comes_behind_a_head_is_neither_looked_at_nor_copied() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let input = head.repeat(500);
        let mut reader = HeadReader::new();
        assert_eq!(reader.feed(&input, &LIMITS), Ok(Fed::Complete { taken: head.len() }));
        assert_eq!(reader.looked_at, head.len());
        assert!(reader.buffer.capacity() < 2 * head.len(), "{}", reader.buffer.capacity());
    }

    #[test]
    fn every_byte_is_looked_at_once() {
        let mut head = b"GET / HTTP/1.1\r\nHost: a\r\nX: ".to_vec();
        head.resize(LIMITS.head_bytes - 5, b'x');
        head.extend_from_slice(b"\r\n\r\n");
        let mut reader = HeadReader::new();
        for byte in &head[..head.len() - 1] {
            assert_eq!(reader.feed(&[*byte], &LIMITS), Ok(Fed::Partial));
        }
        assert_eq!(reader.feed(b"\n", &LIMITS), Ok(Fed::Complete { taken: 1 }));
        assert_eq!(reader.looked_at, head.len(), "24 KiB in segments of one byte: linear work");
    }

    #[test]
    fn the_buffer_holds_no_more_than_the_limit() {
        let limits = HttpLimits { head_bytes: 64, ..LIMITS };
        let mut reader = HeadReader::new();
        let endless = [&b"GET / HTTP/1.1\r\nX: "[..], &[b'x'; 4096]].concat();
        assert_eq!(reader.feed(&endless, &limits), Err(Violation::HeadTooLong));
        assert_eq!(reader.buffer.len(), 64);
    }

    #[test]
    fn a_head_of_exactly_the_limit_passes_and_one_byte_more_does_not() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        for (spare, expected) in
            [(0, Ok(Fed::Complete { taken: head.len() })), (-1, Err(Violation::HeadTooLong))]
        {
            let head_bytes = head.len().checked_add_signed(spare).unwrap();
            let limits = HttpLimits { head_bytes, ..LIMITS };
            assert_eq!(HeadReader::new().feed(head, &limits), expected);
            let mut reader = HeadReader::new();
            let mut last = Ok(Fed::Partial);
            for byte in head {
                last = reader.feed(&[*byte], &limits);
                if last.is_err() {
                    break;
                }
            }
            assert_eq!(last.is_ok(), expected.is_ok());
        }
    }

    #[test]
    fn a_field_too_many_is_refused_by_its_first_byte() {
        let limits = HttpLimits { fields: 2, ..LIMITS };
        let mut reader = HeadReader::new();
        let two = b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n";
        assert_eq!(reader.feed(two, &limits), Ok(Fed::Partial));
        assert_eq!(reader.feed(b"Z", &limits), Err(Violation::TooManyFields));
    }

    #[test]
    fn noise_is_refused_by_the_first_byte_that_no_request_has() {
        let cases: [(&[u8], usize, Violation); 16] = [
            (b"\x16\x03\x01\x02\x00", 1, Violation::NotHttp),
            (b"\0\0\0", 1, Violation::NotHttp),
            (b"\x80\x2e", 1, Violation::NotHttp),
            (b"\n", 1, Violation::NotHttp),
            (b" GET / HTTP/1.1", 1, Violation::NotHttp),
            (b"\r\n\r\nGET", 3, Violation::NotHttp),
            (b"SSH-2.0-OpenSSH_9.6\r\n", 20, Violation::RequestLine),
            (b"GET\t/ HTTP/1.1", 4, Violation::RequestLine),
            (b"GET  / HTTP/1.1", 5, Violation::RequestLine),
            (b"GET /\r\n", 6, Violation::RequestLine),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 12, Violation::HttpVersion),
            (b"GET /\xc3\xa4 HTTP/1.1", 6, Violation::Target),
            // What httparse would find as well, but only at the end of the head.
            (b"GET / HTTP/1.1\r\nX : y", 18, Violation::FieldLine),
            (b"GET / HTTP/1.1\r\n X: y", 17, Violation::FieldLine),
            (b"GET / HTTP/1.1\r\nX: \0", 20, Violation::FieldLine),
            (b"GET / HTTP/1.1\r\n:", 17, Violation::FieldLine),
        ];
        for (input, bytes, violation) in cases {
            let mut reader = HeadReader::new();
            assert_eq!(reader.feed(&input[..bytes - 1], &LIMITS), Ok(Fed::Partial), "{input:?}");
            assert_eq!(reader.feed(&input[bytes - 1..bytes], &LIMITS), Err(violation));
        }
    }
}
