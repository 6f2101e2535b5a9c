//! The channel records, by name and by number.
//!
//! A number is a place in a table and how many lives that place has had, so that finding a record
//! by its number is an index and a comparison. A place whose lives are used up is never used again:
//! no number is given twice.
//!
//! While a checkpoint is written, whoever is about to change what it says of a channel takes the
//! record by [`Channels::changing`], so that the checkpoint gets it as it was.

use std::collections::HashMap;
use std::sync::Arc;

use crate::channel::{ChannelId, ChannelName};

use crate::rule::Rules;

use super::channel::Channel;
use super::checkpoint::{Checkpoint, Written};
use super::keys::Keys;

/// Every channel record of the node. The names' hash is the standard library's, with a random key:
/// clients choose the names.
pub(super) struct Channels {
    rules: Rules,
    names: HashMap<Arc<ChannelName>, ChannelId>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// The record that was published to last: most publishers stay with a channel for a while.
    recent: ChannelId,
    /// The checkpoint that is being written.
    checkpoint: Option<Box<Checkpoint>>,
    /// Checkpoints that were begun.
    checkpoints: u32,
}

struct Slot {
    life: u32,
    channel: Option<Box<Channel>>,
}

impl Channels {
    /// No records yet. Each will get the rule that its name has.
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            rules,
            names: HashMap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            recent: ChannelId(u64::MAX),
            checkpoint: None,
            checkpoints: 0,
        }
    }

    /// How many records there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    /// The number of the record of this name.
    pub(super) fn find(&self, name: &ChannelName) -> Option<ChannelId> {
        self.names.get(name).copied()
    }

    /// As [`Channels::find`], for who may ask for the same name again: then it is compared with one
    /// name, and not hashed.
    pub(super) fn find_again(&mut self, name: &ChannelName) -> Option<ChannelId> {
        let is_recent = self.of(self.recent).is_some_and(|channel| *channel.name == *name);
        if !is_recent {
            self.recent = self.find(name)?;
        }
        Some(self.recent)
    }

    /// The record of this name.
    pub(super) fn named(&self, name: &ChannelName) -> Option<&Channel> {
        self.find(name).and_then(|id| self.of(id))
    }

    /// The record of this number, while it lives.
    pub(super) fn of(&self, id: ChannelId) -> Option<&Channel> {
        self.slots.get(place(id))?.channel.as_deref().filter(|channel| channel.id == id)
    }

    /// The record of this number, while it lives, to be changed.
    pub(super) fn of_mut(&mut self, id: ChannelId) -> Option<&mut Channel> {
        self.slots.get_mut(place(id))?.channel.as_deref_mut().filter(|channel| channel.id == id)
    }

    /// The record of a number that is known to live.
    pub(super) fn living(&mut self, id: ChannelId) -> &mut Channel {
        self.of_mut(id).expect("the record lives")
    }

    /// The record of a number that is known to live, whose life or history is about to change, or
    /// whose life is about to begin: the checkpoint that is being written gets it as it is.
    pub(super) fn changing(&mut self, id: ChannelId) -> &mut Channel {
        let channel = self.slots[place(id)].channel.as_deref_mut();
        let channel = channel.filter(|channel| channel.id == id).expect("the record lives");
        if let Some(checkpoint) = &mut self.checkpoint {
            checkpoint.save(channel);
        }
        channel
    }

    /// The record of a channel, made where there is none.
    pub(super) fn find_or_make(&mut self, name: &ChannelName) -> ChannelId {
        self.find(name).unwrap_or_else(|| self.make(name))
    }

    fn make(&mut self, name: &ChannelName) -> ChannelId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { life: 0, channel: None });
            u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 channels")
        });
        let entry = &mut self.slots[slot as usize];
        let id = ChannelId(u64::from(entry.life) << 32 | u64::from(slot));
        let name = Arc::new(name.clone());
        let rule = self.rules.of(&name.tenant, &name.name);
        entry.channel = Some(Box::new(Channel::new(id, Arc::clone(&name), rule)));
        self.names.insert(name, id);
        id
    }

    /// Drops a record that nothing holds any more.
    pub(super) fn drop_unused(&mut self, id: ChannelId) {
        let unused = |channel: &Channel| !channel.has_life() && channel.audience.mask() == 0;
        if self.of(id).is_some_and(unused) {
            self.remove(id);
        }
    }

    /// Ends a record's life.
    fn remove(&mut self, id: ChannelId) -> Option<Box<Channel>> {
        self.of(id)?;
        let slot = &mut self.slots[place(id)];
        let channel = slot.channel.take()?;
        if let Some(life) = slot.life.checked_add(1) {
            slot.life = life;
            self.free.push(place(id) as u32);
        }
        self.names.remove(&*channel.name);
        Some(channel)
    }

    /// Places of the table, taken or not.
    pub(super) fn places(&self) -> usize {
        self.slots.len()
    }

    /// The record in a place, if one is there.
    pub(super) fn in_place(&self, place: usize) -> Option<&Channel> {
        self.slots.get(place)?.channel.as_deref()
    }

    /// All records, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Channel> {
        self.slots.iter().filter_map(|slot| slot.channel.as_deref())
    }
}

/// Checkpoints.
impl Channels {
    /// Begins a checkpoint, which `begin` makes from its number and from how many places there are.
    /// One that is being written is given up.
    pub(super) fn begin_checkpoint(&mut self, begin: impl FnOnce(u32, usize) -> Checkpoint) {
        self.checkpoints = self.checkpoints.wrapping_add(1).max(1);
        self.checkpoint = Some(Box::new(begin(self.checkpoints, self.slots.len())));
    }

    /// Gives up the one that is being written.
    pub(super) fn give_up_checkpoint(&mut self) {
        self.checkpoint = None;
    }

    /// Writes on at the one that was begun, about so many units of work, and appends whole records
    /// to `out`: times first, then channel by channel, then the keys.
    pub(super) fn write_checkpoint(
        &mut self,
        mut units: usize,
        keys: &mut Keys,
        out: &mut Vec<u8>,
    ) -> Written {
        let Some(mut checkpoint) = self.checkpoint.take() else { return Written::None };
        while units > 0 {
            units -= 1;
            if checkpoint.write_time() {
                continue;
            }
            if let Some(place) = checkpoint.next_place() {
                if let Some(channel) = self.slots[place].channel.as_deref_mut() {
                    units = units.saturating_sub(checkpoint.save(channel) - 1);
                }
            } else if !checkpoint.write_key(keys) {
                checkpoint.end(out);
                return Written::Whole;
            }
        }
        checkpoint.take(out);
        self.checkpoint = Some(checkpoint);
        Written::More
    }
}

fn place(id: ChannelId) -> usize {
    (id.0 & u64::from(u32::MAX)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::Tenant;

    fn none() -> Channels {
        Channels::new(Rules::default())
    }

    fn insert(channels: &mut Channels, name: &str) -> ChannelId {
        channels.make(&ChannelName::new(Tenant::default(), name))
    }

    #[test]
    fn a_number_is_never_given_twice() {
        let mut channels = none();
        let first = insert(&mut channels, "a");
        assert!(channels.remove(first).is_some());
        assert!(channels.remove(first).is_none());
        let second = insert(&mut channels, "a");
        assert_ne!(first, second);
        assert!(channels.of(first).is_none());
        assert_eq!(channels.of(second).map(|channel| channel.id), Some(second));
    }

    #[test]
    fn a_place_whose_lives_are_used_up_retires() {
        let mut channels = none();
        let first = insert(&mut channels, "a");
        channels.remove(first);
        channels.slots[0].life = u32::MAX;
        let last = insert(&mut channels, "a");
        assert_eq!(last, ChannelId(u64::from(u32::MAX) << 32));
        channels.remove(last);
        assert_eq!(insert(&mut channels, "a"), ChannelId(1));
    }

    #[test]
    fn tenants_are_kept_apart() {
        let mut channels = none();
        let mine = insert(&mut channels, "a");
        assert_eq!(channels.find(&ChannelName::new(Tenant::default(), "a")), Some(mine));
        assert_eq!(channels.find(&ChannelName::new(Tenant::new("other"), "a")), None);
    }
}
