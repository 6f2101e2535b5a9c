//! The production driver: one io_uring for each shard, its sockets in the ring's own file table.
//!
//! **The idea.** Only watches stay in the kernel (a multishot poll for each socket, 256 bytes; an
//! accept; the waker). Bytes move by operations that begin and end inside one `io_uring_enter`, so
//! the kernel never holds memory of ours and an idle client holds no buffer.
//!
//! **Why nothing of a send or a receive is pending after the enter.** Both carry `MSG_DONTWAIT`.
//! The kernel marks such a request `REQ_F_NOWAIT`, and one so marked that cannot go on is completed
//! with what it has (a count or `-EAGAIN`) where others would be armed and tried again later. So a
//! request that the kernel *took* has ended when the enter returns. And `Ring::submit` returns
//! only when the kernel took all of them: with `SUBMIT_ALL` a failing entry does not end the
//! submission, and where it ended early for another reason (no memory, a full completion queue) the
//! rest is submitted again. Entries that nobody took would be read by a later enter, with pointers
//! into a borrow that is over: this is why both halves are needed.
//!
//! **Why silence is success.** A send carries `MSG_WAITALL` and asks for no completion on success.
//! With `MSG_WAITALL` a short send counts as a failure, so its byte count is posted; without it a
//! short send would count as a success, and bytes would be lost in silence. (`-EAGAIN` and errors
//! are failures anyhow.) One socket is in a batch once at most: two sends in flight may interleave.
//!
//! Generations (`table`) keep completions of a slot's earlier life from reaching its present one.

#![allow(unsafe_code)]

mod accept;
mod dial;
mod entries;
mod op;
pub(super) mod ring;
mod room;
pub(super) mod self_test;
mod table;
mod user_data;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::marker::PhantomData;
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use io_uring::squeue::{Entry, Flags};
use io_uring::types::{Fd, Fixed};
use io_uring::{opcode, types::CancelBuilder};

use self::accept::{AcceptOutcome, Acceptor};
use self::dial::{DialStep, Dialer};
use self::entries::{Descriptors, install, register};
use self::op::{ENTRIES_MAX, Op};
use self::ring::{Completion, Ring, SIZES, place_of};
use self::table::SocketTable;
use self::user_data::{BATCHES, Tag};
use super::dial::{Dial, DialRequest, Dialed};
use super::{
    Close, Detached, Driver, DriverConfig, Event, Exception, NotAdopted, Outgoing, Received,
    SEND_BYTES_MAX, SendOutcome, Token, Waker, debug_assert_distinct,
};

/// Receives that share one enter, each into a region of its own.
const REGIONS: usize = 16;
const REGION_BYTES: usize = 16 << 10;
/// Sends that share one enter: `cargo bench -p fanfare --bench batches` draws the curve.
const SENDS_PER_ENTER: usize = 256;

const SEND_FLAGS: i32 = libc::MSG_DONTWAIT | libc::MSG_WAITALL | libc::MSG_NOSIGNAL;

/// The io_uring driver. Stays on the thread that made it: the ring takes operations from no other.
pub struct Uring {
    ring: Ring,
    state: State,
    /// Where receives land: [`REGIONS`] of [`REGION_BYTES`].
    scratch: Box<[u8]>,
    descriptors: Descriptors,
    sends_per_enter: usize,
    _listener: TcpListener,
    _waker: Arc<Waker>,
    _on_its_thread: PhantomData<*const ()>,
}

/// Everything that completions change.
struct State {
    table: SocketTable,
    acceptor: Acceptor,
    dialer: Dialer,
    /// Waits for the next [`Dial::dialed`].
    dialed: Vec<Dialed>,
    /// Waits for the next submission.
    ops: VecDeque<Op>,
    /// Waits for the next [`Driver::poll`].
    events: Vec<Event>,
    /// The batch of sends that is under way; what came of it, by place.
    batch: u32,
    sent: Vec<(usize, i32)>,
    /// What came of the receives that are under way.
    received: [Option<i32>; REGIONS],
    /// What came of the step of a move that is under way.
    moved: Option<i32>,
}

impl Uring {
    /// Makes the ring on this thread. Accepting is off.
    ///
    /// # Errors
    ///
    /// What [`super::choose`] would have found out: `EPERM` or `ENOSYS` where io_uring is blocked,
    /// `ENOMEM` where even the smallest ring exceeds `RLIMIT_MEMLOCK`; and `EMFILE` where
    /// `capacity` exceeds `RLIMIT_NOFILE` or 2^20, which bound the file table.
    pub fn new(config: DriverConfig) -> io::Result<Self> {
        let sizes = &SIZES[place_of(config.entries)..];
        Self::sized(config, sizes)
    }

    fn sized(config: DriverConfig, sizes: &[(u32, u32)]) -> io::Result<Self> {
        let DriverConfig { listener, waker, capacity, want_peers, entries } = config;
        // An accept waits in the kernel, where O_NONBLOCK would make it give up instead.
        listener.set_nonblocking(false)?;
        let ring = Ring::known(sizes, capacity)?;
        if ring.entries() < entries.min(sizes[0].0 as usize) {
            let (got, wanted) = (ring.entries(), sizes[0].0);
            tracing::warn!(got, wanted, "a ring is smaller than there was room for a moment ago");
        }
        let descriptors = Descriptors {
            waker: Fd(waker.as_fd().as_raw_fd()),
            listener: Fd(listener.as_raw_fd()),
        };
        let sends_per_enter = SENDS_PER_ENTER.min(ring.entries() / 2);
        let state = State {
            table: SocketTable::new(capacity),
            acceptor: Acceptor::new(want_peers),
            dialer: Dialer::default(),
            dialed: Vec::new(),
            ops: VecDeque::from([Op::WatchWaker]),
            events: Vec::new(),
            batch: 0,
            sent: Vec::new(),
            received: [None; REGIONS],
            moved: None,
        };
        Ok(Self {
            ring,
            state,
            scratch: vec![0; REGIONS * REGION_BYTES].into(),
            descriptors,
            sends_per_enter,
            _listener: listener,
            _waker: waker,
            _on_its_thread: PhantomData,
        })
    }

    /// Queues waiting operations until none waits or fewer than `spare` entries would be left.
    fn queue_ops(&mut self, spare: usize) {
        while self.ring.room() >= spare + ENTRIES_MAX {
            let Some(op) = self.state.ops.pop_front() else { break };
            let State { acceptor, dialer, .. } = &self.state;
            for entry in op.entries(self.descriptors, acceptor, dialer) {
                // SAFETY: polls, cancellations and closes point to nothing. An accept points to its
                // lane's place, which is boxed, is armed once at a time, is not touched while it is
                // armed, and outlives the operation (see `drop`). So does a dial to its lane's
                // place, which the kernel only reads. The other socket options are statics. The
                // receive has a null pointer with MSG_TRUNC, by which TCP drops bytes without
                // writing them anywhere (tcp(7)); our listeners and dials are TCP.
                unsafe { self.ring.queue(&entry) };
            }
        }
    }

    /// Makes room for `count` entries, submitting what waits.
    fn make_room(&mut self, count: usize) {
        loop {
            self.queue_ops(count);
            if self.ring.room() >= count && self.state.ops.is_empty() {
                return;
            }
            self.submit();
        }
    }

    fn submit(&mut self) {
        self.ring.submit(&mut |completion| self.state.take(completion));
    }

    /// Lets up to `sends` share one enter, and no more than the ring has room for beside its other
    /// work: for benchmarks, which compare this driver's default with others.
    ///
    /// # Panics
    /// When `sends` is 0.
    pub fn set_sends_per_enter(&mut self, sends: usize) {
        assert!(sends > 0, "no send would ever be made");
        self.sends_per_enter = sends.min(self.ring.entries() - ENTRIES_MAX);
    }

    fn send_chunk(
        &mut self,
        first: usize,
        sends: &[Outgoing<'_>],
        exceptions: &mut Vec<Exception>,
    ) {
        self.make_room(sends.len());
        self.state.batch = (self.state.batch + 1) % BATCHES;
        let batch = self.state.batch;
        for (nth, send) in (first..).zip(sends) {
            if !self.state.table.is_live(send.token) {
                let outcome = SendOutcome::Failed(libc::EBADF);
                exceptions.push(Exception { nth, outcome });
                continue;
            }
            let (bytes, length) = (send.bytes.as_ptr(), send.bytes.len());
            assert!(length > 0 && length <= SEND_BYTES_MAX, "a send of {length} bytes");
            let entry = opcode::Send::new(Fixed(send.token.index), bytes, length as u32)
                .flags(SEND_FLAGS)
                .build()
                .flags(Flags::SKIP_SUCCESS)
                .user_data(Tag::Send { batch, nth: nth as u32 }.encode());
            // SAFETY: the bytes are borrowed for longer than this call, and the operation has ended
            // when `submit` below returns: MSG_DONTWAIT, and all entries taken (module essay).
            unsafe { self.ring.queue(&entry) };
        }
        self.submit();
        exceptions.extend(self.state.sent.drain(..).map(|(nth, result)| {
            let outcome = match result {
                1.. => SendOutcome::Short(result as usize),
                0 => SendOutcome::Again,
                _ if result == -libc::EAGAIN || result == -libc::EINTR => SendOutcome::Again,
                _ => SendOutcome::Failed(-result),
            };
            Exception { nth, outcome }
        }));
    }

    fn recv_chunk(&mut self, tokens: &[Token], taken: &mut dyn FnMut(Token, Received<'_>)) {
        self.make_room(tokens.len());
        self.state.received = [None; REGIONS];
        let regions = self.scratch.chunks_exact_mut(REGION_BYTES);
        for ((place, token), region) in (0..).zip(tokens).zip(regions) {
            if !self.state.table.is_live(*token) {
                continue;
            }
            let entry =
                opcode::Recv::new(Fixed(token.index), region.as_mut_ptr(), REGION_BYTES as u32)
                    .flags(libc::MSG_DONTWAIT)
                    .build()
                    .user_data(Tag::Recv { region: place }.encode());
            // SAFETY: the region is ours for longer than this call, each is named by one operation,
            // none is touched until `submit` below returns, and the operations have ended then:
            // MSG_DONTWAIT, and all entries taken (module essay).
            unsafe { self.ring.queue(&entry) };
        }
        self.submit();
        let regions = self.scratch.chunks_exact_mut(REGION_BYTES);
        for ((token, result), region) in tokens.iter().zip(self.state.received).zip(regions) {
            if !self.state.table.is_live(*token) {
                continue;
            }
            let result = result.expect("a receive that does not wait ends inside the enter");
            let received = match usize::try_from(result) {
                Ok(0) => Received::End,
                Ok(n) => Received::Bytes { bytes: &mut region[..n], more: n == REGION_BYTES },
                Err(_) if result == -libc::EAGAIN || result == -libc::EINTR => Received::Again,
                Err(_) => Received::Failed(-result),
            };
            taken(*token, received);
        }
    }
}

/// How often an accept that was taken back is looked for, a millisecond apart: it ends at once.
const RECALLS_MAX: u32 = 1_000;

/// Sockets that come from another driver or go to one.
impl Uring {
    /// Submits one operation that never waits, and gives its result.
    ///
    /// # Safety
    ///
    /// What it points to outlives this call.
    unsafe fn ask(&mut self, entry: Entry) -> i32 {
        self.make_room(1);
        let entry = entry.user_data(Tag::Moved.encode());
        // SAFETY: the caller vouches for what it points to, until `submit` below returns; the
        // operation has ended then, because the kernel took it and it never waits.
        unsafe { self.ring.queue(&entry) };
        self.submit();
        self.state.moved.take().expect("an operation that never waits ends inside the enter")
    }

    /// Lets go of a slot whose file has another owner.
    fn leave(&mut self, token: Token) {
        let watched = self.state.table.end(token).expect("looked at before");
        self.state.ops.push_back(Op::Leave { token, watched });
        // Now and not with the next poll: whatever is armed here holds the file, so that no close
        // by its owner would reach the peer.
        self.make_room(0);
        self.run_deferred();
    }

    /// Submits what is queued and has the kernel do what it has deferred, links of chains for one.
    fn run_deferred(&mut self) {
        self.ring.wait(Some(Duration::ZERO), &mut |completion| self.state.take(completion));
    }

    /// Whether a slot is free that no accept counts on. Where accepts in flight were promised all
    /// that are free, one is taken back; one that has its client already keeps its slot.
    fn spare_slot(&mut self) -> bool {
        self.make_room(0);
        self.run_deferred(); // closes that were asked for make room too
        while self.state.table.free() <= self.state.acceptor.flying() {
            let flying = self.state.acceptor.flying();
            if !self.state.acceptor.cancel_one(&mut self.state.ops) {
                return false;
            }
            for _ in 0..RECALLS_MAX {
                self.make_room(0);
                let pause = Some(Duration::from_millis(1));
                self.ring.wait(pause, &mut |completion| self.state.take(completion));
                if self.state.acceptor.flying() < flying {
                    break;
                }
            }
            if self.state.acceptor.flying() == flying {
                return false;
            }
        }
        true
    }
}

impl Driver for Uring {
    fn capacity(&self) -> usize {
        self.state.table.capacity()
    }

    fn set_accepting(&mut self, on: bool) {
        self.state.acceptor.set(on, &mut self.state.ops);
    }

    fn recv_batch(&mut self, tokens: &[Token], taken: &mut dyn FnMut(Token, Received<'_>)) {
        debug_assert_distinct(tokens.iter().copied());
        for chunk in tokens.chunks(REGIONS) {
            self.recv_chunk(chunk, taken);
        }
    }

    fn send_batch(&mut self, sends: &[Outgoing<'_>], exceptions: &mut Vec<Exception>) {
        debug_assert_distinct(sends.iter().map(|send| send.token));
        let step = self.sends_per_enter;
        for (nth, chunk) in sends.chunks(step).enumerate() {
            self.send_chunk(nth * step, chunk, exceptions);
        }
    }

    fn watch_writable(&mut self, token: Token) {
        if let Some(watch) = self.state.table.watch(token) {
            let step = watch.ask();
            self.state.take_room(token, step);
        }
    }

    fn close(&mut self, token: Token, how: Close) {
        if let Some(watched) = self.state.table.end(token) {
            self.state.ops.push_back(Op::Close { token, watched, how });
        }
    }

    fn detach(&mut self, token: Token) -> Result<Detached, i32> {
        if !self.state.table.is_live(token) {
            return Err(libc::EBADF);
        }
        // SAFETY: it points to nothing.
        let result = unsafe { self.ask(install(token)) };
        if result < 0 {
            return Err(-result);
        }
        // SAFETY: the kernel has made this descriptor just now, and nobody else has heard of it.
        let socket = unsafe { OwnedFd::from_raw_fd(result) };
        self.leave(token);
        Ok(Detached::descriptor(socket))
    }

    fn adopt(&mut self, socket: Detached) -> Result<Token, NotAdopted> {
        let socket = socket.into_descriptor()?;
        let refuse = |socket, errno| NotAdopted::new(Detached::descriptor(socket), errno);
        if !self.spare_slot() {
            return Err(refuse(socket, libc::ENFILE));
        }
        let mut place = socket.as_raw_fd();
        // SAFETY: `place` outlives the call, and nobody else looks at it.
        let result = unsafe { self.ask(register(&raw mut place)) };
        if result != 1 {
            return Err(refuse(socket, -result));
        }
        // The table has the file now, and the descriptor goes.
        let token = self.state.table.begin(place as u32);
        self.state.ops.push_back(Op::WatchReadable(token));
        Ok(token)
    }

    fn poll(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) {
        self.state.acceptor.arm(self.state.table.free(), &mut self.state.ops);
        self.make_room(0);
        let told = !self.state.events.is_empty() || !self.state.dialed.is_empty();
        let timeout = if told { Some(Duration::ZERO) } else { timeout };
        let before = events.len();
        loop {
            self.ring.wait(timeout, &mut |completion| self.state.take(completion));
            let State { table, events: waiting, .. } = &mut self.state;
            // What was told of a socket that was closed since is nobody's concern any more.
            events.extend(waiting.drain(..).filter(|event| match event {
                Event::Readable { token, .. } | Event::Writable { token } => table.is_live(*token),
                Event::Accepted { .. } | Event::AcceptFailed(_) => true,
            }));
            // What came may have been nobody's concern, and events may stand behind it.
            if events.len() > before || self.ring.told_all() || timeout != Some(Duration::ZERO) {
                return;
            }
        }
    }

    fn queue_overflows(&self) -> u64 {
        self.ring.overflows()
    }
}

impl Dial for Uring {
    fn dial(&mut self, call: DialRequest) -> bool {
        self.state.dialer.dial(call, &mut self.state.ops)
    }

    fn dialed(&mut self, dialed: &mut Vec<Dialed>) {
        dialed.append(&mut self.state.dialed);
    }
}

impl State {
    fn take(&mut self, completion: Completion) {
        let Completion { result, more, .. } = completion;
        match Tag::decode(completion.tag) {
            Tag::Silent => {}
            Tag::Waker => self.ops.extend((!more).then_some(Op::WatchWaker)),
            Tag::Accept { lane } => self.take_accept(lane, completion),
            Tag::Closed => self.table.closed(),
            Tag::Moved => self.moved = Some(result),
            Tag::Readable(token) if self.table.is_live(token) => {
                // A multishot ends where the completion queue overflows. Arming looks at the socket
                // once, so what came in between is not missed.
                self.ops.extend((!more).then_some(Op::WatchReadable(token)));
                if result >= 0 {
                    let over = libc::POLLHUP | libc::POLLERR;
                    let gone = result & i32::from(over) != 0;
                    let hangup = gone || result & i32::from(libc::POLLRDHUP) != 0;
                    self.events.push(Event::Readable { token, hangup, gone });
                }
            }
            Tag::Writable(token) => {
                if let Some(watch) = self.table.watch(token) {
                    let step = watch.take(result, more);
                    self.take_room(token, step);
                }
            }
            Tag::Readable(_) => {}
            Tag::Send { batch, nth } => {
                assert_eq!(batch, self.batch, "a send outlived the enter that it was made for");
                self.sent.push((nth as usize, result));
            }
            Tag::Recv { region } => self.received[region as usize] = Some(result),
            Tag::Socket { lane } => {
                let step = self.dialer.take_socket(lane, completion, &mut self.ops);
                self.take_step(step);
            }
            Tag::Connect { lane } => {
                let step = self.dialer.take_connect(lane, completion, &mut self.ops);
                self.take_step(step);
            }
        }
    }

    fn take_room(&mut self, token: Token, step: room::WatchStep) {
        if matches!(step, room::WatchStep::Tell | room::WatchStep::TellAndCancel) {
            self.events.push(Event::Writable { token });
        }
        self.ops.extend(match step {
            room::WatchStep::Rest | room::WatchStep::Tell => None,
            room::WatchStep::ArmOnce => Some(Op::WatchWritable(token)),
            room::WatchStep::ArmEdges => Some(Op::WatchEdges(token)),
            room::WatchStep::TellAndCancel => Some(Op::CancelEdges(token)),
        });
    }

    fn take_step(&mut self, step: DialStep) {
        match step {
            DialStep::Going => {}
            DialStep::Connected { nth, slot } => {
                let token = self.table.begin(slot);
                self.ops.push_back(Op::WatchReadable(token));
                self.dialed.push(Dialed::Connected { token, nth });
            }
            DialStep::Failed { nth, errno } => self.dialed.push(Dialed::Failed { nth, errno }),
        }
    }

    fn take_accept(&mut self, lane: u8, completion: Completion) {
        match self.acceptor.take(lane, completion, &mut self.ops) {
            AcceptOutcome::Accepted { slot, peer } => {
                let token = self.table.begin(slot);
                self.ops.push_back(Op::WatchReadable(token));
                self.events.push(Event::Accepted { token, peer });
            }
            AcceptOutcome::Stopped(errno) => self.events.push(Event::AcceptFailed(errno)),
            AcceptOutcome::Nothing => {}
        }
    }
}

impl Drop for Uring {
    /// Closes every socket before the ring goes. Taking a ring apart is the kernel's leisure:
    /// without this, clients would hear of it late and the port would stay taken. And the places of
    /// accepts may go only when no accept can write there any more.
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The ring may be in any state; ask nothing more of it.
            self.state.dialer.leak_places();
            return self.state.acceptor.leak_places();
        }
        self.state.acceptor.set(false, &mut self.state.ops);
        self.make_room(1);
        let cancel = opcode::AsyncCancel2::new(CancelBuilder::any().all()).build();
        // SAFETY: a cancellation points to nothing.
        unsafe { self.ring.queue(&cancel.user_data(Tag::Silent.encode())) };
        for _ in 0..100 {
            let pause = Some(Duration::from_millis(10));
            self.ring.wait(pause, &mut |completion| self.state.take(completion));
            if self.state.acceptor.flying() == 0 {
                break;
            }
        }
        if self.state.acceptor.flying() > 0 {
            self.state.acceptor.leak_places();
        }
        // A chain that the cancellation caught may still read its place; there are few at most.
        self.state.dialer.leak_places();
        self.ring.close_files();
    }
}
