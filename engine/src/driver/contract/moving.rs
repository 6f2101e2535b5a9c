//! Sockets that go from one driver to another: nothing of the stream is lost, doubled or told to
//! whoever had it before.
//!
//! The only tests of the contract that all three drivers run: the simulated one from many seeds,
//! lying.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use super::{Driver, Ended, Event, Make, Outgoing, PATIENCE, Received, Rig, SendOutcome, Token};
use crate::driver::sim::{Client, Sim, SimNet, Temper};
use crate::driver::{Close, Detached};

/// Two drivers, and clients that connect to one of them.
trait Pair: Sized {
    type Driver: Driver;
    type Client;
    /// With so many places each. The second accepts nobody until it is told to.
    fn open(seed: u64, places: [usize; 2]) -> Option<Self>;
    fn driver(&mut self, nth: usize) -> &mut Self::Driver;
    fn connect(&mut self, to: usize) -> Self::Client;
    fn say(&mut self, client: &mut Self::Client, bytes: &[u8]);
    /// Says no more, but listens.
    fn end(&mut self, client: &mut Self::Client);
    fn reset(&mut self, client: Self::Client);
    /// Takes exactly so many bytes, which were sent.
    fn hear(&mut self, client: &mut Self::Client, count: usize) -> Vec<u8>;
    /// Waits until the other side has ended; whether well, and not by a reset.
    fn ended_well(&mut self, client: &mut Self::Client) -> bool;
}

/// Over loopback.
struct Real<M: Make>([Rig<M::Made>; 2]);

impl<M: Make> Pair for Real<M> {
    type Driver = M::Made;
    type Client = TcpStream;

    fn open(_: u64, places: [usize; 2]) -> Option<Self> {
        let [first, second] = places;
        let (first, mut second) = (Rig::new::<M>(first)?, Rig::new::<M>(second)?);
        second.driver.set_accepting(false);
        Some(Self([first, second]))
    }

    fn driver(&mut self, nth: usize) -> &mut M::Made {
        &mut self.0[nth].driver
    }

    fn connect(&mut self, to: usize) -> TcpStream {
        self.0[to].connect()
    }

    fn say(&mut self, client: &mut TcpStream, bytes: &[u8]) {
        client.write_all(bytes).unwrap();
    }

    fn end(&mut self, client: &mut TcpStream) {
        client.shutdown(Shutdown::Write).unwrap();
    }

    fn reset(&mut self, client: TcpStream) {
        socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    }

    fn hear(&mut self, client: &mut TcpStream, count: usize) -> Vec<u8> {
        let mut heard = vec![0; count];
        client.read_exact(&mut heard).unwrap();
        heard
    }

    fn ended_well(&mut self, client: &mut TcpStream) -> bool {
        super::read_to_end(client).1.is_ok()
    }
}

/// In a simulated network.
struct Simulated {
    drivers: [Sim; 2],
    nets: [SimNet; 2],
}

impl Pair for Simulated {
    type Driver = Sim;
    type Client = Client;

    fn open(seed: u64, places: [usize; 2]) -> Option<Self> {
        // What an honest driver forgets to tell, a liar may tell by chance.
        let temper = if seed.is_multiple_of(2) { Temper::HONEST } else { Temper::LIAR };
        let (mut first, net) = Sim::new(seed, places[0], temper);
        let (second, beside) = Sim::beside(&net, places[1]);
        first.set_accepting(true);
        Some(Self { drivers: [first, second], nets: [net, beside] })
    }

    fn driver(&mut self, nth: usize) -> &mut Sim {
        &mut self.drivers[nth]
    }

    fn connect(&mut self, to: usize) -> Client {
        let client = self.nets[to].connect();
        self.nets[to].set_window(client, 200_000);
        client
    }

    fn say(&mut self, client: &mut Client, bytes: &[u8]) {
        self.nets[0].write(*client, bytes);
    }

    fn end(&mut self, client: &mut Client) {
        self.nets[0].half_close(*client);
    }

    fn reset(&mut self, client: Client) {
        self.nets[0].reset(client);
    }

    fn hear(&mut self, client: &mut Client, count: usize) -> Vec<u8> {
        let heard = self.nets[0].take_some(*client, count);
        assert_eq!(heard.len(), count);
        heard
    }

    fn ended_well(&mut self, client: &mut Client) -> bool {
        match self.nets[0].standing(*client) {
            crate::driver::sim::Standing::Ended => true,
            crate::driver::sim::Standing::Reset => false,
            other => panic!("it did not end: {other:?}"),
        }
    }
}

/// The pair with what each has told.
struct Scene<P> {
    pair: P,
    told: [Vec<Event>; 2],
}

impl<P: Pair> Scene<P> {
    fn open(seed: u64, places: [usize; 2]) -> Option<Self> {
        Some(Self { pair: P::open(seed, places)?, told: Default::default() })
    }

    fn poll(&mut self, nth: usize) {
        self.pair.driver(nth).poll(Some(Duration::from_millis(2)), &mut self.told[nth]);
    }

    /// Polls for a while that is long for a kernel and for a liar.
    fn poll_long(&mut self, nth: usize) {
        (0..20).for_each(|_| self.poll(nth));
    }

    fn until<T>(&mut self, nth: usize, wanted: impl Fn(&Event) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.told[nth].iter().enumerate();
            if let Some((at, found)) = found.filter_map(|(at, e)| Some((at, wanted(e)?))).next() {
                self.told[nth].remove(at);
                return found;
            }
            assert!(Instant::now() < deadline, "not told; told instead: {:?}", self.told[nth]);
            self.poll(nth);
        }
    }

    fn accept(&mut self, at: usize) -> (P::Client, Token) {
        let client = self.pair.connect(at);
        (client, self.until_accepted(at))
    }

    fn until_accepted(&mut self, at: usize) -> Token {
        self.until(at, |event| match event {
            Event::Accepted { token, .. } => Some(*token),
            _ => None,
        })
    }

    /// Whether the end of the peer's side was told with it.
    fn until_readable(&mut self, nth: usize, wanted: Token) -> bool {
        self.until(nth, |event| match event {
            Event::Readable { token, hangup, .. } if *token == wanted => Some(*hangup),
            _ => None,
        })
    }

    fn until_writable(&mut self, nth: usize, wanted: Token) {
        self.until(nth, |event| match event {
            Event::Writable { token } if *token == wanted => Some(()),
            _ => None,
        });
    }

    fn receive_all(&mut self, nth: usize, token: Token) -> (Vec<u8>, Ended) {
        let (mut all, mut ended) = (Vec::new(), None);
        while ended.is_none() {
            ended = Some(Ended::Silence);
            self.pair.driver(nth).recv_batch(&[token], &mut |_, received| {
                ended = match received {
                    Received::Bytes { bytes, .. } => {
                        all.extend_from_slice(bytes);
                        None
                    }
                    Received::Again => Some(Ended::Again),
                    Received::End => Some(Ended::End),
                    Received::Failed(errno) => Some(Ended::Failed(errno)),
                }
            });
        }
        (all, ended.unwrap_or(Ended::Silence))
    }

    /// Reads as a caller does, only when told to, until all of `wanted` came.
    fn expect(&mut self, nth: usize, token: Token, wanted: &[u8]) {
        let mut heard = Vec::new();
        while heard.len() < wanted.len() {
            self.until_readable(nth, token);
            heard.extend(self.receive_all(nth, token).0);
        }
        assert_eq!(heard, wanted);
    }

    fn try_send(&mut self, nth: usize, token: Token, bytes: &[u8]) -> Option<SendOutcome> {
        let mut exceptions = Vec::new();
        self.pair.driver(nth).send_batch(&[Outgoing { token, bytes }], &mut exceptions);
        exceptions.pop().map(|exception| exception.outcome)
    }

    fn send(&mut self, nth: usize, token: Token, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match self.try_send(nth, token, bytes) {
                None => return,
                Some(SendOutcome::Short(n)) => bytes = &bytes[n..],
                Some(SendOutcome::Again) => {
                    self.pair.driver(nth).watch_writable(token);
                    self.until_writable(nth, token);
                }
                Some(SendOutcome::Failed(errno)) => panic!("the send failed with {errno}"),
            }
        }
    }

    /// Sends until there is no room and a watch for some is open; how much was taken.
    fn fill(&mut self, nth: usize, token: Token) -> usize {
        let bytes = vec![7; 64 << 10];
        let mut taken = 0;
        loop {
            match self.try_send(nth, token, &bytes) {
                None => taken += bytes.len(),
                Some(SendOutcome::Short(n)) => taken += n,
                Some(SendOutcome::Failed(errno)) => panic!("the send failed with {errno}"),
                Some(SendOutcome::Again) => {
                    self.pair.driver(nth).watch_writable(token);
                    self.poll_long(nth);
                    let told = self.told[nth].len();
                    self.told[nth].retain(|event| !matches!(event, Event::Writable { .. }));
                    if self.told[nth].len() == told {
                        return taken;
                    }
                }
            }
            assert!(taken < 64 << 20, "the kernel takes everything");
        }
    }

    /// The liar says now and then that there is no descriptor or no memory.
    fn detach(&mut self, nth: usize, token: Token) -> Detached {
        loop {
            match self.pair.driver(nth).detach(token) {
                Ok(socket) => return socket,
                Err(errno) => assert_eq!(errno, libc::EMFILE),
            }
        }
    }

    fn try_adopt(&mut self, nth: usize, mut socket: Detached) -> Result<Token, Detached> {
        loop {
            match self.pair.driver(nth).adopt(socket) {
                Ok(token) => return Ok(token),
                Err(refused) if refused.errno == libc::ENFILE => return Err(refused.socket),
                Err(refused) => {
                    assert_eq!(refused.errno, libc::ENOMEM);
                    socket = refused.socket;
                }
            }
        }
    }

    fn adopt(&mut self, nth: usize, socket: Detached) -> Token {
        self.try_adopt(nth, socket).expect("there is a place")
    }
}

/// One `#[test]` for each driver of each named test.
macro_rules! suite {
    ($($name:ident)*) => {
        mod uring {
            $(#[test] fn $name() { super::$name::<super::Real<super::super::Uring>>(0); })*
        }
        mod epoll {
            $(#[test] fn $name() { super::$name::<super::Real<super::super::Epoll>>(0); })*
        }
        mod sim {
            $(#[test] fn $name() { (0..100).for_each(super::$name::<super::Simulated>); })*
        }
    };
}

suite! {
    what_was_not_read_goes_along_and_is_told
    a_stream_that_moves_on_and_on_is_whole_both_ways
    nothing_more_is_told_of_the_token_that_was_left
    a_watch_for_room_ends_and_the_next_owner_has_its_own
    an_end_is_told_to_the_next_owner
    a_reset_on_the_way_is_told_to_the_next_owner
    what_nobody_adopts_is_closed
    a_close_by_the_next_owner_reaches_the_peer_though_the_last_one_sleeps
    where_no_place_is_free_the_socket_comes_back
    an_adoption_takes_a_place_that_an_accept_waits_with
}

fn what_was_not_read_goes_along_and_is_told<P: Pair>(seed: u64) {
    let Some(mut scene) = Scene::<P>::open(seed, [4, 4]) else { return };
    let (mut client, old) = scene.accept(0);
    scene.pair.say(&mut client, b"one ");
    scene.until_readable(0, old);
    let socket = scene.detach(0, old);
    scene.pair.say(&mut client, b"two ");
    let new = scene.adopt(1, socket);
    // Nothing arrives from here on: that bytes wait is told all the same.
    scene.expect(1, new, b"one two ");
    scene.pair.say(&mut client, b"three");
    scene.expect(1, new, b"three");
    scene.send(1, new, b"heard");
    assert_eq!(scene.pair.hear(&mut client, 5), b"heard");
}

fn a_stream_that_moves_on_and_on_is_whole_both_ways<P: Pair>(seed: u64) {
    let Some(mut scene) = Scene::<P>::open(seed, [1, 2]) else { return };
    let (mut client, mut token) = scene.accept(0);
    let mut tokens = vec![(0, token)];
    for round in 0..20_usize {
        let (here, there) = (round % 2, (round + 1) % 2);
        let said: Vec<u8> = (0..200).map(|nth| (round * 31 + nth * 7) as u8).collect();
        let (before, after) = said.split_at(round * 10);
        scene.pair.say(&mut client, before);
        let socket = scene.detach(here, token);
        scene.pair.say(&mut client, after);
        token = scene.adopt(there, socket);
        assert!(!tokens.contains(&(there, token)), "a life of a place is told apart from others");
        tokens.push((there, token));
        scene.expect(there, token, &said);
        scene.send(there, token, &said);
        assert_eq!(scene.pair.hear(&mut client, said.len()), said);
    }
}

fn nothing_more_is_told_of_the_token_that_was_left<P: Pair>(seed: u64) {
    let Some(mut scene) = Scene::<P>::open(seed, [1, 1]) else { return };
    let (mut client, old) = scene.accept(0);
    scene.pair.say(&mut client, b"told of nobody yet");
    let socket = scene.detach(0, old);
    let new = scene.adopt(1, socket);
    assert_eq!(scene.pair.driver(0).detach(old).unwrap_err(), libc::EBADF);
    assert_eq!(scene.receive_all(0, old), (vec![], Ended::Silence));
    scene.pair.driver(0).close(old, Close::Abort);
    scene.told[0].clear();
    scene.pair.say(&mut client, b", and more");
    scene.poll_long(0);
    assert!(scene.told[0].is_empty(), "{:?}", scene.told[0]);
    // The place that was left lives again, and another token is its.
    let (mut other, next) = scene.accept(0);
    assert_eq!((next.index, next == old), (old.index, false));
    scene.pair.say(&mut other, b"mine");
    scene.expect(0, next, b"mine");
    scene.expect(1, new, b"told of nobody yet, and more");
}

fn a_watch_for_room_ends_and_the_next_owner_has_its_own<P: Pair>(seed: u64) {
    for ended in [false, true] {
        let Some(mut scene) = Scene::<P>::open(seed, [4, 4]) else { return };
        let (mut client, old) = scene.accept(0);
        if ended {
            scene.pair.end(&mut client);
            while !scene.until_readable(0, old) {}
        }
        let taken = scene.fill(0, old);
        let socket = scene.detach(0, old);
        let new = scene.adopt(1, socket);
        scene.pair.hear(&mut client, taken);
        scene.poll_long(0);
        scene.poll_long(1);
        for told in scene.told.iter().flatten() {
            assert!(!matches!(told, Event::Writable { .. }), "nobody waits for room: {told:?}");
        }
        scene.pair.driver(1).watch_writable(new);
        scene.until_writable(1, new);
        scene.send(1, new, b"room");
        assert_eq!(scene.pair.hear(&mut client, 4), b"room");
    }
}

fn an_end_is_told_to_the_next_owner<P: Pair>(seed: u64) {
    for early in [false, true] {
        let Some(mut scene) = Scene::<P>::open(seed, [4, 4]) else { return };
        let (mut client, old) = scene.accept(0);
        scene.pair.say(&mut client, b"last words");
        if early {
            scene.pair.end(&mut client);
        }
        let socket = scene.detach(0, old);
        if !early {
            scene.pair.end(&mut client);
        }
        let new = scene.adopt(1, socket);
        while !scene.until_readable(1, new) {}
        assert_eq!(scene.receive_all(1, new), (b"last words".to_vec(), Ended::End));
        scene.send(1, new, b"bye");
        assert_eq!(scene.pair.hear(&mut client, 3), b"bye");
    }
}

fn a_reset_on_the_way_is_told_to_the_next_owner<P: Pair>(seed: u64) {
    let Some(mut scene) = Scene::<P>::open(seed, [4, 4]) else { return };
    let (client, old) = scene.accept(0);
    let socket = scene.detach(0, old);
    scene.pair.reset(client);
    let new = scene.adopt(1, socket);
    while !scene.until_readable(1, new) {}
    assert_eq!(scene.receive_all(1, new), (vec![], Ended::Failed(libc::ECONNRESET)));
}

fn what_nobody_adopts_is_closed<P: Pair>(seed: u64) {
    let Some(mut scene) = Scene::<P>::open(seed, [1, 1]) else { return };
    for unread in [false, true] {
        let (mut client, token) = scene.accept(0);
        scene.send(0, token, b"last words");
        if unread {
            scene.pair.say(&mut client, b"nobody reads this");
        }
        let socket = scene.detach(0, token);
        assert_eq!(scene.pair.hear(&mut client, 10), b"last words");
        drop(socket);
        assert_eq!(scene.pair.ended_well(&mut client), !unread);
    }
}

fn a_close_by_the_next_owner_reaches_the_peer_though_the_last_one_sleeps<P: Pair>(seed: u64) {
    let Some(mut scene) = Scene::<P>::open(seed, [4, 4]) else { return };
    for watched in [false, true] {
        let (mut client, old) = scene.accept(0);
        let taken = if watched { scene.fill(0, old) } else { 0 };
        let socket = scene.detach(0, old);
        // The first driver is not asked for anything any more.
        let new = scene.adopt(1, socket);
        scene.poll_long(1);
        scene.pair.driver(1).close(new, Close::Gracefully);
        scene.poll_long(1);
        scene.pair.hear(&mut client, taken);
        assert!(scene.pair.ended_well(&mut client));
    }
}

fn where_no_place_is_free_the_socket_comes_back<P: Pair>(seed: u64) {
    let Some(mut scene) = Scene::<P>::open(seed, [2, 1]) else { return };
    let (mut one, first) = scene.accept(0);
    let (mut two, second) = scene.accept(0);
    let socket = scene.detach(0, first);
    let first = scene.adopt(1, socket);
    let socket = scene.detach(0, second);
    scene.pair.say(&mut two, b"is there room?");
    let socket = scene.try_adopt(1, socket).expect_err("the only place is taken");
    let socket = scene.try_adopt(1, socket).expect_err("and it stays taken");
    // Back where it came from, and nothing is amiss.
    let second = scene.adopt(0, socket);
    scene.expect(0, second, b"is there room?");
    // A place that is left makes room.
    scene.pair.driver(1).close(first, Close::Gracefully);
    let socket = scene.detach(0, second);
    let second = scene.adopt(1, socket);
    scene.send(1, second, b"now there is");
    assert_eq!(scene.pair.hear(&mut two, 12), b"now there is");
    scene.poll_long(1);
    assert!(scene.pair.ended_well(&mut one));
}

/// A driver that accepts keeps a free place for whoever comes next. Who is adopted goes first, and
/// whoever comes waits: nobody is lost.
fn an_adoption_takes_a_place_that_an_accept_waits_with<P: Pair>(seed: u64) {
    const PLACES: usize = 3;
    let Some(mut scene) = Scene::<P>::open(seed, [PLACES, PLACES]) else { return };
    scene.pair.driver(1).set_accepting(true);
    scene.poll_long(1);
    let mut moved = Vec::new();
    for nth in 0..PLACES {
        let (mut client, token) = scene.accept(0);
        scene.pair.say(&mut client, &[nth as u8]);
        let socket = scene.detach(0, token);
        let token = scene.adopt(1, socket);
        scene.expect(1, token, &[nth as u8]);
        moved.push((client, token));
        scene.poll_long(1);
    }
    let mut late = scene.pair.connect(1);
    scene.pair.say(&mut late, b"and I?");
    scene.poll_long(1);
    let accepted = |event: &Event| matches!(event, Event::Accepted { .. } | Event::AcceptFailed(_));
    assert!(!scene.told[1].iter().any(accepted), "{:?}", scene.told[1]);
    scene.pair.driver(1).close(moved[1].1, Close::Gracefully);
    let token = scene.until_accepted(1);
    scene.expect(1, token, b"and I?");
}

#[test]
fn a_socket_of_another_world_comes_back() {
    let mut real = Rig::new::<super::Epoll>(4).expect("epoll is everywhere");
    let (mut sim, net) = Sim::new(1, 4, Temper::HONEST);
    let (mut elsewhere, _net) = Sim::new(1, 4, Temper::HONEST);
    sim.set_accepting(true);
    let client = net.connect();
    sim.poll(None, &mut Vec::new());
    let token = net.token(client).expect("it is accepted");
    let refused = real.driver.adopt(sim.detach(token).unwrap()).unwrap_err();
    assert_eq!(refused.errno, libc::EINVAL);
    let refused = elsewhere.adopt(refused.socket).unwrap_err();
    assert_eq!(refused.errno, libc::EINVAL);
    assert!(sim.adopt(refused.socket).is_ok());
    let (_client, token) = real.accept();
    let refused = sim.adopt(real.driver.detach(token).unwrap()).unwrap_err();
    assert_eq!(refused.errno, libc::EINVAL);
    assert!(real.driver.adopt(refused.socket).is_ok());
}
