//! Each budget, filled from outside: a node in a process of its own keeps within what was said, as
//! the system counts its memory, and who asks for little gets everything meanwhile. What waits for
//! the order has a test of its own, in `in_flight.rs`.

#[path = "support/mod.rs"]
mod support;

use std::io::{Read, Write};
use std::net::SocketAddr;

use support::Client;
use support::process::{Process, serve};

const MIB: u64 = 1 << 20;
/// What the allocator keeps of pages that were given back, and what a node takes for its first use
/// of everything. It was measured at 3 to 6 MiB in a debug build, and at 15 on a machine whose
/// threads wait for each other, where one has not given back what another has freed. A budget that
/// is not kept comes to far more: those who fill one bring several times as much.
const SLACK: u64 = 24 * MIB;

/// Nothing but its budgets ends anything here, however slow the machine is.
const CONFIG: &str = r#"
[limits]
private_bytes = "16MiB"
history_bytes = "16MiB"
rendered_bytes = "16MiB"
ring_bytes = "4MiB"
head_bytes = "1MiB"
head_time = "1h"
stall = "1h"
ping = "1h"
pong = "1h"
idle = "1h"
"#;

/// A server, and where it listens.
struct Server {
    process: Process,
    _folder: tempfile::TempDir,
    listen: SocketAddr,
    api: SocketAddr,
}

impl Server {
    fn start(driver: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fanfare.toml");
        std::fs::write(&path, CONFIG).unwrap();
        let mut command = serve();
        command.args(["--listen", "127.0.0.1:0", "--api", "127.0.0.1:0"]);
        command.args(["--socket", "none", "--shards", "2", "--driver", driver]);
        // What is freed is given back at once: what the system counts is what the node holds.
        command.env("MIMALLOC_PURGE_DELAY", "0");
        let process = Process::start(command.arg("--config").arg(path));
        let (listen, api) = (process.address("listen"), process.address("api"));
        Self { process, _folder: folder, listen, api }
    }

    /// Memory that no other process shares.
    fn memory(&self) -> u64 {
        let path = format!("/proc/{}/smaps_rollup", self.process.child.id());
        let rollup = std::fs::read_to_string(path).unwrap();
        let of = |name: &str| {
            let line = rollup.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() << 10
        };
        of("Private_Clean:") + of("Private_Dirty:")
    }

    /// An answer of the API: its status and body.
    fn ask(&self, method: &str, target: &str, body: &[u8]) -> (String, String) {
        let mut client = Client::connect(self.api);
        let length = body.len();
        let fields = format!("Host: localhost\r\nConnection: close\r\nContent-Length: {length}");
        client.send(format!("{method} {target} HTTP/1.1\r\n{fields}\r\n\r\n").as_bytes());
        client.send(body);
        let mut answer = Vec::new();
        client.socket.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        (answer[9..12].to_owned(), body.to_owned())
    }

    /// A number of the metrics page, over all shards.
    fn number(&self, family: &str) -> u64 {
        let (_, page) = self.ask("GET", "/metrics", b"");
        let lines = page.lines().filter_map(|line| line.strip_prefix(family));
        let lines = lines.filter(|rest| rest.starts_with([' ', '{']));
        lines.map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum()
    }
}

/// Somebody who follows and reads, and somebody who polls: both get what there is.
fn serves_as_ever(server: &Server, follower: &mut Client) {
    assert_eq!(server.ask("POST", "/v1/channels/demo", b"hello").0, "200");
    assert_eq!(follower.text_frame(), "hello");
    let mut poll = Client::get(server.listen, "/poll?channels=demo&wait=0&since=earliest");
    let head = poll.head();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
}

fn private(driver: &str) {
    const HOGS: u64 = 64;
    const HEAD_BYTES: usize = 900_000;
    let server = Server::start(driver);
    let mut follower = Client::websocket(server.listen, "/ws?channels=demo&open=0&format=raw");
    serves_as_ever(&server, &mut follower);
    let most = server.number("fanfare_private_limit_bytes");
    assert_eq!(most, 16 * MIB);
    let (before, mut peak) = (server.memory(), 0);
    let mut hogs = Vec::new();
    for _ in 0..HOGS {
        let mut hog = Client::connect(server.listen);
        hog.send(b"GET /poll HTTP/1.1\r\nHost: localhost\r\nX-Long: ");
        // It may be told to go before it has said all.
        let _ = hog.socket.write_all(&vec![b'x'; HEAD_BYTES]);
        hogs.push(hog);
        peak = peak.max(server.memory());
    }
    support::wait_until("it is filled, and let go of", || {
        peak = peak.max(server.memory());
        server.number("fanfare_private_let_go_total") >= HOGS / 4
    });
    let held = server.number("fanfare_private_bytes");
    let grown = peak.saturating_sub(before);
    eprintln!("{driver}: {held} bytes are held, the process grew by {grown}");
    assert!(held > most / 2 && held <= most, "{held} of {most}");
    assert!(grown <= most + most / 10 + SLACK, "it grew by {grown}");
    let head = hogs[0].head();
    assert!(head.starts_with("HTTP/1.1 503 "), "who has held most for longest goes first: {head}");
    assert!(head.contains("\r\nRetry-After: 1\r\n"), "{head}");
    serves_as_ever(&server, &mut follower);
    drop(hogs);
    support::wait_until("all is given back", || server.number("fanfare_private_bytes") == 0);
}

#[test]
fn what_clients_hold_for_themselves_keeps_within_its_budget_uring() {
    private("uring");
}

#[test]
fn what_clients_hold_for_themselves_keeps_within_its_budget_epoll() {
    private("epoll");
}

fn history(driver: &str) {
    const MESSAGES: u64 = 256;
    const MESSAGE_BYTES: usize = 500_000;
    let server = Server::start(driver);
    let mut follower = Client::websocket(server.listen, "/ws?channels=demo&open=0&format=raw");
    serves_as_ever(&server, &mut follower);
    let most = server.number("fanfare_history_limit_bytes");
    assert_eq!(most, 16 * MIB);
    let (before, mut peak) = (server.memory(), 0);
    let message = vec![b'x'; MESSAGE_BYTES];
    for nth in 0..MESSAGES {
        let (status, answer) = server.ask("POST", &format!("/v1/channels/c{nth}"), &message);
        assert_eq!(status, "200", "{answer}");
        peak = peak.max(server.memory());
    }
    let held = server.number("fanfare_history_bytes");
    let grown = peak.saturating_sub(before);
    eprintln!("{driver}: {held} bytes are kept, the process grew by {grown}");
    assert!(held > most / 2 && held <= most, "{held} of {most}");
    // Until it is read by all shards a message is in the ring, too.
    let sum = most + 4 * MIB;
    assert!(grown <= sum + sum / 10 + SLACK, "it grew by {grown}");
    serves_as_ever(&server, &mut follower);
}

#[test]
fn what_is_kept_keeps_within_its_budget_uring() {
    history("uring");
}

#[test]
fn what_is_kept_keeps_within_its_budget_epoll() {
    history("epoll");
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

/// A client that has asked and whose socket takes little.
fn narrow(server: &Server, request: &str) -> Client {
    let mut client = Client::narrow(server.listen);
    client.send(request.as_bytes());
    client
}

fn rendered(driver: &str) {
    const CHANNELS: usize = 80;
    const MESSAGE_BYTES: usize = 500_000;
    let server = Server::start(driver);
    let mut follower = Client::websocket(server.listen, "/ws?channels=demo&open=0&format=raw");
    serves_as_ever(&server, &mut follower);
    let most = server.number("fanfare_rendered_limit_bytes");
    assert_eq!(most, 16 * MIB);
    let held = || server.number("fanfare_rendered_bytes") + server.number("fanfare_window_bytes");
    let (before, mut peak, mut most_held) = (server.memory(), 0, 0);
    let message = vec![b'x'; MESSAGE_BYTES];
    let mut hogs = Vec::new();
    for nth in 0..CHANNELS {
        // No two of them share what they get.
        for target in [format!("/ws?format=json&channels=c{nth}"), format!("/ws?channels=c{nth}")] {
            hogs.push(narrow(&server, &support::upgrade(&target)));
        }
        hogs.push(narrow(&server, &get(&format!("/sse?format=json&channels=c{nth}"))));
        hogs.iter_mut().rev().take(3).for_each(|hog| assert!(!hog.head().is_empty()));
        let (status, answer) = server.ask("POST", &format!("/v1/channels/c{nth}"), &message);
        assert_eq!(status, "200", "{answer}");
        let target = format!("/poll?wait=0&since=earliest&channels=c{nth}");
        hogs.push(narrow(&server, &get(&target)));
        peak = peak.max(server.memory());
        most_held = most_held.max(held());
    }
    support::wait_until("it is filled, and clients are ended for it", || {
        peak = peak.max(server.memory());
        server.number("fanfare_holders_closed_total") >= CHANNELS as u64 && held() <= most
    });
    let (now, grown) = (held(), peak.saturating_sub(before));
    eprintln!(
        "{driver}: {now} bytes are rendered, {most_held} at most, the process grew by {grown}"
    );
    // A batch may render a few messages before it is looked at again.
    assert!(now > most / 2 && most_held <= most + 4 * MIB, "{now} of {most}, once {most_held}");
    // What is published is kept besides, and in the ring until all shards have read it; and each
    // of these clients has something of its own.
    let sum = most + 16 * MIB + 4 * MIB + 16 * MIB;
    assert!(grown <= sum + sum / 10 + SLACK, "it grew by {grown}");
    serves_as_ever(&server, &mut follower);
    drop(hogs);
    let only_one = || server.number("fanfare_connections") == 1;
    support::wait_until("nobody else holds anything", only_one);
    serves_as_ever(&server, &mut follower);
}

#[test]
fn what_is_rendered_keeps_within_its_budget_uring() {
    rendered("uring");
}

#[test]
fn what_is_rendered_keeps_within_its_budget_epoll() {
    rendered("epoll");
}
