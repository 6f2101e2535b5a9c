//! What a shard asks of the kernel, in one contract that three drivers keep: `uring`, `epoll` and
//! `sim`.
//!
//! **The one thing to know:** sends and receives happen inside the call that asks for them. No
//! operation that reads or writes our memory is ever pending, so buffers are ordinary borrows.

use std::net::SocketAddr;
use std::time::Duration;

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
    },
    /// A watch of [`Driver::watch_writable`] fired; it is over.
    Writable {
        /// Which socket.
        token: Token,
    },
    /// An accept failed and may be asked for again; the errno.
    AcceptFailed(i32),
}

/// One send of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Send<'a> {
    /// To whom. At most one send for each socket in a batch.
    pub token: Token,
    /// What; not empty.
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
    /// FIN after what the kernel still holds.
    Gracefully,
    /// RST, dropping what the kernel still holds.
    Abort,
}

/// The kernel, as a shard sees it. Owned by one thread, the one that made it.
pub trait Driver {
    /// Sockets that it can hold at once.
    fn capacity(&self) -> usize;

    /// Starts or stops accepting. Starts stopped. A driver whose table is full stops by itself and
    /// says [`Event::AcceptFailed`] with `ENFILE`.
    fn set_accepting(&mut self, on: bool);

    /// Receives once from each of `tokens` (each at most once) and hands over what came. Tokens of
    /// an earlier life are passed over in silence.
    fn recv_batch(&mut self, tokens: &[Token], taken: &mut dyn FnMut(Token, Received<'_>));

    /// Sends a batch; appends what did not go whole to `exceptions`, in no order.
    fn send_batch(&mut self, sends: &[Send<'_>], exceptions: &mut Vec<Exception>);

    /// Asks for one [`Event::Writable`] when the kernel's buffer has room.
    fn watch_writable(&mut self, token: Token);

    /// Closes; every watch ends, and the token matches nothing from here on.
    fn close(&mut self, token: Token, how: Close);

    /// Appends what happened to `events`; waits until something does, the waker is used, or
    /// `timeout` is over (`None`: for ever; zero: does not wait).
    fn poll(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>);
}
