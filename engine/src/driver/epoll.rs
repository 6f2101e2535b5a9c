//! The driver for where io_uring is blocked: epoll, with one system call for each socket and send.
//!
//! It keeps the contract of [`super::uring`], event for event. Its sockets are descriptors of the
//! process, so `RLIMIT_NOFILE` bounds them all together and not each shard. Sockets are blocking
//! ones on purpose: every call says `MSG_DONTWAIT`, which spares setting a flag on each.

use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags};

use super::dial::{DIALS_MAX, Dial, DialRequest, Dialed, bind_address_no_port};
use super::{
    ACCEPTS_MAX, Close, Detached, Driver, DriverConfig, Event, Exception, NotAdopted, Outgoing,
    Received, SendOutcome, Token, Waker, canonical, debug_assert_distinct,
};

const SCRATCH_BYTES: usize = 16 << 10;
/// Events taken in one poll.
const EVENTS_MAX: usize = 1024;
/// Bytes that closing throws away at once, and how often: what a receive buffer can hold.
const DRAIN_BYTES: usize = 64 << 10;
const DRAINS_MAX: usize = 16;

const LISTENER: u64 = u64::MAX;
const WAKER: u64 = u64::MAX - 1;

/// What a socket is watched for until somebody waits for room to send.
const READABLE: EventFlags = EventFlags::IN.union(EventFlags::RDHUP).union(EventFlags::ET);

struct Slot {
    /// Odd while somebody lives here; see the table of `uring`.
    generation: u32,
    socket: Option<OwnedFd>,
    /// A watch for writability is open.
    watched: bool,
}

/// The epoll driver.
pub struct Epoll {
    epoll: OwnedFd,
    listener: TcpListener,
    _waker: Arc<Waker>,
    want_peers: bool,
    /// Whether accepting is on.
    accepting: bool,
    /// Whether the listener is watched: while accepting is on and a place is free.
    listening: bool,
    slots: Vec<Slot>,
    free: Vec<u32>,
    ready: Vec<epoll::Event>,
    scratch: Box<[u8]>,
    /// An accept that failed where no event can tell it: waits for the next poll.
    refused: Option<i32>,
    /// Calls under way, by the names that their callers gave them.
    dialing: HashMap<Token, u32>,
    /// Waits for the next [`Dial::dialed`].
    dialed: Vec<Dialed>,
}

impl Epoll {
    /// Makes the driver. Accepting is off.
    ///
    /// # Errors
    ///
    /// `EMFILE`, `ENFILE` or `ENOMEM` where there is no descriptor or memory left.
    pub fn new(config: DriverConfig) -> io::Result<Self> {
        let DriverConfig { listener, waker, capacity, want_peers, .. } = config;
        listener.set_nonblocking(true)?;
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &waker, EventData::new_u64(WAKER), EventFlags::IN | EventFlags::ET)?;
        let places = u32::try_from(capacity).map_err(|_| io::ErrorKind::InvalidInput)?;
        let empty = || Slot { generation: 0, socket: None, watched: false };
        Ok(Self {
            epoll,
            listener,
            _waker: waker,
            want_peers,
            accepting: false,
            listening: false,
            slots: (0..places).map(|_| empty()).collect(),
            // Low places first.
            free: (0..places).rev().collect(),
            ready: Vec::with_capacity(EVENTS_MAX),
            scratch: vec![0; SCRATCH_BYTES].into(),
            refused: None,
            dialing: HashMap::new(),
            dialed: Vec::new(),
        })
    }

    fn live(&self, token: Token) -> Option<&OwnedFd> {
        let slot = self.slots.get(token.index as usize)?;
        if slot.generation == token.generation { slot.socket.as_ref() } else { None }
    }

    fn accept(&mut self, events: &mut Vec<Event>) {
        for _ in 0..ACCEPTS_MAX {
            // Looked at before the accept, so that a full table costs no client its connection: it
            // waits in the backlog until a place is free.
            if self.free.is_empty() {
                return self.listen(false);
            }
            match self.accept_one() {
                Ok((socket, peer)) => self.admit(socket, peer, events),
                Err(Errno::AGAIN) => return,
                // accept(2): errors of the new connection are told here; the next may be well.
                Err(Errno::INTR | Errno::CONNABORTED | Errno::NETDOWN | Errno::PROTO) => {}
                Err(Errno::NOPROTOOPT | Errno::HOSTDOWN | Errno::NONET) => {}
                Err(Errno::HOSTUNREACH | Errno::OPNOTSUPP | Errno::NETUNREACH) => {}
                Err(error) => return self.stop(error.raw_os_error(), events),
            }
        }
    }

    fn accept_one(&self) -> rustix::io::Result<(OwnedFd, Option<SocketAddr>)> {
        if !self.want_peers {
            let socket = rustix::net::accept_with(&self.listener, SocketFlags::CLOEXEC)?;
            return Ok((socket, None));
        }
        let (socket, peer) = rustix::net::acceptfrom_with(&self.listener, SocketFlags::CLOEXEC)?;
        let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
        Ok((socket, peer.map(canonical)))
    }

    fn admit(&mut self, socket: OwnedFd, peer: Option<SocketAddr>, events: &mut Vec<Event>) {
        match self.settle(socket) {
            Ok(token) => events.push(Event::Accepted { token, peer }),
            // This client is lost.
            Err((_, errno)) => self.stop(errno, events),
        }
    }

    /// Gives a socket a place and watches it, or gives it back: where no place is free, where there
    /// is no memory for the watch, and over `fs.epoll.max_user_watches`.
    fn settle(&mut self, socket: OwnedFd) -> Result<Token, (OwnedFd, i32)> {
        let Some(&index) = self.free.last() else { return Err((socket, libc::ENFILE)) };
        let slot = &mut self.slots[index as usize];
        let token = Token { index, generation: slot.generation.wrapping_add(1) };
        // It looks at the socket once, so what has arrived before is told.
        if let Err(error) = epoll::add(&self.epoll, &socket, data(token), READABLE) {
            return Err((socket, error.raw_os_error()));
        }
        self.free.pop();
        *slot = Slot { generation: token.generation, socket: Some(socket), watched: false };
        Ok(token)
    }

    /// Ends a life: its socket, if it was alive.
    fn vacate(&mut self, token: Token) -> Option<OwnedFd> {
        self.live(token)?;
        let slot = &mut self.slots[token.index as usize];
        slot.generation = slot.generation.wrapping_add(1);
        let socket = slot.socket.take();
        self.free.push(token.index);
        self.listen(self.accepting);
        socket
    }

    fn listen(&mut self, on: bool) {
        if self.listening == on {
            return;
        }
        // Level-triggered: a backlog that one poll did not empty is told again by the next.
        let watch = if on {
            epoll::add(&self.epoll, &self.listener, EventData::new_u64(LISTENER), EventFlags::IN)
        } else {
            epoll::delete(&self.epoll, &self.listener)
        };
        match watch {
            Ok(()) => self.listening = on,
            Err(error) => self.refused = Some(error.raw_os_error()),
        }
    }

    fn stop(&mut self, errno: i32, events: &mut Vec<Event>) {
        self.set_accepting(false);
        events.push(Event::AcceptFailed(errno));
    }

    fn tell(&mut self, flags: EventFlags, token: Token, events: &mut Vec<Event>) {
        if self.live(token).is_none() {
            return;
        }
        if let Some(nth) = self.dialing.remove(&token) {
            self.end_call(nth, token);
            // What came with the connection, or right behind it, is told below.
        }
        if self.live(token).is_none() {
            return;
        }
        let over = EventFlags::HUP | EventFlags::ERR;
        let ended = over | EventFlags::RDHUP;
        if flags.intersects(ended | EventFlags::IN) {
            let (hangup, gone) = (flags.intersects(ended), flags.intersects(over));
            events.push(Event::Readable { token, hangup, gone });
        }
        let slot = &mut self.slots[token.index as usize];
        // A socket that failed has room in the sense that a send says what became of it.
        let room = flags.intersects(EventFlags::OUT | EventFlags::HUP | EventFlags::ERR);
        if room && std::mem::take(&mut slot.watched) {
            events.push(Event::Writable { token });
        }
    }
}

fn data(token: Token) -> EventData {
    EventData::new_u64(u64::from(token.generation) << 32 | u64::from(token.index))
}

fn timespec(timeout: Duration) -> Timespec {
    let seconds = i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX);
    Timespec { tv_sec: seconds, tv_nsec: timeout.subsec_nanos().into() }
}

impl Driver for Epoll {
    fn capacity(&self) -> usize {
        self.slots.len()
    }

    fn set_accepting(&mut self, on: bool) {
        self.accepting = on;
        self.listen(on && !self.free.is_empty());
    }

    fn recv_batch(&mut self, tokens: &[Token], taken: &mut dyn FnMut(Token, Received<'_>)) {
        debug_assert_distinct(tokens.iter().copied());
        for &token in tokens {
            let slot = self.slots.get(token.index as usize);
            let slot = slot.filter(|slot| slot.generation == token.generation);
            let Some(socket) = slot.and_then(|slot| slot.socket.as_ref()) else { continue };
            let received = match rustix::net::recv(socket, &mut *self.scratch, RecvFlags::DONTWAIT)
            {
                Ok((0, _)) => Received::End,
                Ok((n, _)) => {
                    Received::Bytes { bytes: &mut self.scratch[..n], more: n == SCRATCH_BYTES }
                }
                Err(Errno::AGAIN | Errno::INTR) => Received::Again,
                Err(error) => Received::Failed(error.raw_os_error()),
            };
            taken(token, received);
        }
    }

    fn send_batch(&mut self, sends: &[Outgoing<'_>], exceptions: &mut Vec<Exception>) {
        debug_assert_distinct(sends.iter().map(|send| send.token));
        for (nth, send) in sends.iter().enumerate() {
            assert!(!send.bytes.is_empty(), "a send of nothing");
            let Some(socket) = self.live(send.token) else {
                let outcome = SendOutcome::Failed(libc::EBADF);
                exceptions.push(Exception { nth, outcome });
                continue;
            };
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            let outcome = match rustix::net::send(socket, send.bytes, flags) {
                Ok(n) if n == send.bytes.len() => continue,
                Ok(0) | Err(Errno::AGAIN | Errno::INTR) => SendOutcome::Again,
                Ok(n) => SendOutcome::Short(n),
                Err(error) => SendOutcome::Failed(error.raw_os_error()),
            };
            exceptions.push(Exception { nth, outcome });
        }
    }

    fn watch_writable(&mut self, token: Token) {
        let Some(socket) = self.live(token) else { return };
        // Changing a watch looks at the socket once, so room that came since the send is told. The
        // interest stays in the kernel after it fired; `watched` makes it one-shot without a call.
        let watch = epoll::modify(&self.epoll, socket, data(token), READABLE | EventFlags::OUT);
        watch.expect("the socket is in the epoll set from its accept to its close");
        self.slots[token.index as usize].watched = true;
    }

    fn close(&mut self, token: Token, how: Close) {
        let Some(socket) = self.vacate(token) else { return };
        match how {
            Close::Gracefully => drain(&socket),
            // Where it fails the client gets a FIN instead, which is all that can be done.
            Close::Abort => {
                let _ = rustix::net::sockopt::set_socket_linger(&socket, Some(Duration::ZERO));
            }
        }
        // Dropping the descriptor closes it, and a closed socket leaves the epoll set.
    }

    fn detach(&mut self, token: Token) -> Result<Detached, i32> {
        let Some(socket) = self.live(token) else { return Err(libc::EBADF) };
        epoll::delete(&self.epoll, socket).map_err(Errno::raw_os_error)?;
        let socket = self.vacate(token).expect("looked at before");
        Ok(Detached::descriptor(socket))
    }

    fn adopt(&mut self, socket: Detached) -> Result<Token, NotAdopted> {
        let refuse = |(socket, errno)| NotAdopted::new(Detached::descriptor(socket), errno);
        self.settle(socket.into_descriptor()?).map_err(refuse)
    }

    fn poll(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) {
        if let Some(errno) = self.refused.take() {
            return events.push(Event::AcceptFailed(errno));
        }
        let told = !self.dialed.is_empty();
        let timeout = if told { Some(Duration::ZERO) } else { timeout };
        let timeout = timeout.map(timespec);
        let mut ready = std::mem::take(&mut self.ready);
        ready.clear();
        let spare: &mut [MaybeUninit<epoll::Event>] = ready.spare_capacity_mut();
        let told = match epoll::wait(&self.epoll, spare, timeout.as_ref()) {
            Ok((told, _)) => told,
            Err(Errno::INTR) => &mut [],
            Err(error) => panic!("epoll_wait failed: {error}"),
        };
        for event in told.iter() {
            let (flags, bits) = (event.flags, event.data.u64());
            match bits {
                WAKER => {}
                LISTENER => self.accept(events),
                _ => {
                    let token = Token { index: bits as u32, generation: (bits >> 32) as u32 };
                    self.tell(flags, token, events);
                }
            }
        }
        self.ready = ready;
    }
}

impl Dial for Epoll {
    fn dial(&mut self, call: DialRequest) -> bool {
        if self.dialing.len() >= DIALS_MAX {
            return false;
        }
        if let Err(error) = self.begin_call(call) {
            let errno = error.raw_os_error().unwrap_or(libc::EINVAL);
            self.dialed.push(Dialed::Failed { nth: call.nth, errno });
        }
        true
    }

    fn dialed(&mut self, dialed: &mut Vec<Dialed>) {
        dialed.append(&mut self.dialed);
    }
}

impl Epoll {
    fn begin_call(&mut self, call: DialRequest) -> io::Result<()> {
        let index = *self.free.last().ok_or(io::Error::from_raw_os_error(libc::ENFILE))?;
        let to = socket2::SockAddr::from(call.destination);
        let domain = socket2::Domain::for_address(call.destination);
        let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
        if let Some(bytes) = call.receive_bytes {
            socket.set_recv_buffer_size(bytes as usize)?;
        }
        if let Some(source) = call.source {
            bind_address_no_port(socket.as_fd())?;
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        socket.set_nonblocking(true)?;
        match socket.connect(&to) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
            _ => {}
        }
        let slot = &mut self.slots[index as usize];
        let token = Token { index, generation: slot.generation.wrapping_add(1) };
        // Room to send is how a connection shows (connect(2)).
        epoll::add(&self.epoll, &socket, data(token), READABLE | EventFlags::OUT)?;
        self.free.pop();
        let socket = Some(OwnedFd::from(socket));
        *slot = Slot { generation: token.generation, socket, watched: false };
        self.dialing.insert(token, call.nth);
        Ok(())
    }

    fn end_call(&mut self, nth: u32, token: Token) {
        let Some(socket) = self.live(token) else { return };
        let outcome = rustix::net::sockopt::socket_error(socket).unwrap_or_else(Err);
        let Err(error) = outcome else {
            return self.dialed.push(Dialed::Connected { token, nth });
        };
        self.close(token, Close::Abort);
        self.dialed.push(Dialed::Failed { nth, errno: error.raw_os_error() });
    }
}

/// Throws away what has arrived and was not read. Linux answers a close over unread bytes with RST
/// (RFC 1122 section 4.2.2.13), which would take the last answer from the client's hands.
fn drain(socket: &OwnedFd) {
    let mut bytes = [const { MaybeUninit::<u8>::uninit() }; DRAIN_BYTES];
    let flags = RecvFlags::DONTWAIT;
    for _ in 0..DRAINS_MAX {
        match rustix::net::recv(socket, &mut bytes[..], flags) {
            Ok((_, n)) if n == DRAIN_BYTES => {}
            _ => return,
        }
    }
}
