//! The channel records, by name and by number.
//!
//! A number is a place in a table and how many lives that place has had, so that finding a record
//! by its number is an index and a comparison. A place whose lives are used up is never used again:
//! no number is given twice.

use std::collections::HashMap;
use std::sync::Arc;

use crate::channel::{ChannelId, ChannelName};

use super::channel::Channel;

/// Every channel record of the node. The names' hash is the standard library's, with a random key:
/// clients choose the names.
#[derive(Default)]
pub(super) struct Channels {
    names: HashMap<Arc<ChannelName>, ChannelId>,
    slots: Vec<Slot>,
    free: Vec<u32>,
}

struct Slot {
    life: u32,
    channel: Option<Box<Channel>>,
}

impl Channels {
    /// How many records there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    /// The number of the record of this name.
    pub(super) fn find(&self, name: &ChannelName) -> Option<ChannelId> {
        self.names.get(name).copied()
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

    /// Adds a record under a name that has none.
    pub(super) fn insert(
        &mut self,
        name: &Arc<ChannelName>,
        make: impl FnOnce(ChannelId) -> Channel,
    ) -> ChannelId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { life: 0, channel: None });
            u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 channels")
        });
        let entry = &mut self.slots[slot as usize];
        let id = ChannelId(u64::from(entry.life) << 32 | u64::from(slot));
        entry.channel = Some(Box::new(make(id)));
        let before = self.names.insert(Arc::clone(name), id);
        debug_assert!(before.is_none(), "the name had no record");
        id
    }

    /// Ends a record's life.
    pub(super) fn remove(&mut self, id: ChannelId) -> Option<Box<Channel>> {
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

    /// How many places the table has.
    pub(super) fn places(&self) -> usize {
        self.slots.len()
    }

    /// The record at this place of the table, where there is one.
    pub(super) fn at_mut(&mut self, place: usize) -> Option<&mut Channel> {
        self.slots.get_mut(place)?.channel.as_deref_mut()
    }

    /// All records, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Channel> {
        self.slots.iter().filter_map(|slot| slot.channel.as_deref())
    }
}

fn place(id: ChannelId) -> usize {
    (id.0 & u64::from(u32::MAX)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::Tenant;
    use crate::rule::Rules;

    fn insert(channels: &mut Channels, name: &str) -> ChannelId {
        let name = Arc::new(ChannelName::new(Tenant::default(), name));
        channels.insert(&name, |id| Channel::new(id, name.clone(), Rules::default().of("")))
    }

    #[test]
    fn a_number_is_never_given_twice() {
        let mut channels = Channels::default();
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
        let mut channels = Channels::default();
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
        let mut channels = Channels::default();
        let mine = insert(&mut channels, "a");
        assert_eq!(channels.find(&ChannelName::new(Tenant::default(), "a")), Some(mine));
        assert_eq!(channels.find(&ChannelName::new(Tenant::new("other"), "a")), None);
    }
}
