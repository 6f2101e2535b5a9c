//! Publishing over Fanfare's Unix socket: frames go out as they come, and a thread reads what
//! became of them.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use fanfare_protocol::id::Epoch;
use fanfare_protocol::ingest::client::{Decoder, Reply};
use fanfare_protocol::ingest::{DeclaredKind, PublishFrame, write};
use fanfare_protocol::message::Kind;

use super::outlet::Outlet;
use crate::bench::plan::Mode;
use crate::bench::shared::Shared;

/// A server that takes nothing for so long is stuck.
const STUCK: Duration = Duration::from_secs(10);
/// Bytes that are gathered before they are written.
const BATCH_BYTES: usize = 64 << 10;

/// One connection to the socket.
pub(super) struct Socket {
    stream: UnixStream,
    buffer: Vec<u8>,
    /// Whether each message asks for its id, because clients may resume from it.
    wants_ids: bool,
    failure: Arc<Mutex<Option<String>>>,
}

impl Socket {
    pub(super) fn open(path: &Path, shared: Arc<Shared>, number: u8) -> Result<Self, String> {
        let stream = UnixStream::connect(path).map_err(|error| {
            format!(
                "no server listens at {} ({error}): start one with `fanfare`, or say where its \
                 socket is with --socket, or how it is published to with --publish-url",
                path.display()
            )
        })?;
        let lost = |error: std::io::Error| format!("the server's socket is of no use: {error}");
        stream.set_write_timeout(Some(STUCK)).map_err(lost)?;
        let failure = Arc::new(Mutex::new(None));
        let wants_ids = number == 0 && shared.plan.mode == Mode::Storm;
        let replies = stream.try_clone().map_err(lost)?;
        let told = Arc::clone(&failure);
        thread::Builder::new()
            .name(format!("replies-{number}"))
            .spawn(move || {
                let end = read(replies, &shared);
                told.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(end);
            })
            .map_err(lost)?;
        let mut buffer = Vec::with_capacity(2 * BATCH_BYTES);
        write::preface(&mut buffer);
        let mut socket = Self { stream, buffer, wants_ids, failure };
        // At once: a server does not wait long for an opening, and connecting may take long.
        socket.flush()?;
        Ok(socket)
    }

    fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Outlet for Socket {
    fn send(&mut self, channel: &str, _sequence: u32, payload: &[u8]) -> Result<(), String> {
        let message = PublishFrame {
            answer: self.wants_ids,
            kind: DeclaredKind::Known(Kind::Text),
            channel: channel.as_bytes(),
            data: payload,
            ..PublishFrame::default()
        };
        write::publish(&message, &mut self.buffer);
        if self.buffer.len() >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), String> {
        if let Some(failure) = self.failure() {
            return Err(failure);
        }
        let written = self.stream.write_all(&self.buffer);
        self.buffer.clear();
        written.map_err(|error| {
            let why = self.failure().unwrap_or_else(|| error.to_string());
            format!("publishing failed: {why}")
        })
    }
}

impl Drop for Socket {
    /// The other half of the stream lives with the thread that reads, and would keep it open.
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// Reads outcomes until there are no more; why.
fn read(mut stream: UnixStream, shared: &Shared) -> String {
    let (mut decoder, mut buffer) = (Decoder::new(), vec![0; BATCH_BYTES]);
    let mut epoch = Epoch::from_random(0);
    loop {
        let mut bytes = match stream.read(&mut buffer) {
            Ok(0) => return "the server ended the connection".into(),
            Ok(count) => &buffer[..count],
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return error.to_string(),
        };
        loop {
            match decoder.next(&mut bytes) {
                Ok(None) => break,
                Ok(Some(Reply::Hello(hello))) => epoch = hello.epoch,
                // The n-th message of a connection is the n-th of its stream.
                Ok(Some(Reply::Answer(answer))) => {
                    shared.ids.set(answer.sequence as u32, answer.id(epoch));
                }
                Ok(Some(Reply::Refused { code, text, .. })) => {
                    return format!("the server refused a message ({}): {text}", code.0);
                }
                Ok(Some(Reply::Error { code, text, .. })) => {
                    return format!("the server ended the connection ({}): {text}", code.0);
                }
                Ok(Some(Reply::Goodbye { .. })) => return "the server took its leave".into(),
                Ok(Some(Reply::Ack(_))) => {}
                Err(violation) => return violation.to_string(),
            }
        }
    }
}
