//! Accepting, straight into the ring's file table.
//!
//! Several one-shot accepts wait side by side, each a *lane* with at most one operation in flight.
//! Lanes are armed in [`super::Uring`]'s poll and nowhere else, and never more of them than the
//! table has places. Three things follow:
//!
//! * **Nobody is lost at a full table.** Where the kernel finds no place it has already taken the
//!   client off the listener: it answers `ENFILE`, and that client is gone without a word. Here
//!   an accept that is in flight has a place that is free, so it does not come to that: who comes
//!   while there is none waits in the backlog.
//! * **A poll accepts no more than [`LANES`].** So a storm of connects waits in the kernel, where
//!   no deadline runs, and not in a queue of ours, where the time for a request head does.
//! * **Peers can be told**, which a multishot accept cannot: each lane has memory for an address.
//!
//! One rule covers the races between on and off: a lane that ends is idle, and whoever arms lanes
//! looks at whether accepting is on.
//!
//! A multishot accept would save an entry for each client (some 100 ns of the 10 us and more that a
//! TCP accept takes), takes the whole backlog in one go, and knows no bound but `ENFILE`.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use arrayvec::ArrayVec;

use super::op::Op;
use super::ring::Completion;
use crate::driver::{ACCEPTS_MAX, canonical};

/// One-shot accepts side by side: what one poll accepts at most.
const LANES: usize = ACCEPTS_MAX;

/// Where the kernel writes one peer's address. It does so inside an enter, but *which* enter nobody
/// knows: from when a lane is armed until it ends this memory is the kernel's.
#[repr(C)]
pub(super) struct PeerAddress {
    address: UnsafeCell<MaybeUninit<libc::sockaddr_storage>>,
    length: UnsafeCell<libc::socklen_t>,
}

/// The lanes. The places are boxed so that they stay where they are when this moves.
pub(super) struct Acceptor {
    on: bool,
    /// Which lanes have an operation in flight.
    armed: [bool; LANES],
    /// How many have.
    flying: usize,
    /// One for each lane, or none where addresses are not wanted.
    places: Box<[PeerAddress]>,
}

/// What the end or success of an accept means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum AcceptOutcome {
    /// A new socket is in this slot.
    Accepted { slot: u32, peer: Option<SocketAddr> },
    /// Accepting has stopped with this errno.
    Stopped(i32),
    /// Nothing to tell.
    Nothing,
}

impl Acceptor {
    pub(super) fn new(want_peers: bool) -> Self {
        let place =
            || PeerAddress { address: UnsafeCell::new(MaybeUninit::zeroed()), length: 0.into() };
        let places = if want_peers { (0..LANES).map(|_| place()).collect() } else { [].into() };
        Self { on: false, armed: [false; LANES], flying: 0, places }
    }

    /// Turns accepting on, from the next [`Self::arm`] on, or off; what is to be submitted for that
    /// goes to `ops`.
    pub(super) fn set(&mut self, on: bool, ops: &mut impl Extend<Op>) {
        let was_on = std::mem::replace(&mut self.on, on);
        if was_on && !on {
            let armed = (0..).zip(&self.armed).filter(|(_, armed)| **armed);
            ops.extend(armed.map(|(lane, _)| Op::CancelAccept { lane }));
        }
    }

    /// Arms idle lanes, so that no more than `free` are in flight: as many as the table has places.
    pub(super) fn arm(&mut self, free: usize, ops: &mut impl Extend<Op>) {
        if !self.on {
            return;
        }
        let more = free.min(LANES).saturating_sub(self.flying);
        let idle = (0..LANES).filter(|lane| !self.armed[*lane]).take(more);
        for lane in idle.collect::<ArrayVec<usize, LANES>>() {
            self.armed[lane] = true;
            self.flying += 1;
            if let Some(place) = self.places.get_mut(lane) {
                *place.length.get_mut() = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            }
            ops.extend([Op::Accept { lane: lane as u8 }]);
        }
    }

    /// Takes one accept back, if any is in flight; whether one is.
    pub(super) fn cancel_one(&self, ops: &mut impl Extend<Op>) -> bool {
        let lane = self.armed.iter().position(|armed| *armed);
        ops.extend(lane.map(|lane| Op::CancelAccept { lane: lane as u8 }));
        lane.is_some()
    }

    /// Takes the completion of a lane, which is idle then.
    pub(super) fn take(
        &mut self,
        lane: u8,
        completion: Completion,
        ops: &mut impl Extend<Op>,
    ) -> AcceptOutcome {
        assert!(!completion.more, "accepts are one-shot");
        let lane = usize::from(lane);
        assert!(std::mem::replace(&mut self.armed[lane], false), "a lane ends once");
        self.flying -= 1;
        // Accepted even where accepting was turned off meanwhile: the client is connected already.
        if let Ok(slot) = u32::try_from(completion.result) {
            return AcceptOutcome::Accepted { slot, peer: self.peer(lane) };
        }
        if self.on && !is_passing(-completion.result) {
            self.set(false, ops);
            return AcceptOutcome::Stopped(-completion.result);
        }
        AcceptOutcome::Nothing
    }

    /// How many lanes have an operation in flight. While any has, the places are the kernel's.
    pub(super) fn flying(&self) -> usize {
        self.flying
    }

    /// Leaves the places to the kernel for good.
    pub(super) fn leak_places(&mut self) {
        std::mem::forget(std::mem::take(&mut self.places));
    }

    /// Where a lane's operation has the address and its length written; `None` where
    /// addresses are not wanted.
    pub(super) fn place(&self, lane: u8) -> Option<(*mut libc::sockaddr, *mut libc::socklen_t)> {
        let place = self.places.get(usize::from(lane))?;
        Some((place.address.get().cast(), place.length.get()))
    }

    /// Reads the address that an ended lane was given.
    fn peer(&mut self, lane: usize) -> Option<SocketAddr> {
        let place = self.places.get_mut(lane)?;
        // SAFETY: the memory was zeroed when it was made, and a `sockaddr_storage` of zeros, or of
        // whatever bytes the kernel wrote over them, is a valid value: it has only integers. The
        // lane has ended, so the kernel no longer writes here, and `&mut self` excludes everyone
        // else.
        let address = unsafe { place.address.get_mut().assume_init_ref() };
        decode(address)
    }
}

/// Whether an accept that failed with this errno is worth another at once. accept(2) asks to treat
/// network errors of the *new* socket like `EAGAIN`; a cancelled lane is one that was turned off
/// and on again.
fn is_passing(errno: i32) -> bool {
    [
        libc::ECANCELED,
        libc::EAGAIN,
        libc::EINTR,
        libc::ECONNABORTED,
        libc::ENETDOWN,
        libc::EPROTO,
        libc::ENOPROTOOPT,
        libc::EHOSTDOWN,
        libc::ENONET,
        libc::EHOSTUNREACH,
        libc::EOPNOTSUPP,
        libc::ENETUNREACH,
    ]
    .contains(&errno)
}

fn decode(address: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match i32::from(address.ss_family) {
        libc::AF_INET => {
            // SAFETY: a `sockaddr_storage` is larger than and aligned for every address type, and
            // its family says that this one was written.
            let v4 = unsafe { &*std::ptr::from_ref(address).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Some(SocketAddr::from((ip, u16::from_be(v4.sin_port))))
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let v6 = unsafe { &*std::ptr::from_ref(address).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            Some(canonical(SocketAddr::from((ip, u16::from_be(v6.sin6_port)))))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CANCELLED: Completion = Completion { tag: 0, result: -libc::ECANCELED, more: false };
    const SLOT_7: Completion = Completion { tag: 0, result: 7, more: false };

    fn lanes(ops: &mut Vec<Op>) -> usize {
        let accepts = ops.iter().filter(|op| matches!(op, Op::Accept { .. })).count();
        assert_eq!(std::mem::take(ops).len(), accepts);
        accepts
    }

    #[test]
    fn no_more_accepts_are_in_flight_than_there_are_places() {
        let (mut acceptor, mut ops) = (Acceptor::new(false), Vec::new());
        acceptor.arm(100, &mut ops);
        assert_eq!(lanes(&mut ops), 0, "it is not on");
        acceptor.set(true, &mut ops);
        for (free, more) in [(0, 0), (3, 3), (3, 0), (2, 0), (5, 2), (1_000, LANES - 5)] {
            acceptor.arm(free, &mut ops);
            assert_eq!(lanes(&mut ops), more, "{free} places are free");
        }
        assert_eq!(acceptor.flying(), LANES);
        let told = acceptor.take(4, SLOT_7, &mut ops);
        assert_eq!(told, AcceptOutcome::Accepted { slot: 7, peer: None });
        assert_eq!(lanes(&mut ops), 0, "it waits for the next tick");
        acceptor.arm(LANES - 1, &mut ops);
        assert_eq!(lanes(&mut ops), 0, "the place that it took is taken");
        acceptor.arm(LANES, &mut ops);
        assert_eq!(ops, [Op::Accept { lane: 4 }]);
    }

    #[test]
    fn off_and_on_again_loses_no_lane_and_arms_none_twice() {
        let (mut acceptor, mut ops) = (Acceptor::new(true), Vec::new());
        acceptor.set(true, &mut ops);
        acceptor.arm(2, &mut ops);
        ops.clear();
        acceptor.set(false, &mut ops);
        acceptor.set(false, &mut ops);
        let cancels = [Op::CancelAccept { lane: 0 }, Op::CancelAccept { lane: 1 }];
        assert_eq!(std::mem::take(&mut ops), cancels);
        acceptor.set(true, &mut ops);
        acceptor.arm(2, &mut ops);
        assert!(ops.is_empty(), "both are still in flight");
        assert_eq!(acceptor.take(0, CANCELLED, &mut ops), AcceptOutcome::Nothing);
        acceptor.arm(2, &mut ops);
        assert_eq!(std::mem::take(&mut ops), [Op::Accept { lane: 0 }]);
        acceptor.set(false, &mut ops);
        ops.clear();
        // Who was accepted while it was turned off is told all the same.
        let told = acceptor.take(0, SLOT_7, &mut ops);
        assert!(matches!(told, AcceptOutcome::Accepted { slot: 7, .. }), "{told:?}");
        assert_eq!(acceptor.take(1, CANCELLED, &mut ops), AcceptOutcome::Nothing);
        acceptor.arm(2, &mut ops);
        assert!(ops.is_empty() && acceptor.flying() == 0);
    }

    #[test]
    fn a_failure_stops_every_lane_and_is_told_once() {
        let (mut acceptor, mut ops) = (Acceptor::new(true), Vec::new());
        acceptor.set(true, &mut ops);
        acceptor.arm(LANES, &mut ops);
        assert_eq!(lanes(&mut ops), LANES);
        let full = Completion { result: -libc::ENFILE, ..CANCELLED };
        assert_eq!(acceptor.take(3, full, &mut ops), AcceptOutcome::Stopped(libc::ENFILE));
        assert_eq!(std::mem::take(&mut ops).len(), LANES - 1, "all others are cancelled");
        assert_eq!(acceptor.take(4, full, &mut ops), AcceptOutcome::Nothing);
        assert!(ops.is_empty());
    }

    #[test]
    fn addresses_are_read_in_network_order() {
        // SAFETY: an address is made of integers, for which zero is a value.
        let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
        assert_eq!(decode(&storage), None);
        storage.ss_family = libc::AF_INET as libc::sa_family_t;
        // SAFETY: larger than and aligned for a `sockaddr_in`.
        let v4 = unsafe { &mut *std::ptr::from_mut(&mut storage).cast::<libc::sockaddr_in>() };
        v4.sin_addr.s_addr = u32::from_ne_bytes([192, 0, 2, 9]);
        v4.sin_port = u16::from_ne_bytes([0x1f, 0x90]);
        assert_eq!(decode(&storage), Some("192.0.2.9:8080".parse().unwrap()));
    }
}
