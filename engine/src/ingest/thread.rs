//! The publishers' thread: readiness in, turns for everyone, and notices of the sequencer.
//!
//! A thin reader: what is read of whom, and what it is told, `publishers` decides. Each turn
//! reads at most one scratch of bytes from each, so that none of them keeps the others waiting by
//! sending more.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};
use fanfare_protocol::id::Epoch;
use mio::net::{UnixListener, UnixStream};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvFlags, ReturnFlags, SendFlags, Shutdown, recvmsg, send, shutdown,
    sockopt::{set_socket_send_buffer_size, socket_peercred},
};

use super::config::{IngestConfig, Peer};
use super::draft::Group;
use super::ledger::{GroupEnd, GroupResults};
use super::publisher::Publisher;
use super::publishers::{Admission, Key, Publishers, TURN_BYTES};
use super::sessions::Counts;
use super::socket::Bound;
use crate::clock::{Clock, Millis};
use crate::in_flight::InFlight;
use crate::metrics::Metrics;
use crate::os::coalescing_waker::CoalescingWaker;
use crate::sequencer::command::Command;
use crate::sequencer::inbox::Inbox;

const LISTENER: Token = Token(0);
const WAKER: Token = Token(1);
const FIRST_PUBLISHER: usize = 2;
/// Bytes of one `send`. The kernel frees what was sent only as a whole, so smaller pieces show
/// sooner that a slow publisher reads.
const PIECE_BYTES: usize = 8 << 10;
/// Asked for as room in the kernel when a publisher is told its last; it grants what it may.
const FAREWELL_ROOM_BYTES: usize = 4 << 20;
/// After an accept that failed for want of descriptors.
const ACCEPT_PAUSE_MS: u64 = 100;
/// Between two looks for room for one that waits for it: others make it, and do not say so.
const ROOM_PAUSE_MS: u64 = 5;

/// Of a group: its session's, and its own there.
type Number = (u64, u64);

/// What this thread is told by others.
enum Notice {
    /// What became of a group.
    GroupEnd(Number, GroupEnd),
    /// This is the epoch now. It comes before the results of whatever was placed in it.
    Epoch(Epoch),
    Stop(Duration),
}

/// Where others leave notices. It never makes them wait: the queue holds at most what publishers
/// have in flight, and a thread that was woken already is not woken again.
#[derive(Debug)]
pub(super) struct NoticeSender {
    waker: CoalescingWaker,
    notices: Sender<Notice>,
}

impl NoticeSender {
    /// Asks the thread to end.
    pub(super) fn stop(&self, patience: Duration) {
        self.send(Notice::Stop(patience));
    }

    fn send(&self, notice: Notice) {
        // The thread is gone when nobody takes it; then nobody is owed anything.
        let _ = self.notices.send(notice);
        self.waker.wake();
    }
}

/// Sends the results of one group to its publisher's thread. One that is dropped without any says
/// that they are lost.
struct ResultsSender {
    notices: Arc<NoticeSender>,
    group: Number,
    is_sent: bool,
}

impl ResultsSender {
    fn send(mut self, results: GroupResults) {
        self.is_sent = true;
        self.notices.send(Notice::GroupEnd(self.group, GroupEnd::Results(results)));
    }
}

impl Drop for ResultsSender {
    fn drop(&mut self) {
        if !self.is_sent {
            self.notices.send(Notice::GroupEnd(self.group, GroupEnd::Lost));
        }
    }
}

/// One connection's socket.
struct Socket {
    stream: UnixStream,
    readable: bool,
    writable: bool,
    /// Whether it was given [`FAREWELL_ROOM_BYTES`].
    has_farewell_room: bool,
}

/// The thread's state.
pub(super) struct Ingest {
    inbox: Inbox,
    metrics: Arc<Metrics>,
    clock: Clock,
    poll: Poll,
    bound: Option<(Bound, UnixListener)>,
    accept_again: Option<Millis>,
    /// What others send notices by.
    notice_sender: Arc<NoticeSender>,
    notices: Receiver<Notice>,
    /// By the same keys as their publishers; they are the poll's tokens too.
    sockets: BTreeMap<Key, Socket>,
    publishers: Publishers,
    scratch: Box<[u8]>,
}

impl Ingest {
    pub(super) fn new(
        settings: IngestConfig,
        bound: Bound,
        inbox: &Inbox,
        metrics: Arc<Metrics>,
        clock: Clock,
    ) -> io::Result<(Self, Arc<NoticeSender>)> {
        let poll = Poll::new()?;
        let mut listener = UnixListener::from_std(bound.listener.try_clone()?);
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let (sender, notices) = unbounded();
        let notice_sender = NoticeSender { waker: CoalescingWaker::new()?, notices: sender };
        let descriptor = notice_sender.waker.as_fd().as_raw_fd();
        poll.registry().register(&mut SourceFd(&descriptor), WAKER, Interest::READABLE)?;
        let notice_sender = Arc::new(notice_sender);
        let epochs = Arc::clone(&notice_sender);
        let hear = Box::new(move |epoch| epochs.send(Notice::Epoch(epoch)));
        // An order that has ended begins no epoch.
        let _ = inbox.send(Command::HearEpochs(hear));
        let in_flight = InFlight::of(&metrics, &settings.limits);
        let own_user = rustix::process::geteuid().as_raw();
        let ingest = Self {
            // Publishers pay for what they send when it is read.
            inbox: inbox.paid(),
            metrics,
            clock,
            poll,
            bound: Some((bound, listener)),
            accept_again: None,
            notice_sender: Arc::clone(&notice_sender),
            notices,
            sockets: BTreeMap::new(),
            publishers: Publishers::new(settings, in_flight, own_user, FIRST_PUBLISHER),
            scratch: vec![0; TURN_BYTES].into(),
        };
        Ok((ingest, notice_sender))
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
                    WAKER => {}
                    Token(key) => {
                        if let Some(socket) = self.sockets.get_mut(&key) {
                            socket.readable |= event.is_readable() || event.is_read_closed();
                            socket.writable |= event.is_writable() || event.is_write_closed();
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
            self.publishers.expire(told);
            self.count();
            if self.publishers.are_over(now) {
                break;
            }
        }
        for socket in self.sockets.values_mut() {
            socket.end(&mut self.scratch);
        }
        if let Some((bound, _listener)) = self.bound.take() {
            bound.remove();
        }
        self.metrics.ingest.publishers.set(0);
        self.metrics.ingest.held.set(0);
    }

    /// Until the next deadline; none while someone waits to be read.
    fn timeout(&self) -> Option<Duration> {
        let mut readable = self.sockets.iter().filter(|(_, socket)| socket.readable);
        if readable.clone().any(|(key, _)| self.publishers.wants_bytes(*key)) {
            return Some(Duration::ZERO);
        }
        let now = self.clock.now();
        let waits_for_room = readable.any(|(key, _)| self.publishers.waits_for_room(*key));
        let room = waits_for_room.then(|| now.plus(ROOM_PAUSE_MS));
        let next = self.publishers.next_deadline().into_iter().chain(self.accept_again).chain(room);
        // One more, so that the deadline is over and not only near.
        Some(Duration::from_millis(next.min()?.since(now) + 1))
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
        let peer = socket_peercred(&stream).ok();
        let peer = peer.map(|peer| Peer { user: peer.uid.as_raw(), group: peer.gid.as_raw() });
        if self.publishers.knows(peer) {
            self.make_place(told, now);
        }
        let (admission, is_refused) = self.publishers.admit(now, peer);
        self.metrics.ingest.turned_away.add(u64::from(is_refused));
        let Admission::Taken(key) = admission else { return };
        let both = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.poll.registry().register(&mut stream, Token(key), both) {
            tracing::warn!(%error, "a publisher cannot be waited for");
            if let Some(publisher) = self.publishers.get(key) {
                publisher.handle_failure();
            }
        }
        let socket = Socket { stream, readable: true, writable: true, has_farewell_room: false };
        self.sockets.insert(key, socket);
        self.count();
    }

    /// Where there seems to be no place for one more publisher, those that have hung up are heard
    /// first: one that closes a connection and opens the next is not told that its own old one is
    /// in its way. Two turns, for one that has written and hung up; one that has written more is
    /// still served.
    fn make_place(&mut self, told: Millis, now: Millis) {
        for _ in 0..2 {
            if self.publishers.has_place() {
                return;
            }
            for socket in self.sockets.values_mut() {
                // It may have hung up since the poll.
                socket.readable = true;
            }
            self.turn(told, now);
        }
    }

    fn count(&mut self) {
        let metrics = &self.metrics.ingest;
        let Counts { resumed, forgotten } = self.publishers.take_counts();
        metrics.publishers.set(self.publishers.guests() as u64);
        metrics.held.set(self.publishers.held() as u64);
        metrics.sessions.set(self.publishers.sessions_kept() as u64);
        metrics.sessions_resumed.add(resumed);
        metrics.sessions_forgotten.add(forgotten);
    }

    /// Takes what others have left.
    fn hear(&mut self, now: Millis) {
        // mio watches it edge-triggered.
        self.notice_sender.waker.clear();
        while let Ok(notice) = self.notices.try_recv() {
            match notice {
                Notice::GroupEnd(group, end) => self.publishers.end_group(now, group, end),
                Notice::Epoch(epoch) => self.publishers.begin_epoch(now, epoch),
                Notice::Stop(patience) => self.begin_to_end(now, patience),
            }
        }
    }

    fn begin_to_end(&mut self, now: Millis, patience: Duration) {
        self.accept_again = None;
        // The file first, so that nobody finds a socket that does not listen.
        if let Some((bound, _listener)) = self.bound.take() {
            bound.remove();
        }
        self.publishers.say_goodbye(now, patience);
    }

    /// One turn for each connection. What it sent is read before its deadlines are judged.
    fn turn(&mut self, told: Millis, now: Millis) {
        let Self { sockets, publishers, scratch, inbox, notice_sender, metrics, .. } = self;
        let mut not_taken = Vec::new();
        for (key, socket) in sockets.iter_mut() {
            if publishers.is_stalled(*key, told) {
                // The kernel says that there is room only when three quarters of its buffer are
                // free; one that reads slowly must not be taken for one that does not.
                socket.writable = true;
                socket.write(now, publishers.get(*key));
            }
            if socket.readable {
                let bytes = publishers.read_at_most(now, *key);
                socket.read(now, *key, &mut scratch[..bytes], publishers);
            }
            not_taken.extend(pass_on(publishers.take_groups(), inbox, notice_sender));
        }
        publishers.open_sessions(now);
        not_taken.extend(pass_on(publishers.take_groups(), inbox, notice_sender));
        for group in not_taken {
            publishers.end_group(now, group, GroupEnd::NotTaken);
        }
        // Counted first: whoever has read a refusal finds it in the metrics.
        metrics.ingest.refused.add(publishers.take_refused());
        self.count();
        let Self { sockets, publishers, scratch, .. } = self;
        for (key, socket) in sockets.iter_mut() {
            socket.write(now, publishers.get(*key));
            publishers.handle_deadline(told, now, *key);
            // What it may have been told just now does not wait for somebody else's event.
            socket.write(now, publishers.get(*key));
        }
        for key in publishers.end_turn(now) {
            if let Some(mut socket) = sockets.remove(&key) {
                socket.end(scratch);
            }
        }
        self.count();
    }
}

/// Gives groups to the sequencer; those that it did not take, because it has ended.
fn pass_on(groups: Vec<Group>, inbox: &Inbox, notices: &Arc<NoticeSender>) -> Vec<Number> {
    let mut not_taken = Vec::new();
    for group in groups {
        let notices = Arc::clone(notices);
        let sender = ResultsSender { notices, group: group.number, is_sent: false };
        let answer = group.answer(|results| sender.send(results));
        if inbox.send(Command::PublishBatch(group.publications, answer)).is_err() {
            not_taken.push(group.number);
        }
    }
    not_taken
}

impl Socket {
    /// Reads once, as much as there is room for. No room is given for descriptors, so the kernel
    /// installs none: it closes those that were sent and says that something was cut off.
    fn read(&mut self, now: Millis, key: Key, room: &mut [u8], publishers: &mut Publishers) {
        const DESCRIPTORS: &str = "descriptors were sent, and none are taken here";
        if room.is_empty() {
            return;
        }
        let mut no_room = RecvAncillaryBuffer::default();
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        match recvmsg(&self.stream, &mut [IoSliceMut::new(room)], &mut no_room, flags) {
            Ok(received) if received.flags.contains(ReturnFlags::CTRUNC) => {
                publishers.refuse(now, key, DESCRIPTORS);
            }
            Ok(received) if received.bytes == 0 => {
                self.readable = false;
                publishers.handle_end(now, key);
            }
            Ok(received) => publishers.handle_bytes(now, key, &room[..received.bytes]),
            Err(Errno::AGAIN) => self.readable = false,
            Err(Errno::INTR) => {}
            Err(_) => {
                if let Some(publisher) = publishers.get(key) {
                    publisher.handle_failure();
                }
            }
        }
    }

    fn write(&mut self, now: Millis, publisher: Option<&mut Publisher>) {
        let Some(publisher) = publisher else { return };
        self.writable |= publisher.lifecycle.is_parting() && !self.has_farewell_room;
        while self.writable && !publisher.unsent().is_empty() {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            let unsent = publisher.unsent();
            match send(&self.stream, &unsent[..unsent.len().min(PIECE_BYTES)], flags) {
                Ok(bytes) => publisher.handle_sent(now, bytes),
                Err(Errno::AGAIN) => self.writable = self.make_room(publisher),
                Err(Errno::INTR) => {}
                Err(_) => return publisher.handle_failure(),
            }
        }
        if publisher.is_flushed() {
            match shutdown(&self.stream, Shutdown::Write) {
                Ok(()) => publisher.handle_shut(now),
                Err(_) => publisher.handle_failure(),
            }
        }
    }

    /// Once, for what a publisher is told last: it is to find it behind what it has not read,
    /// whenever it reads. Whether it is worth to try again.
    fn make_room(&mut self, publisher: &Publisher) -> bool {
        if !publisher.lifecycle.is_parting() || self.has_farewell_room {
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
