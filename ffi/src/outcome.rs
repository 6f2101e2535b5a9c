//! What becomes of a message, and who hears it.
//!
//! Every message that was taken has one outcome, whatever happens to threads and sockets on its
//! way: an `OutcomeSender` that is dropped tells that nobody knows.

use std::cell::Cell;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fanfare_protocol::ingest::ChannelReceipt;

use crate::code::{Code, FANFARE_E_UNKNOWN};

/// Where a message stands in the order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placed {
    /// Which life of the node: positions of two say nothing about each other.
    pub epoch: u64,
    /// Node-wide.
    pub position: u64,
    /// Within the channel, from 1.
    pub offset: u64,
    /// Connections that followed the channel at that position.
    pub subscribers: u64,
    /// Whether an earlier sending of the message got the place.
    pub duplicate: bool,
    /// Where it stands in further channels; of nearly every message there are none.
    pub also: Option<Arc<Vec<ChannelReceipt>>>,
}

/// What became of a message.
pub type Outcome = Result<Placed, Code>;

/// Hears, on a thread of the library, that all that was taken before has its outcome.
pub type Flushed = Box<dyn FnOnce(Result<(), Code>) + Send>;

/// Who hears of an outcome.
pub enum Done {
    /// Nobody: counters only.
    Nobody,
    /// One who waits with a ticket, in which the message has this place.
    Wait(Arc<Ticket>, usize),
    /// A callback, on a thread of the library.
    Call(Box<dyn FnOnce(Outcome) + Send>),
}

impl Done {
    /// Whether the place itself is wanted, and not only that the message has one.
    pub(crate) fn wants_place(&self) -> bool {
        !matches!(self, Self::Nobody)
    }
}

/// For each message of a batch one that hears its outcome. Together they make one call, with all
/// outcomes in the order of the messages.
pub fn together(count: usize, call: impl FnOnce(Vec<Outcome>) + Send + 'static) -> Vec<Done> {
    struct Gathered<F> {
        outcomes: Vec<Option<Outcome>>,
        open: usize,
        call: Option<F>,
    }
    let gathered = Gathered { outcomes: vec![None; count], open: count, call: Some(call) };
    let gathered = Arc::new(Mutex::new(gathered));
    let hear = |nth: usize| {
        let gathered = Arc::clone(&gathered);
        Done::Call(Box::new(move |outcome| {
            let mut gathered = gathered.lock().unwrap_or_else(PoisonError::into_inner);
            gathered.outcomes[nth] = Some(outcome);
            gathered.open -= 1;
            if gathered.open > 0 {
                return;
            }
            let outcomes = std::mem::take(&mut gathered.outcomes).into_iter().flatten().collect();
            let call = gathered.call.take();
            drop(gathered);
            if let Some(call) = call {
                call(outcomes);
            }
        }))
    };
    (0..count).map(hear).collect()
}

/// Tells an outcome to whoever hears it, exactly once. One that is dropped tells that nobody knows.
pub(crate) struct OutcomeSender(Option<Done>);

impl OutcomeSender {
    pub(crate) fn new(done: Done) -> Self {
        Self(Some(done))
    }

    pub(crate) fn wants_place(&self) -> bool {
        self.0.as_ref().is_some_and(Done::wants_place)
    }

    pub(crate) fn send(mut self, outcome: Outcome) {
        self.tell(outcome);
    }

    fn tell(&mut self, outcome: Outcome) {
        match self.0.take() {
            None | Some(Done::Nobody) => {}
            Some(Done::Wait(ticket, nth)) => ticket.settle(nth, outcome),
            Some(Done::Call(call)) => call(outcome),
        }
    }
}

impl Drop for OutcomeSender {
    fn drop(&mut self) {
        if !is_recalling() {
            self.tell(Err(FANFARE_E_UNKNOWN));
        }
    }
}

thread_local! {
    static RECALLING: Cell<bool> = const { Cell::new(false) };
}

/// Drops messages that were not taken. The [`OutcomeSender`]s in them, however deep, tell nobody
/// anything.
pub(crate) fn recall<T>(untaken: T) {
    RECALLING.set(true);
    drop(untaken);
    RECALLING.set(false);
}

/// Whether what is dropped now was not taken.
pub(crate) fn is_recalling() -> bool {
    RECALLING.get()
}

/// Waits for the outcomes of one message or of a batch.
#[derive(Debug)]
pub struct Ticket {
    state: Mutex<(Vec<Option<Outcome>>, usize)>,
    all: Condvar,
}

impl Ticket {
    /// For so many messages.
    pub fn new(messages: usize) -> Arc<Self> {
        let state = Mutex::new((vec![None; messages], messages));
        Arc::new(Self { state, all: Condvar::new() })
    }

    /// Waits at most so long. Returns what is known then: `None` for a message that is still on its
    /// way.
    pub fn wait(&self, patience: Duration) -> Vec<Option<Outcome>> {
        let open = |state: &mut (_, usize)| state.1 > 0;
        let waited = self.all.wait_timeout_while(self.lock(), patience, open);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.0.clone()
    }

    fn settle(&self, nth: usize, outcome: Outcome) {
        let mut state = self.lock();
        if let Some(slot @ None) = state.0.get_mut(nth) {
            *slot = Some(outcome);
            state.1 -= 1;
            if state.1 == 0 {
                self.all.notify_all();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, (Vec<Option<Outcome>>, usize)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_waits_for_all_and_no_longer_than_it_may() {
        let ticket = Ticket::new(2);
        let sender = |nth| OutcomeSender::new(Done::Wait(Arc::clone(&ticket), nth));
        let place = Placed { position: 7, ..Placed::default() };
        sender(1).send(Ok(place.clone()));
        assert_eq!(ticket.wait(Duration::from_millis(1)), [None, Some(Ok(place.clone()))]);
        drop(sender(0));
        let both = [Some(Err(FANFARE_E_UNKNOWN)), Some(Ok(place.clone()))];
        assert_eq!(ticket.wait(Duration::MAX), both);
        sender(0).send(Ok(place));
        assert_eq!(ticket.wait(Duration::MAX), both, "the first outcome counts");
    }

    #[test]
    fn a_message_that_was_not_taken_has_no_outcome() {
        let ticket = Ticket::new(1);
        recall(OutcomeSender::new(Done::Wait(Arc::clone(&ticket), 0)));
        assert_eq!(ticket.wait(Duration::ZERO), [None]);
    }
}
