//! A ring to sleep in and two ways to send to it: io_uring itself, because what is compared here is
//! what the driver could do instead of what it does.
//!
//! The only `unsafe` outside of the engine's own modules (`engine/tests/tidy/rules.rs` names it).
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use io_uring::squeue::Entry;
use io_uring::types::{Fd, SubmitArgs};
use io_uring::{EnterFlags, IoUring, opcode};

use crate::pair;

/// `IORING_REGISTER_SEND_MSG_RING` of `linux/io_uring.h`, since Linux 6.13: not in the crate.
const REGISTER_SEND_MSG_RING: libc::c_uint = 31;
/// What a message to a sleeper says.
const WAKE: u64 = 7;
/// What an armed watch of an eventfd says.
const WATCH: u64 = 8;

/// A ring as a shard has it, made on the thread that sleeps in it.
pub(crate) struct Sleeper {
    ring: IoUring,
    /// Whether the watch has ended and is to be armed again.
    watch: Option<RawFd>,
}

impl Sleeper {
    /// A ring with the driver's set-up.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { ring: pair::ring()?, watch: None })
    }

    /// Where messages are sent to.
    pub(crate) fn number(&self) -> RawFd {
        self.ring.as_raw_fd()
    }

    /// Watches an eventfd as the driver does: multishot, edge-triggered, never read. It must live
    /// as long as this.
    pub(crate) fn watch(&mut self, eventfd: &impl AsFd) {
        self.watch = Some(eventfd.as_fd().as_raw_fd());
        self.arm();
    }

    fn arm(&mut self) {
        let Some(eventfd) = self.watch else { return };
        let edge = (libc::POLLIN as u32) | (libc::EPOLLET as u32);
        let poll = opcode::PollAdd::new(Fd(eventfd), edge).multi(true).build().user_data(WATCH);
        // SAFETY: a poll points to no memory.
        unsafe { self.ring.submission().push(&poll) }.expect("the queue is empty");
    }

    /// Sleeps until something comes; how many wakes that was.
    pub(crate) fn sleep(&mut self) -> io::Result<usize> {
        let queued = self.ring.submission().len() as u32;
        let flags = EnterFlags::GETEVENTS | EnterFlags::EXT_ARG | EnterFlags::NO_IOWAIT;
        let nothing = SubmitArgs::new();
        // SAFETY: `queued` entries are in the queue, and the argument of EXT_ARG lives until the
        // call returns.
        unsafe { self.ring.submitter().enter(queued, 1, flags.bits(), Some(&nothing)) }?;
        let (mut wakes, mut over) = (0, false);
        for entry in self.ring.completion() {
            assert!([WAKE, WATCH].contains(&entry.user_data()), "{}", entry.user_data());
            wakes += 1;
            over |= entry.user_data() == WATCH && !io_uring::cqueue::more(entry.flags());
        }
        if over {
            self.arm();
        }
        Ok(wakes)
    }
}

/// A ring of the sender's own, for nothing but waking others.
pub(crate) struct Sender(IoUring);

impl Sender {
    pub(crate) fn new() -> io::Result<Self> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_no_sqarray()
            .build(8)?;
        Ok(Self(ring))
    }

    /// One message, one enter; its completion is not told.
    pub(crate) fn wake(&mut self, sleeper: RawFd) -> io::Result<()> {
        let entry = message(sleeper).flags(io_uring::squeue::Flags::SKIP_SUCCESS);
        // SAFETY: a message of a number and a tag points to no memory.
        unsafe { self.0.submission().push(&entry) }.map_err(io::Error::other)?;
        self.0.submit()?;
        let refused = self.0.completion().next().map(|refused| -refused.result());
        refused.map_or(Ok(()), |errno| Err(io::Error::from_raw_os_error(errno)))
    }
}

/// The same message without a ring to send it from.
pub(crate) fn wake_without_ring(sleeper: RawFd) -> io::Result<()> {
    let entry: Entry = message(sleeper);
    // SAFETY: with this opcode and -1 for the ring the kernel reads one submission entry, which
    // `Entry` is by its layout (`repr(C)`, 64 bytes), and keeps nothing of it.
    let result = unsafe {
        libc::syscall(libc::SYS_io_uring_register, -1, REGISTER_SEND_MSG_RING, &raw const entry, 1)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn message(sleeper: RawFd) -> Entry {
    opcode::MsgRingData::new(Fd(sleeper), 0, WAKE, None).build()
}
