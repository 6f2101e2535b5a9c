//! Channel rules as a file has them: `[[channels]]`, of all tenants and of one.

use fanfare_identity::{Access, Right, Rights};
use toml::de::DeValue;

use super::document::Section;
use super::file::Kept;
use super::source::{Source, Sourced};
use super::{read, units};
use crate::rule::{HistoryRule, Pattern, Rule, Slow, Window};

/// What holds where a rule does not say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rest {
    pub(super) history: HistoryRule,
    pub(super) window: Window,
    pub(super) slow: Slow,
    /// Bytes that all channels keep together.
    pub(super) budget: u64,
}

/// A rule, before it is known what holds where it does not say who may.
#[derive(Clone, Debug)]
pub(super) struct RuleDraft {
    pub(super) rule: Rule,
    pub(super) allow: Option<Sourced<Access>>,
}

impl RuleDraft {
    /// The rule, where `unsaid` is allowed if it does not say.
    pub(super) fn settle(self, unsaid: Access) -> Rule {
        Rule { access: self.allow.map_or(unsaid, |said| said.value), ..self.rule }
    }
}

/// The rules of one list of `[[channels]]`.
pub(super) fn read_all(sections: Vec<Section<'_, '_>>, rest: Rest) -> Vec<RuleDraft> {
    sections.into_iter().filter_map(|section| one(section, rest)).collect()
}

/// One `[[channels]]`: what it does not say is as for all channels.
fn one(section: Section<'_, '_>, rest: Rest) -> Option<RuleDraft> {
    let pattern = section.value("match", |value| Pattern::of_rule(&read::text(value)?));
    let history = history(section.section("history"), rest.history);
    let window = window(section.section("window"), rest.window);
    let slow = slow(&section, rest.slow);
    within_budget(&section, &history, rest.budget);
    let allow = allow(&section);
    let presence = section.value("presence", read::switch).is_none_or(|said| said.value);
    if pattern.is_none() && !section.has("match") {
        section.complain("this rule has no \"match\": write match = \"room:*\", for example");
    }
    let place = section.place();
    if let (Some(pattern), Some(allow)) = (&pattern, &allow)
        && pattern.value.is_of_user()
        && allow.value.anonymous != Rights::NONE
    {
        let what = "allow: whoever has no token has no name that could stand for {user}, so \
                    \"anonymous\" would allow nothing here: name \"user\" alone, or give anonymous \
                    ones a rule without {user}";
        section.complain_at(&allow.source, what.into());
    }
    section.end();
    let pattern = pattern?.value;
    let (history, window) = (history.value, window.value);
    let rule = Rule { pattern, history, window, slow, presence, place, ..Rule::default() };
    Some(RuleDraft { rule, allow })
}

/// Who may do what without a grant; `None` where the rule is silent.
fn allow(section: &Section<'_, '_>) -> Option<Sourced<Access>> {
    let allow = section.section("allow");
    let source = section.has("allow").then(|| allow.source());
    let rights = |key| allow.list(key, right).map(|said| said.value.into_iter().collect());
    let (anonymous, user) = (rights("anonymous"), rights("user"));
    allow.end();
    let value = Access { anonymous: anonymous.unwrap_or_default(), user: user.unwrap_or_default() };
    Some(Sourced { value, source: source? })
}

fn right(value: &DeValue<'_>) -> Result<Right, String> {
    let word = read::text(value)?;
    Right::parse(&word).ok_or_else(|| {
        let words = Right::ALL.map(Right::as_str).join("\", \"");
        format!("\"{word}\" is not a right: there are \"{words}\"")
    })
}

/// What a table says of history.
pub(super) fn history(section: Section<'_, '_>, rest: HistoryRule) -> Kept<HistoryRule> {
    let count = section.value("count", |value| read::between(value, 0, 1 << 32, ""));
    let bytes = section.value("bytes", |value| {
        let none = "; a channel that keeps nothing says count = 0";
        read::bytes_between(value, 1 << 10, 1 << 40, none)
    });
    let age = section.value("age", |value| match read::time(value)? {
        0 => Err("0s would keep nothing: to say so, write count = 0".into()),
        age => Ok(age),
    });
    section.end();
    let bytes = bytes.unwrap_or_else(|| Sourced::default(rest.bytes as u64));
    let value = HistoryRule {
        count: count.map_or(rest.count, |said| said.value),
        bytes: bytes.value as usize,
        age_ms: age.map_or(rest.age_ms, |said| said.value),
    };
    Kept { value, bytes }
}

/// What a table says of the window.
pub(super) fn window(section: Section<'_, '_>, rest: Window) -> Kept<Window> {
    let count = section.value("count", |value| {
        let why = ": without a window nobody could be behind by even one message";
        read::between(value, 1, 1 << 24, why)
    });
    let bytes = section.value("bytes", |value| read::bytes_between(value, 1 << 10, 1 << 40, ""));
    section.end();
    let bytes = bytes.unwrap_or_else(|| Sourced::default(rest.bytes as u64));
    let value =
        Window { count: count.map_or(rest.count, |said| said.value), bytes: bytes.value as usize };
    Kept { value, bytes }
}

/// What a table says of clients that are too slow.
pub(super) fn slow(section: &Section<'_, '_>, rest: Slow) -> Slow {
    section.value("slow", read::word(units::slow)).map_or(rest, |said| said.value)
}

/// One channel's history must not be larger than what the node keeps for all. Only what a table
/// says itself is complained about there: the default fits into the smallest budget (1 MiB).
pub(super) fn within_budget(section: &Section<'_, '_>, history: &Kept<HistoryRule>, budget: u64) {
    let said_here = history.bytes.source != Source::Default;
    if !said_here || history.value.count == 0 || history.bytes.value <= budget {
        return;
    }
    let (bytes, budget) = (units::bytes_text(history.bytes.value), units::bytes_text(budget));
    let what = format!(
        "one channel's history of {bytes} does not fit into [limits] history_bytes = {budget}, \
         which bounds all channels together: lower history.bytes or raise history_bytes"
    );
    section.complain_at(&history.bytes.source, what);
}
