//! What a client with commands is to the node, from its first request to the end that it is told or
//! comes to.

use std::collections::BTreeMap;

use super::errand::{Brought, Listening};
use crate::clock::Millis;
use crate::driver::sim::Chance;
use crate::sim::follower::Begin;
use crate::sim::persona::Mood;
use crate::sim::wire::masked;
use crate::sim::world::World;

/// Something that it asked for.
pub(super) enum PendingRequest {
    /// To follow these, each from there; and how far the order was then.
    Follow(Vec<(usize, Begin)>, u64),
    Leave(usize),
    /// To publish the message of this number.
    Say(u64),
}

/// What it is to the node while it has a session.
pub(super) struct Session {
    /// Its name, where many requests bring it and it has heard it.
    pub(super) id: Option<String>,
    /// What it hears by; the second is to take the place of the first.
    pub(super) listens: Vec<Listening>,
    pub(super) brings: Vec<Brought>,
    /// What has no answer yet, by number.
    pub(super) asked: BTreeMap<u64, PendingRequest>,
    /// Since when nothing is held for it.
    pub(super) detached: Option<Millis>,
    /// Whether it has done something, or let something be done, by which it may be ended.
    pub(super) is_tainted: bool,
    /// By when our side has ended, since it was told that this is the end and said so, too. In the
    /// middle of a message it was not heard.
    pub(super) closes_by: Option<Millis>,
    /// Whether a stream is lost over which something came: nobody may go on with it.
    pub(super) is_over: bool,
}

impl Session {
    /// One that begins, by these requests.
    pub(super) fn new(
        listens: Listening,
        asked: BTreeMap<u64, PendingRequest>,
        now: Millis,
    ) -> Self {
        Self {
            id: None,
            listens: vec![listens],
            brings: Vec::new(),
            asked,
            detached: Some(now),
            is_tainted: false,
            closes_by: None,
            is_over: false,
        }
    }

    pub(super) fn is_asked(&self, channel: usize) -> bool {
        self.is_asked_to_follow(channel) || self.is_asked_to_leave(channel)
    }

    pub(super) fn is_asked_to_leave(&self, channel: usize) -> bool {
        self.asked
            .values()
            .any(|asked| matches!(asked, PendingRequest::Leave(it) if *it == channel))
    }

    pub(super) fn is_asked_to_follow(&self, channel: usize) -> bool {
        self.asked.values().any(|asked| match asked {
            PendingRequest::Follow(wanted, _) => wanted.iter().any(|(it, _)| *it == channel),
            PendingRequest::Leave(_) | PendingRequest::Say(_) => false,
        })
    }

    /// What it asked for a channel comes to nothing.
    pub(super) fn cancel(&mut self, channel: usize) {
        for asked in self.asked.values_mut() {
            if let PendingRequest::Follow(wanted, _) = asked {
                wanted.retain(|(it, _)| *it != channel);
            }
        }
    }

    pub(super) fn feel(&mut self, world: &World, mood: Mood) {
        self.is_tainted |= mood != Mood::Eager;
        self.listens.iter_mut().for_each(|it| it.feel(world, mood));
    }

    /// A frame of a WebSocket client.
    pub(super) fn frame(&self, world: &World, opcode: u8, payload: &[u8]) {
        if let Some(socket) = self.listens.first() {
            world.nets[socket.shard].write(socket.client, &masked(opcode, payload));
        }
    }

    /// Another request is to be held, where none is; or a stream in the place of another.
    pub(super) fn listen_on(&mut self, world: &World, chance: &mut Chance) {
        let Some(id) = &self.id else { return };
        let is_eager = |it: &Listening| !it.once && it.mood == Mood::Eager;
        let wait = match &self.listens[..] {
            [] => [None, Some(1), Some(25)][chance.below(3)],
            [one] if is_eager(one) && chance.percent(10) => None,
            _ => return,
        };
        // Where something went over the first, nobody knows whether it came.
        self.is_tainted |= !self.listens.is_empty();
        let shard = chance.below(world.nets.len());
        self.listens.push(Listening::held(world, (shard, None), Some(id), wait));
    }
}
