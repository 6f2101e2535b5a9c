//! Who lives in which slot of the ring's file table.
//!
//! The kernel picks the slot of an accepted socket and may pick one again as soon as its CLOSE ran,
//! before completions of the earlier life were read. So each slot counts its lives: the generation
//! is odd while somebody lives there and even while nobody does, and a token is the generation at
//! birth. One comparison answers both "is it alive" and "is it this one".
//!
//! A slot whose socket is being closed is neither: nobody lives there, and it is not free until the
//! kernel says so.

use super::room::Watch;
use crate::driver::Token;

#[derive(Clone, Copy, Default)]
struct Slot {
    generation: u32,
    /// For room to send.
    watch: Watch,
}

/// The lives of all slots.
pub(super) struct SocketTable {
    slots: Vec<Slot>,
    /// Slots that are not free: somebody lives there, or the kernel has not said that it is closed.
    taken: usize,
}

impl SocketTable {
    pub(super) fn new(capacity: usize) -> Self {
        Self { slots: vec![Slot::default(); capacity], taken: 0 }
    }

    pub(super) fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// Slots that the kernel can give out, as far as it has said.
    pub(super) fn free(&self) -> usize {
        self.slots.len() - self.taken
    }

    pub(super) fn is_live(&self, token: Token) -> bool {
        let slot = self.slots.get(token.index as usize);
        slot.is_some_and(|slot| slot.generation == token.generation)
            && !token.generation.is_multiple_of(2)
    }

    /// The kernel has put a new socket into this slot.
    pub(super) fn begin(&mut self, index: u32) -> Token {
        let slot = &mut self.slots[index as usize];
        assert!(slot.generation.is_multiple_of(2), "the kernel gave a slot twice");
        slot.generation = slot.generation.wrapping_add(1);
        slot.watch = Watch::None;
        self.taken += 1;
        Token { index, generation: slot.generation }
    }

    /// Ends a life, if there is one to end: whether a watch for room may be armed.
    pub(super) fn end(&mut self, token: Token) -> Option<bool> {
        if !self.is_live(token) {
            return None;
        }
        let slot = &mut self.slots[token.index as usize];
        slot.generation = slot.generation.wrapping_add(1);
        Some(slot.watch != Watch::None)
    }

    /// A slot whose life had ended is free.
    pub(super) fn closed(&mut self) {
        self.taken -= 1;
    }

    /// How this life is watched for room.
    pub(super) fn watch(&mut self, token: Token) -> Option<&mut Watch> {
        self.is_live(token).then(|| &mut self.slots[token.index as usize].watch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_of_an_earlier_life_matches_nothing() {
        let mut table = SocketTable::new(2);
        assert!(!table.is_live(Token { index: 1, generation: 0 }), "nobody lives here yet");
        let first = table.begin(1);
        assert!(table.is_live(first));
        table.watch(first).unwrap().ask();
        assert_eq!((table.end(first), table.end(first), table.free()), (Some(true), None, 1));
        table.closed();
        assert_eq!(table.free(), 2);
        assert!(!table.is_live(first) && table.watch(first).is_none());
        assert!(!table.is_live(Token { index: 1, generation: first.generation + 1 }));
        let second = table.begin(1);
        assert!(table.is_live(second) && !table.is_live(first));
        assert_eq!(table.watch(second), Some(&mut Watch::None), "a watch ends with its life");
        assert!(!table.is_live(Token { index: 2, generation: 1 }), "past the table");
    }

    #[test]
    fn lives_are_still_told_apart_after_the_generation_wrapped() {
        let mut table = SocketTable::new(1);
        table.slots[0].generation = u32::MAX - 1;
        let last = table.begin(0);
        assert_eq!(last.generation, u32::MAX);
        table.end(last);
        let next = table.begin(0);
        assert!(table.is_live(next) && !table.is_live(last));
    }
}
