//! A driver over loopback, and the other ends of its sockets.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use fanfare::driver::choose::{Support, probe};
use fanfare::driver::listener::{self, Inherited};
use fanfare::driver::{DriverConfig, Waker};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// A read that takes longer means that something was lost.
const PATIENCE: Duration = Duration::from_secs(20);

/// Whether there is a `uring` driver here.
pub(crate) fn uring_works() -> bool {
    matches!(probe(2_048, 1), Support::Uring { .. })
}

/// What a driver for `sockets` connections is made with, and where it will listen.
pub(crate) fn config(sockets: usize) -> (DriverConfig, SocketAddr) {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).expect("the soft limit of open files can be raised");
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let inherited = Inherited::for_stall_limit(60_000);
    let listener = listener::open(any, &inherited).expect("loopback has a free port");
    let address = listener.local_addr().expect("a listener has an address");
    let waker = Waker::new().expect("the process may open an eventfd");
    (
        DriverConfig { listener, waker, capacity: sockets + 16, want_peers: false, entries: 1_024 },
        address,
    )
}

/// The far ends.
pub(crate) struct Clients(pub(crate) Vec<TcpStream>);

impl Clients {
    /// Connects so many; `serve` runs meanwhile, so that no backlog overflows.
    pub(crate) fn connect(address: SocketAddr, count: usize, mut serve: impl FnMut()) -> Self {
        let connect = |nth: usize| {
            let socket = TcpStream::connect(address).expect("the driver listens");
            socket.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
            if nth.is_multiple_of(64) {
                serve();
            }
            socket
        };
        Self((0..count).map(connect).collect())
    }

    /// Sends the same bytes from each.
    pub(crate) fn say(&mut self, bytes: &[u8]) {
        for socket in &mut self.0 {
            socket.write_all(bytes).expect("a few bytes fit into any socket");
        }
    }

    /// Reads a head from each that begins like this, up to its empty line.
    pub(crate) fn hear_head(&mut self, begin: &str) {
        for (nth, socket) in self.0.iter_mut().enumerate() {
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") {
                socket
                    .read_exact(&mut byte)
                    .unwrap_or_else(|error| panic!("client {nth}: {error}"));
                head.extend_from_slice(&byte);
            }
            assert!(head.starts_with(begin.as_bytes()), "client {nth} got another head");
        }
    }

    /// Reads as many bytes as `expected` has from each, and checks them.
    pub(crate) fn hear(&mut self, expected: &[u8]) {
        let mut bytes = vec![0; expected.len()];
        for (nth, socket) in self.0.iter_mut().enumerate() {
            socket.read_exact(&mut bytes).unwrap_or_else(|error| panic!("client {nth}: {error}"));
            assert!(bytes == expected, "client {nth} got something else");
        }
    }
}
