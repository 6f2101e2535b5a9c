//! The packed positions of trimmed messages, of all channels together: which block is the oldest,
//! and how much memory they take.

use fanfare_protocol::message::GapReason;

use crate::channel::ChannelId;

use super::lazy::LazyQueue;
use super::table::Channels;
use super::trimmed::Trimmed;

/// All blocks of packed positions of the node.
pub(super) struct Packed {
    bytes: usize,
    /// In the order in which they were begun: the channel, and the block's first position.
    blocks: LazyQueue<(ChannelId, u64)>,
    blocks_live: usize,
    /// Blocks that were begun, ever.
    blocks_begun: u64,
}

/// A block of packed positions that a checkpoint has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RestoredBlock {
    /// Its number.
    pub(super) begun: u64,
    pub(super) channel: ChannelId,
    /// Its first position.
    pub(super) first: u64,
    pub(super) bytes: usize,
}

impl Packed {
    /// None.
    pub(super) fn new() -> Self {
        Self { bytes: 0, blocks: LazyQueue::new(), blocks_live: 0, blocks_begun: 0 }
    }

    /// Bytes that they take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// A channel has a block, as a checkpoint says. They come in the order in which they were
    /// begun.
    pub(super) fn restore_block(&mut self, block: &RestoredBlock, all: &Channels) {
        let RestoredBlock { begun, channel, first, bytes } = *block;
        self.bytes += bytes;
        self.blocks_live += 1;
        self.blocks_begun = begun;
        self.blocks.push((channel, first), self.blocks_live, |block| is_block(all, block));
    }

    /// Packs the position of the next message of a channel that is kept no more.
    pub(super) fn push(
        &mut self,
        id: ChannelId,
        (offset, position): (u64, u64),
        reason: GapReason,
        all: &mut Channels,
    ) {
        let trimmed = &mut all.living(id).trimmed;
        let growth = trimmed.push((offset, position), reason, self.blocks_begun + 1);
        self.bytes = self.bytes + growth.grown - growth.freed;
        self.blocks_live -= growth.blocks_freed;
        if growth.block_begun {
            self.blocks_live += 1;
            self.blocks_begun += 1;
            let is_alive = |block: &(ChannelId, u64)| is_block(all, block);
            self.blocks.push((id, position), self.blocks_live, is_alive);
        }
    }

    /// A channel forgets all of these.
    pub(super) fn forget(&mut self, trimmed: &Trimmed) {
        self.bytes -= trimmed.bytes();
        self.blocks_live -= trimmed.blocks();
    }

    /// Forgets the node's oldest block; `false` where there is none.
    pub(super) fn forget_oldest(&mut self, all: &mut Channels) -> bool {
        let Some((id, _)) = self.blocks.first(|block| is_block(all, block)).copied() else {
            return false;
        };
        self.blocks.pop();
        self.bytes -= all.changing(id).trimmed.forget_block();
        self.blocks_live -= 1;
        true
    }

    /// Panics where the sums contradict the channels.
    pub(super) fn invariants(&self, all: &Channels) {
        assert_eq!(self.bytes, all.iter().map(|channel| channel.trimmed.bytes()).sum::<usize>());
        let blocks = all.iter().map(|channel| channel.trimmed.blocks());
        assert_eq!(self.blocks_live, blocks.sum::<usize>());
        self.blocks.invariants(self.blocks_live, |block| is_block(all, block));
    }
}

fn is_block(all: &Channels, (channel, position): &(ChannelId, u64)) -> bool {
    all.of(*channel).is_some_and(|channel| channel.trimmed.has_block(*position))
}
