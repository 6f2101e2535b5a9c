//! What a completion is about, in the 64 bits that come back with it.
//!
//! ```text
//!  63    56 55            32 31                             0
//! | kind   | place          | life                           |
//! ```
//!
//! `place` is a socket's index (below 2^20) or a batch's number; `life` is the socket's generation
//! or a place in the batch.

use crate::driver::Token;

/// What a completion is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    /// Nothing that anyone waits for: a step of closing, or a cancellation.
    Silent,
    /// The waker was used.
    Waker,
    /// A connection was accepted by this lane.
    Accept { lane: u8 },
    /// Something arrived.
    Readable(Token),
    /// There is room.
    Writable(Token),
    /// A send ended that did not go whole. `batch` is taken modulo 2^24.
    Send { batch: u32, nth: u32 },
    /// A receive ended, into this region of the scratch.
    Recv { region: u32 },
    /// A socket was made for this lane of dialing.
    Socket { lane: u16 },
    /// The chain of this lane of dialing ended.
    Connect { lane: u16 },
    /// A slot is free again.
    Closed,
    /// A step of letting go of a socket, or of taking one in, ended.
    Moved,
}

const PLACE_BITS: u32 = 24;

/// Batch numbers that a tag can tell apart.
pub(super) const BATCHES: u32 = 1 << PLACE_BITS;

impl Tag {
    pub(super) fn encode(self) -> u64 {
        let (kind, place, life) = match self {
            Self::Silent => (0, 0, 0),
            Self::Waker => (1, 0, 0),
            Self::Accept { lane } => (2, 0, u32::from(lane)),
            Self::Readable(token) => (3, token.index, token.generation),
            Self::Writable(token) => (4, token.index, token.generation),
            Self::Send { batch, nth } => (5, batch, nth),
            Self::Recv { region } => (6, 0, region),
            Self::Socket { lane } => (7, 0, u32::from(lane)),
            Self::Connect { lane } => (8, 0, u32::from(lane)),
            Self::Closed => (9, 0, 0),
            Self::Moved => (10, 0, 0),
        };
        debug_assert!(place < 1 << PLACE_BITS);
        kind << 56 | u64::from(place) << 32 | u64::from(life)
    }

    pub(super) fn decode(bits: u64) -> Self {
        let place = (bits >> 32) as u32 & (BATCHES - 1);
        let life = bits as u32;
        let token = Token { index: place, generation: life };
        match bits >> 56 {
            0 => Self::Silent,
            1 => Self::Waker,
            2 => Self::Accept { lane: life as u8 },
            3 => Self::Readable(token),
            4 => Self::Writable(token),
            5 => Self::Send { batch: place, nth: life },
            6 => Self::Recv { region: life },
            7 => Self::Socket { lane: life as u16 },
            8 => Self::Connect { lane: life as u16 },
            9 => Self::Closed,
            10 => Self::Moved,
            kind => unreachable!("no operation was tagged with kind {kind}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tag_survives_the_kernel() {
        let far = Token { index: (1 << 20) - 1, generation: u32::MAX };
        let tags = [
            Tag::Silent,
            Tag::Waker,
            Tag::Accept { lane: 15 },
            Tag::Readable(far),
            Tag::Writable(far),
            Tag::Send { batch: BATCHES - 1, nth: u32::MAX },
            Tag::Recv { region: 15 },
            Tag::Socket { lane: 255 },
            Tag::Connect { lane: 255 },
            Tag::Closed,
            Tag::Moved,
        ];
        for tag in tags {
            assert_eq!(Tag::decode(tag.encode()), tag);
        }
    }
}
