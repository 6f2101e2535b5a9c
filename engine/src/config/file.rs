//! The configuration file, key by key.

use std::net::SocketAddr;
use std::path::PathBuf;

use toml::de::DeValue;

use super::document::{Document, Section, expected};
use super::limits::{self, LimitsTable};
use super::read;
use super::source::{Problem, Source, Sourced};
use super::units::{self, OptionalAddress};
use crate::admission::origin::Origins;
use crate::node::DriverChoice;
use crate::rule::{HistoryRule, Pattern, Rule, Slow, Window};

/// What a file said. `None` where it was silent.
#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) listen: Option<Sourced<SocketAddr>>,
    pub(super) api: Option<Sourced<OptionalAddress<SocketAddr>>>,
    pub(super) socket: Option<Sourced<OptionalAddress<PathBuf>>>,
    pub(super) socket_mode: Option<Sourced<u32>>,
    pub(super) socket_users: Option<Sourced<Vec<u32>>>,
    pub(super) driver: Option<Sourced<DriverChoice>>,
    pub(super) shards: Option<Sourced<usize>>,
    pub(super) max_connections: Option<Sourced<usize>>,
    pub(super) origins: Option<Sourced<Vec<String>>>,
    pub(super) hosts: Option<Sourced<Vec<String>>>,
    pub(super) api_key: Option<Sourced<String>>,
    pub(super) api_key_file: Option<Sourced<PathBuf>>,
    pub(super) no_dev: Option<Sourced<bool>>,
    pub(super) i_understand_insecure: Option<Sourced<bool>>,
    pub(super) history: Kept<HistoryRule>,
    pub(super) window: Kept<Window>,
    pub(super) slow: Slow,
    pub(super) channels: Vec<Rule>,
    pub(super) limits: LimitsTable,
}

/// What a table says of history or window, over what holds without it, with the place of the bytes.
#[derive(Debug)]
pub(super) struct Kept<T> {
    pub(super) value: T,
    pub(super) bytes: Sourced<u64>,
}

impl Default for Kept<HistoryRule> {
    fn default() -> Self {
        let value = HistoryRule::DEFAULT;
        Self { value, bytes: Sourced::default(value.bytes as u64) }
    }
}

impl Default for Kept<Window> {
    fn default() -> Self {
        let value = Window::DEFAULT;
        Self { value, bytes: Sourced::default(value.bytes as u64) }
    }
}

/// Reads a file; `name` is how messages call it. Every problem is reported; where there is one,
/// what was read is of no use beyond finding more.
pub(super) fn read(name: &str, text: &str) -> (File, Vec<Problem>) {
    let document = Document::new(name, text);
    let mut file = File::default();
    if let Some(table) = document.parse() {
        file = File::read(document.root(&table));
    }
    (file, document.into_problems())
}

impl File {
    fn read(root: Section<'_, '_>) -> Self {
        let history = history(root.section("history"), HistoryRule::DEFAULT);
        let window = window(root.section("window"), Window::DEFAULT);
        let slow = slow(&root, Slow::default());
        let limits = limits::read(root.section("limits"));
        let budget = limits.limits.history_bytes as u64;
        within_budget(&root, &history, budget);
        let channels = (root.sections("channels").into_iter())
            .filter_map(|section| channel(section, history.value, window.value, slow, budget))
            .collect();
        let file = Self {
            listen: root.value("listen", read::word(units::address)),
            api: root.value("api", read::word(units::address_or_none)),
            socket: root.value("socket", read::word(units::socket_or_none)),
            socket_mode: root.value("socket_mode", read::mode),
            socket_users: root.list("socket_users", uid),
            driver: root.value("driver", read::word(units::driver)),
            shards: root.value("shards", read::whole_word(units::shards)),
            max_connections: root.value("max_connections", read::whole_word(units::connections)),
            origins: origins(&root),
            hosts: root.list("hosts", read::word(units::host)),
            api_key: root.value("api_key", read::text),
            api_key_file: root.value("api_key_file", path),
            no_dev: root.value("no_dev", read::switch),
            i_understand_insecure: root.value("i_understand_insecure", read::switch),
            history,
            window,
            slow,
            channels,
            limits,
        };
        root.end();
        file
    }
}

/// One `[[channels]]`: what it does not say is as for all channels.
fn channel(
    section: Section<'_, '_>,
    all_history: HistoryRule,
    all_window: Window,
    all_slow: Slow,
    budget: u64,
) -> Option<Rule> {
    let pattern = section.value("match", |value| Pattern::parse(&read::text(value)?));
    let history = history(section.section("history"), all_history);
    let window = window(section.section("window"), all_window);
    let slow = slow(&section, all_slow);
    within_budget(&section, &history, budget);
    if pattern.is_none() && !section.has("match") {
        section.complain("this rule has no \"match\": write match = \"room:*\", for example");
    }
    section.end();
    let pattern = pattern?.value;
    Some(Rule { pattern, history: history.value, window: window.value, slow })
}

fn history(section: Section<'_, '_>, rest: HistoryRule) -> Kept<HistoryRule> {
    let count = section.value("count", |value| between(read::whole(value)?, 0, 1 << 32, ""));
    let bytes = section.value("bytes", |value| {
        let none = "; a channel that keeps nothing says count = 0";
        bytes_between(read::size(value)?, 1 << 10, 1 << 40, none)
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

fn window(section: Section<'_, '_>, rest: Window) -> Kept<Window> {
    let count = section.value("count", |value| {
        let why = ": without a window nobody could be behind by even one message";
        between(read::whole(value)?, 1, 1 << 24, why)
    });
    let bytes =
        section.value("bytes", |value| bytes_between(read::size(value)?, 1 << 10, 1 << 40, ""));
    section.end();
    let bytes = bytes.unwrap_or_else(|| Sourced::default(rest.bytes as u64));
    let value =
        Window { count: count.map_or(rest.count, |said| said.value), bytes: bytes.value as usize };
    Kept { value, bytes }
}

fn slow(section: &Section<'_, '_>, rest: Slow) -> Slow {
    section.value("slow", read::word(units::slow)).map_or(rest, |said| said.value)
}

/// One channel's history must not be larger than what the node keeps for all. Only what a table
/// says itself is complained about there: the default fits into the smallest budget (1 MiB).
fn within_budget(section: &Section<'_, '_>, history: &Kept<HistoryRule>, budget: u64) {
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

fn origins(root: &Section<'_, '_>) -> Option<Sourced<Vec<String>>> {
    let list = root.list("origins", |value| {
        let origin = read::text(value)?;
        Origins::new(std::slice::from_ref(&origin)).map(|_| origin)
    })?;
    // Each is right by itself; that does not make the list right ("*" stands alone).
    if let Err(what) = Origins::new(&list.value) {
        root.complain_at(&list.source, format!("origins: {what}"));
        return None;
    }
    Some(list)
}

fn uid(value: &DeValue<'_>) -> Result<u32, String> {
    let ask = "a numeric user id, as `id -u NAME` prints it";
    let uid = value.as_integer().ok_or_else(|| expected(ask, value))?;
    u32::from_str_radix(uid.as_str(), uid.radix()).map_err(|_| format!("{uid} is not {ask}"))
}

fn path(value: &DeValue<'_>) -> Result<PathBuf, String> {
    match read::text(value)? {
        text if text.is_empty() => Err("a path is not empty".into()),
        text => Ok(text.into()),
    }
}

fn between(number: u64, min: u64, max: u64, why: &str) -> Result<u64, String> {
    if (min..=max).contains(&number) {
        return Ok(number);
    }
    Err(format!("{number} is not between {min} and {max}{why}"))
}

fn bytes_between(number: u64, min: u64, max: u64, why: &str) -> Result<u64, String> {
    if (min..=max).contains(&number) {
        return Ok(number);
    }
    let [number, min, max] = [number, min, max].map(units::bytes_text);
    Err(format!("{number} is not between {min} and {max}{why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(toml: &str) -> Vec<String> {
        read("f.toml", toml).1.iter().map(Problem::to_string).collect()
    }

    /// That there is one problem, at this place, whose sentence has these words.
    #[track_caller]
    fn refused(toml: &str, place: &str, words: &str) {
        let problems = problems(toml);
        assert_eq!(problems.len(), 1, "{toml}: {problems:#?}");
        let right = problems[0].starts_with(&format!("f.toml:{place}: "));
        assert!(right && problems[0].contains(words), "{toml}: {}", problems[0]);
    }

    #[test]
    fn a_whole_file_is_read() {
        let (file, problems) = read(
            "f.toml",
            r#"
            listen = "127.0.0.1:1"
            api = "none"
            socket = "/run/f.sock"
            socket_mode = "0660"
            socket_users = [33, 0o10]
            driver = "epoll"
            shards = 2
            max_connections = 1_000
            origins = ["https://a.example"]
            hosts = ["a.example", "[::1]:80"]
            api_key_file = "key"
            no_dev = true
            history = { count = 7 }
            window = { bytes = "2MB" }
            slow = "window"
            [[channels]]
            match = "room:*"
            history = { age = "1h" }
            [[channels]]
            match = "log:**"
            history = { count = 0 }
            window = { count = 5 }
            slow = "latest"
            [limits]
            message_bytes = "1KB"
            stall = "90s"
            "#,
        );
        assert_eq!(problems, []);
        assert_eq!(file.api.unwrap().value, OptionalAddress::Off);
        assert_eq!(file.socket_mode.unwrap().value, 0o660);
        assert_eq!(file.socket_users.unwrap().value, [33, 8]);
        assert_eq!(file.max_connections.unwrap().value, 1_000);
        assert_eq!(file.hosts.unwrap().value, ["a.example", "[::1]:80"]);
        assert_eq!(file.history.value, HistoryRule { count: 7, ..HistoryRule::DEFAULT });
        let [room, log] = &file.channels[..] else { panic!("{:?}", file.channels) };
        let age_ms = 3_600_000;
        assert_eq!(room.history, HistoryRule { count: 7, age_ms, ..HistoryRule::DEFAULT });
        assert_eq!(room.window, Window { bytes: 2_000_000, ..Window::DEFAULT });
        assert_eq!(log.history.count, 0);
        assert_eq!((file.slow, room.slow, log.slow), (Slow::Window, Slow::Window, Slow::Latest));
        assert_eq!(log.window, Window { count: 5, bytes: 2_000_000 });
        assert_eq!(file.limits.limits.message_bytes, 1_000);
        assert_eq!(file.limits.limits.stall_ms, 90_000);
    }

    #[test]
    fn wrong_values_are_refused_where_they_stand() {
        refused("listen = \"here\"", "1:10", "IP:PORT");
        refused("listen = 7070", "1:10", "a string");
        refused("driver = \"kqueue\"", "1:10", "\"uring\"");
        refused("shards = 0", "1:10", "from 1 to 64");
        refused("shards = 65", "1:10", "from 1 to 64");
        refused("shards = -1", "1:10", "-1");
        refused("shards = 1.5", "1:10", "a float");
        refused("max_connections = 0", "1:19", "from 1 to");
        refused("socket_mode = 660", "1:15", "0o660");
        refused("socket_users = [1, \"www\"]", "1:20", "id -u");
        refused("socket_users = [4294967296]", "1:17", "id -u");
        refused("origins = [\"https://a.example\", \"b.example\"]", "1:33", "origin");
        refused("hosts = [\"a.example\", \"https://b\"]", "1:23", "no scheme");
        refused("hosts = \"a.example\"", "1:9", "a list");
        refused("history = 5", "1:11", "history: this is a table");
        refused("history = { count = 5, bytes = \"0B\" }", "1:32", "count = 0");
        refused("history = { age = \"0s\" }", "1:19", "count = 0");
        refused("history = { age = 5 }", "1:19", "unit");
        refused("history = { age = \"5 parsecs\" }", "1:19", "unit");
        refused("history = { bytes = \"1GB\" }", "1:21", "history_bytes = 256MB");
        refused("history = { bites = 1 }", "1:13", "\"bytes\"");
        refused("window = { count = 0 }", "1:20", "between 1");
        refused("slow = \"drop\"", "1:8", "\"disconnect\", \"window\" and \"latest\"");
        refused("slow = true", "1:8", "a string");
        refused("[limits]\nring_bytes = \"16 parsecs\"", "2:14", "16KB");
        refused("[limits]\nmessage_bytes = 0", "2:17", "between 1B and 1GiB");
        refused("[limits]\nping = \"0s\"", "2:8", "between 100ms");
        refused("[limits]\nhead_fields = 129", "2:15", "128");
        refused("[limits]\nmax_connections = 5", "2:1", "top of the file");
        refused("[limits]\npongs = \"5s\"", "2:1", "\"pong\"");
    }

    #[test]
    fn channel_rules_are_checked() {
        refused("[[channels]]\nhistory = { count = 1 }", "1:1", "no \"match\"");
        refused("[[channels]]\nmatch = \"a*\"", "2:9", "whole segment");
        refused("[[channels]]\nmatch = \"a\"\nhistroy = { count = 1 }", "3:1", "\"history\"");
        refused("[[channels]]\nmatch = \"a\"\nslow = \"no\"", "3:8", "\"latest\"");
        refused("[channels]\nmatch = \"a\"", "1:1", "[[channels]]");
        let big = "[[channels]]\nmatch = \"a\"\nhistory = { bytes = \"1GB\" }";
        refused(big, "3:21", "does not fit");
    }

    #[test]
    fn all_problems_are_told_at_once_in_their_order() {
        let places: Vec<_> = problems("lisen = 1\nshards = 0\n[limits]\nidle = 1\nidel = 2\n")
            .iter()
            .map(|problem| problem.split(": ").next().unwrap().to_owned())
            .collect();
        assert_eq!(places, ["f.toml:1:1", "f.toml:2:10", "f.toml:4:8", "f.toml:5:1"]);
    }
}
