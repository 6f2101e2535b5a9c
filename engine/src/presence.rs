//! Presence events: who comes to a channel and who leaves it. They stand in the order like messages
//! and are given to whoever follows now; nothing keeps them, and they have no offset.

use std::sync::Arc;

use fanfare_protocol::message::{Change, PresenceView};

use crate::channel::{ChannelId, ChannelName};
use crate::message::OVERHEAD_BYTES;

/// A presence event, as the log has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presence {
    /// In which channel.
    pub channel: ChannelName,
    /// What happened.
    pub change: Change,
    /// Who it is.
    pub member: Box<str>,
    /// What is told of them, as JSON; nothing where that is empty.
    pub info: Box<[u8]>,
}

/// A presence event that has its place in the order. Shared by the ring and the shards.
#[derive(Debug)]
pub struct PlacedPresence {
    /// The channel record.
    pub channel: ChannelId,
    /// That channel's full name.
    pub name: Arc<ChannelName>,
    /// Where it stands in the log, as a message does.
    pub position: u64,
    /// What happened.
    pub change: Change,
    /// Who it is.
    pub member: Box<str>,
    /// What is told of them.
    pub info: Box<[u8]>,
}

impl Presence {
    /// Bytes that it costs where it is held, as the budgets count it.
    pub fn cost(&self) -> usize {
        OVERHEAD_BYTES + self.member.len() + self.info.len()
    }
}

impl PlacedPresence {
    /// Bytes that it costs where it is held, as the budgets count it.
    pub fn cost(&self) -> usize {
        OVERHEAD_BYTES + self.bytes()
    }

    /// Bytes of what it says.
    pub fn bytes(&self) -> usize {
        self.member.len() + self.info.len()
    }

    /// The event as codecs see it.
    pub fn view(&self) -> PresenceView<'_> {
        let Self { change, member, info, .. } = self;
        PresenceView { channel: &self.name.name, view: None, change: *change, member, info }
    }
}
