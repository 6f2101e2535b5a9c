//! What a socket that changes its driver costs the process: a descriptor while it is on its way,
//! none where there is none to have, and none afterwards.
//!
//! By itself, because it counts the descriptors of its process and takes them all.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use fanfare::driver::choose::{Support, probe};
use fanfare::driver::epoll::Epoll;
use fanfare::driver::listener::{Inherited, open, probe as free_address};
use fanfare::driver::uring::Uring;
use fanfare::driver::{Driver, DriverConfig, Event, Outgoing, Token, Waker};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

fn config() -> (DriverConfig, SocketAddr) {
    let address = free_address(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let listener = open(address, &Inherited::default()).unwrap();
    let waker = Waker::new().unwrap();
    (DriverConfig { listener, waker, capacity: 8, want_peers: false, entries: 1_024 }, address)
}

fn accept(driver: &mut impl Driver, address: SocketAddr) -> (TcpStream, Token) {
    let client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut events = Vec::new();
    let until = Instant::now() + Duration::from_secs(60);
    while Instant::now() < until {
        driver.poll(Some(Duration::from_millis(100)), &mut events);
        if let Some(Event::Accepted { token, .. }) = events.first() {
            return (client, *token);
        }
    }
    panic!("nobody was accepted");
}

fn is_heard(driver: &mut impl Driver, token: Token, client: &mut TcpStream) {
    let mut exceptions = Vec::new();
    driver.send_batch(&[Outgoing { token, bytes: b"hello" }], &mut exceptions);
    assert!(exceptions.is_empty(), "{exceptions:?}");
    let mut heard = [0; 5];
    client.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"hello");
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// A socket that goes round between two drivers leaves no descriptor behind.
fn goes_round<D: Driver>(make: fn(DriverConfig) -> std::io::Result<D>) {
    let (here, address) = config();
    let mut drivers = [make(here).unwrap(), make(config().0).unwrap()];
    drivers[0].set_accepting(true);
    let (mut client, mut token) = accept(&mut drivers[0], address);
    let before = descriptors();
    for round in 0..200 {
        let socket = drivers[round % 2].detach(token).unwrap();
        token = drivers[(round + 1) % 2].adopt(socket).unwrap();
    }
    assert_eq!(descriptors(), before);
    is_heard(&mut drivers[0], token, &mut client);
}

/// Without a descriptor to travel in, a socket of a ring stays where it is, and alive.
fn stays_where_no_descriptor_is_left() {
    let (here, address) = config();
    let mut driver = Uring::new(here).unwrap();
    driver.set_accepting(true);
    let (mut client, token) = accept(&mut driver, address);
    let mut all = Vec::new();
    let full = loop {
        match File::open("/dev/null") {
            Ok(file) => all.push(file),
            Err(error) => break error,
        }
    };
    assert_eq!(full.raw_os_error(), Some(libc::EMFILE));
    let refused = driver.detach(token).map(drop);
    is_heard(&mut driver, token, &mut client);
    client.write_all(b"and I am heard").unwrap();
    let mut events = Vec::new();
    driver.poll(Some(Duration::from_secs(60)), &mut events);
    let told = |event: &Event| matches!(event, Event::Readable { token: of, .. } if *of == token);
    assert!(events.iter().any(told), "it is watched as before: {events:?}");
    all.pop();
    let moved = driver.detach(token).and_then(|socket| driver.adopt(socket).map_err(|e| e.errno));
    drop(all);
    assert_eq!(refused, Err(libc::EMFILE));
    is_heard(&mut driver, moved.expect("one descriptor is enough"), &mut client);
}

#[test]
fn descriptors_on_the_way() {
    let (resource, few) = (Resource::Nofile, Some(200));
    let limit = Rlimit { current: few, ..getrlimit(resource) };
    goes_round(Epoll::new);
    if !matches!(probe(64, 1), Support::Uring { .. }) {
        return eprintln!("SKIPPED: io_uring may not be used here");
    }
    goes_round(Uring::new);
    setrlimit(resource, limit).unwrap();
    stays_where_no_descriptor_is_left();
}
