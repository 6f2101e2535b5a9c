//! What one shard keeps of one channel: the recent messages, once, and their rendered lanes.
//!
//! The log keeps whatever the channel's history still promises (its *floor*) and, beyond that, the
//! live window: what a connected laggard can still get. The sequencer alone moves the floor.
//! Messages that neither holds are dropped by [`Log::trim`], whose time [`super::overgrown`] knows.

use std::collections::VecDeque;
use std::sync::Arc;

use fanfare_protocol::dialect::Encoding;
use fanfare_protocol::id::Epoch;

use super::lane::{Lane, Scratch};
use super::lanes::Lanes;
use crate::channel::{ChannelId, ChannelName};
use crate::message::Message;
use crate::rule::{Rule, Slow};

/// One channel's log.
#[derive(Debug)]
pub(super) struct Log {
    /// The sequencer's number.
    pub(super) id: ChannelId,
    /// Its name.
    pub(super) name: Arc<ChannelName>,
    rule: Arc<Rule>,
    messages: VecDeque<Arc<Message>>,
    /// Offset of `messages[0]`, or of the next append where there is none.
    first: u64,
    /// First offset that history promises, as far as this shard was told.
    floor: u64,
    cost: usize,
    /// The part of `cost` that lies before the floor.
    loose_cost: usize,
    lanes: Lanes,
}

impl Log {
    /// A log whose next append is message `head + 1`.
    pub(super) fn after(id: ChannelId, name: Arc<ChannelName>, rule: Arc<Rule>, head: u64) -> Self {
        Self {
            id,
            name,
            rule,
            messages: VecDeque::new(),
            first: head + 1,
            // Not told yet. A guess above the true floor could never be lowered, and the log would
            // drop what history promises: an import first of all.
            floor: 1,
            cost: 0,
            loose_cost: 0,
            lanes: Lanes::default(),
        }
    }

    /// First offset that can still be given.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// Offset of the next append.
    pub(super) fn end(&self) -> u64 {
        self.first + self.messages.len() as u64
    }

    /// What becomes of those who want what is not here any more.
    pub(super) fn slow(&self) -> Slow {
        self.rule.slow
    }

    /// Where a cursor that has left the log goes on; `None` where its connection does not.
    pub(super) fn resumes_at(&self) -> Option<u64> {
        match self.rule.slow {
            Slow::Disconnect => None,
            Slow::Window => Some(self.first),
            Slow::Latest => Some(self.first.max(self.end() - 1)), // the newest always stays
        }
    }

    /// Bytes of rendered frames.
    pub(super) fn rendered_bytes(&self) -> usize {
        self.lanes.bytes()
    }

    /// Position of message `offset`; `None` where the log does not hold it.
    pub(super) fn position(&self, offset: u64) -> Option<u64> {
        let nth = offset.checked_sub(self.first)?;
        Some(self.messages.get(usize::try_from(nth).ok()?)?.position)
    }

    /// Offset of the first message after `position`; [`Log::end`] where there is none.
    pub(super) fn after_position(&self, position: u64) -> u64 {
        let until = self.messages.partition_point(|message| message.position <= position);
        self.first + until as u64
    }

    /// Puts messages that end where the log begins before it; empty is nothing.
    pub(super) fn import(&mut self, earlier: &[Arc<Message>]) {
        let Some(last) = earlier.last() else { return };
        assert_eq!(last.offset + 1, self.first, "an import ends where the log begins");
        for message in earlier.iter().rev() {
            self.cost += message.cost();
            self.messages.push_front(Arc::clone(message));
        }
        self.first = earlier[0].offset;
    }

    /// Appends a message and renders it for every lane in use.
    pub(super) fn append(&mut self, message: Arc<Message>, epoch: Epoch, scratch: &mut Scratch) {
        assert_eq!(message.offset, self.end(), "the ring keeps each channel dense");
        for (encoding, lane) in self.lanes.iter_mut() {
            scratch.frame.clear();
            encoding.message(&message.view(epoch), &mut scratch.frame);
            lane.append(scratch);
        }
        self.cost += message.cost();
        let floor = message.floor;
        self.messages.push_back(message);
        self.raise_floor(floor);
    }

    /// History promises nothing before `floor` any more.
    pub(super) fn raise_floor(&mut self, floor: u64) {
        let loose = self.floor.max(self.first)..floor.min(self.end());
        for offset in loose {
            self.loose_cost += self.messages[(offset - self.first) as usize].cost();
        }
        self.floor = self.floor.max(floor);
    }

    /// Whether there is something to drop.
    pub(super) fn is_over(&self) -> bool {
        let window = self.rule.window;
        self.first < self.floor
            && self.messages.len() > 1
            && (self.messages.len() as u64 > window.count || self.cost > window.bytes)
    }

    /// Whether two windows of messages are kept that history does not promise: more than a
    /// connected client can ask for, even while it is not its turn.
    pub(super) fn is_far_over(&self) -> bool {
        let window = self.rule.window;
        let loose = self.floor.min(self.end()).saturating_sub(self.first);
        // One message that is longer than two windows is no reason to wait: it always stays.
        self.is_over()
            && (loose > window.count.saturating_mul(2)
                || self.loose_cost > window.bytes.saturating_mul(2))
    }

    /// Drops what neither history nor the window holds. The newest message always stays.
    pub(super) fn trim(&mut self, scratch: &mut Scratch) {
        while self.is_over() {
            let Some(message) = self.messages.pop_front() else { break };
            self.cost -= message.cost();
            self.loose_cost -= message.cost();
            self.first += 1;
        }
        for (_, lane) in self.lanes.iter_mut() {
            lane.drop_before(self.first, scratch);
        }
    }

    /// The lane of `encoding`, where it is in use.
    pub(super) fn lane(&self, encoding: Encoding) -> Option<&Lane> {
        self.lanes.get(encoding)
    }

    /// One more subscription reads `encoding` from message `next` on: renders what is not yet.
    pub(super) fn add_reader(
        &mut self,
        encoding: Encoding,
        next: u64,
        epoch: Epoch,
        scratch: &mut Scratch,
    ) {
        let from = next.max(self.first).min(self.end());
        let end = self.end();
        let lane = self.lanes.get_or_begin(encoding, end);
        if lane.first() > from {
            let skip = (from - self.first) as usize;
            let take = (lane.first() - from) as usize;
            let mut earlier = Lane::starting_at(from);
            for message in self.messages.iter().skip(skip).take(take) {
                scratch.frame.clear();
                encoding.message(&message.view(epoch), &mut scratch.frame);
                earlier.append(scratch);
            }
            lane.prepend(earlier);
        }
        while lane.end() < end {
            let message = &self.messages[(lane.end() - self.first) as usize];
            scratch.frame.clear();
            encoding.message(&message.view(epoch), &mut scratch.frame);
            lane.append(scratch);
        }
        lane.readers += 1;
    }

    /// One subscription reads `encoding` no more; the last one takes the lane with it.
    pub(super) fn remove_reader(&mut self, encoding: Encoding) {
        self.lanes.remove_reader(encoding);
    }
}

#[cfg(test)]
mod tests {
    use fanfare_protocol::message::Kind;

    use super::*;
    use crate::channel::Tenant;
    use crate::clock::Millis;
    use crate::rule::{History, Pattern, Window};

    /// A log of a channel that keeps much and whose window is two messages.
    fn log_after(head: u64) -> Log {
        let rule = Rule {
            pattern: Pattern::parse("**").unwrap(),
            history: History { count: 100, bytes: 1 << 20, age_ms: 60_000 },
            window: Window { count: 2, bytes: 1 << 20 },
            slow: Slow::Latest,
        };
        Log::after(ChannelId(1), name(), Arc::new(rule), head)
    }

    fn name() -> Arc<ChannelName> {
        Arc::new(ChannelName::new(Tenant::default(), "c"))
    }

    fn message(offset: u64, floor: u64) -> Arc<Message> {
        Arc::new(Message {
            channel: ChannelId(1),
            name: name(),
            position: offset,
            offset,
            floor,
            at: Millis::default(),
            kind: Kind::Text,
            event: None,
            data: b"data"[..].into(),
        })
    }

    fn append(log: &mut Log, message: Arc<Message>) {
        log.append(message, Epoch::from_random(7), &mut Scratch::default());
    }

    #[test]
    fn what_history_promises_stays_although_the_window_is_smaller() {
        let mut log = log_after(10);
        log.import(&(1..=10).map(|offset| message(offset, 1)).collect::<Vec<_>>());
        log.raise_floor(1); // as the reply says that brought the import
        log.trim(&mut Scratch::default());
        assert_eq!((log.first(), log.end()), (1, 11), "an import is kept");
        for offset in 11..=20 {
            append(&mut log, message(offset, 1));
        }
        assert!(!log.is_over());
        log.trim(&mut Scratch::default());
        assert_eq!((log.first(), log.end()), (1, 21), "and so is what comes after it");
        append(&mut log, message(21, 5));
        assert!(log.is_over() && !log.is_far_over(), "four are two windows");
        append(&mut log, message(22, 6));
        assert!(log.is_far_over(), "five are more");
        log.trim(&mut Scratch::default());
        assert_eq!(log.first(), 6, "what history drops goes");
        log.raise_floor(23);
        log.trim(&mut Scratch::default());
        assert_eq!(log.first(), 21, "but for what the window holds");
        assert!(!log.is_over() && !log.is_far_over());
    }

    #[test]
    fn a_log_without_an_import_keeps_what_history_promises() {
        let mut log = log_after(10);
        log.raise_floor(1); // as the reply says to a client that begins with the next message
        for offset in 11..=20 {
            append(&mut log, message(offset, 1));
        }
        log.trim(&mut Scratch::default());
        assert_eq!(log.first(), 11);
        log.import(&(1..=10).map(|offset| message(offset, 1)).collect::<Vec<_>>());
        log.raise_floor(1);
        assert_eq!((log.first(), log.end()), (1, 21));
    }
}
