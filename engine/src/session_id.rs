//! What a session is called by its client, where many sockets bring one client: where it is, and a
//! secret that no stranger guesses.

use std::fmt;

/// The name of a session.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SessionId {
    /// The shard that has it.
    pub shard: u8,
    /// Its place there.
    pub place: u32,
    /// What tells its client from a stranger, and this life of the place from others.
    secret: u128,
}

/// Digits of the shard, of the place and of the secret.
const DIGITS: [usize; 3] = [2, 8, 32];

impl SessionId {
    /// A fresh one for this place.
    ///
    /// # Errors
    /// The kernel gave no random number.
    pub fn new(shard: u8, place: u32) -> Result<Self, getrandom::Error> {
        let mut secret = [0; 16];
        getrandom::fill(&mut secret)?;
        Ok(Self { shard, place, secret: u128::from_le_bytes(secret) })
    }

    /// Reads what [`SessionId`] is written as.
    pub fn parse(text: &str) -> Option<Self> {
        let [shard, place, secret] = DIGITS;
        let is_hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if text.len() != shard + place + secret || !is_hex {
            return None;
        }
        Some(Self {
            shard: u8::from_str_radix(&text[..shard], 16).ok()?,
            place: u32::from_str_radix(&text[shard..shard + place], 16).ok()?,
            secret: u128::from_str_radix(&text[shard + place..], 16).ok()?,
        })
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}{:08x}{:032x}", self.shard, self.place, self.secret)
    }
}

/// Whoever reads a log must not be able to speak for a client.
impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({}, {}, ...)", self.shard, self.place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_was_written_and_is_another_each_time() {
        let id = SessionId::new(63, 1 << 20).unwrap();
        assert_eq!(SessionId::parse(&id.to_string()), Some(id));
        assert_ne!(SessionId::new(63, 1 << 20).unwrap(), id);
        assert!(!format!("{id:?}").contains(&id.to_string()[10..]), "the secret is not told");
        let text = id.to_string();
        for wrong in ["", &text[1..], &format!("{text}0"), &text.replace('0', "+")] {
            assert!(wrong == text || SessionId::parse(wrong).is_none(), "{wrong}");
        }
        assert!(SessionId::parse(&"é".repeat(21)).is_none());
    }
}
