//! The configuration file, key by key.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::channels::{self, Rest, RuleDraft};
use super::document::{Document, Section};
use super::limits::{self, LimitsTable};
use super::proxies::ProxiesSaid;
use super::read;
use super::source::{Problem, Sourced};
use super::tenants::Tenants;
use super::tls::TlsSaid;
use super::units::{self, OptionalAddress};
use crate::admission::origin::Origins;
use crate::node::DriverChoice;
use crate::rule::{HistoryRule, Slow, Window};

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
    pub(super) proxies: ProxiesSaid,
    pub(super) api_tls: Option<TlsSaid>,
    pub(super) api_key: Option<Sourced<String>>,
    pub(super) api_key_file: Option<Sourced<PathBuf>>,
    pub(super) no_dev: Option<Sourced<bool>>,
    pub(super) i_understand_insecure: Option<Sourced<bool>>,
    pub(super) history: Kept<HistoryRule>,
    pub(super) window: Kept<Window>,
    pub(super) slow: Slow,
    pub(super) channels: Vec<RuleDraft>,
    pub(super) tenants: Tenants,
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
        let history = channels::history(root.section("history"), HistoryRule::DEFAULT);
        let window = channels::window(root.section("window"), Window::DEFAULT);
        let slow = channels::slow(&root, Slow::default());
        let limits = limits::read(root.section("limits"));
        let budget = limits.limits.history_bytes as u64;
        channels::within_budget(&root, &history, budget);
        let rest = Rest { history: history.value, window: window.value, slow, budget };
        let channels = channels::read_all(root.sections("channels"), rest);
        let file = Self {
            listen: root.value("listen", read::word(units::address)),
            api: root.value("api", read::word(units::address_or_none)),
            socket: root.value("socket", read::word(units::socket_or_none)),
            socket_mode: root.value("socket_mode", read::mode),
            socket_users: root.list("socket_users", read::id),
            driver: root.value("driver", read::word(units::driver)),
            shards: root.value("shards", read::whole_word(units::shards)),
            max_connections: root.value("max_connections", read::whole_word(units::connections)),
            origins: origins(&root),
            hosts: root.list("hosts", read::word(units::host)),
            proxies: ProxiesSaid::read(&root),
            api_tls: TlsSaid::read(root.section("api_tls")),
            api_key: root.value("api_key", read::text),
            api_key_file: root.value("api_key_file", read::path),
            no_dev: root.value("no_dev", read::switch),
            i_understand_insecure: root.value("i_understand_insecure", read::switch),
            history,
            window,
            slow,
            channels,
            tenants: Tenants::read(&root, rest),
            limits,
        };
        root.end();
        file
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::forwarded::ForwardedField;

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
            trusted_proxies = ["10.0.0.0/8", "::1"]
            proxy_header = "Forwarded"
            proxy_protocol = true
            api_key_file = "key"
            no_dev = true
            api_tls = { certificate = "chain.pem", key = "/etc/key.pem" }
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
        assert_eq!(file.proxies.list(), ["10.0.0.0/8", "::1"]);
        let proxies = file.proxies.proxies();
        assert!(proxies.proxy_protocol && proxies.field == ForwardedField::Forwarded);
        assert!(proxies.trusts([10, 1, 2, 3].into()) && file.proxies.problems().is_empty());
        assert_eq!(file.history.value, HistoryRule { count: 7, ..HistoryRule::DEFAULT });
        let [room, log] = &file.channels[..] else { panic!("{:?}", file.channels) };
        let age_ms = 3_600_000;
        let (room, log) = (&room.rule, &log.rule);
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
        refused("trusted_proxies = [\"::1\", \"10.1.0.0/8\"]", "1:27", "\"10.0.0.0/8\"");
        refused("proxy_header = \"X-Real-IP\"", "1:16", "\"Forwarded\"");
        refused("proxy_protocol = 1", "1:18", "proxy_protocol");
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
        refused(
            "[[channels]]\nmatch = \"a\"\nallow = { user = [\"read\"] }",
            "3:19",
            "\"history\"",
        );
        refused("[[channels]]\nmatch = \"a\"\nallow = { users = [] }", "3:11", "\"user\"");
        refused("[[channels]]\nmatch = \"a\"\nallow = [\"user\"]", "3:9", "a table");
        refused("[[channels]]\nmatch = \"a\"\npresence = \"on\"", "3:12", "true or false");
        let nobody = "[[channels]]\nmatch = \"{user}\"\nallow = { anonymous = [\"subscribe\"] }";
        refused(nobody, "3:9", "no name that could stand for {user}");
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
