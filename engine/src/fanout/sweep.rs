//! Who is visited next: fairness between channels, and within one.
//!
//! A new message marks its channel: each member is owed a visit. Channels take turns, a quantum of
//! visits each (deficit round robin; a visit is the unit, whatever it sends). Small audiences have
//! a queue of their own that is served first in each tick, so a message to one client waits for
//! about one quantum of a broadcast and never for the broadcast. Each sweep begins a quantum after
//! the one before, so nobody is always last; a message that comes in the middle of a sweep only
//! makes it go round once more, and whoever is visited later gets both in one send.

use std::collections::VecDeque;

use super::channels::{ChannelIndex, FollowedChannels};

/// The queues of channels whose members are owed a visit.
#[derive(Debug)]
pub(crate) struct Sweep {
    /// Visits in one turn of one channel, and of each queue in one batch. An audience up to this
    /// size is small.
    quantum: usize,
    small: VecDeque<ChannelIndex>,
    large: VecDeque<ChannelIndex>,
    /// Members whose turn it is.
    visits: VecDeque<u32>,
}

impl Sweep {
    /// Nobody is owed a visit.
    pub(super) fn new(quantum: usize) -> Self {
        let (small, large, visits) = (VecDeque::new(), VecDeque::new(), VecDeque::new());
        Self { quantum, small, large, visits }
    }

    /// Takes turns of another length from now on.
    pub(crate) fn set_quantum(&mut self, quantum: usize) {
        self.quantum = quantum;
    }

    /// Every member of the channel is owed a visit from now on.
    pub(super) fn mark(&mut self, index: ChannelIndex, channels: &mut FollowedChannels) {
        let channel = channels.at_mut(index);
        channel.sweep_left = channel.members.len() as u32;
        if channel.queued || channel.members.is_empty() {
            return;
        }
        channel.queued = true;
        if channel.members.len() <= self.quantum {
            self.small.push_back(index);
        } else {
            self.large.push_back(index);
        }
    }

    /// Says who is visited next, where nobody is left of those that were said before: at most a
    /// quantum of small audiences and one of large ones.
    pub(crate) fn take_turns(&mut self, channels: &mut FollowedChannels) {
        if self.visits.is_empty() {
            take(&mut self.small, self.quantum, channels, &mut self.visits);
            take(&mut self.large, self.quantum, channels, &mut self.visits);
        }
    }

    /// The next member whose turn it is.
    pub(crate) fn next_visit(&mut self) -> Option<u32> {
        self.visits.pop_front()
    }

    /// Whether it is still somebody's turn.
    pub(super) fn is_visiting(&self) -> bool {
        !self.visits.is_empty()
    }

    /// Whether anybody is owed a visit.
    pub(crate) fn has_work(&self) -> bool {
        self.is_visiting() || !(self.small.is_empty() && self.large.is_empty())
    }
}

fn take(
    queue: &mut VecDeque<ChannelIndex>,
    quantum: usize,
    channels: &mut FollowedChannels,
    visits: &mut VecDeque<u32>,
) {
    let mut budget = quantum;
    while budget > 0 {
        let Some(index) = queue.pop_front() else { return };
        let Some(channel) = channels.get_mut(index) else { continue };
        let members = &channel.members;
        let left = (channel.sweep_left as usize).min(members.len());
        let turn = left.min(budget);
        // Where members have left since, whoever stood behind the new end was moved and is visited
        // for that: the sweep goes on with the first.
        let next = channel.sweep_next as usize;
        let start = if next < members.len() { next } else { 0 };
        let until_wrap = turn.min(members.len() - start);
        visits.extend(&members[start..start + until_wrap]);
        visits.extend(&members[..turn - until_wrap]);
        // The next sweep does not begin where this one did, or some would always be last.
        let rotation = if left == turn { quantum } else { 0 };
        channel.sweep_next = ((start + turn + rotation) % members.len().max(1)) as u32;
        channel.sweep_left = (left - turn) as u32;
        budget -= turn;
        if channel.sweep_left > 0 {
            queue.push_back(index);
        } else {
            channel.queued = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::log::ChannelLog;
    use super::*;
    use crate::channel::{ChannelId, ChannelName, Tenant};
    use crate::rule::Rules;

    fn sweep() -> Sweep {
        Sweep::new(256)
    }

    fn with_members(
        channels: &mut FollowedChannels,
        id: u64,
        members: std::ops::Range<u32>,
    ) -> ChannelIndex {
        let name = Arc::new(ChannelName::new(Tenant::default(), "c"));
        let rule = Arc::clone(Rules::default().of(&Tenant::default(), "c").1);
        let index = channels.insert(ChannelLog::after(ChannelId(id), name, rule, 0));
        channels.at_mut(index).members.extend(members);
        index
    }

    fn tick(sweep: &mut Sweep, channels: &mut FollowedChannels) -> Vec<u32> {
        sweep.take_turns(channels);
        std::iter::from_fn(|| sweep.next_visit()).collect()
    }

    #[test]
    fn a_small_audience_is_served_in_the_next_tick_of_a_broadcast() {
        let (mut sweep, mut channels) = (sweep(), FollowedChannels::default());
        let broadcast = with_members(&mut channels, 1, 0..15_000);
        let one = with_members(&mut channels, 2, 15_000..15_001);
        sweep.mark(broadcast, &mut channels);
        assert_eq!(tick(&mut sweep, &mut channels), (0..256).collect::<Vec<_>>());
        sweep.mark(one, &mut channels);
        let visits = tick(&mut sweep, &mut channels);
        assert_eq!((visits[0], visits.len()), (15_000, 257), "first, before the broadcast goes on");
        assert_eq!(visits[1..], (256..512).collect::<Vec<_>>());
    }

    #[test]
    fn large_audiences_take_turns() {
        let (mut sweep, mut channels) = (sweep(), FollowedChannels::default());
        let a = with_members(&mut channels, 1, 0..1_000);
        let b = with_members(&mut channels, 2, 1_000..2_000);
        sweep.mark(a, &mut channels);
        sweep.mark(b, &mut channels);
        let firsts: Vec<u32> = (0..4).map(|_| tick(&mut sweep, &mut channels)[0]).collect();
        assert_eq!(firsts, [0, 1_000, 256, 1_256]);
    }

    #[test]
    fn each_member_is_visited_once_and_the_start_rotates() {
        let (mut sweep, mut channels) = (sweep(), FollowedChannels::default());
        let channel = with_members(&mut channels, 1, 0..1_000);
        for round in 0..3 {
            sweep.mark(channel, &mut channels);
            let mut visits = Vec::new();
            while sweep.has_work() {
                visits.extend(tick(&mut sweep, &mut channels));
            }
            visits.sort_unstable();
            assert_eq!(visits, (0..1_000).collect::<Vec<_>>(), "round {round}");
        }
        sweep.mark(channel, &mut channels);
        assert_eq!(tick(&mut sweep, &mut channels)[0], 3 * 256, "each began a quantum later");
        sweep.mark(channel, &mut channels);
        assert_eq!(tick(&mut sweep, &mut channels)[0], 24, "goes on, does not begin again");
        let mut visits = Vec::new();
        while sweep.has_work() {
            visits.extend(tick(&mut sweep, &mut channels));
        }
        assert_eq!(visits.len(), 1_000 - 256, "and goes round once for the second message");
        sweep.mark(channel, &mut channels);
        assert_eq!(tick(&mut sweep, &mut channels)[0], 280, "the next sweep starts elsewhere");
    }
}
