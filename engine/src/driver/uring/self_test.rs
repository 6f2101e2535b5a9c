//! Does io_uring work here? Asked by doing in small what a shard does, because a seccomp filter may
//! let a ring be set up and refuse to enter it.

use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use io_uring::opcode;
use io_uring::squeue::Flags;
use io_uring::types::Fd;

use super::SEND_FLAGS;
use super::ring::{Ring, SIZES, place_of, room_for};

const SAID: &[u8] = b"is anyone there";
const SEND: u64 = 1;
const POLL: u64 = 2;

/// What went wrong in the self-test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::driver) struct Trouble {
    /// The call or operation that failed.
    pub(in crate::driver) step: &'static str,
    /// Its errno.
    pub(in crate::driver) errno: i32,
}

/// Sends some bytes as shards do and sees them announced and arrive. Takes microseconds; the ring
/// is gone afterwards. `files` is the capacity of one shard. Answers how many entries of how many
/// wanted the rings of all `shards` can have beside each other.
pub(in crate::driver) fn self_test(files: usize, shards: usize) -> Result<(usize, usize), Trouble> {
    let mut ring = Ring::new(&SIZES, files).map_err(|error| trouble("io_uring_setup", &error))?;
    let (near, mut far) = UnixStream::pair().map_err(|error| trouble("socketpair", &error))?;
    let poll = opcode::PollAdd::new(Fd(far.as_raw_fd()), libc::POLLIN as u32).multi(true);
    let send = opcode::Send::new(Fd(near.as_raw_fd()), SAID.as_ptr(), SAID.len() as u32);
    let send = send.flags(SEND_FLAGS).build().flags(Flags::SKIP_SUCCESS);
    // SAFETY: a poll points to nothing, and the bytes of the send are a constant.
    unsafe {
        ring.queue(&poll.build().user_data(POLL));
        ring.queue(&send.user_data(SEND));
    }
    let mut seen = Vec::new();
    ring.try_wait(Duration::from_secs(1), &mut |completion| seen.push(completion))
        .map_err(|error| trouble("io_uring_enter", &error))?;
    if let Some(failed) = seen.iter().find(|seen| seen.result < 0) {
        return Err(Trouble { step: "an io_uring operation", errno: -failed.result });
    }
    let announced = seen.iter().any(|seen| seen.tag == POLL && seen.more);
    let silent = seen.iter().all(|seen| seen.tag != SEND);
    let mut heard = [0; SAID.len()];
    let arrived = announced && far.read_exact(&mut heard).is_ok() && heard == SAID;
    // A kernel that answers otherwise does not keep the promises that the driver is built on.
    let honest = arrived && silent;
    if !honest {
        return Err(Trouble { step: "the io_uring self-test", errno: libc::EINVAL });
    }
    let place = room_for(shards, place_of(ring.entries()))
        .map_err(|error| trouble("io_uring_setup for every shard", &error))?;
    Ok((SIZES[place].0 as usize, SIZES[0].0 as usize))
}

fn trouble(step: &'static str, error: &io::Error) -> Trouble {
    Trouble { step, errno: error.raw_os_error().unwrap_or(libc::EINVAL) }
}
