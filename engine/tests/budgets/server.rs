//! A server whose budgets are 128 MiB each, in a process of its own, and what it takes.

use std::cell::Cell;
use std::io::Read;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::process::{Process, alone, serve};
use crate::support::{Client, wait_until};

pub const MIB: u64 = 1 << 20;
/// What there is of each budget.
pub const BUDGET: u64 = 128 * MIB;
/// What the ring holds of messages that not all shards have read.
pub const RING: u64 = 4 * MIB;
/// What a node takes without clients, as `doctor` says.
pub const NODE_BYTES: u64 = 30 * MIB;
/// Publishers on the socket.
pub const PUBLISHERS: usize = 192;
/// What each of them takes beside what it has in flight, likewise.
pub const PUBLISHER_BYTES: u64 = 128 << 10;

/// All else is small beside the budgets, and nothing but them ends anything, however slow the
/// machine is.
const CONFIG: &str = r#"
[limits]
private_bytes = "128MiB"
history_bytes = "128MiB"
rendered_bytes = "128MiB"
in_flight_bytes = "128MiB"
ring_bytes = "4MiB"
bodies_bytes = "9MiB"
channels = 2000
followed_channels = 2000
publishers = 192
head_bytes = "1MiB"
head_time = "1h"
publisher_stall = "1h"
stall = "1h"
ping = "1h"
pong = "1h"
idle = "1h"
"#;

/// A server, where it listens, and the most memory that it was seen to take.
pub struct Server {
    process: Process,
    folder: tempfile::TempDir,
    arguments: Vec<String>,
    pub listen: SocketAddr,
    pub api: SocketAddr,
    peak: Cell<u64>,
}

impl Server {
    /// One that has served each kind of client once, and somebody who follows `demo` and reads.
    pub fn start(driver: &str) -> (Self, Client) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fanfare.toml");
        std::fs::write(&path, CONFIG).unwrap();
        let socket = folder.path().join("s").display().to_string();
        let config = path.display().to_string();
        let arguments = ["--listen", "127.0.0.1:0", "--api", "127.0.0.1:0", "--socket", &socket];
        let arguments = arguments.into_iter().chain(["--config", &config, "--driver", driver]);
        let arguments = arguments.chain(["--shards", "2", "--max-connections", "2000"]);
        let arguments: Vec<String> = arguments.map(str::to_owned).collect();
        // What is freed is given back at once: what the system counts is what the node holds.
        let mut command = serve();
        let process = Process::start(command.args(&arguments).env("MIMALLOC_PURGE_DELAY", "0"));
        let (listen, api) = (process.address("listen"), process.address("api"));
        let peak = Cell::default();
        let server = Self { process, folder, arguments, listen, api, peak };
        let target = "/ws?channels=demo&open=0&format=raw";
        let mut follower = Client::websocket(server.listen, target);
        server.serves_as_ever(&mut follower);
        (server, follower)
    }

    /// Its socket for publishers.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("s")
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

    /// Looks how much it takes now.
    pub fn look(&self) {
        self.peak.set(self.peak.get().max(self.memory()));
    }

    /// The most that it was seen to take.
    pub fn peak(&self) -> u64 {
        self.peak.get()
    }

    /// What `fanfare doctor` says that such a server takes when all is full.
    pub fn said_by_doctor(&self) -> u64 {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_fanfare"));
        alone(command.args(["doctor", "--json"]).args(&self.arguments));
        let said = command.stdout(std::process::Stdio::piped()).output().unwrap();
        let said: Value = serde_json::from_slice(&said.stdout).expect("one object");
        said["memory"]["busy_bytes"].as_u64().expect("a number")
    }

    /// An answer of the API: its status and body.
    pub fn ask(&self, method: &str, target: &str, body: &[u8]) -> (String, String) {
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
    pub fn number(&self, family: &str) -> u64 {
        let (_, page) = self.ask("GET", "/metrics", b"");
        let lines = page.lines().filter_map(|line| line.strip_prefix(family));
        let lines = lines.filter(|rest| rest.starts_with([' ', '{']));
        lines.map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum()
    }

    /// What is rendered, with the live windows.
    pub fn rendered(&self) -> u64 {
        self.number("fanfare_rendered_bytes") + self.number("fanfare_window_bytes")
    }

    /// Waits, and looks at its memory meanwhile.
    pub fn wait_until(&self, what: &str, mut done: impl FnMut() -> bool) {
        wait_until(what, || {
            self.look();
            done()
        });
    }

    /// Somebody who follows and reads, and somebody who polls: both get what there is.
    pub fn serves_as_ever(&self, follower: &mut Client) {
        assert_eq!(self.ask("POST", "/v1/channels/demo", b"hello").0, "200");
        assert_eq!(follower.text_frame(), "hello");
        let mut poll = Client::get(self.listen, "/poll?channels=demo&wait=0&since=earliest");
        let head = poll.head();
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    }
}
