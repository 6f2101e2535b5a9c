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
use std::os::fd::OwnedFd;

/// A socket that no driver holds. Dropping it closes the socket.
#[derive(Debug)]
pub struct Detached(Holder);

#[derive(Debug)]
enum Holder {
    Descriptor(OwnedFd),
    /// What a simulated driver calls a socket; closes it when it is dropped.
    Simulated(Box<dyn Any + Send>),
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

    pub(super) fn simulated(socket: impl Any + Send) -> Self {
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
                socket.downcast().map_err(|socket| back(Holder::Simulated(socket)))
            }
            holder @ Holder::Descriptor(_) => Err(back(holder)),
        }
    }
}
