//! What a shard asks of the kernel, in one contract that three drivers keep: `uring`, `epoll` and
//! `sim`.
//!
//! **The one thing to know:** sends and receives happen inside the call that asks for them. No
//! operation that reads or writes our memory is ever pending, so buffers are ordinary borrows.

pub mod choose;
pub mod detached;
pub mod dial;
pub mod dialing;
pub mod epoll;
pub mod listener;
pub mod sim;
pub mod uring;

#[cfg(test)]
mod contract;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

pub use self::detached::{Detached, NotAdopted};
pub use crate::os::waker::Waker;

/// What a driver of real sockets is made with, by its shard's thread.
#[derive(Debug)]
pub struct DriverConfig {
    /// Whence connections come; the driver owns it from here on. See [`listener::open`].
    pub listener: TcpListener,
    /// Who ends its sleep.
    pub waker: Arc<Waker>,
    /// Sockets that it is to hold at once, at most 2^20 and, for `uring`, `RLIMIT_NOFILE`.
    pub capacity: usize,
    /// Whether [`Event::Accepted`] is to tell who the peer is.
    pub want_peers: bool,
    /// Entries to submit that there is room for ([`choose::Support::Uring`]). Drivers without a
    /// ring do not look at it.
    pub entries: usize,
}

/// Bytes of one send. The kernel takes no more than 2 GiB in one call and would call that success.
pub const SEND_BYTES_MAX: usize = 1 << 30;

/// A socket, by place and life: a token of an earlier life matches nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Token {
    /// Place in the driver's table, dense from 0, below [`Driver::capacity`].
    pub index: u32,
    /// Which life of that place.
    pub generation: u32,
}

/// What happened since the last [`Driver::poll`].
#[derive(Debug)]
pub enum Event {
    /// A new connection. It is watched for readability from here on.
    Accepted {
        /// Its token.
        token: Token,
        /// Who it is, where the driver was asked to find out.
        peer: Option<SocketAddr>,
    },
    /// Bytes or an end may have arrived. Edge-triggered: it comes once for each arrival, so read
    /// until a receive was short. Where `hangup`, read until the end.
    Readable {
        /// Which socket.
        token: Token,
        /// The peer has ended its side, or the socket has failed.
        hangup: bool,
        /// The connection is over in both directions: reset, or failed. A peer that has ended its
        /// side and is gone looks like one that still listens until something is sent to it.
        gone: bool,
    },
    /// A watch of [`Driver::watch_writable`] fired; it is over. That the peer has ended its side is
    /// no reason: it may still read.
    Writable {
        /// Which socket.
        token: Token,
    },
    /// An accept failed and may be asked for again; the errno.
    AcceptFailed(i32),
}

/// One send of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// To whom. At most one send for each socket in a batch.
    pub token: Token,
    /// What; not empty, and at most [`SEND_BYTES_MAX`].
    pub bytes: &'a [u8],
}

/// A send that did not go whole. Silence is success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exception {
    /// Which send, by its place in the batch.
    pub nth: usize,
    /// How it ended.
    pub outcome: SendOutcome,
}

/// How a send ended that did not go whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendOutcome {
    /// The kernel took this many bytes, more than none and fewer than all.
    Short(usize),
    /// The kernel took nothing: its buffer is full.
    Again,
    /// The socket failed with this errno.
    Failed(i32),
}

/// What a receive brought.
#[derive(Debug)]
pub enum Received<'a> {
    /// Bytes, in the driver's scratch memory. `more` where the scratch was filled, so that more may
    /// wait: ask again.
    Bytes {
        /// What arrived; masks are undone in place.
        bytes: &'a mut [u8],
        /// More may wait.
        more: bool,
    },
    /// Nothing is there.
    Again,
    /// The peer has ended its side.
    End,
    /// The socket failed with this errno.
    Failed(i32),
}

/// How to close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// FIN after what the kernel still holds. What has arrived and was not read is thrown away,
    /// since the kernel would send RST otherwise; it still does where the peer says more *after*
    /// this.
    Gracefully,
    /// RST, dropping what the kernel still holds.
    Abort,
}

/// Connections accepted in one poll: fewer than a tick receives from, so that a storm of them waits
/// in the kernel, where no deadline runs, and does not starve those that are served.
pub const ACCEPTS_MAX: usize = 32;

/// The kernel, as a shard sees it. Owned by one thread, the one that made it.
pub trait Driver {
    /// Sockets that it can hold at once.
    fn capacity(&self) -> usize;

    /// Starts or stops accepting. Starts stopped. One poll accepts [`ACCEPTS_MAX`] at most. While
    /// no place is free nobody is accepted and nobody is lost: who comes waits in the kernel's
    /// backlog. A driver that cannot accept for another reason stops and says
    /// [`Event::AcceptFailed`]. Connections that the kernel had accepted when it was turned off are
    /// still told.
    fn set_accepting(&mut self, on: bool);

    /// Receives once from each of `tokens` (each at most once) and hands over what came. Tokens of
    /// an earlier life are passed over in silence.
    fn recv_batch(&mut self, tokens: &[Token], taken: &mut dyn FnMut(Token, Received<'_>));

    /// Sends a batch; appends what did not go whole to `exceptions`, in no order. Who closed a
    /// socket knows better than to send to it: a token of an earlier life fails with `EBADF`.
    fn send_batch(&mut self, sends: &[Outgoing<'_>], exceptions: &mut Vec<Exception>);

    /// Asks for one [`Event::Writable`] when the kernel's buffer has room, or the socket has
    /// failed. Asking again before it came changes nothing.
    fn watch_writable(&mut self, token: Token);

    /// Closes; every watch ends, and the token matches nothing from here on. Events of it that are
    /// with the caller already may follow; no new ones come.
    fn close(&mut self, token: Token, how: Close);

    /// Lets go of a socket without closing it, so that another driver may adopt it, on any thread.
    /// Every watch ends and the token matches nothing from here on, as after [`Driver::close`].
    /// What has arrived and was not received goes along, and the kernel goes on sending what it has
    /// taken.
    ///
    /// # Errors
    ///
    /// The errno, and the socket stays: `EBADF` for a token of an earlier life, `EMFILE` where the
    /// process has no descriptor for it to travel in.
    fn detach(&mut self, token: Token) -> Result<Detached, i32>;

    /// Takes a socket that a driver let go of. It is watched for readability from here on, and what
    /// arrived before that, or the end, is told by the next polls as if it came now. It is not told
    /// as [`Event::Accepted`].
    ///
    /// # Errors
    ///
    /// The socket again, and the errno: `ENFILE` where no place is free.
    fn adopt(&mut self, socket: Detached) -> Result<Token, NotAdopted>;

    /// Appends what happened to `events`; waits until something does, the waker is used, or
    /// `timeout` is over (`None`: for ever; zero: does not wait). May return early with nothing. It
    /// need not tell everything at once; but one that does not wait and tells nothing had nothing
    /// more to tell.
    fn poll(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>);

    /// How often what happened did not fit into the kernel's queue since this was made. Nothing is
    /// lost by it, but it costs memory and ends watches, so more than a few mean that the queue is
    /// too small. 0 where there is no such queue.
    fn queue_overflows(&self) -> u64 {
        0
    }
}

/// An address as the world knows it: IPv4 peers of a dual-stack listener as IPv4.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Two operations of one kind on one socket in a batch may overtake each other.
fn debug_assert_distinct(tokens: impl Iterator<Item = Token>) {
    if cfg!(debug_assertions) {
        let mut seen = std::collections::HashSet::new();
        for token in tokens {
            assert!(seen.insert(token), "{token:?} is in a batch twice");
        }
    }
}
