//! Who holds memory that only one client uses: an answer that is not taken, a part of a request,
//! the names of what was asked for. How much it is together, and who holds most.
//!
//! What a client holds is noted after each call of its session ([`Holders::set`]), unless it is as
//! little as a ping; nobody walks over connections. Holders are ordered by powers of two, and then
//! by how long they have held as much. So whoever is first holds at least half of what anybody
//! holds.

use std::collections::{BTreeMap, HashMap};

/// What an ordinary request or answer takes.
const SMALL_BYTES: usize = 8 << 10;

/// Those who hold something.
#[derive(Default)]
pub(super) struct Holders {
    held: HashMap<u32, Held>,
    /// All of them, the largest first.
    order: BTreeMap<Rank, u32>,
    bytes: usize,
    /// How many ranks were given.
    ranked: u64,
}

/// What one holds.
struct Held {
    bytes: usize,
    rank: Rank,
}

/// Leading zeros of the bytes that are held, and a number that rises with time: the smaller, the
/// sooner it was about as much.
type Rank = (u32, u64);

impl Holders {
    /// What all hold together.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Who holds most, and how much.
    fn largest(&self) -> Option<(u32, usize)> {
        let (_, index) = self.order.first_key_value()?;
        Some((*index, self.held[index].bytes))
    }

    /// Who is to be let go next, where all together may hold `most` and nearly do. A client that
    /// holds no more than an ordinary request takes is let go only where they hold more than that.
    pub(super) fn next_to_go(&self, most: usize) -> Option<u32> {
        let (index, bytes) = self.largest()?;
        let is_small = bytes <= SMALL_BYTES && self.bytes <= most;
        (self.bytes > most - most / 8 && !is_small).then_some(index)
    }

    /// The connection at this place holds so much now.
    pub(super) fn set(&mut self, index: u32, bytes: usize) {
        if bytes == 0 && self.held.is_empty() {
            return;
        }
        let magnitude = bytes.leading_zeros();
        match self.held.get_mut(&index) {
            Some(held) if bytes > 0 && held.rank.0 == magnitude => {
                self.bytes = self.bytes - held.bytes + bytes;
                held.bytes = bytes;
                return;
            }
            Some(held) => {
                self.bytes -= held.bytes;
                self.order.remove(&held.rank);
                self.held.remove(&index);
            }
            None => {}
        }
        if bytes > 0 {
            self.ranked += 1;
            let rank = (magnitude, self.ranked);
            self.held.insert(index, Held { bytes, rank });
            self.order.insert(rank, index);
            self.bytes += bytes;
        }
    }

    /// Panics where it contradicts itself, or what the connections have.
    pub(super) fn invariants(&self, have: impl Iterator<Item = (u32, usize)>) {
        let (mut count, mut sum) = (0, 0);
        for (index, bytes) in have.filter(|(_, bytes)| *bytes > 0) {
            let held = self.held.get(&index);
            let held = held.unwrap_or_else(|| panic!("{index} holds {bytes} uncounted"));
            assert_eq!(held.bytes, bytes, "what connection {index} holds is counted");
            assert_eq!(self.order.get(&held.rank), Some(&index));
            (count, sum) = (count + 1, sum + bytes);
        }
        assert_eq!((count, sum), (self.held.len(), self.bytes), "nobody else holds anything");
        assert_eq!(count, self.order.len());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn who_holds_most_is_found() {
        let mut holders = Holders::default();
        assert_eq!(holders.largest(), None);
        for (index, bytes) in [(1, 100), (2, 5_000), (3, 900), (4, 6_000)] {
            holders.set(index, bytes);
        }
        assert_eq!((holders.largest(), holders.bytes()), (Some((2, 5_000)), 12_000));
        holders.set(2, 40);
        assert_eq!(holders.largest(), Some((4, 6_000)));
        holders.set(4, 0);
        assert_eq!(holders.largest(), Some((3, 900)));
        holders.set(3, 0);
        assert_eq!((holders.largest(), holders.bytes()), (Some((1, 100)), 140));
    }

    proptest! {
        #[test]
        fn what_all_hold_is_what_each_holds(
            told in prop::collection::vec((0..20u32, prop_oneof![Just(0), 1..5_000usize]), 0..300),
        ) {
            let (mut holders, mut model) = (Holders::default(), HashMap::new());
            for (index, bytes) in told {
                holders.set(index, bytes);
                model.insert(index, bytes);
                holders.invariants(model.iter().map(|(index, bytes)| (*index, *bytes)));
                let most = model.values().copied().max().unwrap_or(0);
                prop_assert!(holders.largest().map_or(0, |(_, bytes)| bytes) * 2 >= most);
            }
        }
    }
}
