//! What these tests say to a node and how they read its answers.

use std::io::Read;
use std::net::Shutdown;

use fanfare::node::Server;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use socket2::SockRef;

use crate::support::{Client, text};

/// The type of an event stream.
pub(crate) const STREAM: &str = "text/event-stream; charset=utf-8";

/// An answer with its length.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// The next answer of a client that asked with anything but HEAD.
    pub(crate) fn read(client: &mut Client) -> Self {
        let (head, body) = client.answer();
        Self { status: status(&head), head, body }
    }

    /// The value of a field that stands at most once.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }

    /// The word for programs in a refusal, which is small JSON with a sentence for people.
    pub(crate) fn error(&self) -> String {
        let body: serde_json::Value = serde_json::from_str(&self.body).expect("refusals are JSON");
        assert!(body["message"].as_str().unwrap().ends_with('.'), "{self:?}");
        assert_eq!(self.field("Content-Type"), Some("application/json"));
        assert!(self.head.len() + self.body.len() < 640, "{self:?}");
        body["error"].as_str().unwrap().to_string()
    }
}

/// The status of a head.
pub(crate) fn status(head: &str) -> u16 {
    let code = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
    code.and_then(|code| code.parse().ok()).unwrap_or_else(|| panic!("no status in {head:?}"))
}

/// The value of a field that stands at most once in a head.
pub(crate) fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut values = head.lines().filter_map(|line| {
        let (of, value) = line.split_once(": ")?;
        of.eq_ignore_ascii_case(name).then_some(value)
    });
    let first = values.next();
    assert_eq!(values.next(), None, "{name} twice in {head}");
    first
}

/// How bytes are cut on their way.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cut {
    Whole,
    ByteByByte,
}

/// What is longer goes whole only: the node does not listen to a refused client for ever.
const BYTE_BY_BYTE_MAX: usize = 20_000;

/// Both ways.
pub(crate) const CUTS: [Cut; 2] = [Cut::Whole, Cut::ByteByByte];

impl Cut {
    /// Sends `bytes`; a node that has heard enough may have ended before the last one.
    pub(crate) fn send(self, client: &mut Client, bytes: &[u8]) {
        use std::io::Write;
        let step = match self {
            Self::Whole => bytes.len().max(1),
            Self::ByteByByte => 1,
        };
        for piece in bytes.chunks(step) {
            if client.socket.write_all(piece).is_err() {
                return;
            }
        }
    }
}

/// A connection to the public listener.
pub(crate) fn connect(node: &Server) -> Client {
    Client::connect(node.addresses().listen)
}

/// Sends `bytes`, cut and uncut: each time one refusal with `status`, then the end, in order.
#[track_caller]
pub(crate) fn refused(node: &Server, row: &str, bytes: &[u8], status: u16) -> Answer {
    let ask = |cut: Cut| {
        let mut client = connect(node);
        match cut {
            Cut::Whole => cut.send(&mut client, bytes),
            // Who goes on after the answer for longer than the node listens has its RST.
            Cut::ByteByByte => {
                for byte in bytes.chunks(1) {
                    if is_answered(&client) {
                        break;
                    }
                    Cut::Whole.send(&mut client, byte);
                }
            }
        }
        let answer = Answer::read(&mut client);
        let shown = text(&bytes[..bytes.len().min(200)]);
        assert_eq!(answer.status, status, "{row}, {cut:?}: {shown:?} got {answer:?}");
        assert_eq!(answer.field("Connection"), Some("close"), "{row}: {answer:?}");
        answer.error();
        ends(client, row);
        answer
    };
    if bytes.len() < BYTE_BY_BYTE_MAX {
        ask(Cut::ByteByByte);
    }
    ask(Cut::Whole)
}

/// Sends `bytes`, which are a good request for a page; it is answered 200.
#[track_caller]
pub(crate) fn accepted(node: &Server, row: &str, bytes: &[u8]) -> Answer {
    let mut client = connect(node);
    client.send(bytes);
    let answer = Answer::read(&mut client);
    assert_eq!(answer.status, 200, "{row}: {answer:?}");
    answer
}

/// The client has said all: the node says nothing more either, and ends with FIN, not with RST.
#[track_caller]
pub(crate) fn ends(client: Client, row: &str) {
    let _ = client.socket.shutdown(Shutdown::Write); // the node may have ended already
    let (reset, rest) = client.end();
    assert!(!reset, "{row}: ended with RST");
    assert_eq!(text(&rest), "", "{row}: said more");
}

/// The node ends by itself, in whichever way; what it said before.
#[track_caller]
pub(crate) fn ended_by_node(mut client: Client, row: &str) -> Vec<u8> {
    let mut chunk = [0; 65_536];
    loop {
        match client.socket.read(&mut chunk) {
            Ok(0) => return client.buffer,
            Ok(count) => client.arrived(&chunk[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => {
                let silent = matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                );
                assert!(!silent, "{row}: the node did not end the connection");
                return client.buffer;
            }
        }
    }
}

/// The client dies: RST.
pub(crate) fn reset(client: Client) {
    let now = Some(std::time::Duration::ZERO);
    SockRef::from(&client.socket).set_linger(now).expect("a socket has this option");
}

/// A GET of `target` with `fields`, lines that end in CRLF.
pub(crate) fn get(target: &str, fields: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n")
}

/// An upgrade at `target` with more `fields`.
pub(crate) fn upgrade(target: &str, fields: &str) -> String {
    let request = crate::support::upgrade(target);
    let head = request.strip_suffix("\r\n").unwrap();
    format!("{head}{fields}\r\n")
}

/// A client's frame, masked with 1, 2, 3, 4.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    masked(first, payload, [1, 2, 3, 4])
}

/// A client's frame.
pub(crate) fn masked(first: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ ..126 => frame.push(0x80 | length as u8),
        length @ ..65_536 => {
            frame.push(0x80 | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// The client speaks and is heard: a ping of it has its pong.
#[track_caller]
pub(crate) fn is_heard(client: &mut Client, row: &str) {
    client.send(&frame(0x89, b"heard?"));
    assert_eq!(client.frame(), (0x8a, b"heard?".to_vec()), "{row}");
}

/// Whether the node has said something, or ended.
fn is_answered(client: &Client) -> bool {
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    !matches!(recv(&client.socket, &mut [0; 1], flags), Err(Errno::AGAIN))
}
