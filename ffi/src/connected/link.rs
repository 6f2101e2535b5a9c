//! One connection to the server's socket.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use fanfare::clock::Millis;
use fanfare_protocol::id::Epoch;
use fanfare_protocol::ingest::client::{Decoder, Reply};
use fanfare_protocol::ingest::{ErrorCode, write};
use rustix::io::{Errno, read};
use rustix::net::{
    AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, send, socket_with,
};

use super::pipeline::{Pipeline, Then};
use crate::code::{Code, FANFARE_E_FORBIDDEN, FANFARE_E_UNAVAILABLE};

/// Bytes read at once.
const READ_BYTES: usize = 64 << 10;
/// Reads of one turn, so that writing has its turn too.
const READS: usize = 4;

/// A connection, from its socket to its end.
pub(super) struct Link {
    socket: OwnedFd,
    decoder: Decoder,
    /// What is to be written; the first `sent` bytes are.
    out: Vec<u8>,
    sent: usize,
    /// Whether a write failed: what the server said last is still to be read.
    deaf: bool,
    pub(super) epoch: Option<Epoch>,
    pub(super) since: Millis,
    /// Whether any message had an outcome here.
    pub(super) served: bool,
}

/// A connection is over, for this reason.
pub(super) struct Lost(pub(super) Code);

impl Link {
    /// Connects. A socket of this kind connects at once or not at all.
    pub(super) fn open(path: &Path, now: Millis) -> Result<Self, Lost> {
        let lost = |error| match error {
            Errno::ACCESS | Errno::PERM => Lost(FANFARE_E_FORBIDDEN),
            _ => Lost(FANFARE_E_UNAVAILABLE),
        };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket =
            socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).map_err(lost)?;
        let address = SocketAddrUnix::new(path).map_err(lost)?;
        connect(&socket, &address).map_err(lost)?;
        let mut out = Vec::new();
        write::preface(&mut out);
        Ok(Self {
            socket,
            decoder: Decoder::new(),
            out,
            sent: 0,
            deaf: false,
            epoch: None,
            since: now,
            served: false,
        })
    }

    /// Whether it waits for room in the socket.
    pub(super) fn wants_to_write(&self) -> bool {
        !self.deaf && self.sent < self.out.len()
    }

    /// Writes what may be written and reads what there is.
    pub(super) fn turn(&mut self, pipeline: &mut Pipeline, now: Millis) -> Result<(), Lost> {
        self.write(pipeline, now);
        self.read(pipeline)?;
        // Outcomes have made room for more.
        self.write(pipeline, now);
        Ok(())
    }

    fn write(&mut self, pipeline: &mut Pipeline, now: Millis) {
        while !self.deaf {
            if self.sent == self.out.len() {
                self.out.clear();
                self.sent = 0;
                if self.epoch.is_some() {
                    pipeline.fill(&mut self.out, now);
                }
                if self.out.is_empty() {
                    return;
                }
            }
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            match send(&self.socket, &self.out[self.sent..], flags) {
                Ok(bytes) => self.sent += bytes,
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                Err(_) => self.deaf = true,
            }
        }
    }

    fn read(&mut self, pipeline: &mut Pipeline) -> Result<(), Lost> {
        let mut buffer = [0; READ_BYTES];
        for _ in 0..READS {
            match read(&self.socket, &mut buffer) {
                Ok(0) => return Err(Lost(FANFARE_E_UNAVAILABLE)),
                Ok(bytes) => self.hear(&buffer[..bytes], pipeline)?,
                Err(Errno::AGAIN) if self.deaf => return Err(Lost(FANFARE_E_UNAVAILABLE)),
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(_) => return Err(Lost(FANFARE_E_UNAVAILABLE)),
            }
        }
        Ok(())
    }

    fn hear(&mut self, mut input: &[u8], pipeline: &mut Pipeline) -> Result<(), Lost> {
        let Self { decoder, epoch, served, .. } = self;
        let mut left = None;
        // All of it, also behind a word that ends the connection: outcomes are outcomes.
        while let Some(reply) = decoder.next(&mut input).map_err(|_| Lost(FANFARE_E_UNAVAILABLE))? {
            match reply {
                Reply::Hello(hello) => {
                    pipeline.greet(hello.limits);
                    *epoch = Some(hello.epoch);
                }
                // Before HELLO nothing of ours was written.
                _ if epoch.is_none() => {}
                _ => *served = true,
            }
            let known = epoch.unwrap_or(Epoch::from_random(0));
            if pipeline.handle(&reply, known) == Then::Leave {
                left.get_or_insert(why(&reply));
            }
        }
        left.map_or(Ok(()), |code| Err(Lost(code)))
    }
}

fn why(reply: &Reply<'_>) -> Code {
    match reply {
        Reply::Error { code: ErrorCode::FORBIDDEN, .. } => FANFARE_E_FORBIDDEN,
        Reply::Error { code, .. } => -Code::from(code.0),
        _ => FANFARE_E_UNAVAILABLE,
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
