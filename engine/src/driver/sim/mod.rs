//! A driver without a kernel, for tests: seeded, single-threaded, and a liar within the contract.
//!
//! What a kernel may do, it does, and more often: events come late, receives are split, sends are
//! short or take nothing though there is room, readability is told for nothing, places are used
//! again in any order. What a *caller* may not do, it panics at: two sends for one socket in a
//! batch, sends of nothing, sends or watches for a socket that was closed. It never sleeps and
//! never looks at a clock, so a run is a function of its seed.
//!
//! ```
//! use fanfare::driver::sim::{Sim, Temper};
//! use fanfare::driver::{Driver, Event};
//!
//! let (mut sim, net) = Sim::new(7, 16, Temper::HONEST);
//! sim.set_accepting(true);
//! let client = net.connect();
//! let mut events = Vec::new();
//! sim.poll(None, &mut events);
//! assert!(matches!(events[..], [Event::Accepted { .. }]));
//! # let _ = client;
//! ```

mod net;
mod prng;

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use self::net::{Adrift, Net, Port, lock};
pub use self::net::{Client, SimNet, Standing, Temper};
pub use self::prng::Chance;
use super::{
    Close, Detached, Driver, Event, Exception, NotAdopted, Outgoing, Received, SEND_BYTES_MAX,
    SendOutcome, Token,
};

const SCRATCH_BYTES: usize = 16 << 10;

/// The simulated driver.
#[derive(Debug)]
pub struct Sim {
    net: Arc<Mutex<Net>>,
    /// Which of the network's drivers this is.
    port: usize,
    scratch: Vec<u8>,
}

impl Sim {
    /// A driver with room for `capacity` sockets, and the test's hand on its network. Peers are
    /// told.
    pub fn new(seed: u64, capacity: usize, temper: Temper) -> (Self, SimNet) {
        let chance = Chance::new(seed);
        let net = Net { chance, temper, wires: Vec::new(), ports: Vec::new() };
        Self::on(Arc::new(Mutex::new(net)), capacity)
    }

    /// Another driver on the network of `hand`, with clients of its own: sockets can be handed from
    /// one to the other.
    pub fn beside(hand: &SimNet, capacity: usize) -> (Self, SimNet) {
        Self::on(Arc::clone(&hand.net), capacity)
    }

    fn on(net: Arc<Mutex<Net>>, capacity: usize) -> (Self, SimNet) {
        let port = lock(&net).ports.len();
        lock(&net).ports.push(Port::new(capacity));
        let hand = SimNet { net: Arc::clone(&net), port };
        (Self { net, port, scratch: vec![0; SCRATCH_BYTES] }, hand)
    }

    fn lock(&self) -> MutexGuard<'_, Net> {
        lock(&self.net)
    }
}

impl Driver for Sim {
    fn capacity(&self) -> usize {
        self.lock().ports[self.port].slots.len()
    }

    fn set_accepting(&mut self, on: bool) {
        self.lock().ports[self.port].accepting = on;
    }

    fn recv_batch(&mut self, tokens: &[Token], taken: &mut dyn FnMut(Token, Received<'_>)) {
        let mut seen = HashSet::new();
        for &token in tokens {
            assert!(seen.insert(token), "contract: {token:?} is in a batch of receives twice");
            let received = lock(&self.net).receive(self.port, token, &mut self.scratch);
            let Some(received) = received else { continue };
            // Handed over without the network being borrowed: the callback may be a test's.
            taken(
                token,
                match received {
                    Took::Bytes { count, more } => {
                        Received::Bytes { bytes: &mut self.scratch[..count], more }
                    }
                    Took::Again => Received::Again,
                    Took::End => Received::End,
                    Took::Failed(errno) => Received::Failed(errno),
                },
            );
        }
    }

    fn send_batch(&mut self, sends: &[Outgoing<'_>], exceptions: &mut Vec<Exception>) {
        let mut net = self.lock();
        let mut seen = HashSet::new();
        for (nth, send) in sends.iter().enumerate() {
            let Outgoing { token, bytes } = *send;
            assert!(seen.insert(token), "contract: {token:?} is in a batch of sends twice");
            assert!(!bytes.is_empty(), "contract: a send of nothing to {token:?}");
            assert!(bytes.len() <= SEND_BYTES_MAX, "contract: a send of {} bytes", bytes.len());
            let outcome = net.send(self.port, token, bytes);
            exceptions.extend(outcome.map(|outcome| Exception { nth, outcome }));
        }
        // «In no order.»
        if net.temper.delay > 0 && net.chance.percent(50) {
            exceptions.reverse();
        }
    }

    fn watch_writable(&mut self, token: Token) {
        let mut net = self.lock();
        let client = net.ports[self.port].client(token);
        let client = client.unwrap_or_else(|| panic!("contract: a watch for {token:?}, closed"));
        net.wires[client.0].watched = true;
    }

    fn close(&mut self, token: Token, how: Close) {
        self.lock().close(self.port, token, how);
    }

    fn detach(&mut self, token: Token) -> Result<Detached, i32> {
        let client = self.lock().detach(self.port, token)?;
        Ok(Detached::simulated(Adrift::new(&self.net, client)))
    }

    fn adopt(&mut self, socket: Detached) -> Result<Token, NotAdopted> {
        let socket: Box<Adrift> = socket.into_simulated()?;
        let client = socket.client(&self.net).ok_or(libc::EINVAL);
        match client.and_then(|client| self.lock().adopt(self.port, client)) {
            Ok(token) => {
                socket.adopted();
                Ok(token)
            }
            Err(errno) => Err(NotAdopted::new(Detached::simulated(*socket), errno)),
        }
    }

    fn poll(&mut self, _timeout: Option<Duration>, events: &mut Vec<Event>) {
        let mut net = self.lock();
        let first = events.len();
        while net.ports[self.port].accepting && !net.is_late() && net.can_accept(self.port) {
            net.accept(self.port, events);
        }
        // From another place each time, so that nobody is always told first.
        let places = net.ports[self.port].slots.len();
        let start = net.chance.below(places);
        for nth in 0..places {
            net.tell(self.port, (start + nth) % places, events);
        }
        // A new connection is told before anything else of it, as `tell` came after `accept`.
        debug_assert!(events[first..].iter().all(|event| match event {
            Event::Readable { token, .. } | Event::Writable { token } =>
                net.ports[self.port].client(*token).is_some(),
            Event::Accepted { .. } | Event::AcceptFailed(_) => true,
        }));
    }
}

/// What a receive brought into the scratch.
enum Took {
    Bytes { count: usize, more: bool },
    Again,
    End,
    Failed(i32),
}

impl Net {
    fn is_late(&mut self) -> bool {
        self.chance.percent(self.temper.delay)
    }

    fn can_accept(&self, port: usize) -> bool {
        let port = &self.ports[port];
        let room = || port.slots.iter().any(|(_, client)| client.is_none());
        port.accept_failure.is_some() || !port.waiting.is_empty() && room()
    }

    fn receive(&mut self, port: usize, token: Token, scratch: &mut [u8]) -> Option<Took> {
        let client = self.ports[port].client(token)?;
        let split = self.chance.percent(self.temper.split);
        let wire = &mut self.wires[client.0];
        if wire.standing == Standing::Reset {
            return Some(Took::Failed(libc::ECONNRESET));
        }
        let there = wire.inbound.len();
        if there == 0 {
            return Some(if wire.half_closed { Took::End } else { Took::Again });
        }
        let mut count = there.min(scratch.len());
        if split {
            count = 1 + self.chance.below(count);
            // The rest has not arrived yet; when it has, that is an arrival.
            wire.arrived |= count < there;
        }
        for (place, byte) in scratch.iter_mut().zip(wire.inbound.drain(..count)) {
            *place = byte;
        }
        Some(Took::Bytes { count, more: count == scratch.len() })
    }

    fn send(&mut self, port: usize, token: Token, bytes: &[u8]) -> Option<SendOutcome> {
        let client = self.ports[port].client(token);
        let client = client.unwrap_or_else(|| panic!("contract: a send to {token:?}, closed"));
        let temper = self.temper;
        let fails = self.chance.percent(temper.fail);
        let again = self.chance.percent(temper.again);
        let short = self.chance.percent(temper.short);
        let wire = &mut self.wires[client.0];
        if fails && wire.standing == Standing::Open {
            wire.standing = Standing::Reset;
            wire.outbound.clear();
            wire.arrived = true;
        }
        if wire.standing == Standing::Reset {
            return Some(SendOutcome::Failed(libc::EPIPE));
        }
        let room = wire.window.saturating_sub(wire.outbound.len());
        let mut count = room.min(bytes.len());
        if short {
            count = self.chance.below(count + 1);
        }
        if again {
            count = 0;
        }
        wire.outbound.extend_from_slice(&bytes[..count]);
        match count {
            0 => Some(SendOutcome::Again),
            _ if count < bytes.len() => Some(SendOutcome::Short(count)),
            _ => None,
        }
    }

    /// Tells what there is to tell of one place.
    fn tell(&mut self, port: usize, index: usize, events: &mut Vec<Event>) {
        let Some((token, client)) = self.ports[port].resident(index) else { return };
        let (late_in, late_out) = (self.is_late(), self.is_late());
        let spurious = self.chance.percent(self.temper.spurious);
        let hollow = self.chance.percent(self.temper.hollow);
        let wire = &mut self.wires[client.0];
        let gone = wire.standing == Standing::Reset;
        let hangup = wire.half_closed || gone;
        if wire.arrived && !late_in || spurious {
            wire.arrived = false;
            events.push(Event::Readable { token, hangup, gone });
        }
        let room = wire.outbound.len() < wire.window || wire.standing == Standing::Reset;
        if wire.watched && (room && !late_out || hollow) {
            wire.watched = false;
            events.push(Event::Writable { token });
        }
    }
}
