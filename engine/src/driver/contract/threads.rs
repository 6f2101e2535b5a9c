//! Sockets that change their thread in the middle of a stream, over and over.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use super::{Driver, Event, Make, Outgoing, PATIENCE, Received, Rig, SendOutcome, Token, suite};
use crate::driver::{Close, Detached};

suite! {
    streams_that_change_their_thread_are_whole_both_ways
}

const CLIENTS: usize = 6;
const STREAM_BYTES: usize = 300_000;

/// A socket with what was read of it and is to be said again.
struct Parcel {
    socket: Detached,
    owed: Vec<u8>,
}

/// What each driver's thread does: says again what it hears, and passes a socket on now and then.
struct Echo<D> {
    driver: D,
    owed: HashMap<Token, Vec<u8>>,
    moved: usize,
    /// Streams that have ended, on both threads.
    ended: Arc<AtomicUsize>,
}

impl<D: Driver> Echo<D> {
    fn hear(&mut self, token: Token) {
        let owed = &mut self.owed;
        let mut ended = false;
        // Once and not until nothing is there: what is left is the next owner's, or told again.
        self.driver.recv_batch(&[token], &mut |_, received| match received {
            Received::Bytes { bytes, .. } => {
                owed.entry(token).or_default().extend_from_slice(bytes)
            }
            Received::Again => {}
            Received::End => ended = true,
            Received::Failed(errno) => panic!("a receive failed with {errno}"),
        });
        if ended {
            assert!(
                self.owed.remove(&token).is_none_or(|owed| owed.is_empty()),
                "it waits for all"
            );
            self.driver.close(token, Close::Gracefully);
            self.ended.fetch_add(1, Relaxed);
        }
    }

    fn say(&mut self, token: Token) {
        let Some(owed) = self.owed.get_mut(&token).filter(|owed| !owed.is_empty()) else { return };
        let mut exceptions = Vec::new();
        self.driver.send_batch(&[Outgoing { token, bytes: owed }], &mut exceptions);
        match exceptions.pop().map(|exception| exception.outcome) {
            None => owed.clear(),
            Some(SendOutcome::Short(n)) => drop(owed.drain(..n)),
            Some(SendOutcome::Again) => {}
            Some(SendOutcome::Failed(errno)) => panic!("a send failed with {errno}"),
        }
        if !owed.is_empty() {
            self.driver.watch_writable(token);
        }
    }

    /// Passes a socket on, whatever waits on it in either direction.
    fn pass_on(&mut self, token: Token, to: &Sender<Parcel>) {
        let socket = self.driver.detach(token).unwrap();
        let owed = self.owed.remove(&token).unwrap_or_default();
        self.moved += 1;
        to.send(Parcel { socket, owed }).unwrap();
    }

    fn take_in(&mut self, parcel: Parcel) {
        let token = self.driver.adopt(parcel.socket).unwrap();
        self.owed.insert(token, parcel.owed);
        self.say(token);
    }
}

/// Serves until every stream has ended, here or there; how often sockets moved away from here.
fn serve<D: Driver>(mut echo: Echo<D>, from: &Receiver<Parcel>, to: &Sender<Parcel>) -> usize {
    let deadline = Instant::now() + PATIENCE;
    let mut events = Vec::new();
    while echo.ended.load(Relaxed) < CLIENTS {
        assert!(Instant::now() < deadline, "the streams do not end");
        from.try_iter().for_each(|parcel| echo.take_in(parcel));
        echo.driver.poll(Some(Duration::from_millis(1)), &mut events);
        for event in events.drain(..) {
            match event {
                Event::Readable { token, .. } => {
                    echo.hear(token);
                    echo.say(token);
                    if echo.owed.contains_key(&token) {
                        echo.pass_on(token, to);
                    }
                }
                Event::Writable { token } => echo.say(token),
                Event::Accepted { .. } => {}
                Event::AcceptFailed(errno) => panic!("an accept failed with {errno}"),
            }
        }
    }
    echo.moved
}

/// What the nth byte of a stream is, so that a lost, doubled or swapped piece shows.
fn byte(stream: usize, nth: usize) -> u8 {
    ((nth as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u8 ^ stream as u8
}

fn talk(address: SocketAddr, stream: usize) {
    let mut near = TcpStream::connect(address).unwrap();
    near.set_read_timeout(Some(PATIENCE)).unwrap();
    near.set_write_timeout(Some(PATIENCE)).unwrap();
    let mut far = near.try_clone().unwrap();
    let said: Vec<u8> = (0..STREAM_BYTES).map(|nth| byte(stream, nth)).collect();
    let wanted = said.clone();
    let listener = std::thread::spawn(move || {
        let mut heard = vec![0; STREAM_BYTES];
        far.read_exact(&mut heard).unwrap();
        assert!(heard == wanted, "stream {stream} is not whole");
    });
    for piece in said.chunks(1 + 997 * (stream + 1)) {
        near.write_all(piece).unwrap();
    }
    listener.join().unwrap();
}

fn streams_that_change_their_thread_are_whole_both_ways<M: Make>() {
    let (to_first, from_second) = channel();
    let (to_second, from_first) = channel();
    let (told, addresses) = channel();
    let ended = Arc::new(AtomicUsize::new(0));
    // A driver belongs to the thread that makes it.
    let start = |from: Receiver<Parcel>, to: Sender<Parcel>| {
        let (told, ended) = (told.clone(), Arc::clone(&ended));
        std::thread::spawn(move || {
            let rig = Rig::new::<M>(CLIENTS)?;
            told.send(rig.address).unwrap();
            drop(told);
            let echo = Echo { driver: rig.driver, owed: HashMap::new(), moved: 0, ended };
            Some(serve(echo, &from, &to))
        })
    };
    let threads = [start(from_second, to_second), start(from_first, to_first)];
    drop(told);
    let addresses: Vec<SocketAddr> = addresses.iter().collect();
    let clients = addresses.iter().cycle().take(addresses.len().min(1) * CLIENTS).enumerate();
    let clients: Vec<_> = clients
        .map(|(stream, address)| {
            let address = *address;
            std::thread::spawn(move || talk(address, stream))
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    for moved in threads.into_iter().filter_map(|thread| thread.join().unwrap()) {
        assert!(moved > 20, "sockets moved {moved} times: nothing was proved");
    }
}
