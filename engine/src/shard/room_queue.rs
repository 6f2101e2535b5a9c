//! The clients that wait for room to render the first message that they are owed, in the order in
//! which they came. While they wait they hold no memory. Each kind of message has a queue of its
//! own, so that nobody who wants what was published just now waits behind those who want older
//! messages, and nobody who wants a page of short messages behind those who want a long one, for
//! which there is room less often.

use std::collections::VecDeque;

use crate::driver::Token;
use crate::fanout::NoRoom;

/// A queue for each kind of room.
#[derive(Default)]
pub(super) struct RoomQueue {
    /// One for each kind, in the order of [`NoRoom::ALL`]: the first is served first.
    queues: [VecDeque<Token>; 4],
    /// Whether the last round of them was cut short: the batch was full before one was visited for
    /// whom there still was no room. What the others want may be rendered by now, so the next batch
    /// looks without asking for room first.
    pub(super) was_cut_short: bool,
}

impl RoomQueue {
    /// Those who wait for room of this kind.
    pub(super) fn of(&mut self, wanted: NoRoom) -> &mut VecDeque<Token> {
        &mut self.queues[wanted as usize]
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.queues.iter().map(VecDeque::len).sum()
    }

    /// The kinds of room that somebody waits for.
    pub(super) fn wanted(&self) -> impl DoubleEndedIterator<Item = NoRoom> {
        NoRoom::ALL.into_iter().filter(|wanted| !self.queues[*wanted as usize].is_empty())
    }

    /// Of the kinds that somebody waits for, the one that there is least of.
    pub(super) fn waits_for(&self) -> Option<NoRoom> {
        self.wanted().next_back()
    }

    /// All who wait.
    pub(super) fn iter(&self) -> impl Iterator<Item = Token> {
        self.queues.iter().flatten().copied()
    }
}
