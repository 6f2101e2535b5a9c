//! A message gets its place: position, offset, and what its channel keeps from then on. One that is
//! for several channels has one position, and an offset in each of them.

use std::sync::Arc;

use fanfare_protocol::id::Id;
use fanfare_protocol::message::{ChannelReceipt, GapReason, Kind};

use crate::channel::{ChannelId, ChannelName};
use crate::clock::Millis;
use crate::message::{self, Data, Message};
use crate::origin::Origin;
use crate::presence::{self, Presence};

use super::channel::Channel;
use super::command::{Entry, Publication, Published, Refusal};
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
    /// Which shards get it, and what they get; nothing where none does, or where it had its place
    /// already.
    pub(super) told: Option<(u64, Entry)>,
}

/// Where a message stands in one channel, and which shards get it.
type Given = (ChannelReceipt, Option<(u64, Arc<Message>)>);

/// What a message says, in one of its channels.
struct Content {
    position: u64,
    at: Millis,
    nth: u8,
    except: Option<Origin>,
    kind: Kind,
    event: Option<Box<str>>,
    data: Data,
}

impl Content {
    fn message(self, channel: &Channel, offset: u64, floor: u64, ephemeral: bool) -> Message {
        let Self { position, at, nth, except, kind, event, data } = self;
        let (channel, name) = (channel.id, Arc::clone(&channel.name));
        Message {
            channel,
            name,
            position,
            nth,
            offset,
            ephemeral,
            except,
            floor,
            at,
            kind,
            event,
            data,
        }
    }
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
        (self.position, self.at) = (position, at);
        self.end_lives(at, LIVES_ENDED_PER_ITEM);
        let mark = match self.keys.look(&publication, at) {
            Seen::Never(mark) => mark,
            Seen::Before(published) => return Ok(Placed { published, told: None }),
            Seen::Otherwise => return Err(Refusal::Conflict),
        };
        let placed = match publication.also.is_empty() {
            true => self.place_in_one(position, at, publication),
            false => self.place_in_several(position, at, publication),
        }?;
        if let Some(mark) = mark {
            self.keys.remember(mark, placed.published.clone(), at);
        }
        Ok(placed)
    }

    fn place_in_one(
        &mut self,
        position: u64,
        at: Millis,
        publication: Publication,
    ) -> Result<Placed, Refusal> {
        let Publication { channel, kind, event, ephemeral, except, data, .. } = publication;
        let data = Data::Own(data);
        let content = Content { position, at, nth: 0, except, kind, event, data };
        let (place, told) = if ephemeral {
            self.pass_on(&channel, content)
        } else {
            let id = self.find_or_begin(&channel, at)?;
            self.keep(id, content)
        };
        let published = self.published(position, place, None);
        Ok(Placed { published, told: told.map(|(mask, told)| (mask, Entry::Message(told))) })
    }

    /// All of its channels have it at one position, or none has it.
    fn place_in_several(
        &mut self,
        position: u64,
        at: Millis,
        publication: Publication,
    ) -> Result<Placed, Refusal> {
        let Publication { channel, also, kind, event, ephemeral, except, data, .. } = publication;
        let names: Vec<&ChannelName> = std::iter::once(&channel).chain(&also).collect();
        let ids = match ephemeral {
            true => Vec::new(),
            false => self.find_or_begin_all(&names, at)?,
        };
        let data = Arc::new(data);
        let (mut places, mut mask, mut told) = (Vec::with_capacity(names.len()), 0, Vec::new());
        for (nth, name) in names.iter().enumerate() {
            let (event, data) = (event.clone(), Data::Shared(Arc::clone(&data)));
            let content = Content { position, at, nth: nth as u8, except, kind, event, data };
            let (place, message) = match ids.get(nth) {
                None => self.pass_on(name, content),
                Some(id) => self.keep(*id, content),
            };
            places.push(place);
            if let Some((shards, message)) = message {
                mask |= shards;
                told.push(message);
            }
        }
        let published = self.published(position, places.remove(0), Some(Arc::new(places)));
        let told = (mask != 0).then(|| (mask, Entry::Messages(told.into())));
        Ok(Placed { published, told })
    }

    fn published(
        &self,
        position: u64,
        place: ChannelReceipt,
        also: Option<Arc<Vec<ChannelReceipt>>>,
    ) -> Published {
        let ChannelReceipt { offset, subscribers } = place;
        let id = Id { epoch: self.epoch, position };
        Published { id, offset, subscribers, duplicate: false, also }
    }

    /// A channel that has a life gets its next message, and keeps it as its rule says.
    fn keep(&mut self, id: ChannelId, content: Content) -> Given {
        let (position, at) = (content.position, content.at);
        let cost = message::cost(content.data.len(), content.event.as_deref());
        let kept = self.make_history_room(id, cost);
        let channel = self.channels.living(id);
        channel.life.offset += 1;
        channel.life.position = position;
        // The message itself is not in the history yet.
        let floor = channel.floor() - u64::from(kept.is_ok());
        let offset = channel.life.offset;
        let message = Arc::new(content.message(channel, offset, floor, false));
        let (mask, subscribers) = (channel.audience.mask(), channel.audience.subscribers());
        match kept {
            Ok(()) => {
                let rule = channel.rule_number;
                channel.history.push(Arc::clone(&message));
                self.retention.kept(id, rule, &self.channels);
            }
            Err(reason) => {
                self.remember_trimmed(id, offset, position, reason);
                self.fit(0);
            }
        }
        self.assigned(position ^ offset.rotate_left(32));
        self.lives.used(id, position, at, &mut self.channels);
        (ChannelReceipt { offset, subscribers }, (mask != 0).then_some((mask, message)))
    }

    /// A message that nothing keeps goes to whoever follows its channel now, and begins no life.
    fn pass_on(&mut self, name: &ChannelName, content: Content) -> Given {
        let (position, at) = (content.position, content.at);
        let channel = self.channels.find(name).and_then(|id| self.channels.of(id));
        let Some(channel) = channel else { return (ChannelReceipt::default(), None) };
        let (id, has_life) = (channel.id, channel.has_life());
        let (mask, subscribers) = (channel.audience.mask(), channel.audience.subscribers());
        let message = (mask != 0).then(|| {
            let next = channel.life.offset + 1;
            (mask, Arc::new(content.message(channel, next, channel.floor(), true)))
        });
        if has_life {
            // Its life goes on, or it could end before those who follow have this.
            self.save(id);
            self.lives.used(id, position, at, &mut self.channels);
        }
        (ChannelReceipt { offset: 0, subscribers }, message)
    }

    /// A presence event gets its place, and goes to whoever follows its channel now. Beside its
    /// position it changes nothing: no life begins with it or goes on for it, so those who only
    /// come and go keep no channel alive.
    pub(super) fn place_presence(
        &mut self,
        position: u64,
        at: Millis,
        presence: Presence,
    ) -> Option<(u64, Arc<presence::Placed>)> {
        debug_assert!(position > self.position, "positions rise along the log");
        (self.position, self.at) = (position, at);
        let Presence { channel, change, member, info } = presence;
        let channel = self.channels.find(&channel).and_then(|id| self.channels.of(id))?;
        let (mask, name, channel) =
            (channel.audience.mask(), Arc::clone(&channel.name), channel.id);
        let event = presence::Placed { channel, name, position, change, member, info };
        (mask != 0).then(|| (mask, Arc::new(event)))
    }

    /// As [`Order::find_or_begin`], for all of these or for none.
    fn find_or_begin_all(
        &mut self,
        names: &[&ChannelName],
        at: Millis,
    ) -> Result<Vec<ChannelId>, Refusal> {
        let has_life = |id: &ChannelId| self.channels.of(*id).is_some_and(Channel::has_life);
        let found = names.iter().filter_map(|name| self.channels.find(name));
        let living: Vec<ChannelId> = found.filter(has_life).collect();
        let ends = (names.len() - living.len()).saturating_sub(self.lives.room());
        if !self.lives.may_end(ends, &living, at, &self.channels) {
            return Err(Refusal::ChannelLimit);
        }
        // They are used now, so that none of them ends for one of the others.
        for id in living {
            self.save(id);
            self.lives.used(id, self.position, at, &mut self.channels);
        }
        names.iter().map(|name| self.find_or_begin(name, at)).collect()
    }

    /// The log says that it is this time: lives and keys that are over end.
    pub(super) fn pass(&mut self, position: u64, at: Millis) {
        (self.position, self.at) = (self.position.max(position), at);
        self.end_lives(at, LIVES_PER_HEARTBEAT);
        self.keys.expire(at, KEYS_PER_HEARTBEAT);
    }

    /// The record of a channel, whose life begins here where it has none.
    fn find_or_begin(&mut self, name: &ChannelName, at: Millis) -> Result<ChannelId, Refusal> {
        if let Some(id) = self.channels.find(name)
            && self.channels.living(id).has_life()
        {
            self.save(id);
            return Ok(id);
        }
        if self.lives.room() == 0 {
            let least = self.lives.least_used(at, &self.channels);
            self.end_life(least.ok_or(Refusal::ChannelLimit)?);
        }
        let id = self.find_or_make(name);
        self.save(id);
        self.lives.begin(id, self.position, at, &mut self.channels);
        Ok(id)
    }

    /// Drops what must go so that a message of this cost can be kept, or says why it cannot be.
    /// What has expired by now is gone already: each step begins with that.
    /// History is dense up to the last message: what cannot keep the next message keeps none.
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
