//! How operations look to the kernel.

use std::os::fd::RawFd;
use std::ptr;

use arrayvec::ArrayVec;
use io_uring::opcode;
use io_uring::squeue::{Entry, Flags};
use io_uring::types::{CancelBuilder, DestinationSlot, Fd, Fixed};

use super::accept::Acceptor;
use super::dial::Dialer;
use super::op::{ENTRIES_MAX, Op};
use super::user_data::Tag;
use crate::driver::{Close, Token};

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
            Self::WatchEdges(token) => {
                let poll = opcode::PollAdd::new(Fixed(token.index), WRITABLE).multi(true);
                one(poll.build(), Tag::Writable(token))
            }
            Self::CancelEdges(token) => {
                one(cancel(Tag::Writable(token)).flags(Flags::SKIP_SUCCESS), Tag::Silent)
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
            Self::Leave { token, watched } => vacate(None, token, watched),
            Self::Drop { slot } => {
                let close = opcode::Close::new(Fixed(slot)).build();
                one(close.flags(Flags::SKIP_SUCCESS), Tag::Silent)
            }
        }
    }
}

fn accept(listener: Fd, lane: u8, acceptor: &Acceptor) -> Entry {
    let nobody = (ptr::null_mut(), ptr::null_mut());
    let (address, length) = acceptor.place(lane).unwrap_or(nobody);
    opcode::Accept::new(listener, address, length)
        .file_index(Some(DestinationSlot::auto_target()))
        .build()
}

/// Ends the one operation with this tag.
///
/// Not «all that is armed on this file»: for that the kernel walks through every operation that the
/// ring has armed, so that closing n sockets costs n squared. A reset of 20,000 connections at once
/// took 38 s so, and not one. By its tag it looks into one of 256 buckets.
fn cancel(tag: Tag) -> Entry {
    opcode::AsyncCancel2::new(CancelBuilder::user_data(tag.encode())).build()
}

/// Closes a socket in three steps.
///
/// 1. To abort: no lingering, so that the last step sends RST. To close gracefully: throws away
///    what has arrived and was not read, because Linux answers a close over unread bytes with RST
///    (RFC 1122 section 4.2.2.13), which would take the last answer from the client's hands.
/// 2. Cancels what is armed: the watch for what arrives, and the one for room where there is one.
///    An armed operation holds the file: without this CLOSE succeeds and no FIN is sent.
/// 3. Closes, and says so: only then can the slot be given to another.
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
    vacate(Some(first), token, watched)
}

/// The end of a token: what is to be done first, the watches, the slot. Each step begins when the
/// one before has ended, however it ended.
fn vacate(first: Option<Entry>, token: Token, watched: bool) -> ArrayVec<Entry, ENTRIES_MAX> {
    let writable = watched.then(|| cancel(Tag::Writable(token)));
    let steps = first.into_iter().chain([cancel(Tag::Readable(token))]).chain(writable);
    let linked = Flags::IO_HARDLINK | Flags::SKIP_SUCCESS;
    let mut chain: ArrayVec<Entry, ENTRIES_MAX> =
        steps.map(|step| step.flags(linked).user_data(Tag::Silent.encode())).collect();
    let slot = Fixed(token.index);
    chain.push(opcode::Close::new(slot).build().user_data(Tag::Closed.encode()));
    chain
}

/// Makes a slot's file a descriptor of the process too, which is the result.
pub(super) fn install(token: Token) -> Entry {
    let close_on_exec = 0; // what the kernel does unless it is told otherwise
    opcode::FixedFdInstall::new(Fixed(token.index), close_on_exec).build()
}

/// Puts the file of the descriptor at `place` into a free slot, whose number the kernel writes
/// there in its stead; the result is 1.
pub(super) fn register(place: *mut RawFd) -> Entry {
    /// `IORING_FILE_INDEX_ALLOC` of `linux/io_uring.h`: the kernel picks the slot.
    const ANY_SLOT: i32 = -1;
    opcode::FilesUpdate::new(place, 1).offset(ANY_SLOT).build()
}
