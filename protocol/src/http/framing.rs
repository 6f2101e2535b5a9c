//! How long a request's body is (RFC 9112, section 6), refused where two readers could differ.

use super::fields::{Fields, elements, is_token_byte};
use super::violation::Violation;
use crate::id::parse_decimal;

/// What follows the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// Nothing.
    None,
    /// This many bytes; a promise of the peer, never a size to allocate.
    Length(u64),
    /// Chunks (RFC 9112, section 7.1).
    Chunked,
}

impl Body {
    /// Whether no byte follows.
    pub fn is_empty(self) -> bool {
        matches!(self, Self::None | Self::Length(0))
    }
}

/// Reads Content-Length and Transfer-Encoding.
pub(super) fn body(fields: &Fields<'_>, minor_version: u8) -> Result<Body, Violation> {
    let length = fields.one("content-length").map_err(|_| Violation::Framing)?;
    let coding = fields.one("transfer-encoding").map_err(|_| Violation::Framing)?;
    match (length, coding) {
        (None, None) => Ok(Body::None),
        (Some(digits), None) => content_length(digits).map(Body::Length),
        (None, Some(codings)) if minor_version >= 1 => transfer_encoding(codings),
        // Both, or a coding in HTTP/1.0, is how requests are smuggled (RFC 9112, 6.1 and 11.2).
        _ => Err(Violation::Framing),
    }
}

/// `1*DIGIT`. Leading zeros are legal; a list, a sign, white space or an overflow is not.
fn content_length(digits: &[u8]) -> Result<u64, Violation> {
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    let significant = &digits[zeros.min(digits.len().saturating_sub(1))..];
    parse_decimal(significant).ok_or(Violation::Framing)
}

/// `chunked` alone. Known to be wrong is 400; a coding that another server may know is 501.
fn transfer_encoding(codings: &[u8]) -> Result<Body, Violation> {
    if elements(codings).any(|c| c.is_empty() || !c.iter().all(|b| is_token_byte(*b))) {
        return Err(Violation::Framing);
    }
    let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    let count = elements(codings).count();
    match elements(codings).position(is_chunked) {
        Some(0) if count == 1 => Ok(Body::Chunked),
        Some(index) if index + 1 < count => Err(Violation::Framing), // chunked ends the list, once
        _ => Err(Violation::UnknownCoding),
    }
}
