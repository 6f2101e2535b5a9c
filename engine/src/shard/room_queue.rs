//! Those for whom there was no room to render what they are owed first, in the order in which they
//! came. They hold nothing meanwhile. Whoever waits for a page of short messages does not wait
//! behind those who wait for a long one, which has less room.

use std::collections::VecDeque;

use crate::driver::Token;
use crate::fanout::NoRoom;

/// Two queues.
#[derive(Default)]
pub(super) struct RoomQueue {
    page: VecDeque<Token>,
    long: VecDeque<Token>,
    /// Whether the last batch ended before any of them had come in vain: what they want may be
    /// rendered by now.
    pub(super) goes_on: bool,
}

impl RoomQueue {
    /// Both kinds, in the order in which they are served.
    pub(super) const KINDS: [NoRoom; 2] = [NoRoom::Page, NoRoom::Long];

    /// Who waits for this.
    pub(super) fn of(&mut self, wanted: NoRoom) -> &mut VecDeque<Token> {
        match wanted {
            NoRoom::Page => &mut self.page,
            NoRoom::Long => &mut self.long,
        }
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.page.len() + self.long.len()
    }

    /// For what anybody waits.
    pub(super) fn wanted(&self) -> impl Iterator<Item = NoRoom> {
        let page = (!self.page.is_empty()).then_some(NoRoom::Page);
        let long = (!self.long.is_empty()).then_some(NoRoom::Long);
        page.into_iter().chain(long)
    }

    /// All who wait.
    pub(super) fn iter(&self) -> impl Iterator<Item = Token> {
        self.page.iter().chain(&self.long).copied()
    }
}
