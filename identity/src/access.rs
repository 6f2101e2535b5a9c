//! Who may do what: the grants of a token and the rule of a channel, asked together.
//!
//! A right is had that either gives. Every decision names what made it, for the log, the admin and
//! [`crate::explain`]; a client is told yes or no, and nothing that depends on the channel's being
//! there.

use std::fmt;

use crate::grants::Grant;
use crate::identity::Identity;
use crate::pattern::Pattern;
use crate::right::{Right, Rights};

/// What a rule allows without any grant: the `allow` of one `[[channels]]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Access {
    /// To everybody, with a token or without.
    pub anonymous: Rights,
    /// To whoever has a token with a user, beside what everybody may.
    pub user: Rights,
}

impl Access {
    /// Nothing to anybody: grants alone count.
    pub const CLOSED: Self = Self { anonymous: Rights::NONE, user: Rights::NONE };
    /// Everybody listens, and nobody publishes: a node that asks nobody who they are.
    pub const OPEN: Self = Self { anonymous: Rights::TO_LISTEN, user: Rights::NONE };

    /// What this identity has of it, where the rule is meant for it at all.
    fn of(self, identity: &Identity) -> Rights {
        match identity.user {
            Some(_) => self.anonymous.and(self.user),
            None => self.anonymous,
        }
    }
}

/// The rule that counts for a channel: the first that matches its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleAccess<'a> {
    /// What it matches.
    pub pattern: &'a Pattern,
    /// What it allows.
    pub access: Access,
    /// Whether its channels tell anybody who is there; if not, no grant helps.
    pub presence: bool,
    /// Where it stands: `fanfare.toml:12`.
    pub place: &'a str,
}

impl fmt::Display for RuleAccess<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the rule \"{}\" ({})", self.pattern.as_str(), self.place)
    }
}

/// What was decided, and by what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision<'a> {
    /// Allowed by a grant of the token.
    ByGrant(&'a Grant),
    /// Allowed by the channel's rule.
    ByRule(RuleAccess<'a>),
    /// Refused.
    Refused(Why<'a>),
}

/// Why something is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why<'a> {
    /// The channel's rule has switched presence off.
    PresenceIsOff(RuleAccess<'a>),
    /// No grant gives it, and the rule gives it to others.
    NotToThem(RuleAccess<'a>),
    /// No grant gives it, and the rule gives it to nobody.
    NotToAnybody(RuleAccess<'a>),
    /// No grant gives it, and no rule matches.
    NoRule,
}

impl Decision<'_> {
    /// Whether it is a yes.
    pub fn is_allowed(&self) -> bool {
        !matches!(self, Self::Refused(_))
    }
}

impl fmt::Display for Decision<'_> {
    /// What decided, for logs and the admin; never for clients.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByGrant(grant) => {
                write!(f, "the token's grant of \"{}\" gives it", grant.pattern.as_str())
            }
            Self::ByRule(rule) => write!(f, "{rule} allows it"),
            Self::Refused(why) => why.fmt(f),
        }
    }
}

impl fmt::Display for Why<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PresenceIsOff(rule) => write!(f, "{rule} has presence = false"),
            Self::NotToThem(rule) => {
                write!(f, "no grant of a token gives it, and {rule} allows it to others alone")
            }
            Self::NotToAnybody(rule) => {
                write!(f, "no grant of a token gives it, and {rule} allows it to nobody")
            }
            Self::NoRule => f.write_str("no grant of a token gives it, and no rule matches"),
        }
    }
}

/// Whether this identity has this right to the channel of this name, in its own tenant. `rule` is
/// the first of that tenant's that matches the name.
pub fn decide<'a>(
    identity: &'a Identity,
    rule: Option<RuleAccess<'a>>,
    right: Right,
    channel: &str,
) -> Decision<'a> {
    if let Some(rule) = rule
        && right == Right::Presence
        && !rule.presence
    {
        return Decision::Refused(Why::PresenceIsOff(rule));
    }
    if let Some(grant) = identity.grants.giving(right, channel) {
        return Decision::ByGrant(grant);
    }
    let Some(rule) = rule else { return Decision::Refused(Why::NoRule) };
    // The caller has looked the rule up; one that does not match would open what it is not about.
    let is_meant =
        rule.pattern.matches(channel) && rule.pattern.admits(identity.user.as_ref(), channel);
    if is_meant && rule.access.of(identity).has(right) {
        return Decision::ByRule(rule);
    }
    let to_some = rule.access.anonymous.and(rule.access.user).has(right);
    Decision::Refused(if to_some { Why::NotToThem(rule) } else { Why::NotToAnybody(rule) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grants::Grants;
    use crate::identity::User;
    use crate::tenant::Tenant;

    const SUBSCRIBE: Rights = Rights::NONE.with(Right::Subscribe);
    const PUBLISH: Rights = Rights::NONE.with(Right::Publish);

    fn identity(user: Option<&str>, grants: &[(&str, Rights)]) -> Identity {
        let grant = |(pattern, rights): &(&str, Rights)| Grant {
            pattern: Pattern::parse(pattern).unwrap(),
            rights: *rights,
        };
        Identity {
            user: user.map(User::new),
            grants: Grants::new(grants.iter().map(grant).collect()),
            ..Identity::anonymous(Tenant::default())
        }
    }

    /// Who may do what on a channel, by a rule and by what the token grants.
    #[test]
    fn a_right_is_had_that_grant_or_rule_gives() {
        let access = Access { anonymous: SUBSCRIBE, user: PUBLISH };
        let nobody = identity(None, &[]);
        let ann = identity(Some("ann"), &[]);
        let nameless = identity(None, &[("room:*", PUBLISH)]);
        let cases = [
            (&nobody, "room:*", Right::Subscribe, true),
            (&nobody, "room:*", Right::Publish, false),
            (&ann, "room:*", Right::Subscribe, true), // what everybody may, she may
            (&ann, "room:*", Right::Publish, true),
            (&ann, "room:*", Right::History, false),
            (&nameless, "room:*", Right::Publish, true), // by its grant
            (&nameless, "room:*", Right::History, false),
            (&ann, "hall:*", Right::Subscribe, false), // a rule that does not match gives nothing
            (&nobody, "hall:*", Right::Subscribe, false),
        ];
        for (identity, pattern, right, expected) in cases {
            let pattern = Pattern::of_rule(pattern).unwrap();
            let rule = RuleAccess { pattern: &pattern, access, presence: true, place: "f:1" };
            let decision = decide(identity, Some(rule), right, "room:1");
            assert_eq!(decision.is_allowed(), expected, "{identity:?} {pattern:?} {right}");
            let without = decide(identity, None, right, "room:1");
            let by_grant = identity.grants.giving(right, "room:1").is_some();
            assert_eq!(without.is_allowed(), by_grant, "without a rule grants alone count");
        }
    }

    #[test]
    fn a_rule_of_users_lets_each_in_to_what_is_named_after_them() {
        let pattern = Pattern::of_rule("user:{user}:**").unwrap();
        let access = Access { anonymous: Rights::ALL, user: Rights::ALL };
        let rule = RuleAccess { pattern: &pattern, access, presence: true, place: "f:1" };
        let allowed = |user, channel: &str| {
            let identity = identity(user, &[]);
            let allowed = |right| decide(&identity, Some(rule), right, channel).is_allowed();
            let answers = Right::ALL.map(allowed);
            assert!(answers.iter().all(|one| *one == answers[0]));
            answers[0]
        };
        assert!(allowed(Some("ann"), "user:ann"));
        assert!(allowed(Some("ann"), "user:ann:inbox"));
        assert!(!allowed(Some("ann"), "user:bob:inbox"));
        assert!(!allowed(None, "user:ann"));
        assert!(!allowed(None, "user:"));
    }

    #[test]
    fn where_presence_is_off_no_grant_helps() {
        let ann = identity(Some("ann"), &[("**", Rights::ALL)]);
        let pattern = Pattern::everything();
        let access = Access { anonymous: Rights::ALL, user: Rights::ALL };
        let rule = RuleAccess { pattern: &pattern, access, presence: false, place: "f:1" };
        for right in Right::ALL {
            let allowed = decide(&ann, Some(rule), right, "a").is_allowed();
            assert_eq!(allowed, right != Right::Presence, "{right}");
        }
    }

    #[test]
    fn every_decision_says_what_made_it() {
        let pattern = Pattern::of_rule("room:*").unwrap();
        let access = Access { anonymous: SUBSCRIBE, user: PUBLISH };
        let rule =
            RuleAccess { pattern: &pattern, access, presence: false, place: "fanfare.toml:12" };
        let nobody = identity(None, &[]);
        let granted = identity(Some("ann"), &[("room:1", Rights::ALL)]);
        let said =
            |identity: &Identity, right| decide(identity, Some(rule), right, "room:1").to_string();
        let place = "the rule \"room:*\" (fanfare.toml:12)";
        assert_eq!(said(&granted, Right::Publish), "the token's grant of \"room:1\" gives it");
        assert_eq!(said(&nobody, Right::Subscribe), format!("{place} allows it"));
        assert!(
            said(&nobody, Right::Publish).ends_with(&format!("{place} allows it to others alone"))
        );
        assert!(said(&nobody, Right::History).ends_with(&format!("{place} allows it to nobody")));
        assert_eq!(said(&granted, Right::Presence), format!("{place} has presence = false"));
        let none = decide(&nobody, None, Right::Publish, "x").to_string();
        assert!(none.ends_with("no rule matches"), "{none}");
    }
}
