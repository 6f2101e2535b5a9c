//! One connection to the server's socket.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use fanfare::clock::Millis;
use fanfare_protocol::id::Epoch;
use fanfare_protocol::ingest::SessionId;
use rustix::io::{Errno, read};
use rustix::net::{
    AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, send, socket_with,
};

use super::pipeline::Pipeline;
use super::talk::{Lost, Retry, Talk};
use crate::code::FANFARE_E_FORBIDDEN;

/// Bytes read at once.
const READ_BYTES: usize = 64 << 10;
/// Reads of one turn, so that writing has its turn too.
const READS: usize = 4;

/// A connection, from its socket to its end.
pub(super) struct Link {
    socket: OwnedFd,
    pub(super) talk: Talk,
    /// Whether a write failed: what the server said last is still to be read.
    write_failed: bool,
    pub(super) since: Millis,
}

impl Link {
    /// Connects. A socket of this kind connects at once or not at all.
    pub(super) fn open(path: &Path, pipeline: &mut Pipeline, now: Millis) -> Result<Self, Lost> {
        let lost = |error| match error {
            Errno::ACCESS | Errno::PERM => Lost {
                code: FANFARE_E_FORBIDDEN,
                text: Some("the mode of the socket, or of a directory above it, forbids it".into()),
                retry: Retry::Never,
            },
            _ => Lost::unavailable(),
        };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket =
            socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).map_err(lost)?;
        let address = SocketAddrUnix::new(path).map_err(lost)?;
        connect(&socket, &address).map_err(lost)?;
        let fresh = draw().map_err(|_| Lost::unavailable())?;
        Ok(Self { socket, talk: Talk::begin(pipeline, fresh), write_failed: false, since: now })
    }

    /// The server's epoch, once the session is open.
    pub(super) fn epoch(&self) -> Option<Epoch> {
        self.talk.epoch
    }

    /// Whether it waits for room in the socket.
    pub(super) fn wants_to_write(&self) -> bool {
        !self.write_failed && self.talk.unsent_bytes() > 0
    }

    /// Writes what may be written and reads what there is.
    pub(super) fn turn(&mut self, pipeline: &mut Pipeline, now: Millis) -> Result<(), Lost> {
        self.write(pipeline, now);
        self.read(pipeline)?;
        // Outcomes have made room for more.
        self.write(pipeline, now);
        Ok(())
    }

    /// Says that the publisher is done, where that can be said without waiting: a session that
    /// nobody will take up needs no place at the server.
    pub(super) fn end(&self, pipeline: &mut Pipeline) {
        if let Some(words) = self.talk.farewell(pipeline).filter(|_| !self.write_failed) {
            // Where it does not go out whole the session ends by its age.
            let _ = send(&self.socket, &words, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
        }
    }

    fn write(&mut self, pipeline: &mut Pipeline, now: Millis) {
        while !self.write_failed {
            let unsent = self.talk.unsent(pipeline, now);
            if unsent.is_empty() {
                return;
            }
            match send(&self.socket, unsent, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(bytes) => self.talk.wrote(bytes),
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                Err(_) => self.write_failed = true,
            }
        }
    }

    fn read(&mut self, pipeline: &mut Pipeline) -> Result<(), Lost> {
        let mut buffer = [0; READ_BYTES];
        for _ in 0..READS {
            match read(&self.socket, &mut buffer) {
                Ok(0) => return Err(Lost::unavailable()),
                Ok(bytes) => self.talk.hear(&buffer[..bytes], pipeline)?,
                Err(Errno::AGAIN) if self.write_failed => return Err(Lost::unavailable()),
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(_) => return Err(Lost::unavailable()),
            }
        }
        Ok(())
    }
}

/// Draws the name of a session, which nobody can guess.
pub(super) fn draw() -> Result<SessionId, getrandom::Error> {
    let mut id = [0; 16];
    getrandom::fill(&mut id)?;
    Ok(SessionId(id))
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
