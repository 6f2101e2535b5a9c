//! The messages of one group, as the ledger keeps them until their outcomes are known: nearly all
//! went to the sequencer and want no answer of their own, and of those there is only the number.

use std::iter::Peekable;
use std::vec::IntoIter;

use fanfare_protocol::ingest::Refusal;

/// The messages of one group, in order.
#[derive(Debug, Default)]
pub(super) struct Slots {
    len: u32,
    /// Those of which something is to be remembered, by their place among all.
    noted: Vec<(u32, Note)>,
    /// Messages that were refused here.
    refused: u32,
}

/// What is to be remembered of a message.
#[derive(Debug)]
pub(super) enum Note {
    /// It wants an ANSWER of its own.
    WantsAnswer,
    /// It was refused here, and did not go to the sequencer.
    Refused(Refusal),
}

impl Slots {
    /// What a message takes of which something is remembered; any other takes nothing.
    pub(super) const NOTE_BYTES: usize = size_of::<(u32, Note)>();

    /// Messages.
    pub(super) fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there is no message.
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many of them go to the sequencer.
    pub(super) fn asked(&self) -> usize {
        (self.len - self.refused) as usize
    }

    /// Whether one wants an answer of its own.
    pub(super) fn want_answers(&self) -> bool {
        self.noted.len() > self.refused as usize
    }

    /// The next message goes to the sequencer.
    pub(super) fn push_asked(&mut self, wants_answer: bool) {
        if wants_answer {
            self.noted.push((self.len, Note::WantsAnswer));
        }
        self.len += 1;
    }

    /// The next message is refused.
    pub(super) fn push_refused(&mut self, refusal: Refusal) {
        self.noted.push((self.len, Note::Refused(refusal)));
        self.len += 1;
        self.refused += 1;
    }
}

impl IntoIterator for Slots {
    type Item = Option<Note>;
    type IntoIter = EachSlot;

    /// One for each message, in order: what is remembered of it.
    fn into_iter(self) -> EachSlot {
        EachSlot { next: 0, len: self.len, noted: self.noted.into_iter().peekable() }
    }
}

/// What is remembered of each message, in order.
pub(super) struct EachSlot {
    next: u32,
    len: u32,
    noted: Peekable<IntoIter<(u32, Note)>>,
}

impl Iterator for EachSlot {
    type Item = Option<Note>;

    fn next(&mut self) -> Option<Option<Note>> {
        let nth = self.next;
        self.next += 1;
        (nth < self.len).then(|| {
            let noted = self.noted.next_if(|(noted, _)| *noted == nth);
            noted.map(|(_, note)| note)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_has_its_own_note() {
        let mut slots = Slots::default();
        assert!(slots.is_empty());
        slots.push_asked(false);
        slots.push_refused(Refusal::not_json("is not valid JSON"));
        slots.push_asked(true);
        slots.push_asked(false);
        assert_eq!((slots.len(), slots.asked(), slots.want_answers()), (4, 3, true));
        let notes: Vec<_> = slots.into_iter().collect();
        assert!(matches!(notes[..], [None, Some(Note::Refused(_)), Some(Note::WantsAnswer), None]));
    }

    #[test]
    fn a_plain_message_takes_nothing() {
        let mut slots = Slots::default();
        (0..1_000).for_each(|_| slots.push_asked(false));
        assert_eq!((slots.len(), slots.noted.capacity()), (1_000, 0));
        assert!(!slots.want_answers());
        assert_eq!(slots.into_iter().filter(Option::is_none).count(), 1_000);
    }
}
