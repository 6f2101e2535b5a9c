//! A socket between two drivers.
//!
//! It belongs to this value and to nothing else, so it may cross threads, wait, or be dropped,
//! which closes it. What arrives meanwhile waits in the kernel for whoever adopts it.
//!
//! **It is an ordinary descriptor of the process**, whichever kernel driver it came from, and takes
//! one of them for as long as it is on its way. io_uring can pass a socket from one ring's table to
//! another's (`MSG_RING` with `SEND_FD`) without that. But then the giver must know the taker's
//! ring, hold the slot until the taker's thread has run, and hear afterwards where the taker had
//! none; and nobody could own what is on its way (docs/ARCHITECTURE.md, "Moves").

use std::any::Any;
use std::io::Write;
use std::net::TcpStream;
use std::os::fd::OwnedFd;

/// A socket that no driver holds. Dropping it closes the socket.
#[derive(Debug)]
pub struct Detached(Holder);

#[derive(Debug)]
enum Holder {
    Descriptor(OwnedFd),
    /// What a simulated driver calls a socket; closes it when it is dropped.
    Simulated(Box<dyn Simulated>),
}

/// A socket of a simulated network.
pub(super) trait Simulated: Any + Send + std::fmt::Debug {
    /// Its client is told this, if it has room.
    fn say(&self, bytes: &[u8]);
}

/// A driver did not adopt a socket.
#[derive(Debug)]
pub struct NotAdopted {
    /// The socket, as it was.
    pub socket: Detached,
    /// Why: `ENFILE` where no place is free, `EINVAL` where it is of another world than the driver.
    pub errno: i32,
}

impl NotAdopted {
    pub(super) fn new(socket: Detached, errno: i32) -> Self {
        Self { socket, errno }
    }
}

impl Detached {
    pub(super) fn descriptor(socket: OwnedFd) -> Self {
        Self(Holder::Descriptor(socket))
    }

    /// Closes it, and tells its client this first, as far as the kernel takes it at once.
    pub fn say(self, bytes: &[u8]) {
        match self.0 {
            Holder::Descriptor(socket) => {
                let mut socket = TcpStream::from(socket);
                if socket.set_nonblocking(true).is_ok() {
                    let _ = socket.write(bytes); // who takes nothing now learns of the end
                }
            }
            Holder::Simulated(socket) => socket.say(bytes),
        }
    }

    pub(super) fn simulated(socket: impl Simulated) -> Self {
        Self(Holder::Simulated(Box::new(socket)))
    }

    /// For drivers of real sockets.
    pub(super) fn into_descriptor(self) -> Result<OwnedFd, NotAdopted> {
        match self.0 {
            Holder::Descriptor(socket) => Ok(socket),
            Holder::Simulated(_) => Err(NotAdopted::new(self, libc::EINVAL)),
        }
    }

    /// For the simulated one, whose sockets these are.
    pub(super) fn into_simulated<S: Any>(self) -> Result<Box<S>, NotAdopted> {
        let back = |holder| NotAdopted::new(Self(holder), libc::EINVAL);
        match self.0 {
            Holder::Simulated(socket) => {
                if !(&*socket as &dyn Any).is::<S>() {
                    return Err(back(Holder::Simulated(socket)));
                }
                let socket: Box<dyn Any> = socket;
                Ok(socket.downcast().expect("it is of this kind"))
            }
            holder @ Holder::Descriptor(_) => Err(back(holder)),
        }
    }
}
