//! Masking (RFC 6455, section 5.3): payload byte `i` is XORed with key byte `i % 4`.
//!
//! Done in place, eight bytes at a time; the loop over words is one that the compiler vectorises.

/// Masks or unmasks `data`, whose first byte is byte `at` of its frame's payload.
pub fn apply_mask(data: &mut [u8], key: [u8; 4], at: u64) {
    let start = (at % 4) as usize;
    let key: [u8; 4] = std::array::from_fn(|i| key[(start + i) % 4]);
    let [a, b, c, d] = key;
    // A word holds the key twice, so every word of one call is masked with the same number.
    let word_key = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, tail) = data.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ word_key).to_ne_bytes();
    }
    for (i, byte) in tail.iter_mut().enumerate() {
        *byte ^= key[i % 4];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The RFC's own sentence: `j = i MOD 4`, `transformed[i] = original[i] XOR key[j]`.
    fn by_the_letter(data: &mut [u8], key: [u8; 4], at: u64) {
        for (i, byte) in data.iter_mut().enumerate() {
            *byte ^= key[((at + i as u64) % 4) as usize];
        }
    }

    #[test]
    fn words_agree_with_bytes_at_every_alignment_length_and_offset() {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        for alignment in 0..8 {
            for length in 0..100 {
                for at in [0, 1, 2, 3, 4, 5, 6, 7, u64::from(u32::MAX), u64::MAX - 200] {
                    let original: Vec<u8> = (0..alignment + length).map(|i| i as u8 ^ 90).collect();
                    let mut words = original.clone();
                    let mut bytes = original.clone();
                    apply_mask(&mut words[alignment..], key, at);
                    by_the_letter(&mut bytes[alignment..], key, at);
                    assert_eq!(words, bytes, "alignment {alignment} length {length} at {at}");
                    apply_mask(&mut words[alignment..], key, at);
                    assert_eq!(words, original, "masking twice gives the original");
                }
            }
        }
    }

    #[test]
    fn example_of_the_rfc() {
        // Section 5.7: a masked "Hello".
        let mut payload = [0x7f, 0x9f, 0x4d, 0x51, 0x58];
        apply_mask(&mut payload, [0x37, 0xfa, 0x21, 0x3d], 0);
        assert_eq!(&payload, b"Hello");
    }

    #[test]
    fn a_payload_in_two_pieces_is_the_payload_in_one() {
        let original: Vec<u8> = (0..50).collect();
        for cut in 0..=original.len() {
            let mut pieces = original.clone();
            let (left, right) = pieces.split_at_mut(cut);
            apply_mask(left, [1, 2, 3, 4], 0);
            apply_mask(right, [1, 2, 3, 4], cut as u64);
            let mut whole = original.clone();
            apply_mask(&mut whole, [1, 2, 3, 4], 0);
            assert_eq!(pieces, whole, "cut at {cut}");
        }
    }
}
