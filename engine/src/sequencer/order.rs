//! The one order of a node: gives each item of the log its place, and decides by nothing but the
//! log what becomes of it. No inbox, no ring, no clock: what shards are to be told is given back.
//!
//! A message gets a position, an offset, and what its channel keeps from then on. One that is for
//! several channels has one position, and an offset in each of them.

use std::sync::Arc;

use fanfare_protocol::id::{Epoch, Id};
use fanfare_protocol::message::{ChannelReceipt, Kind};
use fanfare_protocol::record::Secret;

use crate::channel::{ChannelId, ChannelName};
use crate::clock::Millis;
use crate::limits::Limits;
use crate::message::{self, Data, Filling, Message};
use crate::origin::Origin;
use crate::presence::{self, Presence};
use crate::rule::Rules;

use super::applied::Applied;
use super::channel::Channel;
use super::checkpoint::{Checkpoint, CheckpointMark, Written};
use super::command::{EndedLife, Entry, Publication, Published, Refusal};
use super::followers::Followers;
use super::keys::{Keys, Seen};
use super::lives::Lives;
use super::retention::Retention;
use super::table::Channels;

/// Lives that an item of the log ends because their time is over. An item begins one at most, so
/// that they do not pile up; and what it may tell shards is bounded.
const LIVES_ENDED_PER_ITEM: usize = 1;

/// Lives that a heartbeat ends at most: what it tells shards is one entry.
pub(super) const LIVES_PER_HEARTBEAT: usize = 512;
/// Keys that a heartbeat forgets at most.
const KEYS_PER_HEARTBEAT: usize = 1_024;

/// Everything that is ordered: how far the log was read, channels, what they keep and who follows
/// them.
pub(super) struct Order {
    pub(super) limits: Limits,
    /// The time of this step; never goes back.
    pub(super) now: Millis,
    pub(super) applied: Applied,
    pub(super) channels: Channels,
    pub(super) lives: Lives,
    pub(super) retention: Retention,
    /// What was published under a key of its publisher's.
    pub(super) keys: Keys,
    pub(super) followers: Followers,
    /// Lives of channels that ended in the present piece of work.
    ended: EndedLives,
}

/// Lives that ended and of which shards are still to be told.
#[derive(Debug, Default)]
pub(super) struct EndedLives {
    /// All shards that had an interest in one of the channels.
    pub(super) mask: u64,
    pub(super) lives: Vec<EndedLife>,
}

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
    nth: u8,
    except: Option<Origin>,
    kind: Kind,
    event: Option<Box<str>>,
    data: Data,
}

impl Content {
    /// The message of a channel that has its place at the last position that is applied.
    fn message(
        self,
        applied: &Applied,
        channel: &Channel,
        (offset, floor, ephemeral): (u64, u64, bool),
    ) -> Message {
        let Self { nth, except, kind, event, data } = self;
        let (position, at) = (applied.position, applied.at);
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
            filling: Filling::default(),
        }
    }
}

impl Order {
    pub(super) fn new(
        (epoch, secret): (Epoch, Secret),
        shards: usize,
        limits: Limits,
        rules: Rules,
    ) -> Self {
        Self {
            now: Millis(0),
            applied: Applied::nothing(epoch),
            lives: Lives::new(limits.channels, limits.channel_idle_ms, &rules),
            retention: Retention::new(limits.history_bytes, &rules),
            keys: Keys::new(secret, limits.idempotency_keys, limits.idempotency_age_ms),
            followers: Followers::new(shards, &limits),
            channels: Channels::new(rules),
            ended: EndedLives::default(),
            limits,
        }
    }

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
        self.applied.advance(position, at);
        self.applied.times.note(at, position);
        self.end_lives(LIVES_ENDED_PER_ITEM);
        let mark = match self.keys.look(&publication, at) {
            Seen::Never(mark) => mark,
            Seen::Before(published) => return Ok(Placed { published, told: None }),
            Seen::Otherwise => return Err(Refusal::Conflict),
        };
        let placed = match publication.also.is_empty() {
            true => self.place_in_one(publication),
            false => self.place_in_several(publication),
        }?;
        if let Some(mark) = mark {
            self.keys.remember(mark, placed.published.clone(), at);
        }
        Ok(placed)
    }

    fn place_in_one(&mut self, publication: Publication) -> Result<Placed, Refusal> {
        let Publication { channel, kind, event, ephemeral, except, data, .. } = publication;
        let content = Content { nth: 0, except, kind, event, data: Data::Own(data) };
        let (place, told) = if ephemeral {
            self.pass_on(&channel, content)
        } else {
            let id = self.find_or_begin(&channel)?;
            self.keep(id, content)
        };
        let published = self.published(place, None);
        Ok(Placed { published, told: told.map(|(mask, told)| (mask, Entry::Message(told))) })
    }

    /// All of its channels have it at one position, or none has it.
    fn place_in_several(&mut self, publication: Publication) -> Result<Placed, Refusal> {
        let Publication { channel, also, kind, event, ephemeral, except, data, .. } = publication;
        let names: Vec<&ChannelName> = std::iter::once(&channel).chain(&also).collect();
        let ids = match ephemeral {
            true => Vec::new(),
            false => self.find_or_begin_all(&names)?,
        };
        let data = Arc::new(data);
        let (mut places, mut mask, mut told) = (Vec::with_capacity(names.len()), 0, Vec::new());
        for (nth, name) in names.iter().enumerate() {
            let (event, data) = (event.clone(), Data::Shared(Arc::clone(&data)));
            let content = Content { nth: nth as u8, except, kind, event, data };
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
        let published = self.published(places.remove(0), Some(Arc::new(places)));
        let told = (mask != 0).then(|| (mask, Entry::Messages(told.into())));
        Ok(Placed { published, told })
    }

    fn published(
        &self,
        place: ChannelReceipt,
        also: Option<Arc<Vec<ChannelReceipt>>>,
    ) -> Published {
        let ChannelReceipt { offset, subscribers } = place;
        Published { id: self.applied.id(), offset, subscribers, duplicate: false, also }
    }

    /// A channel that has a life gets its next message, and keeps it as its rule says.
    fn keep(&mut self, id: ChannelId, content: Content) -> Given {
        let position = self.applied.position;
        let cost = message::cost(content.data.len(), content.event.as_deref());
        let kept = self.retention.make_room(id, cost, &mut self.channels);
        let channel = self.channels.changing(id);
        channel.life.offset += 1;
        channel.life.position = position;
        // The message itself is not in the history yet.
        let floor = channel.floor() - u64::from(kept.is_ok());
        let offset = channel.life.offset;
        let message = Arc::new(content.message(&self.applied, channel, (offset, floor, false)));
        let (mask, subscribers) = (channel.audience.mask(), channel.audience.subscribers());
        match kept {
            Ok(()) => self.retention.keep(&message, &mut self.channels),
            Err(reason) => {
                self.retention.pass_over(id, (offset, position), reason, &mut self.channels);
            }
        }
        self.applied.note_assigned(position ^ offset.rotate_left(32));
        self.lives.used(id, &self.applied, &mut self.channels);
        (ChannelReceipt { offset, subscribers }, (mask != 0).then_some((mask, message)))
    }

    /// A message that nothing keeps goes to whoever follows its channel now, and begins no life.
    fn pass_on(&mut self, name: &ChannelName, content: Content) -> Given {
        let Some(channel) = self.channels.named(name) else {
            return (ChannelReceipt::default(), None);
        };
        let (id, has_life) = (channel.id, channel.has_life());
        let (mask, subscribers) = (channel.audience.mask(), channel.audience.subscribers());
        let message = (mask != 0).then(|| {
            let numbers = (channel.life.offset + 1, channel.floor(), true);
            (mask, Arc::new(content.message(&self.applied, channel, numbers)))
        });
        if has_life {
            // Its life goes on, or it could end before those who follow have this.
            self.lives.used(id, &self.applied, &mut self.channels);
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
    ) -> Option<(u64, Arc<presence::PlacedPresence>)> {
        self.applied.advance(position, at);
        let Presence { channel, change, member, info } = presence;
        let channel = self.channels.named(&channel)?;
        let (mask, name, channel) =
            (channel.audience.mask(), Arc::clone(&channel.name), channel.id);
        let event = presence::PlacedPresence { channel, name, position, change, member, info };
        (mask != 0).then(|| (mask, Arc::new(event)))
    }

    /// The log says that it is this time: lives and keys that are over end.
    pub(super) fn pass(&mut self, position: u64, at: Millis) {
        self.applied.advance_time(position, at);
        self.end_lives(LIVES_PER_HEARTBEAT);
        self.keys.expire(at, KEYS_PER_HEARTBEAT);
    }

    /// Another epoch begins here: every life ends, and every key is free again. Returns the lives
    /// of which shards are to be told. This is the one piece of work that has no bound but the
    /// number of channels: nothing may be placed before all of it is done.
    pub(super) fn begin_epoch(&mut self, id: Id, at: Millis, secret: Secret) -> Box<[EndedLife]> {
        debug_assert!(self.ended.lives.is_empty(), "of lives that ended before shards were told");
        // A checkpoint of what ends here would be of little use, and each life would be written.
        self.channels.give_up_checkpoint();
        let lives = self.channels.iter().filter(|channel| channel.has_life());
        let lives: Vec<ChannelId> = lives.map(|channel| channel.id).collect();
        lives.into_iter().for_each(|id| self.end_life(id));
        self.keys.begin_anew(secret);
        self.applied.begin_epoch(id, at);
        self.take_ended().unwrap_or_default().lives.into()
    }

    /// Takes the lives that ended, of which shards are to be told; nearly always there are none.
    pub(super) fn take_ended(&mut self) -> Option<EndedLives> {
        (!self.ended.lives.is_empty()).then(|| std::mem::take(&mut self.ended))
    }

    /// The record of a channel, whose life begins here where it has none.
    fn find_or_begin(&mut self, name: &ChannelName) -> Result<ChannelId, Refusal> {
        if let Some(id) = self.channels.find_again(name)
            && self.channels.living(id).has_life()
        {
            return Ok(id);
        }
        if self.lives.room() == 0 {
            let least = self.lives.least_used(self.applied.at, &self.channels);
            self.end_life(least.ok_or(Refusal::ChannelLimit)?);
        }
        let id = self.channels.find_or_make(name);
        self.lives.begin(id, &self.applied, &mut self.channels);
        Ok(id)
    }

    /// As [`Order::find_or_begin`], for all of these or for none.
    fn find_or_begin_all(&mut self, names: &[&ChannelName]) -> Result<Vec<ChannelId>, Refusal> {
        let has_life = |id: &ChannelId| self.channels.of(*id).is_some_and(Channel::has_life);
        let found = names.iter().filter_map(|name| self.channels.find(name));
        let living: Vec<ChannelId> = found.filter(has_life).collect();
        let ends = (names.len() - living.len()).saturating_sub(self.lives.room());
        if !self.lives.may_end(ends, &living, self.applied.at, &self.channels) {
            return Err(Refusal::ChannelLimit);
        }
        // They are used now, so that none of them ends for one of the others.
        for id in living {
            self.lives.used(id, &self.applied, &mut self.channels);
        }
        names.iter().map(|name| self.find_or_begin(name)).collect()
    }

    /// Ends lives that are over by the log's time, `max` at most.
    fn end_lives(&mut self, max: usize) {
        for _ in 0..max {
            let Some(id) = self.lives.over(self.applied.at, &self.channels) else { break };
            self.end_life(id);
        }
    }

    /// Ends the life of a channel, with all that is kept of it. Shards that are interested are to
    /// be told in the ring, before anything else is.
    fn end_life(&mut self, id: ChannelId) {
        self.lives.end(id, &mut self.applied, &mut self.channels);
        let channel = self.channels.living(id);
        self.retention.forget(channel);
        let mask = channel.audience.mask();
        self.followers.end_life(channel);
        if mask != 0 {
            let followed = channel.audience.mask();
            self.ended.mask |= mask;
            self.ended.lives.push(EndedLife { channel: id, followed });
        }
        self.channels.drop_unused(id);
    }

    /// Drops messages that are too old by this node's time, `max` at most; says how many.
    pub(super) fn expire(&mut self, max: usize) -> usize {
        self.retention.expire(self.now, max, &mut self.channels)
    }

    /// When the next upkeep is due, as far as time alone makes it so; and, where it is to be asked
    /// for, that of the log.
    pub(super) fn next_due(&mut self, of_log: bool) -> Option<Millis> {
        let expiry = self.retention.next_expiry(&self.channels);
        let interest = self.followers.next_due(&self.channels);
        let by_log = self.next_end().filter(|_| of_log);
        [expiry, interest, by_log].into_iter().flatten().min()
    }

    /// When the next life or key ends, by the log's time.
    pub(super) fn next_end(&self) -> Option<Millis> {
        [self.lives.next_end(), self.keys.next_expiry()].into_iter().flatten().min()
    }

    /// Begins a checkpoint of what is known now. One that is being written is given up.
    pub(super) fn begin_checkpoint(&mut self, mark: CheckpointMark) {
        self.keys.begin_saving();
        let (applied, secret) = (&self.applied, self.keys.secret());
        self.channels.begin_checkpoint(|number, places| {
            Checkpoint::new((number, places), mark, applied, secret)
        });
    }

    /// Writes on at the checkpoint that was begun, about so many units of work, and appends whole
    /// records to `out`.
    pub(super) fn write_checkpoint(&mut self, units: usize, out: &mut Vec<u8>) -> Written {
        self.channels.write_checkpoint(units, &mut self.keys, out)
    }

    /// Panics where any structure contradicts itself or another.
    pub(super) fn invariants(&self) {
        let all = &self.channels;
        assert!(self.ended.lives.is_empty(), "the ends of lives were told");
        assert!(self.applied.watermark <= self.applied.position);
        for channel in all.iter() {
            channel.invariants();
            assert_eq!(all.find(&channel.name), Some(channel.id));
            assert!(channel.life.unknown_before <= self.applied.watermark);
            assert!(channel.life.position <= self.applied.position);
        }
        self.followers.invariants(all);
        self.lives.invariants(all);
        self.retention.invariants(all);
        self.keys.invariants();
    }
}
