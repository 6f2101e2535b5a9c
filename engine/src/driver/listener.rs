//! Listeners of the shards: one for each, on one address, sharing it by `SO_REUSEPORT`.
//!
//! Two facts decide the shape. First, `SO_REUSEPORT` also lets *another process of the same user*
//! join the port in silence and take half of the clients, so [`probe`] binds once without it before
//! any shard listens. Second, Linux copies a listener's options to the sockets it accepts, so what
//! every connection needs is set here once and costs no system call later.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::thread::sleep;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

/// How many connections may wait to be accepted; the kernel clamps it to `net.core.somaxconn`.
pub const BACKLOG: i32 = 4096;
/// How often, and after which pause, a bind to a port in use is tried again: 3 s together. A
/// process that dies with many sockets in a ring frees its port late.
const PROBE_TRIES: u32 = 30;
const PROBE_PAUSE: Duration = Duration::from_millis(100);

/// What accepted sockets inherit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inherited {
    /// `TCP_USER_TIMEOUT`. It must lie above the stall limit: the kernel applies it to peers that
    /// answer zero-window probes too, and a slow client is the shard's to judge.
    pub user_timeout: Duration,
    /// `TCP_NOTSENT_LOWAT`, bytes: what the kernel takes beyond what the network takes. Small, so
    /// that a backlog waits in the log, where it can still be coalesced, and not in the kernel.
    pub unsent_bytes_max: u32,
    /// Kernel memory for sending, bytes as the kernel counts them (with its own overhead).
    pub send_buffer_bytes: usize,
    /// Kernel memory for receiving, likewise. Clients say little; a longer message streams.
    pub receive_buffer_bytes: usize,
}

impl Inherited {
    /// Options for a stall limit of so many milliseconds ([`crate::limits::Limits::stall_ms`]).
    pub fn for_stall_limit(stall_ms: u64) -> Self {
        Self {
            user_timeout: Duration::from_millis(stall_ms.saturating_add(30_000)),
            unsent_bytes_max: 32 << 10,
            send_buffer_bytes: 64 << 10,
            receive_buffer_bytes: 32 << 10,
        }
    }
}

impl Default for Inherited {
    fn default() -> Self {
        Self::for_stall_limit(60_000)
    }
}

/// Finds out whether `address` is free, and which it really is: port 0 becomes the one that the
/// kernel gave. Waits up to 3 s for a port in use. Nothing is bound afterwards.
///
/// # Errors
///
/// `EADDRINUSE` where somebody else has the port, `EACCES` for a privileged one, `EADDRNOTAVAIL`
/// for an address of another machine.
pub fn probe(address: SocketAddr) -> io::Result<SocketAddr> {
    let mut tries = 1;
    loop {
        match probe_once(address) {
            Ok(found) => return Ok(found),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries < PROBE_TRIES => {
                tries += 1;
                sleep(PROBE_PAUSE);
            }
            Err(error) => return Err(error),
        }
    }
}

/// As [`probe`], without the wait.
///
/// # Errors
///
/// Those of [`probe`].
pub fn probe_once(address: SocketAddr) -> io::Result<SocketAddr> {
    resolved(&bound(address, false)?)
}

/// Opens a listener that shares `address` with the other shards' listeners.
///
/// # Errors
///
/// Those of [`probe`], and `EMFILE`.
pub fn open(address: SocketAddr, inherited: &Inherited) -> io::Result<TcpListener> {
    let socket = bound(address, true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_user_timeout(Some(inherited.user_timeout))?;
    socket.set_tcp_notsent_lowat(inherited.unsent_bytes_max)?;
    // The kernel doubles both to make room for its overhead (socket(7)). The receive buffer has to
    // be known before listen(2), because the window scale is told in the handshake.
    socket.set_send_buffer_size(inherited.send_buffer_bytes / 2)?;
    socket.set_recv_buffer_size(inherited.receive_buffer_bytes / 2)?;
    socket.set_nonblocking(true)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn bound(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Not a licence to share: it says that connections of an earlier run that are in TIME_WAIT do
    // not matter. Against a listening socket it does not help.
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

fn resolved(socket: &Socket) -> io::Result<SocketAddr> {
    let unknown = || io::Error::other("the listener's address is neither IPv4 nor IPv6");
    socket.local_addr()?.as_socket().ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::os::fd::AsFd;
    use std::time::Instant;

    use socket2::SockRef;

    use super::*;

    #[test]
    fn port_0_becomes_a_real_one_that_many_listeners_share() {
        for any in ["127.0.0.1:0", "[::1]:0"] {
            let address = probe(any.parse().unwrap()).unwrap();
            assert_ne!(address.port(), 0);
            let first = open(address, &Inherited::default()).unwrap();
            let second = open(address, &Inherited::default()).unwrap();
            assert_eq!(first.local_addr().unwrap(), second.local_addr().unwrap());
        }
    }

    #[test]
    fn a_port_in_use_is_noticed_though_its_owner_would_share() {
        let address = probe("127.0.0.1:0".parse().unwrap()).unwrap();
        let _owner = open(address, &Inherited::default()).unwrap();
        let began = Instant::now();
        assert_eq!(probe(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert!(began.elapsed() >= Duration::from_secs(2), "a dying owner was given no time");
    }

    #[test]
    fn a_port_that_is_freed_late_is_taken() {
        let address = probe("127.0.0.1:0".parse().unwrap()).unwrap();
        let owner = open(address, &Inherited::default()).unwrap();
        let dying = std::thread::spawn(move || {
            sleep(Duration::from_millis(300));
            drop(owner);
        });
        assert_eq!(probe(address).unwrap(), address);
        dying.join().unwrap();
    }

    #[test]
    fn accepted_sockets_inherit_every_option() {
        let address = probe("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = open(address, &Inherited::for_stall_limit(60_000)).unwrap();
        let _client = TcpStream::connect(address).unwrap();
        let accepted = loop {
            match listener.accept() {
                Ok((accepted, _)) => break accepted,
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        };
        let fd = accepted.as_fd();
        let socket = SockRef::from(&fd);
        assert!(socket.tcp_nodelay().unwrap());
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(90)));
        assert_eq!(socket.tcp_notsent_lowat().unwrap(), 32 << 10);
        assert_eq!(socket.send_buffer_size().unwrap(), 64 << 10);
        assert_eq!(socket.recv_buffer_size().unwrap(), 32 << 10);
    }
}
