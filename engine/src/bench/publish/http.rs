//! Publishing over HTTP: a POST for each message on one connection that is kept, each answered
//! before the next. Servers answer before they fan out, so this does not keep them from
//! coalescing.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use fanfare_protocol::http::percent;
use fanfare_protocol::id::Id;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::Outlet;
use crate::bench::read::body::Body;
use crate::bench::read::head::{HeadReader, Length};
use crate::bench::target::Url;
use crate::bench::worker::Shared;

/// A server that says nothing for so long is stuck.
const STUCK: Duration = Duration::from_secs(10);
/// What is kept of an answer: it may begin with the message's id.
const ANSWER_BYTES: usize = 256;

/// One kept connection.
pub(super) struct Http {
    url: Url,
    /// What follows the path of a request.
    head: String,
    shared: Arc<Shared>,
    number: u8,
    stream: Option<TcpStream>,
    request: Vec<u8>,
}

impl Http {
    pub(super) fn open(url: &Url, shared: Arc<Shared>, number: u8) -> Result<Self, String> {
        let mut head = format!(" HTTP/1.1\r\nHost: {}\r\nContent-Type: text/plain\r\n", url.host);
        if let Ok(key) = std::env::var("FANFARE_API_KEY") {
            head.push_str(&format!("Authorization: Bearer {key}\r\n"));
        }
        let url = url.clone();
        let mut http = Self { url, head, shared, number, stream: None, request: Vec::new() };
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
        self.request.clear();
        let mut encoded = String::new();
        percent::encode(channel, &mut encoded);
        let path = match &self.url.path {
            Some(path) => path.replace("{channel}", &encoded),
            None => format!("/v1/channels/{encoded}"),
        };
        let (head, length) = (&self.head, payload.len());
        let _ = write!(self.request, "POST {path}{head}Content-Length: {length}\r\n\r\n");
        self.request.extend_from_slice(payload);
        let mut stream = match self.stream.take() {
            Some(stream) if !is_over(&stream) => stream,
            _ => self.connect()?,
        };
        let failed = |what: &dyn std::fmt::Display| format!("publishing failed: {what}");
        stream.write_all(&self.request).map_err(|error| failed(&error))?;
        let answer = read(&mut stream).map_err(|what| failed(&what))?;
        if !(200..300).contains(&answer.status) {
            let text = String::from_utf8_lossy(&answer.body);
            return Err(format!("{} answers {}: {text}", self.url.text, answer.status));
        }
        // Fanfare tells the message's id, from which clients may resume.
        if let (0, Some(id)) = (self.number, id_of(&answer.body)) {
            self.shared.ids.set(sequence, id);
        }
        self.stream = answer.is_kept.then_some(stream);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), String> {
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

fn read(stream: &mut TcpStream) -> Result<Answer, String> {
    let (mut reader, mut buffer) = (HeadReader::default(), [0; 4_096]);
    let mut kept = Vec::new();
    let mut state: Option<(u16, Body, bool)> = None;
    loop {
        let count = match stream.read(&mut buffer) {
            Ok(count) => count,
            // The kernel interrupts a read with a time limit for reasons of its own.
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.to_string()),
        };
        let mut bytes = &buffer[..count];
        if count == 0 {
            let (status, _, _) = state.ok_or("the server closed before it answered")?;
            return Ok(Answer { status, body: kept, is_kept: false });
        }
        if state.is_none()
            && let Some((head, rest)) = reader.feed(bytes)?
        {
            bytes = rest;
            let is_kept = head.length != Length::UntilClose;
            state = Some((head.status, Body::new(head.length), is_kept));
        }
        let Some((status, body, is_kept)) = &mut state else { continue };
        while let Some(piece) = body.next(&mut bytes)? {
            let room = ANSWER_BYTES - kept.len().min(ANSWER_BYTES);
            kept.extend_from_slice(&piece[..piece.len().min(room)]);
        }
        if body.is_over() {
            return Ok(Answer { status: *status, body: kept, is_kept: *is_kept });
        }
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
}
