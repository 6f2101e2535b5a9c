//! The log of a world, which says where the messages of clients stand: a backend's outcome is told
//! to a callback, but a client may be gone before it hears its own, and others have its message all
//! the same.

use super::backends::{Answers, OrderNotice};
use super::fact::number_in;
use crate::clock::Millis;
use crate::log::{Item, Log, LogEvent};
use crate::sequencer::command::Publication;

/// A log that tells what is read of it.
pub(crate) struct Placed<L> {
    inner: L,
    answers: Answers,
}

impl<L> Placed<L> {
    /// What is read of this one is told there.
    pub(super) fn told(inner: L, answers: Answers) -> Self {
        Self { inner, answers }
    }
}

impl<L: Log<T>, T> Log<T> for Placed<L> {
    fn offer(&mut self, publication: Publication, ticket: T, now: Millis) {
        self.inner.offer(publication, ticket, now);
    }

    fn pass(&mut self, now: Millis) {
        self.inner.pass(now);
    }

    fn next(&mut self) -> Option<Item<T>> {
        let item = self.inner.next()?;
        if let LogEvent::Published { publication, .. } = &item.event
            && let Some(number) = number_in(&publication.data)
        {
            let stands = OrderNotice::Stands { number, position: item.position };
            self.answers.lock().unwrap().push(stands);
        }
        Some(item)
    }
}
