//! Where the messages stood that a channel keeps no more.
//!
//! A client that returns brings one position for all of its channels, not an offset for each. To
//! tell it exactly which offsets it missed, a channel remembers the positions of its trimmed
//! messages: offsets are dense, so a list of positions is enough, and as differences most take one
//! byte.
//!
//! ```text
//!   block   offset 257   first 1000   last 1999   count 256   deltas 03 01 8c 02 ...  (LEB128)
//!   block   offset 513   first 2004   ...
//! ```
//!
//! A search is binary over blocks and linear within one. Whole blocks are forgotten, oldest first:
//! beyond the last [`REMEMBERED`] of the channel, or when the node's share is used up.

use std::collections::VecDeque;

use fanfare_protocol::message::GapReason;
use fanfare_protocol::record::checkpoint::{self, POSITIONS_MAX, push_delta};

/// Positions that a channel remembers at least, while the node's share lasts.
pub(super) const REMEMBERED: usize = 65_536;
/// Positions of a block.
const BLOCK: usize = POSITIONS_MAX as usize;
/// What a block costs beside its deltas: its fields, its allocation, its place in two queues.
const BLOCK_BYTES: usize = 96;

/// Positions of the newest trimmed messages of one channel; nothing while it keeps all that it had.
#[derive(Default)]
pub(super) struct Trimmed(Option<Box<Positions>>);

struct Positions {
    blocks: VecDeque<Block>,
    count: usize,
    bytes: usize,
    newest: u64,
    forgotten: u64,
    reason: GapReason,
}

struct Block {
    /// Its number among all blocks of the node, in the order in which they were begun.
    begun: u64,
    offset: u64,
    first: u64,
    last: u64,
    count: usize,
    deltas: Vec<u8>,
}

/// What lies after a position and is trimmed.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(super) enum Missed {
    /// Nothing.
    Nothing,
    /// All trimmed messages from this offset on.
    From(u64),
    /// More than is remembered.
    Unknown,
}

/// What a change of the structure did to its memory.
#[derive(Debug, Default, PartialEq, Eq, Clone, Copy)]
pub(super) struct Growth {
    /// Bytes that it costs more.
    pub(super) grown: usize,
    /// Bytes that it costs less.
    pub(super) freed: usize,
    /// Whether a block was begun: it is known by the position that was pushed.
    pub(super) block_begun: bool,
    /// How many blocks were forgotten.
    pub(super) blocks_freed: usize,
}

impl Trimmed {
    /// Remembers the next trimmed message; `offset` is one more than that of the last call. A block
    /// that is begun for it has the number `begun`.
    pub(super) fn push(&mut self, place: (u64, u64), reason: GapReason, begun: u64) -> Growth {
        self.0.get_or_insert_with(Box::default).push(place, reason, begun)
    }

    /// The position of the newest trimmed message that is not remembered; 0 where all are.
    pub(super) fn forgotten(&self) -> u64 {
        self.0.as_ref().map_or(0, |positions| positions.forgotten)
    }

    /// All that is remembered, as a checkpoint has it.
    pub(super) fn saved(&self) -> impl Iterator<Item = checkpoint::Positions<'_>> {
        let blocks = self.0.iter().flat_map(|positions| &positions.blocks);
        blocks.map(|block| checkpoint::Positions {
            offset: block.offset,
            first: block.first,
            begun: block.begun,
            count: block.count as u16,
            deltas: &block.deltas,
        })
    }

    /// So much is trimmed and not remembered, as a checkpoint says.
    pub(super) fn restore(&mut self, forgotten: u64, reason: GapReason) {
        let newest = forgotten;
        self.0 = Some(Box::new(Positions { newest, forgotten, reason, ..Positions::default() }));
    }

    /// What a checkpoint says, block after block; how many bytes it costs.
    pub(super) fn restore_block(&mut self, saved: &checkpoint::Positions<'_>) -> usize {
        let checkpoint::Positions { offset, first, begun, count, deltas } = *saved;
        let last = saved.walk(drop).unwrap_or(first);
        let (count, deltas) = (count.into(), deltas.to_vec());
        let block = Block { begun, offset, first, last, count, deltas };
        let (bytes, positions) = (block.bytes(), self.0.get_or_insert_default());
        positions.count += count;
        positions.bytes += bytes;
        positions.newest = last;
        positions.blocks.push_back(block);
        bytes
    }

    /// Forgets the oldest block; says how many bytes that freed.
    pub(super) fn forget_block(&mut self) -> usize {
        self.0.as_mut().map_or(0, |positions| positions.forget_block())
    }

    /// What lies after `position` and is trimmed.
    pub(super) fn after(&self, position: u64) -> Missed {
        self.0.as_ref().map_or(Missed::Nothing, |positions| positions.after(position))
    }

    /// Position of the trimmed message `offset`, where that is known.
    pub(super) fn position_of(&self, offset: u64) -> Option<u64> {
        self.0.as_ref()?.position_of(offset)
    }

    /// Position of the newest trimmed message; 0 where there was none.
    pub(super) fn newest(&self) -> u64 {
        self.0.as_ref().map_or(0, |positions| positions.newest)
    }

    /// Why the newest trimmed message was trimmed.
    pub(super) fn reason(&self) -> GapReason {
        self.0.as_ref().map_or(GapReason::Trimmed, |positions| positions.reason)
    }

    /// What remembering costs.
    pub(super) fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |positions| positions.bytes)
    }

    /// How many blocks there are.
    pub(super) fn blocks(&self) -> usize {
        self.0.as_ref().map_or(0, |positions| positions.blocks.len())
    }

    /// Whether a block begins at this position. (Offsets begin again with each life.)
    pub(super) fn has_block(&self, position: u64) -> bool {
        self.0.as_ref().is_some_and(|positions| positions.has_block(position))
    }

    /// Panics where the structure contradicts itself; `floor` is the channel's.
    pub(super) fn invariants(&self, floor: u64) {
        self.0.iter().for_each(|positions| positions.invariants(floor));
    }
}

impl Default for Positions {
    fn default() -> Self {
        let blocks = VecDeque::new();
        let reason = GapReason::Trimmed;
        Self { blocks, count: 0, bytes: 0, newest: 0, forgotten: 0, reason }
    }
}

impl Positions {
    fn push(&mut self, (offset, position): (u64, u64), reason: GapReason, begun: u64) -> Growth {
        debug_assert!(position > self.newest, "positions rise");
        let mut growth = Growth::default();
        match self.blocks.back_mut().filter(|block| block.count < BLOCK) {
            Some(block) => growth.grown = block.push(position),
            None => {
                if let Some(full) = self.blocks.back_mut() {
                    full.deltas.shrink_to_fit();
                }
                let (first, last) = (position, position);
                let (count, deltas) = (1, Vec::new());
                self.blocks.push_back(Block { begun, offset, first, last, count, deltas });
                growth.grown = BLOCK_BYTES;
                growth.block_begun = true;
            }
        }
        self.count += 1;
        self.bytes += growth.grown;
        self.newest = position;
        self.reason = reason;
        if self.blocks.front().is_some_and(|oldest| self.count - oldest.count >= REMEMBERED) {
            growth.freed = self.forget_block();
            growth.blocks_freed = 1;
        }
        growth
    }

    fn forget_block(&mut self) -> usize {
        let Some(block) = self.blocks.pop_front() else { return 0 };
        self.forgotten = block.last;
        self.count -= block.count;
        let freed = block.bytes();
        self.bytes -= freed;
        if self.blocks.is_empty() {
            self.blocks = VecDeque::new();
        }
        freed
    }

    fn after(&self, position: u64) -> Missed {
        if position >= self.newest {
            return Missed::Nothing;
        }
        if position < self.forgotten {
            return Missed::Unknown;
        }
        let nth = self.blocks.partition_point(|block| block.last <= position);
        Missed::From(self.blocks[nth].first_after(position))
    }

    fn position_of(&self, offset: u64) -> Option<u64> {
        let nth = self.blocks.partition_point(|block| block.end() <= offset);
        self.blocks.get(nth)?.position_of(offset)
    }

    fn has_block(&self, position: u64) -> bool {
        self.blocks.binary_search_by_key(&position, |block| block.first).is_ok()
    }

    fn invariants(&self, floor: u64) {
        assert_eq!(self.bytes, self.blocks.iter().map(Block::bytes).sum::<usize>());
        assert_eq!(self.count, self.blocks.iter().map(|block| block.count).sum::<usize>());
        assert!(self.count < REMEMBERED + BLOCK);
        let mut last = self.forgotten;
        for block in &self.blocks {
            assert!(block.first > last && block.last >= block.first);
            last = block.last;
        }
        assert_eq!(last, self.newest);
        if let Some(block) = self.blocks.back() {
            assert_eq!(block.offset + block.count as u64, floor);
        }
    }
}

impl Block {
    fn push(&mut self, position: u64) -> usize {
        let before = self.deltas.len();
        push_delta(position - self.last, &mut self.deltas);
        self.last = position;
        self.count += 1;
        self.deltas.len() - before
    }

    fn bytes(&self) -> usize {
        BLOCK_BYTES + self.deltas.len()
    }

    /// The offset after its last one.
    fn end(&self) -> u64 {
        self.offset + self.count as u64
    }

    /// The first offset whose position lies after `position`. The block's last one does.
    fn first_after(&self, position: u64) -> u64 {
        let before = self.positions().take_while(|at| *at <= position);
        self.offset + before.count() as u64
    }

    /// The position of an offset before its end.
    fn position_of(&self, offset: u64) -> Option<u64> {
        self.positions().nth(offset.checked_sub(self.offset)? as usize)
    }

    fn positions(&self) -> impl Iterator<Item = u64> {
        let (mut bytes, mut next) = (self.deltas.iter(), Some(self.first));
        std::iter::from_fn(move || {
            let at = next.take()?;
            let (mut delta, mut shift) = (0, 0);
            for byte in bytes.by_ref() {
                delta |= u64::from(byte & 0x7f) << shift;
                shift += 7;
                if byte & 0x80 == 0 {
                    next = Some(at + delta);
                    break;
                }
            }
            Some(at)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn filled(positions: impl IntoIterator<Item = u64>) -> Trimmed {
        let mut trimmed = Trimmed::default();
        for (place, position) in positions.into_iter().enumerate() {
            trimmed.push((place as u64 + 1, position), GapReason::Trimmed, 1);
        }
        trimmed
    }

    #[test]
    fn bounds_are_exact_at_every_edge() {
        let trimmed = filled([5, 6, 400, 1 << 40]);
        let cases =
            [(0, 1), (4, 1), (5, 2), (6, 3), (7, 3), (399, 3), (400, 4), ((1 << 40) - 1, 4)];
        for (position, offset) in cases {
            assert_eq!(trimmed.after(position), Missed::From(offset), "{position}");
            let first = [5, 6, 400, 1 << 40][offset as usize - 1];
            assert_eq!(trimmed.position_of(offset), Some(first), "{offset}");
        }
        assert_eq!((trimmed.position_of(0), trimmed.position_of(5)), (None, None));
        assert_eq!(trimmed.after(1 << 40), Missed::Nothing);
        assert_eq!(Trimmed::default().after(0), Missed::Nothing);
    }

    #[test]
    fn a_forgotten_block_makes_bounds_unknown_but_only_below_it() {
        let mut trimmed = filled((1..=600).map(|place| place * 10));
        assert!(trimmed.has_block(10) && trimmed.has_block(2_570) && !trimmed.has_block(2_560));
        assert_eq!(trimmed.forget_block(), BLOCK_BYTES + 255);
        assert_eq!(trimmed.after(2_559), Missed::Unknown);
        assert_eq!((trimmed.position_of(256), trimmed.position_of(257)), (None, Some(2_570)));
        // 2,560 is where offset 256 stood, the last that is forgotten: it and all before were had.
        assert_eq!(trimmed.after(2_560), Missed::From(257));
        trimmed.forget_block();
        trimmed.forget_block();
        assert_eq!((trimmed.bytes(), trimmed.blocks()), (0, 0));
        assert_eq!(trimmed.after(5_999), Missed::Unknown);
        assert_eq!(trimmed.after(6_000), Missed::Nothing);
        trimmed.push((601, 6_010), GapReason::Expired, 4);
        assert_eq!(trimmed.after(6_000), Missed::From(601));
        assert_eq!(trimmed.reason(), GapReason::Expired);
        trimmed.invariants(602);
    }

    #[test]
    fn a_million_trimmed_messages_cost_a_bounded_and_small_memory() {
        let mut trimmed = Trimmed::default();
        let (mut bytes, mut blocks) = (0, 0);
        for offset in 1..=1_000_000u64 {
            let growth = trimmed.push((offset, offset * 3), GapReason::Trimmed, 1);
            bytes = bytes + growth.grown - growth.freed;
            blocks = blocks + usize::from(growth.block_begun) - growth.blocks_freed;
            assert!(blocks <= REMEMBERED / BLOCK + 1);
        }
        assert_eq!((trimmed.bytes(), trimmed.blocks()), (bytes, blocks));
        // One byte for a delta of 3: 257 blocks at most, of 255 deltas each.
        assert!(bytes <= 257 * (BLOCK_BYTES + 255), "{bytes}");
        assert!(trimmed.0.as_ref().is_some_and(|positions| positions.count >= REMEMBERED));
        trimmed.invariants(1_000_001);
        for offset in (1_000_000 - REMEMBERED as u64 + 1..=1_000_000).step_by(97) {
            assert_eq!(trimmed.after(offset * 3 - 1), Missed::From(offset));
        }
        assert_eq!(trimmed.after(900_000 * 3), Missed::Unknown);
    }

    proptest! {
        #[test]
        fn answers_are_those_of_a_plain_list(
            deltas in prop::collection::vec(
                prop_oneof![1..4u64, 100..300u64, 1..1u64 << 30],
                1..900,
            ),
            asked in prop::collection::vec(any::<prop::sample::Index>(), 20),
            near in 0..3u64,
        ) {
            let positions: Vec<u64> = deltas
                .iter()
                .scan(0, |at, delta| { *at += delta; Some(*at) })
                .collect();
            let trimmed = filled(positions.iter().copied());
            trimmed.invariants(positions.len() as u64 + 1);
            for (nth, position) in positions.iter().enumerate() {
                prop_assert_eq!(trimmed.position_of(nth as u64 + 1), Some(*position));
            }
            for index in asked {
                let position = (*index.get(&positions) + near).saturating_sub(1);
                let expected = match positions.iter().position(|at| *at > position) {
                    Some(place) => Missed::From(place as u64 + 1),
                    None => Missed::Nothing,
                };
                prop_assert_eq!(trimmed.after(position), expected);
            }
        }
    }
}
