//! Channel rules: what a channel keeps, and for whom, chosen by a pattern of its name.
//!
//! `:` parts a name into segments; in a pattern `*` stands for one segment and `**`, as the last
//! one, for any rest. The first rule that matches wins; the last of the table matches everything.

use std::sync::Arc;

pub use fanfare_identity::Pattern;
use fanfare_protocol::limits::{EVENT_NAME_BYTES_MAX, MESSAGE_BYTES_DEFAULT};

use crate::message::OVERHEAD_BYTES;

/// How much history a channel keeps; the first bound that is reached trims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryRule {
    /// Most messages.
    pub count: u64,
    /// Most bytes, as [`crate::message::Message::cost`] counts them.
    pub bytes: usize,
    /// Oldest age in milliseconds.
    pub age_ms: u64,
}

impl HistoryRule {
    /// 1,000 messages, 1 MiB, 10 minutes.
    pub const DEFAULT: Self = Self { count: 1_000, bytes: 1 << 20, age_ms: 600_000 };
}

/// What a connected laggard can still get, whatever the history keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Most messages.
    pub count: u64,
    /// Most bytes, as [`crate::message::Message::cost`] counts them.
    pub bytes: usize,
}

impl Window {
    /// 1,024 messages, 1 MiB.
    pub const DEFAULT: Self = Self { count: 1_024, bytes: 1 << 20 };
}

// The largest message with the longest event name is kept, for those who return and those who lag:
// one that were not would be a gap for whoever is not connected in that very moment.
const LARGEST: usize = MESSAGE_BYTES_DEFAULT + EVENT_NAME_BYTES_MAX + OVERHEAD_BYTES;
const _: () = assert!(LARGEST <= HistoryRule::DEFAULT.bytes && LARGEST <= Window::DEFAULT.bytes);

/// What becomes of a connection whose cursor has left the live window of a channel. Whatever it
/// misses is told, and a frame that was begun is finished first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Slow {
    /// It is closed (4508, or the end of its stream), and resumes.
    #[default]
    Disconnect,
    /// It goes on with the oldest message that is still kept, after a gap notice.
    Window,
    /// It goes on with the newest message, after a gap notice.
    Latest,
}

impl Slow {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Disconnect, Self::Window, Self::Latest];

    /// Its name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disconnect => "disconnect",
            Self::Window => "window",
            Self::Latest => "latest",
        }
    }
}

/// One rule of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What it matches.
    pub pattern: Pattern,
    /// What its channels keep for those who return.
    pub history: HistoryRule,
    /// What its channels keep for those who lag.
    pub window: Window,
    /// What becomes of those who lag by more.
    pub slow: Slow,
}

/// The rules in their order, closed by one that matches everything.
#[derive(Clone, Debug)]
pub struct Rules(Vec<Arc<Rule>>);

impl Rules {
    /// `rules` in order, then one with `history` and `window` for everything else.
    pub fn new(rules: Vec<Rule>, history: HistoryRule, window: Window) -> Self {
        let rest = Rule { pattern: Pattern::everything(), history, window, slow: Slow::default() };
        Self(rules.into_iter().chain([rest]).map(Arc::new).collect())
    }

    /// The same rules, with another policy in the last one, which matches everything.
    pub fn with_slow(mut self, slow: Slow) -> Self {
        Arc::make_mut(self.0.last_mut().expect("there is a last rule")).slow = slow;
        self
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Rule>> {
        self.0.iter()
    }

    /// The first rule that matches `name`, and its number in the table.
    pub fn of(&self, name: &str) -> (usize, &Arc<Rule>) {
        let mut rules = self.0.iter().enumerate();
        rules.find(|(_, rule)| rule.pattern.matches(name)).expect("the last rule matches all")
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self::new(Vec::new(), HistoryRule::DEFAULT, Window::DEFAULT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_match_wins() {
        let rule = |pattern: &str, count| Rule {
            pattern: Pattern::parse(pattern).unwrap(),
            history: HistoryRule { count, ..HistoryRule::DEFAULT },
            window: Window::DEFAULT,
            slow: Slow::Latest,
        };
        let rules = Rules::new(
            vec![rule("room:vip", 1), rule("room:*", 2)],
            HistoryRule::DEFAULT,
            Window::DEFAULT,
        );
        assert_eq!(rules.of("room:vip").1.history.count, 1);
        assert_eq!(rules.of("room:x").1.history.count, 2);
        assert_eq!(rules.of("else").1.history, HistoryRule::DEFAULT);
        assert_eq!(rules.of("else").1.slow, Slow::Disconnect);
        let rules = rules.with_slow(Slow::Window);
        assert_eq!(rules.of("else").1.slow, Slow::Window);
        assert_eq!(rules.of("room:x").1.slow, Slow::Latest, "the others keep their own");
    }
}
