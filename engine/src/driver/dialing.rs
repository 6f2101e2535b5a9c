//! Which driver dials, and how one is made: the one place that knows both.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;

use super::choose::{Support, probe};
use super::dial::Dial;
use super::epoll::Epoll;
use super::uring::Uring;
use super::{DriverConfig, Waker};

/// Which driver dials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Sockets in the ring's table.
    Uring,
    /// Sockets as descriptors of the process.
    Epoll,
}

/// What there is to dial with.
#[derive(Clone, Debug)]
pub struct AvailableDriver {
    /// Which driver.
    pub kind: Kind,
    /// [`super::DriverConfig::entries`] of each.
    pub entries: usize,
    /// What should be said about it.
    pub advice: Option<String>,
}

impl AvailableDriver {
    /// `epoll`, and why.
    pub fn epoll(advice: Option<String>) -> Self {
        Self { kind: Kind::Epoll, entries: 0, advice }
    }
}

/// Which driver there is for `capacity` sockets in each of `drivers`: `uring`, or `epoll` with the
/// reason.
///
/// # Errors
///
/// io_uring works but the limits leave no room; which to raise.
pub fn find(capacity: usize, drivers: usize) -> Result<AvailableDriver, String> {
    match probe(capacity, drivers) {
        Support::Uring { entries, advice } => {
            Ok(AvailableDriver { kind: Kind::Uring, entries, advice })
        }
        Support::Blocked(why) => Ok(AvailableDriver::epoll(Some(why))),
        Support::NoRoom(why) => Err(why),
    }
}

/// Makes a driver that dials and accepts nobody, on the thread that will use it.
///
/// # Errors
///
/// As [`Uring::new`] and [`Epoll::new`].
pub fn open(
    kind: Kind,
    entries: usize,
    waker: Arc<Waker>,
    capacity: usize,
) -> io::Result<Box<dyn Dial>> {
    // Drivers watch a listener; this one never listens, and accepting stays off.
    let idle = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    let listener = TcpListener::from(idle);
    let config = DriverConfig { listener, waker, capacity, want_peers: false, entries };
    Ok(match kind {
        Kind::Uring => Box::new(Uring::new(config)?),
        Kind::Epoll => Box::new(Epoll::new(config)?),
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::SocketAddr;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::driver::dial::{DIALS_MAX, DialRequest, Dialed};
    use crate::driver::{Close, Event, Outgoing, Received};

    const PATIENCE: Duration = Duration::from_secs(60);

    /// Both drivers, where the machine lets them.
    fn each(capacity: usize, test: impl Fn(Box<dyn Dial>)) {
        for kind in [Kind::Uring, Kind::Epoll] {
            match open(kind, 1_024, Waker::new().unwrap(), capacity) {
                Ok(driver) => test(driver),
                Err(error) => eprintln!("SKIPPED: {kind:?}: {error}"),
            }
        }
    }

    /// Polls until `count` calls have their end.
    fn outcomes(driver: &mut dyn Dial, count: usize, events: &mut Vec<Event>) -> Vec<Dialed> {
        let (mut told, deadline) = (Vec::new(), Instant::now() + PATIENCE);
        while told.len() < count {
            assert!(Instant::now() < deadline, "only {told:?}");
            driver.poll(Some(Duration::from_millis(20)), events);
            driver.dialed(&mut told);
        }
        // Whatever is told twice would come now.
        driver.poll(Some(Duration::from_millis(20)), events);
        driver.dialed(&mut told);
        assert_eq!(told.len(), count, "{told:?}");
        told
    }

    fn call(destination: SocketAddr) -> DialRequest {
        DialRequest { nth: 7, source: None, destination, receive_bytes: None }
    }

    #[test]
    fn a_call_comes_from_where_it_should_and_carries_bytes_both_ways() {
        each(4, |mut driver| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let source = Some("127.9.8.7".parse().unwrap());
            let destination = listener.local_addr().unwrap();
            let receive_bytes = Some(4_096);
            assert!(driver.dial(DialRequest { source, receive_bytes, ..call(destination) }));
            let mut events = Vec::new();
            let told = outcomes(&mut *driver, 1, &mut events);
            let [Dialed::Connected { token, nth: 7 }] = told[..] else { panic!("{told:?}") };
            let (mut far, peer) = listener.accept().unwrap();
            assert_eq!(peer.ip().to_string(), "127.9.8.7");

            let mut exceptions = Vec::new();
            driver.send_batch(&[Outgoing { token, bytes: b"ask" }], &mut exceptions);
            assert!(exceptions.is_empty(), "{exceptions:?}");
            let mut asked = [0; 3];
            far.read_exact(&mut asked).unwrap();
            assert_eq!(&asked, b"ask");
            far.write_all(b"answer").unwrap();

            let deadline = Instant::now() + PATIENCE;
            while !events.iter().any(|event| matches!(event, Event::Readable { .. })) {
                assert!(Instant::now() < deadline, "the watch of a dialed socket never fired");
                driver.poll(Some(Duration::from_millis(20)), &mut events);
            }
            let mut came = Vec::new();
            driver.recv_batch(&[token], &mut |_, received| {
                if let Received::Bytes { bytes, .. } = received {
                    came.extend_from_slice(bytes);
                }
            });
            assert_eq!(came, b"answer");
            driver.close(token, Close::Gracefully);
            driver.poll(Some(Duration::ZERO), &mut events);
            assert_eq!(far.read(&mut [0; 1]).unwrap(), 0, "closing says FIN");
        });
    }

    #[test]
    fn a_call_that_fails_is_told_once_with_its_reason_and_costs_no_place() {
        each(2, |mut driver| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let open = listener.local_addr().unwrap();
            let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            let elsewhere = Some("192.0.2.1".parse().unwrap()); // TEST-NET-1: not ours (RFC 5737)
            for _ in 0..5 {
                let mut events = Vec::new();
                assert!(driver.dial(call(gone)));
                let told = outcomes(&mut *driver, 1, &mut events);
                assert_eq!(told, [Dialed::Failed { nth: 7, errno: libc::ECONNREFUSED }]);
                assert!(driver.dial(DialRequest { source: elsewhere, ..call(open) }));
                let told = outcomes(&mut *driver, 1, &mut events);
                assert_eq!(told, [Dialed::Failed { nth: 7, errno: libc::EADDRNOTAVAIL }]);
            }
            let mut events = Vec::new();
            assert!(driver.dial(call(open)) && driver.dial(call(open)));
            let told = outcomes(&mut *driver, 2, &mut events);
            assert!(told.iter().all(|told| matches!(told, Dialed::Connected { .. })), "{told:?}");
            driver.dial(call(open));
            let told = outcomes(&mut *driver, 1, &mut events);
            assert_eq!(told, [Dialed::Failed { nth: 7, errno: libc::ENFILE }], "two are all");
        });
    }

    #[test]
    fn more_calls_than_may_be_under_way_are_for_later() {
        each(DIALS_MAX + 8, |mut driver| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let destination = listener.local_addr().unwrap();
            let begun = (0..DIALS_MAX as u32 + 8)
                .take_while(|nth| driver.dial(DialRequest { nth: *nth, ..call(destination) }))
                .count();
            assert_eq!(begun, DIALS_MAX);
            // Connections beyond the backlog of 128 wait; those that came are distinct.
            let (mut told, mut events) = (Vec::new(), Vec::new());
            let deadline = Instant::now() + PATIENCE;
            while told.len() < 100 && Instant::now() < deadline {
                driver.poll(Some(Duration::from_millis(20)), &mut events);
                driver.dialed(&mut told);
            }
            let connected = |told: &Dialed| match told {
                Dialed::Connected { nth, .. } => Some(*nth),
                Dialed::Failed { .. } => None,
            };
            let mut names: Vec<_> = told.iter().filter_map(connected).collect();
            assert!(names.len() >= 100, "{told:?}");
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), told.len());
            assert!(driver.dial(call(destination)), "there is room again");
        });
    }
}
