//! An order comes back: from a checkpoint, what the log still has of the messages that history
//! kept, and what stands in the log behind the checkpoint.
//!
//! 1. The checkpoint is read ([`Restoring`]), and nothing in it is believed: the first thing that
//!    is wrong ends the reading, and the error names its place.
//! 2. The log is read from [`Replay::from`] on ([`Replay::apply`]). What stands there up to the
//!    checkpoint's place was placed once: it is only given back to the channels that say that they
//!    keep it. What stands behind is placed, by the log's time, as it was before.
//! 3. A sequencer goes on from there ([`super::Sequencer::restored`]).
//!
//! What a checkpoint promises and the log does not have any more is trimmed: its place is known, so
//! the gap is told exactly. Nobody follows anything yet: clients connect and ask again.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use fanfare_protocol::id::{Epoch, Id};
use fanfare_protocol::message::GapReason;
use fanfare_protocol::names;
use fanfare_protocol::record::checkpoint::{self, LifeItem, Positions, Unreadable, Wrong};
use fanfare_protocol::record::{self, Header};

use crate::channel::{ChannelId, ChannelName, Tenant};
use crate::clock::Millis;
use crate::limits::Limits;
use crate::log::{Item, LogEvent};
use crate::message::{Data, Filling, Message};
use crate::rule::Rules;

use super::command::Publication;
use super::order::Order;
use super::packed::RestoredBlock;

/// Messages that expire before an item is applied, at a time.
const EXPIRED_AT_ONCE: usize = 1_024;

/// An order of which the checkpoint is being read.
pub struct Restoring {
    reader: checkpoint::Reader,
    read: Read,
}

/// What was read.
struct Read {
    order: Order,
    /// The channel whose positions come.
    channel: Option<ChannelId>,
    /// Each life, by its last use.
    lives: Vec<(u64, u8, ChannelId)>,
    blocks: Vec<RestoredBlock>,
    missing: Missing,
}

/// Of each channel, which messages it keeps and the log has not given back yet, oldest first: their
/// offsets and positions.
type Missing = HashMap<ChannelId, VecDeque<(u64, u64)>>;

/// An order as its checkpoint says, to which the log is read.
pub struct Replay {
    pub(super) order: Order,
    missing: Missing,
    /// The place of the checkpoint.
    position: u64,
}

impl Restoring {
    /// Nothing was read yet. Limits and rules are those of now: messages that they no longer allow
    /// are trimmed while the log is read, but no life ends because `limits.channels` is lower.
    ///
    /// # Panics
    /// When `shards` is not 1 to 64.
    pub fn new(shards: usize, limits: Limits, rules: Rules) -> Self {
        // Epoch and secret come with the checkpoint.
        let begun = (Epoch::from_random(0), record::Secret([0; 16]));
        let order = Order::new(begun, shards, limits, rules);
        let read = Read {
            order,
            channel: None,
            lives: Vec::new(),
            blocks: Vec::new(),
            missing: Missing::new(),
        };
        Self { reader: checkpoint::Reader::default(), read }
    }

    /// Reads all whole records off the front of `bytes`; what is left is the beginning of the next.
    ///
    /// # Errors
    /// Where something is wrong: the order is then of no use.
    pub fn read(&mut self, bytes: &mut &[u8]) -> Result<(), Unreadable> {
        let read = &mut self.read;
        self.reader.read(bytes, |header, item| read.item(header, &item))
    }

    /// The checkpoint was read, up to what is `left`.
    ///
    /// # Errors
    /// Where it has no end, or something behind it.
    pub fn replay(self, left: &[u8]) -> Result<Replay, Unreadable> {
        self.reader.end(left)?;
        let Read { mut order, mut lives, blocks, missing, .. } = self.read;
        lives.sort_unstable();
        for (_, _, id) in lives {
            order.lives.restore(id, &mut order.channels);
        }
        order.retention.restore_blocks(blocks, &mut order.channels);
        let position = order.applied.position;
        Ok(Replay { order, missing, position })
    }
}

impl Read {
    fn item(&mut self, header: &Header, item: &record::Item<'_>) -> Result<(), Wrong> {
        let order = &mut self.order;
        match *item {
            record::Item::Begin(read) => {
                order.applied.restore(header.epoch, &read);
                order.now = order.applied.at;
                order.keys.begin_anew(read.secret);
            }
            record::Item::Life(life) => self.life(&life)?,
            record::Item::Positions(positions) => self.positions(&positions),
            record::Item::Key(key) => {
                order.keys.restore(&key, Id { epoch: header.epoch, position: key.position });
            }
            record::Item::Time(time) => order.applied.times.restore(&time),
            _ => {}
        }
        Ok(())
    }

    fn life(&mut self, life: &LifeItem<'_>) -> Result<(), Wrong> {
        if !names::is_channel_name(life.name) {
            return Err(Wrong::Channel);
        }
        let name = ChannelName::new(Tenant::of_records(life.tenant), life.name);
        if self.order.channels.find(&name).is_some() {
            return Err(Wrong::Channel);
        }
        let id = self.order.channels.find_or_make(&name);
        let channel = self.order.channels.living(id);
        channel.life.restore(life);
        channel.used_nth = life.used_nth;
        let reason = if life.expired { GapReason::Expired } else { GapReason::Trimmed };
        if life.floor > 1 {
            channel.trimmed.restore(life.forgotten, reason);
        }
        self.lives.push((life.used_at, life.used_nth, id));
        self.channel = Some(id);
        Ok(())
    }

    fn positions(&mut self, positions: &Positions<'_>) {
        // The reader has checked that positions follow their life and fit it.
        let Some(id) = self.channel else { return };
        if positions.begun > 0 {
            let bytes = self.order.channels.living(id).trimmed.restore_block(positions);
            let Positions { begun, first, .. } = *positions;
            self.blocks.push(RestoredBlock { begun, channel: id, first, bytes });
            return;
        }
        let (missing, mut offset) = (self.missing.entry(id).or_default(), positions.offset);
        let _ = positions.walk(|position| {
            missing.push_back((offset, position));
            offset += 1;
        });
    }
}

impl Replay {
    /// The first position of the log that is needed.
    pub fn from(&self) -> u64 {
        let firsts = self.missing.values().filter_map(|missing| missing.front());
        firsts.map(|(_, position)| *position).min().unwrap_or(self.position + 1)
    }

    /// The last position of the log that was applied.
    pub fn position(&self) -> u64 {
        self.order.applied.position
    }

    /// The epoch of the order.
    pub fn epoch(&self) -> Epoch {
        self.order.applied.epoch
    }

    /// Takes the next item of the log; those before [`Self::from`] may be left out. Nobody waits
    /// for an answer any more.
    pub fn apply<T>(&mut self, item: Item<T>) {
        let Item { position, at, event } = item;
        if position <= self.position {
            if let LogEvent::Published { publication, .. } = event {
                self.give_back(position, at, &publication);
            }
            return;
        }
        self.lose_missing();
        let order = &mut self.order;
        order.now = order.now.max(at);
        // As when this item was applied first: each step began by dropping what was too old.
        while order.expire(EXPIRED_AT_ONCE) > 0 {}
        match event {
            LogEvent::Published { publication, .. } => {
                // Its publisher was answered before, or will ask again.
                let _ = order.place(position, at, publication);
            }
            LogEvent::Presence(presence) => drop(order.place_presence(position, at, presence)),
            LogEvent::Heartbeat => order.pass(position, at),
            LogEvent::Genesis { epoch, secret } => {
                order.begin_epoch(Id { epoch, position }, at, secret);
            }
        }
        // Nobody follows yet, so nobody is to be told.
        order.take_ended();
    }

    /// The log was read to its end.
    pub(super) fn end(mut self) -> Order {
        self.lose_missing();
        self.order
    }

    /// A message that was placed before the checkpoint: its channels may keep it.
    fn give_back(&mut self, position: u64, at: Millis, publication: &Publication) {
        let mut data = None;
        for (nth, name) in publication.channels().enumerate() {
            let Some((id, offset)) = self.take_missing(position, name) else { continue };
            let data = data.get_or_insert_with(|| match publication.also.is_empty() {
                true => Data::Own(publication.data.clone()),
                false => Data::Shared(Arc::new(publication.data.clone())),
            });
            let order = &mut self.order;
            let message = Arc::new(Message {
                channel: id,
                name: Arc::clone(&order.channels.living(id).name),
                position,
                nth: nth as u8,
                offset,
                ephemeral: false,
                except: publication.except,
                // The floor when this was new is of no use any more: shards are told the present
                // one.
                floor: 1,
                at,
                kind: publication.kind,
                event: publication.event.clone(),
                data: data.clone(),
                filling: Filling::default(),
            });
            order.retention.give_back(&message, &mut order.channels);
        }
    }

    /// The channel of this name, and the offset, where it keeps the message of this position.
    fn take_missing(&mut self, position: u64, name: &ChannelName) -> Option<(ChannelId, u64)> {
        let id = self.order.channels.find(name)?;
        let missing = self.missing.get_mut(&id)?;
        while let Some(lost) = missing.front().filter(|(_, first)| *first < position).copied() {
            missing.pop_front();
            self.order.retention.lose(id, lost, &mut self.order.channels);
        }
        missing.front().filter(|(_, first)| *first == position)?;
        missing.pop_front().map(|(offset, _)| (id, offset))
    }

    /// All that the log still has was read: what is missing is kept no more.
    fn lose_missing(&mut self) {
        let missing = std::mem::take(&mut self.missing).into_iter();
        let lost = missing.flat_map(|(id, missing)| missing.into_iter().map(move |it| (it, id)));
        let mut lost: Vec<((u64, u64), ChannelId)> = lost.collect();
        lost.sort_unstable_by_key(|((_, position), id)| (*position, *id));
        for (place, id) in lost {
            self.order.retention.lose(id, place, &mut self.order.channels);
        }
    }
}
