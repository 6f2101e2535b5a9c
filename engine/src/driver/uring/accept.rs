//! Accepting, straight into the ring's file table.
//!
//! Where nobody needs to know who the peers are, one multishot accept does it. A multishot accept
//! cannot tell addresses, so where they are needed sixteen one-shot accepts wait side by side, each
//! with memory of its own for an address. Either way an accept is a *lane* with at most one
//! operation in flight, and one rule covers all races between on and off: a lane that ends while
//! accepting is on begins again.
//!
//! When the table is full, the kernel has already taken the client off the listener: it answers
//! `ENFILE`, and that client is lost. The shard pauses before it comes to that.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::Completion;
use super::ops::Op;
use crate::driver::canonical;

/// One-shot accepts side by side where addresses are wanted.
const LANES: usize = 16;

/// Where the kernel writes one peer's address. It does so inside an enter, but *which* enter nobody
/// knows: from when a lane is armed until it ends this memory is the kernel's.
#[repr(C)]
pub(super) struct Place {
    address: UnsafeCell<MaybeUninit<libc::sockaddr_storage>>,
    length: UnsafeCell<libc::socklen_t>,
}

/// The lanes. The places are boxed so that they stay where they are when this moves.
pub(super) struct Acceptor {
    on: bool,
    /// Which lanes have an operation in flight.
    armed: Vec<bool>,
    /// One for each lane, or none where addresses are not wanted.
    places: Box<[Place]>,
}

/// What the end or success of an accept means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A new socket is in this slot.
    Accepted { slot: u32, peer: Option<SocketAddr> },
    /// Accepting has stopped with this errno.
    Stopped(i32),
    /// Nothing to tell.
    Nothing,
}

impl Acceptor {
    pub(super) fn new(want_peers: bool) -> Self {
        let lanes = if want_peers { LANES } else { 1 };
        let place = || Place { address: UnsafeCell::new(MaybeUninit::zeroed()), length: 0.into() };
        let places = if want_peers { (0..LANES).map(|_| place()).collect() } else { [].into() };
        Self { on: false, armed: vec![false; lanes], places }
    }

    /// Turns accepting on or off; what is to be submitted goes to `ops`.
    pub(super) fn set(&mut self, on: bool, ops: &mut impl Extend<Op>) {
        if self.on == on {
            return;
        }
        self.on = on;
        if !on {
            let armed = (0..).zip(&self.armed).filter(|(_, armed)| **armed);
            return ops.extend(armed.map(|(lane, _)| Op::CancelAccept { lane }));
        }
        for lane in 0..self.armed.len() {
            // A lane whose cancellation is under way begins again when it has ended.
            if !self.armed[lane] {
                self.arm(lane, ops);
            }
        }
    }

    /// Takes the completion of a lane.
    pub(super) fn take(
        &mut self,
        lane: u8,
        completion: Completion,
        ops: &mut impl Extend<Op>,
    ) -> Outcome {
        let lane = usize::from(lane);
        let result = completion.result;
        // Accepted even where accepting was turned off meanwhile: the client is connected already.
        let accepted = u32::try_from(result).ok();
        let peer = accepted.and_then(|_| self.peer(lane, completion.more));
        if !completion.more {
            self.armed[lane] = false;
            if self.on && (accepted.is_some() || begins_again(-result)) {
                self.arm(lane, ops);
            } else if self.on {
                self.set(false, ops);
                return Outcome::Stopped(-result);
            }
        }
        accepted.map_or(Outcome::Nothing, |slot| Outcome::Accepted { slot, peer })
    }

    /// Whether any lane has an operation in flight, so that the places are the kernel's.
    pub(super) fn is_armed(&self) -> bool {
        self.armed.contains(&true)
    }

    /// Leaves the places to the kernel for good.
    pub(super) fn leak_places(&mut self) {
        std::mem::forget(std::mem::take(&mut self.places));
    }

    /// Where a lane's operation has the address and its length written; `None` for a multishot.
    pub(super) fn place(&self, lane: u8) -> Option<(*mut libc::sockaddr, *mut libc::socklen_t)> {
        let place = self.places.get(usize::from(lane))?;
        Some((place.address.get().cast(), place.length.get()))
    }

    fn arm(&mut self, lane: usize, ops: &mut impl Extend<Op>) {
        self.armed[lane] = true;
        if let Some(place) = self.places.get_mut(lane) {
            *place.length.get_mut() = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
        }
        ops.extend([Op::Accept { lane: lane as u8 }]);
    }

    /// Reads the address that an ended lane was given.
    fn peer(&mut self, lane: usize, more: bool) -> Option<SocketAddr> {
        let place = self.places.get_mut(lane)?;
        assert!(!more, "an accept that tells addresses is one-shot");
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
fn begins_again(errno: i32) -> bool {
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

    #[test]
    fn off_and_on_again_loses_no_lane_and_arms_none_twice() {
        let (mut acceptor, mut ops) = (Acceptor::new(false), Vec::new());
        acceptor.set(true, &mut ops);
        acceptor.set(true, &mut ops);
        assert_eq!(std::mem::take(&mut ops), [Op::Accept { lane: 0 }]);
        acceptor.set(false, &mut ops);
        acceptor.set(true, &mut ops);
        assert_eq!(std::mem::take(&mut ops), [Op::CancelAccept { lane: 0 }]);
        assert_eq!(acceptor.take(0, CANCELLED, &mut ops), Outcome::Nothing);
        assert_eq!(std::mem::take(&mut ops), [Op::Accept { lane: 0 }]);
        acceptor.set(false, &mut ops);
        ops.clear();
        assert_eq!(acceptor.take(0, CANCELLED, &mut ops), Outcome::Nothing);
        assert!(ops.is_empty() && !acceptor.is_armed());
    }

    #[test]
    fn a_client_that_was_accepted_while_it_was_turned_off_is_told() {
        let (mut acceptor, mut ops) = (Acceptor::new(false), Vec::new());
        acceptor.set(true, &mut ops);
        acceptor.set(false, &mut ops);
        ops.clear();
        let told = acceptor.take(0, SLOT_7, &mut ops);
        assert_eq!(told, Outcome::Accepted { slot: 7, peer: None });
        assert!(ops.is_empty() && !acceptor.is_armed());
    }

    #[test]
    fn a_full_table_stops_every_lane_and_is_told_once() {
        let (mut acceptor, mut ops) = (Acceptor::new(true), Vec::new());
        acceptor.set(true, &mut ops);
        assert_eq!(ops.drain(..).count(), LANES);
        let full = Completion { result: -libc::ENFILE, ..CANCELLED };
        assert_eq!(acceptor.take(3, full, &mut ops), Outcome::Stopped(libc::ENFILE));
        let others = (0..LANES as u8).filter(|lane| *lane != 3);
        let cancelled = others.map(|lane| Op::CancelAccept { lane }).collect::<Vec<_>>();
        assert_eq!(std::mem::take(&mut ops), cancelled);
        assert_eq!(acceptor.take(4, full, &mut ops), Outcome::Nothing);
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
