//! What one connection that only listens may believe of what happened.

mod epochs;
mod gaps;
mod newcomer;

use std::collections::{HashMap, HashSet};

use self::epochs::EpochsTold;
use self::gaps::Notice;
use super::fact::{ClientAt, Fact, channel_of};
use super::truth::Truth;
use super::wire::MessageSaid;

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

/// What one connection, or one poll, was told, and what it may conclude.
#[derive(Debug)]
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
            self.came(fact, &at, truth);
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
            // Where there is no room for more, the answer ends somewhere in what is kept.
            None if self.is_newcomer() && self.is_tight => {}
            None => assert!(id >= self.asked_at),
        }
    }
}
