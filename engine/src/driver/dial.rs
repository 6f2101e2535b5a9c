//! Connections that go out: what a load generator needs beyond [`Driver`], on the same drivers.
//!
//! A dialed socket is a socket like any other from the moment it is connected: the same table, the
//! same tokens, the same contract. On `uring` it is made, bound and connected inside the ring, so
//! it never is a descriptor of the process, and one process holds more of them than
//! `RLIMIT_NOFILE`: as many in each ring.

#![allow(unsafe_code)]

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};

use super::Driver;

/// Dials under way at once in one driver. A listener's backlog is a few thousand at most, and what
/// overflows it waits a second for the next try.
pub const DIALS_MAX: usize = 256;

/// A connection to be made.
#[derive(Clone, Copy, Debug)]
pub struct DialRequest {
    /// The caller's name for it, told back in [`Dialed`].
    pub nth: u32,
    /// From where: an address of this machine, with a port that the kernel picks when it knows the
    /// destination (`IP_BIND_ADDRESS_NO_PORT`), so that one port serves many destinations. `None`
    /// leaves it all to the kernel.
    pub source: Option<IpAddr>,
    /// To where.
    pub destination: SocketAddr,
    /// `SO_RCVBUF` in bytes, set before the connection is made because the window's scale is fixed
    /// by then; `None` for the kernel's own.
    pub receive_bytes: Option<u32>,
}

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialed {
    /// It is a connection now, and is watched for readability.
    Connected {
        /// Its token.
        token: super::Token,
        /// Which call.
        nth: u32,
    },
    /// It is none; the errno of the step that failed.
    Failed {
        /// Which call.
        nth: u32,
        /// Why.
        errno: i32,
    },
}

/// A driver that also makes connections.
pub trait Dial: Driver {
    /// Begins a call; whether there was room for it. Where not ([`DIALS_MAX`] are under way), it
    /// may be tried again after the next [`Driver::poll`]. What becomes of it is told once.
    fn dial(&mut self, call: DialRequest) -> bool;

    /// Appends what became of calls since this was last asked. Ask after each [`Driver::poll`].
    fn dialed(&mut self, dialed: &mut Vec<Dialed>);
}

/// Lets a bind to port 0 leave the port open until the socket is connected (ip(7)), for sockets
/// that are descriptors. No safe package knows this option.
pub(super) fn bind_address_no_port(socket: BorrowedFd<'_>) -> io::Result<()> {
    let on: libc::c_int = 1;
    let (level, name) = (libc::SOL_IP, libc::IP_BIND_ADDRESS_NO_PORT);
    let bytes = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the descriptor is open as long as it is borrowed, and the kernel reads `bytes` bytes
    // of `on`, which lives until the call returns.
    let set = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, name, std::ptr::from_ref(&on).cast(), bytes)
    };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
