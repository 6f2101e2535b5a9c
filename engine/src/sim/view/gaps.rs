//! What a client may believe of gaps that it is told. A notice says offsets, and they begin again
//! with each life of a channel: where a client stands is not always known, and then a notice may
//! speak of any of several lives, until what comes after it tells which.

use super::{Fact, Start, Truth, View, channel_of};
use crate::sim::wire::GapSaid;

/// A notice of a gap.
#[derive(Debug)]
pub(super) struct Notice {
    pub(super) said: GapSaid,
    /// The lives of its channel that it may speak of, oldest first; none where it has no bounds.
    pub(super) lives: Vec<u32>,
}

impl Notice {
    /// Whether it may be this message, too, that it says is missed.
    pub(super) fn may_tell_of(&self, fact: &Fact) -> bool {
        let within = |(from, to): (u64, u64)| (from..=to).contains(&fact.offset);
        self.said.bounds.is_some_and(within) && self.lives.contains(&fact.life)
    }
}

impl View {
    pub(super) fn told(&mut self, channel: usize, notice: Notice) {
        self.gaps.entry(channel).or_default().push(notice);
    }

    /// A message came, surely of this channel: no notice spoke of it.
    pub(super) fn came(&mut self, fact: &Fact, at: &str, truth: &Truth) {
        for notice in self.gaps.get_mut(&fact.channel).into_iter().flatten() {
            if notice.may_tell_of(fact) {
                notice.lives.retain(|life| *life != fact.life);
                assert!(!notice.lives.is_empty(), "{at} was announced as missed and came");
            }
            // Gaps are told in a channel's order, but for an answer's, which come first.
            let Some(bounds) = notice.said.bounds.filter(|_| !self.listener.is_poll) else {
                continue;
            };
            if notice.lives.len() > 1 {
                let is_before = |life: &u32| {
                    let whole = truth.whole(fact.channel, *life, bounds).unwrap_or_default();
                    whole.last().is_some_and(|last| last.position < fact.position)
                };
                if notice.lives.iter().any(is_before) {
                    notice.lives.retain(is_before);
                }
            }
        }
    }

    /// A notice: exact, and never where nothing is missing. Only one that says `slow` or `size`
    /// comes after anything of its channel.
    pub(crate) fn gap(&mut self, said: GapSaid, truth: &Truth) {
        let channel = channel_of(&said.channel);
        assert!(self.channels.contains(&channel), "a gap of a channel that it does not follow");
        let is_answer = matches!(self.start, Start::Odd(_)) && self.is_new(channel);
        if said.reason == "epoch" && !is_answer {
            return self.epoch_gap(channel, said, truth);
        }
        let lives = match &*said.reason {
            "slow" | "size" => {
                let (from, to) = said.bounds.expect("what is not given of a channel is known");
                assert!(from <= to, "{said:?}");
                match self.unsure(channel, &said, truth) {
                    unsure if !unsure.is_empty() => unsure,
                    _ if said.reason == "slow" => self.slow_gap(channel, &said, truth),
                    _ => self.size_gap(channel, &said, truth),
                }
            }
            _ => self.first_gap(channel, &said, truth),
        };
        self.told(channel, Notice { said, lives });
    }

    /// What was missed before it asked, and is not kept.
    fn first_gap(&self, channel: usize, said: &GapSaid, truth: &Truth) -> Vec<u32> {
        assert!(!self.seen.contains(&channel), "a gap comes before what follows it: {said:?}");
        let is_first = !self.gaps.contains_key(&channel);
        let is_fine = is_first || self.is_forgotten_before_answer(said);
        assert!(is_fine, "two gaps of one channel before anything else: {said:?} {self:?}");
        match (said.bounds, self.start) {
            (Some((from, to)), Start::After(since)) => {
                assert!(from <= to && ["trimmed", "expired"].contains(&&*said.reason), "{said:?}");
                assert!(!self.keeps_all, "{said:?}, but history keeps everything");
                let mut later = truth.after(since);
                let first = later.find(|fact| fact.channel == channel && !fact.is_ephemeral());
                let first = first.expect("a gap of something");
                assert_eq!(first.offset, from, "a gap begins with the first missed");
                vec![first.life]
            }
            (Some(_), start) => panic!("{said:?} for {start:?}"),
            (None, Start::Odd(reason)) => {
                let is_late = said.reason == "epoch" && truth.epochs_after(self.asked_at) > 0;
                let is_forgotten = self.is_forgotten_before_answer(said);
                assert!(is_late || is_forgotten || said.reason == reason, "{said:?} {self:?}");
                Vec::new()
            }
            (None, Start::After(_)) => {
                assert!(self.may_forget, "bounds are known: {said:?}");
                Vec::new()
            }
            (None, start) if self.is_forgotten_unheard(start, said, truth) => Vec::new(),
            (None, start) => panic!("whoever begins with {start:?} missed nothing: {said:?}"),
        }
    }

    /// Whether a channel was forgotten while the answer of a poll waited for its turn, after a gap
    /// of it was known.
    fn is_forgotten_before_answer(&self, said: &GapSaid) -> bool {
        let has_one = self.gaps.contains_key(&channel_of(&said.channel));
        said.reason == "unknown" && self.may_forget && self.listener.is_poll && has_one
    }

    /// Whether all that a newcomer was to have of a channel was forgotten while its poll waited.
    fn is_forgotten_unheard(&self, start: Start, said: &GapSaid, truth: &Truth) -> bool {
        let from = if start == Start::Now { self.asked_at } else { 0 };
        let channel = channel_of(&said.channel);
        let mut its = truth.after(from).filter(|fact| fact.channel == channel);
        let is_due = its.any(|fact| self.is_owed(fact));
        said.reason == "unknown" && self.may_forget && self.listener.is_poll && is_due
    }

    /// Whether it begins anywhere in a channel: it was told that nobody knows what it missed.
    fn begins_anywhere(&self, channel: usize) -> bool {
        let mut gaps = self.gaps.get(&channel).into_iter().flatten();
        let is_open = self.is_newcomer() || gaps.any(|notice| notice.said.bounds.is_none());
        is_open && !self.seen.contains(&channel)
    }

    /// A client was too slow: the notice begins with the first that it is owed, and ends before one
    /// that was published. That this one comes next is seen when it comes: see [`View::message`].
    fn slow_gap(&self, channel: usize, said: &GapSaid, truth: &Truth) -> Vec<u32> {
        let bounds @ (from, _) = said.bounds.expect("it has bounds");
        let lives: Vec<u32> = match self.covered {
            Some(covered) if !self.begins_anywhere(channel) => {
                let mut later =
                    truth.after(covered).filter(|fact| self.could_miss(fact, channel, truth));
                // What it was not to have may have gone with the rest.
                let first = later.find(|fact| fact.offset == from || self.is_owed(fact));
                let first = first.expect("a gap of something");
                assert_eq!(first.offset, from, "a gap begins with the first missed: {self:?}");
                vec![first.life]
            }
            // Where it began is not known exactly: after it asked, and not after it was told so.
            None if self.start == Start::Now => {
                let lives = 1..=truth.life(channel);
                lives.filter(|life| self.may_have_missed(channel, *life, from, truth)).collect()
            }
            _ => (1..=truth.life(channel)).collect(),
        };
        let is_of = |life: &u32| {
            let Some(missed) = truth.whole(channel, *life, bounds) else { return false };
            let end = missed.last().map_or(0, |fact| fact.position);
            let mut later = truth.after(end);
            self.is_tight
                || truth.has_presence()
                || later.any(|fact| (fact.channel, fact.life) == (channel, *life))
        };
        let lives: Vec<u32> = lives.into_iter().filter(is_of).collect();
        assert!(!lives.is_empty(), "published, and something is kept after it: {said:?} {self:?}");
        lives
    }

    /// Whether a client that began after it asked may have missed what has this offset first.
    fn may_have_missed(&self, channel: usize, life: u32, from: u64, truth: &Truth) -> bool {
        let its = |fact: &&Fact| (fact.channel, fact.life) == (channel, life);
        let mut later = truth.after(self.asked_at).filter(its);
        let first = later.find(|fact| !fact.is_ephemeral() && !self.is_of_earlier_epoch(fact));
        // Of what it is sure to be owed, an earlier notice may have told some.
        let mut sure = truth.after(self.subscribed_at.unwrap_or(u64::MAX)).filter(its);
        let sure = sure.find(|fact| self.could_miss(fact, channel, truth) && self.is_owed(fact));
        first.is_some_and(|first| first.offset <= from) && sure.is_none_or(|it| from <= it.offset)
    }

    /// Messages that are longer than a client takes: the notice begins with the first that it is
    /// owed, and all that it speaks of are long.
    fn size_gap(&self, channel: usize, said: &GapSaid, truth: &Truth) -> Vec<u32> {
        let bounds @ (from, _) = said.bounds.expect("it has bounds");
        let max = self.listener.max.expect("it takes everything");
        let is_all_long = |life| {
            let whole = truth.whole(channel, life, bounds);
            whole.is_some_and(|all| all.iter().all(|fact| fact.may_be_longer(max)))
        };
        // One that excludes it is passed over in silence, however long it is.
        let begins =
            |fact: &Fact| fact.offset == from && self.is_owed(fact) && is_all_long(fact.life);
        if self.begins_anywhere(channel) {
            let all = truth.facts.iter().filter(|fact| fact.channel == channel);
            let lives: Vec<u32> = all.filter(|it| begins(it)).map(|fact| fact.life).collect();
            assert!(!lives.is_empty(), "a gap of something that is long: {said:?} {self:?}");
            return lives;
        }
        let known = match (self.covered, self.start) {
            (Some(covered), _) => covered,
            (None, Start::Now) => self.asked_at,
            (None, _) => 0, // from whatever is kept
        };
        // Gaps of a channel are told in its order: a life that is over has no more of them.
        let later = truth.after(known.max(self.last_told(channel, truth)));
        let could_miss = |fact: &Fact| self.could_miss(fact, channel, truth);
        // What may have been told of another of its channels may be told here as well.
        let may_begin = |fact: &Fact| {
            fact.channel == channel && begins(fact) && !self.is_surely_settled(fact, truth)
        };
        // An answer tells its gaps first, whatever stands before them.
        let lives: Vec<u32> = if self.listener.is_poll || self.covered.is_none() {
            later.filter(|fact| may_begin(fact)).map(|fact| fact.life).collect()
        } else {
            // It may be any up to the one that is surely the first.
            let is_first = |fact: &Fact| could_miss(fact) && self.is_owed(fact);
            let is_over = &mut false;
            let until = later.take_while(|fact| !std::mem::replace(is_over, is_first(fact)));
            until.filter(|fact| may_begin(fact)).map(|fact| fact.life).collect()
        };
        assert!(!lives.is_empty(), "a gap begins with the first missed: {said:?} {self:?}");
        lives
    }

    /// Where the last gap of this channel ended that has bounds, in the first life that it may be
    /// of.
    fn last_told(&self, channel: usize, truth: &Truth) -> u64 {
        let mut all = self.gaps.get(&channel).into_iter().flatten().rev();
        let last = all.find_map(|notice| {
            let ((_, to), life) = (notice.said.bounds?, notice.lives.first()?);
            Some((channel, *life, to))
        });
        let ends = |fact: &&Fact| Some((fact.channel, fact.life, fact.offset)) == last;
        truth.facts.iter().find(ends).map_or(0, |fact| fact.position)
    }
}
