//! One client: what the server says to it, turned into what counts.

use super::ledger::Ledger;
use super::plan::{Group, Transport};
use super::read::Violation;
use super::read::body::Body;
use super::read::frames::{Frame, Frames};
use super::read::head::{Head, HeadReader};
use super::read::lines::Lines;
use super::scan::{Found, Scanner};
use crate::driver::Token;

/// What a client has seen.
#[derive(Debug)]
pub enum Seen<'b> {
    /// It is connected: upgraded, streaming, or its first poll is answered.
    Open,
    /// A probe or a gap notice.
    Found(Found),
    /// A ping that is owed a pong with this.
    Ping(&'b [u8]),
    /// The server closes, with this code.
    Close(u16),
    /// The server answered otherwise than hoped.
    Refused(u16),
    /// A poll was answered: the next is due.
    PollAnswered,
}

/// Where a client is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionState {
    /// Not begun, or between two lives.
    Waiting,
    /// Being dialed.
    Dialing,
    /// Connected; the request is on its way.
    Asked,
    /// Following its channel.
    Open,
    /// Over for good.
    Over,
}

/// What the next byte is.
#[derive(Debug)]
enum Stage {
    Head(HeadReader),
    Frames(Frames),
    Stream(Body, Lines),
    Poll(Body),
}

/// The id that a poll's answer begins with, as far as it has come.
#[derive(Debug, Default)]
struct PollId {
    /// The body's first bytes.
    body: Vec<u8>,
    id: String,
}

const POLL_BODY: &[u8] = br#"{"id":""#;
/// Enough of a poll's body to hold the id.
const POLL_HEAD_BYTES: usize = POLL_BODY.len() + 64;

/// One client.
#[derive(Debug)]
pub struct Connection {
    /// Its socket, while it has one.
    pub token: Option<Token>,
    /// Where it is in its life.
    pub life: ConnectionState,
    /// How it is connected.
    pub transport: Transport,
    /// With whom it is counted.
    pub group: Group,
    /// It does not read at present.
    pub stalled: bool,
    /// It is among those that are received from next.
    pub due: bool,
    /// The server has ended its side: read until the end.
    pub hangup: bool,
    /// The server has said that it closes.
    pub closing: bool,
    /// It has had a message of this run.
    pub called: bool,
    /// Failed attempts in a row.
    pub failures: u8,
    /// What it has had.
    pub ledger: Ledger,
    stage: Stage,
    scanner: Scanner,
    poll: Option<Box<PollId>>,
}

impl Connection {
    /// A client that has not begun.
    pub fn new(transport: Transport, group: Group) -> Self {
        Self {
            token: None,
            life: ConnectionState::Waiting,
            transport,
            group,
            stalled: false,
            due: false,
            hangup: false,
            closing: false,
            called: false,
            failures: 0,
            ledger: Ledger::default(),
            stage: Stage::Head(HeadReader::default()),
            scanner: Scanner::default(),
            poll: None,
        }
    }

    /// Begins to read a new connection; the ledger goes on.
    pub fn begin(&mut self, token: Token) {
        self.token = Some(token);
        self.life = ConnectionState::Asked;
        self.stage = Stage::Head(HeadReader::default());
        self.scanner = Scanner::default();
        (self.due, self.hangup, self.closing) = (false, false, false);
        if self.transport == Transport::LongPoll {
            // Its id stays: a poll that comes back goes on where it was.
            let poll = self.poll.get_or_insert_default();
            poll.body.clear();
        }
    }

    /// Begins anew: what comes next is another client's.
    pub fn forget(&mut self) {
        self.ledger = Ledger::default();
        self.poll = None;
    }

    /// The id after which the next poll asks.
    pub fn poll_id(&self) -> Option<&str> {
        self.poll.as_ref().map(|poll| poll.id.as_str()).filter(|id| !id.is_empty())
    }

    /// Takes what arrived. `accept` is the right `Sec-WebSocket-Accept`.
    ///
    /// # Errors
    /// The server broke its protocol; nothing after it can be read.
    pub fn feed(
        &mut self,
        mut bytes: &[u8],
        accept: &[u8],
        seen: &mut impl FnMut(Seen<'_>),
    ) -> Result<(), Violation> {
        while !bytes.is_empty() {
            let Self { stage, scanner, poll, transport, life, .. } = self;
            match stage {
                Stage::Head(reader) => {
                    let Some((head, rest)) = reader.feed(bytes)? else { return Ok(()) };
                    bytes = rest;
                    match after(&head, *transport, accept)? {
                        Some(next) => *stage = next,
                        None => {
                            seen(Seen::Refused(head.status));
                            return Ok(());
                        }
                    }
                    if poll.is_none() {
                        *life = ConnectionState::Open;
                        seen(Seen::Open);
                    }
                }
                Stage::Frames(frames) => {
                    return frames.feed(bytes, &mut |frame| match frame {
                        Frame::Payload(piece) => {
                            scanner.feed(piece, &mut |found| seen(Seen::Found(found)));
                        }
                        Frame::MessageEnd => {}
                        Frame::Ping(payload) => seen(Seen::Ping(payload)),
                        Frame::Close(code) => seen(Seen::Close(code)),
                    });
                }
                Stage::Stream(body, lines) => {
                    let Some(piece) = body.next(&mut bytes)? else { return Ok(()) };
                    lines.feed(piece, &mut |value| {
                        scanner.feed(value, &mut |found| seen(Seen::Found(found)));
                    });
                }
                Stage::Poll(body) => {
                    if let Some(piece) = body.next(&mut bytes)? {
                        let poll = poll.as_mut().expect("a poll has its id");
                        let room = POLL_HEAD_BYTES.saturating_sub(poll.body.len());
                        poll.body.extend_from_slice(&piece[..piece.len().min(room)]);
                        scanner.feed(piece, &mut |found| seen(Seen::Found(found)));
                    }
                    if body.is_over() {
                        self.end_poll(seen)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn end_poll(&mut self, seen: &mut impl FnMut(Seen<'_>)) -> Result<(), Violation> {
        let poll = self.poll.as_mut().expect("a poll has its id");
        let id =
            poll.body.strip_prefix(POLL_BODY).and_then(|rest| rest.split(|b| *b == b'"').next());
        let id = id.and_then(|id| std::str::from_utf8(id).ok()).ok_or("a poll without an id")?;
        poll.id = id.to_owned();
        poll.body.clear();
        self.stage = Stage::Head(HeadReader::default());
        if self.life == ConnectionState::Asked {
            self.life = ConnectionState::Open;
            seen(Seen::Open);
        }
        seen(Seen::PollAnswered);
        Ok(())
    }
}

/// What follows a head; `None` where it refuses.
fn after(head: &Head, transport: Transport, accept: &[u8]) -> Result<Option<Stage>, Violation> {
    Ok(match (transport, head.status) {
        (Transport::WebSocket, 101) => {
            if head.accept.as_deref() != Some(accept) {
                return Err("a wrong Sec-WebSocket-Accept");
            }
            Some(Stage::Frames(Frames::default()))
        }
        (Transport::EventStream, 200) => {
            Some(Stage::Stream(Body::new(head.length), Lines::default()))
        }
        (Transport::LongPoll, 200) => Some(Stage::Poll(Body::new(head.length))),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::probe::Probe;

    const TOKEN: Token = Token { index: 0, generation: 1 };

    /// What a client sees of `stream`, cut in two at every place.
    fn every_split(transport: Transport, stream: &[u8]) -> Vec<String> {
        let mut all: Option<Vec<String>> = None;
        for cut in 0..=stream.len() {
            let mut out = Vec::new();
            let mut client = Connection::new(transport, Group::Main);
            client.begin(TOKEN);
            let (first, second) = stream.split_at(cut);
            for piece in [first, second] {
                let fed = client.feed(piece, b"right", &mut |seen| {
                    out.push(match seen {
                        Seen::Found(Found::Probe(probe)) => format!("{}", probe.sequence),
                        other => format!("{other:?}"),
                    });
                });
                out.extend(fed.err().map(str::to_owned));
            }
            out.extend(client.poll_id().map(str::to_owned));
            assert_eq!(all.get_or_insert_with(|| out.clone()), &out, "cut at {cut}");
        }
        all.unwrap()
    }

    fn message(sequence: u32) -> String {
        let mut out = Vec::new();
        Probe { run: 1, stream: 0, sequence, nanos: 2 }.write(50, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_websocket_however_it_is_cut() {
        let head = "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: right\r\n\r\n";
        let frames = format!("\u{1}{0}\u{1}{1}", message(1), message(2));
        let mut stream = [head.as_bytes(), frames.as_bytes()].concat();
        // The stand-in bytes above become headers: FIN and text, 50 bytes.
        let mut at = head.len();
        for _ in 0..2 {
            stream.splice(at..=at, [0x81, 50]);
            at += 52;
        }
        stream.extend([0x89, 2, b'h', b'i', 0x88, 2, 0x11, 0x9c]);
        let ping = format!("Ping({:?})", b"hi");
        assert_eq!(
            every_split(Transport::WebSocket, &stream),
            ["Open", "1", "2", ping.as_str(), "Close(4508)"]
        );
        let wrong = b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: left\r\n\r\n";
        assert_eq!(every_split(Transport::WebSocket, wrong), ["a wrong Sec-WebSocket-Accept"]);
        let busy = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(every_split(Transport::WebSocket, busy), ["Refused(503)"]);
    }

    #[test]
    fn an_event_stream_however_it_is_cut_chunked_or_not() {
        let (one, two) = (message(1), message(2));
        let opening = r#"data: {"id":"z"}"#;
        let events = format!(
            "retry: 1\nid: z\nevent: fanfare.open\n{opening}\n\n:\nid: a\ndata: {one}\n\n: {one}\n\
             data: {two}\n\n"
        );
        let plain = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{events}");
        assert_eq!(every_split(Transport::EventStream, plain.as_bytes()), ["Open", "1", "2"]);
        let (first, second) = events.split_at(30);
        let chunked = format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{first}\r\n{:x}\r\n\
             {second}\r\n",
            first.len(),
            second.len()
        );
        assert_eq!(every_split(Transport::EventStream, chunked.as_bytes()), ["Open", "1", "2"]);
    }

    #[test]
    fn polls_however_they_are_cut() {
        let answer = |id: &str, messages: &str| {
            let body = format!("{{\"id\":\"{id}\",\"messages\":[{messages}]}}");
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        };
        let item = format!("{{\"channel\":\"b\",\"data\":\"{}\"}}", message(3));
        let stream = answer("28t5cy4t-1", "") + &answer("28t5cy4t-2", &item);
        assert_eq!(
            every_split(Transport::LongPoll, stream.as_bytes()),
            ["Open", "PollAnswered", "3", "PollAnswered", "28t5cy4t-2"]
        );
    }
}
