//! The server as people start it: a process of its own, and what it says.
#![allow(dead_code)] // each test binary uses its part

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::wait_until;

/// A process that is killed where a test fails; else it has ended by itself.
pub struct Process {
    /// The process.
    pub child: Child,
    /// What it says from here on, as long as somebody reads it.
    pub log: Option<BufReader<ChildStderr>>,
    /// What it has said so far.
    pub said: String,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `fanfare serve`, with nothing of whoever runs the tests.
pub fn serve() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanfare"));
    command.arg("serve");
    alone(&mut command);
    command
}

/// Gives a command nothing but a pipe for what it says.
pub fn alone(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let is_ours = name.to_str().is_some_and(|name| name.starts_with("FANFARE_"));
        if is_ours || name == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
}

impl Process {
    /// Starts it and reads what it says until it is ready, or until it ends: whether it is ready.
    pub fn begin(command: &mut Command) -> (Self, bool) {
        let mut child = command.spawn().expect("the binary was built");
        let mut log = BufReader::new(child.stderr.take().expect("a pipe was asked for"));
        let mut said = String::new();
        let is_ready = loop {
            let before = said.len();
            if log.read_line(&mut said).unwrap() == 0 {
                break false;
            }
            if said[before..].contains("\"ready\"") {
                break true;
            }
        };
        (Self { child, log: Some(log), said }, is_ready)
    }

    /// Starts one that says what it says to somebody else.
    pub fn silent(command: &mut Command) -> Self {
        let child = command.spawn().expect("the binary was built");
        Self { child, log: None, said: String::new() }
    }

    /// Starts a server and waits until it is ready.
    pub fn start(command: &mut Command) -> Self {
        let (process, is_ready) = Self::begin(command);
        assert!(is_ready, "it ended before it was ready: {}", process.said);
        process
    }

    /// Where it listens: `listen` or `api` of the event that says that it is ready.
    pub fn address(&self, name: &str) -> SocketAddr {
        let line = self.said.lines().last().expect("it has said that it is ready");
        let event: Value = serde_json::from_str(line).unwrap();
        let address = event["fields"][name].as_str().or(event[name].as_str());
        address.unwrap_or_else(|| panic!("no {name} in {line}")).parse().unwrap()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits until it ends: its exit code.
    pub fn end(&mut self) -> Option<i32> {
        let mut status = None;
        wait_until("it ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap().code()
    }

    /// All that it said, once it has ended.
    pub fn all_said(&mut self) -> &str {
        if let Some(mut log) = self.log.take() {
            log.read_to_string(&mut self.said).unwrap();
        }
        &self.said
    }
}
