//! How long messages are kept: by age, and by the node's budget.
//!
//! Each channel bounds its own history by count and bytes when it is published to. What must happen
//! to channels that are not is found here without a walk over all of them: every kept message has
//! an entry in the queue of its rule. All messages of a rule grow old at the same pace, so the
//! queue's order is that of expiry; and positions rise along it, so the oldest message of the node
//! is at the front of one of the few queues.
//!
//! **The node's budget** (`limits.history_bytes`) covers messages and the packed positions of
//! trimmed ones. Packed positions get at most an eighth of it; beyond that the oldest block of the
//! node is forgotten. Then, while the whole is over the budget, the oldest message of the node
//! goes. So messages never make way for more than an eighth, and bounds of gaps get lost before
//! messages do.

use fanfare_protocol::message::GapReason;

use crate::channel::ChannelId;
use crate::clock::Millis;
use crate::rule::Rules;

use super::channel::Channel;
use super::lazy::LazyQueue;
use super::order::Order;
use super::table::Channels;

/// Packed positions get at most this share of the budget: one in so many bytes.
const PACKED_SHARE: usize = 8;

/// What all channels keep together, oldest first.
pub(super) struct Retention {
    budget: usize,
    message_bytes: usize,
    packed_bytes: usize,
    /// Messages of each rule, in the order of the rules.
    rules: Vec<Kept>,
    /// Blocks of packed positions, in the order in which they were begun.
    blocks: LazyQueue<(ChannelId, u64)>,
    blocks_live: usize,
    /// Blocks that were begun, ever.
    blocks_begun: u64,
}

struct Kept {
    age_ms: u64,
    queue: LazyQueue<KeptMessage>,
    live: usize,
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

struct KeptMessage {
    channel: ChannelId,
    position: u64,
}

impl Retention {
    pub(super) fn new(budget: usize, rules: &Rules) -> Self {
        let kept = rules.iter().map(|rule| Kept {
            age_ms: rule.history.age_ms,
            queue: LazyQueue::new(),
            live: 0,
        });
        let (rules, blocks) = (kept.collect(), LazyQueue::new());
        let (blocks_live, blocks_begun) = (0, 0);
        let (message_bytes, packed_bytes) = (0, 0);
        Self { budget, message_bytes, packed_bytes, rules, blocks, blocks_live, blocks_begun }
    }

    /// Bytes that are kept, packed positions too.
    pub(super) fn bytes(&self) -> usize {
        self.message_bytes + self.packed_bytes
    }

    /// Messages that are kept.
    pub(super) fn messages(&self) -> usize {
        self.rules.iter().map(|rule| rule.live).sum()
    }

    /// Bytes that the node may keep.
    pub(super) fn budget(&self) -> usize {
        self.budget
    }

    /// A message was put at the end of its channel's history.
    pub(super) fn kept(&mut self, channel: ChannelId, rule: usize, all: &Channels) {
        let Some(message) = all.of(channel).and_then(|channel| channel.history.last()) else {
            return;
        };
        self.message_bytes += message.cost();
        let position = message.position;
        let rule = &mut self.rules[rule];
        rule.live += 1;
        rule.queue.first(|kept| is_kept(all, kept));
        let entry = KeptMessage { channel, position };
        rule.queue.push(entry, rule.live, |kept| is_kept(all, kept));
    }

    /// A channel has a block of packed positions, as a checkpoint says. They come in the order in
    /// which they were begun.
    pub(super) fn restore_block(&mut self, block: &RestoredBlock, all: &Channels) {
        let RestoredBlock { begun, channel, first, bytes } = *block;
        self.packed_bytes += bytes;
        self.blocks_live += 1;
        self.blocks_begun = begun;
        self.blocks.push((channel, first), self.blocks_live, |block| is_block(all, block));
    }

    /// A message left its channel's history.
    fn dropped(&mut self, rule: usize, bytes: usize) {
        self.message_bytes -= bytes;
        self.rules[rule].live -= 1;
    }

    /// Forgets all that a channel kept.
    pub(super) fn forget(&mut self, channel: &mut Channel) {
        let (history, trimmed) =
            (std::mem::take(&mut channel.history), std::mem::take(&mut channel.trimmed));
        self.message_bytes -= history.bytes();
        self.packed_bytes -= trimmed.bytes();
        self.blocks_live -= trimmed.blocks();
        self.rules[channel.rule_number].live -= history.len();
    }

    /// The channel whose front is the node's oldest message.
    fn oldest(&mut self, all: &Channels) -> Option<ChannelId> {
        let fronts = self.rules.iter_mut().filter_map(|rule| {
            let kept = rule.queue.first(|kept| is_kept(all, kept))?;
            Some((kept.position, kept.channel))
        });
        // Of one message in channels of several rules that of the first rule, on every node.
        fronts.min_by_key(|(position, _)| *position).map(|(_, channel)| channel)
    }

    /// The channel whose front expires next, and when.
    pub(super) fn next_expiry(&mut self, all: &Channels) -> Option<(Millis, ChannelId)> {
        let fronts = self.rules.iter_mut().filter_map(|rule| {
            let kept = rule.queue.first(|kept| is_kept(all, kept))?;
            let first = all.of(kept.channel)?.history.first()?;
            Some((first.at.plus(rule.age_ms), first.position, kept.channel))
        });
        let first = fronts.min_by_key(|(due, position, _)| (*due, *position));
        first.map(|(due, _, channel)| (due, channel))
    }

    /// Panics where the sums contradict the channels.
    pub(super) fn invariants(&self, all: &Channels) {
        let sum = |of: fn(&Channel) -> usize| all.iter().map(of).sum::<usize>();
        assert_eq!(self.message_bytes, sum(|channel| channel.history.bytes()));
        assert_eq!(self.packed_bytes, sum(|channel| channel.trimmed.bytes()));
        assert_eq!(self.blocks_live, sum(|channel| channel.trimmed.blocks()));
        assert_eq!(self.messages(), sum(|channel| channel.history.len()));
        assert!(self.bytes() <= self.budget, "{} of {} bytes", self.bytes(), self.budget);
        assert!(self.packed_bytes <= self.budget / PACKED_SHARE);
        self.blocks.invariants(self.blocks_live, |block| is_block(all, block));
        for rule in &self.rules {
            rule.queue.invariants(rule.live, |kept| is_kept(all, kept));
        }
    }
}

fn is_kept(all: &Channels, kept: &KeptMessage) -> bool {
    let first = all.of(kept.channel).and_then(|channel| channel.history.first());
    first.is_some_and(|first| first.position <= kept.position)
}

fn is_block(all: &Channels, (channel, position): &(ChannelId, u64)) -> bool {
    all.of(*channel).is_some_and(|channel| channel.trimmed.has_block(*position))
}

impl Order {
    /// Drops a channel's oldest message; `false` where it keeps none.
    pub(super) fn drop_oldest(&mut self, id: ChannelId, reason: GapReason) -> bool {
        self.save(id);
        let channel = self.channels.living(id);
        let Some(message) = channel.history.pop() else { return false };
        let rule = channel.rule_number;
        self.retention.dropped(rule, message.cost());
        self.remember_trimmed(id, message.offset, message.position, reason);
        true
    }

    /// Packs the position of the next message of a channel that is kept no more.
    pub(super) fn remember_trimmed(
        &mut self,
        id: ChannelId,
        offset: u64,
        position: u64,
        reason: GapReason,
    ) {
        let kept = &mut self.retention;
        let trimmed = &mut self.channels.living(id).trimmed;
        let growth = trimmed.push((offset, position), reason, kept.blocks_begun + 1);
        kept.packed_bytes = kept.packed_bytes + growth.grown - growth.freed;
        kept.blocks_live -= growth.blocks_freed;
        if growth.block_begun {
            kept.blocks_live += 1;
            kept.blocks_begun += 1;
            let all = &self.channels;
            kept.blocks.push((id, position), kept.blocks_live, |block| is_block(all, block));
        }
        self.fit_packed();
    }

    /// Forgets the node's oldest packed positions that go over their share.
    pub(super) fn fit_packed(&mut self) {
        while self.retention.packed_bytes > self.retention.budget / PACKED_SHARE {
            if !self.forget_block() {
                break;
            }
        }
    }

    /// Forgets the node's oldest block of packed positions; `false` where there is none.
    fn forget_block(&mut self) -> bool {
        let (kept, all) = (&mut self.retention, &self.channels);
        let Some((id, _)) = kept.blocks.first(|block| is_block(all, block)).copied() else {
            return false;
        };
        self.save(id);
        let (kept, all) = (&mut self.retention, &mut self.channels);
        kept.blocks.pop();
        kept.packed_bytes -= all.living(id).trimmed.forget_block();
        kept.blocks_live -= 1;
        true
    }

    /// Drops the node's oldest messages until `more` bytes fit the budget, which is at least that.
    pub(super) fn fit(&mut self, more: usize) {
        while self.retention.bytes() + more > self.retention.budget {
            match self.retention.oldest(&self.channels) {
                Some(oldest) => {
                    self.drop_oldest(oldest, GapReason::Trimmed);
                    self.floor_rose(oldest);
                }
                None if self.forget_block() => {}
                None => break,
            }
        }
    }

    /// Drops messages that are older than their rule allows, `max` at most; says how many.
    pub(super) fn expire(&mut self, max: usize) -> usize {
        let mut expired = 0;
        while expired < max {
            match self.retention.next_expiry(&self.channels) {
                Some((due, oldest)) if due <= self.now => {
                    self.drop_oldest(oldest, GapReason::Expired);
                    self.floor_rose(oldest);
                }
                _ => break,
            }
            expired += 1;
        }
        expired
    }

    /// A channel lost messages without a new one: its shards are to be told.
    fn floor_rose(&mut self, id: ChannelId) {
        let channel = self.channels.living(id);
        if channel.audience.mask() != 0 && !channel.floor_untold {
            channel.floor_untold = true;
            self.untold.push_back(id);
        }
    }
}
