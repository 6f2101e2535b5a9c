//! What the bytes of a payload are, decided once, where a message enters without saying it: the raw
//! body of an HTTP publish, and the frames of a publisher on the Unix socket that ask for it.

use fanfare_protocol::message::Kind;
use serde::de::IgnoredAny;

/// U+FEFF in UTF-8, which some editors and runtimes put before a text.
pub const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// JSON where the bytes are one valid JSON text (RFC 8259) with space around it at most, text where
/// they are other UTF-8, else binary. Linear in the bytes and without recursion, so that ten
/// thousand brackets are a question of length only.
pub fn detect(bytes: &[u8]) -> Kind {
    match std::str::from_utf8(bytes) {
        Err(_) => Kind::Binary,
        Ok(text) if serde_json::from_str::<IgnoredAny>(text).is_ok() => Kind::Json,
        Ok(_) => Kind::Text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_payloads() {
        let cases: [(&[u8], Kind); 19] = [
            (b"{\"a\":1}", Kind::Json),
            (b" [1, 2.50, 1e999]\r\n", Kind::Json),
            (b"\"text\"", Kind::Json),
            (b"null", Kind::Json),
            (b"-0", Kind::Json),
            (b"{\"a\":1,\"a\":2}", Kind::Json),
            (b"hi", Kind::Text),
            (b"", Kind::Text),
            (b"01", Kind::Text),
            (b"+1", Kind::Text),
            (b"NaN", Kind::Text),
            (b"{} {}", Kind::Text),
            (b"{\"a\":1,}", Kind::Text),
            (b"\xef\xbb\xbf{}", Kind::Text),
            (b"\"a\nb\"", Kind::Text),
            (b"{\"a\":1}\0", Kind::Text),
            (b"\xff", Kind::Binary),
            (b"\"\xff\"", Kind::Binary),
            (b"\xc0\xaf", Kind::Binary),
        ];
        for (bytes, expected) in cases {
            assert_eq!(detect(bytes), expected, "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn deep_nesting_is_only_long() {
        let deep = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
        assert_eq!(detect(&deep), Kind::Json);
        assert_eq!(detect(&deep[1..]), Kind::Text);
    }
}
