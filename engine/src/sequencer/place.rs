//! A message gets its place: position, offset, and what its channel keeps from then on.

use std::sync::Arc;

use fanfare_protocol::id::Id;
use fanfare_protocol::message::GapReason;

use crate::channel::ChannelId;
use crate::clock::Millis;
use crate::message::{self, Message};

use super::command::{Publication, Published, Refusal};
use super::keys::Seen;
use super::order::Order;

/// A message that has its place.
pub(super) struct Placed {
    pub(super) published: Published,
    /// What shards get, and which do; nothing where none does, or where it had its place already.
    pub(super) message: Option<(u64, Arc<Message>)>,
}

impl Order {
    /// Gives what stands in the log at `position`, at the log's time `at`, its offset. Whether it
    /// is a duplicate, and whether it can be placed at all, is decided by what stands before it.
    ///
    /// # Errors
    /// Where its key was used for another message, or its channel has no record and can get none.
    pub(super) fn place(
        &mut self,
        position: u64,
        at: Millis,
        publication: Publication,
    ) -> Result<Placed, Refusal> {
        debug_assert!(position > self.position, "positions rise along the log");
        self.position = position;
        let mark = match self.keys.look(&publication, at) {
            Seen::Never(mark) => mark,
            Seen::Before(published) => return Ok(Placed { published, message: None }),
            Seen::Otherwise => return Err(Refusal::Conflict),
        };
        let id = self.find_or_begin(&publication.channel)?;
        let cost = message::cost(publication.data.len(), publication.event.as_deref());
        let kept = self.make_history_room(id, cost);
        let channel = self.channels.living(id);
        channel.head += 1;
        let message = Arc::new(Message {
            channel: id,
            name: Arc::clone(&channel.name),
            position,
            offset: channel.head,
            ephemeral: false,
            // The message itself is not in the history yet.
            floor: channel.floor() - u64::from(kept.is_ok()),
            at,
            kind: publication.kind,
            event: publication.event,
            data: publication.data,
        });
        let (mask, subscribers) = (channel.audience.mask(), channel.audience.subscribers());
        match kept {
            Ok(()) => {
                let rule = channel.rule_number;
                channel.history.push(Arc::clone(&message));
                self.retention.kept(id, rule, &self.channels);
            }
            Err(reason) => {
                self.remember_trimmed(id, message.offset, message.position, reason);
                self.fit(0);
            }
        }
        self.unfollowed.settle(id, true, self.now, &mut self.channels);
        let place = Id { epoch: self.epoch, position };
        let published =
            Published { id: place, offset: message.offset, subscribers, duplicate: false };
        if let Some(mark) = mark {
            self.keys.remember(mark, published, at);
        }
        let message = (mask != 0).then_some((mask, message));
        Ok(Placed { published, message })
    }

    /// Drops what must go so that a message of this cost can be kept, or says why it cannot be.
    /// What has expired by now is gone already: each step begins with that.
    /// History is dense up to the head: what cannot keep the next message keeps none.
    fn make_history_room(&mut self, id: ChannelId, cost: usize) -> Result<(), GapReason> {
        let rule = self.channels.living(id).rule.history;
        if rule.age_ms == 0 {
            while self.drop_oldest(id, GapReason::Expired) {}
            return Err(GapReason::Expired);
        }
        if rule.count == 0 || cost > rule.bytes || cost > self.retention.budget() {
            while self.drop_oldest(id, GapReason::Trimmed) {}
            return Err(GapReason::Trimmed);
        }
        loop {
            let history = &self.channels.living(id).history;
            if (history.len() as u64) < rule.count && history.bytes() + cost <= rule.bytes {
                break;
            }
            self.drop_oldest(id, GapReason::Trimmed);
        }
        self.fit(cost);
        Ok(())
    }
}
