//! What the bytes of a payload are, decided once, where a message enters, and whether those who get
//! it can take it: as JSON, and as the longest frame that is made of it.

mod json;
mod room;

pub use json::{Unfit, Why, check};
pub use room::{TooLong, frame_bytes, room};

use fanfare_protocol::message::Kind;

/// U+FEFF in UTF-8, which some editors and runtimes put before a text.
pub const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// JSON where the bytes are one valid JSON text that [`check`] lets pass, with space around it at
/// most, text where they are other UTF-8, else binary. Linear in the bytes and without recursion.
pub fn detect(bytes: &[u8]) -> Kind {
    match std::str::from_utf8(bytes) {
        Err(_) => Kind::Binary,
        Ok(text) if check(text).is_ok() => Kind::Json,
        Ok(_) => Kind::Text,
    }
}

/// The message in `bytes` that are said to be JSON: all but a byte order mark before it, as in
/// [`settle`].
///
/// # Errors
/// As [`check`]; bytes that are no UTF-8 are no JSON. The place is one of `bytes`.
pub fn settle_json(bytes: &[u8]) -> Result<&[u8], Unfit> {
    let rest = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let text = std::str::from_utf8(rest);
    let text = text.map_err(|error| Unfit { why: Why::Syntax, at: error.valid_up_to() });
    let marked = bytes.len() - rest.len();
    text.and_then(check).map_err(|unfit| Unfit { at: unfit.at + marked, ..unfit })?;
    Ok(rest)
}

/// What `bytes` are where nobody says, and those of them that are the message: a byte order mark
/// before JSON is no part of it (RFC 8259, section 8.1), and no parser of a client would pass over
/// one inside of an event or a frame. Before text it is a character like others.
pub fn settle(bytes: &[u8]) -> (Kind, &[u8]) {
    match bytes.strip_prefix(BYTE_ORDER_MARK) {
        Some(rest) if detect(rest) == Kind::Json => (Kind::Json, rest),
        _ => (detect(bytes), bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_payloads() {
        let cases: [(&[u8], Kind); 22] = [
            (b"{\"a\":1}", Kind::Json),
            (b" [1, 2.50, 1e99]\r\n", Kind::Json),
            (b"\"text\"", Kind::Json),
            (b"null", Kind::Json),
            (b"-0", Kind::Json),
            (b"{\"a\":1,\"a\":2}", Kind::Json),
            (b"hi", Kind::Text),
            (b"", Kind::Text),
            (b"01", Kind::Text),
            (b"+1", Kind::Text),
            (b"NaN", Kind::Text),
            (b"1e999", Kind::Text),
            (b"\"\\ud800\"", Kind::Text),
            (b"{} {}", Kind::Text),
            (b"{\"a\":1,}", Kind::Text),
            (b"\xef\xbb\xbf{}", Kind::Text),
            (b"\"a\nb\"", Kind::Text),
            (b"{\"a\":1}\0", Kind::Text),
            (b"\xff", Kind::Binary),
            (b"\"\xff\"", Kind::Binary),
            (b"\xc0\xaf", Kind::Binary),
            (b"\xed\xa0\x80", Kind::Binary),
        ];
        for (bytes, expected) in cases {
            assert_eq!(detect(bytes), expected, "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn a_byte_order_mark_is_part_of_text_and_not_of_json() {
        assert_eq!(settle(b"\xef\xbb\xbf {}"), (Kind::Json, &b" {}"[..]));
        assert_eq!(settle(b"\xef\xbb\xbfhi"), (Kind::Text, &b"\xef\xbb\xbfhi"[..]));
        let two = b"\xef\xbb\xbf\xef\xbb\xbf{}";
        assert_eq!(settle(two), (Kind::Text, &two[..]));
        assert_eq!(settle(b"{}"), (Kind::Json, &b"{}"[..]));
        assert_eq!(settle_json(b"\xef\xbb\xbf {}"), Ok(&b" {}"[..]));
        assert_eq!(settle_json(b"{}"), Ok(&b"{}"[..]));
        let at = |bytes| settle_json(bytes).unwrap_err().at;
        assert_eq!((at(two), at(b"\xef\xbb\xbfhi"), at(b"\xef\xbb\xbf[\xff]")), (3, 3, 4));
        assert_eq!((at(b"hi"), at(b"[\xff]")), (0, 1));
        assert_eq!(settle(b"\xef\xbb\xbf\xff"), (Kind::Binary, &b"\xef\xbb\xbf\xff"[..]));
    }
}
