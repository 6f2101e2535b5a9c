//! Publishing over HTTP: a POST for each message on one connection that is kept, each answered
//! before the next. Servers answer before they fan out, so this does not keep them from
//! coalescing.
//!
//! Where each message goes to one client, what a message costs would be what waking the server for
//! it costs. So there the requests of one flush are written one behind the other, and then their
//! answers are read (RFC 9112, section 9.3.2).

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use fanfare_protocol::http::percent;
use fanfare_protocol::id::Id;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::outlet::Outlet;
use crate::bench::plan::Mode;
use crate::bench::read::body::Body;
use crate::bench::read::head::{HeadReader, Length};
use crate::bench::shared::Shared;
use crate::bench::target::Url;

/// A server that says nothing for so long is stuck.
const STUCK: Duration = Duration::from_secs(10);
/// What is kept of an answer: it may begin with the message's id.
const ANSWER_BYTES: usize = 256;
/// Requests that are written before their answers are read: both fit into socket buffers.
const PIPELINED_MAX: usize = 64;

/// One kept connection.
pub(super) struct Http {
    url: Url,
    /// What follows the path of a request.
    head: String,
    shared: Arc<Shared>,
    number: u8,
    stream: Option<TcpStream>,
    /// Requests that were not written yet, end to end.
    requests: Vec<u8>,
    /// Sequences of their messages.
    unwritten: Vec<u32>,
    /// How many are written at once.
    pipelined: usize,
    /// Bytes that came behind the last answer.
    early: Vec<u8>,
}

impl Http {
    pub(super) fn open(url: &Url, shared: Arc<Shared>, number: u8) -> Result<Self, String> {
        let mut head = format!(" HTTP/1.1\r\nHost: {}\r\nContent-Type: text/plain\r\n", url.host);
        if let Ok(key) = std::env::var("FANFARE_API_KEY") {
            head.push_str(&format!("Authorization: Bearer {key}\r\n"));
        }
        let url = url.clone();
        let pipelined = if shared.plan.mode == Mode::Unicast { PIPELINED_MAX } else { 1 };
        let (requests, unwritten, early) = (Vec::new(), Vec::new(), Vec::new());
        let mut http =
            Self { url, head, shared, number, stream: None, requests, unwritten, pipelined, early };
        http.stream = Some(http.connect()?);
        Ok(http)
    }

    fn connect(&self) -> Result<TcpStream, String> {
        let connect = || {
            let stream = TcpStream::connect_timeout(&self.url.address, STUCK)?;
            stream.set_read_timeout(Some(STUCK))?;
            stream.set_write_timeout(Some(STUCK))?;
            stream.set_nodelay(true)?;
            std::io::Result::Ok(stream)
        };
        connect().map_err(|error| format!("nobody answers at {} ({error})", self.url.text))
    }
}

impl Outlet for Http {
    fn send(&mut self, channel: &str, sequence: u32, payload: &[u8]) -> Result<(), String> {
        let mut encoded = String::new();
        percent::encode(channel, &mut encoded);
        let path = match &self.url.path {
            Some(path) => path.replace("{channel}", &encoded),
            None => format!("/v1/channels/{encoded}"),
        };
        let (head, length) = (&self.head, payload.len());
        let _ = write!(self.requests, "POST {path}{head}Content-Length: {length}\r\n\r\n");
        self.requests.extend_from_slice(payload);
        self.unwritten.push(sequence);
        if self.unwritten.len() >= self.pipelined { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), String> {
        if self.unwritten.is_empty() {
            return Ok(());
        }
        let mut stream = match self.stream.take() {
            Some(stream) if !is_over(&stream) => stream,
            _ => self.connect()?,
        };
        let failed = |what: &dyn std::fmt::Display| format!("publishing failed: {what}");
        stream.write_all(&self.requests).map_err(|error| failed(&error))?;
        self.requests.clear();
        let mut is_kept = true;
        for sequence in self.unwritten.drain(..) {
            if !is_kept {
                return Err(failed(&"the server closed before it answered all"));
            }
            let answer = read(&mut stream, &mut self.early).map_err(|what| failed(&what))?;
            if !(200..300).contains(&answer.status) {
                let text = String::from_utf8_lossy(&answer.body);
                return Err(format!("{} answers {}: {text}", self.url.text, answer.status));
            }
            // Fanfare tells the message's id, from which clients may resume.
            if let (0, Some(id)) = (self.number, id_of(&answer.body)) {
                self.shared.ids.set(sequence, id);
            }
            is_kept = answer.is_kept;
        }
        self.stream = is_kept.then_some(stream);
        Ok(())
    }
}

/// Whether the server has closed a kept connection meanwhile, or said something unasked on it. It
/// may, as soon as it has waited for a few seconds (RFC 9112, section 9.5); uWebSockets does after
/// ten, which a slow rate or a long time of connecting takes. Nothing was sent that could be lost.
fn is_over(stream: &TcpStream) -> bool {
    let peeked = recv(stream, &mut [0_u8; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT);
    !matches!(peeked, Err(Errno::AGAIN))
}

fn id_of(body: &[u8]) -> Option<Id> {
    let text = std::str::from_utf8(body).ok()?;
    Id::parse(text.split_once(r#""id":""#)?.1.split('"').next()?.as_bytes())
}

struct Answer {
    status: u16,
    body: Vec<u8>,
    is_kept: bool,
}

/// Reads one answer. `early` is what came behind the one before, and then behind this one.
fn read(stream: &mut TcpStream, early: &mut Vec<u8>) -> Result<Answer, String> {
    let (mut reader, mut buffer) = (HeadReader::default(), [0; 4_096]);
    let mut kept = Vec::new();
    let mut state: Option<(u16, Body, bool)> = None;
    let mut came = std::mem::take(early);
    loop {
        if came.is_empty() {
            match stream.read(&mut buffer) {
                // The kernel interrupts a read with a time limit for reasons of its own.
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.to_string()),
                Ok(0) => {
                    let (status, _, _) = state.ok_or("the server closed before it answered")?;
                    return Ok(Answer { status, body: kept, is_kept: false });
                }
                Ok(count) => came.extend_from_slice(&buffer[..count]),
            }
        }
        let mut bytes = &came[..];
        if state.is_none() {
            match reader.feed(bytes)? {
                Some((head, rest)) => {
                    bytes = rest;
                    let is_kept = head.length != Length::UntilClose;
                    state = Some((head.status, Body::new(head.length), is_kept));
                }
                None => bytes = &[],
            }
        }
        if let Some((status, body, is_kept)) = &mut state {
            while let Some(piece) = body.next(&mut bytes)? {
                let room = ANSWER_BYTES - kept.len().min(ANSWER_BYTES);
                kept.extend_from_slice(&piece[..piece.len().min(room)]);
            }
            if body.is_over() {
                early.extend_from_slice(bytes);
                return Ok(Answer { status: *status, body: kept, is_kept: *is_kept });
            }
        }
        came.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_connection_is_used_until_the_server_closes_it_or_speaks_unasked() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let pair = || {
            let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            (ours, listener.accept().unwrap().0)
        };
        let (ours, theirs) = pair();
        assert!(!is_over(&ours));
        drop(theirs);
        // The end of a stream on loopback is there at once, yet nobody promises that.
        ours.peek(&mut [0]).unwrap();
        assert!(is_over(&ours));

        let (ours, mut theirs) = pair();
        theirs.write_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n").unwrap();
        ours.peek(&mut [0]).unwrap();
        assert!(is_over(&ours));
    }

    #[test]
    fn answers_are_read_one_by_one_however_they_are_cut() {
        let said = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc\
                     HTTP/1.1 204 No Content\r\n\r\n\
                     HTTP/1.1 201 X\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n0\r\n\r\n\
                     HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        for cut in 0..=said.len() {
            let mut ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let mut theirs = listener.accept().unwrap().0;
            theirs.write_all(&said[..cut]).unwrap();
            let rest = said[cut..].to_vec();
            let sender = std::thread::spawn(move || theirs.write_all(&rest).unwrap());
            let mut early = Vec::new();
            let mut next = || {
                let answer = read(&mut ours, &mut early).unwrap();
                (answer.status, String::from_utf8(answer.body).unwrap())
            };
            assert_eq!(next(), (200, "abc".into()), "{cut}");
            assert_eq!(next(), (204, String::new()), "{cut}");
            assert_eq!(next(), (201, "de".into()), "{cut}");
            assert_eq!(next(), (200, String::new()), "{cut}");
            sender.join().unwrap();
            assert!(early.is_empty());
        }
    }
}
