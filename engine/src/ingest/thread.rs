//! The publishers' thread: readiness in, turns for everyone, and the bell that the sequencer rings.
//!
//! Each turn reads at most one scratch of bytes from each publisher, so that none of them keeps the
//! others waiting by sending more.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, IoSliceMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};
use fanfare_protocol::ingest::ErrorCode;
use mio::net::{UnixListener, UnixStream};
use mio::{Events, Interest, Poll, Token, Waker};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvFlags, ReturnFlags, SendFlags, Shutdown, recvmsg, send, shutdown,
    sockopt::{set_socket_send_buffer_size, socket_peercred},
};

use super::Config;
use super::ledger::Results;
use super::publisher::{Group, Publisher};
use super::sessions::{Counts, Sessions};
use super::socket::Bound;
use crate::clock::{Clock, Millis};
use crate::metrics::Metrics;
use crate::sequencer::command::Command;
use crate::sequencer::inbox::Inbox;

const LISTENER: Token = Token(0);
const BELL: Token = Token(1);
const FIRST_PUBLISHER: usize = 2;
/// Bytes read from one publisher in one turn.
const SCRATCH_BYTES: usize = 64 << 10;
/// Bytes of one `send`. The kernel frees what was sent only as a whole, so smaller pieces show
/// sooner that a slow publisher reads.
const PIECE_BYTES: usize = 8 << 10;
/// Asked for as room in the kernel when a publisher is told its last; it grants what it may.
const FAREWELL_ROOM_BYTES: usize = 4 << 20;
/// Connections beyond the limit that are told so; more are dropped without a word.
const REFUSALS_MAX: usize = 16;
/// After an accept that failed for want of descriptors.
const ACCEPT_PAUSE_MS: u64 = 100;

/// Of a group: its session's, and its own there.
type Number = (u64, u64);

/// What this thread is told by others.
enum Notice {
    Results(Number, Results),
    /// A group's command was dropped unanswered.
    Lost(Number),
    Stop(Duration),
}

/// Where others leave notices. It never makes them wait: the queue holds at most what publishers
/// have in flight, and a waker that rang is not rung again.
#[derive(Debug)]
pub(super) struct Bell {
    waker: Waker,
    rung: AtomicBool,
    notices: Sender<Notice>,
}

impl Bell {
    /// Asks the thread to end.
    pub(super) fn stop(&self, patience: Duration) {
        self.tell(Notice::Stop(patience));
    }

    fn tell(&self, notice: Notice) {
        // The thread is gone when nobody takes it; then nobody is owed anything.
        let _ = self.notices.send(notice);
        // Pairs with the swap in `hear`: either that one sees the notice, or this one rings.
        if !self.rung.swap(true, SeqCst)
            && let Err(error) = self.waker.wake()
        {
            tracing::error!(%error, "the publishers' thread cannot be woken");
        }
    }
}

/// Brings one group's results home, and says so when it is dropped without any.
struct Courier {
    bell: Arc<Bell>,
    group: Number,
    done: bool,
}

impl Courier {
    fn deliver(mut self, results: Results) {
        self.done = true;
        self.bell.tell(Notice::Results(self.group, results));
    }
}

impl Drop for Courier {
    fn drop(&mut self) {
        if !self.done {
            self.bell.tell(Notice::Lost(self.group));
        }
    }
}

struct Connection {
    stream: UnixStream,
    publisher: Publisher,
    readable: bool,
    writable: bool,
    /// Whether its socket was given [`FAREWELL_ROOM_BYTES`].
    has_farewell_room: bool,
    /// Whether it has one of the places for publishers, or is only told why it has none.
    is_guest: bool,
}

/// The thread's state.
pub(super) struct Ingest {
    settings: Config,
    inbox: Inbox,
    metrics: Arc<Metrics>,
    clock: Clock,
    poll: Poll,
    bound: Option<(Bound, UnixListener)>,
    accept_again: Option<Millis>,
    bell: Arc<Bell>,
    notices: Receiver<Notice>,
    /// By the order in which they were accepted, which is that of their turns.
    connections: BTreeMap<Token, Connection>,
    sessions: Sessions<Token>,
    next_token: usize,
    /// Set once it is to end.
    ends: Option<Millis>,
    scratch: Box<[u8]>,
    groups: Vec<Group>,
    own_user: u32,
}

impl Ingest {
    pub(super) fn new(
        settings: Config,
        bound: Bound,
        inbox: Inbox,
        metrics: Arc<Metrics>,
        clock: Clock,
    ) -> io::Result<(Self, Arc<Bell>)> {
        let poll = Poll::new()?;
        let mut listener = UnixListener::from_std(bound.listener.try_clone()?);
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let waker = Waker::new(poll.registry(), BELL)?;
        let (sender, notices) = unbounded();
        let age_ms = settings.limits.publisher_session_age_ms;
        let sessions = Sessions::new(settings.sessions(), age_ms);
        let bell = Arc::new(Bell { waker, rung: AtomicBool::new(false), notices: sender });
        let ingest = Self {
            settings,
            inbox,
            metrics,
            clock,
            poll,
            bound: Some((bound, listener)),
            accept_again: None,
            bell: Arc::clone(&bell),
            notices,
            connections: BTreeMap::new(),
            sessions,
            next_token: FIRST_PUBLISHER,
            ends: None,
            scratch: vec![0; SCRATCH_BYTES].into(),
            groups: Vec::new(),
            own_user: rustix::process::geteuid().as_raw(),
        };
        Ok((ingest, bell))
    }

    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(256);
        loop {
            let timeout = self.timeout();
            // What came before this the poll tells; what is due later is not late yet, however long
            // this thread then stands still.
            let told = self.clock.now();
            if let Err(error) = self.poll.poll(&mut events, timeout)
                && error.kind() != ErrorKind::Interrupted
            {
                tracing::error!(%error, "publishers cannot be waited for");
                break;
            }
            // Read before the work: what a full inbox costs is no publisher's fault.
            let now = self.clock.now();
            let mut accepts = self.accept_again.is_some_and(|at| now >= at);
            for event in &events {
                match event.token() {
                    LISTENER => accepts = true,
                    BELL => {}
                    token => {
                        if let Some(connection) = self.connections.get_mut(&token) {
                            connection.readable |= event.is_readable() || event.is_read_closed();
                            connection.writable |= event.is_writable() || event.is_write_closed();
                        }
                    }
                }
            }
            if accepts {
                self.accept(told, now);
            }
            self.hear(now);
            self.turn(told, now);
            // By what was read, as other deadlines: who takes up a session in time may have been
            // read just now. A poll that a signal broke off has told of nobody.
            self.sessions.expire(told);
            self.count_sessions();
            if self.ends.is_some_and(|end| self.connections.is_empty() || now >= end) {
                break;
            }
        }
        for connection in self.connections.values_mut() {
            connection.end(&mut self.scratch);
        }
        if let Some((bound, _listener)) = self.bound.take() {
            bound.remove();
        }
        self.metrics.ingest.publishers.set(0);
    }

    /// Until the next deadline; none while someone waits to be read.
    fn timeout(&self) -> Option<Duration> {
        let connections = self.connections.values();
        if connections.clone().any(|c| c.readable && c.publisher.wants_bytes()) {
            return Some(Duration::ZERO);
        }
        let patience = self.settings.patience();
        let deadlines = connections.filter_map(|c| c.publisher.deadline(patience));
        let others = self.ends.into_iter().chain(self.accept_again);
        let next = deadlines.chain(others).chain(self.sessions.next_expiry()).min()?;
        // One more, so that the deadline is over and not only near.
        Some(Duration::from_millis(next.since(self.clock.now()) + 1))
    }

    fn accept(&mut self, told: Millis, now: Millis) {
        self.accept_again = None;
        while let Some((_, listener)) = &self.bound {
            match listener.accept() {
                Ok((stream, _)) => self.admit(stream, told, now),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => {
                    tracing::warn!(%error, "a publisher cannot be accepted");
                    self.accept_again = Some(now.plus(ACCEPT_PAUSE_MS));
                    return;
                }
            }
        }
    }

    fn admit(&mut self, mut stream: UnixStream, told: Millis, now: Millis) {
        const STRANGER: &str = "your user may not publish on this socket; the node's own user, \
            root and those in its configuration may";
        const NO_ROOM: &str = "as many publishers are connected as may be; share a connection, or \
            raise the limit of publishers";
        // Only the user: a process number may be another process's by the time it is looked up.
        let user = socket_peercred(&stream).map(|peer| peer.uid.as_raw());
        let is_known = user.is_ok_and(|user| {
            user == 0 || user == self.own_user || self.settings.users.contains(&user)
        });
        let refusal = if !is_known {
            Some((ErrorCode::FORBIDDEN, STRANGER))
        } else if !self.has_place(told, now) {
            Some((ErrorCode::NO_ROOM, NO_ROOM))
        } else {
            None
        };
        if refusal.is_some() {
            self.metrics.ingest.turned_away.add(1);
            if self.connections.len() - self.guests() >= REFUSALS_MAX {
                return;
            }
        }
        let token = Token(self.next_token);
        let both = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.poll.registry().register(&mut stream, token, both) {
            return tracing::warn!(%error, "a publisher cannot be waited for");
        }
        self.next_token += 1;
        let session = self.sessions.nameless(user.unwrap_or(u32::MAX), token);
        let mut publisher = Publisher::new(&self.settings, session, now);
        if let Some((code, text)) = refusal {
            publisher.refuse(now, code, text);
        }
        let is_guest = refusal.is_none();
        let connection = Connection {
            stream,
            publisher,
            readable: true,
            writable: true,
            has_farewell_room: false,
            is_guest,
        };
        self.connections.insert(token, connection);
        self.count();
    }

    /// Whether there is a place for one more publisher. Where there seems to be none, those that
    /// have hung up are heard first: one that closes a connection and opens the next is not told
    /// that its own old one is in its way. Two turns, for one that has written and hung up; one
    /// that has written more is still served.
    fn has_place(&mut self, told: Millis, now: Millis) -> bool {
        for _ in 0..2 {
            if self.guests() < self.settings.limits.publishers {
                return true;
            }
            for connection in self.connections.values_mut() {
                // It may have hung up since the poll.
                connection.readable = true;
            }
            self.turn(told, now);
        }
        self.guests() < self.settings.limits.publishers
    }

    fn guests(&self) -> usize {
        self.connections.values().filter(|c| c.is_guest).count()
    }

    fn count(&self) {
        self.metrics.ingest.publishers.set(self.guests() as u64);
    }

    /// Takes what others have left.
    fn hear(&mut self, now: Millis) {
        self.bell.rung.swap(false, SeqCst);
        while let Ok(notice) = self.notices.try_recv() {
            match notice {
                Notice::Results(group, results) => {
                    self.sessions.settle(now, group, results, &mut self.connections);
                }
                Notice::Lost(group) => self.sessions.lost(group, &mut self.connections),
                Notice::Stop(patience) => self.begin_to_end(now, patience),
            }
        }
    }

    fn begin_to_end(&mut self, now: Millis, patience: Duration) {
        let patience_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        self.ends.get_or_insert(now.plus(patience_ms));
        self.accept_again = None;
        // The file first, so that nobody finds a socket that does not listen.
        if let Some((bound, _listener)) = self.bound.take() {
            bound.remove();
        }
        for connection in self.connections.values_mut() {
            connection.publisher.say_goodbye(now);
        }
    }

    /// One turn for each connection. What it sent is read before its deadlines are judged.
    fn turn(&mut self, told: Millis, now: Millis) {
        let patience = self.settings.patience();
        let mut not_taken = Vec::new();
        let mut wishes = Vec::new();
        for (token, connection) in &mut self.connections {
            if connection.publisher.is_stalled(told, patience) {
                // The kernel says that there is room only when three quarters of its buffer are
                // free; one that reads slowly must not be taken for one that does not.
                connection.writable = true;
                connection.write(now);
            }
            if connection.readable && connection.publisher.wants_bytes() {
                connection.read(now, &mut self.scratch, &mut self.groups);
            }
            wishes.extend(connection.publisher.asks().map(|_| *token));
            not_taken.extend(pass_on(&mut self.groups, &self.inbox, &self.bell));
        }
        // As accepted, too: of two that want one session the newer has it.
        for token in wishes {
            self.sessions.open(now, token, &mut self.connections, &mut self.groups);
            not_taken.extend(pass_on(&mut self.groups, &self.inbox, &self.bell));
        }
        for group in not_taken {
            self.sessions.not_taken(now, group, &mut self.connections);
        }
        for connection in self.connections.values_mut() {
            // Counted first: whoever has read a refusal finds it in the metrics.
            self.metrics.ingest.refused.add(connection.publisher.take_refused());
        }
        self.count_sessions();
        for connection in self.connections.values_mut() {
            connection.write(now);
            connection.publisher.handle_deadline(told, now, patience);
            // What it may have been told just now does not wait for somebody else's event.
            connection.write(now);
        }
        self.let_go(now);
    }

    /// Drops the connections that are over; sessions of theirs are kept.
    fn let_go(&mut self, now: Millis) {
        let before = self.connections.len();
        let Self { connections, sessions, scratch, .. } = self;
        connections.retain(|_, connection| {
            let is_over = connection.publisher.is_over();
            if is_over {
                connection.end(scratch);
                sessions.leave(now, &mut connection.publisher);
            }
            !is_over
        });
        if connections.len() != before {
            self.count();
            self.count_sessions();
        }
    }

    fn count_sessions(&mut self) {
        let Counts { resumed, forgotten } = self.sessions.take_counts();
        let metrics = &self.metrics.ingest;
        metrics.sessions.set(self.sessions.kept() as u64);
        metrics.sessions_resumed.add(resumed);
        metrics.sessions_forgotten.add(forgotten);
    }
}

/// Gives groups to the sequencer; those that it did not take, because it has ended.
fn pass_on(groups: &mut Vec<Group>, inbox: &Inbox, bell: &Arc<Bell>) -> Vec<Number> {
    let mut not_taken = Vec::new();
    for Group { number, publications } in groups.drain(..) {
        let courier = Courier { bell: Arc::clone(bell), group: number, done: false };
        let answer = Box::new(move |results| courier.deliver(results));
        if inbox.send(Command::PublishBatch(publications, answer)).is_err() {
            not_taken.push(number);
        }
    }
    not_taken
}

impl AsMut<Publisher> for Connection {
    fn as_mut(&mut self) -> &mut Publisher {
        &mut self.publisher
    }
}

impl Connection {
    /// Reads once. No room is given for descriptors, so the kernel installs none: it closes those
    /// that were sent and says that something was cut off.
    fn read(&mut self, now: Millis, scratch: &mut [u8], groups: &mut Vec<Group>) {
        const DESCRIPTORS: &str = "descriptors were sent, and none are taken here";
        let mut no_room = RecvAncillaryBuffer::default();
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let parts = &mut [IoSliceMut::new(scratch)];
        match recvmsg(&self.stream, parts, &mut no_room, flags) {
            Ok(received) if received.flags.contains(ReturnFlags::CTRUNC) => {
                self.publisher.refuse(now, ErrorCode::MALFORMED, DESCRIPTORS);
            }
            Ok(received) if received.bytes == 0 => {
                self.readable = false;
                self.publisher.handle_end(now);
            }
            Ok(received) => {
                self.publisher.handle_bytes(now, &scratch[..received.bytes], groups);
            }
            Err(Errno::AGAIN) => self.readable = false,
            Err(Errno::INTR) => {}
            Err(_) => self.publisher.handle_failure(),
        }
    }

    fn write(&mut self, now: Millis) {
        self.writable |= self.publisher.is_parting() && !self.has_farewell_room;
        while self.writable && !self.publisher.unsent().is_empty() {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            let unsent = self.publisher.unsent();
            match send(&self.stream, &unsent[..unsent.len().min(PIECE_BYTES)], flags) {
                Ok(bytes) => self.publisher.handle_sent(now, bytes),
                Err(Errno::AGAIN) => self.writable = self.make_room(),
                Err(Errno::INTR) => {}
                Err(_) => return self.publisher.handle_failure(),
            }
        }
        if self.publisher.is_flushed() {
            match shutdown(&self.stream, Shutdown::Write) {
                Ok(()) => self.publisher.handle_shut(now),
                Err(_) => self.publisher.handle_failure(),
            }
        }
    }

    /// Once, for what a publisher is told last: it is to find it behind what it has not read,
    /// whenever it reads. Whether it is worth to try again.
    fn make_room(&mut self) -> bool {
        if !self.publisher.is_parting() || self.has_farewell_room {
            return false;
        }
        self.has_farewell_room = true;
        set_socket_send_buffer_size(&self.stream, FAREWELL_ROOM_BYTES).is_ok()
    }

    /// Takes leave of its socket. The kernel makes an end with unread bytes a reset, which hides
    /// our last words from some; so nothing more may come, and what has come is read.
    fn end(&mut self, scratch: &mut [u8]) {
        if shutdown(&self.stream, Shutdown::Both).is_err() {
            return;
        }
        let mut no_room = RecvAncillaryBuffer::default();
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        loop {
            let parts = &mut [IoSliceMut::new(scratch)];
            match recvmsg(&self.stream, parts, &mut no_room, flags) {
                Ok(received) if received.bytes > 0 => {}
                Err(Errno::INTR) => {}
                _ => return,
            }
        }
    }
}
