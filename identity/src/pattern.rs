//! The one grammar by which channels are meant, in rules of the configuration and in grants.
//!
//! `:` parts a name into segments, of which some may be empty: `a::b` has three. In a pattern `*`
//! stands for one segment, and `**`, as the last one, for any rest, also for none. Everything else
//! is compared byte by byte: case counts, and so does each of two characters that look alike, and
//! each of two ways to write one of them (NFC and NFD).
//!
//! In a *rule* `{user}` stands for one segment too, and the rule lets in the user alone whose name
//! that segment is ([`Pattern::admits`]). A grant cannot have it: its token says whose it is.
//! Whatever else a segment between braces may come to mean is refused until it does.
//!
//! What matching costs is bounded by the length of the pattern, which is that of a channel's name.

use fanfare_protocol::limits::CHANNEL_NAME_BYTES_MAX;

use crate::identity::User;

/// What stands for the name of whoever asks.
const USER: &str = "{user}";

/// A pattern of channel names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern(Box<str>);

impl Pattern {
    /// Reads a pattern of a grant.
    ///
    /// # Errors
    /// A sentence about what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let pattern = Self::of_rule(text)?;
        if pattern.is_of_user() {
            return Err(format!(
                "\"{USER}\" stands for a user in the rules of the configuration alone: a token \
                 names the channels themselves"
            ));
        }
        Ok(pattern)
    }

    /// Reads a pattern of a rule, which may have `{user}`.
    ///
    /// # Errors
    /// A sentence about what is wrong with it.
    pub fn of_rule(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("a pattern is not empty: \"**\" matches every channel".into());
        }
        if text.len() > CHANNEL_NAME_BYTES_MAX {
            return Err(format!(
                "the pattern has {} bytes, and no channel's name has more than \
                 {CHANNEL_NAME_BYTES_MAX}",
                text.len()
            ));
        }
        if text.chars().any(char::is_control) {
            return Err("a pattern has no control characters, as no channel's name has any".into());
        }
        let mut segments = text.split(':').peekable();
        while let Some(segment) = segments.next() {
            check(segment, segments.peek().is_none())?;
        }
        Ok(Self(text.into()))
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `{user}` is in it.
    pub fn is_of_user(&self) -> bool {
        self.0.split(':').any(|part| part == USER)
    }

    /// Whether a channel of this name is meant, whoever asks: `{user}` is as `*`.
    pub fn matches(&self, name: &str) -> bool {
        let mut segments = name.split(':');
        for part in self.0.split(':') {
            match (part, segments.next()) {
                ("**", _) => return true,
                (_, None) => return false,
                ("*" | USER, Some(_)) => {}
                (part, Some(segment)) if part == segment => {}
                _ => return false,
            }
        }
        segments.next().is_none()
    }

    /// Whether this user is let in to the channel of this name, which matches: each segment where
    /// `{user}` stands is the user's name, byte for byte. Without `{user}` that is everybody.
    pub fn admits(&self, user: Option<&User>, name: &str) -> bool {
        let mut pairs = self.0.split(':').zip(name.split(':'));
        pairs.all(|(part, segment)| {
            part != USER || user.is_some_and(|user| user.as_str() == segment)
        })
    }

    /// Whether it matches every name that `other` matches.
    pub fn covers(&self, other: &Self) -> bool {
        let mut others = other.0.split(':');
        for part in self.0.split(':') {
            match (part, others.next()) {
                ("**", _) => return true,
                // A rest of any length is more than one segment.
                (_, None | Some("**")) => return false,
                ("*" | USER, Some(_)) => {}
                (part, Some(other)) if part == other => {}
                _ => return false,
            }
        }
        others.next().is_none()
    }

    /// The pattern that every name matches.
    pub fn everything() -> Self {
        Self("**".into())
    }
}

/// Refuses a segment that is neither plain text nor one of those that stand for others.
fn check(segment: &str, is_last: bool) -> Result<(), String> {
    match segment {
        "**" if !is_last => Err("\"**\" stands for any rest, so it is the last segment".into()),
        "*" | "**" | USER => Ok(()),
        other if other.contains('*') => {
            Err(format!("\"{other}\" mixes \"*\" with other characters: \"*\" is a whole segment"))
        }
        other if other.contains(USER) => Err(format!(
            "\"{other}\" mixes \"{USER}\" with other characters: \"{USER}\" is a whole segment"
        )),
        other if other.starts_with('{') && other.ends_with('}') => {
            Err(format!("\"{other}\" stands for nothing: between braces there is \"{USER}\" alone"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rule(text: &str) -> Pattern {
        Pattern::of_rule(text).unwrap()
    }

    #[test]
    fn patterns_match_by_segment() {
        let cases = [
            ("room:*", "room:1", true),
            ("room:*", "room:1:x", false),
            ("room:*", "room", false),
            ("room:**", "room:1:x", true),
            ("room:**", "room", true),
            ("**", "anything:at:all", true),
            ("*", "one", true),
            ("*", "one:two", false),
            ("room", "room", true),
            ("room", "rooms", false),
            ("*:log", "a:log", true),
            ("user:{user}", "user:ann", true),
            ("user:{user}", "user:ann:x", false),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(rule(pattern).matches(name), expected, "{pattern} {name}");
        }
    }

    /// What a stranger would try: names that look like those that are meant (THREATS J19).
    #[test]
    fn what_merely_looks_alike_is_not_meant() {
        let cases = [
            ("room:*", "Room:1", false),
            ("room:*", "room\u{ff1a}1", false), // a full-width colon parts nothing
            ("room:*", "r\u{43e}\u{43e}m:1", false), // Cyrillic letters
            ("room:*", "room:\u{200b}", true),  // a segment, however little is seen of it
            ("caf\u{e9}", "cafe\u{301}", false), // NFC is not NFD
            ("cafe\u{301}", "cafe\u{301}", true),
            ("stra\u{df}e", "STRASSE", false), // no folding of case, however Unicode does it
            ("a:*", "a:b{c", true),
            ("a:*", "a:", true),
            ("a:*", "a", false),
            ("a::b", "a::b", true),
            ("a::b", "a:b", false),
            ("a:*:b", "a::b", true),
            ("*:*", ":", true),
            ("a:**", "a", true),
            ("a:**", "ab", false),
            ("a:**", "a:", true),
            (" a", "a", false),
            ("a", "a ", false),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(rule(pattern).matches(name), expected, "{pattern:?} {name:?}");
        }
    }

    #[test]
    fn a_user_is_let_in_by_the_very_name() {
        let admits = |pattern: &str, user: Option<&str>, name: &str| {
            let pattern = rule(pattern);
            assert!(pattern.matches(name), "{pattern:?} {name:?}");
            pattern.admits(user.map(User::new).as_ref(), name)
        };
        assert!(admits("user:{user}", Some("ann"), "user:ann"));
        assert!(admits("user:{user}:**", Some("ann"), "user:ann:inbox:1"));
        assert!(!admits("user:{user}", Some("ann"), "user:Ann"));
        assert!(!admits("user:{user}", Some("ann"), "user:bob"));
        assert!(!admits("user:{user}", Some(""), "user:ann"));
        assert!(!admits("user:{user}", None, "user:ann"));
        assert!(!admits("user:{user}", None, "user:"), "nobody is not the empty name");
        assert!(!admits("user:{user}", Some("caf\u{e9}"), "user:cafe\u{301}"));
        assert!(!admits("user:{user}:**", Some("a:b"), "user:a:b"), "no name has two segments");
        assert!(!admits("{user}:{user}", Some("ann"), "ann:bob"));
        assert!(!admits("user:{user}", Some("*"), "user:ann"), "a name is no pattern");
        assert!(admits("room:*", None, "room:1"));
    }

    #[test]
    fn a_pattern_covers_what_can_match_nothing_more() {
        let cases = [
            ("**", "room:*", true),
            ("**", "**", true),
            ("room:*", "room:*", true),
            ("room:*", "room:vip", true),
            ("room:*", "room:**", false),
            ("room:*", "room:*:log", false),
            ("room:**", "room", true),
            ("room:**", "room:*:log", true),
            ("room:**", "room:**", true),
            ("room:vip", "room:*", false),
            ("*:log", "a:log", true),
            ("room", "room:x", false),
            ("room:x", "room", false),
            ("user:{user}", "user:*", true),
            ("user:*", "user:{user}", true),
            ("user:{user}", "user:ann", true),
            ("user:ann", "user:{user}", false),
        ];
        for (earlier, later, expected) in cases {
            let [earlier, later] = [earlier, later].map(rule);
            assert_eq!(earlier.covers(&later), expected, "{earlier:?} {later:?}");
        }
    }

    #[test]
    fn bad_patterns_are_refused() {
        let long = "x".repeat(256);
        let bad = [
            "",
            "**:a",
            "a*",
            "a:b*c",
            "room:**:x",
            "r**",
            "***",
            "a\n",
            "a:\u{85}",
            "{user}s",
            "x{user}",
            "{User}",
            "{users}",
            "a:{}",
            "{tenant}:*",
            "{ user }",
            &long,
        ];
        for text in bad {
            assert!(Pattern::of_rule(text).is_err(), "{text:?}");
            assert!(Pattern::parse(text).is_err(), "{text:?}");
        }
        for text in ["user:{user}", "{user}", "{user}:**"] {
            assert!(Pattern::of_rule(text).unwrap().is_of_user());
            assert!(Pattern::parse(text).is_err(), "no token stands for its reader: {text}");
        }
        assert!(Pattern::parse(&"x".repeat(255)).is_ok());
        assert!(Pattern::parse("a{b}c:{").is_ok(), "braces that stand for nothing are letters");
    }

    /// As a person would decide it, who has both written down as lists of words.
    fn naive(pattern: &[&str], name: &[&str]) -> bool {
        match (pattern.first(), name.first()) {
            (Some(&"**"), _) => true,
            (None, None) => true,
            (Some(part), Some(segment)) => {
                (["*", "{user}"].contains(part) || part == segment)
                    && naive(&pattern[1..], &name[1..])
            }
            _ => false,
        }
    }

    fn segment() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec!["a", "b", "A", "", "\u{e9}", "e\u{301}", "ab"])
    }

    fn pattern() -> impl Strategy<Value = Vec<&'static str>> {
        let part = prop_oneof![3 => segment(), 2 => Just("*"), 1 => Just("{user}")];
        (prop::collection::vec(part, 0..5), any::<bool>()).prop_map(|(mut parts, rest)| {
            if rest || parts.is_empty() {
                parts.push("**");
            }
            parts
        })
    }

    proptest! {
        #[test]
        fn matching_is_what_a_person_would_decide(
            parts in pattern(),
            name in prop::collection::vec(segment(), 1..6),
        ) {
            // One empty segment is no pattern and no name.
            prop_assume!(parts != [""]);
            prop_assert_eq!(rule(&parts.join(":")).matches(&name.join(":")), naive(&parts, &name));
        }

        #[test]
        fn what_covers_matches_all_that_is_covered(
            first in pattern(),
            second in pattern(),
            name in prop::collection::vec(segment(), 1..6),
        ) {
            prop_assume!(first != [""] && second != [""]);
            let [first, second] = [first, second].map(|parts| rule(&parts.join(":")));
            let name = name.join(":");
            if first.covers(&second) && second.matches(&name) {
                prop_assert!(first.matches(&name), "{first:?} {second:?} {name:?}");
            }
        }

        #[test]
        fn whom_a_rule_admits_has_the_name_wherever_it_stands(
            parts in pattern(),
            name in prop::collection::vec(segment(), 1..6),
            user in segment(),
        ) {
            prop_assume!(parts != [""]);
            let pattern = rule(&parts.join(":"));
            let text = name.join(":");
            prop_assume!(pattern.matches(&text));
            let places = parts.iter().zip(&name).filter(|(part, _)| **part == "{user}");
            let expected = places.clone().all(|(_, segment)| *segment == user);
            prop_assert_eq!(pattern.admits(Some(&User::new(user)), &text), expected);
            prop_assert_eq!(pattern.admits(None, &text), places.count() == 0);
        }
    }
}
