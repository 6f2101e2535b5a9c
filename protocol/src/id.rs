//! Positions as text: `<epoch>-<position>`, short and URL-safe.
//!
//! The epoch is 40 bits in eight characters of Crockford's base 32, lower case, without `i`, `l`,
//! `o`, `u`; the position is decimal without leading zeros. One value has one spelling: the parser
//! refuses every other.

pub mod fuzz;

use std::fmt;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const EPOCH_CHARS: usize = 8;

/// Longest text of an [`Id`]: epoch, `-`, and the 20 digits of `u64::MAX`.
pub const ID_TEXT_BYTES_MAX: usize = EPOCH_CHARS + 1 + 20;

/// The random identity of one order of messages; a new one means that old positions say nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch(u64);

impl Epoch {
    /// Keeps the low 40 bits of `random`.
    pub fn from_random(random: u64) -> Self {
        Self(random & ((1 << 40) - 1))
    }

    /// The 40 bits.
    pub fn number(self) -> u64 {
        self.0
    }

    fn text(self) -> [u8; EPOCH_CHARS] {
        std::array::from_fn(|i| ALPHABET[(self.0 >> (5 * (EPOCH_CHARS - 1 - i)) & 31) as usize])
    }

    fn parse(text: &[u8]) -> Option<Self> {
        if text.len() != EPOCH_CHARS {
            return None;
        }
        text.iter()
            .try_fold(0, |bits, char| {
                let digit = ALPHABET.iter().position(|known| known == char)?;
                Some(bits << 5 | digit as u64)
            })
            .map(Self)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.text()).expect("the alphabet is ASCII"))
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Epoch({self})")
    }
}

/// A place in a node's one order: everything at or before `position` under `epoch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Id {
    /// Which order.
    pub epoch: Epoch,
    /// Where in it; 0 is before the first message.
    pub position: u64,
}

impl Id {
    /// Appends the text form to `out`.
    pub fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.epoch.text());
        out.push(b'-');
        write_decimal(self.position, out);
    }

    /// Reads the text form; `None` for anything that [`Id::write`] would not have written.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (epoch, rest) = text.split_at_checked(EPOCH_CHARS)?;
        let digits = rest.strip_prefix(b"-")?;
        Some(Self { epoch: Epoch::parse(epoch)?, position: parse_decimal(digits)? })
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.position)
    }
}

/// How a client names the life of a channel in which it has an offset: the life that began at this
/// place, or that is the first to begin after it. So it can be named before its first message, and
/// is named the same ever after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LifeId(pub Id);

impl LifeId {
    /// Reads the text form, which is that of an [`Id`].
    pub fn parse(text: &[u8]) -> Option<Self> {
        Id::parse(text).map(Self)
    }
}

impl fmt::Display for LifeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Appends `number` in decimal, without allocation.
pub fn write_decimal(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

/// Reads a decimal `u64`: digits only, no sign, no leading zero, no overflow.
pub fn parse_decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 20 || (digits[0] == b'0' && digits.len() > 1) {
        return None;
    }
    digits.iter().try_fold(0u64, |number, digit| {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(epoch: u64, position: u64) -> Id {
        Id { epoch: Epoch::from_random(epoch), position }
    }

    #[test]
    fn known_texts() {
        assert_eq!(id(0, 0).to_string(), "00000000-0");
        assert_eq!(id(31, 42).to_string(), "0000000z-42");
        assert_eq!(id(u64::MAX, u64::MAX).to_string(), "zzzzzzzz-18446744073709551615");
        assert_eq!(id(u64::MAX, u64::MAX).to_string().len(), ID_TEXT_BYTES_MAX);
    }

    #[test]
    fn other_spellings_are_refused() {
        for text in [
            "",
            "-",
            "00000000",
            "00000000-",
            "00000000-00",
            "00000000-01",
            "00000000-+1",
            "00000000-1 ",
            " 00000000-1",
            "0000000-1",
            "000000000-1",
            "0000000Z-1",
            "0000000i-1",
            "00000000-18446744073709551616",
            "00000000-1-1",
            "00000000_1",
        ] {
            assert_eq!(Id::parse(text.as_bytes()), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn text_round_trips(epoch: u64, position: u64) {
            let id = id(epoch, position);
            let mut text = Vec::new();
            id.write(&mut text);
            prop_assert_eq!(text.as_slice(), id.to_string().into_bytes());
            prop_assert_eq!(Id::parse(&text), Some(id));
        }

        #[test]
        fn whatever_parses_is_written_back_the_same(text in "[0-9a-z]{7,9}-[0-9]{0,21}") {
            if let Some(id) = Id::parse(text.as_bytes()) {
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }
}
