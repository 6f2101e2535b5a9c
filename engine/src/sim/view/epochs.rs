//! What a client may believe of epochs that began while it followed.

use super::{Fact, Notice, Start, Truth, View};
use crate::rule::Slow;
use crate::sim::wire::GapSaid;

/// Epochs of which a client was told in one channel.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct EpochsTold {
    /// How many notices there were.
    pub(super) count: usize,
    /// Where the epoch began that the last one tells of: not before the first and not after the
    /// last of these, since more may have begun than it has come to hear of. What was published
    /// before it had, or will not get.
    pub(super) first: u64,
    pub(super) last: u64,
    /// Whether it tells of what was lost since, too: until the next message, where the channel's
    /// rule lets slow clients go on.
    pub(super) is_open: bool,
}

impl View {
    /// Whether nothing was told of a channel.
    pub(super) fn is_new(&self, channel: usize) -> bool {
        !self.seen.contains(&channel) && !self.gaps.contains_key(&channel)
    }

    /// An epoch began after it asked, or after where it came from, and is told once.
    pub(super) fn epoch_gap(&mut self, channel: usize, said: GapSaid, truth: &Truth) {
        assert_eq!(said.bounds, None, "{said:?}");
        let from = match self.start {
            Start::After(since) => since,
            _ => self.asked_at,
        };
        let told = self.epochs.entry(channel).or_default();
        assert!(told.count < truth.epochs_after(from), "{said:?}, but no epoch began: {self:?}");
        let mut untold = truth.epochs.iter().filter(|epoch| epoch.position > from.max(told.first));
        *told = EpochsTold {
            count: told.count + 1,
            first: untold.next().map_or(told.last, |epoch| epoch.position),
            last: truth.epoch_at(truth.position()).position,
            is_open: truth.slow(channel) != Slow::Disconnect,
        };
        // What was told before is of an epoch before that.
        let first = told.first;
        let is_earlier = |life: u32| {
            let its = |fact: &&Fact| (fact.channel, fact.life) == (channel, life);
            truth.after(first).find(its).is_none()
        };
        if let Some(gaps) = self.gaps.get_mut(&channel) {
            gaps.retain_mut(|notice| {
                notice.lives.retain(|life| is_earlier(*life));
                notice.said.bounds.is_none() || !notice.lives.is_empty()
            });
        }
        if self.covered == Some(from) && self.is_new(channel) {
            // It came from an earlier epoch: what this one does not keep any more is missed too.
            self.told(channel, Notice { said, lives: Vec::new() });
        }
    }

    /// Where it cannot be known of which epoch a notice speaks that begins with this offset: each
    /// life that it may mean.
    pub(super) fn unsure(&self, channel: usize, said: &GapSaid, truth: &Truth) -> Vec<u32> {
        let Some(told) =
            self.epochs.get(&channel).filter(|told| told.is_open || told.first < told.last)
        else {
            return Vec::new();
        };
        let begins = |fact: &&Fact| {
            fact.channel == channel && said.bounds.is_some_and(|(from, _)| from == fact.offset)
        };
        truth.after(told.first).filter(begins).map(|fact| fact.life).collect()
    }

    /// Whether it was told that an epoch began after this was published.
    pub(super) fn is_of_earlier_epoch(&self, fact: &Fact) -> bool {
        self.epochs.get(&fact.channel).is_some_and(|told| fact.position < told.last)
    }

    /// Whoever has come from one place to the other has heard, of all its channels, of the epoch
    /// that this one is in.
    pub(super) fn epoch_is_told(&self, from: u64, to: u64, truth: &Truth) {
        let began = truth.epoch_at(to).position;
        let told = |channel| self.epochs.get(channel).is_some_and(|told| told.last >= began);
        let told = began <= from || self.channels.iter().all(told);
        assert!(told, "silence: an epoch began at {began}, between {from} and {to}: {self:?}");
    }
}
