//! The body of an HTTP answer, out of its chunks if it has any (RFC 9112, sections 6.3 and 7.1).

use super::Violation;
use super::head::Length;

/// Reads one body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Body {
    state: State,
    /// Bytes of the body, or of the chunk, that are still to come; the number being read.
    left: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Plain,
    UntilClose,
    /// In a chunk's size; whether a digit was seen.
    Size(bool),
    /// Behind a chunk's size, up to the end of its line.
    Extension,
    Chunk,
    /// Behind a chunk, before its line's end.
    ChunkEnd,
    /// In a trailer; whether its line has anything in it.
    Trailer(bool),
    Over,
}

impl Body {
    /// Before the first byte.
    pub fn new(length: Length) -> Self {
        let (state, left) = match length {
            Length::Bytes(0) => (State::Over, 0),
            Length::Bytes(bytes) => (State::Plain, bytes),
            Length::Chunked => (State::Size(false), 0),
            Length::UntilClose => (State::UntilClose, 0),
        };
        Self { state, left }
    }

    /// Whether all of it has come.
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// Takes from the front of `bytes` up to the next piece of the body; `None` where `bytes` are
    /// used up or the body is over.
    ///
    /// # Errors
    /// The chunks are not well made.
    pub fn next<'b>(&mut self, bytes: &mut &'b [u8]) -> Result<Option<&'b [u8]>, Violation> {
        loop {
            if bytes.is_empty() {
                return Ok(None);
            }
            match self.state {
                State::Over => return Ok(None),
                State::UntilClose => return Ok(Some(std::mem::take(bytes))),
                State::Plain | State::Chunk => {
                    let take = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                    let (piece, rest) = bytes.split_at(take);
                    *bytes = rest;
                    self.left -= take as u64;
                    if self.left == 0 {
                        let plain = self.state == State::Plain;
                        self.state = if plain { State::Over } else { State::ChunkEnd };
                    }
                    return Ok(Some(piece));
                }
                _ => {
                    let byte = bytes[0];
                    *bytes = &bytes[1..];
                    self.step(byte)?;
                }
            }
        }
    }

    fn step(&mut self, byte: u8) -> Result<(), Violation> {
        self.state = match (self.state, byte) {
            (State::Size(_), b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = char::from(byte).to_digit(16).map_or(0, u64::from);
                if self.left >> 60 != 0 {
                    return Err("a chunk that is too long");
                }
                self.left = self.left << 4 | digit;
                State::Size(true)
            }
            (State::Size(true) | State::Extension, b'\n') if self.left == 0 => {
                State::Trailer(false)
            }
            (State::Size(true) | State::Extension, b'\n') => State::Chunk,
            (State::Size(true), b';' | b' ' | b'\t' | b'\r') | (State::Extension, _) => {
                State::Extension
            }
            (State::Size(_), _) => return Err("a chunk without a size"),
            (State::ChunkEnd, b'\r') => State::ChunkEnd,
            (State::ChunkEnd, b'\n') => State::Size(false),
            (State::ChunkEnd, _) => return Err("a chunk longer than its size"),
            (State::Trailer(false), b'\n') => State::Over,
            (State::Trailer(_), b'\n') => State::Trailer(false),
            (State::Trailer(full), b'\r') => State::Trailer(full),
            (State::Trailer(_), _) => State::Trailer(true),
            (state, _) => state,
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(length: Length, pieces: &[&[u8]]) -> Result<(String, bool, String), Violation> {
        let (mut body, mut out, mut after) = (Body::new(length), Vec::new(), Vec::new());
        for mut piece in pieces.iter().copied() {
            while let Some(bytes) = body.next(&mut piece)? {
                out.extend_from_slice(bytes);
            }
            after.extend_from_slice(piece);
        }
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ok((text(out), body.is_over(), text(after)))
    }

    #[test]
    fn every_split_gives_the_same_body() {
        let chunks = b"5;x=y\r\nhello\r\n11\r\n, chunks of bytes\r\n0\r\nTrailer: z\r\n\r\nnext";
        let expected = ("hello, chunks of bytes".to_owned(), true, "next".to_owned());
        for cut in 0..=chunks.len() {
            let (first, second) = chunks.split_at(cut);
            assert_eq!(read(Length::Chunked, &[first, second]), Ok(expected.clone()), "{cut}");
        }
        let single: Vec<_> = chunks.chunks(1).collect();
        assert_eq!(read(Length::Chunked, &single), Ok(expected));
        let plain = read(Length::Bytes(3), &[b"ab", b"cd"]);
        assert_eq!(plain, Ok(("abc".into(), true, "d".into())));
        let endless = read(Length::UntilClose, &[b"ab", b"cd"]);
        assert_eq!(endless, Ok(("abcd".into(), false, String::new())));
        assert!(Body::new(Length::Bytes(0)).is_over());
    }

    #[test]
    fn chunks_that_are_not_well_made_are_refused() {
        for bad in ["\r\n", "x\r\n", "2\r\nabc", "11111111111111111\r\n"] {
            assert!(read(Length::Chunked, &[bad.as_bytes()]).is_err(), "{bad:?}");
        }
    }
}
