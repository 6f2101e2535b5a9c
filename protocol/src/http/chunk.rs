//! Chunks: an answer whose end nobody knows yet, in pieces that say how long they are (RFC 9112,
//! section 7.1).
//!
//! An answer may also simply end with its connection, and then its bytes are the payload and
//! nothing else. Many clients wait then: told no length, they ask their socket for 512 or 8,192
//! bytes and pass nothing on until they have them, which on a quiet stream takes minutes. A chunk
//! they pass on at once.

/// What ends an answer in chunks.
pub const LAST: &[u8] = b"0\r\n\r\n";

/// Makes one chunk of what stands in `out` from `start` on, at least one byte: an empty chunk would
/// be the last.
pub fn wrap(out: &mut Vec<u8>, start: usize) {
    let length = out.len() - start;
    debug_assert!(length > 0, "an empty chunk ends the answer");
    let end = out.len();
    let mut digits = [0; size_of::<usize>() * 2];
    let mut first = digits.len();
    let mut left = length;
    loop {
        first -= 1;
        digits[first] = b"0123456789abcdef"[left & 0xf];
        left >>= 4;
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[first..]);
    out.extend_from_slice(b"\r\n");
    // Only now is the length known that stands before it all.
    let header_bytes = out.len() - end;
    out[start..].rotate_right(header_bytes);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_says_its_length_in_hexadecimal() {
        for (length, header) in [
            (1, "1"),
            (9, "9"),
            (10, "a"),
            (16, "10"),
            (255, "ff"),
            (0x1234, "1234"),
            (1 << 20, "100000"),
        ] {
            let mut out = b"before".to_vec();
            out.resize(6 + length, b'x');
            wrap(&mut out, 6);
            let expected = format!("before{header}\r\n{}\r\n", "x".repeat(length));
            assert!(out == expected.as_bytes(), "{length} bytes");
        }
    }

    #[test]
    fn another_reader_takes_chunks_apart() {
        let mut out = Vec::new();
        for piece in ["hello", ", ", "chunks \r\n of bytes"] {
            let start = out.len();
            out.extend_from_slice(piece.as_bytes());
            wrap(&mut out, start);
        }
        out.extend_from_slice(LAST);
        let (mut rest, mut body) = (&out[..], Vec::new());
        loop {
            let httparse::Status::Complete((at, length)) =
                httparse::parse_chunk_size(rest).unwrap()
            else {
                panic!("it is whole")
            };
            let length = usize::try_from(length).unwrap();
            let (chunk, after) = rest[at..].split_at(length);
            body.extend_from_slice(chunk);
            rest = after.strip_prefix(b"\r\n").expect("a chunk ends its line");
            if length == 0 {
                break;
            }
        }
        assert_eq!((body.as_slice(), rest), (&b"hello, chunks \r\n of bytes"[..], &b""[..]));
    }
}
