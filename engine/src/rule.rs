//! Channel rules: what a channel keeps, for whom, and who may do what with it, chosen by a pattern
//! of its name.
//!
//! `:` parts a name into segments; in a pattern `*` stands for one segment and `**`, as the last
//! one, for any rest. The first rule that matches wins, of those of the channel's own tenant, then
//! of those of all; the last of the table matches everything.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

pub use fanfare_identity::{Access, Pattern, RuleAccess};
use fanfare_protocol::limits::{EVENT_NAME_BYTES_MAX, MESSAGE_BYTES_DEFAULT};

use crate::channel::Tenant;
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
    /// What it allows without a grant.
    pub access: Access,
    /// Whether its channels tell who is there.
    pub presence: bool,
    /// Where it stands: `fanfare.toml:12`.
    pub place: Arc<str>,
}

impl Rule {
    /// What it says about who may do what.
    pub fn access(&self) -> RuleAccess<'_> {
        let Self { pattern, access, presence, place, .. } = self;
        RuleAccess { pattern, access: *access, presence: *presence, place }
    }

    /// How long it promises a message to whoever comes back, in milliseconds: 0 where it keeps
    /// none.
    pub fn kept_ms(&self) -> u64 {
        let HistoryRule { count, bytes, age_ms } = self.history;
        if count > 0 && bytes > 0 { age_ms } else { 0 }
    }
}

impl Default for Rule {
    /// Of every channel, kept as where nothing is said, open to whoever listens.
    fn default() -> Self {
        Self {
            pattern: Pattern::everything(),
            history: HistoryRule::DEFAULT,
            window: Window::DEFAULT,
            slow: Slow::default(),
            access: Access::OPEN,
            presence: true,
            place: "default".into(),
        }
    }
}

/// How fast messages of some rules grow old, and whether they keep any: all that tells rules apart
/// where channels stand in lists by age. A hundred tenants have a hundred tables of rules and few
/// of these, so that a look at the front of each list costs the same for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pace {
    /// How old a message may be, in milliseconds.
    pub age_ms: u64,
    /// How long a message is promised, in milliseconds: [`Rule::kept_ms`].
    pub kept_ms: u64,
}

impl Pace {
    fn of(rule: &Rule) -> Self {
        Self { age_ms: rule.history.age_ms, kept_ms: rule.kept_ms() }
    }
}

/// The rules in their order, closed by one that matches everything.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Those of all tenants and the last; behind them, tenant by tenant, their own.
    rules: Vec<(usize, Arc<Rule>)>,
    /// How many of these are for all.
    common: usize,
    own: HashMap<Tenant, Range<usize>>,
    /// By the order of the first rule of each.
    paces: Vec<Pace>,
}

impl Rules {
    /// `rules` in order, then one with `history` and `window` for everything else.
    pub fn new(rules: Vec<Rule>, history: HistoryRule, window: Window) -> Self {
        Self::closed_by(rules, Rule { history, window, ..Rule::default() })
    }

    /// `rules` in order, then `rest`, whose pattern matches everything.
    pub fn closed_by(rules: Vec<Rule>, rest: Rule) -> Self {
        let (common, own, paces) = (rules.len() + 1, HashMap::new(), Vec::new());
        let mut all = Self { rules: Vec::with_capacity(common), common, own, paces };
        rules.into_iter().chain([rest]).for_each(|rule| all.push(rule));
        all
    }

    /// With rules of one tenant, which stand before those of all. It has none yet.
    #[must_use]
    pub fn with_own(mut self, tenant: Tenant, rules: Vec<Rule>) -> Self {
        let begin = self.rules.len();
        rules.into_iter().for_each(|rule| self.push(rule));
        self.own.insert(tenant, begin..self.rules.len());
        self
    }

    fn push(&mut self, rule: Rule) {
        let pace = Pace::of(&rule);
        let number = self.paces.iter().position(|known| *known == pace).unwrap_or_else(|| {
            self.paces.push(pace);
            self.paces.len() - 1
        });
        self.rules.push((number, Arc::new(rule)));
    }

    /// The paces of all rules, by their numbers.
    pub fn paces(&self) -> impl Iterator<Item = Pace> {
        self.paces.iter().copied()
    }

    /// Those that hold for all tenants, in order; the last one matches everything.
    pub fn common(&self) -> impl Iterator<Item = &Arc<Rule>> {
        self.rules[..self.common].iter().map(|(_, rule)| rule)
    }

    /// Those of one tenant alone, in order.
    pub fn own(&self, tenant: &Tenant) -> impl Iterator<Item = &Arc<Rule>> {
        let own = self.own.get(tenant).cloned().unwrap_or(0..0);
        self.rules[own].iter().map(|(_, rule)| rule)
    }

    /// What each rule says of something: those of all tenants, and of each tenant its own.
    pub fn each<T>(&self, of: impl Fn(&Rule) -> T) -> BTreeMap<Option<&str>, Vec<T>> {
        let common = (None, self.common().map(|rule| of(rule)).collect());
        let own = self.own.keys().map(|tenant| {
            let rules = self.own(tenant).map(|rule| of(rule)).collect();
            (Some(tenant.as_str()), rules)
        });
        own.chain([common]).collect()
    }

    /// The first rule that matches this channel of this tenant, and the number of its pace.
    pub fn of(&self, tenant: &Tenant, name: &str) -> (usize, &Arc<Rule>) {
        let own = self.own.get(tenant).cloned().unwrap_or(0..0);
        let mut rules = self.rules[own].iter().chain(&self.rules[..self.common]);
        let (pace, rule) =
            rules.find(|(_, rule)| rule.pattern.matches(name)).expect("the last rule matches all");
        (*pace, rule)
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

    fn rule(pattern: &str, count: u64, age_ms: u64) -> Rule {
        Rule {
            pattern: Pattern::of_rule(pattern).unwrap(),
            history: HistoryRule { count, age_ms, ..HistoryRule::DEFAULT },
            slow: Slow::Latest,
            ..Rule::default()
        }
    }

    #[test]
    fn the_first_match_wins() {
        let rules = Rules::new(
            vec![rule("room:vip", 1, 5), rule("room:*", 2, 5)],
            HistoryRule::DEFAULT,
            Window::DEFAULT,
        );
        let of = |name| rules.of(&Tenant::default(), name).1;
        assert_eq!(of("room:vip").history.count, 1);
        assert_eq!(of("room:x").history.count, 2);
        assert_eq!(of("else").history, HistoryRule::DEFAULT);
        assert_eq!((of("else").slow, of("room:x").slow), (Slow::Disconnect, Slow::Latest));
    }

    #[test]
    fn a_tenants_own_rules_stand_before_those_of_all() {
        let (acme, beta) = (Tenant::new("acme"), Tenant::new("beta"));
        let rules = Rules::closed_by(vec![rule("room:*", 1, 5)], Rule::default())
            .with_own(acme.clone(), vec![rule("room:vip", 2, 5), rule("hall", 3, 5)])
            .with_own(beta.clone(), vec![rule("**", 4, 5)]);
        let count = |tenant: &Tenant, name| rules.of(tenant, name).1.history.count;
        assert_eq!((count(&acme, "room:vip"), count(&acme, "hall")), (2, 3));
        assert_eq!((count(&acme, "room:1"), count(&acme, "else")), (1, 1_000));
        assert_eq!((count(&beta, "room:vip"), count(&beta, "room:1")), (4, 4));
        for nobody in [Tenant::default(), Tenant::new("other")] {
            assert_eq!((count(&nobody, "room:vip"), count(&nobody, "hall")), (1, 1_000));
        }
        assert_eq!((rules.common().count(), rules.own(&acme).count()), (2, 2));
    }

    #[test]
    fn rules_of_one_pace_share_a_list() {
        let one = |nth: u64| vec![rule("a", nth + 1, 60_000), rule("b", 0, 60_000)];
        let tenants = (0..100).map(|nth| (Tenant::new(&nth.to_string()), one(nth)));
        let rules =
            tenants.fold(Rules::default(), |rules, (tenant, own)| rules.with_own(tenant, own));
        // The last rule's, and of the tenants' those that keep and those that do not.
        assert_eq!(rules.paces().count(), 3);
        let of = |tenant, name| rules.of(&Tenant::new(tenant), name).0;
        assert_eq!(of("1", "a"), of("99", "a"));
        assert_ne!(of("1", "a"), of("1", "b"), "what is not kept is promised for less long");
        assert_eq!(rules.paces().nth(of("7", "b")).map(|pace| pace.kept_ms), Some(0));
    }
}
