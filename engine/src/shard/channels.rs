//! The channels that a shard follows: their logs, and which connections follow each.

use std::collections::HashMap;

use super::log::Log;
use crate::channel::ChannelId;

/// Place of a channel in this shard's table.
pub(super) type Place = u32;

/// One channel of the table.
#[derive(Debug)]
pub(super) struct Channel {
    /// Its messages.
    pub(super) log: Log,
    /// Connections that follow it, by index, in no order.
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

impl Channel {
    /// One member more; its place. Where a sweep is under way it stands between the sweep's place
    /// and its end, so that the sweep takes one visit more and still reaches all that were there.
    pub(super) fn join(&mut self, index: u32) -> u32 {
        self.members.push(index);
        self.sweep_left += u32::from(self.sweep_left > 0);
        self.members.len() as u32 - 1
    }
}

/// The table.
#[derive(Debug, Default)]
pub(super) struct Channels {
    places: HashMap<ChannelId, Place>,
    table: Vec<Option<Channel>>,
    free: Vec<Place>,
}

impl Channels {
    /// The place of a channel.
    pub(super) fn find(&self, id: ChannelId) -> Option<Place> {
        self.places.get(&id).copied()
    }

    /// Adds a channel that is not there yet.
    pub(super) fn insert(&mut self, log: Log) -> Place {
        let id = log.id;
        let channel = Channel {
            log,
            members: Vec::new(),
            sweep_next: 0,
            sweep_left: 0,
            queued: false,
            overgrown: false,
        };
        let place = self.free.pop().unwrap_or_else(|| {
            self.table.push(None);
            self.table.len() as Place - 1
        });
        self.table[place as usize] = Some(channel);
        let before = self.places.insert(id, place);
        assert!(before.is_none(), "a channel has one log");
        place
    }

    /// Drops a channel that nobody follows, with its log.
    pub(super) fn remove(&mut self, id: ChannelId) {
        let Some(place) = self.places.remove(&id) else { return };
        let channel = self.table[place as usize].take();
        assert!(
            channel.is_some_and(|channel| channel.members.is_empty()),
            "interest ends only after the last unsubscribe"
        );
        self.free.push(place);
    }

    /// A channel that is there.
    pub(super) fn at(&self, place: Place) -> &Channel {
        self.table[place as usize].as_ref().expect("a followed channel is in the table")
    }

    /// A channel that is there.
    pub(super) fn at_mut(&mut self, place: Place) -> &mut Channel {
        self.table[place as usize].as_mut().expect("a followed channel is in the table")
    }

    /// A channel, unless it was dropped meanwhile.
    pub(super) fn get_mut(&mut self, place: Place) -> Option<&mut Channel> {
        self.table.get_mut(place as usize)?.as_mut()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are none.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// All of them.
    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = &Channel> {
        self.table.iter().flatten()
    }
}
