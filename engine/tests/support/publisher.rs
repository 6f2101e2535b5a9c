//! A publisher on the Unix socket that is a socket and the wire format, and nothing else: tests
//! write what they mean, and hear every reply.
#![allow(dead_code)] // each test binary uses its part

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use fanfare_protocol::ingest::client::{Decoder, Reply};
use fanfare_protocol::ingest::{PublishFrame, write};

/// Longest wait for a reply, or for room: a failure, not a measure.
const PATIENCE: Duration = Duration::from_secs(120);

/// One connection.
pub struct Publisher {
    /// The socket.
    pub stream: UnixStream,
    decoder: Decoder,
    unread: Vec<u8>,
}

impl Publisher {
    /// One that has said nothing.
    pub fn silent(path: &Path) -> Self {
        Self::of(UnixStream::connect(path).expect("the node listens"))
    }

    /// One that has said which version it speaks.
    pub fn connect(path: &Path) -> Self {
        let mut publisher = Self::silent(path);
        let mut preface = Vec::new();
        write::preface(&mut preface);
        publisher.send(&preface);
        publisher
    }

    /// On a socket that is connected.
    pub fn of(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream, decoder: Decoder::new(), unread: Vec::new() }
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the node reads");
    }

    /// Sends messages, each in a frame of its own.
    pub fn publish(&mut self, frames: &[PublishFrame<'_>]) {
        let mut bytes = Vec::new();
        frames.iter().for_each(|frame| write::publish(frame, &mut bytes));
        self.send(&bytes);
    }

    /// Writes as much of `bytes` as is taken before nothing more is for `patience`; how much.
    pub fn send_until_blocked(&mut self, bytes: &[u8], patience: Duration) -> usize {
        self.stream.set_write_timeout(Some(patience)).unwrap();
        let mut sent = 0;
        while sent < bytes.len() {
            match self.stream.write(&bytes[sent..]) {
                Ok(more) => sent += more,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("{error}"),
            }
        }
        self.stream.set_write_timeout(Some(PATIENCE)).unwrap();
        sent
    }

    /// What `told` makes of the next reply; `None` where the connection ends.
    pub fn hear<T>(&mut self, mut told: impl FnMut(Reply<'_>) -> T) -> Option<T> {
        loop {
            let mut input = self.unread.as_slice();
            let heard = self.decoder.next(&mut input).unwrap().map(&mut told);
            let taken = self.unread.len() - input.len();
            self.unread.drain(..taken);
            if heard.is_some() {
                return heard;
            }
            let mut piece = [0; 16 << 10];
            match self.stream.read(&mut piece) {
                Ok(0) => return None,
                Ok(read) => self.take(&piece[..read]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                // A read with a timeout is not begun again by the kernel.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("no reply in time: {error}"),
            }
        }
    }

    /// Bytes that a test has read by itself.
    pub fn take(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
    }

    /// Whether bytes came that are no reply yet.
    pub fn has_unread(&self) -> bool {
        !self.unread.is_empty()
    }
}

/// Publishes one batch, and nothing after it: what `told` makes of the replies up to the end.
pub fn publish_batch<T>(
    path: &Path,
    messages: &[PublishFrame<'_>],
    mut told: impl FnMut(Reply<'_>) -> Option<T>,
) -> Vec<T> {
    let mut publisher = Publisher::connect(path);
    let mut bytes = Vec::new();
    write::batch(messages, &mut bytes);
    publisher.send(&bytes);
    publisher.stream.shutdown(Shutdown::Write).unwrap();
    std::iter::from_fn(|| publisher.hear(&mut told)).flatten().collect()
}
