//! UTF-8 that arrives in pieces, refused at the first byte that no valid text could have there.
//!
//! RFC 6455, section 8.1, lets an endpoint fail a text message "while receiving"; Autobahn's cases
//! 6.4.* ask that it does. The bulk is checked by the standard library; only a code point that is
//! cut by the end of a chunk is followed byte by byte (RFC 3629, section 4).

/// A validator between two chunks: what the next byte may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Utf8 {
    /// Continuation bytes that the code point still needs; 0 between code points.
    needed: u8,
    /// Least value of the next continuation byte.
    low: u8,
    /// Greatest value of the next continuation byte.
    high: u8,
}

/// Some byte cannot stand where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidUtf8 {
    /// Its place in the chunk that was fed.
    pub at: usize,
}

impl Utf8 {
    /// Before the first byte of a text.
    pub const START: Self = Self { needed: 0, low: 0x80, high: 0xbf };

    /// Takes the next bytes. After an error the validator is of no more use.
    ///
    /// # Errors
    /// Where the text stopped being UTF-8.
    pub fn feed(&mut self, chunk: &[u8]) -> Result<(), InvalidUtf8> {
        let mut at = 0;
        while self.needed > 0 && at < chunk.len() {
            self.step(chunk[at]).ok_or(InvalidUtf8 { at })?;
            at += 1;
        }
        let Err(error) = std::str::from_utf8(&chunk[at..]) else { return Ok(()) };
        at += error.valid_up_to();
        // What follows is one code point that is cut, or one that is wrong: at most four bytes.
        while at < chunk.len() {
            self.step(chunk[at]).ok_or(InvalidUtf8 { at })?;
            at += 1;
        }
        Ok(())
    }

    /// Whether the bytes so far are a whole text, with no code point open.
    pub fn is_complete(self) -> bool {
        self.needed == 0
    }

    /// The rows of RFC 3629, section 4: overlong forms, surrogates and what lies above U+10FFFF are
    /// told by the second byte.
    fn step(&mut self, byte: u8) -> Option<()> {
        if self.needed > 0 {
            if !(self.low..=self.high).contains(&byte) {
                return None;
            }
            *self = Self { needed: self.needed - 1, ..Self::START };
            return Some(());
        }
        let (needed, low, high) = match byte {
            0x00..=0x7f => (0, 0x80, 0xbf),
            0xc2..=0xdf => (1, 0x80, 0xbf),
            0xe0 => (2, 0xa0, 0xbf),
            0xed => (2, 0x80, 0x9f),
            0xe1..=0xef => (2, 0x80, 0xbf),
            0xf0 => (3, 0x90, 0xbf),
            0xf1..=0xf3 => (3, 0x80, 0xbf),
            0xf4 => (3, 0x80, 0x8f),
            _ => return None,
        };
        *self = Self { needed, low, high };
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Feeds in pieces cut at `cuts`; where the text is wrong, the place in the whole.
    fn in_pieces(text: &[u8], cuts: &[usize]) -> Result<bool, usize> {
        let mut state = Utf8::START;
        let mut from = 0;
        for &to in cuts.iter().chain([&text.len()]) {
            state.feed(&text[from..to]).map_err(|error| from + error.at)?;
            from = to;
        }
        Ok(state.is_complete())
    }

    /// By the standard library alone: the first byte after which no continuation could make the
    /// text valid, or whether it is complete.
    fn expected(text: &[u8]) -> Result<bool, usize> {
        for end in 1..=text.len() {
            if let Err(error) = std::str::from_utf8(&text[..end])
                && error.error_len().is_some()
            {
                return Err(end - 1);
            }
        }
        Ok(std::str::from_utf8(text).is_ok())
    }

    fn check_every_split(text: &[u8]) {
        let expected = expected(text);
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let result = in_pieces(text, &[first, second]);
                assert_eq!(result, expected, "{text:x?} cut at {first} and {second}");
            }
        }
        let bytewise: Vec<usize> = (0..text.len()).collect();
        assert_eq!(in_pieces(text, &bytewise), expected, "{text:x?} byte by byte");
    }

    #[test]
    fn edges_of_every_row() {
        let texts: [&[u8]; 24] = [
            b"",
            b"plain",
            b"\x7f\x80",
            b"\xc1\xbf",
            b"\xc2\x80",
            b"\xdf\xbf",
            b"\xe0\x9f\xbf",
            b"\xe0\xa0\x80",
            b"\xed\x9f\xbf",
            b"\xed\xa0\x80",
            b"\xee\x80\x80",
            b"\xef\xbf\xbf",
            b"\xf0\x8f\xbf\xbf",
            b"\xf0\x90\x80\x80",
            b"\xf4\x8f\xbf\xbf",
            b"\xf4\x90\x80\x80",
            b"\xf5\x80\x80\x80",
            b"\xff",
            b"\xc3(",
            b"\xe2\x82",
            "κόσμε".as_bytes(),
            // Autobahn 6.4.1: the fifth code point is above U+10FFFF.
            b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80edited",
            "ends in a cut 😀".as_bytes().split_last().expect("not empty").1,
            "😀 and é".as_bytes(),
        ];
        for text in texts {
            check_every_split(text);
        }
    }

    #[test]
    fn every_scalar_value_is_accepted_and_every_surrogate_refused() {
        for number in 0..=0x10ffff_u32 {
            let mut bytes = [0; 4];
            if let Some(char) = char::from_u32(number) {
                let text = char.encode_utf8(&mut bytes).as_bytes();
                let mut state = Utf8::START;
                assert!(text.iter().all(|byte| state.step(*byte).is_some()), "{number:x}");
                assert!(state.is_complete());
            } else {
                let second = 0x80 | (number >> 6 & 0x3f) as u8;
                let mut state = Utf8::START;
                assert!(state.step(0xed).is_some() && state.step(second).is_none(), "{number:x}");
            }
        }
    }

    proptest! {
        #[test]
        fn like_the_standard_library_under_every_split(
            pieces in prop::collection::vec(
                prop_oneof![
                    prop::sample::select(b"\x80\x90\xa0\xbf\xc2\xe0\xed\xf0\xf4".to_vec())
                        .prop_map(|byte| vec![byte]),
                    any::<char>().prop_map(|char| char.to_string().into_bytes()),
                    any::<u8>().prop_map(|byte| vec![byte]),
                ],
                0..8,
            ),
        ) {
            check_every_split(&pieces.concat());
        }
    }
}
