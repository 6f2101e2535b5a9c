//! Moves by `MSG_RING` with `SEND_FD`: io_uring itself, because what is compared here is what the
//! driver could do instead of what it does.
//!
//! The giver's side is one enter: the message, the end of the watch and the close of its own slot
//! are a chain, and it waits for the last. It has to: the kernel puts the socket into the taker's
//! table on the taker's thread, and until then the giver's slot must hold it.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::thread;

use io_uring::squeue::{Entry, Flags};
use io_uring::types::{CancelBuilder, DestinationSlot, Fd, Fixed};
use io_uring::{IoUring, opcode};

use crate::pair::{self, Meeting, cpu_nanos};
use crate::{Costs, client, listener};

const WATCH: u64 = 1;
const ARRIVED: u64 = 2;
const CLOSED: u64 = 3;
const SILENT: u64 = 4;

pub(crate) fn run(moves: u64, costs: &mut Costs) -> io::Result<()> {
    let (here, address) = listener()?;
    let mut giver = ring()?;
    let meeting = Arc::new(Meeting::new());
    let taker = thread::spawn({
        let meeting = Arc::clone(&meeting);
        move || take(moves, &meeting)
    });
    let Some(to) = meeting.ring() else {
        return taker.join().expect("it only failed").map(drop);
    };
    for nth in 0..moves {
        let client = client(address)?;
        let (socket, _) = here.accept()?;
        giver.submitter().register_files_update(0, &[socket.as_raw_fd()])?;
        drop(socket);
        until(&mut giver, &[watch(0)], WATCH)?;
        meeting.wait_for_sleep(nth);
        let (began, cpu) = (meeting.now(), cpu_nanos());
        until(&mut giver, &message(to, 0), CLOSED)?;
        let gone = meeting.now();
        costs.giver_cpu += cpu_nanos() - cpu;
        costs.latency.push(meeting.wait_until_told(nth, began));
        costs.giver.push((gone - began).as_nanos() as u64);
        drop(client);
    }
    costs.taker_cpu += taker.join().expect("the taker ends")?;
    Ok(())
}

/// The taker's thread; gives the CPU time that it used.
fn take(moves: u64, meeting: &Meeting) -> io::Result<u64> {
    let made = ring();
    meeting.tell_ring(made.as_ref().ok().map(AsRawFd::as_raw_fd));
    let mut ring = made?;
    let mut used = 0;
    for nth in 0..moves {
        meeting.sleeps(nth);
        let before = cpu_nanos();
        let slot = until(&mut ring, &[], ARRIVED)? as u32;
        until(&mut ring, &[watch(slot)], WATCH)?;
        used += cpu_nanos() - before;
        meeting.notes_time();
        until(&mut ring, &leave(slot), CLOSED)?;
        meeting.is_done(nth);
    }
    Ok(used)
}

/// A ring with the driver's set-up and a table of files.
fn ring() -> io::Result<IoUring> {
    let ring = pair::ring()?;
    ring.submitter().register_files_sparse(64)?;
    Ok(ring)
}

/// Submits operations and waits for the completion with this tag; its result.
fn until(ring: &mut IoUring, entries: &[Entry], tag: u64) -> io::Result<i32> {
    for entry in entries {
        // SAFETY: polls, cancellations, messages and closes point to no memory.
        unsafe { ring.submission().push(entry) }.map_err(io::Error::other)?;
    }
    let mut found = None;
    while found.is_none() {
        ring.submit_and_wait(1)?;
        for entry in ring.completion() {
            let (told, result) = (entry.user_data(), entry.result());
            // A watch that was cancelled says so, sooner or later.
            let over = told == WATCH && result == -libc::ECANCELED;
            if result < 0 && !over {
                return Err(io::Error::from_raw_os_error(-result));
            }
            found = found.or((told == tag && !over).then_some(result));
        }
    }
    found.ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// The driver's watch of a socket.
fn watch(slot: u32) -> Entry {
    let readable = (libc::POLLIN | libc::POLLRDHUP) as u32;
    opcode::PollAdd::new(Fixed(slot), readable).multi(true).build().user_data(WATCH)
}

/// The end of a watch and of a slot. The watch, too, tells that it is over.
fn leave(slot: u32) -> [Entry; 2] {
    let cancel = opcode::AsyncCancel2::new(CancelBuilder::user_data(WATCH)).build();
    let close = opcode::Close::new(Fixed(slot)).build();
    let cancel = cancel.flags(Flags::IO_HARDLINK | Flags::SKIP_SUCCESS);
    [cancel.user_data(SILENT), close.user_data(CLOSED)]
}

/// The whole of the giver's part. Where the taker has no place, the rest of the chain is not done.
fn message(ring: RawFd, slot: u32) -> [Entry; 3] {
    let any = DestinationSlot::auto_target();
    let send = opcode::MsgRingSendFd::new(Fd(ring), Fixed(slot), any, ARRIVED).build();
    let send = send.flags(Flags::IO_LINK | Flags::SKIP_SUCCESS).user_data(SILENT);
    let [cancel, close] = leave(slot);
    [send, cancel, close]
}
