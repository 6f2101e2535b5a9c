//! The one grammar by which channels are meant, in rules of the configuration and in grants.
//!
//! `:` parts a name into segments; in a pattern `*` stands for one segment and `**`, as the last
//! one, for any rest. Everything else is compared byte by byte: case counts, and so does each of
//! two characters that look alike.

/// A pattern of channel names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Box<str>);

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// A sentence about what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("a pattern is not empty: \"**\" matches every channel".into());
        }
        let mut segments = text.split(':').peekable();
        while let Some(segment) = segments.next() {
            match segment {
                "**" if segments.peek().is_some() => {
                    return Err("\"**\" stands for any rest, so it is the last segment".into());
                }
                "*" | "**" => {}
                other if other.contains('*') => {
                    return Err(format!(
                        "\"{other}\" mixes \"*\" with other characters: \"*\" is a whole segment"
                    ));
                }
                _ => {}
            }
        }
        Ok(Self(text.into()))
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a channel of this name is meant.
    pub fn matches(&self, name: &str) -> bool {
        let mut segments = name.split(':');
        for part in self.0.split(':') {
            match (part, segments.next()) {
                ("**", _) => return true,
                (_, None) => return false,
                ("*", Some(_)) => {}
                (part, Some(segment)) if part == segment => {}
                _ => return false,
            }
        }
        segments.next().is_none()
    }

    /// Whether it matches every name that `other` matches.
    pub fn covers(&self, other: &Self) -> bool {
        let mut others = other.0.split(':');
        for part in self.0.split(':') {
            match (part, others.next()) {
                ("**", _) => return true,
                // A rest of any length is more than one segment.
                (_, None | Some("**")) => return false,
                ("*", Some(_)) => {}
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

#[cfg(test)]
mod tests {
    use super::*;

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
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(
                Pattern::parse(pattern).unwrap().matches(name),
                expected,
                "{pattern} {name}"
            );
        }
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
        ];
        for (earlier, later, expected) in cases {
            let [earlier, later] = [earlier, later].map(|text| Pattern::parse(text).unwrap());
            assert_eq!(earlier.covers(&later), expected, "{earlier:?} {later:?}");
        }
    }

    #[test]
    fn bad_patterns_are_refused() {
        for text in ["", "**:a", "a*", "room:**:x", "r**"] {
            assert!(Pattern::parse(text).is_err(), "{text}");
        }
    }
}
