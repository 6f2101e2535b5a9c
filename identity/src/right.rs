//! What somebody may do with a channel.

use std::fmt;

/// One thing that somebody may do with a channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Right {
    /// Follow it: hear what is published, from now on or since a place that one names.
    Subscribe,
    /// Publish to it from a client.
    Publish,
    /// See who is there.
    Presence,
    /// Read pages of what it keeps.
    History,
}

impl Right {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Subscribe, Self::Publish, Self::Presence, Self::History];

    /// Its name in claims and in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Subscribe => "subscribe",
            Self::Publish => "publish",
            Self::Presence => "presence",
            Self::History => "history",
        }
    }

    /// The right of this name, exactly as it is written.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|right| right.as_str() == name)
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of rights.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub struct Rights(u8);

impl Rights {
    /// None at all.
    pub const NONE: Self = Self(0);
    /// Every one.
    pub const ALL: Self = Self(0b1111);
    /// What a channel named alone grants: all that a listener does, so everything but publishing.
    pub const TO_LISTEN: Self = Self(0b1101);

    /// Whether this right is among them.
    pub const fn has(self, right: Right) -> bool {
        self.0 & 1 << right as u8 != 0
    }

    /// These and one more.
    #[must_use]
    pub const fn with(self, right: Right) -> Self {
        Self(self.0 | 1 << right as u8)
    }

    /// Those of both.
    #[must_use]
    pub const fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Each of them, in the order of [`Right::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Right> {
        Right::ALL.into_iter().filter(move |right| self.has(*right))
    }
}

impl fmt::Display for Rights {
    /// Their names with commas, or "nothing".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.iter().map(Right::as_str).collect();
        f.write_str(if names.is_empty() { "nothing".into() } else { names.join(", ") }.as_str())
    }
}

impl FromIterator<Right> for Rights {
    fn from_iter<I: IntoIterator<Item = Right>>(rights: I) -> Self {
        rights.into_iter().fold(Self::NONE, Self::with)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_right_has_a_bit_and_a_name_of_its_own() {
        for right in Right::ALL {
            assert_eq!(Right::parse(right.as_str()), Some(right));
            assert!(Rights::ALL.has(right) && !Rights::NONE.has(right));
            assert_eq!(Rights::NONE.with(right).iter().collect::<Vec<_>>(), [right]);
            assert_eq!(Rights::TO_LISTEN.has(right), right != Right::Publish);
        }
        for name in ["", "Subscribe", "subscribe ", "read"] {
            assert_eq!(Right::parse(name), None, "{name}");
        }
    }
}
