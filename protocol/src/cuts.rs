//! Cuts of an input, chosen by a number: how tests and fuzz targets deliver bytes.

/// `input` in nine pieces, some of them empty: eight as long as the bytes of `lengths` say, lowest
/// first, and the rest.
pub(crate) fn pieces(input: &[u8], lengths: u64) -> impl Iterator<Item = &[u8]> {
    let mut rest = input;
    lengths.to_le_bytes().map(usize::from).into_iter().chain([usize::MAX]).map(move |length| {
        let (piece, tail) = rest.split_at(length.min(rest.len()));
        rest = tail;
        piece
    })
}

/// The first eight bytes as a number, and the others: how a fuzz input brings its cuts along.
pub(crate) fn lead(bytes: &[u8]) -> (u64, &[u8]) {
    let (number, rest) = bytes.split_at(bytes.len().min(8));
    (number.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)), rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_the_input() {
        let (lengths, input) = lead(b"\0\0\0\0\0\x01\0\x02abcdef");
        let found: Vec<&[u8]> = pieces(input, lengths).collect();
        let expected: [&[u8]; 9] = [b"ab", b"", b"c", b"", b"", b"", b"", b"", b"def"];
        assert_eq!(found, expected);
        assert_eq!(lead(b"\x01"), (1, &b""[..]));
    }
}
