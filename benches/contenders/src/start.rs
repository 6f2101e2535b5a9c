//! How every contender starts: `NAME VARIANT PORT PIDFILE`, a listener, the open files it needs,
//! and its process id in a file once it listens.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::exit;
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Protocol, Socket, Type};

/// As deep as Fanfare's: what `net.core.somaxconn` allows by default.
pub const BACKLOG: i32 = 4096;

/// How often, and after which pause, a port in use is tried again: 10 s together. A process that
/// ends with many sockets in a ring frees its port late.
const BIND_TRIES: u32 = 100;
const BIND_PAUSE: Duration = Duration::from_millis(100);

/// What a contender is told on its command line.
#[derive(Debug)]
pub struct Start {
    /// Which of its variants.
    pub variant: String,
    /// Where it listens, on loopback. PORT+1 to PORT+3 are its own too.
    pub port: u16,
    pidfile: String,
}

impl Start {
    /// Reads the command line, and raises the limit of open files as far as it goes. Ends the
    /// process with 64 where the command line is wrong.
    pub fn from_arguments(variants: &[&str]) -> Self {
        let arguments: Vec<_> = std::env::args().skip(1).collect();
        let started = match &arguments[..] {
            [variant, port, pidfile] if variants.contains(&variant.as_str()) => {
                port.parse().ok().map(|port| (variant.clone(), port, pidfile.clone()))
            }
            _ => None,
        };
        let Some((variant, port, pidfile)) = started else {
            eprintln!("usage: VARIANT PORT PIDFILE, where VARIANT is one of {variants:?}");
            exit(64);
        };
        raise_open_files();
        Self { variant, port, pidfile }
    }

    /// Listens on PORT + `offset`. What it accepts has `TCP_NODELAY`.
    pub fn listen(&self, offset: u16) -> TcpListener {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port + offset));
        for _ in 0..BIND_TRIES {
            match listener(address) {
                Ok(listener) => return listener,
                Err(error) if error.kind() == ErrorKind::AddrInUse => sleep(BIND_PAUSE),
                Err(error) => {
                    eprintln!("cannot listen at {address}: {error}");
                    exit(69);
                }
            }
        }
        eprintln!("cannot listen at {address}: somebody else does");
        exit(69);
    }

    /// Says that it serves from now on.
    pub fn ready(&self) {
        std::fs::write(&self.pidfile, format!("{}\n", std::process::id())).unwrap_or_else(
            |error| {
                eprintln!("cannot write {}: {error}", self.pidfile);
                exit(73);
            },
        );
    }
}

/// The soft limit of open files becomes the hard one; how many files that is.
pub fn raise_open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    // Where it cannot be raised, as many clients are served as there are files.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    getrlimit(Resource::Nofile).current.unwrap_or(1 << 20)
}

fn listener(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    // Linux copies it to what the listener accepts, so no client costs a call for it.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
