//! A poll that waits, and its answer.

use fanfare_protocol::id::Id;

use super::here::Here;
use super::reading::ending;
use crate::clock::Millis;
use crate::fanout::Gathering;
use crate::transport::input::Early;
use crate::transport::long_poll::{Around, Poll, PollContents};

/// A poll that waits for a message, or while its answer is gathered.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(super) poll: Poll,
    /// What is gathered, from when it is to be answered whatever there is.
    pub(super) gathering: Option<Box<Gathering>>,
    /// When the client's patience is over; from then on, when it is looked at.
    pub(super) due: Millis,
    /// As in [`super::asking::Asking`].
    pub(super) keep_alive: bool,
    /// As in [`super::asking::Asking`].
    pub(super) early: Option<Box<Early>>,
}

impl Waiting {
    /// Whether what the client sends is read: only to learn whether it has ended its side or has a
    /// request behind this one, and not while its answer is on the way.
    pub(super) fn wants_bytes(&self) -> bool {
        self.gathering.is_none() && !self.poll.is_begun() && self.early.is_none()
    }

    /// Bytes of memory of its own, without what came behind it.
    pub(super) fn memory(&self) -> usize {
        let gathering = self.gathering.as_deref().map_or(0, Gathering::memory);
        size_of::<Self>() + gathering
    }

    /// It is to be answered, whatever there is.
    pub(super) fn begin_answer(&mut self) {
        self.gathering.get_or_insert_default();
    }

    /// Answers with what was gathered up to `reached`. Says whether another request may follow,
    /// and what came of it.
    pub(super) fn answer(self, reached: Id, here: &mut Here<'_>) -> (bool, Option<Box<Early>>) {
        let Self { poll, gathering, keep_alive, early, .. } = self;
        let mut gathering = gathering.unwrap_or_default();
        let keep_alive = keep_alive && !here.shared.ending; // and the answer says so
        let date = here.date();
        let Gathering { bytes: messages_bytes, ref gaps, last, is_all, .. } = *gathering;
        let found = PollContents { messages_bytes, gaps, last, is_all };
        let Around { before, behind } = poll.answer(found, reached, date, ending(keep_alive));
        let outbox = here.line.outbox.get_or_insert_default();
        outbox.writer().extend_from_slice(&before);
        outbox.take_messages(&mut gathering);
        outbox.writer().extend_from_slice(&behind);
        here.shared.metrics().deliveries.add(gathering.count as u64);
        here.shared.metrics().gaps.add(gathering.gaps.len() as u64);
        here.shared.metrics().polls.sub(1);
        (keep_alive, early)
    }
}
