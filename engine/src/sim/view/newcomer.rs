//! What a newcomer is to have who asks for what is kept: all of it, or the last so many of each
//! channel.

use super::{Fact, Start, Truth, View};
use crate::sim::canary::Canary;
use crate::sim::wire::Said;

impl View {
    /// How many messages of each channel it asked for, where it asked for such.
    fn asked_for(&self) -> Option<u64> {
        match self.start {
            Start::Earliest => Some(u64::MAX),
            Start::Last(count) => Some(count),
            _ => None,
        }
    }

    pub(super) fn is_newcomer(&self) -> bool {
        self.asked_for().is_some()
    }

    /// It was told something: it follows.
    pub(super) fn is_placed(&mut self, truth: &Truth) {
        self.placed_by.get_or_insert(truth.position());
    }

    /// It was told that it follows.
    pub(in crate::sim) fn subscribed(&mut self, truth: &Truth) {
        self.subscribed_at = Some(truth.position());
        self.is_placed(truth);
    }

    /// Whether a message may be older than what a newcomer asked for, or than what was kept of its
    /// channel: before the first that comes of that, nothing else says so.
    pub(super) fn may_be_unasked(&self, fact: &Fact) -> bool {
        let is_before = self.placed_by.is_none_or(|placed| fact.position <= placed);
        self.is_newcomer() && is_before && !self.seen.contains(&fact.channel)
    }

    /// A message is the first that surely came of its channel: not one before what it asked for,
    /// and none was left out before it.
    pub(super) fn begins_with(&self, fact: &Fact, truth: &Truth) {
        let Some(count) = self.asked_for() else { return };
        if self.seen.contains(&fact.channel) || fact.is_ephemeral() {
            return;
        }
        if let Some((life, head)) = self.heads_then.get(&fact.channel) {
            let is_asked_for = *life != fact.life || fact.offset.saturating_add(count) > *head;
            assert!(is_asked_for, "more than it asked for, from {fact:?} on: {self:?}");
        }
        self.has_all_kept(fact.channel, fact.position - 1, truth);
    }

    /// Nothing came up to here: nothing was there.
    pub(super) fn begins_in_silence(&self, until: u64, truth: &Truth) {
        if self.is_silent && self.is_newcomer() {
            self.channels.iter().for_each(|channel| self.has_all_kept(*channel, until, truth));
        }
    }

    /// Where everything is kept, all that it asked for and that stands up to here was told. It may
    /// have begun as late as now, which leaves it the last of what there is now.
    fn has_all_kept(&self, channel: usize, until: u64, truth: &Truth) {
        let Some((life, head)) = truth.head(channel).filter(|_| self.keeps_all) else { return };
        let count = self.asked_for().unwrap_or(0);
        // What was kept in an earlier epoch is kept no more.
        let began = truth.epoch_at(truth.position()).position;
        let its =
            |fact: &&Fact| (fact.channel, fact.life) == (channel, life) && fact.position > began;
        for fact in truth.facts.iter().filter(its).take_while(|fact| fact.position <= until) {
            let is_asked_for = fact.offset.saturating_add(count) > head && self.is_owed(fact);
            let may_be_twin =
                |twin: &Fact| twin.channel != fact.channel && self.channels.contains(&twin.channel);
            if truth.at(fact.position).iter().any(may_be_twin) {
                continue; // it may have come with that channel
            }
            let is_told = self.is_announced(fact) || self.is_settled(fact, truth);
            assert!(!is_asked_for || is_told, "not all that is kept came: {fact:?} {self:?}");
        }
    }

    /// Leaves out the first message of a newcomer's answer.
    pub(in crate::sim) fn spoil_beginning(&self, canary: Canary, said: &mut [Said]) {
        let lies = canary == Canary::LoseOldest && self.is_newcomer();
        if let (true, Some(Said::Answer { messages, .. })) = (lies, said.first_mut())
            && !messages.is_empty()
        {
            messages.remove(0);
        }
    }
}
