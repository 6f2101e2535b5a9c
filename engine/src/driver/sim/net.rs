//! The network of [`super::Sim`]: what a test does to it as its clients, and what it remembers.

use std::collections::VecDeque;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::prng::Chance;
use crate::driver::detached::Simulated;
use crate::driver::{Close, Event, Token};

/// How often the network lies, in percent of the occasions. All lies are ones that a kernel may
/// tell.
#[derive(Clone, Copy, Debug)]
pub struct Temper {
    /// A poll keeps an event back.
    pub delay: u8,
    /// A receive brings only a part; the rest arrives later.
    pub split: u8,
    /// A send takes only a part though there is room.
    pub short: u8,
    /// A send takes nothing though there is room.
    pub again: u8,
    /// A poll says readable though nothing arrived.
    pub spurious: u8,
    /// A poll says that there is room though there is none, to whoever waits for it.
    pub hollow: u8,
    /// A send finds that the socket has failed.
    pub fail: u8,
    /// A socket is not detached, or not adopted, for want of a descriptor.
    pub refuse: u8,
}

impl Temper {
    /// Tells the truth at once.
    pub const HONEST: Self =
        Self { delay: 0, split: 0, short: 0, again: 0, spurious: 0, hollow: 0, fail: 0, refuse: 0 };
    /// Lies often, and breaks nothing. Of room it does not lie: a node that is told of some on and
    /// on is never at rest.
    pub const LIAR: Self = Self {
        delay: 40,
        split: 30,
        short: 20,
        again: 10,
        spurious: 5,
        refuse: 10,
        ..Self::HONEST
    };
}

/// A client of the test.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct Client(pub(super) usize);

/// How a client's connection stands, as the client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has connected and is not accepted yet.
    Waiting,
    /// It is accepted and neither side has closed.
    Open,
    /// The driver's side closed gracefully: FIN after the last byte.
    Ended,
    /// RST: aborted by the driver's side, lost to a full table, failed, or reset by the client.
    Reset,
}

/// One connection, both ends of it.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) peer: SocketAddr,
    pub(super) standing: Standing,
    /// From client to driver.
    pub(super) inbound: VecDeque<u8>,
    /// The client says no more.
    pub(super) half_closed: bool,
    /// From driver to client, not taken yet.
    pub(super) outbound: Vec<u8>,
    /// What `outbound` may hold.
    pub(super) window: usize,
    /// Something arrived that the driver was not told of.
    pub(super) arrived: bool,
    /// The driver waits for room.
    pub(super) watched: bool,
}

/// The state that drivers and test share.
#[derive(Debug)]
pub(super) struct Net {
    pub(super) chance: Chance,
    pub(super) temper: Temper,
    pub(super) wires: Vec<Wire>,
    /// What each driver has of it.
    pub(super) ports: Vec<Port>,
}

/// Where the clients of one driver connect.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) accepting: bool,
    pub(super) accept_failure: Option<i32>,
    pub(super) waiting: VecDeque<Client>,
    /// Odd generations are alive; who lives there.
    pub(super) slots: Vec<(u32, Option<Client>)>,
}

impl Port {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            accepting: false,
            accept_failure: None,
            waiting: VecDeque::new(),
            slots: vec![(0, None); capacity],
        }
    }

    pub(super) fn client(&self, token: Token) -> Option<Client> {
        let (generation, client) = self.slots.get(token.index as usize)?;
        if *generation == token.generation { *client } else { None }
    }

    /// Whoever lives in the slot of this index.
    pub(super) fn resident(&self, index: usize) -> Option<(Token, Client)> {
        let (generation, client) = self.slots[index];
        Some((Token { index: index as u32, generation }, client?))
    }

    /// Gives a client any free place, if there is one.
    fn house(&mut self, client: Client, chance: &mut Chance) -> Option<Token> {
        let free: Vec<usize> =
            (0..self.slots.len()).filter(|index| self.slots[*index].1.is_none()).collect();
        if free.is_empty() {
            return None;
        }
        let index = free[chance.below(free.len())];
        let slot = &mut self.slots[index];
        *slot = (slot.0.wrapping_add(1), Some(client));
        Some(Token { index: index as u32, generation: slot.0 })
    }

    /// Ends the life of a token that is alive.
    fn leave(&mut self, token: Token) -> Option<Client> {
        let client = self.client(token)?;
        let slot = &mut self.slots[token.index as usize];
        *slot = (slot.0.wrapping_add(1), None);
        Some(client)
    }
}

impl Net {
    /// Accepts the next client into any free place, if there is one.
    pub(super) fn accept(&mut self, port: usize, events: &mut Vec<Event>) {
        let at = &mut self.ports[port];
        if let Some(errno) = at.accept_failure.take() {
            at.accepting = false;
            return events.push(Event::AcceptFailed(errno));
        }
        let Some(client) = at.waiting.pop_front() else { return };
        let token = at.house(client, &mut self.chance).expect("looked at before");
        let wire = &mut self.wires[client.0];
        wire.standing =
            if wire.standing == Standing::Waiting { Standing::Open } else { wire.standing };
        events.push(Event::Accepted { token, peer: Some(wire.peer) });
    }

    pub(super) fn close(&mut self, port: usize, token: Token, how: Close) {
        if let Some(client) = self.ports[port].leave(token) {
            self.end(client, how);
        }
    }

    fn end(&mut self, client: Client, how: Close) {
        let wire = &mut self.wires[client.0];
        wire.watched = false;
        if wire.standing == Standing::Open {
            wire.standing = match how {
                Close::Gracefully => Standing::Ended,
                Close::Abort => Standing::Reset,
            };
        }
        if wire.standing == Standing::Reset {
            // An RST overtakes what the client had not read.
            wire.outbound.clear();
        }
    }

    pub(super) fn detach(&mut self, port: usize, token: Token) -> Result<Client, i32> {
        if self.ports[port].client(token).is_none() {
            return Err(libc::EBADF);
        }
        if self.chance.percent(self.temper.refuse) {
            return Err(libc::EMFILE);
        }
        let client = self.ports[port].leave(token).expect("it is alive");
        self.wires[client.0].watched = false;
        Ok(client)
    }

    pub(super) fn adopt(&mut self, port: usize, client: Client) -> Result<Token, i32> {
        if self.chance.percent(self.temper.refuse) {
            return Err(libc::ENOMEM);
        }
        let token = self.ports[port].house(client, &mut self.chance).ok_or(libc::ENFILE)?;
        let wire = &mut self.wires[client.0];
        // Watching looks at the socket once.
        let over = wire.half_closed || wire.standing == Standing::Reset;
        wire.arrived = over || !wire.inbound.is_empty();
        Ok(token)
    }
}

/// A simulated socket that no driver holds.
pub(super) struct Adrift {
    net: Arc<Mutex<Net>>,
    client: Client,
    /// A driver has it, so there is nothing to close.
    adopted: bool,
}

impl Adrift {
    pub(super) fn new(net: &Arc<Mutex<Net>>, client: Client) -> Self {
        Self { net: Arc::clone(net), client, adopted: false }
    }

    /// Who it is, where it is of this network.
    pub(super) fn client(&self, net: &Arc<Mutex<Net>>) -> Option<Client> {
        Arc::ptr_eq(&self.net, net).then_some(self.client)
    }

    pub(super) fn adopted(mut self) {
        self.adopted = true;
    }
}

impl Simulated for Adrift {
    fn say(&self, bytes: &[u8]) {
        let mut net = lock(&self.net);
        let wire = &mut net.wires[self.client.0];
        let room = wire.window.saturating_sub(wire.outbound.len()).min(bytes.len());
        wire.outbound.extend_from_slice(&bytes[..room]);
    }
}

impl fmt::Debug for Adrift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Adrift({:?})", self.client)
    }
}

impl Drop for Adrift {
    /// As a kernel does: over bytes that nobody read it resets.
    fn drop(&mut self) {
        if self.adopted {
            return;
        }
        let mut net = lock(&self.net);
        let unread = !net.wires[self.client.0].inbound.is_empty();
        let how = if unread { Close::Abort } else { Close::Gracefully };
        net.end(self.client, how);
    }
}

/// A test that panicked elsewhere is told by that panic.
pub(super) fn lock(net: &Mutex<Net>) -> MutexGuard<'_, Net> {
    net.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A test's hand on the network, at one of its drivers. Cloning gives another hand on the same.
#[derive(Clone, Debug)]
pub struct SimNet {
    pub(super) net: Arc<Mutex<Net>>,
    /// Which driver's.
    pub(super) port: usize,
}

impl SimNet {
    pub(super) fn lock(&self) -> MutexGuard<'_, Net> {
        lock(&self.net)
    }

    /// Connects a client with an address of its own.
    pub fn connect(&self) -> Client {
        let nth = self.lock().wires.len();
        let ip = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 0, 0, 1)) + nth as u32);
        self.connect_from(SocketAddr::from((ip, 40_000)))
    }

    /// Connects a client from this address.
    pub fn connect_from(&self, peer: SocketAddr) -> Client {
        let mut net = self.lock();
        let client = Client(net.wires.len());
        net.wires.push(Wire {
            peer,
            standing: Standing::Waiting,
            inbound: VecDeque::new(),
            half_closed: false,
            outbound: Vec::new(),
            window: usize::MAX,
            arrived: false,
            watched: false,
        });
        net.ports[self.port].waiting.push_back(client);
        client
    }

    /// The client says this. Into a connection that is over it falls silently.
    pub fn write(&self, client: Client, bytes: &[u8]) {
        let wire = &mut self.lock().wires[client.0];
        assert!(!wire.half_closed, "a client that has ended its side says no more");
        if matches!(wire.standing, Standing::Waiting | Standing::Open) && !bytes.is_empty() {
            wire.inbound.extend(bytes);
            wire.arrived = true;
        }
    }

    /// The client says no more, but listens.
    pub fn half_close(&self, client: Client) {
        let wire = &mut self.lock().wires[client.0];
        wire.half_closed = true;
        wire.arrived = true;
    }

    /// The client breaks the connection.
    pub fn reset(&self, client: Client) {
        let wire = &mut self.lock().wires[client.0];
        wire.standing = Standing::Reset;
        wire.inbound.clear();
        wire.outbound.clear();
        wire.arrived = true;
    }

    /// All clients of the network break their connections.
    pub fn reset_all(&self) {
        let clients = self.lock().wires.len();
        (0..clients).for_each(|nth| self.reset(Client(nth)));
    }

    /// Takes what has arrived at the client, which makes room in its window.
    pub fn take(&self, client: Client) -> Vec<u8> {
        std::mem::take(&mut self.lock().wires[client.0].outbound)
    }

    /// Takes at most so many bytes, as a slow client does.
    pub fn take_some(&self, client: Client, bytes_max: usize) -> Vec<u8> {
        let outbound = &mut self.lock().wires[client.0].outbound;
        let end = bytes_max.min(outbound.len());
        outbound.drain(..end).collect()
    }

    /// Bounds what may wait at the client: 0 is one that reads nothing, `usize::MAX` (as at first)
    /// one that reads everything.
    pub fn set_window(&self, client: Client, bytes: usize) {
        self.lock().wires[client.0].window = bytes;
    }

    /// How the client sees its connection.
    pub fn standing(&self, client: Client) -> Standing {
        self.lock().wires[client.0].standing
    }

    /// The token by which this driver knows the client, while it does.
    pub fn token(&self, client: Client) -> Option<Token> {
        let port = &self.lock().ports[self.port];
        (0..port.slots.len())
            .filter_map(|index| port.resident(index))
            .find_map(|(token, resident)| (resident == client).then_some(token))
    }

    /// Connections that the driver has not closed.
    pub fn open(&self) -> usize {
        self.lock().ports[self.port].slots.iter().filter(|slot| slot.1.is_some()).count()
    }

    /// Places for connections.
    pub fn places(&self) -> usize {
        self.lock().ports[self.port].slots.len()
    }

    /// Whether the driver was told to accept.
    pub fn accepting(&self) -> bool {
        self.lock().ports[self.port].accepting
    }

    /// Lets the next accept fail with this errno.
    pub fn fail_next_accept(&self, errno: i32) {
        self.lock().ports[self.port].accept_failure = Some(errno);
    }

    /// Changes how often the network lies.
    pub fn set_temper(&self, temper: Temper) {
        self.lock().temper = temper;
    }

    /// Chance from the same seed, for what the test itself leaves to chance.
    pub fn below(&self, end: usize) -> usize {
        self.lock().chance.below(end)
    }
}
