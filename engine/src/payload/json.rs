//! JSON that common parsers read. A payload that is JSON stands inside of an envelope, so one that
//! a client's parser refuses takes the envelope with it, and the id by which that client would
//! leave it behind: it comes back for the same message for ever.
//!
//! So beyond RFC 8259, which leaves these to implementations (section 9), a payload that is called
//! JSON keeps what the strictest of the widely used parsers ask for (tried by
//! `engine/tests/parsers.rs` and written down in docs/PROTOCOLS.md). One pass, no recursion, no
//! allocation.

use std::fmt;

/// Arrays and objects within one another. Ruby stops at 100 and jq at 256, with the three of our
/// envelopes; .NET counts to 64.
pub const DEPTH_MAX: u32 = 64;
/// Characters of one number. Jackson stops at 1,000 digits.
pub const NUMBER_BYTES_MAX: usize = 1_000;
/// Bytes of one name in an object, as it is written. Jackson stops at 50,000 characters.
pub const NAME_BYTES_MAX: usize = 50_000;

// Which levels are objects is kept as bits of one word.
const _: () = assert!(DEPTH_MAX <= u64::BITS);

/// Decimal digits before the point that cannot be more than a double holds (1.8e308).
const SAFE_DIGITS: usize = 308;

/// What is no JSON that common parsers read, and where that shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfit {
    /// Which rule it breaks.
    pub why: Why,
    /// Bytes before the place.
    pub at: usize,
}

/// A rule that a text breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is not JSON at all.
    Syntax,
    /// More than `DEPTH_MAX` arrays and objects within one another.
    Depth,
    /// A number beyond what a double holds.
    Infinite,
    /// A number of more than `NUMBER_BYTES_MAX` characters.
    LongNumber,
    /// `\ud800` to `\udfff` that is not one half of a pair.
    Surrogate,
    /// A name that begins with `\u0000`.
    NulName,
    /// A name of more than `NAME_BYTES_MAX` bytes.
    LongName,
}

impl Why {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Syntax,
        Self::Depth,
        Self::Infinite,
        Self::LongNumber,
        Self::Surrogate,
        Self::NulName,
        Self::LongName,
    ];

    /// What it is, to stand after "the data".
    pub fn text(self) -> &'static str {
        match self {
            Self::Syntax => "is not valid JSON",
            Self::Depth => {
                "has more than 64 arrays and objects within one another, which common JSON parsers \
                 refuse"
            }
            Self::Infinite => {
                "has a number that no double holds (beyond 1.8e308), which common JSON parsers \
                 refuse"
            }
            Self::LongNumber => {
                "has a number of more than 1,000 characters, which common JSON parsers refuse"
            }
            Self::Surrogate => {
                "has half of a surrogate pair (\\ud800 to \\udfff alone), which common JSON \
                 parsers refuse"
            }
            Self::NulName => {
                "has a name that begins with \\u0000, which common JSON parsers refuse"
            }
            Self::LongName => {
                "has a name of more than 50,000 bytes, which common JSON parsers refuse"
            }
        }
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at byte {})", self.why.text(), self.at)
    }
}

/// Whether `text` is one JSON text, with space around it at most, that common parsers read.
///
/// # Errors
/// The first place that breaks a rule.
pub fn check(text: &str) -> Result<(), Unfit> {
    Walk { text, bytes: text.as_bytes(), at: 0, depth: 0, objects: 0 }.all()
}

/// A place in the text, and what is open there.
struct Walk<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    depth: u32,
    /// Bit n: whether level n, from 0, is an object.
    objects: u64,
}

impl Walk<'_> {
    fn all(mut self) -> Result<(), Unfit> {
        loop {
            self.space();
            if self.opens()? {
                continue; // and its first value is next
            }
            // A value has ended, and with it perhaps some of what it stands in.
            loop {
                self.space();
                if self.depth == 0 {
                    return if self.at == self.bytes.len() { Ok(()) } else { self.syntax() };
                }
                let closing = if self.in_object() { b'}' } else { b']' };
                match self.peek() {
                    Some(b',') => {
                        self.at += 1;
                        if self.in_object() {
                            self.name()?;
                        }
                        break;
                    }
                    Some(byte) if byte == closing => {
                        self.at += 1;
                        self.depth -= 1;
                    }
                    _ => return self.syntax(),
                }
            }
        }
    }

    /// Reads a value, or the beginning of one that holds others: then it is `true`.
    fn opens(&mut self) -> Result<bool, Unfit> {
        match self.peek() {
            Some(open @ (b'[' | b'{')) => return self.open(open == b'{'),
            Some(b'"') => self.string(false)?,
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.word("true")?,
            Some(b'f') => self.word("false")?,
            Some(b'n') => self.word("null")?,
            _ => return self.syntax(),
        }
        Ok(false)
    }

    fn open(&mut self, is_object: bool) -> Result<bool, Unfit> {
        if self.depth == DEPTH_MAX {
            return self.unfit(Why::Depth, self.at);
        }
        self.at += 1;
        self.space();
        if self.peek() == Some(if is_object { b'}' } else { b']' }) {
            self.at += 1;
            return Ok(false);
        }
        self.objects = self.objects & !(1 << self.depth) | u64::from(is_object) << self.depth;
        self.depth += 1;
        if is_object {
            self.name()?;
        }
        Ok(true)
    }

    fn in_object(&self) -> bool {
        self.objects >> (self.depth - 1) & 1 == 1
    }

    /// The name of an object's next member, and the colon behind it.
    fn name(&mut self) -> Result<(), Unfit> {
        self.space();
        let start = self.at;
        if self.peek() != Some(b'"') {
            return self.syntax();
        }
        self.string(true)?;
        if self.at - start - 2 > NAME_BYTES_MAX {
            return self.unfit(Why::LongName, start);
        }
        self.space();
        self.take(b':')
    }

    /// A string from its first quote to behind its last.
    fn string(&mut self, is_name: bool) -> Result<(), Unfit> {
        self.at += 1;
        let start = self.at;
        loop {
            self.at += plain_bytes(&self.bytes[self.at..]);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape(is_name && self.at == start)?,
                _ => return self.syntax(),
            }
        }
    }

    fn escape(&mut self, begins_name: bool) -> Result<(), Unfit> {
        let start = self.at;
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 1;
                Ok(())
            }
            Some(b'u') => match self.unit()? {
                0 if begins_name => self.unfit(Why::NulName, start),
                0xd800..=0xdbff => {
                    let is_escape = self.bytes[self.at..].starts_with(b"\\u");
                    self.at += usize::from(is_escape);
                    if is_escape && matches!(self.unit()?, 0xdc00..=0xdfff) {
                        Ok(())
                    } else {
                        self.unfit(Why::Surrogate, start)
                    }
                }
                0xdc00..=0xdfff => self.unfit(Why::Surrogate, start),
                _ => Ok(()),
            },
            _ => self.syntax(),
        }
    }

    /// `u` and four hexadecimal digits.
    fn unit(&mut self) -> Result<u32, Unfit> {
        let digits = self.bytes.get(self.at + 1..self.at + 5).unwrap_or_default();
        let digit = |sum: u32, byte: &u8| {
            Some(sum * 16 + char::from(*byte).to_digit(16)?) // no sign, as from_str_radix takes
        };
        match digits.iter().try_fold(0, digit) {
            Some(unit) if digits.len() == 4 => {
                self.at += 5;
                Ok(unit)
            }
            _ => self.syntax(),
        }
    }

    fn number(&mut self) -> Result<(), Unfit> {
        let start = self.at;
        self.at += usize::from(self.peek() == Some(b'-'));
        let whole = self.at;
        self.digits()?;
        let digits = self.at - whole;
        if digits > 1 && self.bytes[whole] == b'0' {
            self.at = whole + 1;
            return self.syntax();
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        let exponent = match self.peek() {
            Some(b'e' | b'E') => self.exponent()?,
            _ => 0,
        };
        let number = &self.text[start..self.at];
        if number.len() > NUMBER_BYTES_MAX {
            return self.unfit(Why::LongNumber, start);
        }
        let is_finite = || number.parse::<f64>().is_ok_and(f64::is_finite);
        if digits.saturating_add(exponent) > SAFE_DIGITS && !is_finite() {
            return self.unfit(Why::Infinite, start);
        }
        Ok(())
    }

    /// What an exponent adds to the digits before the point; what it takes away does not matter.
    fn exponent(&mut self) -> Result<usize, Unfit> {
        self.at += 1;
        let is_negative = self.peek() == Some(b'-');
        self.at += usize::from(is_negative || self.peek() == Some(b'+'));
        let start = self.at;
        self.digits()?;
        if is_negative {
            Ok(0)
        } else {
            Ok(self.text[start..self.at].parse().unwrap_or(usize::MAX))
        }
    }

    /// One digit at least.
    fn digits(&mut self) -> Result<(), Unfit> {
        let rest = &self.bytes[self.at..];
        let count = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
        self.at += count;
        if count > 0 { Ok(()) } else { self.syntax() }
    }

    fn word(&mut self, word: &str) -> Result<(), Unfit> {
        if !self.bytes[self.at..].starts_with(word.as_bytes()) {
            return self.syntax();
        }
        self.at += word.len();
        Ok(())
    }

    fn take(&mut self, byte: u8) -> Result<(), Unfit> {
        if self.peek() != Some(byte) {
            return self.syntax();
        }
        self.at += 1;
        Ok(())
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn syntax<T>(&self) -> Result<T, Unfit> {
        self.unfit(Why::Syntax, self.at)
    }

    fn unfit<T>(&self, why: Why, at: usize) -> Result<T, Unfit> {
        Err(Unfit { why, at })
    }
}

/// How many bytes of a string come before a quote, a backslash, a control character or the end;
/// eight at a time, as most of what is published is text. The lowest byte that is marked in a word
/// is right: a borrow that marks others wrongly begins at one that is.
fn plain_bytes(text: &[u8]) -> usize {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGHS: u64 = ONES << 7;
    let below = |word: u64, limit: u8| word.wrapping_sub(ONES * u64::from(limit)) & !word & HIGHS;
    let (words, rest) = text.as_chunks::<8>();
    for (nth, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let equal = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
        let marks = below(word, 0x20) | equal(b'"') | equal(b'\\');
        if marks != 0 {
            return nth * 8 + marks.trailing_zeros() as usize / 8;
        }
    }
    let ends = |byte: &u8| matches!(byte, b'"' | b'\\' | ..0x20);
    words.len() * 8 + rest.iter().position(ends).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests;
