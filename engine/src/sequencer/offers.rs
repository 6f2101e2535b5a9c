//! What is to be published and has no place yet: what waits for room in the log, and what the log
//! was offered and has not given back.
//!
//! All of it keeps its order. What backends publish waits in the inbox, as nothing more of theirs
//! is taken while something waits here. Clients' publishes come between their requests to follow,
//! which are not to wait for the log: so a few of those wait here, and further ones are refused.

use std::collections::VecDeque;
use std::iter::Enumerate;

use super::command::{
    BatchAnswer, BatchSummary, EachResult, Publication, PublishAnswer, Published, Refusal,
};

/// Publishes of clients that may wait for room in the log.
const WAITING_MAX: usize = 256;

/// Who hears of an item of the log that this node offered.
pub enum Ticket {
    /// Whoever published it alone.
    Alone(PublishAnswer),
    /// A batch.
    Batch {
        /// Which one, by number.
        batch: u64,
        /// Which of its messages it is.
        nth: usize,
    },
}

/// A batch whose messages have not all been placed.
struct Batch {
    /// How many of its messages have no outcome.
    left: usize,
    results: Gathered,
}

/// What is to be told of a batch, and to whom.
enum Gathered {
    /// Up to the last message that has its own; those between that have none count as
    /// [`Refusal::Busy`] until they have.
    Each(EachResult, Box<dyn FnOnce(EachResult) + Send>),
    Summary(BatchSummary, Box<dyn FnOnce(BatchSummary) + Send>),
    /// It was told.
    Told,
}

impl Gathered {
    fn new(messages: usize, answer: BatchAnswer) -> Self {
        match answer {
            BatchAnswer::Each(answer) => Self::Each(Vec::with_capacity(messages), answer),
            BatchAnswer::Summary(answer) => Self::Summary(BatchSummary::default(), answer),
        }
    }

    fn note(&mut self, nth: usize, result: Result<Published, Refusal>) {
        match (self, result) {
            (Self::Each(results, _), result) => match results.get_mut(nth) {
                Some(known) => *known = result,
                None => {
                    results.resize(nth, Err(Refusal::Busy));
                    results.push(result);
                }
            },
            (Self::Summary(summary, _), Ok(published)) => {
                summary.placed += 1;
                summary.duplicates += usize::from(published.duplicate);
            }
            (Self::Summary(summary, _), Err(refusal)) => summary.refused.push((nth, refusal)),
            (Self::Told, _) => {}
        }
    }

    fn tell(&mut self) {
        match std::mem::replace(self, Self::Told) {
            Self::Each(results, answer) => answer(results),
            Self::Summary(mut summary, answer) => {
                // A log may give back in another order what it lost.
                summary.refused.sort_unstable_by_key(|(nth, _)| *nth);
                answer(summary);
            }
            Self::Told => {}
        }
    }
}

/// Everything that is on its way.
#[derive(Default)]
pub(super) struct Offers {
    /// Messages of the batch that was taken last, which the log has still to be offered.
    batch: Enumerate<std::vec::IntoIter<Publication>>,
    /// What was published alone and found no room in the log, behind that batch.
    waiting: VecDeque<(Publication, PublishAnswer)>,
    /// Batches whose messages have not all been placed, oldest first, and whole ones that came
    /// between them.
    batches: VecDeque<Batch>,
    /// How many batches have left that queue.
    gone: u64,
    /// How many messages the log has and has not given back.
    under_way: usize,
}

impl Offers {
    /// Whether something waits to be offered: nothing that comes later overtakes it.
    pub(super) fn are_waiting(&self) -> bool {
        self.batch.len() > 0 || !self.waiting.is_empty()
    }

    /// Whether one more publish of a client may wait.
    pub(super) fn have_room(&self) -> bool {
        self.waiting.len() < WAITING_MAX
    }

    /// Whether what waits is the rest of a batch.
    pub(super) fn are_in_a_batch(&self) -> bool {
        self.batch.len() > 0
    }

    /// Whether all that was published has its outcome.
    pub(super) fn are_settled(&self) -> bool {
        self.under_way == 0 && self.batches.is_empty() && !self.are_waiting()
    }

    /// A batch is to be offered, with nothing between its messages. It has one at least, and
    /// nothing waits before it.
    pub(super) fn begin_batch(&mut self, publications: Vec<Publication>, answer: BatchAnswer) {
        debug_assert!(!self.are_waiting() && !publications.is_empty());
        let left = publications.len();
        self.batches.push_back(Batch { left, results: Gathered::new(left, answer) });
        self.batch = publications.into_iter().enumerate();
    }

    /// The log has no room for it now.
    pub(super) fn wait(&mut self, publication: Publication, answer: PublishAnswer) {
        self.waiting.push_back((publication, answer));
    }

    /// What is to be offered next.
    pub(super) fn next(&mut self) -> Option<(Publication, Ticket)> {
        if let Some((nth, publication)) = self.batch.next() {
            let batch = self.gone + self.batches.len() as u64 - 1; // the one that was taken last
            return Some((publication, Ticket::Batch { batch, nth }));
        }
        let (publication, answer) = self.waiting.pop_front()?;
        Some((publication, Ticket::Alone(answer)))
    }

    /// The log has taken one more message.
    pub(super) fn offered(&mut self) {
        self.under_way += 1;
    }

    /// The log has given a message back: it stands there, or is lost.
    pub(super) fn given_back(&mut self) {
        self.under_way -= 1;
    }

    /// One more message of a batch has its result; with the last one it is answered.
    pub(super) fn answer_of_batch(
        &mut self,
        batch: u64,
        nth: usize,
        result: Result<Published, Refusal>,
    ) {
        let batch = &mut self.batches[(batch - self.gone) as usize];
        batch.results.note(nth, result);
        batch.left -= 1;
        if batch.left > 0 {
            return;
        }
        batch.results.tell();
        while self.batches.front().is_some_and(|batch| batch.left == 0) {
            self.batches.pop_front();
            self.gone += 1;
        }
    }
}
