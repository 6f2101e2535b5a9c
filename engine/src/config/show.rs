//! The configuration as TOML: what would be used and who said it, or all defaults explained.
//!
//! Both are files that can be read back, but for the API key, which is never shown.

use std::fmt::Write;

use super::limits::ROWS;
use super::shown;
use super::units::{bytes_text, driver_name, millis_text};
use super::{Config, Overrides, Source, load};
use crate::node::Settings;
use crate::rule::{HistoryRule, Window};

impl Config {
    /// Everything that would be used, with who said it; the API key as `***`.
    pub fn effective_toml(&self) -> String {
        let mut page = String::new();
        for Line { key, value, absent, .. } in LINES {
            let source = self.sources.get(*key).unwrap_or(&Source::Default);
            match value(self) {
                Some(value) => put(&mut page, &format!("{key} = {value}"), source),
                None => writeln!(page, "# {key}: {absent}").expect("a String takes all"),
            }
        }
        writeln!(page, "# development mode: {}", if self.settings.dev { "on" } else { "off" })
            .expect("a String takes all");
        let rest = self.settings.rules.common().last().expect("there is a last rule");
        writeln!(page, "\nhistory = {}", history(rest.history)).expect("a String takes all");
        writeln!(page, "window = {}", window(rest.window)).expect("a String takes all");
        writeln!(page, "slow = \"{}\"", rest.slow.as_str()).expect("a String takes all");
        page.push_str(&shown::page(&self.settings));
        page.push_str("\n[limits]\n");
        for row in ROWS {
            let source = self.sources.get(&format!("limits.{}", row.key));
            let line = format!("{} = {}", row.key, row.toml(&self.settings.limits));
            put(&mut page, &line, source.unwrap_or(&Source::Default));
        }
        page
    }
}

/// A key before the first table.
struct Line {
    key: &'static str,
    about: &'static str,
    /// The value as TOML; `None` where nothing is set.
    value: fn(&Config) -> Option<String>,
    /// What that means.
    absent: &'static str,
}

/// In the order in which they are shown.
static LINES: &[Line] = &[
    Line {
        key: "listen",
        about: "where clients connect: WebSocket, SSE, long-poll (--listen, FANFARE_LISTEN)",
        value: |config| Some(quoted(&config.settings.listen.to_string())),
        absent: "",
    },
    Line {
        key: "api",
        about: "where backends publish over HTTP, or \"none\" (--api, FANFARE_API)",
        value: |config| Some(quoted_or_none(config.settings.api.map(|api| api.to_string()))),
        absent: "",
    },
    Line {
        key: "socket",
        about: "where backends of this machine publish, or \"none\" (--socket, FANFARE_SOCKET)",
        value: |config| {
            let path = config.settings.socket.as_ref();
            Some(quoted_or_none(path.map(|path| path.display().to_string())))
        },
        absent: "",
    },
    Line {
        key: "socket_mode",
        about: "the mode of that socket, in octal",
        value: |config| Some(quoted(&format!("{:04o}", config.settings.socket_mode))),
        absent: "",
    },
    Line {
        key: "socket_users",
        about: "numeric ids of users who may publish there, beside root and the server's own",
        value: |config| Some(format!("{:?}", config.settings.socket_users)),
        absent: "",
    },
    Line {
        key: "driver",
        about: "\"auto\", \"uring\" or \"epoll\" (--driver, FANFARE_DRIVER)",
        value: |config| Some(quoted(driver_name(config.settings.driver))),
        absent: "",
    },
    Line {
        key: "shards",
        about: "threads that serve clients, 1 to 64 (--shards, FANFARE_SHARDS)",
        value: |config| config.settings.shards.map(|shards| shards.to_string()),
        absent: "as many as cores and connections need",
    },
    Line {
        key: "max_connections",
        about: "connections of the node (--max-connections, FANFARE_MAX_CONNECTIONS)",
        value: |config| {
            let Settings { connections_asked, limits, .. } = &config.settings;
            connections_asked.then(|| limits.connections.to_string())
        },
        absent: "what shards, driver and the limits of the process can hold",
    },
    Line {
        key: "origins",
        about: "pages that may connect, beside the same host and, in development mode, those of\n\
                # this machine: [\"https://app.example.com\"]",
        value: |config| Some(list(&config.origins)),
        absent: "",
    },
    Line {
        key: "hosts",
        about: "names under which clients are answered, beside loopback ones:\n\
                # [\"app.example.com\"]; with none, every name, but in development mode only\n\
                # loopback ones (--hosts, FANFARE_HOSTS)",
        value: |config| Some(list(&config.hosts)),
        absent: "",
    },
    Line {
        key: "trusted_proxies",
        about: "proxies that are believed when they say for whom they ask: addresses and ranges,\n\
                # [\"127.0.0.1\", \"10.0.0.0/8\"]; their clients are counted, and they are not",
        value: |config| Some(list(&config.trusted_proxies)),
        absent: "",
    },
    Line {
        key: "proxy_header",
        about: "where they say it: \"X-Forwarded-For\" or \"Forwarded\"; the other is not read",
        value: |config| {
            let proxies = &config.settings.proxies;
            (!proxies.is_empty()).then(|| quoted(proxies.field.name()))
        },
        absent: "\"X-Forwarded-For\", where there are trusted proxies",
    },
    Line {
        key: "proxy_protocol",
        about: "whether each connection of theirs begins with a PROXY header (v1, v2);\n\
                # then nobody else may connect",
        value: |config| Some(config.settings.proxies.proxy_protocol.to_string()),
        absent: "",
    },
    Line {
        key: "api_tls",
        about: "what the API speaks TLS with, in PEM, read again when the files change:\n\
                # { certificate = \"chain.pem\", key = \"key.pem\" }",
        value: |config| {
            let files = config.settings.api_tls.as_ref()?;
            let path = |path: &std::path::Path| quoted(&path.display().to_string());
            let (certificate, key) = (path(&files.certificate), path(&files.key));
            Some(format!("{{ certificate = {certificate}, key = {key} }}"))
        },
        absent: "none; the API speaks plain HTTP",
    },
    Line {
        key: "api_key",
        about: "what the API asks for as Bearer, 16 characters or more (or api_key_file = PATH,\n\
                # or FANFARE_API_KEY)",
        value: |config| config.settings.api_key.as_ref().map(|_| quoted("***")),
        absent: "none; without [[api_keys]] the API asks for no key",
    },
    Line {
        key: "no_dev",
        about: "no development mode, which is on while all listeners are on loopback and there\n\
                # is no API key (--no-dev, FANFARE_NO_DEV)",
        value: |config| Some(config.no_dev.to_string()),
        absent: "",
    },
    Line {
        key: "i_understand_insecure",
        about: "accept listeners that other machines reach and that ask nobody who they are\n\
                # (--i-understand-insecure)",
        value: |config| Some(config.insecure_understood.to_string()),
        absent: "",
    },
];

/// Every key with its default and what it is for: a file to begin with.
pub fn default_toml() -> String {
    let defaults = load(Overrides::default()).expect("the defaults have no problem");
    let rest = defaults.settings.rules.common().last().expect("there is a last rule");
    let mut page = String::from(
        "# Fanfare's configuration: every key with its default. Flags win over the\n\
         # environment, the environment over this file. `fanfare config check --config FILE`\n\
         # says what counts.\n",
    );
    for Line { key, about, value, absent } in LINES {
        match value(&defaults) {
            // Depends on who asks: written down it would be somebody else's.
            Some(value) if *key == "socket" => {
                write!(page, "\n# {about}\n# {key} = {value}\n").expect("a String takes all");
            }
            Some(value) => {
                write!(page, "\n# {about}\n{key} = {value}\n").expect("a String takes all")
            }
            None => write!(page, "\n# {about}\n# {key}: {absent}\n").expect("a String takes all"),
        }
    }
    write!(
        page,
        "\n# what a channel keeps for those who return; whatever is reached first trims\n\
         history = {}\n\
         \n# what a connected client may be behind by, whatever the history\n\
         window = {}\n\
         \n# what becomes of one that is behind by more: \"disconnect\" (it resumes), or a gap\n\
         # notice and on with the oldest that is kept (\"window\") or the newest (\"latest\")\n\
         slow = \"{}\"\n\
         \n# Channels that differ; the first match wins. `:` parts segments, `*` is one, `**` any\n\
         # rest.\n\
         # [[channels]]\n# match = \"room:*\"\n# history = {{ count = 100, age = \"1h\" }}\n\
         # allow = {{ anonymous = [\"subscribe\"], user = [\"publish\"] }}\n\
         # presence = false\n\
         \n# Who clients are: their tokens are signed by this key, and then nothing is allowed\n\
         # that neither the token nor a rule allows (docs/AUTH.md).\n\
         # [auth]\n# secret_file = \"token-secret\"\n\
         \n# What a backend may do, by the hash of its key (`fanfare api-key` makes one).\n\
         # [[api_keys]]\n# hash = \"sha256:ID:HEX\"\n# actions = [\"publish\", \"read\"]\n\
         \n# Customers who must not see each other's channels.\n\
         # [[tenants]]\n# name = \"acme\"\n# [[tenants.keys]]\n# kid = \"2026\"\n\
         # secret_file = \"acme-secret\"\n\
         \n[limits]\n",
        history(rest.history),
        window(rest.window),
        rest.slow.as_str(),
    )
    .expect("a String takes all");
    for row in ROWS {
        let value = row.toml(&defaults.settings.limits);
        write!(page, "# {}\n{} = {value}\n", row.about, row.key).expect("a String takes all");
    }
    page
}

fn put(page: &mut String, line: &str, source: &Source) {
    writeln!(page, "{line:<44} # {source}").expect("a String takes all");
}

pub(super) fn history(history: HistoryRule) -> String {
    let HistoryRule { count, bytes, age_ms } = history;
    let (bytes, age) = (bytes_text(bytes as u64), millis_text(age_ms));
    format!("{{ count = {count}, bytes = \"{bytes}\", age = \"{age}\" }}")
}

pub(super) fn window(window: Window) -> String {
    format!("{{ count = {}, bytes = \"{}\" }}", window.count, bytes_text(window.bytes as u64))
}

pub(super) fn list(entries: &[String]) -> String {
    let entries: Vec<_> = entries.iter().map(|entry| quoted(entry)).collect();
    format!("[{}]", entries.join(", "))
}

fn quoted_or_none(text: Option<String>) -> String {
    quoted(text.as_deref().unwrap_or("none"))
}

/// A TOML string, escaped where it must be.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}
