//! What a connection is called by those who publish: whoever names it when publishing keeps the
//! message from it.
//!
//! An origin is the connection's token and its shard's number, mixed with a random number of the
//! node by a permutation. So every connection has one without keeping it; its shard finds the
//! connection by it without a search; and that two nodes give the same one to two connections that
//! are open at once is as unlikely as that two random numbers of 59 bits agree.

use std::fmt;
use std::num::NonZeroU64;

use fanfare_protocol::names::origin_number;

/// The name of one connection, unlike any other's in a cluster.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Origin(NonZeroU64);

impl From<NonZeroU64> for Origin {
    fn from(number: NonZeroU64) -> Self {
        Self(number)
    }
}

/// Bits of a place in a shard's table: no driver has more than 2^20, nor has a shard more sessions
/// apart from their sockets.
const INDEX_BITS: u32 = 21;
const GENERATION_BITS: u32 = 32;

/// Who has an origin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Named {
    /// Which shard.
    pub shard: u8,
    /// Which place of its table.
    pub index: u32,
    /// Which life of that place.
    pub generation: u32,
}

impl Origin {
    /// The name of a connection of the node whose random number this is.
    pub fn of(named: Named, node: u64) -> Self {
        let Named { shard, index, generation } = named;
        debug_assert!(index < 1 << INDEX_BITS && shard < 64);
        let place = u64::from(shard) << INDEX_BITS | u64::from(index);
        let plain = place << GENERATION_BITS | u64::from(generation);
        let mixed = mix(plain ^ node);
        // Of all numbers one is mixed to 0, and its connection shares a name with another.
        Self(NonZeroU64::new(mixed).unwrap_or(NonZeroU64::MAX))
    }

    /// Who it is, if anyone, on the node whose random number this is. Of a name that another node
    /// gave it says something, which is hardly ever a connection.
    pub fn named(self, node: u64) -> Option<Named> {
        let plain = unmix(self.0.get()) ^ node;
        let (place, generation) = (plain >> GENERATION_BITS, plain as u32);
        let shard = u8::try_from(place >> INDEX_BITS).ok()?;
        let index = place as u32 & ((1 << INDEX_BITS) - 1);
        Some(Named { shard, index, generation })
    }

    /// Its number, which is written in sixteen hexadecimal digits.
    pub fn number(self) -> u64 {
        self.0.get()
    }

    /// Reads sixteen hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        origin_number(text.as_bytes()).map(Self)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The finalizer of splitmix64: every bit of the result depends on every bit of the number.
fn mix(number: u64) -> u64 {
    let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}

/// [`mix`] undone: the factors are the inverses of its factors, modulo 2^64.
fn unmix(number: u64) -> u64 {
    let number = (number ^ number >> 31 ^ number >> 62).wrapping_mul(0x3196_42b2_d24d_8ec3);
    let number = (number ^ number >> 27 ^ number >> 54).wrapping_mul(0x96de_1b17_3f11_9089);
    number ^ number >> 30 ^ number >> 60
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_origin_says_who_it_is_to_its_own_node(
            node: u64,
            shard in 0..64_u8,
            index in 0..1_u32 << INDEX_BITS,
            generation: u32,
        ) {
            let named = Named { shard, index, generation };
            let origin = Origin::of(named, node);
            prop_assert_eq!(origin.named(node), Some(named));
            prop_assert_eq!(Origin::parse(&origin.to_string()), Some(origin));
            let other = Origin::of(named, node.wrapping_add(1));
            prop_assert!(other != origin, "the same place of another node");
        }
    }

    #[test]
    fn what_is_no_origin_is_not_read() {
        for text in ["", "0", "0000000000000000", "+000000000000001", "00000000000000001"] {
            assert_eq!(Origin::parse(text), None, "{text}");
        }
        assert!(Origin::parse("00000000000000Ff").is_some());
    }
}
