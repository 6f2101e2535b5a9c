//! What the integration tests share: a node in this process, and clients that are a socket and
//! nothing else.
#![allow(dead_code)] // each test binary uses its part

pub mod process;
pub mod publisher;
pub mod step_timer;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use fanfare::channel::{ChannelName, Tenant};
use fanfare::log::Log;
use fanfare::node::{self, DriverChoice, Server, Settings};
use fanfare::rule::{HistoryRule, Pattern, Rule, Rules, Window};
use fanfare::sequencer::Ticket;
use fanfare::sequencer::command::{BatchAnswer, Command, Publication, Published};
use fanfare_protocol::dialect::machine::Machine;
use fanfare_protocol::message::Kind;
use serde_json::Value;

/// Both drivers; where io_uring is blocked `uring` fails to start, and says so.
pub const DRIVERS: [DriverChoice; 2] = [DriverChoice::Uring, DriverChoice::Epoll];

/// Longest wait for anything: a failure, not a measure. A machine that stalls is waited for.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A time of the node that no test lives to see: longer than [`PATIENCE`] by far.
pub const NEVER_MS: u64 = 3_600_000;

/// A node with two shards on free ports.
pub fn node(driver: DriverChoice) -> Server {
    node_with(driver, |_| {})
}

/// A node with settings of its own.
pub fn node_with(driver: DriverChoice, change: impl FnOnce(&mut Settings)) -> Server {
    let settings = settings(driver, change);
    node::start(settings).unwrap_or_else(|error| panic!("{driver:?}: {error}"))
}

/// A node over a log of the test's.
pub fn node_over<L: Log<Ticket> + Send + 'static>(
    driver: DriverChoice,
    log: L,
    change: impl FnOnce(&mut Settings),
) -> Server {
    node::start_over(settings(driver, change), log)
        .unwrap_or_else(|error| panic!("{driver:?}: {error}"))
}

fn settings(driver: DriverChoice, change: impl FnOnce(&mut Settings)) -> Settings {
    let mut settings = Settings { driver, shards: Some(2), ..Settings::on_loopback() };
    // A test waits for what it means. No other time of the node ends what it waits for, however
    // slow the machine is; which one does is what some tests change.
    let limits = &mut settings.limits;
    for time in [
        &mut limits.head_ms,
        &mut limits.client_message_ms,
        &mut limits.ping_ms,
        &mut limits.pong_ms,
        &mut limits.heartbeat_ms,
        &mut limits.idle_ms,
        &mut limits.stall_ms,
        &mut limits.shutdown_ms,
        &mut limits.publisher_stall_ms,
    ] {
        *time = NEVER_MS;
    }
    change(&mut settings);
    settings
}

/// Runs what must come to an end, on a thread of its own.
pub fn in_time<T: Send + 'static>(what: &str, run: impl FnOnce() -> T + Send + 'static) -> T {
    let (say, hear) = mpsc::channel();
    std::thread::spawn(move || say.send(run()));
    hear.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("{what}: {error}"))
}

/// A node whose clients are heard by machines of the test's.
pub fn node_hearing(
    driver: DriverChoice,
    change: impl FnOnce(&mut Settings),
    machine: impl Fn() -> Box<dyn Machine> + Send + Sync + 'static,
) -> Server {
    node::start_with(settings(driver, change), machine)
        .unwrap_or_else(|error| panic!("{driver:?}: {error}"))
}

/// A client.
pub struct Client {
    /// The socket.
    pub socket: TcpStream,
    /// What arrived and was not taken.
    pub buffer: Vec<u8>,
    /// What arrived and is not taken out of its chunks yet, where the answer has chunks.
    chunks: Option<Vec<u8>>,
}

impl Client {
    /// Connects.
    pub fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).expect("the node listens");
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        Self { socket, buffer: Vec::new(), chunks: None }
    }

    /// Connects with a receive buffer as small as the kernel lets it be.
    pub fn narrow(address: SocketAddr) -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket.unwrap();
        socket.set_recv_buffer_size(1).unwrap();
        socket.connect(&address.into()).expect("the node listens");
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket: socket.into(), buffer: Vec::new(), chunks: None }
    }

    /// Connects and sends a GET.
    pub fn get(address: SocketAddr, target: &str) -> Self {
        let mut client = Self::connect(address);
        client.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
        client
    }

    /// Upgrades and checks the answer.
    pub fn websocket(address: SocketAddr, target: &str) -> Self {
        let mut client = Self::connect(address);
        client.send(upgrade(target).as_bytes());
        let head = client.head();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        client
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).expect("the node reads");
    }

    /// Sends a masked frame.
    pub fn send_frame(&mut self, first: u8, payload: &[u8]) {
        let mut frame = vec![first];
        match u16::try_from(payload.len()).expect("tests send less than 64 KiB in a frame") {
            length @ 0..=125 => frame.push(0x80 | length as u8),
            length => {
                frame.push(0x80 | 126);
                frame.extend(length.to_be_bytes());
            }
        }
        frame.extend([1, 2, 3, 4]);
        frame.extend(payload.iter().zip([1, 2, 3, 4].iter().cycle()).map(|(byte, key)| byte ^ key));
        self.send(&frame);
    }

    /// Reads until `enough` finds an end in what arrived, and takes up to there.
    pub fn until(&mut self, enough: impl Fn(&[u8]) -> Option<usize>) -> Vec<u8> {
        loop {
            if let Some(end) = enough(&self.buffer) {
                let rest = self.buffer.split_off(end);
                return std::mem::replace(&mut self.buffer, rest);
            }
            let mut chunk = [0; 65_536];
            match self.socket.read(&mut chunk) {
                Ok(0) => panic!("the node closed after {:?}", text(&self.buffer)),
                Ok(count) => self.arrived(&chunk[..count]),
                // A read with a timeout is not begun again by the kernel.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("{error}; so far {:?}", text(&self.buffer)),
            }
        }
    }

    /// Takes bytes of the socket, out of their chunks where they have some.
    pub fn arrived(&mut self, bytes: &[u8]) {
        let Some(chunks) = &mut self.chunks else { return self.buffer.extend_from_slice(bytes) };
        chunks.extend_from_slice(bytes);
        let mut taken = 0;
        while let Some((chunk, length)) = whole_chunk(&chunks[taken..]) {
            self.buffer.extend_from_slice(chunk);
            taken += length;
        }
        chunks.drain(..taken);
    }

    /// The next head, with its empty line.
    pub fn head(&mut self) -> String {
        let head = text(&self.until(|bytes| find(bytes, b"\r\n\r\n").map(|at| at + 4)));
        if head.contains("\r\nTransfer-Encoding: chunked\r\n") {
            self.chunks = Some(Vec::new());
            let rest = std::mem::take(&mut self.buffer);
            self.arrived(&rest);
        }
        head
    }

    /// Head and body of an answer with a length.
    pub fn answer(&mut self) -> (String, String) {
        let head = self.head();
        let length = head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .map_or(0, |(_, length)| length.parse().unwrap());
        let body = self.until(|bytes| (bytes.len() >= length).then_some(length));
        (head, text(&body))
    }

    /// The next SSE block, without its empty line and the heartbeats before it.
    pub fn block(&mut self) -> String {
        let mut block = text(&self.until(|bytes| find(bytes, b"\n\n").map(|at| at + 2)));
        block.truncate(block.trim_end_matches('\n').len());
        block.trim_start_matches(":\n").to_string()
    }

    /// The block that ends an event stream: its reason.
    pub fn farewell(&mut self) -> String {
        let block = self.block();
        let said = block.strip_prefix("retry: 1000\nevent: fanfare.close\ndata: ");
        let said = said.unwrap_or_else(|| panic!("no farewell: {block}"));
        let reason = said.strip_prefix(r#"{"event":"fanfare.close","reason":""#);
        reason.and_then(|rest| rest.strip_suffix("\"}")).expect("a reason").to_string()
    }

    /// The next line of an event stream, without its end: a heartbeat.
    pub fn line(&mut self) -> String {
        let line = text(&self.until(|bytes| find(bytes, b"\n").map(|at| at + 1)));
        line.trim_end_matches('\n').to_string()
    }

    /// The block that opens an event stream: where delivery begins.
    pub fn opening(&mut self) -> String {
        let block = self.block();
        let said = block.strip_prefix("retry: 1000\nevent: fanfare.open\ndata: {\"id\":\"");
        let parts = said.and_then(|rest| rest.split_once("\",\"origin\":\""));
        let parts = parts.and_then(|(id, rest)| Some((id, rest.split_once("\"}\nid: ")?)));
        let (id, (origin, again)) = parts.unwrap_or_else(|| panic!("no opening: {block}"));
        assert_eq!((id, origin.len()), (again, 16), "{block}");
        id.to_string()
    }

    /// The head of an event stream and the block that opens it: what its connection is called.
    pub fn stream_id(&mut self) -> String {
        let head = self.head();
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let block = self.block();
        let said = block.split_once("\"origin\":\"").unwrap_or_else(|| panic!("no id: {block}"));
        said.1[..16].to_string()
    }

    /// The next frame: its first byte and its payload.
    pub fn frame(&mut self) -> (u8, Vec<u8>) {
        let frame = self.until(frame_end);
        let payload = match frame[1] {
            126 => 4,
            127 => 10,
            _ => 2,
        };
        (frame[0], frame[payload..].to_vec())
    }

    /// The next frame that is no ping, which must be a whole text.
    pub fn text_frame(&mut self) -> String {
        loop {
            match self.frame() {
                (0x81, payload) => return text(&payload),
                (0x89, payload) => self.send_frame(0x8a, &payload),
                (first, payload) => panic!("{first:#x} is no whole text: {:?}", text(&payload)),
            }
        }
    }

    /// The same, which must be JSON.
    pub fn json_frame(&mut self) -> Value {
        serde_json::from_str(&self.text_frame()).unwrap()
    }

    /// The next frame, which must be a close: its code.
    pub fn close_code(&mut self) -> u16 {
        loop {
            let (first, payload) = self.frame();
            if first == 0x88 {
                return payload
                    .get(..2)
                    .map_or(1005, |code| u16::from_be_bytes([code[0], code[1]]));
            }
        }
    }

    /// Reads to the end; whether it was a reset, and what came before.
    pub fn end(mut self) -> (bool, Vec<u8>) {
        let mut rest = Vec::new();
        let reset = self.socket.read_to_end(&mut rest).is_err();
        self.arrived(&rest);
        (reset, self.buffer)
    }
}

/// The upgrade request of a client.
pub fn upgrade(target: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// The first chunk of `bytes` and its length with all that belongs to it, if it is whole.
pub fn whole_chunk(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let line = find(bytes, b"\r\n")?;
    let length = usize::from_str_radix(std::str::from_utf8(&bytes[..line]).unwrap(), 16).unwrap();
    let chunk = bytes.get(line + 2..line + 2 + length + 2)?;
    assert!(chunk.ends_with(b"\r\n"), "a chunk is as long as it says");
    Some((&chunk[..length], line + 2 + length + 2))
}

/// Where the first frame of `bytes` ends, if it is whole.
pub fn frame_end(bytes: &[u8]) -> Option<usize> {
    let end = match *bytes.get(1)? {
        126 => 4 + u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap()) as usize,
        127 => 10 + u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap()) as usize,
        length => 2 + usize::from(length),
    };
    (bytes.len() >= end).then_some(end)
}

/// Where `needle` first stands in `bytes`.
pub fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}

/// Bytes as text, for comparisons and messages.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Publishes over the API; the answer's body.
pub fn publish(node: &Server, channel: &str, data: &str) -> String {
    let api = node.addresses().api.expect("tests have an API");
    let length = data.len();
    let request = format!(
        "POST /v1/channels/{channel} HTTP/1.1\r\nHost: {api}\r\nConnection: close\r\n\
         Content-Length: {length}\r\n\r\n{data}"
    );
    let mut answer = String::new();
    wait_until("it is published", || {
        let mut client = Client::connect(api);
        // Where heads have little time, this one may be late.
        let _ = client.socket.write_all(request.as_bytes());
        answer = text(&client.end().1);
        !answer.starts_with("HTTP/1.1 408")
    });
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer.split_once("\r\n\r\n").expect("an answer has a body").1.to_string()
}

/// Sends a body to the API: the status and the answer.
pub fn post(node: &Server, target: &str, content_type: &str, body: &str) -> (String, Value) {
    let mut api = Client::connect(node.addresses().api.expect("tests have an API"));
    let fields = format!("Content-Type: {content_type}\r\nContent-Length: {}", body.len());
    let head = format!("POST {target} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n\r\n");
    api.send(format!("{head}{body}").as_bytes());
    let (head, answer) = api.answer();
    (head[9..12].into(), serde_json::from_str(&answer).unwrap())
}

/// Publishes JSON over the API: the status and the answer.
pub fn post_json(node: &Server, body: &Value) -> (String, Value) {
    post(node, "/v1/publish", "application/json", &body.to_string())
}

/// Texts to be published in one command.
pub fn batch<'a>(messages: impl IntoIterator<Item = (&'a str, String)>) -> Vec<Publication> {
    let publication = |(channel, data): (&str, String)| Publication {
        channel: ChannelName::new(Tenant::default(), channel),
        also: Box::default(),
        kind: Kind::Text,
        event: None,
        idempotency_key: None,
        ephemeral: false,
        except: None,
        data: data.into_bytes().into(),
    };
    messages.into_iter().map(publication).collect()
}

/// Publishes texts in one command, straight into the inbox; where each got its place.
pub fn publish_all<'a>(
    node: &Server,
    messages: impl IntoIterator<Item = (&'a str, String)>,
) -> Vec<Published> {
    let publications = batch(messages);
    let (said, heard) = mpsc::channel();
    let answer = Box::new(move |results| said.send(results).unwrap());
    let sent = node.inbox().send(Command::PublishBatch(publications, BatchAnswer::Each(answer)));
    assert!(sent.is_ok(), "the node has ended");
    let results = heard.recv_timeout(PATIENCE).expect("the sequencer answers");
    results.into_iter().map(|result| result.expect("there is room")).collect()
}

/// Rules by pattern, with the defaults for everything else.
pub fn rules(rules: &[(&str, HistoryRule, Window)]) -> Rules {
    let rule = |(pattern, history, window): &(&str, HistoryRule, Window)| Rule {
        pattern: Pattern::parse(pattern).unwrap(),
        history: *history,
        window: *window,
        ..Rule::default()
    };
    Rules::new(rules.iter().map(rule).collect(), HistoryRule::DEFAULT, Window::DEFAULT)
}

/// A history bounded by a count alone.
pub fn keep(count: u64) -> HistoryRule {
    HistoryRule { count, bytes: 100_000_000, age_ms: 600_000 }
}

/// Waits until `done`; panics with `what` after [`PATIENCE`].
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < until, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until what is counted has come to `goal`; only a count that stands still for
/// [`PATIENCE`] is a failure.
pub fn wait_for(what: &str, goal: u64, count: impl Fn() -> u64) {
    let (mut seen, mut until) = (count(), Instant::now() + PATIENCE);
    while seen < goal {
        assert!(Instant::now() < until, "{what}: {seen} of {goal}, and it stands still");
        std::thread::sleep(Duration::from_millis(5));
        let now = count();
        if now != seen {
            (seen, until) = (now, Instant::now() + PATIENCE);
        }
    }
    assert_eq!(seen, goal, "{what}");
}
