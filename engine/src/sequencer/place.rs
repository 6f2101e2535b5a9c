//! A message gets its place: position, offset, and what its channel keeps from then on.

use std::sync::Arc;

use fanfare_protocol::id::Id;
use fanfare_protocol::message::GapReason;

use crate::channel::{ChannelId, ChannelName};
use crate::clock::Millis;
use crate::message::{self, Message};

use super::command::{Publication, Published, Refusal};
use super::keys::Seen;
use super::order::Order;

/// Lives that an item of the log ends because their time is over. An item begins one at most, so
/// that they do not pile up; and what it may tell shards is bounded.
const LIVES_ENDED_PER_ITEM: usize = 1;

/// Lives that a heartbeat ends at most: what it tells shards is one entry.
pub(super) const LIVES_PER_HEARTBEAT: usize = 512;
/// Keys that a heartbeat forgets at most.
const KEYS_PER_HEARTBEAT: usize = 1_024;

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
    /// Where its key was used for another message, or its channel has no life and can begin none.
    pub(super) fn place(
        &mut self,
        position: u64,
        at: Millis,
        publication: Publication,
    ) -> Result<Placed, Refusal> {
        debug_assert!(position > self.position, "positions rise along the log");
        self.position = position;
        self.end_lives(at, LIVES_ENDED_PER_ITEM);
        let mark = match self.keys.look(&publication, at) {
            Seen::Never(mark) => mark,
            Seen::Before(published) => return Ok(Placed { published, message: None }),
            Seen::Otherwise => return Err(Refusal::Conflict),
        };
        if publication.ephemeral {
            let placed = self.place_ephemeral(position, at, publication);
            if let Some(mark) = mark {
                self.keys.remember(mark, placed.published, at);
            }
            return Ok(placed);
        }
        let id = self.find_or_begin(&publication.channel, at)?;
        let cost = message::cost(publication.data.len(), publication.event.as_deref());
        let kept = self.make_history_room(id, cost);
        let channel = self.channels.living(id);
        channel.head.offset += 1;
        channel.head.position = position;
        let offset = channel.head.offset;
        let message = Arc::new(Message {
            channel: id,
            name: Arc::clone(&channel.name),
            position,
            offset,
            ephemeral: false,
            except: publication.except,
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
        self.assigned(position ^ offset.rotate_left(32));
        self.heads.used(id, position, at, &mut self.channels);
        let place = Id { epoch: self.epoch, position };
        let published =
            Published { id: place, offset: message.offset, subscribers, duplicate: false };
        if let Some(mark) = mark {
            self.keys.remember(mark, published, at);
        }
        let message = (mask != 0).then_some((mask, message));
        Ok(Placed { published, message })
    }

    /// The log says that it is this time: lives and keys that are over end.
    pub(super) fn pass(&mut self, position: u64, at: Millis) {
        self.position = self.position.max(position);
        self.end_lives(at, LIVES_PER_HEARTBEAT);
        self.keys.expire(at, KEYS_PER_HEARTBEAT);
    }

    /// The record of a channel, whose life begins here where it has none.
    fn find_or_begin(&mut self, name: &ChannelName, at: Millis) -> Result<ChannelId, Refusal> {
        if let Some(id) = self.channels.find(name)
            && self.channels.living(id).has_life()
        {
            return Ok(id);
        }
        if !self.heads.has_room() {
            let least = self.heads.least_used(at, &self.channels);
            self.end_life(least.ok_or(Refusal::ChannelLimit)?);
        }
        let id = self.find_or_make(name);
        self.heads.begin(id, self.position, at, &mut self.channels);
        Ok(id)
    }

    /// A message that nothing keeps goes to whoever follows its channel now, and begins no life.
    fn place_ephemeral(&mut self, position: u64, at: Millis, publication: Publication) -> Placed {
        let id = Id { epoch: self.epoch, position };
        let mut published = Published { id, offset: 0, subscribers: 0, duplicate: false };
        let channel = self.channels.find(&publication.channel);
        let Some(channel) = channel.and_then(|id| self.channels.of(id)) else {
            return Placed { published, message: None };
        };
        let (id, has_life) = (channel.id, channel.has_life());
        published.subscribers = channel.audience.subscribers();
        let mask = channel.audience.mask();
        let message = (mask != 0).then(|| {
            let message = Message {
                channel: channel.id,
                name: Arc::clone(&channel.name),
                position,
                offset: channel.head.offset + 1,
                ephemeral: true,
                except: publication.except,
                floor: channel.floor(),
                at,
                kind: publication.kind,
                event: publication.event,
                data: publication.data,
            };
            (mask, Arc::new(message))
        });
        if has_life {
            // Its life goes on, or it could end before those who follow have this.
            self.heads.used(id, position, at, &mut self.channels);
        }
        Placed { published, message }
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
