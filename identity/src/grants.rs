//! What a token lets its bearer do: patterns of channels, each with rights.

use crate::pattern::Pattern;
use crate::right::{Right, Rights};

/// Rights to the channels that one pattern matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Which channels.
    pub pattern: Pattern,
    /// What may be done with them.
    pub rights: Rights,
}

/// The grants of one token. A right is had that any of them gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants(Box<[Grant]>);

impl Grants {
    /// Those that a token names, in its order.
    pub fn new(grants: Vec<Grant>) -> Self {
        Self(grants.into())
    }

    /// The first that gives `right` to the channel of this name.
    pub fn giving(&self, right: Right, channel: &str) -> Option<&Grant> {
        self.0.iter().find(|grant| grant.rights.has(right) && grant.pattern.matches(channel))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Grant> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_is_had_that_any_grant_gives() {
        let grant =
            |pattern: &str, rights| Grant { pattern: Pattern::parse(pattern).unwrap(), rights };
        let publish = Rights::NONE.with(Right::Publish);
        let grants =
            Grants::new(vec![grant("room:*", Rights::TO_LISTEN), grant("room:1", publish)]);
        assert!(grants.giving(Right::Subscribe, "room:1").is_some());
        assert!(grants.giving(Right::Publish, "room:1").is_some());
        assert!(grants.giving(Right::Publish, "room:2").is_none());
        assert!(grants.giving(Right::Subscribe, "hall").is_none());
    }
}
