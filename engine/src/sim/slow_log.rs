//! A log that takes its time, as a disk or a broker does: what was offered in some steps of the
//! order is one record, one record is on its way at a time, and it stands some steps later. It has
//! room for so much, and it may fail for good. What stands in it is given its place by another log.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock::Millis;
use crate::driver::sim::Chance;
use crate::log::{Item, Log, Readiness, ThreadWaker};
use crate::sequencer::command::Publication;

/// How it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LogTemper {
    /// A record stands after up to so many steps; with none of them each call does all there is to
    /// do, as in memory.
    pub(crate) steps: usize,
    /// Messages that may wait for the next record.
    pub(crate) room: usize,
}

impl LogTemper {
    /// All that is offered stands at once.
    pub(crate) const PROMPT: Self = Self { steps: 0, room: usize::MAX };
}

/// What somebody else does to it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hand(Arc<Mutex<Held>>);

#[derive(Debug, Default)]
struct Held {
    is_held: bool,
    has_failed: bool,
    lies: bool,
    times_asked: u64,
}

impl Hand {
    /// No record arrives from now on.
    pub(crate) fn hold(&self) {
        self.lock().is_held = true;
    }

    /// Records arrive again.
    pub(crate) fn let_go(&self) {
        self.lock().is_held = false;
    }

    /// It fails: what does not stand in it never will.
    pub(crate) fn fail(&self) {
        self.lock().has_failed = true;
    }

    /// Two messages of a record change places, and their tickets do not.
    pub(crate) fn lie(&self) {
        self.lock().lies = true;
    }

    /// Whether it has failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.lock().has_failed
    }

    /// How often it was asked to say that time has passed.
    #[cfg(test)]
    pub(crate) fn times_asked(&self) -> u64 {
        self.lock().times_asked
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What may become an item.
enum Offer<T> {
    Message(Box<Publication>, T),
    Time,
}

/// The log.
pub(crate) struct SlowLog<L, T> {
    inner: L,
    temper: LogTemper,
    hand: Hand,
    chance: Chance,
    waker: Option<ThreadWaker>,
    /// The latest time that it has heard of.
    now: Millis,
    /// What the next record will be made of.
    collected: VecDeque<Offer<T>>,
    /// The record that is on its way, and for how many steps it still is.
    record: VecDeque<Offer<T>>,
    steps: usize,
    /// What stands and was not read.
    standing: VecDeque<Offer<T>>,
}

impl<L, T> SlowLog<L, T> {
    /// One in this hand, over the log that gives places.
    pub(crate) fn new(inner: L, temper: LogTemper, hand: Hand, seed: u64) -> Self {
        Self {
            inner,
            temper,
            hand,
            chance: Chance::new(seed),
            waker: None,
            now: Millis(0),
            collected: VecDeque::new(),
            record: VecDeque::new(),
            steps: 0,
            standing: VecDeque::new(),
        }
    }

    fn collect(&mut self, offer: Offer<T>, now: Millis) {
        self.now = self.now.max(now);
        let is_idle = self.collected.is_empty() && self.record.is_empty();
        if is_idle && self.temper.steps == 0 && !self.hand.lock().is_held {
            self.standing.push_back(offer);
        } else {
            self.collected.push_back(offer);
        }
    }

    fn arrive(&mut self) {
        if self.hand.lock().lies
            && let Some([Offer::Message(one, _), Offer::Message(other, _)]) =
                self.record.make_contiguous().get_mut(..2)
        {
            std::mem::swap(one, other);
        }
        self.standing.append(&mut self.record);
        self.waker.iter().for_each(ThreadWaker::wake);
    }
}

impl<L: Log<T>, T> Log<T> for SlowLog<L, T> {
    fn wake_by(&mut self, waker: ThreadWaker) {
        self.waker = Some(waker);
    }

    fn readiness(&self) -> Readiness {
        match self.hand.has_failed() {
            true => Readiness::Failed,
            false if self.collected.len() >= self.temper.room => Readiness::Full,
            false => Readiness::Ready,
        }
    }

    fn offer(&mut self, publication: Publication, ticket: T, now: Millis) {
        assert_eq!(self.readiness(), Readiness::Ready, "it is asked before");
        self.collect(Offer::Message(Box::new(publication), ticket), now);
    }

    fn submit(&mut self) {
        if self.hand.has_failed() || self.hand.lock().is_held {
            return;
        }
        if !self.record.is_empty() {
            self.steps = self.steps.saturating_sub(1);
        } else if !self.collected.is_empty() {
            self.record = std::mem::take(&mut self.collected);
            self.steps = self.chance.below(self.temper.steps + 1);
        } else {
            return;
        }
        if self.steps == 0 {
            self.arrive();
        }
    }

    fn pass(&mut self, now: Millis) {
        self.hand.lock().times_asked += 1;
        self.collect(Offer::Time, now);
    }

    fn next(&mut self) -> Option<Item<T>> {
        if let Some(item) = self.inner.next() {
            return Some(item);
        }
        match self.standing.pop_front()? {
            Offer::Message(publication, ticket) => {
                self.inner.offer(*publication, ticket, self.now);
            }
            Offer::Time => self.inner.pass(self.now),
        }
        self.inner.next()
    }

    fn take_lost(&mut self) -> Option<T> {
        if !self.hand.has_failed() {
            return None;
        }
        loop {
            let lost = self.record.pop_front().or_else(|| self.collected.pop_front());
            if let Offer::Message(_, ticket) = lost? {
                return Some(ticket);
            }
        }
    }
}
