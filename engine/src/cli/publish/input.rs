//! Lines of any bytes, bounded: a line that is too long is passed over, not kept.

use std::io::{self, BufRead};

/// A line, without its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// Its bytes.
    Whole(&'a [u8]),
    /// It has more bytes than may be.
    TooLong {
        /// From 1.
        number: u64,
    },
}

/// Reads lines that end with LF or CRLF, the last one perhaps without an end.
pub(super) struct Lines<R> {
    input: R,
    bytes_max: usize,
    line: Vec<u8>,
    number: u64,
    drained: bool,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(input: R, bytes_max: usize) -> Self {
        Self { input, bytes_max, line: Vec::new(), number: 0, drained: true }
    }

    /// Whether everything that was read from the source has been given.
    pub(super) fn is_drained(&self) -> bool {
        self.drained
    }

    /// The next line; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.line.clear();
        self.number += 1;
        let (mut begun, mut too_long) = (false, false);
        loop {
            let piece = match self.input.fill_buf() {
                Ok(piece) => piece,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if piece.is_empty() {
                self.drained = true;
                if begun {
                    break;
                }
                return Ok(None);
            }
            begun = true;
            let end = piece.iter().position(|byte| *byte == b'\n');
            let part = &piece[..end.unwrap_or(piece.len())];
            // One byte more than may be, for the CR of a CRLF.
            too_long |= self.line.len() + part.len() > self.bytes_max + 1;
            if !too_long {
                self.line.extend_from_slice(part);
            }
            let taken = end.map_or(piece.len(), |end| end + 1);
            self.drained = taken == piece.len();
            self.input.consume(taken);
            if end.is_some() {
                break;
            }
        }
        let line = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
        if too_long || line.len() > self.bytes_max {
            return Ok(Some(Line::TooLong { number: self.number }));
        }
        Ok(Some(Line::Whole(line)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;

    fn lines(text: &str, buffer: usize) -> Vec<String> {
        let mut lines = Lines::new(BufReader::with_capacity(buffer, text.as_bytes()), 4);
        let mut found = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            found.push(match line {
                Line::Whole(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
                Line::TooLong { number } => format!("line {number} is too long"),
            });
        }
        assert!(lines.is_drained());
        found
    }

    #[test]
    fn every_buffer_gives_the_same_lines() {
        for buffer in 1..24 {
            assert_eq!(lines("", buffer), [""; 0]);
            assert_eq!(lines("a\n\nbc\r\nlast", buffer), ["a", "", "bc", "last"]);
            assert_eq!(
                lines("1234\n1234\r\n12345\n123456789\nx\n", buffer),
                ["1234", "1234", "line 3 is too long", "line 4 is too long", "x"]
            );
        }
    }
}
