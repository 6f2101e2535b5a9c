//! What really happened: every message in the order of its position, told by the publishers'
//! answers alone, and what one connection may believe of it.

mod epochs;

use std::collections::{HashMap, HashSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fanfare_protocol::id::{Epoch, Id};
use fanfare_protocol::message::Kind;

use self::epochs::EpochsTold;
pub(crate) use super::fact::{ClientAt, Fact, channel_name, channel_of, number_in};
use super::wire::{GapSaid, MessageSaid};
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
        let behind_refused =
            position > last && position <= next_record + self.refused * RECORD_ITEMS;
        assert!(
            follows || (self.refused > 0 && behind_refused),
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
    /// Notices of each channel, with the life of its record that they speak of.
    gaps: HashMap<usize, Vec<(GapSaid, u32)>>,
    seen: HashSet<usize>,
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
            epochs: HashMap::new(),
            may_forget,
            keeps_all,
            is_tight,
        }
    }

    /// A notice: exact, and never where nothing is missing. Only one that says `slow` or `size`
    /// comes after anything of its channel.
    pub(crate) fn gap(&mut self, said: GapSaid, truth: &Truth) {
        let channel = channel_of(&said.channel);
        assert!(self.channels.contains(&channel), "a gap of a channel that it does not follow");
        if said.reason == "slow" {
            return self.slow_gap(channel, said, truth);
        }
        if said.reason == "size" {
            return self.size_gap(channel, said, truth);
        }
        let is_answer = matches!(self.start, Start::Odd(_)) && self.is_new(channel);
        if said.reason == "epoch" && !is_answer {
            return self.epoch_gap(channel, said, truth);
        }
        assert!(!self.seen.contains(&channel), "a gap comes before what follows it: {said:?}");
        let mut life = truth.life(channel);
        match (said.bounds, self.start) {
            (Some((from, to)), start) => {
                assert!(from <= to);
                match &*said.reason {
                    "trimmed" | "expired" => {
                        assert!(matches!(start, Start::After(_)), "{said:?} for {start:?}");
                        assert!(!self.keeps_all, "{said:?}, but history keeps everything");
                    }
                    other => panic!("exact bounds with reason {other}"),
                }
                if let Start::After(since) = start {
                    let first = self.first_after(since, channel, truth);
                    let (its_life, first) = first.expect("a gap of something");
                    assert_eq!(first, from, "a gap begins with the first missed");
                    life = its_life;
                }
            }
            (None, Start::Odd(reason)) => {
                let is_late = said.reason == "epoch" && truth.epochs_after(self.asked_at) > 0;
                let is_forgotten = self.is_forgotten_before_answer(&said);
                assert!(is_late || is_forgotten || said.reason == reason, "{said:?} {self:?}");
            }
            (None, Start::After(_)) => assert!(self.may_forget, "bounds are known: {said:?}"),
            (None, Start::Now) => panic!("whoever begins now missed nothing: {said:?}"),
        }
        let is_first = !self.gaps.contains_key(&channel);
        let is_fine = is_first || self.is_forgotten_before_answer(&said);
        assert!(is_fine, "two gaps of one channel before anything else: {said:?} {self:?}");
        self.gaps.entry(channel).or_default().push((said, life));
    }

    /// Whether a channel was forgotten while the answer of a poll waited for its turn, after a gap
    /// of it was known.
    fn is_forgotten_before_answer(&self, said: &GapSaid) -> bool {
        let has_one = self.gaps.contains_key(&channel_of(&said.channel));
        said.reason == "unknown" && self.may_forget && self.listener.is_poll && has_one
    }

    /// A client was too slow: the notice begins with the first that it is owed, and ends before one
    /// that was published. That this one comes next is seen when it comes: see [`View::message`].
    fn slow_gap(&mut self, channel: usize, said: GapSaid, truth: &Truth) {
        let (from, to) = said.bounds.expect("what a client was too slow for is known");
        assert!(from <= to, "{said:?}");
        let unsure = self.unsure(channel, &said, truth);
        if !unsure.is_empty() {
            return self.gaps.entry(channel).or_default().extend(unsure);
        }
        let unbounded = |(gap, _): &(GapSaid, u32)| gap.bounds.is_none();
        let untold = self.gaps.get(&channel).is_some_and(|gaps| gaps.iter().any(unbounded))
            && !self.seen.contains(&channel);
        let life = match self.covered {
            Some(covered) if !untold => {
                let mut later =
                    truth.after(covered).filter(|fact| self.could_miss(fact, channel, truth));
                // What it was not to have may have gone with the rest.
                let first = later.find(|fact| fact.offset == from || self.is_owed(fact));
                let first = first.expect("a gap of something");
                assert_eq!(first.offset, from, "a gap begins with the first missed: {self:?}");
                first.life
            }
            // Where it began is not known exactly: after it asked, and not after it was told so.
            None if self.start == Start::Now => {
                let mut later = truth.after(self.asked_at);
                let first = later.find(|fact| {
                    let is_kept = fact.channel == channel && !fact.is_ephemeral();
                    is_kept && !self.is_of_earlier_epoch(fact)
                });
                let first = first.expect("a gap of something");
                let (life, first) = (first.life, first.offset);
                assert!(first <= from, "{said:?} begins before what was published: {first}");
                // Of what it is sure to be owed, an earlier notice may have told some.
                let sure = truth.after(self.subscribed_at.unwrap_or(u64::MAX));
                let mut sure = sure.filter(|fact| self.could_miss(fact, channel, truth));
                let sure = sure.find(|fact| self.is_owed(fact));
                assert!(sure.is_none_or(|it| it.life != life || from <= it.offset), "{said:?}");
                life
            }
            _ => truth.life(channel),
        };
        let mut rest =
            truth.facts.iter().filter(|fact| (fact.channel, fact.life) == (channel, life));
        assert!(rest.any(|fact| fact.offset == to), "it was published: {said:?}");
        assert!(
            rest.next().is_some() || self.is_tight,
            "something is always kept after a gap: {said:?}"
        );
        self.gaps.entry(channel).or_default().push((said, life));
    }

    /// Messages that are longer than a client takes: the notice begins with the first that it is
    /// owed, and all that it speaks of are long.
    fn size_gap(&mut self, channel: usize, said: GapSaid, truth: &Truth) {
        let (from, to) = said.bounds.expect("what is too long is known");
        let max = self.listener.max.expect("it takes everything");
        let unsure = self.unsure(channel, &said, truth);
        if !unsure.is_empty() {
            return self.gaps.entry(channel).or_default().extend(unsure);
        }
        // One that excludes it is passed over in silence, however long it is.
        let ends = |life| {
            let mut all = truth.facts.iter();
            all.any(|fact| (fact.channel, fact.life, fact.offset) == (channel, life, to))
        };
        let begins = |fact: &Fact| {
            let is_long = self.is_owed(fact) && fact.may_be_longer(max);
            fact.offset == from && is_long && ends(fact.life)
        };
        let mut gaps = self.gaps.get(&channel).into_iter().flatten();
        let unbounded = gaps.any(|(gap, _)| gap.bounds.is_none()) && !self.seen.contains(&channel);
        let life = match unbounded {
            // What comes after a gap without bounds begins anywhere.
            true => {
                let mut all = truth.facts.iter().rev().filter(|fact| fact.channel == channel);
                all.find(|fact| begins(fact)).expect("a gap of something").life
            }
            false => {
                let known = match (self.covered, self.start) {
                    (Some(covered), _) => covered,
                    (None, Start::Now) => self.asked_at,
                    (None, _) => 0, // from whatever is kept
                };
                // Gaps of a channel are told in its order: a life that is over has no more of them.
                let known = known.max(self.last_told(channel, truth));
                let later = truth.after(known);
                let mut later = later.filter(|fact| self.could_miss(fact, channel, truth));
                // An answer tells its gaps first, whatever stands before them.
                let any = self.listener.is_poll || self.covered.is_none();
                let first = later.find(|fact| begins(fact) || (!any && self.is_owed(fact)));
                // Where it began is not known, so it may speak of any later life as well.
                let last = later.filter(|fact| begins(fact)).last();
                let first = last.filter(|_| self.covered.is_none()).or(first);
                let first = first.expect("a gap of something");
                assert_eq!(first.offset, from, "a gap begins with the first missed: {self:?}");
                first.life
            }
        };
        let of_gap = |fact: &&Fact| {
            (fact.channel, fact.life) == (channel, life) && (from..=to).contains(&fact.offset)
        };
        let mut count = 0;
        for fact in truth.facts.iter().filter(of_gap) {
            assert!(fact.may_be_longer(max), "{said:?}, but {fact:?} {self:?}");
            count += 1;
        }
        assert_eq!(count, to - from + 1, "everything of the gap was published");
        self.gaps.entry(channel).or_default().push((said, life));
    }

    /// Where the last gap of this channel ended that has bounds; where it may mean several lives
    /// ([`View::unsure`]), in the first.
    fn last_told(&self, channel: usize, truth: &Truth) -> u64 {
        let all = self.gaps.get(&channel).into_iter().flatten().rev();
        let mut all = all.filter_map(|(gap, life)| Some((gap.bounds?, *life))).peekable();
        let Some((last, _)) = all.peek().copied() else { return 0 };
        let lives: Vec<u32> = all.take_while(|it| it.0 == last).map(|it| it.1).collect();
        let ends = |fact: &&Fact| {
            fact.channel == channel && fact.offset == last.1 && lives.contains(&fact.life)
        };
        truth.facts.iter().find(ends).map_or(0, |fact| fact.position)
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

    fn first_after(&self, since: u64, channel: usize, truth: &Truth) -> Option<(u32, u64)> {
        let mut later = truth.after(since);
        let first = later.find(|fact| fact.channel == channel && !fact.is_ephemeral())?;
        Some((first.life, first.offset))
    }

    /// Where delivery begins.
    pub(crate) fn open(&mut self, begin: u64, truth: &Truth) {
        assert!(begin <= truth.position());
        match self.start {
            Start::Now => assert!(begin >= self.asked_at, "now is not before the question"),
            Start::After(since) => {
                assert!(begin >= since);
                self.all_told(since, begin, truth);
            }
            Start::Odd(_) => assert_eq!(self.gaps.len(), self.channels.len(), "a gap for each"),
        }
        self.covered = Some(begin.max(self.covered.unwrap_or(0)));
        self.last = self.last.max(begin);
    }

    /// A message: the right one, once, in order, and nothing left out before it. Returns its
    /// position, if it is one to come back to.
    pub(crate) fn message(&mut self, said: &MessageSaid, truth: &Truth) -> Option<u64> {
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
        for (gap, life) in self.gaps.get(&fact.channel).into_iter().flatten() {
            let within = gap.bounds.is_some_and(|(from, to)| (from..=to).contains(&fact.offset));
            let came = within && *life == fact.life && is_sure;
            assert!(!came, "{at} was announced as missed and came");
        }
        if let Some(told) = self.epochs.get_mut(&fact.channel) {
            // Now it is known which one the last notice told of.
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
            Some(fact.channel) == channel || !(fact.is_ephemeral() || self.is_announced(fact))
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
            if follows && self.is_owed(fact) && !is_told {
                let (position, channel, offset) = (fact.position, fact.channel, fact.offset);
                panic!("silence: {position} (channel {channel}, offset {offset}) {self:?}");
            }
        }
    }

    /// Whether the client was told that it does not get this message: of its channel, or, where it
    /// is too long, of the first that it follows.
    fn is_settled(&self, fact: &Fact, truth: &Truth) -> bool {
        let is_too_long = |twin: &Fact| {
            let mut gaps = self.gaps.get(&twin.channel).into_iter().flatten();
            gaps.any(|(gap, life)| {
                let bounds = gap.bounds.filter(|_| gap.reason == "size" && *life == twin.life);
                bounds.is_some_and(|(from, to)| (from..=to).contains(&twin.offset))
            })
        };
        self.is_told(fact) || truth.at(fact.position).iter().any(is_too_long)
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
        gaps.any(|(gap, life)| match gap.bounds {
            None => !self.seen.contains(&fact.channel),
            Some((from, to)) => *life == fact.life && (from..=to).contains(&fact.offset),
        })
    }

    /// A client that reads has everything by now.
    pub(crate) fn nothing_owed(&self, truth: &Truth) {
        if let Some(from) = self.covered.or(self.subscribed_at) {
            self.all_told(from, truth.position(), truth);
        }
    }

    /// A poll's answer ends here; what follows continues from it.
    pub(crate) fn answered(&mut self, id: u64, truth: &Truth) {
        assert!(id >= self.last, "an answer ends where its last message is");
        match self.covered {
            Some(from) => self.all_told(from, id, truth),
            None if matches!(self.start, Start::Odd(_)) => {
                assert_eq!(self.gaps.len(), self.channels.len(), "a gap for each");
            }
            None => assert!(id >= self.asked_at),
        }
    }
}
