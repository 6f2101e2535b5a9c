//! Operations that outlive the call that asks for them, and how each looks to the kernel. Receives
//! and sends are not among them: see [`super`].

use std::ptr;

use arrayvec::ArrayVec;
use io_uring::squeue::{Entry, Flags};
use io_uring::types::{CancelBuilder, DestinationSlot, Fd, Fixed};
use io_uring::{opcode, squeue};

use super::accept::Acceptor;
use super::dial::Dialer;
use super::user_data::Tag;
use crate::driver::{Close, Token};

/// An operation that waits to be submitted. Turned into entries only then, so that a chain of
/// entries is never cut by the end of a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    /// Arms the waker.
    WatchWaker,
    /// Arms a socket for what arrives.
    WatchReadable(Token),
    /// Arms a socket once for room to send.
    WatchWritable(Token),
    /// Arms a lane of accepting.
    Accept { lane: u8 },
    /// Ends a lane of accepting.
    CancelAccept { lane: u8 },
    /// Makes the socket of a lane of dialing.
    Socket { lane: u16 },
    /// Binds and connects it.
    Connect { lane: u16 },
    /// Closes a slot: of a connection, with the watch for room that may be open.
    Close { token: Token, watched: bool, how: Close },
    /// Closes a slot on which nothing was ever armed.
    Discard { index: u32 },
}

/// Entries of the longest operation.
pub(super) const ENTRIES_MAX: usize = 4;

/// Descriptors that operations name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Descriptors {
    pub(super) waker: Fd,
    pub(super) listener: Fd,
}

const READABLE: u32 = (libc::POLLIN | libc::POLLRDHUP) as u32;
const WRITABLE: u32 = libc::POLLOUT as u32;

/// No lingering: closing sends RST and drops what is unsent (socket(7)).
static ABORT: libc::linger = libc::linger { l_onoff: 1, l_linger: 0 };

/// Bytes that closing throws away at most, as `RECV` counts.
const DRAIN_BYTES: u32 = 1 << 30;

impl Op {
    /// What the kernel is told.
    pub(super) fn entries(
        self,
        on: Descriptors,
        acceptor: &Acceptor,
        dialer: &Dialer,
    ) -> ArrayVec<Entry, ENTRIES_MAX> {
        let one = |entry: Entry, tag: Tag| ArrayVec::from_iter([entry.user_data(tag.encode())]);
        match self {
            Self::WatchWaker => {
                one(opcode::PollAdd::new(on.waker, READABLE).multi(true).build(), Tag::Waker)
            }
            Self::WatchReadable(token) => {
                let poll = opcode::PollAdd::new(Fixed(token.index), READABLE).multi(true);
                one(poll.build(), Tag::Readable(token))
            }
            Self::WatchWritable(token) => {
                let poll = opcode::PollAdd::new(Fixed(token.index), WRITABLE);
                one(poll.build(), Tag::Writable(token))
            }
            Self::Accept { lane } => one(accept(on.listener, lane, acceptor), Tag::Accept { lane }),
            Self::CancelAccept { lane } => {
                one(cancel(Tag::Accept { lane }).flags(Flags::SKIP_SUCCESS), Tag::Silent)
            }
            Self::Socket { lane } => one(dialer.socket(lane), Tag::Socket { lane }),
            Self::Connect { lane } => {
                let tag = Tag::Connect { lane }.encode();
                dialer.connect(lane).into_iter().map(|entry| entry.user_data(tag)).collect()
            }
            Self::Close { token, watched, how } => close(token, watched, how),
            Self::Discard { index } => {
                let close = opcode::Close::new(Fixed(index)).build();
                one(close.flags(Flags::SKIP_SUCCESS), Tag::Silent)
            }
        }
    }
}

/// Cancels what was tagged so. The kernel finds a poll by its tag in a hash table; looking for all
/// that is armed on one file goes through every poll of the ring, and 15,000 clients that leave
/// together cost seconds so (`io_poll_cancel`, Linux 6.18).
fn cancel(tag: Tag) -> Entry {
    opcode::AsyncCancel2::new(CancelBuilder::user_data(tag.encode())).build()
}

fn accept(listener: Fd, lane: u8, acceptor: &Acceptor) -> Entry {
    match acceptor.place(lane) {
        Some((address, length)) => opcode::Accept::new(listener, address, length)
            .file_index(Some(DestinationSlot::auto_target()))
            .build(),
        None => opcode::AcceptMulti::new(listener).allocate_file_index(true).build(),
    }
}

/// Closes a slot in three steps, each begun when the one before has ended, however it ended.
///
/// 1. To abort: no lingering, so that the last step sends RST. To close gracefully: throws away
///    what has arrived and was not read, because Linux answers a close over unread bytes with RST
///    (RFC 1122 section 4.2.2.13), which would take the last answer from the client's hands.
/// 2. Cancels what is armed, watch by watch. An armed operation holds the file: without this CLOSE
///    succeeds and no FIN is sent.
/// 3. Closes.
///
/// SHUTDOWN would do in one step, but starts a worker thread.
fn close(token: Token, watched: bool, how: Close) -> ArrayVec<Entry, ENTRIES_MAX> {
    let slot = Fixed(token.index);
    let first = match how {
        Close::Abort => opcode::SetSockOpt::new(
            slot,
            libc::SOL_SOCKET as u32,
            libc::SO_LINGER as u32,
            ptr::from_ref(&ABORT).cast(),
            size_of::<libc::linger>() as u32,
        )
        .build(),
        Close::Gracefully => opcode::Recv::new(slot, ptr::null_mut(), DRAIN_BYTES)
            .flags(libc::MSG_DONTWAIT | libc::MSG_TRUNC)
            .build(),
    };
    let readable = cancel(Tag::Readable(token));
    let writable = watched.then(|| cancel(Tag::Writable(token)));
    let close = opcode::Close::new(slot).build();
    let silent = |entry: Entry, flags: squeue::Flags| {
        entry.flags(flags | Flags::SKIP_SUCCESS).user_data(Tag::Silent.encode())
    };
    let mut chain = ArrayVec::new();
    for step in [first, readable].into_iter().chain(writable) {
        chain.push(silent(step, Flags::IO_HARDLINK));
    }
    chain.push(silent(close, Flags::empty()));
    chain
}
