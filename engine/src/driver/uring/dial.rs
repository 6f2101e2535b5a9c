//! Dialing inside the ring: a socket that is made, bound and connected without ever being a
//! descriptor.
//!
//! Two steps. SOCKET has the kernel pick a slot, as accepting does, and its completion names it.
//! Then a chain of linked operations on that slot: options, BIND, CONNECT. All but the last ask for
//! no completion on success, and where one such fails the kernel ends the rest of its chain in
//! silence (`REQ_F_SKIP_LINK_CQES`). So exactly one completion tells how a chain ended, with the
//! errno of the step that failed.
//!
//! A *lane* is a call under way with the memory that its operations point to. The memory is written
//! before the lane is armed and not touched until its chain has ended.

use std::ptr;

use arrayvec::ArrayVec;
use io_uring::opcode;
use io_uring::squeue::{Entry, Flags};
use io_uring::types::{DestinationSlot, Fixed};
use socket2::SockAddr;

use super::op::{ENTRIES_MAX, Op};
use super::ring::Completion;
use crate::driver::dial::{DIALS_MAX, DialRequest};

/// For options that are turned on.
static ON: libc::c_int = 1;

/// What the operations of one lane point to.
struct CallMemory {
    source: Option<SockAddr>,
    destination: SockAddr,
    /// 0 for none.
    receive_bytes: libc::c_int,
}

struct Lane {
    nth: u32,
    /// Where its socket is, once it has one.
    slot: u32,
    /// Boxed so that it stays where it is.
    place: Box<CallMemory>,
}

/// The calls under way. Grows with use: a server never dials, and pays nothing.
#[derive(Default)]
pub(super) struct Dialer {
    lanes: Vec<Option<Lane>>,
    free: Vec<u16>,
}

/// What a completion of a lane means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum DialStep {
    /// The chain begins.
    Going,
    /// A connection in this slot.
    Connected { nth: u32, slot: u32 },
    /// None.
    Failed { nth: u32, errno: i32 },
}

impl Dialer {
    /// Begins a call; whether there was a lane for it.
    pub(super) fn dial(&mut self, call: DialRequest, ops: &mut impl Extend<Op>) -> bool {
        if self.free.is_empty() && self.lanes.len() < DIALS_MAX {
            self.free.push(self.lanes.len() as u16);
            self.lanes.push(None);
        }
        let Some(lane) = self.free.pop() else { return false };
        let place = Box::new(CallMemory {
            source: call.source.map(|ip| SockAddr::from(std::net::SocketAddr::new(ip, 0))),
            destination: SockAddr::from(call.destination),
            receive_bytes: call.receive_bytes.unwrap_or(0).min(i32::MAX as u32) as libc::c_int,
        });
        self.lanes[usize::from(lane)] = Some(Lane { nth: call.nth, slot: 0, place });
        ops.extend([Op::Socket { lane }]);
        true
    }

    /// SOCKET has ended.
    pub(super) fn take_socket(
        &mut self,
        lane: u16,
        completion: Completion,
        ops: &mut impl Extend<Op>,
    ) -> DialStep {
        let Ok(slot) = u32::try_from(completion.result) else {
            let nth = self.end(lane).nth;
            return DialStep::Failed { nth, errno: -completion.result };
        };
        let at = self.lanes[usize::from(lane)].as_mut().expect("a lane lives until its chain ends");
        at.slot = slot;
        ops.extend([Op::Connect { lane }]);
        DialStep::Going
    }

    /// The chain has ended. Where it failed, the slot is closed.
    pub(super) fn take_connect(
        &mut self,
        lane: u16,
        completion: Completion,
        ops: &mut impl Extend<Op>,
    ) -> DialStep {
        let Lane { nth, slot, .. } = self.end(lane);
        if completion.result >= 0 {
            return DialStep::Connected { nth, slot };
        }
        ops.extend([Op::Drop { slot }]);
        DialStep::Failed { nth, errno: -completion.result }
    }

    /// Makes the socket.
    pub(super) fn socket(&self, lane: u16) -> Entry {
        let domain = i32::from(self.place(lane).destination.family());
        opcode::Socket::new(domain, libc::SOCK_STREAM, 0)
            .file_index(Some(DestinationSlot::auto_target()))
            .build()
    }

    /// The chain from a socket to a connection.
    pub(super) fn connect(&self, lane: u16) -> ArrayVec<Entry, ENTRIES_MAX> {
        let at = self.lanes[usize::from(lane)].as_ref();
        let Lane { slot, place, .. } = at.expect("a lane lives until its chain ends");
        let slot = Fixed(*slot);
        let option = |level: i32, name: i32, value: *const libc::c_int| {
            let bytes = size_of::<libc::c_int>() as u32;
            opcode::SetSockOpt::new(slot, level as u32, name as u32, value.cast(), bytes).build()
        };
        let mut chain = ArrayVec::new();
        let mut link = |entry: Entry| chain.push(entry.flags(Flags::IO_LINK | Flags::SKIP_SUCCESS));
        if place.receive_bytes > 0 {
            let value = ptr::from_ref(&place.receive_bytes);
            link(option(libc::SOL_SOCKET, libc::SO_RCVBUF, value));
        }
        if let Some(source) = &place.source {
            link(option(libc::SOL_IP, libc::IP_BIND_ADDRESS_NO_PORT, &ON));
            link(opcode::Bind::new(slot, source.as_ptr().cast(), source.len()).build());
        }
        let to = &place.destination;
        chain.push(opcode::Connect::new(slot, to.as_ptr().cast(), to.len()).build());
        chain
    }

    /// Leaves the memory of calls under way to the kernel for good.
    pub(super) fn leak_places(&mut self) {
        for lane in self.lanes.drain(..).flatten() {
            Box::leak(lane.place);
        }
    }

    fn place(&self, lane: u16) -> &CallMemory {
        let lane = self.lanes[usize::from(lane)].as_ref();
        &lane.expect("a lane lives until its chain ends").place
    }

    fn end(&mut self, lane: u16) -> Lane {
        self.free.push(lane);
        self.lanes[usize::from(lane)].take().expect("a lane ends once")
    }
}
