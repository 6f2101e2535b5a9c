//! What a client with commands may believe. It is told offsets and a life with each channel that it
//! follows, so nothing of what it gets is open, but while epochs begin.

use std::collections::{BTreeMap, BTreeSet};

use fanfare_protocol::id::Id;

use super::fact::{Fact, channel_name, channel_of};
use super::truth::Truth;
use super::wire::{GapSaid, MessageSaid};
use crate::driver::sim::Chance;
use crate::rule::Slow;

/// Where a channel was asked to begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Begin {
    Now,
    Earliest,
    Last(u64),
    /// After the last offset that it had, in the life that it knew.
    Offset,
    /// After this position.
    After(u64),
}

/// A channel as the answer to a request tells it.
#[derive(Clone, Debug)]
pub(super) struct ChannelTold {
    pub(super) channel: usize,
    /// The offset that comes first.
    pub(super) next: u64,
    pub(super) life: String,
    pub(super) gap: Option<GapSaid>,
}

impl ChannelTold {
    /// A channel, the offset that comes first, its life, and what is missed.
    pub(super) fn read(words: &[&str]) -> Self {
        let [name, next, life, gap] = words else { panic!("four words: {words:?}") };
        let gap = (*gap != "-").then(|| {
            let (bounds, reason) = gap.split_once(':').expect("with its reason");
            let bounds = bounds.split_once('-').map(|(from, to)| {
                (from.parse().expect("an offset"), to.parse().expect("an offset"))
            });
            GapSaid { channel: (*name).into(), bounds, reason: reason.into() }
        });
        let next = next.parse().expect("an offset");
        Self { channel: channel_of(name), next, life: (*life).into(), gap }
    }
}

/// How far it is in a channel.
#[derive(Clone, Debug)]
struct ChannelProgress {
    offset: u64,
    /// The life that it belongs to, as it was told last.
    life: String,
    position: u64,
    /// Where that life was named.
    named: u64,
}

/// A channel that it follows.
#[derive(Clone, Debug)]
struct Followed {
    place: ChannelProgress,
    /// Everything up to here was given or announced.
    covered: u64,
    /// How far the order was when this was asked for, and when it was answered.
    asked_at: u64,
    joined: u64,
    /// What it was told that it does not get: life and offsets.
    missed: Vec<(u32, u64, u64)>,
    /// Where the epoch began that it knows of: not before the one and not after the other, since
    /// more may have begun than a notice has come to tell.
    epoch: (u64, u64),
    /// Whether the notice of an epoch tells of what was lost since, too: until the next message.
    is_open: bool,
}

/// The books of a client.
#[derive(Debug)]
pub(super) struct Follower {
    followed: BTreeMap<usize, Followed>,
    /// How far it was in what it has left, or followed in a session that is lost.
    had: BTreeMap<usize, ChannelProgress>,
    /// Positions of what this session was given, and the last of them.
    given: BTreeSet<u64>,
    last: u64,
    may_forget: bool,
    keeps_all: bool,
}

impl Follower {
    /// It follows nothing. Whether channels may be forgotten, and whether all of them is kept.
    pub(super) fn new(may_forget: bool, keeps_all: bool) -> Self {
        Self {
            followed: BTreeMap::new(),
            had: BTreeMap::new(),
            given: BTreeSet::new(),
            last: 0,
            may_forget,
            keeps_all,
        }
    }

    pub(super) fn follows(&self, channel: usize) -> bool {
        self.followed.contains_key(&channel)
    }

    /// Whether slow clients of a channel that it follows are ended.
    pub(super) fn may_be_ended(&self, truth: &Truth) -> bool {
        self.followed.keys().any(|channel| truth.slow(*channel) == Slow::Disconnect)
    }

    /// Where it may ask to begin in a channel.
    pub(super) fn begin(&self, channel: usize, chance: &mut Chance) -> Begin {
        match (self.had.get(&channel), chance.below(10)) {
            (Some(_), 0..=5) => Begin::Offset,
            (Some(had), 6) => Begin::After(had.position),
            (_, 7) => Begin::Earliest,
            (_, 8) => Begin::Last(1 + chance.below(4) as u64),
            _ => Begin::Now,
        }
    }

    /// How it says so.
    pub(super) fn word(&self, channel: usize, begin: Begin, truth: &Truth) -> String {
        let since = match begin {
            Begin::Now => "now".into(),
            Begin::Earliest => "earliest".into(),
            Begin::Last(count) => format!("last:{count}"),
            Begin::After(position) => Id { epoch: truth.epoch_of(position), position }.to_string(),
            Begin::Offset => {
                let had = self.had.get(&channel).expect("it had some");
                format!("{}:{}", had.offset, had.life)
            }
        };
        format!("{}={since}", channel_name(channel))
    }

    /// It left a channel.
    pub(super) fn left(&mut self, channel: usize) {
        let followed = self.followed.remove(&channel).expect("it was followed");
        self.had.insert(channel, followed.place);
    }

    /// Its session is lost: another one begins with nothing.
    pub(super) fn lost(&mut self) {
        let followed = std::mem::take(&mut self.followed);
        self.had.extend(followed.into_iter().map(|(channel, it)| (channel, it.place)));
        self.given.clear();
        self.last = 0;
    }

    /// It follows a channel, for which it asked when the order was there.
    pub(super) fn answered(
        &mut self,
        told: ChannelTold,
        begin: Begin,
        asked_at: u64,
        truth: &Truth,
    ) {
        let channel = told.channel;
        let named = truth.position_in(&told.life);
        let its = |fact: &&Fact| fact.channel == channel && !fact.is_ephemeral();
        let all = || truth.facts.iter().filter(its);
        let life = all().find(|fact| fact.position >= named).map(|fact| fact.life);
        let of_life = || all().filter(|fact| Some(fact.life) == life);
        let covered = match told.next {
            1 => named.saturating_sub(1),
            next => {
                let last = of_life().find(|fact| fact.offset == next - 1);
                last.unwrap_or_else(|| panic!("it was published: {told:?}")).position
            }
        };
        let from = match begin {
            Begin::Now | Begin::Earliest | Begin::Last(_) => covered,
            Begin::After(position) => position,
            Begin::Offset => self.had[&channel].position,
        };
        self.begins(&told, begin, from, truth);
        let is_missed = |fact: &Fact| match told.gap.as_ref().map(|gap| gap.bounds) {
            None => false,
            Some(None) => true,
            Some(Some((first, last))) => {
                Some(fact.life) == life && (first..=last).contains(&fact.offset)
            }
        };
        for fact in truth.after(from).filter(its).take_while(|fact| fact.position <= covered) {
            assert!(is_missed(fact), "silence: {fact:?} from {begin:?} on, by {told:?}");
        }
        let asked_for = of_life().filter(|fact| fact.offset >= told.next);
        let before = asked_for.clone().filter(|fact| fact.position <= asked_at).count() as u64;
        match begin {
            Begin::Now => assert_eq!(before, 0, "now is not before the question: {told:?}"),
            Begin::Last(count) => {
                assert!(before <= count, "more than it asked for: {told:?}");
                let (now, all) = (asked_for.count() as u64, of_life().count() as u64);
                assert!(!self.keeps_all || now >= count.min(all), "less is kept: {told:?}");
            }
            Begin::Earliest => assert!(!self.keeps_all || told.next == 1, "all is kept: {told:?}"),
            Begin::Offset | Begin::After(_) => {}
        }
        let epoch = truth.epoch_at(named).position;
        let place =
            ChannelProgress { offset: told.next - 1, life: told.life, position: covered, named };
        let joined = truth.position();
        let (missed, epoch, is_open) = (Vec::new(), (epoch, epoch), false);
        let follows = Followed { place, covered, asked_at, joined, missed, epoch, is_open };
        self.had.remove(&channel);
        assert!(self.followed.insert(channel, follows).is_none(), "it follows it once");
    }

    /// What it is told to have missed of what stands after `from` is exact.
    fn begins(&self, told: &ChannelTold, begin: Begin, from: u64, truth: &Truth) {
        let Some(gap) = &told.gap else { return };
        let is_newcomer = matches!(begin, Begin::Now | Begin::Earliest | Begin::Last(_));
        assert!(!is_newcomer, "whoever begins with {begin:?} missed nothing: {told:?}");
        let Some((first, last)) = gap.bounds else {
            // It may have another life's offset, since it is told of none that begins.
            let known = match begin {
                Begin::Offset => from.min(self.had[&told.channel].named),
                _ => from,
            };
            let is_over = truth.epochs_after(known) > 0;
            let is_known = is_over && ["epoch", "unknown"].contains(&&*gap.reason);
            assert!(is_known || self.may_forget, "{told:?}");
            return;
        };
        assert!(["trimmed", "expired"].contains(&&*gap.reason), "{told:?}");
        assert!(!self.keeps_all && first <= last && last + 1 == told.next, "{told:?}");
        let mut later = truth.after(from);
        let missed = later.find(|fact| fact.channel == told.channel && !fact.is_ephemeral());
        assert_eq!(missed.map(|fact| fact.offset), Some(first), "it begins with the first missed");
    }

    /// A message: the right one, once, in order, with nothing left out before it in any channel.
    pub(super) fn message(&mut self, said: &MessageSaid, truth: &Truth) {
        let channel = channel_of(said.channel.as_deref().expect("it is told"));
        let facts = truth.find(said);
        let fact = facts.iter().find(|fact| fact.channel == channel).expect("it is of it");
        let (position, is_ephemeral) = (fact.position, fact.is_ephemeral());
        for twin in facts.iter().take_while(|twin| twin.channel != channel) {
            let first = self.followed.get(&twin.channel);
            let is_first = first.is_some_and(|it| {
                let is_had = it.covered >= position || self.given.contains(&position);
                !(is_had || it.is_excused(twin) || is_ephemeral)
            });
            assert!(!is_first, "it comes with the first of its channels: {facts:?} {first:?}");
        }
        let Some(followed) = self.followed.get(&channel) else { panic!("not followed: {fact:?}") };
        let (covered, joined) = (followed.covered, followed.joined);
        assert!(position > covered, "{fact:?} came after {covered}: {followed:?}");
        let is_late = position <= joined;
        assert!(is_late || position > self.last, "{fact:?} came after {}", self.last);
        assert!(is_late || !self.given.contains(&position), "{fact:?} came twice");
        assert_eq!(said.offset, (!is_ephemeral).then_some(fact.offset), "{fact:?}");
        assert_eq!(said.id.is_some(), !is_ephemeral, "{fact:?}");
        assert!(!is_ephemeral || position > followed.asked_at, "for those who followed then");
        if let Some(id) = &said.id {
            assert_eq!(truth.position_in(id), position);
        }
        self.all_told(position - 1, truth);
        self.given.insert(position);
        self.last = self.last.max(position);
        let followed = self.followed.get_mut(&channel).expect("it is there");
        followed.covered = position;
        // Now it is known which epoch the last notice told of.
        let first = followed.epoch.0.max(truth.epoch_at(position).position);
        (followed.epoch, followed.is_open) = ((first, followed.epoch.1.min(first)), false);
        if !is_ephemeral {
            (followed.place.offset, followed.place.position) = (fact.offset, position);
        }
    }

    /// Everything up to there was given or announced, in all that it follows.
    pub(super) fn all_told(&mut self, to: u64, truth: &Truth) {
        let began = truth.epoch_at(to).position;
        for (channel, followed) in &mut self.followed {
            let covered = followed.covered;
            if to <= covered {
                continue;
            }
            assert!(followed.epoch.1 >= began, "silence: an epoch at {began}: {followed:?}");
            for fact in truth.after(covered).take_while(|fact| fact.position <= to) {
                let is_fine = fact.channel != *channel
                    || followed.is_excused(fact)
                    || self.given.contains(&fact.position);
                assert!(is_fine, "silence: {fact:?} up to {to}: {followed:?}");
            }
            followed.covered = to;
        }
    }

    /// A notice among messages: it was slow, or an epoch began.
    /// In an answer that comes whole it is said of every channel that clients may go on.
    pub(super) fn gap(&mut self, said: &GapSaid, is_whole: bool, truth: &Truth) {
        let channel = channel_of(&said.channel);
        let followed = self.followed.get_mut(&channel);
        let followed = followed.unwrap_or_else(|| panic!("not followed: {said:?}"));
        let stream_stays_open = is_whole || truth.slow(channel) != Slow::Disconnect;
        if said.reason == "epoch" {
            assert_eq!(said.bounds, None, "{said:?}");
            let mut untold = truth.epochs.iter().filter(|it| it.position > followed.epoch.0);
            let first = untold.next().unwrap_or_else(|| panic!("no epoch began: {followed:?}"));
            let last = truth.epoch_at(truth.position()).position;
            (followed.epoch, followed.is_open) = ((first.position, last), stream_stays_open);
            return;
        }
        if is_whole && self.may_forget && said.reason == "unknown" {
            followed.is_open = true; // it was forgotten while the answer was made
            return;
        }
        assert!(said.reason == "slow" && stream_stays_open, "goes on after {said:?}");
        let (first, last) = said.bounds.expect("what is not given is known");
        if followed.is_open || followed.epoch.0 < followed.epoch.1 {
            followed.is_open = true; // of which epoch it speaks is told by what comes next
            return;
        }
        let mut later = truth.after(followed.covered).filter(|fact| fact.channel == channel);
        let missed = later.find(|fact| {
            fact.offset == first
                || !followed.is_excused(fact) && !self.given.contains(&fact.position)
        });
        let missed = missed.unwrap_or_else(|| panic!("a gap of something: {said:?} {followed:?}"));
        assert_eq!(missed.offset, first, "it begins with the first missed: {followed:?}");
        let whole = truth.whole(channel, missed.life, (first, last));
        let whole = whole.unwrap_or_else(|| panic!("all of it was published: {said:?}"));
        let position = whole[whole.len() - 1].position;
        followed.missed.push((missed.life, first, last));
        (followed.place.offset, followed.place.position) = (last, position);
    }
}

impl Followed {
    /// Whether a message of its channel is not owed, or was announced as missed.
    fn is_excused(&self, fact: &Fact) -> bool {
        let is_missed = |(life, first, last): &(u32, u64, u64)| {
            *life == fact.life && (*first..=*last).contains(&fact.offset)
        };
        fact.is_ephemeral()
            || self.is_open
            || fact.position < self.epoch.1
            || self.missed.iter().any(is_missed)
    }
}
