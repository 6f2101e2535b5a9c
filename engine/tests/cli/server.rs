//! The command against a node of its own: start, tour, signals.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::{PATIENCE, Process, Run, code_on_a_full_disk, fanfare, run};

/// A node in a process of its own, on free ports, with its socket in a folder of its own.
struct Node {
    folder: TempDir,
    process: Process,
    /// The event of the log that says where it is.
    ready: Value,
}

impl Node {
    fn start(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = fanfare(folder.path());
        command.args(["--listen", "127.0.0.1:0", "--api", "127.0.0.1:0", "--driver", "epoll"]);
        let process = Process::start(command.args(["--shards", "2"]).args(flags));
        let ready = loop {
            let line = process.err_line();
            let event: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
            if event["fields"]["message"] == "ready" {
                break event["fields"].clone();
            }
        };
        Self { folder, process, ready }
    }

    fn url(&self) -> String {
        format!("http://{}", self.ready["listen"].as_str().unwrap())
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("fanfare.sock")
    }

    fn command(&self) -> Command {
        let mut command = fanfare(self.folder.path());
        command.env("FANFARE_URL", self.url());
        command
    }

    /// A `tail` that follows: something is published until somebody follows.
    fn tail(&self, channel: &str) -> Process {
        let tail = Process::start(self.command().args(["tail", channel]));
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            let warm = run(self.command().args(["publish", channel, "warm"]), "");
            warm.expect(0, &["\"subscribers\":"]);
            if !warm.out.contains("\"subscribers\":0") {
                return tail;
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("nobody follows {channel}: {:#?}", tail.end());
    }

    /// Ends it with a signal.
    fn end(self, signal: Signal) -> Run {
        self.process.signal(signal);
        self.process.end()
    }
}

#[test]
fn a_node_asks_who_follows_where_its_configuration_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    fs::write(&secret, "0123456789abcdef0123456789abcdef").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let file = folder.path().join("f.toml");
    fs::write(&file, "[auth]\nsecret_file = 'secret'\n").unwrap();
    let node = Node::start(&["--config", file.to_str().unwrap()]);
    let token = |channel: &str| {
        let mut command = fanfare(folder.path());
        let flags = ["token", "--secret-file", "secret", "--sub", "ann", "--channel", channel];
        run(command.args(flags), "").out.trim().to_owned()
    };
    let tail = |token: Option<&str>| {
        let mut command = node.command();
        command.args(["tail", "room:1"]).envs(token.map(|token| ("FANFARE_TOKEN", token)));
        command
    };
    run(&mut tail(None), "").expect(77, &["these channels need a token", "FANFARE_TOKEN"]);
    run(&mut tail(Some("a.b.c")), "").expect(77, &["the token is not good there"]);
    run(&mut tail(Some("a b")), "").expect(64, &["blanks"]);
    run(&mut tail(Some(&token("hall"))), "").expect(77, &["you may not follow these channels"]);
    let follower = Process::start(&mut tail(Some(&token("room:*"))));
    let until = Instant::now() + PATIENCE;
    loop {
        let published = run(node.command().args(["publish", "room:1", "hello"]), "");
        published.expect(0, &["\"subscribers\":"]);
        if !published.out.contains("\"subscribers\":0") {
            break;
        }
        assert!(Instant::now() < until, "nobody follows: {:#?}", follower.end());
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(follower.out_line(), "hello\n");
    follower.signal(Signal::TERM);
    follower.end();
    node.end(Signal::TERM).expect(0, &[]);
}

#[test]
fn output_that_cannot_be_written_is_said_by_the_code() {
    let node = Node::start(&[]);
    let first = run(node.command().args(["publish", "demo", "one"]), "");
    let first: Value = serde_json::from_str(&first.out).unwrap();
    let publish = code_on_a_full_disk(node.command().args(["publish", "demo", "two"]));
    assert_eq!(publish, Some(74));
    let since = first["id"].as_str().unwrap();
    let tail = code_on_a_full_disk(node.command().args(["tail", "demo", "--since", since]));
    assert_eq!(tail, Some(74));
    node.end(Signal::TERM).expect(0, &[]);
}

#[test]
fn what_is_published_is_tailed() {
    let node = Node::start(&[]);
    let tail = node.tail("demo");
    let hello = "{\"hello\":\"world\"}";
    run(node.command().args(["publish", "demo", hello]), "")
        .expect(0, &["\"offset\":", "\"subscribers\":1"]);
    run(node.command().args(["publish", "demo", "two\nlines\u{1b}[2J"]), "").expect(0, &["offset"]);
    let lines: String = (0..1_000).map(|n| format!("line {n}\n")).collect();
    run(node.command().args(["publish", "demo", "-q"]), &lines).expect(0, &[]);
    let mut line = tail.out_line();
    while line == "warm\n" {
        line = tail.out_line();
    }
    assert_eq!(line, format!("{hello}\n"));
    assert_eq!(tail.out_line(), "two\\nlines\\u001b[2J\n", "one line, and no command");
    for n in 0..1_000 {
        assert_eq!(tail.out_line(), format!("line {n}\n"));
    }
    node.end(Signal::TERM).expect(0, &["SIGTERM", "stopped"]);
    assert!(tail.err_line().contains("connecting again"));
    tail.signal(Signal::INT);
    tail.end().expect(0, &[]);
}

#[test]
fn the_api_publishes_and_a_tail_since_catches_up() {
    let node = Node::start(&[]);
    let first = run(node.command().args(["publish", "demo", "one"]), "");
    let id = serde_json::from_str::<Value>(&first.out).unwrap()["id"].as_str().unwrap().to_owned();
    let api = node.ready["api"].as_str().unwrap();
    let mut stream = TcpStream::connect(api).unwrap();
    let head = "POST /v1/channels/demo HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
    write!(stream, "{head}Content-Length: 3\r\n\r\ntwo").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"offset\":2"), "{answer}");
    let tail = Process::start(node.command().args(["tail", "demo", "--since", &id]));
    assert_eq!(tail.out_line(), "two\n");
    tail.signal(Signal::INT);
    tail.end().expect(0, &[]);
    node.end(Signal::INT).expect(0, &["SIGINT"]);
}

#[test]
fn a_refused_message_and_a_private_socket() {
    let node = Node::start(&[]);
    let mode = fs::metadata(node.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let refused = run(node.command().args(["publish", "demo", "{", "--kind", "json"]), "");
    refused.expect(65, &["message 1 was refused", "JSON"]);
    node.end(Signal::TERM).expect(0, &[]);
}

#[test]
fn a_taken_address_or_socket_is_told_before_anything_runs() {
    let node = Node::start(&[]);
    let listen = node.ready["listen"].as_str().unwrap();
    let mut command = node.command();
    command.args(["--listen", listen, "--api", "none", "--socket", "none"]);
    run(&mut command, "").expect(69, &[listen]);
    let mut command = node.command();
    command.args(["--listen", "127.0.0.1:0", "--api", "none"]);
    let second = run(&mut command, "");
    assert!(matches!(second.code, Some(69 | 78)), "{second:#?}");
    assert!(second.err.contains(&node.socket().display().to_string()), "{second:#?}");
    node.end(Signal::TERM).expect(0, &[]);
}

#[test]
fn who_asks_a_plain_server_in_tls_is_told() {
    let node = Node::start(&[]);
    let url = node.url().replace("http://", "https://");
    let tail = run(node.command().args(["tail", "demo", "--url", &url]), "");
    tail.expect(69, &["does not speak TLS", &node.url()]);
    node.end(Signal::TERM).expect(0, &[]);
}

#[test]
fn an_insecure_node_says_so() {
    let listen = ["--listen", "0.0.0.0:0", "--socket", "none", "--i-understand-insecure"];
    let folder = tempfile::tempdir().unwrap();
    let mut command = fanfare(folder.path());
    let process = Process::start(command.args(listen).args(["--api", "none", "--shards", "1"]));
    while !process.err_line().contains("INSECURE") {}
    process.signal(Signal::TERM);
    process.end().expect(0, &["SIGTERM", "stopped"]);
}

#[test]
fn a_second_signal_ends_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("patient.toml");
    fs::write(&config, "[limits]\nshutdown = \"1h\"\n").unwrap();
    let node = Node::start(&["--config", config.to_str().unwrap()]);
    // A body that does not come holds the end up.
    let mut request = TcpStream::connect(node.ready["api"].as_str().unwrap()).unwrap();
    let head = "POST /v1/channels/demo HTTP/1.1\r\nHost: localhost\r\n";
    write!(request, "{head}Content-Length: 5\r\nExpect: 100-continue\r\n\r\n").unwrap();
    request.read_exact(&mut [0; "HTTP/1.1 100".len()]).unwrap();
    node.process.signal(Signal::INT);
    while !node.process.err_line().contains("a second signal ends at once") {}
    let end = node.end(Signal::TERM);
    assert_eq!(end.code, Some(143), "{end:#?}");
}
