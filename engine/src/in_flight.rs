//! The memory of what waits for the order: one budget of the node, in bytes.
//!
//! Counted is what publishers have handed over and what has no outcome yet (begun frames, messages,
//! replies that they have not read, outcomes that they have not confirmed), and every command in
//! the sequencer's inbox, those of clients too. What the order has placed is counted by the
//! broadcast ring and by history.
//!
//! ```text
//!  socket ── bytes ── messages ─┐
//!  API, process ── messages ────┼── inbox ──> sequencer ──> ring (ring_bytes), history
//!  shards ── subscribes ────────┘
//!  └───────────── in_flight_bytes ─────────┘
//! ```
//!
//! **Nobody may hold more than is left free for others.** One alone gets half of the budget, two
//! a third each, and whoever comes next finds as much room as any of them has: nobody counts, and
//! nobody can keep others out. One who holds nothing may take whatever is free, so that what is
//! larger than a share goes through too, when there is room for it at all. Who finds no room waits:
//! a publisher on the socket is not read, one inside of the process and one over HTTP are told so
//! (503), a shard offers its command again.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crossbeam_utils::CachePadded;

use crate::budget::{Budget, BudgetShare};
use crate::limits::Limits;
use crate::metrics::Metrics;

/// The budget and its size.
#[derive(Clone, Debug)]
pub struct InFlight {
    budget: Arc<Budget>,
    /// What all may hold together, but for the frame that [`Limits::in_flight_reserve`] is for.
    bytes: usize,
    /// What is held of that frame, which takes no room from others.
    reserve: Arc<Budget>,
}

impl InFlight {
    /// The node's.
    pub fn of(metrics: &Metrics, limits: &Limits) -> Self {
        let bytes = limits.all_in_flight() - limits.in_flight_reserve();
        let reserve = Arc::clone(&metrics.in_flight_reserve);
        Self { budget: Arc::clone(&metrics.in_flight), bytes, reserve }
    }

    /// Up to where all may hold, for one who has `held` and wants so many bytes more.
    fn limit(&self, held: usize, more: usize) -> usize {
        if held == 0 { self.bytes } else { self.bytes.saturating_sub(held.saturating_add(more)) }
    }

    /// How much more one who holds so much may take now.
    pub fn room(&self, held: usize) -> usize {
        let free = self.bytes.saturating_sub(self.budget.held());
        if held == 0 { free } else { free.saturating_sub(held) / 2 }
    }

    /// Pays for so many bytes more of one who has `held`; whether there was room.
    #[must_use]
    pub fn pay(&self, share: &mut BudgetShare, held: usize, more: usize) -> bool {
        share.grow(&self.budget, more, self.limit(held, more))
    }

    /// Makes a part as large as what is there.
    pub fn set(&self, share: &mut BudgetShare, bytes: usize) {
        share.set(&self.budget, bytes);
    }

    /// Makes a part of the reserve as large as what is there.
    pub fn set_reserved(&self, share: &mut BudgetShare, bytes: usize) {
        share.set(&self.reserve, bytes);
    }

    /// Whether all hold more than they may, but for so many bytes: the reserve is used.
    pub fn is_over_but_for(&self, bytes: usize) -> bool {
        self.budget.held().saturating_sub(bytes) > self.bytes
    }
}

/// One that pays for what it sends: a way into the inbox. What was sent and what was taken are
/// counted apart, each by the thread that does it, so that the two do not wait for each other.
#[derive(Debug)]
pub struct Payer {
    in_flight: InFlight,
    sent: CachePadded<AtomicUsize>,
    taken: CachePadded<AtomicUsize>,
}

impl Payer {
    /// One that has sent nothing yet.
    pub fn new(in_flight: InFlight) -> Self {
        Self { in_flight, sent: CachePadded::default(), taken: CachePadded::default() }
    }

    /// Bytes that it has sent and that were not taken.
    pub fn held(&self) -> usize {
        // What was taken was sent before: read in this order, neither is seen without the other.
        let taken = self.taken.load(Acquire);
        self.sent.load(Relaxed).wrapping_sub(taken)
    }

    /// Pays for so many bytes; whether there was room.
    #[must_use]
    pub fn pay(&self, bytes: usize) -> bool {
        let held = self.held();
        let paid = self.in_flight.budget.take(bytes, self.in_flight.limit(held, bytes));
        if paid {
            self.sent.fetch_add(bytes, Relaxed);
        }
        paid
    }

    /// So many of its bytes were taken.
    pub fn give_back(&self, bytes: usize) {
        self.taken.fetch_add(bytes, Release);
        self.in_flight.budget.give_back(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thousand() -> InFlight {
        InFlight { budget: Arc::default(), bytes: 1_000, reserve: Arc::default() }
    }

    #[test]
    fn nobody_holds_more_than_is_left_free() {
        let in_flight = thousand();
        let payers: Vec<Payer> = (0..9).map(|_| Payer::new(in_flight.clone())).collect();
        // Each takes as much as it gets, in small pieces, in turns.
        while payers.iter().filter(|payer| payer.pay(5)).count() > 0 {}
        for payer in &payers {
            assert!((95..=100).contains(&payer.held()), "{} of a tenth", payer.held());
        }
        // One more finds as much as they have.
        let room = in_flight.room(0);
        assert!(room >= 100, "{room}");
        let newcomer = Payer::new(in_flight.clone());
        assert!(newcomer.pay(room), "what is free is its own");
        assert!(!payers[0].pay(1) && !newcomer.pay(1));
        payers.iter().chain([&newcomer]).for_each(|payer| payer.give_back(payer.held()));
        assert_eq!(in_flight.budget.held(), 0);
    }

    #[test]
    fn what_is_larger_than_a_share_goes_through_alone() {
        let payer = Payer::new(thousand());
        assert!(payer.pay(1_000), "it is alone");
        assert!(!payer.pay(1));
        payer.give_back(1_000);
        assert!(!payer.pay(1_001));
        assert!(payer.pay(400));
        assert_eq!(payer.in_flight.room(400), 100);
        assert!(!payer.pay(101) && payer.pay(100));
    }
}
