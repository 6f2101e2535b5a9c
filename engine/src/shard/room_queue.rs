//! Those for whom there was no room to render what they are owed first, in the order in which they
//! came. They hold nothing meanwhile. Whoever waits for what was published just now does not wait
//! behind those who wait for what is older, nor for a page of short messages behind those who wait
//! for a long one: that has less room.

use std::collections::VecDeque;

use crate::driver::Token;
use crate::fanout::NoRoom;

/// A queue for each kind of room.
#[derive(Default)]
pub(super) struct RoomQueue {
    /// In the order of [`NoRoom::ALL`], in which they are served.
    queues: [VecDeque<Token>; 4],
    /// Whether the last batch ended before any of them had come in vain: what they want may be
    /// rendered by now.
    pub(super) goes_on: bool,
}

impl RoomQueue {
    /// Who waits for this.
    pub(super) fn of(&mut self, wanted: NoRoom) -> &mut VecDeque<Token> {
        &mut self.queues[wanted as usize]
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.queues.iter().map(VecDeque::len).sum()
    }

    /// For what anybody waits.
    pub(super) fn wanted(&self) -> impl DoubleEndedIterator<Item = NoRoom> {
        NoRoom::ALL.into_iter().filter(|wanted| !self.queues[*wanted as usize].is_empty())
    }

    /// That of these of which there is least.
    pub(super) fn waits_for(&self) -> Option<NoRoom> {
        self.wanted().next_back()
    }

    /// All who wait.
    pub(super) fn iter(&self) -> impl Iterator<Item = Token> {
        self.queues.iter().flatten().copied()
    }
}
