//! The log, and what is on its way to a place in it: what waits for room, since when there is none,
//! and whether the log was asked to say that time has passed.

use fanfare_protocol::refusals::Refusal;

use crate::clock::Millis;
use crate::log::{Item, Log, Readiness, ThreadWaker};

use super::command::Publication;
use super::offers::{Offers, Ticket};

/// The log as the sequencer uses it.
pub(super) struct LogQueue<L> {
    log: L,
    /// What is to be published and has no place yet.
    pub(super) offers: Offers,
    /// Since when the log has taken nothing, where it has no room.
    full_since: Option<Millis>,
    /// How long the sequencer waits for room then: a part of `shutdown`, so that a stop has time
    /// for the rest of its work.
    patience_ms: u64,
    /// Whether the log was asked to say that time has passed, and has not said it.
    time_asked: bool,
}

impl<L: Log<Ticket>> LogQueue<L> {
    /// Over this log, which wakes by `waker` when it has something to say.
    pub(super) fn new(mut log: L, waker: ThreadWaker, shutdown_ms: u64) -> Self {
        log.wake_by(waker);
        let (offers, patience_ms) = (Offers::default(), shutdown_ms / 4);
        Self { log, offers, full_since: None, patience_ms, time_asked: false }
    }

    /// Looks whether the log has room, at the beginning of a step.
    pub(super) fn look(&mut self, now: Millis) {
        if self.log.readiness() == Readiness::Full {
            self.full_since.get_or_insert(now);
        }
    }

    /// Sends on its way what was offered in this step.
    pub(super) fn submit(&mut self) {
        self.log.submit();
    }

    /// What stands in the log next.
    pub(super) fn next_item(&mut self) -> Option<Item<Ticket>> {
        self.log.next()
    }

    /// What was offered and will not stand in the log, because that has failed.
    pub(super) fn take_lost(&mut self) -> Option<Ticket> {
        let ticket = self.log.take_lost()?;
        self.offers.given_back();
        Some(ticket)
    }

    /// What waits for room in the log and may be offered now.
    pub(super) fn next_waiting(&mut self, now: Millis) -> Option<(Publication, Ticket)> {
        if self.waits_for_room(now) { None } else { self.offers.next() }
    }

    /// Offers a message to the log; gives back what stands there next, which may be this one at
    /// once.
    ///
    /// # Errors
    /// Where the log does not take it.
    pub(super) fn offer(
        &mut self,
        publication: Publication,
        ticket: Ticket,
        now: Millis,
    ) -> Result<Option<Item<Ticket>>, (Ticket, Refusal)> {
        match self.log.readiness() {
            Readiness::Ready => {}
            Readiness::Full => return Err((ticket, Refusal::Busy)),
            Readiness::Failed => return Err((ticket, Refusal::LogFailed)),
        }
        self.offers.offered();
        self.full_since = None;
        Ok(self.log.offer_next(publication, ticket, now))
    }

    /// Whether the log has no room now and the sequencer waits for it. It does not wait for a log
    /// that has taken nothing for long: publishes are refused then, and a shutdown that stands
    /// behind them in the inbox is heard of.
    pub(super) fn waits_for_room(&self, now: Millis) -> bool {
        let is_full = self.log.readiness() == Readiness::Full;
        is_full && self.patience_ends().is_none_or(|end| now < end)
    }

    /// When it is waited for no longer.
    pub(super) fn patience_ends(&self) -> Option<Millis> {
        self.full_since.map(|since| since.plus(self.patience_ms))
    }

    /// Asks the log to say that it is `now`, unless it has still to answer that.
    pub(super) fn ask_for_time(&mut self, now: Millis) {
        if !std::mem::replace(&mut self.time_asked, true) {
            self.log.pass(now);
        }
    }

    /// The log has said that time has passed.
    pub(super) fn time_has_passed(&mut self) {
        self.time_asked = false;
    }

    /// Whether the log was asked to say that time has passed, and has not said it.
    pub(super) fn is_asked_for_time(&self) -> bool {
        self.time_asked
    }
}
