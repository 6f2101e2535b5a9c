//! A decision step by step, for whoever runs the node: `fanfare explain` and `POST /v1/explain`.
//!
//! The lines hold what the token says of itself, its grants and the rule, and no byte of the token
//! beyond these. They are for the operator, never for the client that was refused.

use crate::access::{RuleAccess, decide};
use crate::grants::Grant;
use crate::identity::Identity;
use crate::right::{Right, Rights};

/// Grants that are shown one by one; of the rest their number is said.
const GRANTS_SHOWN_MAX: usize = 100;

/// How it comes about that this identity has a right to a channel, or that it has not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Whether it has.
    pub allowed: bool,
    /// The steps, each a line without its end. The last one is the decision.
    pub lines: Vec<String>,
}

/// Explains what [`decide`] decides of the same.
pub fn explain(
    identity: &Identity,
    rule: Option<RuleAccess<'_>>,
    right: Right,
    channel: &str,
) -> Explanation {
    let mut lines = vec![who(identity)];
    let grants: Vec<&Grant> = identity.grants.iter().collect();
    lines.extend(grants.iter().take(GRANTS_SHOWN_MAX).map(|grant| step(grant, right, channel)));
    match grants.len() {
        0 => lines.push("grants: none".into()),
        count if count > GRANTS_SHOWN_MAX => {
            lines.push(format!("grants: {} more", count - GRANTS_SHOWN_MAX));
        }
        _ => {}
    }
    lines.push(rule.map_or("rule: none matches".into(), |rule| counts(rule, identity, channel)));
    let decision = decide(identity, rule, right, channel);
    let allowed = decision.is_allowed();
    let word = if allowed { "allowed" } else { "refused" };
    lines.push(format!("{word}: {right} \"{channel}\": {decision}"));
    Explanation { allowed, lines }
}

fn who(identity: &Identity) -> String {
    let mut line = match &identity.user {
        Some(user) => format!("identity: the user \"{user}\""),
        None if identity.is_anonymous() => "identity: anonymous".into(),
        None => "identity: a token without a user".into(),
    };
    line.push_str(&format!(" of the tenant \"{}\"", identity.tenant.as_str()));
    if let Some(id) = &identity.token_id {
        line.push_str(&format!(", by the token \"{id}\""));
    }
    if let Some(expires) = identity.expires_s {
        line.push_str(&format!(", until {expires} (seconds since 1970)"));
    }
    line
}

fn step(grant: &Grant, right: Right, channel: &str) -> String {
    let matches = grant.pattern.matches(channel);
    let what = match (matches, grant.rights.has(right)) {
        (false, _) => "does not match".into(),
        (true, true) => format!("matches, and gives {right}"),
        (true, false) => format!("matches, and does not give {right}"),
    };
    format!("grant: \"{}\" of {}: {what}", grant.pattern.as_str(), grant.rights)
}

fn counts(rule: RuleAccess<'_>, identity: &Identity, channel: &str) -> String {
    let (anonymous, user) = (rule.access.anonymous, rule.access.user);
    let more = if user == Rights::NONE { "nothing more".into() } else { user.to_string() };
    let mut line = format!(
        "rule: \"{}\" ({}) is the first that matches; it allows everybody {anonymous}, and users \
         with a token {more}",
        rule.pattern.as_str(),
        rule.place
    );
    if rule.pattern.is_of_user() {
        let is_own = rule.pattern.admits(identity.user.as_ref(), channel);
        let whose = if is_own { "which this is" } else { "which this is not" };
        line.push_str(&format!(", each in the channels named after them, {whose}"));
    }
    if !rule.presence {
        line.push_str("; presence is off");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Access;
    use crate::grants::Grants;
    use crate::identity::User;
    use crate::pattern::Pattern;
    use crate::tenant::Tenant;

    fn ann() -> Identity {
        let grant = |text: &str, rights| Grant { pattern: Pattern::parse(text).unwrap(), rights };
        Identity {
            user: Some(User::new("ann")),
            grants: Grants::new(vec![
                grant("news:*", Rights::TO_LISTEN),
                grant("hall", Rights::NONE.with(Right::Publish)),
            ]),
            token_id: Some("t-1".into()),
            expires_s: Some(1_800_000_000),
            ..Identity::anonymous(Tenant::new("acme"))
        }
    }

    #[test]
    fn each_step_is_a_line_and_the_last_is_the_decision() {
        let pattern = Pattern::of_rule("hall").unwrap();
        let access = Access { anonymous: Rights::NONE.with(Right::Subscribe), user: Rights::NONE };
        let rule = RuleAccess { pattern: &pattern, access, presence: true, place: "f.toml:12" };
        let found = explain(&ann(), Some(rule), Right::History, "hall");
        assert!(!found.allowed);
        assert_eq!(
            found.lines,
            [
                "identity: the user \"ann\" of the tenant \"acme\", by the token \"t-1\", until \
                 1800000000 (seconds since 1970)",
                "grant: \"news:*\" of subscribe, presence, history: does not match",
                "grant: \"hall\" of publish: matches, and does not give history",
                "rule: \"hall\" (f.toml:12) is the first that matches; it allows everybody \
                 subscribe, and users with a token nothing more",
                "refused: history \"hall\": no grant of a token gives it, and the rule \"hall\" \
                 (f.toml:12) allows it to nobody",
            ]
        );
        let found = explain(&ann(), Some(rule), Right::Publish, "hall");
        assert!(found.allowed && found.lines[2].ends_with("matches, and gives publish"));
    }

    #[test]
    fn a_channel_of_somebody_else_is_said_to_be_one() {
        let pattern = Pattern::of_rule("user:{user}").unwrap();
        let access = Access { anonymous: Rights::NONE, user: Rights::ALL };
        let rule = RuleAccess { pattern: &pattern, access, presence: true, place: "f.toml:1" };
        let own = explain(&ann(), Some(rule), Right::Subscribe, "user:ann");
        assert!(own.allowed && own.lines[3].contains("which this is"), "{own:?}");
        let other = explain(&ann(), Some(rule), Right::Subscribe, "user:bob");
        assert!(!other.allowed && other.lines[3].contains("which this is not"), "{other:?}");
    }

    #[test]
    fn a_token_of_many_grants_makes_no_book() {
        let grant = Grant { pattern: Pattern::everything(), rights: Rights::NONE };
        let identity = Identity { grants: Grants::new(vec![grant; 5_000]), ..ann() };
        let found = explain(&identity, None, Right::Publish, "a");
        assert!(found.lines.len() < 110 && !found.allowed);
        assert!(found.lines.iter().any(|line| line == "grants: 4900 more"));
    }
}
