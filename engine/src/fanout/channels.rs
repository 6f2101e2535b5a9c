//! The channels that a shard follows: their logs, and who follows each.

use std::collections::HashMap;

use super::log::ChannelLog;
use crate::channel::ChannelId;

/// Where a channel stands in this shard's table.
pub(super) type ChannelIndex = u32;

/// One channel of the table.
#[derive(Debug)]
pub(crate) struct FollowedChannel {
    /// Its messages.
    pub(super) log: ChannelLog,
    /// Who follows it, in no order.
    pub(super) members: Vec<u32>,
    /// Where the sweep that is under way goes on; see [`super::sweep`].
    pub(super) sweep_next: u32,
    /// Members that the sweep has still to visit.
    pub(super) sweep_left: u32,
    /// Whether it waits in one of the sweep's queues.
    pub(super) queued: bool,
    /// Whether its log waits to be trimmed.
    pub(super) overgrown: bool,
}

impl FollowedChannel {
    /// One member more; its seat. Where a sweep is under way it stands between the sweep's place
    /// and its end, so that the sweep takes one visit more and still reaches all that were there.
    pub(super) fn join(&mut self, member: u32) -> u32 {
        self.members.push(member);
        self.sweep_left += u32::from(self.sweep_left > 0);
        self.members.len() as u32 - 1
    }

    /// The member of this seat leaves. Says who has it now, if anyone, and whether a sweep is under
    /// way that may have been jumped over by that.
    pub(super) fn leave(&mut self, seat: u32) -> Option<(u32, bool)> {
        self.members.swap_remove(seat as usize);
        let moved = self.members.get(seat as usize)?;
        Some((*moved, self.sweep_left > 0))
    }
}

/// The table, and what all of it comes to.
#[derive(Debug, Default)]
pub(crate) struct FollowedChannels {
    indexes: HashMap<ChannelId, ChannelIndex>,
    table: Vec<Option<FollowedChannel>>,
    free: Vec<ChannelIndex>,
    /// Seats that are taken.
    pub(super) subscriptions: u64,
    /// Bytes of all live windows.
    loose_bytes: usize,
    ephemeral_lost: u64,
}

impl FollowedChannels {
    /// Where a channel stands.
    pub(super) fn find(&self, id: ChannelId) -> Option<ChannelIndex> {
        self.indexes.get(&id).copied()
    }

    /// Adds a channel that is not there yet.
    pub(super) fn insert(&mut self, log: ChannelLog) -> ChannelIndex {
        let id = log.id;
        let channel = FollowedChannel {
            log,
            members: Vec::new(),
            sweep_next: 0,
            sweep_left: 0,
            queued: false,
            overgrown: false,
        };
        let index = self.free.pop().unwrap_or_else(|| {
            self.table.push(None);
            self.table.len() as ChannelIndex - 1
        });
        self.table[index as usize] = Some(channel);
        let before = self.indexes.insert(id, index);
        assert!(before.is_none(), "a channel has one log");
        index
    }

    /// Drops a channel that nobody follows any more, where it is there.
    pub(super) fn remove(&mut self, id: ChannelId) {
        let Some(index) = self.indexes.remove(&id) else { return };
        let channel = self.table[index as usize].take().expect("what is found is in the table");
        assert!(channel.members.is_empty(), "interest ends only after the last unsubscribe");
        self.free.push(index);
        self.loose_bytes -= channel.log.loose_bytes();
    }

    /// Changes a log in another way than by a trim.
    pub(super) fn change(&mut self, index: ChannelIndex, change: impl FnOnce(&mut ChannelLog)) {
        let log = &mut self.at_mut(index).log;
        let before = log.loose_bytes();
        change(log);
        let after = log.loose_bytes();
        self.loose_bytes = self.loose_bytes - before + after;
    }

    /// Logs were trimmed of so many bytes of live windows.
    pub(super) fn trimmed(&mut self, loose_bytes: usize) {
        self.loose_bytes -= loose_bytes;
    }

    /// Members were too slow for so many ephemeral messages.
    pub(super) fn lost(&mut self, ephemeral: u64) {
        self.ephemeral_lost += ephemeral;
    }

    /// A channel that is there.
    pub(super) fn at(&self, index: ChannelIndex) -> &FollowedChannel {
        self.table[index as usize].as_ref().expect("a followed channel is in the table")
    }

    /// A channel that is there.
    pub(super) fn at_mut(&mut self, index: ChannelIndex) -> &mut FollowedChannel {
        self.table[index as usize].as_mut().expect("a followed channel is in the table")
    }

    /// A channel, unless it was dropped meanwhile.
    pub(super) fn get_mut(&mut self, index: ChannelIndex) -> Option<&mut FollowedChannel> {
        self.table.get_mut(index as usize)?.as_mut()
    }

    /// Places of the table, of channels that are there and that were.
    pub(super) fn places(&self) -> u32 {
        self.table.len() as u32
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.indexes.len()
    }

    /// Subscriptions of all members.
    pub(crate) fn subscriptions(&self) -> u64 {
        self.subscriptions
    }

    /// Bytes of what logs hold that history does not promise: the live windows.
    pub(crate) fn loose_bytes(&self) -> usize {
        self.loose_bytes
    }

    /// Ephemeral messages that members were too slow for, so far.
    pub(crate) fn ephemeral_lost(&self) -> u64 {
        self.ephemeral_lost
    }

    /// Entries of the longest log.
    #[cfg(test)]
    pub(crate) fn longest_log(&self) -> usize {
        self.iter().map(|one| one.log.entries().len()).max().unwrap_or(0)
    }

    /// Where all of them stand.
    pub(super) fn indexes(&self) -> Vec<ChannelIndex> {
        let all = (0..).zip(&self.table).filter(|(_, channel)| channel.is_some());
        all.map(|(index, _)| index).collect()
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &FollowedChannel> {
        self.table.iter().flatten()
    }
}
