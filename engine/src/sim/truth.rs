//! What really happened: every message in the order of its position, told by the publishers'
//! answers alone, and what one connection may believe of it.

mod epochs;
mod gaps;
mod newcomer;

use std::collections::{HashMap, HashSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fanfare_protocol::id::{Epoch, Id};
use fanfare_protocol::message::Kind;

use self::epochs::EpochsTold;
use self::gaps::Notice;
pub(crate) use super::fact::{ClientAt, Fact, channel_name, channel_of, number_in};
use super::wire::MessageSaid;
use crate::log::RECORD_ITEMS;
use crate::rule::Slow;

/// All messages, in the order of their positions.
#[derive(Default)]
pub(crate) struct Truth {
    facts: Vec<Fact>,
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
    epochs: Vec<Id>,
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
    fn epoch_at(&self, position: u64) -> Id {
        let nth = self.epochs.partition_point(|epoch| epoch.position <= position);
        self.epochs[nth - 1]
    }

    /// How many epochs began after a position.
    fn epochs_after(&self, position: u64) -> usize {
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
    fn has_presence(&self) -> bool {
        self.presence > 0
    }

    /// The order has come to this position.
    pub(crate) fn reached(&mut self, position: u64) {
        assert!(position >= self.reached, "positions rise");
        (self.reached, self.refused) = (position, 0);
    }

    /// What stands there, in each of its channels.
    fn at(&self, position: u64) -> &[Fact] {
        let begin = self.facts.partition_point(|fact| fact.position < position);
        let end = self.facts.partition_point(|fact| fact.position <= position);
        assert!(begin < end, "a message stands there");
        &self.facts[begin..end]
    }

    /// Messages after a position, oldest first.
    fn after(&self, position: u64) -> impl Iterator<Item = &Fact> {
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
    fn head(&self, channel: usize) -> Option<(u32, u64)> {
        self.lives.get(&channel).map(|(life, offset, _)| (*life, *offset))
    }

    fn life(&self, channel: usize) -> u32 {
        self.lives.get(&channel).map_or(0, |life| life.0)
    }

    /// Which message a client was given, checked byte by byte, in each of its channels.
    fn find(&self, said: &MessageSaid) -> &[Fact] {
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
}

/// What a client is, beside what it follows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listener {
    pub(crate) client: ClientAt,
    pub(crate) is_poll: bool,
    /// The longest message that it takes.
    pub(crate) max: Option<usize>,
}

/// Where a subscription began, as the client asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Start {
    Now,
    After(u64),
    /// With all that is kept.
    Earliest,
    /// With the last so many of each channel that are kept.
    Last(u64),
    /// From a place that means nothing here; every channel owes a gap of this reason.
    Odd(&'static str),
}

#[derive(Debug)]
/// What one connection, or one poll, was told, and what it may conclude.
pub(crate) struct View {
    channels: Vec<usize>,
    listener: Listener,
    start: Start,
    /// Everything that it follows, up to here, was given or announced.
    pub(crate) covered: Option<u64>,
    /// What was published when it saw that it is subscribed.
    pub(crate) subscribed_at: Option<u64>,
    asked_at: u64,
    last: u64,
    /// Notices of each channel.
    gaps: HashMap<usize, Vec<Notice>>,
    seen: HashSet<usize>,
    /// How far the order was when it was first told anything: it follows by then.
    placed_by: Option<u64>,
    /// No message has come.
    is_silent: bool,
    /// Life and last offset of each channel when it asked.
    heads_then: HashMap<usize, (u32, u64)>,
    /// Channels of which it was told that an epoch had begun.
    epochs: HashMap<usize, EpochsTold>,
    /// Whether records of channels may be forgotten, or bounds of gaps lost.
    may_forget: bool,
    /// Whether history keeps everything, so that a gap is a lie.
    keeps_all: bool,
    /// Whether live windows may be given up for want of room.
    is_tight: bool,
}

impl View {
    pub(crate) fn new(
        channels: &[usize],
        listener: Listener,
        start: Start,
        truth: &Truth,
        (may_forget, keeps_all, is_tight): (bool, bool, bool),
    ) -> Self {
        let covered = match start {
            Start::After(position) => Some(position),
            _ => None,
        };
        Self {
            channels: channels.to_vec(),
            listener,
            start,
            covered,
            subscribed_at: None,
            asked_at: truth.position(),
            last: covered.unwrap_or(0),
            gaps: HashMap::new(),
            seen: HashSet::new(),
            placed_by: None,
            is_silent: true,
            heads_then: channels.iter().filter_map(|nth| Some((*nth, truth.head(*nth)?))).collect(),
            epochs: HashMap::new(),
            may_forget,
            keeps_all,
            is_tight,
        }
    }

    /// Whether a message of this channel could be missing, and was not told.
    fn could_miss(&self, fact: &Fact, channel: usize, truth: &Truth) -> bool {
        fact.channel == channel && !fact.is_ephemeral() && !self.is_settled(fact, truth)
    }

    /// Whether a message of its channels is to be given or told: an ephemeral one may be lost, and
    /// one that excludes it is not for it.
    fn is_owed(&self, fact: &Fact) -> bool {
        !fact.is_ephemeral() && fact.except != Some(self.listener.client)
    }

    /// Where delivery begins.
    pub(crate) fn open(&mut self, begin: u64, truth: &Truth) {
        assert!(begin <= truth.position());
        self.is_placed(truth);
        match self.start {
            Start::Now => assert!(begin >= self.asked_at, "now is not before the question"),
            Start::After(since) => {
                assert!(begin >= since);
                self.all_told(since, begin, truth);
            }
            Start::Earliest | Start::Last(_) => {}
            Start::Odd(_) => assert_eq!(self.gaps.len(), self.channels.len(), "a gap for each"),
        }
        self.covered = Some(begin.max(self.covered.unwrap_or(0)));
        self.last = self.last.max(begin);
    }

    /// A message: the right one, once, in order, and nothing left out before it. Returns its
    /// position, if it is one to come back to.
    pub(crate) fn message(&mut self, said: &MessageSaid, truth: &Truth) -> Option<u64> {
        self.is_placed(truth);
        let (fact, is_sure) = self.given(said, truth.find(said));
        let position = fact.position;
        let at = format!("{position} (channel {}, offset {})", fact.channel, fact.offset);
        assert!(self.channels.contains(&fact.channel), "not followed: {at}");
        assert!(position > self.last, "{at} came after {}", self.last);
        if let Some(name) = &said.channel {
            assert_eq!(channel_of(name), fact.channel);
        }
        self.may_have(said, fact, &at);
        if let Some(id) = &said.id {
            assert_eq!(truth.position_in(id), position);
        }
        if self.start == Start::Now {
            assert!(position > self.asked_at, "{at} was published before it asked");
        }
        if let Some(from) = self.covered.or(self.subscribed_at) {
            self.all_told(from, position - 1, truth);
            self.epoch_is_told(from, position, truth);
        }
        if is_sure {
            self.came(fact, &at);
            self.begins_with(fact, truth);
        }
        self.is_silent = false;
        if let Some(told) = self.epochs.get_mut(&fact.channel).filter(|_| is_sure) {
            // Now it is known which one the last notice told of. Where the message may have come
            // with another channel, this one's notice may still speak of what comes after it.
            told.first = told.first.max(truth.epoch_at(position).position);
            told.last = told.last.min(told.first);
            told.is_open = false;
        }
        self.covered = Some(position);
        self.last = position;
        if is_sure {
            self.seen.insert(fact.channel);
        }
        (!fact.is_ephemeral()).then_some(position)
    }

    /// Which of a message's channels it came with: the first that the client follows, but for those
    /// of which it was told that they have lost it. Whether that is sure: where the channel is not
    /// told, it may have come with any of several.
    fn given<'t>(&self, said: &MessageSaid, facts: &'t [Fact]) -> (&'t Fact, bool) {
        let followed = || facts.iter().filter(|fact| self.channels.contains(&fact.channel));
        let channel = said.channel.as_deref().map(channel_of);
        let may_be = |fact: &&Fact| {
            let is_told = self.is_announced(fact) || self.may_be_unasked(fact);
            Some(fact.channel) == channel || !(fact.is_ephemeral() || is_told)
        };
        let first = followed().find(may_be).or(followed().next());
        let first = first.unwrap_or_else(|| panic!("not followed: {said:?}"));
        let is_first = channel.is_none_or(|channel| channel == first.channel);
        assert!(is_first, "it comes with the first of its channels: {said:?} {facts:?}");
        (first, channel.is_some() || followed().count() == 1)
    }

    /// A message is one that this client may have, and has the numbers that it is to have.
    fn may_have(&self, said: &MessageSaid, fact: &Fact, at: &str) {
        let (position, ephemeral) = (fact.position, fact.is_ephemeral());
        if said.channel.is_some() {
            assert_eq!(said.offset, (!ephemeral).then_some(fact.offset), "{at}");
        }
        if said.channel.is_some() || said.breaks_lost {
            assert_eq!(said.id.is_some(), !ephemeral, "{at} has an id unless it is ephemeral");
        }
        assert!(!ephemeral || position > self.asked_at, "{at} was for those who followed then");
        let max = self.listener.max.unwrap_or(usize::MAX);
        assert!(fact.payload.len() <= max, "{at} is longer than it takes");
        assert!(fact.except != Some(self.listener.client), "{at} excludes it");
    }

    /// Everything in `(from, to]` that it follows was announced as missed.
    pub(crate) fn all_told(&self, from: u64, to: u64, truth: &Truth) {
        self.epoch_is_told(from, to, truth);
        for fact in truth.after(from).take_while(|fact| fact.position <= to) {
            let follows = self.channels.contains(&fact.channel);
            let is_told = self.is_announced(fact) || self.is_settled(fact, truth);
            let is_told = is_told || self.may_be_unasked(fact);
            if follows && self.is_owed(fact) && !is_told {
                let (position, channel, offset) = (fact.position, fact.channel, fact.offset);
                panic!("silence: {position} (channel {channel}, offset {offset}) {self:?}");
            }
        }
    }

    /// Whether the client was told that it does not get this message: of its channel, or, where it
    /// is too long, of the first that it follows.
    fn is_settled(&self, fact: &Fact, truth: &Truth) -> bool {
        self.is_told(fact) || self.size_notices(fact, truth).next().is_some()
    }

    /// The same, where no notice may speak of another life of its channel.
    fn is_surely_settled(&self, fact: &Fact, truth: &Truth) -> bool {
        let is_sure = |notice: &Notice| notice.lives.len() == 1;
        self.is_told(fact) || self.size_notices(fact, truth).any(is_sure)
    }

    /// Notices that may say of this message, in any of its channels, that it is too long.
    fn size_notices<'t>(
        &'t self,
        fact: &Fact,
        truth: &'t Truth,
    ) -> impl Iterator<Item = &'t Notice> {
        truth.at(fact.position).iter().flat_map(|twin| {
            let gaps = self.gaps.get(&twin.channel).into_iter().flatten();
            gaps.filter(|notice| notice.said.reason == "size" && notice.may_tell_of(twin))
        })
    }

    fn is_announced(&self, fact: &Fact) -> bool {
        let is_open = self.epochs.get(&fact.channel).is_some_and(|told| told.is_open);
        is_open || self.is_told(fact)
    }

    /// The same by notices that say what they speak of.
    fn is_told(&self, fact: &Fact) -> bool {
        if self.is_of_earlier_epoch(fact) {
            return true;
        }
        let mut gaps = self.gaps.get(&fact.channel).into_iter().flatten();
        gaps.any(|notice| match notice.said.bounds {
            None => !self.seen.contains(&fact.channel),
            Some(_) => notice.may_tell_of(fact),
        })
    }

    /// A client that reads has everything by now.
    pub(crate) fn nothing_owed(&self, truth: &Truth) {
        if let Some(from) = self.covered.or(self.subscribed_at) {
            self.all_told(from, truth.position(), truth);
        }
        self.begins_in_silence(truth.position(), truth);
    }

    /// A poll's answer ends here; what follows continues from it.
    pub(crate) fn answered(&mut self, id: u64, truth: &Truth) {
        assert!(id >= self.last, "an answer ends where its last message is");
        self.begins_in_silence(id, truth);
        match self.covered {
            Some(from) => self.all_told(from, id, truth),
            None if matches!(self.start, Start::Odd(_)) => {
                assert_eq!(self.gaps.len(), self.channels.len(), "a gap for each");
            }
            None => assert!(id >= self.asked_at),
        }
    }
}
