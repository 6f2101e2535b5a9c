//! Percent-encoding (RFC 3986, section 2.1): decoded strictly, once, to text.

use std::borrow::Cow;

/// What a `+` stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plus {
    /// Itself: in a path.
    Literal,
    /// A space: in a query (see [`super::query`]).
    Space,
}

/// Decodes `raw` once. `None` when an escape is not `%` and two hexadecimal digits, when the
/// result is not UTF-8 (overlong forms are not), or when it holds a control character.
pub fn decode(raw: &str, plus: Plus) -> Option<Cow<'_, str>> {
    let text = if raw.bytes().any(|b| b == b'%' || (b == b'+' && plus == Plus::Space)) {
        Cow::Owned(String::from_utf8(unescape(raw.as_bytes(), plus)?).ok()?)
    } else {
        Cow::Borrowed(raw)
    };
    if text.chars().any(char::is_control) { None } else { Some(text) }
}

fn unescape(raw: &[u8], plus: Plus) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let [first, tail @ ..] = rest {
        rest = tail;
        match first {
            b'%' => {
                let [high, low, tail @ ..] = tail else { return None };
                bytes.push(hex_digit(*high)? << 4 | hex_digit(*low)?);
                rest = tail;
            }
            b'+' if plus == Plus::Space => bytes.push(b' '),
            other => bytes.push(*other),
        }
    }
    Some(bytes)
}

fn hex_digit(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

/// Appends `text` so that it may stand in a path segment or a query value: all but the unreserved
/// characters (RFC 3986, section 2.3) are escaped, the comma of channel lists too.
pub fn encode(text: &str, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn decoded_once_and_strictly() {
        let cases = [
            ("plain", Some("plain")),
            ("a%2Cb", Some("a,b")),
            ("%e2%82%ac", Some("€")),
            ("%2541", Some("%41")), // once
            ("a+b", Some("a b")),
            ("a%2Bb", Some("a+b")),
            ("%", None),
            ("%4", None),
            ("%4g", None),
            ("%+4", None),
            ("%00", None),
            ("%0d%0a", None),
            ("%7f", None),
            ("%c2%85", None),    // a C1 control
            ("%c0%af", None),    // "/" in two bytes: overlong
            ("%e0%80%af", None), // and in three
            ("%ed%a0%80", None), // a surrogate
            ("%ff", None),
        ];
        for (raw, expected) in cases {
            assert_eq!(decode(raw, Plus::Space).as_deref(), expected, "{raw}");
        }
        assert_eq!(decode("a+b", Plus::Literal).as_deref(), Some("a+b"));
    }

    proptest! {
        #[test]
        fn what_is_encoded_comes_back(text in "\\PC*") {
            let mut raw = String::new();
            encode(&text, &mut raw);
            for plus in [Plus::Space, Plus::Literal] {
                let back = decode(&raw, plus);
                prop_assert_eq!(back.as_deref(), Some(text.as_str()));
            }
        }
    }
}
