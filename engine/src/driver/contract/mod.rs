//! The contract of [`Driver`], as tests over real loopback sockets that `uring` and `epoll` both
//! run; what is said of sockets that move runs on `sim` too.
//!
//! Each test is a function over [`Make`]; [`suite!`] makes one `#[test]` of it for each driver.
//! Where io_uring is blocked its half says so and passes.

mod accepting;
mod closing;
mod moving;
mod sending;
mod sockets;
mod streams;
mod threads;
mod waiting;

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::choose::{Support, probe};
use super::listener::{Inherited, open, probe as free_address};
use super::{
    Driver, DriverConfig, Event, Exception, Outgoing, Received, SendOutcome, Token, Waker,
};

/// How long anything may take on a busy machine before a test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// Makes the driver under test, on the thread of the test.
pub(super) trait Make {
    type Made: Driver;
    fn make(config: DriverConfig) -> Option<Self::Made>;
}

pub(super) struct Epoll;
pub(super) struct Uring;

impl Make for Epoll {
    type Made = super::epoll::Epoll;
    fn make(config: DriverConfig) -> Option<Self::Made> {
        Some(Self::Made::new(config).unwrap())
    }
}

impl Make for Uring {
    type Made = super::uring::Uring;
    fn make(config: DriverConfig) -> Option<Self::Made> {
        uring_works().then(|| Self::Made::new(config).unwrap())
    }
}

/// Whether io_uring may be used here; says so where not.
pub(super) fn uring_works() -> bool {
    static SUPPORT: OnceLock<Support> = OnceLock::new();
    match SUPPORT.get_or_init(|| probe(64, 1)) {
        Support::Uring { .. } => true,
        Support::Blocked(why) => {
            eprintln!("SKIPPED, uring is not tested on this machine: {why}");
            false
        }
        Support::NoRoom(why) => panic!("{why}"),
    }
}

/// One `#[test]` for each driver of each named test.
macro_rules! suite {
    ($($name:ident)*) => {
        mod uring {
            $(#[test] fn $name() { super::$name::<crate::driver::contract::Uring>(); })*
        }
        mod epoll {
            $(#[test] fn $name() { super::$name::<crate::driver::contract::Epoll>(); })*
        }
    };
}
use suite;

/// A driver with its listener and what it has told so far.
pub(super) struct Rig<D> {
    pub(super) driver: D,
    pub(super) address: SocketAddr,
    pub(super) waker: Arc<Waker>,
    pub(super) told: Vec<Event>,
}

impl<D: Driver> Rig<D> {
    /// A rig that accepts.
    pub(super) fn new<M: Make<Made = D>>(capacity: usize) -> Option<Self> {
        Self::with::<M>(capacity, false, "127.0.0.1:0")
    }

    pub(super) fn with<M: Make<Made = D>>(
        capacity: usize,
        want_peers: bool,
        any: &str,
    ) -> Option<Self> {
        let address = free_address(any.parse().unwrap()).unwrap();
        let listener = open(address, &Inherited::default()).unwrap();
        let waker = Waker::new().unwrap();
        let waker_of_driver = Arc::clone(&waker);
        let config =
            DriverConfig { listener, waker: waker_of_driver, capacity, want_peers, entries: 1_024 };
        let mut driver = M::make(config)?;
        driver.set_accepting(true);
        Some(Self { driver, address, waker, told: Vec::new() })
    }

    pub(super) fn connect(&self) -> TcpStream {
        let client = TcpStream::connect(self.address).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.set_write_timeout(Some(PATIENCE)).unwrap();
        client
    }

    pub(super) fn accept(&mut self) -> (TcpStream, Token) {
        let client = self.connect();
        (client, self.until_accepted())
    }

    /// Clients with their tokens, in pairs that belong together: one is accepted at a time.
    pub(super) fn accept_many(&mut self, count: usize) -> Vec<(TcpStream, Token)> {
        (0..count).map(|_| self.accept()).collect()
    }

    pub(super) fn until_accepted(&mut self) -> Token {
        match self.until_event(|event| matches!(event, Event::Accepted { .. })) {
            Event::Accepted { token, .. } => token,
            other => unreachable!("{other:?}"),
        }
    }

    /// Polls until an event is told that `wanted` says yes to, and takes it; others are kept.
    pub(super) fn until_event(&mut self, wanted: impl Fn(&Event) -> bool) -> Event {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(place) = self.told.iter().position(&wanted) {
                return self.told.remove(place);
            }
            assert!(Instant::now() < deadline, "not told; told instead: {:?}", self.told);
            self.driver.poll(Some(Duration::from_millis(100)), &mut self.told);
        }
    }

    pub(super) fn until_readable(&mut self, wanted: Token) -> bool {
        let readable =
            |event: &Event| matches!(event, Event::Readable { token, .. } if *token == wanted);
        match self.until_event(readable) {
            Event::Readable { hangup, .. } => hangup,
            other => unreachable!("{other:?}"),
        }
    }

    pub(super) fn until_writable(&mut self, wanted: Token) {
        self.until_event(|event| matches!(event, Event::Writable { token } if *token == wanted));
    }

    /// Polls for so long, once at least, and forgets nothing.
    pub(super) fn poll_for(&mut self, pause: Duration) {
        let deadline = Instant::now() + pause;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            self.driver.poll(Some(left), &mut self.told);
            if left.is_zero() {
                return;
            }
        }
    }

    /// As [`read_to_end`], while the driver goes on.
    pub(super) fn read_to_end(&mut self, client: &TcpStream) -> (Vec<u8>, Result<(), ErrorKind>) {
        let mut client = client.try_clone().unwrap();
        let reader = std::thread::spawn(move || read_to_end(&mut client));
        while !reader.is_finished() {
            self.poll_for(Duration::from_millis(2));
        }
        reader.join().unwrap()
    }

    /// Receives once: the bytes, or what else came.
    pub(super) fn receive(&mut self, token: Token) -> Result<Vec<u8>, Ended> {
        let mut came = None;
        self.driver.recv_batch(&[token], &mut |of, received| {
            assert_eq!(of, token);
            came = Some(match received {
                Received::Bytes { bytes, .. } => Ok(bytes.to_vec()),
                Received::Again => Err(Ended::Again),
                Received::End => Err(Ended::End),
                Received::Failed(errno) => Err(Ended::Failed(errno)),
            });
        });
        came.unwrap_or(Err(Ended::Silence))
    }

    /// Receives until something other than bytes comes.
    pub(super) fn receive_all(&mut self, token: Token) -> (Vec<u8>, Ended) {
        let mut all = Vec::new();
        loop {
            match self.receive(token) {
                Ok(bytes) => all.extend(bytes),
                Err(ended) => return (all, ended),
            }
        }
    }

    pub(super) fn send(&mut self, token: Token, bytes: &[u8]) -> Option<SendOutcome> {
        let mut exceptions = Vec::new();
        self.driver.send_batch(&[Outgoing { token, bytes }], &mut exceptions);
        assert!(exceptions.len() <= 1);
        exceptions.pop().map(|Exception { nth, outcome }| {
            assert_eq!(nth, 0);
            outcome
        })
    }

    /// Sends until the peer's buffers are full too: to one that does not read, room that opens at
    /// first may be taken by the network. Leaves a watch open. What was taken, and whether a send
    /// was short.
    pub(super) fn fill(&mut self, token: Token) -> (usize, bool) {
        let bytes = vec![7; 64 << 10];
        let (mut taken, mut short, mut tries) = (0, false, 0);
        loop {
            match self.send(token, &bytes) {
                None => (taken, tries) = (taken + bytes.len(), 0),
                Some(SendOutcome::Short(n)) => {
                    assert!(n > 0 && n < bytes.len());
                    (taken, short, tries) = (taken + n, true, 0);
                }
                Some(SendOutcome::Failed(errno)) => panic!("the send failed with {errno}"),
                Some(SendOutcome::Again) => {
                    self.driver.watch_writable(token);
                    self.poll_for(Duration::from_millis(80));
                    tries += 1;
                    assert!(tries < 100, "room is told of on and on, and there is none");
                    let told = self.told.len();
                    self.told.retain(|event| !matches!(event, Event::Writable { .. }));
                    if self.told.len() == told {
                        return (taken, short);
                    }
                }
            }
            assert!(taken < 64 << 20, "the kernel takes everything");
        }
    }
}

/// What ends a run of receives.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Again,
    End,
    Failed(i32),
    /// The driver passed the token over.
    Silence,
}

/// How the peer sees a connection end, and what came before.
fn read_to_end(client: &mut TcpStream) -> (Vec<u8>, Result<(), ErrorKind>) {
    let mut bytes = Vec::new();
    let ended = client.read_to_end(&mut bytes).map(drop).map_err(|error| error.kind());
    (bytes, ended)
}
