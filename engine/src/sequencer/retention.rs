//! How long messages are kept: by age, and by the node's budget.
//!
//! Each channel bounds its own history by count and bytes when it is published to. What must happen
//! to channels that are not is found here without a walk over all of them: every kept message has
//! an entry in the queue of its rule's pace. All messages there grow old equally fast, so the
//! queue's order is that of expiry; and positions rise along it, so the oldest message of the node
//! is at the front of one of the few queues.
//!
//! **The node's budget** (`limits.history_bytes`) covers messages and the packed positions of
//! trimmed ones. Packed positions get at most an eighth of it; beyond that the oldest block of the
//! node is forgotten. Then, while the whole is over the budget, the oldest message of the node
//! goes. So messages never make way for more than an eighth, and bounds of gaps get lost before
//! messages do.

use std::collections::VecDeque;
use std::sync::Arc;

use fanfare_protocol::message::GapReason;

use crate::channel::ChannelId;
use crate::clock::Millis;
use crate::message::Message;
use crate::rule::Rules;

use super::channel::Channel;
use super::lazy::LazyQueue;
use super::packed::{Packed, RestoredBlock};
use super::table::Channels;

/// Packed positions get at most this share of the budget: one in so many bytes.
const PACKED_SHARE: usize = 8;

/// What all channels keep together, oldest first.
pub(super) struct Retention {
    budget: usize,
    message_bytes: usize,
    /// Messages by the paces of the rules.
    paces: Vec<Kept>,
    packed: Packed,
    /// Channels whose floor rose without a message, and whose shards have not heard of it.
    untold: VecDeque<ChannelId>,
}

struct Kept {
    age_ms: u64,
    queue: LazyQueue<KeptMessage>,
    live: usize,
}

struct KeptMessage {
    channel: ChannelId,
    position: u64,
}

impl Retention {
    pub(super) fn new(budget: usize, rules: &Rules) -> Self {
        let kept = rules.paces().map(|pace| Kept {
            age_ms: pace.age_ms,
            queue: LazyQueue::new(),
            live: 0,
        });
        let (paces, packed, untold) = (kept.collect(), Packed::new(), VecDeque::new());
        Self { budget, message_bytes: 0, paces, packed, untold }
    }

    /// Bytes that are kept, packed positions too.
    pub(super) fn bytes(&self) -> usize {
        self.message_bytes + self.packed.bytes()
    }

    /// Messages that are kept.
    pub(super) fn messages(&self) -> usize {
        self.paces.iter().map(|pace| pace.live).sum()
    }

    /// Drops what must go so that the next message of a channel, of this cost, can be kept, or says
    /// why it cannot be. What has expired by now is gone already: each step begins with that.
    /// History is dense up to the last message: what cannot keep the next message keeps none.
    pub(super) fn make_room(
        &mut self,
        id: ChannelId,
        cost: usize,
        all: &mut Channels,
    ) -> Result<(), GapReason> {
        let rule = all.living(id).rule.history;
        if rule.age_ms == 0 {
            while self.drop_oldest(id, GapReason::Expired, all) {}
            return Err(GapReason::Expired);
        }
        if rule.count == 0 || cost > rule.bytes || cost > self.budget {
            while self.drop_oldest(id, GapReason::Trimmed, all) {}
            return Err(GapReason::Trimmed);
        }
        loop {
            let history = &all.living(id).history;
            if (history.len() as u64) < rule.count && history.bytes() + cost <= rule.bytes {
                break;
            }
            self.drop_oldest(id, GapReason::Trimmed, all);
        }
        self.fit(cost, all);
        Ok(())
    }

    /// Keeps the next message of its channel, for which there is room.
    pub(super) fn keep(&mut self, message: &Arc<Message>, all: &mut Channels) {
        let channel = all.living(message.channel);
        channel.history.push(Arc::clone(message));
        let pace = &mut self.paces[channel.pace];
        self.message_bytes += message.cost();
        pace.live += 1;
        // Those at its front that are gone are dropped by the next step's look at what expires: to
        // look for each message would fetch an old one from memory.
        let entry = KeptMessage { channel: message.channel, position: message.position };
        pace.queue.push(entry, pace.live, |kept| is_kept(all, kept));
    }

    /// The next message of a channel, which keeps none, is not kept either: its place is.
    pub(super) fn pass_over(
        &mut self,
        id: ChannelId,
        place: (u64, u64),
        reason: GapReason,
        all: &mut Channels,
    ) {
        self.remember_trimmed(id, place, reason, all);
        self.fit(0, all);
    }

    /// Drops messages that are older than their rule allows at this time, `max` at most; says how
    /// many.
    pub(super) fn expire(&mut self, now: Millis, max: usize, all: &mut Channels) -> usize {
        let mut expired = 0;
        while expired < max {
            match self.next_expiring(all) {
                Some((due, oldest)) if due <= now => {
                    self.drop_oldest(oldest, GapReason::Expired, all);
                    self.floor_rose(oldest, all);
                }
                _ => break,
            }
            expired += 1;
        }
        expired
    }

    /// When the next message expires.
    pub(super) fn next_expiry(&mut self, all: &Channels) -> Option<Millis> {
        self.next_expiring(all).map(|(due, _)| due)
    }

    /// Forgets all that a channel kept.
    pub(super) fn forget(&mut self, channel: &mut Channel) {
        let (history, trimmed) =
            (std::mem::take(&mut channel.history), std::mem::take(&mut channel.trimmed));
        self.message_bytes -= history.bytes();
        self.packed.forget(&trimmed);
        self.paces[channel.pace].live -= history.len();
    }

    /// How many channels have a floor that their shards have not heard of.
    pub(super) fn untold(&self) -> usize {
        self.untold.len()
    }

    /// Takes the floors that shards have not heard of, `max` at most, with the shards to tell.
    pub(super) fn take_floors(
        &mut self,
        max: usize,
        all: &mut Channels,
    ) -> (u64, Vec<(ChannelId, u64)>) {
        let (mut mask, mut floors) = (0, Vec::new());
        for id in self.untold.drain(..max.min(self.untold.len())) {
            // A channel that was forgotten meanwhile has no shard left to tell.
            let Some(channel) = all.of_mut(id) else { continue };
            channel.floor_untold = false;
            if channel.audience.mask() != 0 {
                mask |= channel.audience.mask();
                floors.push((id, channel.floor()));
            }
        }
        (mask, floors)
    }

    /// Panics where the sums contradict the channels.
    pub(super) fn invariants(&self, all: &Channels) {
        let sum = |of: fn(&Channel) -> usize| all.iter().map(of).sum::<usize>();
        assert_eq!(self.message_bytes, sum(|channel| channel.history.bytes()));
        assert_eq!(self.messages(), sum(|channel| channel.history.len()));
        assert!(self.bytes() <= self.budget, "{} of {} bytes", self.bytes(), self.budget);
        assert!(self.packed.bytes() <= self.budget / PACKED_SHARE);
        self.packed.invariants(all);
        for pace in &self.paces {
            pace.queue.invariants(pace.live, |kept| is_kept(all, kept));
        }
        for channel in all.iter() {
            assert!(!channel.floor_untold || self.untold.contains(&channel.id));
        }
    }

    /// Drops a channel's oldest message; `false` where it keeps none.
    fn drop_oldest(&mut self, id: ChannelId, reason: GapReason, all: &mut Channels) -> bool {
        let channel = all.changing(id);
        let Some(message) = channel.history.pop() else { return false };
        self.message_bytes -= message.cost();
        self.paces[channel.pace].live -= 1;
        self.remember_trimmed(id, (message.offset, message.position), reason, all);
        true
    }

    /// Packs the position of the next message of a channel that is kept no more.
    fn remember_trimmed(
        &mut self,
        id: ChannelId,
        place: (u64, u64),
        reason: GapReason,
        all: &mut Channels,
    ) {
        self.packed.push(id, place, reason, all);
        self.fit_packed(all);
    }

    /// Forgets the node's oldest packed positions that go over their share.
    fn fit_packed(&mut self, all: &mut Channels) {
        while self.packed.bytes() > self.budget / PACKED_SHARE {
            if !self.packed.forget_oldest(all) {
                break;
            }
        }
    }

    /// Drops the node's oldest messages until `more` bytes fit the budget, which is at least that.
    fn fit(&mut self, more: usize, all: &mut Channels) {
        while self.bytes() + more > self.budget {
            match self.oldest(all) {
                Some(oldest) => {
                    self.drop_oldest(oldest, GapReason::Trimmed, all);
                    self.floor_rose(oldest, all);
                }
                None if self.packed.forget_oldest(all) => {}
                None => break,
            }
        }
    }

    /// The channel whose front is the node's oldest message.
    fn oldest(&mut self, all: &Channels) -> Option<ChannelId> {
        let fronts = self.paces.iter_mut().filter_map(|pace| {
            let kept = pace.queue.first(|kept| is_kept(all, kept))?;
            Some((kept.position, kept.channel))
        });
        // Of one message in channels of several paces that of the first pace, on every node.
        fronts.min_by_key(|(position, _)| *position).map(|(_, channel)| channel)
    }

    /// The channel whose front expires next, and when.
    fn next_expiring(&mut self, all: &Channels) -> Option<(Millis, ChannelId)> {
        let fronts = self.paces.iter_mut().filter_map(|pace| {
            let kept = pace.queue.first(|kept| is_kept(all, kept))?;
            let first = all.of(kept.channel)?.history.first()?;
            Some((first.at.plus(pace.age_ms), first.position, kept.channel))
        });
        let first = fronts.min_by_key(|(due, position, _)| (*due, *position));
        first.map(|(due, _, channel)| (due, channel))
    }

    /// A channel lost messages without a new one: its shards are to be told.
    fn floor_rose(&mut self, id: ChannelId, all: &mut Channels) {
        let channel = all.living(id);
        if channel.audience.mask() != 0 && !channel.floor_untold {
            channel.floor_untold = true;
            self.untold.push_back(id);
        }
    }
}

/// What comes back: from a checkpoint, and from the log.
impl Retention {
    /// Channels have these blocks of packed positions, as a checkpoint says: all that there are.
    pub(super) fn restore_blocks(&mut self, mut blocks: Vec<RestoredBlock>, all: &mut Channels) {
        blocks.sort_unstable();
        blocks.iter().for_each(|block| self.packed.restore_block(block, all));
        self.fit_packed(all);
    }

    /// The log gives back a message that its channel keeps; what rule and budget allow no more goes
    /// for it.
    pub(super) fn give_back(&mut self, message: &Arc<Message>, all: &mut Channels) {
        self.keep(message, all);
        self.fit_rule(message.channel, all);
        self.fit(0, all);
    }

    /// The log does not have this message any more: it is trimmed, and so is what came before it,
    /// because history is dense.
    pub(super) fn lose(&mut self, id: ChannelId, place: (u64, u64), all: &mut Channels) {
        while self.drop_oldest(id, GapReason::Trimmed, all) {}
        self.remember_trimmed(id, place, GapReason::Trimmed, all);
    }

    /// A channel keeps no more than its rule says.
    fn fit_rule(&mut self, id: ChannelId, all: &mut Channels) {
        loop {
            let channel = all.living(id);
            let (rule, history) = (channel.rule.history, &channel.history);
            let fits = history.len() as u64 <= rule.count && history.bytes() <= rule.bytes;
            let reason = match rule.age_ms {
                0 => GapReason::Expired,
                _ if fits => return,
                _ => GapReason::Trimmed,
            };
            if !self.drop_oldest(id, reason, all) {
                return;
            }
        }
    }
}

fn is_kept(all: &Channels, kept: &KeptMessage) -> bool {
    let first = all.of(kept.channel).and_then(|channel| channel.history.first());
    first.is_some_and(|first| first.position <= kept.position)
}
