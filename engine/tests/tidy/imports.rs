//! Which part may name which: imports run one way ("Rules of the house" in docs/ARCHITECTURE.md).
//!
//! A path counts wherever it stands, in a `use` or in the middle of code. Tests may name anything.

use super::Complaint;
use super::source::Source;

/// A folder or file, and what it must not name.
struct Border {
    /// Beginnings of paths from the top of the workspace.
    of: &'static [&'static str],
    /// Beginnings of paths that are let through all the same.
    but: &'static [&'static str],
    /// Beginnings of module paths.
    not: &'static [&'static str],
    why: &'static str,
}

const BORDERS: &[Border] = &[
    Border {
        of: &["protocol/src/", "identity/src/"],
        but: &[],
        not: &[
            "fanfare",
            // Addresses are values; what follows is sockets.
            "std::net::TcpListener",
            "std::net::TcpStream",
            "std::net::UdpSocket",
            "std::net::ToSocketAddrs",
            "std::os",
            "std::fs",
            "std::env",
            "std::thread",
            "std::time::Instant",
            "std::time::SystemTime",
            "std::process",
            "libc",
            "rustix",
            "getrandom",
            "tokio",
            "mio",
        ],
        why: "the protocol is pure: bytes in, events and bytes out",
    },
    Border {
        of: &["engine/src/"],
        but: &[
            "engine/src/driver/",
            "engine/src/shard/mod.rs",
            "engine/src/node",
            "engine/src/sim",
        ],
        not: &["crate::driver::uring", "crate::driver::epoll", "crate::driver::sim"],
        why: "only the tick and the start-up code know which driver runs",
    },
    Border {
        of: &["engine/src/"],
        but: &[
            "engine/src/ring/",
            "engine/src/os/waker.rs", // what the ring wakes shards with
            "engine/src/sequencer/",
            "engine/src/shard/mod.rs",
            "engine/src/node",
        ],
        not: &["crate::ring"],
        why: "the sequencer writes the ring and the tick reads it; nobody else touches it",
    },
    Border {
        of: &["engine/src/control/", "engine/src/ingest/", "engine/src/cli/"],
        but: &[],
        not: &["crate::driver", "crate::ring", "crate::fanout", "crate::shard", "crate::transport"],
        why: "the control plane talks to the sequencer's inbox and to nothing else",
    },
    Border {
        of: &["engine/src/sequencer/"],
        but: &[],
        not: &["crate::shard", "crate::fanout", "crate::transport"],
        why: "the sequencer knows shards by number only",
    },
    Border {
        of: &["engine/src/fanout/"],
        but: &[],
        not: &["crate::driver", "crate::ring", "crate::shard", "crate::transport"],
        why: "fan-out knows logs and cursors, and neither sockets nor clients",
    },
    Border {
        of: &["engine/src/session/"],
        but: &[],
        not: &["crate::ring", "crate::shard"],
        why: "a session is a pure machine: what it wants is done by the shard",
    },
    Border {
        of: &["engine/src/fanout/", "engine/src/transport/"],
        but: &[],
        not: &["crate::session"],
        why: "sessions are built on these, which do not look back",
    },
    Border {
        of: &["engine/src/ring/", "engine/src/driver/", "engine/src/sequencer/"],
        but: &[],
        not: &["crate::session"],
        why: "the order and the kernel know sessions by token only",
    },
    Border {
        of: &["engine/src/ring/", "engine/src/driver/"],
        but: &[],
        not: &["crate::sequencer", "crate::fanout", "crate::shard", "crate::transport"],
        why: "what is unsafe stays small: it knows nothing of channels and connections",
    },
    Border {
        of: &[
            "engine/src/sequencer/",
            "engine/src/ring/",
            "engine/src/driver/",
            "engine/src/fanout/",
            "engine/src/session/",
            "engine/src/shard/",
            "engine/src/transport/",
        ],
        but: &[],
        not: &["crate::control", "crate::ingest", "crate::cli", "crate::config", "crate::node"],
        why: "the data plane is started by the rest and does not look back",
    },
    Border {
        of: &["engine/src/", "ffi/src/"],
        but: &["engine/src/sim/"],
        not: &["crate::sim", "fanfare::sim"],
        why: "the simulation looks at the server, and no part of the server uses it",
    },
    Border {
        of: &["engine/src/control/", "engine/src/ingest/"],
        but: &[],
        not: &["crate::cli", "crate::config"],
        why: "they are handed what they need when they are started",
    },
];

/// Complains about every path that crosses a border.
pub(super) fn run_one_way(source: &Source) -> Vec<Complaint> {
    let within = |places: &[&str]| places.iter().any(|place| source.path.starts_with(place));
    let borders: Vec<_> =
        BORDERS.iter().filter(|border| within(border.of) && !within(border.but)).collect();
    if borders.is_empty() {
        return Vec::new();
    }
    let mut complaints = Vec::new();
    for (line, path) in paths(source) {
        let crossed = borders.iter().find(|border| border.not.iter().any(|not| below(&path, not)));
        if let Some(Border { why, .. }) = crossed
            && !source.is_test(line)
        {
            let what = format!("`{path}` must not be named here: {why}");
            complaints.push(Complaint::new(line, what));
        }
    }
    complaints
}

/// Whether `path` is `top` or inside of it.
fn below(path: &str, top: &str) -> bool {
    path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Every path of two parts or more that the code names, from the root of its crate, with its line.
fn paths(source: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let code = source.code.as_str();
    let part = |char: char| char.is_alphanumeric() || char == '_';
    let mut at = 0;
    while let Some(next) = code[at..].find(part) {
        let start = at + next;
        let mut tree = Tree { code, at: start, found: Vec::new() };
        tree.read("");
        at = tree.at.max(start + 1);
        found.extend(tree.found);
    }
    let own = module_of(&source.path);
    found
        .into_iter()
        .filter(|(_, path)| path.contains("::") || path == "fanfare")
        .map(|(at, path)| (source.line_of(at), from_root(&path, &own)))
        .collect()
}

/// Reads one path, or one tree of paths in braces.
struct Tree<'c> {
    code: &'c str,
    at: usize,
    found: Vec<(usize, String)>,
}

impl Tree<'_> {
    fn read(&mut self, before: &str) {
        let start = self.at;
        let length = self.code[start..].find(|c: char| !c.is_alphanumeric() && c != '_');
        self.at = length.map_or(self.code.len(), |length| start + length);
        let path = format!("{before}{}", &self.code[start..self.at]);
        if !self.code[self.at..].starts_with("::") {
            self.found.push((start, path));
            return;
        }
        self.at += 2;
        let before = format!("{path}::");
        match self.code[self.at..].chars().next() {
            Some('{') => self.read_braces(&before),
            Some(char) if char.is_alphanumeric() || char == '_' => self.read(&before),
            // `name::<T>` or `name::*`: the path ends here.
            _ => self.found.push((start, path)),
        }
    }

    fn read_braces(&mut self, before: &str) {
        self.at += 1;
        while let Some(char) = self.code[self.at..].chars().next() {
            match char {
                '}' => {
                    self.at += 1;
                    return;
                }
                '{' => self.read_braces(before),
                char if char.is_alphanumeric() || char == '_' => self.read(before),
                char => self.at += char.len_utf8(),
            }
        }
    }
}

/// The module that a file is, in parts from the root of its crate.
fn module_of(path: &str) -> Vec<&str> {
    let inside = path.split_once("/src/").map_or(path, |(_, inside)| inside);
    let mut parts: Vec<_> = inside.trim_end_matches(".rs").split('/').collect();
    if matches!(parts.last(), Some(&"mod" | &"lib" | &"main")) {
        parts.pop();
    }
    parts
}

/// A path as its crate's root would write it. Modules inside of a file are not followed: what they
/// call `super` is taken for the file's own, which can only name less.
fn from_root(path: &str, own: &[&str]) -> String {
    let mut own = own.to_vec();
    let mut rest = path;
    let mut relative = false;
    loop {
        if let Some(after) = rest.strip_prefix("super::") {
            own.pop();
            (rest, relative) = (after, true);
        } else if let Some(after) = rest.strip_prefix("self::") {
            (rest, relative) = (after, true);
        } else {
            break;
        }
    }
    if !relative {
        return path.to_owned();
    }
    own.insert(0, "crate");
    own.push(rest);
    own.join("::")
}

#[cfg(test)]
fn lines_of(path: &str, text: &str) -> Vec<usize> {
    run_one_way(&Source::new(path, text)).iter().map(|complaint| complaint.line).collect()
}

#[test]
fn crossed_borders_are_found() {
    for (path, text) in [
        ("protocol/src/id.rs", "use std::time::Instant;"),
        ("protocol/src/id.rs", "use fanfare::clock;"),
        ("protocol/src/ws/mod.rs", "fn f() { std::thread::sleep(x) }"),
        ("protocol/src/ws/mod.rs", "use std::net::{Ipv6Addr, TcpStream};"),
        ("engine/src/shard/table.rs", "use crate::driver::uring::Uring;"),
        ("engine/src/shard/table.rs", "use crate::ring::Reader;"),
        ("engine/src/shard/table.rs", "use super::super::ring::Reader;"),
        ("engine/src/fanout/batch.rs", "use crate::driver::Token;"),
        ("engine/src/fanout/mod.rs", "use crate::session::Outbox;"),
        ("engine/src/session/mod.rs", "use crate::shard::Shard;"),
        ("engine/src/sequencer/mod.rs", "use crate::session::Session;"),
        ("engine/src/transport/poll.rs", "use crate::{clock, driver::{epoll, Token}};"),
        ("engine/src/control/api.rs", "use crate::driver::Token;"),
        ("engine/src/cli/serve.rs", "fn f() { crate::shard::run() }"),
        ("engine/src/ingest/mod.rs", "use super::ring;"),
        ("engine/src/sequencer/mod.rs", "use crate::shard;"),
        ("engine/src/driver/uring/mod.rs", "use crate::sequencer::command::Entry;"),
        ("engine/src/shard/mod.rs", "use crate::node::Settings;"),
        ("engine/src/control/mod.rs", "use crate::config;"),
    ] {
        assert_eq!(lines_of(path, text), [1], "{path}: {text}");
    }
}

#[test]
fn open_borders_are_not() {
    for (path, text) in [
        ("protocol/src/id.rs", "use std::fmt;\nuse crate::limits::X;\nuse std::net::Ipv6Addr;"),
        ("engine/src/shard/mod.rs", "use crate::driver::uring::Uring;\nuse crate::ring::Reader;"),
        ("engine/src/shard/mod.rs", "// crate::node\nconst A: &str = \"crate::node\";"),
        ("engine/src/node.rs", "use crate::{driver::epoll, ring, shard, control};"),
        ("engine/src/sequencer/command.rs", "use crate::driver::Token;\nuse crate::ring;"),
        ("engine/src/control/api.rs", "use crate::sequencer::inbox::Inbox;\nuse crate::strings;"),
        ("engine/src/shard/table.rs", "#[cfg(test)]\nmod tests {\n    use crate::ring;\n}"),
        ("engine/src/shard/table.rs", "use super::sweep::ring;\nlet ring = ring();"),
    ] {
        assert_eq!(lines_of(path, text), [0; 0], "{path}: {text}");
    }
}
