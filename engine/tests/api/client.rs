//! A blocking HTTP client that sends whatever it is told, and a node's API to send it to.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use fanfare::channel::Tenant;
use fanfare::control::metrics_page::Build;
use fanfare::control::{Bounds, Control, ControlConfig, serve};
use fanfare::limits::Limits;
use fanfare::metrics::Metrics;
use fanfare::vigil::Vigil;
use fanfare_identity::{ApiKey, ApiKeys};

use crate::stand_in::StandIn;

/// Longest wait for anything: a failure, not a measure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// A time of the node that no test lives to see.
pub(crate) const NEVER_MS: u64 = 3_600_000;
/// What ids of connections are made by.
pub(crate) const ORIGINS_KEY: u64 = 0x5eed;

pub(crate) struct Node {
    pub(crate) address: SocketAddr,
    pub(crate) sequencer: StandIn,
    pub(crate) ready: Arc<AtomicBool>,
    pub(crate) metrics: Arc<Metrics>,
    control: Option<Control>,
}

/// What a test changes of the defaults.
pub(crate) struct Wishes {
    pub(crate) api_keys: Vec<ApiKey>,
    pub(crate) limits: Limits,
    pub(crate) bounds: Bounds,
    pub(crate) inbox_commands: usize,
    pub(crate) listen: &'static str,
}

/// Small, and without times that a slow machine would feel.
pub(crate) fn limits() -> Limits {
    let times = Limits { head_ms: NEVER_MS, stall_ms: NEVER_MS, ..Limits::default() };
    Limits { message_bytes: 1_000, batch_messages: 10, ..times }
}

/// Without times that a slow machine would feel.
pub(crate) fn bounds() -> Bounds {
    Bounds { body_ms: NEVER_MS, answer_ms: NEVER_MS, ..Bounds::default() }
}

/// Waits for what another thread will do, but not for ever.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what} did not come about");
        std::thread::sleep(Duration::from_millis(2));
    }
}

impl Default for Wishes {
    fn default() -> Self {
        Self {
            api_keys: Vec::new(),
            limits: limits(),
            bounds: bounds(),
            inbox_commands: 64,
            listen: "127.0.0.1:0",
        }
    }
}

impl Node {
    pub(crate) fn start() -> Self {
        Self::with(Wishes::default())
    }

    pub(crate) fn with(wishes: Wishes) -> Self {
        let sequencer = StandIn::start(wishes.inbox_commands);
        let ready = Arc::new(AtomicBool::new(true));
        let config = ControlConfig {
            tls: None,
            tenant: Tenant::default(),
            build: Build {
                driver: "epoll",
                driver_fallback: true,
                insecure: false,
                development: false,
                version: "0.0.0",
                started_unix_s: 1,
            },
            api_keys: ApiKeys::new(wishes.api_keys),
            limits: wishes.limits,
            bounds: wishes.bounds,
            origins_key: ORIGINS_KEY,
            ready: Arc::clone(&ready),
        };
        let listener = TcpListener::bind(wishes.listen).unwrap();
        let metrics = Arc::new(Metrics::new(1));
        let guard = Vigil::new(Arc::default()).guard("control", || {});
        let inbox = sequencer.inbox.clone();
        let control = serve(listener, inbox, Arc::clone(&metrics), config, guard).unwrap();
        let address = control.address();
        Self { address, sequencer, ready, metrics, control: Some(control) }
    }

    pub(crate) fn connect(&self) -> Client {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client { stream, unread: Vec::new() }
    }

    /// One request on a connection of its own, `{host}` filled in.
    pub(crate) fn ask(&self, request: impl AsRef<[u8]>) -> Answer {
        let mut client = self.connect();
        client.send(request);
        client.answer()
    }

    /// A POST with a length; `fields` are lines that end in CRLF.
    pub(crate) fn post(&self, path: &str, fields: &str, body: impl AsRef<[u8]>) -> Answer {
        self.ask(post(path, fields, body))
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
    }

    pub(crate) fn stop(&mut self, patience: Duration) {
        self.control.take().unwrap().stop(patience);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(control) = self.control.take() {
            control.stop(Duration::from_millis(100));
        }
    }
}

pub(crate) fn post(path: &str, fields: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{fields}\r\n"
    );
    [head.as_bytes(), body].concat()
}

pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    unread: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Client {
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Reads one answer with its Content-Length.
    pub(crate) fn answer(&mut self) -> Answer {
        let end = self.read_until(|bytes| {
            bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
        });
        let head = String::from_utf8(self.unread.drain(..end).collect()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut answer = Answer { status, head, body: String::new() };
        let length: usize = answer.field("content-length").map_or(0, |l| l.parse().unwrap());
        let end = self.read_until(|bytes| (bytes.len() >= length).then_some(length));
        answer.body = String::from_utf8(self.unread.drain(..end).collect()).unwrap();
        answer
    }

    fn read_until(&mut self, whole: impl Fn(&[u8]) -> Option<usize>) -> usize {
        loop {
            if let Some(end) = whole(&self.unread) {
                return end;
            }
            let mut piece = [0; 64 << 10];
            let read = match self.stream.read(&mut piece) {
                // A read with a timeout is not begun again by the kernel.
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                read => read.expect("an answer in time"),
            };
            assert!(read > 0, "the end after {:?}", String::from_utf8_lossy(&self.unread));
            self.unread.extend_from_slice(&piece[..read]);
        }
    }

    /// Whether the server ends the connection, with a FIN or an RST, and says nothing more.
    pub(crate) fn ends(&mut self) -> bool {
        match self.stream.read(&mut [0; 64]) {
            Ok(0) => true,
            Ok(_) => false,
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    }
}

impl Answer {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The code of a refusal, having judged that it has a sentence too.
    pub(crate) fn error(&self) -> String {
        let json = self.json();
        assert!(json["message"].as_str().unwrap().len() > 20, "{self:?}");
        assert_eq!(self.field("content-type"), Some("application/json"));
        json["error"].as_str().unwrap().to_owned()
    }
}
