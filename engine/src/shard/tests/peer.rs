//! A client of a directed test: it does what the test says, and remembers what it was told.

use super::truth::channel_name;
use super::wire::{Ear, MessageSaid, Said, Way, masked, request};
use super::world::World;
use crate::driver::sim::{Client, Standing};

pub(super) struct Peer {
    pub(super) client: Client,
    pub(super) said: Vec<Said>,
    ear: Ear,
}

impl Peer {
    /// Asks to follow `channels` and waits until it does.
    pub(super) fn follow(world: &mut World, way: Way, channels: &[usize]) -> Self {
        let mut peer = Self::ask(world, way, channels, None, 25);
        world.steps(6);
        peer.listen(world);
        peer
    }

    pub(super) fn ask(
        world: &World,
        way: Way,
        channels: &[usize],
        since: Option<u64>,
        wait: u64,
    ) -> Self {
        let peer = Self::mute(world, way);
        let names: Vec<String> = channels.iter().map(|nth| channel_name(*nth)).collect();
        let since = since.map(|position| world.id(position));
        let head = request(way, &names, since.as_deref(), wait, None);
        world.nets[0].write(peer.client, head.as_bytes());
        peer
    }

    /// Connects and says nothing.
    pub(super) fn mute(world: &World, way: Way) -> Self {
        Self { client: world.nets[0].connect(), said: Vec::new(), ear: Ear::new(way) }
    }

    pub(super) fn say(&self, world: &World, opcode: u8, payload: &[u8]) {
        world.nets[0].write(self.client, &masked(opcode, payload));
    }

    /// Takes what is there; says how many messages came.
    pub(super) fn listen(&mut self, world: &World) -> usize {
        let before = self.messages();
        self.said.extend(self.ear.hear(&world.nets[0].take(self.client)));
        self.messages() - before
    }

    /// Lets time pass until our ping is with it, which is within a period.
    pub(super) fn until_pinged(&mut self, world: &mut World) {
        let (before, began) = (self.count(&Said::Ping), world.now);
        while self.count(&Said::Ping) == before {
            assert!(world.now.since(began) <= 25_100, "no ping for a period: {:?}", self.said);
            world.pass(100);
            self.listen(world);
        }
    }

    /// Takes what is there.
    pub(super) fn hear(&mut self, world: &World) {
        self.listen(world);
    }

    /// Messages so far.
    pub(super) fn messages(&self) -> usize {
        let count = |said: &Said| match said {
            Said::Message(_) => 1,
            Said::Answer { messages, .. } => messages.len(),
            _ => 0,
        };
        self.said.iter().map(count).sum()
    }

    /// The messages so far.
    pub(super) fn heard(&self) -> impl Iterator<Item = &MessageSaid> {
        self.said.iter().filter_map(|said| match said {
            Said::Message(message) => Some(message),
            _ => None,
        })
    }

    pub(super) fn count(&self, what: &Said) -> usize {
        self.said.iter().filter(|said| *said == what).count()
    }

    pub(super) fn standing(&self, world: &World) -> Standing {
        world.nets[0].standing(self.client)
    }
}

impl World {
    /// Lets time pass, a tick every 100 ms.
    pub(super) fn pass(&mut self, ms: u64) {
        for _ in 0..ms / 100 {
            self.now = self.now.plus(100);
            self.step();
        }
        self.steps(3);
    }
}
