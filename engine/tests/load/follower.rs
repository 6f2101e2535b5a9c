//! One client that checks all that it gets.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;

use serde::Deserialize;

use crate::support::{find, upgrade, whole_chunk};
use crate::{CHANNELS, MESSAGES_EACH};

/// How a client follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A WebSocket on one channel: the publishers' bytes.
    WsRaw,
    /// A WebSocket on two channels.
    WsJson,
    /// An event stream on one channel: the publishers' bytes.
    SseRaw,
    /// An event stream on two channels.
    SseJson,
    /// One poll after the other on two channels.
    Poll,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::WsRaw, Self::WsJson, Self::SseRaw, Self::SseJson, Self::Poll];
}

/// A message of the JSON formats.
#[derive(Deserialize)]
struct Envelope<'a> {
    channel: &'a str,
    id: &'a str,
    offset: u64,
    data: &'a str,
}

#[derive(Deserialize)]
struct Answer<'a> {
    id: &'a str,
    #[serde(borrow)]
    messages: Vec<Envelope<'a>>,
    gaps: Option<serde_json::Value>,
}

/// What was seen of one channel.
#[derive(Debug)]
struct Seen {
    channel: usize,
    /// Last number of each publisher.
    numbers: [u64; 2],
    count: u64,
    /// The order, hashed (FNV-1a).
    order: u64,
}

/// A client.
#[derive(Debug)]
pub struct Follower {
    pub socket: mio::net::TcpStream,
    pub kind: Kind,
    pub is_ready: bool,
    seen: Vec<Seen>,
    position: u64,
    has_head: bool,
    since: Option<String>,
    buffer: Vec<u8>,
}

impl Follower {
    /// Connects and asks.
    pub fn connect(listen: SocketAddr, number: usize) -> Self {
        let kind = Kind::ALL[number / 2 % Kind::ALL.len()];
        let first = number % CHANNELS;
        let channels = match kind {
            Kind::WsRaw | Kind::SseRaw => vec![first],
            _ => vec![first, (first + 1 + number / CHANNELS % (CHANNELS - 1)) % CHANNELS],
        };
        let socket = std::net::TcpStream::connect(listen).expect("the node listens");
        socket.set_nonblocking(true).unwrap();
        let new =
            |channel| Seen { channel, numbers: [0; 2], count: 0, order: 0xcbf2_9ce4_8422_2325 };
        let mut follower = Self {
            socket: mio::net::TcpStream::from_std(socket),
            kind,
            is_ready: false,
            seen: channels.into_iter().map(new).collect(),
            position: 0,
            has_head: false,
            since: None,
            buffer: Vec::new(),
        };
        follower.ask();
        follower
    }

    /// Everyone is there, and publishing begins.
    pub fn start(&mut self) {
        if self.kind == Kind::Poll {
            self.ask();
        }
    }

    fn ask(&mut self) {
        let names: Vec<String> =
            self.seen.iter().map(|seen| format!("load:{}", seen.channel)).collect();
        let names = names.join(",");
        let get = |target: String| format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let request = match (self.kind, &self.since) {
            (Kind::WsRaw | Kind::WsJson, _) => upgrade(&format!("/ws?channels={names}")),
            (Kind::SseRaw | Kind::SseJson, _) => get(format!("/sse?channels={names}")),
            (Kind::Poll, None) => get(format!("/poll?channels={names}&wait=0")),
            (Kind::Poll, Some(since)) => {
                get(format!("/poll?channels={names}&since={since}&wait=25"))
            }
        };
        self.socket.write_all(request.as_bytes()).expect("a request fits an empty buffer");
    }

    /// Whether it has everything.
    pub fn is_done(&self) -> bool {
        self.seen.iter().all(|seen| seen.numbers == [MESSAGES_EACH; 2])
    }

    /// The order of each channel.
    pub fn orders(&self) -> Vec<(usize, u64)> {
        self.seen.iter().map(|seen| (seen.channel, seen.order)).collect()
    }

    /// Reads all there is.
    pub fn readable(&mut self) {
        let mut chunk = [0; 32 << 10];
        loop {
            match self.socket.read(&mut chunk) {
                Ok(0) => panic!("the node ended {self:?}"),
                Ok(count) => self.buffer.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}: {self:?}"),
            }
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut taken = 0;
        while let Some(count) = self.take(&buffer[taken..]) {
            taken += count;
        }
        buffer.drain(..taken);
        self.buffer = buffer;
    }

    /// Takes one piece off the front; its length.
    fn take(&mut self, bytes: &[u8]) -> Option<usize> {
        if !self.has_head && self.kind != Kind::Poll {
            let end = find(bytes, b"\r\n\r\n")? + 4;
            let good: &[u8] = match self.kind {
                Kind::WsRaw | Kind::WsJson => b"HTTP/1.1 101 ",
                _ => b"HTTP/1.1 200 ",
            };
            assert!(bytes.starts_with(good), "{}", String::from_utf8_lossy(bytes));
            self.has_head = true;
            self.is_ready = self.kind == Kind::WsRaw;
            return Some(end);
        }
        match self.kind {
            Kind::WsRaw | Kind::WsJson => self.take_frame(bytes),
            Kind::SseRaw | Kind::SseJson => self.take_block(bytes),
            Kind::Poll => self.take_answer(bytes),
        }
    }

    fn take_frame(&mut self, bytes: &[u8]) -> Option<usize> {
        let (start, length) = match *bytes.get(1)? {
            126 => (4, u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap()) as usize),
            length => (2, usize::from(length)),
        };
        let payload = bytes.get(start..start + length)?;
        match (bytes[0], self.kind) {
            (0x89, _) => {} // its interval is longer than this test
            (0x81, Kind::WsRaw) => self.check(None, text(payload)),
            (0x81, _) if payload.starts_with(br#"{"event":"fanfare.open""#) => self.is_ready = true,
            (0x81, _) => self.check_envelope(&serde_json::from_slice(payload).unwrap()),
            (first, _) => panic!("frame {first:#x} {:?}", text(payload)),
        }
        Some(start + length)
    }

    fn take_block(&mut self, bytes: &[u8]) -> Option<usize> {
        // Each block is a chunk.
        let (block, end) = whole_chunk(bytes)?;
        assert!(block.ends_with(b"\n\n"), "{}", text(block));
        let (mut id, mut data, mut event) = (None, None, None);
        for line in text(block).lines() {
            match line.split_once(": ") {
                Some(("id", value)) => id = Some(value),
                Some(("data", value)) => data = Some(value),
                Some(("event", value)) => event = Some(value),
                Some(("retry", _)) | None => {}
                Some(other) => panic!("{other:?}"),
            }
        }
        match (id, data, self.kind) {
            (Some(_), Some(_), _) if event == Some("fanfare.open") => self.is_ready = true,
            (Some(id), Some(data), Kind::SseRaw) => {
                self.check_position(id);
                self.check(None, data);
            }
            (Some(id), Some(data), _) => {
                let envelope: Envelope<'_> = serde_json::from_str(data).unwrap();
                assert_eq!(envelope.id, id);
                self.check_envelope(&envelope);
            }
            (_, None, _) => panic!("a block without data"),
            (None, Some(data), _) => panic!("a message without an id: {data}"),
        }
        Some(end)
    }

    fn take_answer(&mut self, bytes: &[u8]) -> Option<usize> {
        let body = find(bytes, b"\r\n\r\n")? + 4;
        let head = text(&bytes[..body]);
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
        let end = body + length.parse::<usize>().unwrap();
        let answer: Answer<'_> = serde_json::from_slice(bytes.get(body..end)?).unwrap();
        assert_eq!(answer.gaps, None);
        if self.since.is_some() {
            assert!(
                !answer.messages.is_empty() || self.is_done(),
                "answered for nothing: {self:?}"
            );
        }
        answer.messages.iter().for_each(|envelope| self.check_envelope(envelope));
        if let Some(last) = answer.messages.last() {
            assert_eq!(answer.id, last.id);
        }
        let is_first = self.since.replace(answer.id.to_owned()).is_none();
        self.is_ready = true;
        // The first one that waits is asked when there will be something to wait for.
        if !is_first {
            self.ask();
        }
        Some(end)
    }

    fn check_envelope(&mut self, envelope: &Envelope<'_>) {
        self.check_position(envelope.id);
        let channel = envelope.channel.strip_prefix("load:").unwrap();
        assert_eq!(envelope.data.split(':').nth(1), Some(channel));
        self.check(Some(envelope.offset), envelope.data);
    }

    /// One connection gets all of its channels in the order of positions.
    fn check_position(&mut self, id: &str) {
        let position = id.split_once('-').unwrap().1.parse().unwrap();
        assert!(position > self.position, "{id} after {}", self.position);
        self.position = position;
    }

    /// Each publisher's numbers are dense, and so are offsets.
    fn check(&mut self, offset: Option<u64>, data: &str) {
        let data = data.trim_matches('"'); // what the API took as JSON is JSON in the raw format
        let mut parts = data.split(':');
        let source = usize::from(parts.next().unwrap() == "h");
        let channel: usize = parts.next().unwrap().parse().unwrap();
        let number: u64 = parts.next().unwrap().parse().unwrap();
        let seen = self.seen.iter_mut().find(|seen| seen.channel == channel);
        let seen = seen.unwrap_or_else(|| panic!("{data} is not of a followed channel"));
        assert_eq!(number, seen.numbers[source] + 1, "{data} after {seen:?}, {:?}", self.kind);
        seen.numbers[source] = number;
        seen.count += 1;
        if let Some(offset) = offset {
            assert_eq!(offset, seen.count, "{data} after {seen:?}");
        }
        for byte in data.bytes() {
            seen.order = (seen.order ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("what was published was text")
}
