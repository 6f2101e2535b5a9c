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
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::Instant;

use io_uring::squeue::{Entry, Flags};
use io_uring::types::{CancelBuilder, DestinationSlot, Fd, Fixed};
use io_uring::{IoUring, opcode};

use crate::{Costs, FALL_ASLEEP, client, listener, wait_for};

const WATCH: u64 = 1;
const ARRIVED: u64 = 2;
const CLOSED: u64 = 3;
const SILENT: u64 = 4;

/// What both threads see.
struct Meeting {
    start: Instant,
    /// For which socket the taker sleeps, from 1.
    asleep: AtomicU64,
    /// How many sockets it was told of, and when last: nanoseconds after `start`.
    told: AtomicU64,
    at: AtomicU64,
    /// The taker's ring; 0 until there is one, below 0 for the errno why there is none.
    ring: AtomicI32,
}

pub(crate) fn run(moves: u64, costs: &mut Costs) -> io::Result<()> {
    let (here, address) = listener()?;
    let mut giver = ring()?;
    let meeting = Arc::new(Meeting {
        start: Instant::now(),
        asleep: AtomicU64::new(0),
        told: AtomicU64::new(0),
        at: AtomicU64::new(0),
        ring: AtomicI32::new(0),
    });
    let taker = thread::spawn({
        let meeting = Arc::clone(&meeting);
        move || take(moves, &meeting)
    });
    wait_for("the taker has its ring", || meeting.ring.load(SeqCst) != 0);
    let to = meeting.ring.load(SeqCst);
    if to < 0 {
        return taker.join().expect("it only failed").map(drop);
    }
    for nth in 0..moves {
        let client = client(address)?;
        let (socket, _) = here.accept()?;
        giver.submitter().register_files_update(0, &[socket.as_raw_fd()])?;
        drop(socket);
        until(&mut giver, &[watch(0)], WATCH)?;
        wait_for("the taker sleeps", || meeting.asleep.load(SeqCst) > nth);
        thread::sleep(FALL_ASLEEP);
        let (began, cpu) = (meeting.start.elapsed(), cpu_nanos());
        until(&mut giver, &message(to, 0), CLOSED)?;
        let gone = meeting.start.elapsed();
        costs.giver_cpu += cpu_nanos() - cpu;
        wait_for("the taker is told", || meeting.told.load(SeqCst) > nth);
        costs.giver.push((gone - began).as_nanos() as u64);
        costs.latency.push(meeting.at.load(SeqCst) - began.as_nanos() as u64);
        drop(client);
    }
    costs.taker_cpu += taker.join().expect("the taker ends")?;
    Ok(())
}

/// The taker's thread; gives the CPU time that it used.
fn take(moves: u64, meeting: &Meeting) -> io::Result<u64> {
    let made = ring();
    let number = made
        .as_ref()
        .map_or_else(|error| -error.raw_os_error().unwrap_or(libc::EIO), |ring| ring.as_raw_fd());
    meeting.ring.store(number, SeqCst);
    let mut ring = made?;
    let mut used = 0;
    for nth in 0..moves {
        meeting.asleep.store(nth + 1, SeqCst);
        let before = cpu_nanos();
        let slot = until(&mut ring, &[], ARRIVED)? as u32;
        until(&mut ring, &[watch(slot)], WATCH)?;
        used += cpu_nanos() - before;
        meeting.at.store(meeting.start.elapsed().as_nanos() as u64, SeqCst);
        until(&mut ring, &leave(slot), CLOSED)?;
        meeting.told.store(nth + 1, SeqCst);
    }
    Ok(used)
}

/// A ring with the driver's set-up and a table of files.
fn ring() -> io::Result<IoUring> {
    let ring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_taskrun_flag()
        .setup_no_sqarray()
        .setup_submit_all()
        .setup_cqsize(1_024)
        .build(64)?;
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

/// CPU time of this thread, in user and kernel together, to the nanosecond: `schedstat` is only as
/// young as the thread's last turn.
pub(crate) fn cpu_nanos() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes into a value that outlives the call.
    let told = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(told, 0, "Linux counts CPU time");
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
