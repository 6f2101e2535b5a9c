//! JSON strings, written by hand so that a payload is copied once and its length can be told
//! before (RFC 8259, section 7).
//!
//! Works on bytes: whatever must be escaped is ASCII, and UTF-8 has no ASCII within a character.
//! U+2028 and the like stay as they are: JSON allows them, and nothing here is pasted into a
//! script.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Appends `text`, which is UTF-8, as a JSON string with its quotes.
pub fn string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| encoded_bytes(*byte) > 1) {
        let (plain, tail) = rest.split_at(at);
        out.extend_from_slice(plain);
        escape(tail[0], out);
        rest = &tail[1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// Length of what [`string`] appends.
pub fn string_bytes(text: &[u8]) -> usize {
    2 + text.iter().map(|byte| encoded_bytes(*byte)).sum::<usize>()
}

/// Appends `bytes` in base64 (RFC 4648, section 4, with padding) as a JSON string with its quotes.
pub fn base64_string(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    base64(bytes, out);
    out.push(b'"');
}

/// Length of what [`base64_string`] appends.
pub fn base64_string_bytes(bytes: &[u8]) -> usize {
    2 + base64_bytes(bytes)
}

/// Appends `bytes` in base64, in place.
pub(crate) fn base64(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + base64_bytes(bytes), 0);
    STANDARD.encode_slice(bytes, &mut out[start..]).expect("four characters for three bytes");
}

fn base64_bytes(bytes: &[u8]) -> usize {
    bytes.len().div_ceil(3) * 4
}

fn encoded_bytes(byte: u8) -> usize {
    match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0..0x20 => 6,
        _ => 1,
    }
}

fn escape(byte: u8, out: &mut Vec<u8>) {
    let letter = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0c => b'f',
        _ => {
            let low = b"0123456789abcdef"[usize::from(byte & 15)];
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', b'0' + (byte >> 4), low]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', letter]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn checked(text: &str) {
        let mut out = Vec::new();
        string(text.as_bytes(), &mut out);
        assert_eq!(out.len(), string_bytes(text.as_bytes()));
        assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
    }

    #[test]
    fn every_ascii_character_comes_back() {
        for char in '\0'..='\u{7f}' {
            checked(&format!("a{char}b{char}"));
        }
        let mut out = Vec::new();
        string("\"\\\n\u{1}\u{1f}\u{2028}/".as_bytes(), &mut out);
        assert_eq!(out, "\"\\\"\\\\\\n\\u0001\\u001f\u{2028}/\"".as_bytes());
    }

    #[test]
    fn base64_has_its_vectors() {
        // RFC 4648, section 10.
        for (bytes, expected) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            let mut out = Vec::new();
            base64_string(bytes.as_bytes(), &mut out);
            assert_eq!(out, format!("\"{expected}\"").as_bytes());
            assert_eq!(out.len(), base64_string_bytes(bytes.as_bytes()));
        }
    }

    proptest! {
        #[test]
        fn any_text_comes_back(text: String) {
            checked(&text);
        }
    }
}
