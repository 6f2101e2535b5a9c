//! G4 to G6, D2, and the signals: the binary, its exit codes, and what it says.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Client, wait_until};

/// A server that runs, and is killed if a test fails.
struct Server {
    child: Child,
    log: BufReader<ChildStderr>,
    listen: SocketAddr,
    folder: TempDir,
}

fn command(folder: &Path, flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanfare"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("FANFARE_") || name == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    command.env("XDG_RUNTIME_DIR", folder).current_dir(folder).args(flags);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

impl Server {
    /// Starts and waits until it is ready.
    fn start(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let flags = [&["--listen", "127.0.0.1:0", "--api", "127.0.0.1:0"], flags].concat();
        let mut child = command(folder.path(), &flags).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("\"ready\"") {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "it ended before it was ready");
        }
        let event: Value = serde_json::from_str(&line).unwrap();
        let said = |name: &str| event["fields"].get(name).or(event.get(name)).cloned();
        let listen = said("listen").unwrap().as_str().unwrap().parse().unwrap();
        Self { child, log, listen, folder }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Its exit code (as a shell gives it), and the rest of what it said.
    fn end(mut self) -> (i32, String) {
        let mut rest = String::new();
        wait_until("it ends", || self.child.try_wait().unwrap().is_some());
        self.log.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code().unwrap_or(-1), rest)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it has ended already, unless a test failed
        let _ = self.child.wait();
    }
}

/// A start that does not become one: its exit code and what it said.
fn refused(folder: &Path, flags: &[&str]) -> (i32, String) {
    let mut child = command(folder, flags).spawn().unwrap();
    wait_until("it refuses", || child.try_wait().unwrap().is_some());
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    (child.wait().unwrap().code().unwrap_or(-1), said)
}

#[track_caller]
fn is_refused(flags: &[&str], code: i32, words: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let (ended, said) = refused(folder.path(), flags);
    assert_eq!(ended, code, "{flags:?}: {said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is missing: {said}");
    }
}

#[test]
fn a_signal_ends_it_in_order() {
    for (signal, driver) in [(Signal::TERM, "uring"), (Signal::INT, "epoll")] {
        let server = Server::start(&["--driver", driver]);
        let mut client = Client::websocket(server.listen, "/ws?channels=a");
        let socket = server.folder.path().join("fanfare.sock");
        assert!(socket.exists());
        server.signal(signal);
        assert_eq!(client.close_code(), 1012);
        drop(client);
        let (code, said) = server.end();
        assert_eq!(code, 0, "{said}");
        assert!(said.contains("\"stopped\"") && !said.contains("panic"), "{said}");
        assert!(!socket.exists(), "it leaves nothing behind");
    }
}

#[test]
fn a_second_signal_ends_it_now() {
    let server = Server::start(&[]);
    let mut client = Client::websocket(server.listen, "/ws?channels=a");
    server.signal(Signal::TERM);
    assert_eq!(client.close_code(), 1012); // it waits for an answer, which does not come
    server.signal(Signal::TERM);
    assert_eq!(server.end().0, 128 + 15);
}

#[test]
fn d2_a_socket_that_is_in_use_and_one_that_was() {
    let flags = ["--listen", "127.0.0.1:0", "--api", "none"];
    let mut server = Server::start(&[]);
    let (code, said) = refused(server.folder.path(), &flags);
    assert!([69, 78].contains(&code) && said.contains("fanfare.sock"), "{code}: {said}");
    let socket = server.folder.path().join("fanfare.sock");
    drop(Client::websocket(server.listen, "/ws?channels=a")); // and the first one lives on
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    assert!(socket.exists(), "who is killed leaves it");
    let mut next = command(server.folder.path(), &flags).spawn().unwrap();
    let mut line = String::new();
    let mut log = BufReader::new(next.stderr.take().unwrap());
    while !line.contains("\"ready\"") {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "a stale socket is replaced");
    }
    kill_process(Pid::from_child(&next), Signal::TERM).unwrap();
    assert!(next.wait().unwrap().success());
}

#[test]
fn g6_addresses_that_cannot_be() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let words = ["Another process has the port", taken.as_str()];
    thread::scope(|scope| {
        scope.spawn(|| is_refused(&["--listen", &taken, "--api", "none"], 69, &words));
        scope.spawn(|| is_refused(&["--listen", "127.0.0.1:0", "--api", &taken], 69, &words));
        scope.spawn(|| {
            let flags = ["--listen", "192.0.2.1:0", "--i-understand-insecure", "--api", "none"];
            is_refused(&flags, 78, &["does not have that address"]);
        });
    });
}

#[test]
fn g4_more_connections_than_this_process_can_hold() {
    let any = ["--listen", "127.0.0.1:0", "--api", "none", "--socket", "none"];
    for driver in ["uring", "epoll"] {
        let more = ["--driver", driver, "--max-connections", "60000000", "--shards", "1"];
        let words = ["max_connections is 60000000", "raise the open files limit to"];
        is_refused(&[&any[..], &more].concat(), 78, &words);
    }
}

#[test]
fn g5_the_driver_that_was_asked_for_is_the_one_that_serves() {
    for driver in ["uring", "epoll"] {
        let server = Server::start(&["--driver", driver]);
        let mut client = Client::websocket(server.listen, "/ws?channels=a");
        server.signal(Signal::TERM);
        assert_eq!(client.close_code(), 1012);
        drop(client);
        assert_eq!(server.end().0, 0);
    }
}
