//! The commands against a real server: the tour of the README, a long pipe, a restart.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::{PATIENCE, Process, fanfare, run};

/// A server whose publishers' socket is the default one of `folder`.
struct Server {
    process: Process,
    listen: String,
    api: String,
}

/// Starts a server and waits until it is ready.
fn serve(folder: &Path, words: &[&str]) -> Server {
    let process = Process::start(fanfare(folder).args(words));
    let ready: Value = loop {
        let event: Value = serde_json::from_str(&process.err_line()).expect("the log is JSON");
        if event["fields"]["message"] == "ready" {
            break event["fields"].clone();
        }
    };
    let field = |name: &str| ready[name].as_str().expect("an address").to_owned();
    Server { listen: field("listen"), api: field("api"), process }
}

impl Server {
    fn url(&self) -> String {
        format!("http://{}", self.listen)
    }

    /// Ends it as an operator does.
    fn stop(self) {
        self.process.signal(Signal::TERM);
        self.process.end().expect(0, &[]);
    }

    /// Waits until so many connections follow the channel.
    fn followed_by(&self, channel: &str, subscribers: u64) {
        let until = Instant::now() + PATIENCE;
        let expected = format!("\"subscribers\":{subscribers},");
        loop {
            let answer = get(&self.api, &format!("/v1/channels/{channel}"));
            if answer.contains(&expected) {
                return;
            }
            assert!(Instant::now() < until, "{answer}");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

fn get(address: &str, target: &str) -> String {
    let mut socket = TcpStream::connect(address).unwrap();
    let head = format!("GET {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    socket.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

/// A running `tail`.
struct Tail(Process);

impl Tail {
    fn start(folder: &Path, url: &str, words: &[&str]) -> Self {
        let mut command = fanfare(folder);
        Self(Process::start(command.arg("tail").args(words).env("FANFARE_URL", url)))
    }

    fn line(&self) -> String {
        self.0.out_line().trim_end().to_owned()
    }

    /// Interrupts it and gives what it said on standard error.
    fn end(self) -> String {
        self.0.signal(Signal::INT);
        let run = self.0.end();
        run.expect(0, &[]);
        assert_eq!(run.out, "", "no line more");
        run.err
    }
}

const ANY: [&str; 4] = ["--listen", "127.0.0.1:0", "--api", "127.0.0.1:0"];

#[test]
fn the_tour_of_three_commands() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(folder.path(), &ANY);
    let tail = Tail::start(folder.path(), &server.url(), &["demo"]);
    server.followed_by("demo", 1);
    let words = ["publish", "demo", "{\"hello\":\"world\"}"];
    let published = run(fanfare(folder.path()).args(words), "");
    published.expect(0, &["\"offset\":1,\"subscribers\":1"]);
    assert_eq!(tail.line(), "{\"hello\":\"world\"}");
    // And what the tour says of curl, both ways.
    let mut stream = TcpStream::connect(&server.listen).unwrap();
    stream.write_all(b"GET /sse?channels=demo HTTP/1.1\r\nHost: localhost:7070\r\n\r\n").unwrap();
    server.followed_by("demo", 2);
    let mut api = TcpStream::connect(&server.api).unwrap();
    let head = "POST /v1/channels/demo HTTP/1.1\r\nHost: localhost:7071\r\nContent-Length: 2\r\n\
                Content-Type: application/x-www-form-urlencoded\r\n\r\nhi";
    api.write_all(head.as_bytes()).unwrap();
    assert_eq!(tail.line(), "hi");
    let mut bytes = String::new();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    while !bytes.contains("data: hi\nid: ") {
        let mut chunk = [0; 1_024];
        let count = stream.read(&mut chunk).unwrap();
        assert!(count > 0, "{bytes}");
        bytes.push_str(std::str::from_utf8(&chunk[..count]).unwrap());
    }
    assert_eq!(tail.end(), "");
    server.stop();
}

#[test]
fn ten_thousand_lines_are_published_and_read_back() {
    let folder: TempDir = tempfile::tempdir().unwrap();
    // A window as well: however slow the one that prints is, it is not too slow.
    let file = "[history]\ncount = 20000\nbytes = \"100MB\"\n\
        [window]\ncount = 20000\nbytes = \"100MB\"\n";
    std::fs::write(folder.path().join("fanfare.toml"), file).unwrap();
    let mut words = ANY.to_vec();
    words.extend(["--config", "fanfare.toml"]);
    let server = serve(folder.path(), &words);
    let live = Tail::start(folder.path(), &server.url(), &["lines", "others"]);
    server.followed_by("lines", 1);
    let lines: Vec<String> = (1..=10_000).map(|number| format!("line {number}")).collect();
    let input = lines.join("\n") + "\n";
    let published = run(fanfare(folder.path()).args(["publish", "lines", "-"]), &input);
    published.expect(0, &[]);
    let places: Vec<Value> =
        published.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(places.len(), 10_000);
    for (place, offset) in places.iter().zip(1u64..) {
        assert_eq!((&place["offset"], &place["subscribers"]), (&offset.into(), &1.into()));
    }
    let since = places[2_499]["id"].as_str().unwrap();
    let tail = Tail::start(folder.path(), &server.url(), &["--since", since, "lines"]);
    for line in &lines[2_500..] {
        assert_eq!(&tail.line(), line);
    }
    for line in &lines {
        assert_eq!(&live.line(), line);
    }
    assert_eq!((tail.end(), live.end()), (String::new(), String::new()));
    server.stop();
}

#[test]
fn tail_goes_on_over_a_restart_and_says_what_may_be_missing() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(folder.path(), &ANY);
    let (listen, api) = (server.listen.clone(), server.api.clone());
    let tail = Tail::start(folder.path(), &server.url(), &["demo"]);
    server.followed_by("demo", 1);
    let publish = |data: &str| run(fanfare(folder.path()).args(["publish", "demo", data]), "");
    publish("before").expect(0, &[]);
    assert_eq!(tail.line(), "before");
    server.stop();
    publish("nobody is there").expect(69, &[]);
    let server = serve(folder.path(), &["--listen", &listen, "--api", &api]);
    // Whether it is back by now or not: the new order keeps this, and it comes once.
    publish("after").expect(0, &["\"offset\":1,"]);
    assert_eq!(tail.line(), "after");
    server.followed_by("demo", 1);
    publish("live").expect(0, &["\"offset\":2,\"subscribers\":1"]);
    assert_eq!(tail.line(), "live");
    let said = tail.end();
    for words in ["the server ended the stream", "connected again", "gap in \"demo\"", "anew"] {
        assert!(said.contains(words), "{words:?} is missing in {said:?}");
    }
    assert_eq!(said.matches("gap in").count(), 1, "{said}");
    server.stop();
}
