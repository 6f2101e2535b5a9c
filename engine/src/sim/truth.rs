//! What really happened: every message in the order of its position, told by the publishers'
//! answers alone, and for clients' messages by the log.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fanfare_protocol::id::{Epoch, Id};
use fanfare_protocol::message::Kind;

pub(crate) use super::fact::{ClientAt, Fact, channel_name, channel_of, number_in};
use super::wire::MessageSaid;
use crate::driver::sim::Chance;
use crate::log::RECORD_ITEMS;
use crate::rule::Slow;

/// All messages, in the order of their positions.
#[derive(Default)]
pub(crate) struct Truth {
    pub(super) facts: Vec<Fact>,
    /// How far the order has come: what was refused had a position too.
    reached: u64,
    /// How many were refused since the last place that is known.
    refused: u64,
    /// Presence events that were ever put into the log.
    presence: u64,
    /// What each channel's rule says of slow clients; the others' say that they are disconnected.
    slow: Vec<Slow>,
    by_number: HashMap<u64, u64>,
    /// Every epoch, and where it began.
    pub(super) epochs: Vec<Id>,
    /// Of each channel its life, and the last offset and position in it.
    lives: HashMap<usize, (u32, u64, u64)>,
}

impl Truth {
    /// Nothing has happened.
    pub(crate) fn new(epoch: Epoch, slow: Vec<Slow>) -> Self {
        Self { slow, epochs: vec![Id { epoch, position: 0 }], ..Self::default() }
    }

    /// Another epoch began, and with it every channel.
    pub(crate) fn begin_epoch(&mut self, id: Id) {
        self.reached(id.position);
        self.epochs.push(id);
    }

    /// The last epoch that began at or before a position.
    pub(super) fn epoch_at(&self, position: u64) -> Id {
        let nth = self.epochs.partition_point(|epoch| epoch.position <= position);
        self.epochs[nth - 1]
    }

    /// How many epochs began after a position.
    pub(super) fn epochs_after(&self, position: u64) -> usize {
        self.epochs.iter().filter(|epoch| epoch.position > position).count()
    }

    /// To which epoch a position belongs.
    pub(crate) fn epoch_of(&self, position: u64) -> Epoch {
        self.epoch_at(position).epoch
    }

    /// Reads an id that a client was shown, and sees that it is true.
    pub(crate) fn position_in(&self, id: &str) -> u64 {
        let id = Id::parse(id.as_bytes()).expect("an id");
        assert_eq!(id.epoch, self.epoch_of(id.position), "{id} is of another epoch");
        id.position
    }

    /// Where some message stands, or nothing before the first.
    pub(super) fn some_position(&self, chance: &mut Chance) -> u64 {
        match self.facts.len() {
            0 => 0,
            count => self.facts[chance.below(count)].position,
        }
    }

    /// The last position.
    pub(crate) fn position(&self) -> u64 {
        self.reached
    }

    /// A message was refused: it stands in the log, and nobody is told where.
    pub(crate) fn refused(&mut self) {
        self.refused += 1;
    }

    /// A presence event was put into the log: it will have a position, and nobody is told which.
    pub(crate) fn presence(&mut self) {
        self.presence += 1;
    }

    /// Whether there were any: they may be all that a log keeps behind a gap.
    pub(super) fn has_presence(&self) -> bool {
        self.presence > 0
    }

    /// The order has come to this position.
    pub(crate) fn reached(&mut self, position: u64) {
        assert!(position >= self.reached, "positions rise");
        (self.reached, self.refused) = (position, 0);
    }

    /// What stands there, in each of its channels.
    pub(super) fn at(&self, position: u64) -> &[Fact] {
        let begin = self.facts.partition_point(|fact| fact.position < position);
        let end = self.facts.partition_point(|fact| fact.position <= position);
        assert!(begin < end, "a message stands there");
        &self.facts[begin..end]
    }

    /// Messages after a position, oldest first.
    pub(super) fn after(&self, position: u64) -> impl Iterator<Item = &Fact> {
        let until = self.facts.partition_point(|fact| fact.position <= position);
        self.facts[until..].iter()
    }

    /// Message `number` of the publishers got this place, in each of its channels.
    pub(crate) fn placed(&mut self, number: u64, facts: Vec<Fact>) {
        let (position, last) = (facts[0].position, self.position());
        let next_record = (last / RECORD_ITEMS + 1) * RECORD_ITEMS;
        let follows = position == next_record || (last > 0 && position == last + 1);
        let untold = self.refused + self.presence;
        let behind_untold = position > last && position <= next_record + untold * RECORD_ITEMS;
        assert!(
            follows || (untold > 0 && behind_untold),
            "{position} is next in the record or begins the next one after {last}"
        );
        self.reached(position);
        facts.into_iter().for_each(|fact| self.stands(fact));
        let before = self.by_number.insert(number, position);
        assert_eq!(before, None, "message {number} has its place once");
    }

    fn stands(&mut self, mut fact: Fact) {
        let position = fact.position;
        let began = self.epoch_at(position).position;
        let life = self.lives.entry(fact.channel).or_default();
        assert!(fact.offset <= 1 || life.2 > began, "an epoch begins with offset 1");
        if fact.offset == 1 {
            life.0 += 1;
        } else if !fact.is_ephemeral() {
            assert_eq!(fact.offset, life.1 + 1, "offsets are dense");
        }
        if !fact.is_ephemeral() {
            (life.1, life.2) = (fact.offset, position);
        }
        fact.life = life.0;
        self.facts.push(fact);
    }

    /// The position of a message and its offset in each of its channels, if it has a place.
    pub(crate) fn place_of(&self, number: u64) -> Option<(u64, Vec<u64>)> {
        let position = *self.by_number.get(&number)?;
        Some((position, self.at(position).iter().map(|fact| fact.offset).collect()))
    }

    /// Says that a message came with another of its channels that a client follows, if it has such.
    pub(super) fn misattribute(&self, said: &mut MessageSaid, followed: &[usize]) {
        let Some(position) = number_in(&said.payload).and_then(|it| self.by_number.get(&it)) else {
            return;
        };
        let is = said.channel.as_deref().map(channel_of);
        let other = self.at(*position).iter().find(|fact| {
            is.is_some() && is != Some(fact.channel) && followed.contains(&fact.channel)
        });
        if let Some(fact) = other {
            said.channel = Some(channel_name(fact.channel));
            said.offset = said.offset.map(|_| fact.offset);
        }
    }

    /// What becomes of slow clients of a channel.
    pub(crate) fn slow(&self, channel: usize) -> Slow {
        self.slow.get(channel).copied().unwrap_or_default()
    }

    /// The life of a channel that has one, and its last offset.
    pub(super) fn head(&self, channel: usize) -> Option<(u32, u64)> {
        self.lives.get(&channel).map(|(life, offset, _)| (*life, *offset))
    }

    /// The offset of the message that is published next, where no life ends for want of use or
    /// room.
    pub(super) fn next_offset(&self, channel: usize) -> u64 {
        let began = self.epoch_at(self.position()).position;
        let last = self.lives.get(&channel).filter(|(_, _, position)| *position > began);
        last.map_or(1, |(_, offset, _)| offset + 1)
    }

    pub(super) fn life(&self, channel: usize) -> u32 {
        self.lives.get(&channel).map_or(0, |life| life.0)
    }

    /// Which message a client was given, checked byte by byte, in each of its channels.
    pub(super) fn find(&self, said: &MessageSaid) -> &[Fact] {
        let decoded = || STANDARD.decode(&said.payload).ok();
        let number = number_in(&said.payload).or_else(|| number_in(&decoded()?));
        let number = number.unwrap_or_else(|| panic!("not a payload of ours: {said:?}"));
        let position = *self.by_number.get(&number).expect("it was published");
        let facts = self.at(position);
        let fact = &facts[0];
        let expected = match (fact.kind, said.channel.is_some(), said.breaks_lost) {
            (Kind::Binary, false, true) => STANDARD.encode(&fact.payload).into_bytes(),
            (Kind::Json, true, _) => {
                serde_json::from_slice::<String>(&fact.payload).unwrap().into_bytes()
            }
            _ => fact.payload.clone(),
        };
        assert!(said.payload == expected, "the payload of {number} is changed");
        facts
    }

    /// What has these offsets in a life of a channel, if all of them were published.
    pub(super) fn whole(
        &self,
        channel: usize,
        life: u32,
        (from, to): (u64, u64),
    ) -> Option<Vec<&Fact>> {
        let its = self.facts.iter().filter(|fact| (fact.channel, fact.life) == (channel, life));
        let its: Vec<_> = its.filter(|fact| (from..=to).contains(&fact.offset)).collect();
        (its.len() as u64 == to - from + 1).then_some(its)
    }
}
