//! One publisher: its bytes in, publications out; outcomes in, its bytes out. No socket and no
//! clock of its own.
//!
//! ```text
//!  bytes ──> incoming ──> draft ──> ledger of its session ──> group, to the sequencer
//!                                        │
//!  bytes <── replies <── outcomes ───────┘<── results
//! ```
//!
//! `lifecycle` says what of this still happens, `greeting` what it is told first.

mod greeting;
mod incoming;
mod lifecycle;
mod replies;

use fanfare_protocol::id::Epoch;
use fanfare_protocol::ingest::server::Event;
use fanfare_protocol::ingest::{ErrorCode, GoodbyeCode, write};
use fanfare_protocol::limits::SessionLimits;

use super::config::{IngestConfig, Patience};
use super::draft::{Draft, Group};
use super::ledger::GroupEnd;
use super::session::{PublisherSession, SessionRequest};
use crate::channel::Tenant;
use crate::clock::Millis;
use crate::sequencer::command::Refusal as SequencerRefusal;

use greeting::Greeting;
use incoming::Incoming;
use lifecycle::{LastFrame, Lifecycle};
use replies::Replies;

/// The state of one connection.
#[derive(Debug)]
pub struct Publisher {
    greeting: Greeting,
    pub(super) incoming: Incoming,
    session: PublisherSession,
    replies: Replies,
    pub(super) lifecycle: Lifecycle,
    tenant: Tenant,
    /// Messages refused since the last look, for the metric.
    refused: u64,
}

impl Publisher {
    /// A publisher that has just connected, and names channels of this tenant.
    pub fn new(
        settings: &IngestConfig,
        tenant: Tenant,
        session: PublisherSession,
        now: Millis,
    ) -> Self {
        let greeting = Greeting::of(settings);
        Self {
            incoming: Incoming::new(greeting.limits, now),
            greeting,
            session,
            replies: Replies::new(now),
            lifecycle: Lifecycle::new(),
            tenant,
            refused: 0,
        }
    }

    /// Whether its bytes are wanted: also those of a connection that ends, to be dropped.
    pub fn wants_bytes(&self) -> bool {
        self.lifecycle.drops_bytes() || (!self.incoming.is_held() && self.keeps_its_bounds())
    }

    /// Whether it has less under way than one publisher may have, however much room there is.
    pub(super) fn keeps_its_bounds(&self) -> bool {
        self.lifecycle.is_open()
            && self.incoming.wish().is_none()
            && self.session.ledger.messages() < self.greeting.limits.window as usize
            && !self.replies.are_too_many()
    }

    /// Whether it may still publish, and owes the rest of a frame.
    pub(super) fn is_mid_frame(&self) -> bool {
        self.lifecycle.is_open() && self.incoming.missing_bytes() > 0
    }

    /// Bytes that it holds, without unconfirmed outcomes, and without what every connection has.
    pub(super) fn under_way_bytes(&self) -> usize {
        let ledger = self.session.ledger.under_way_bytes();
        self.incoming.bytes() + self.unsent().len() + ledger
    }

    /// All that it holds.
    pub(super) fn bytes(&self) -> usize {
        let ledger = &self.session.ledger;
        self.under_way_bytes() + ledger.bytes() - ledger.under_way_bytes()
    }

    /// What it is to be sent now.
    pub fn unsent(&self) -> &[u8] {
        self.replies.unsent()
    }

    /// Whether there is nothing left to do for it.
    pub fn is_over(&self) -> bool {
        self.lifecycle.is_over()
    }

    /// Whether all is sent and our side is to be shut.
    pub fn is_flushed(&self) -> bool {
        self.lifecycle.is_parting() && self.replies.are_sent()
    }

    /// Whether it has let us wait with its replies for too long, as far as we know.
    pub(super) fn is_stalled(&self, now: Millis, patience: Patience) -> bool {
        self.replies.stalled_at(patience.stall_ms).is_some_and(|stalled| now >= stalled)
    }

    /// Messages refused since the last call.
    pub(super) fn take_refused(&mut self) -> u64 {
        std::mem::take(&mut self.refused)
    }

    /// Bytes of it; appends what is to be published, in order.
    pub fn handle_bytes(&mut self, now: Millis, mut input: &[u8], groups: &mut Vec<Group>) {
        if !self.lifecycle.is_open() {
            return;
        }
        self.incoming.heard(now);
        let (limits, tenant) = (self.greeting.limits, &self.tenant);
        let mut draft = Draft::default();
        loop {
            match self.incoming.next(&mut input) {
                Ok(None) => break,
                Ok(Some(Event::Preface)) => self.greeting.tell(self.replies.end()),
                Ok(Some(Event::Open(open))) => {
                    self.incoming.ask(open, input);
                    break;
                }
                Ok(Some(Event::Confirm(sequence))) => {
                    if !self.session.ledger.confirm(sequence) {
                        const TEXT: &str = "the confirmation is ahead of the outcomes";
                        let (code, offset) = (ErrorCode::MALFORMED, self.incoming.last_number_at());
                        self.lifecycle.settle(LastFrame::Error(code, offset, TEXT));
                        break;
                    }
                }
                Ok(Some(Event::End)) => {
                    self.lifecycle.end_session();
                    break;
                }
                Ok(Some(Event::Publish { frame, .. })) => draft.add(&frame, &limits, tenant),
                Ok(Some(Event::Batch { batch, .. })) => {
                    for frame in batch {
                        draft.add(&frame, &limits, tenant);
                    }
                }
                Err(violation) => {
                    self.lifecycle.settle(LastFrame::after(&violation));
                    break;
                }
            }
            if draft.slots.len() >= limits.batch_messages as usize {
                draft.enter(&mut self.session, groups);
            }
        }
        draft.enter(&mut self.session, groups);
        self.write_outcomes(now);
    }

    /// The session that it waits for, if it does.
    pub(super) fn asks(&self) -> Option<SessionRequest> {
        let open = self.incoming.wish().filter(|_| self.lifecycle.is_open())?;
        Some(SessionRequest { open, user: self.session.user })
    }

    pub(super) fn session(&self) -> &PublisherSession {
        &self.session
    }

    /// Gives it the session that it asked for, tells the outcomes that it may have missed, and
    /// reads what came behind the OPEN. Returns the nameless session that it had.
    pub(super) fn begin(
        &mut self,
        now: Millis,
        session: PublisherSession,
        known: bool,
        limits: SessionLimits,
        groups: &mut Vec<Group>,
    ) -> PublisherSession {
        let Some((open, behind)) = self.incoming.take_wish() else { return session };
        let before = std::mem::replace(&mut self.session, session);
        let ledger = &mut self.session.ledger;
        ledger.confirm(open.confirmed);
        self.incoming.begin(ledger, limits);
        let replies = self.replies.end();
        self.greeting.tell_session(known, ledger.taken(), limits, replies);
        ledger.write_again(open.confirmed, self.greeting.epoch, replies);
        self.replies.wait_from(now);
        self.handle_bytes(now, &behind, groups);
        before
    }

    /// Tells it that the session which it wanted to take up is not known. It may ask for another
    /// one.
    pub(super) fn go_on_without(
        &mut self,
        now: Millis,
        limits: SessionLimits,
        groups: &mut Vec<Group>,
    ) {
        let Some((_, behind)) = self.incoming.take_wish() else { return };
        self.greeting.tell_session(false, 0, limits, self.replies.end());
        self.handle_bytes(now, &behind, groups);
    }

    /// Gives its session up to another connection: nothing more is taken from this one.
    pub(super) fn hand_over(&mut self, now: Millis) -> PublisherSession {
        const TEXT: &str = "another connection has taken this session up";
        let session = self.session.take();
        let (code, offset) = (ErrorCode::SUPERSEDED, self.incoming.offset());
        self.lifecycle.settle(LastFrame::Error(code, offset, TEXT));
        self.write_outcomes(now);
        session
    }

    /// Whether the publisher is done with its session, and it is as good as forgotten.
    pub(super) fn is_done(&self) -> bool {
        self.lifecycle.is_done_with_session()
    }

    /// Its connection is gone. Returns its session, and whether the publisher is done with that.
    pub(super) fn leave(&mut self) -> (PublisherSession, bool) {
        (self.session.take(), self.is_done())
    }

    /// It will send no more; outcomes may still be read by it.
    pub fn handle_end(&mut self, now: Millis) {
        self.lifecycle.mute();
        let farewell = self.incoming.finish().err().map(|violation| LastFrame::after(&violation));
        self.settle(now, farewell.unwrap_or(LastFrame::None));
    }

    /// Its socket has failed.
    pub fn handle_failure(&mut self) {
        self.lifecycle.end();
    }

    /// What became of a group.
    pub(super) fn handle_group_end(&mut self, now: Millis, group: u64, end: GroupEnd) {
        match end {
            GroupEnd::Results(results) => self.session.ledger.settle(group, results),
            GroupEnd::NotTaken => {
                self.session.ledger.refuse(group, SequencerRefusal::ShuttingDown);
            }
            GroupEnd::Lost => return self.handle_lost(group),
        }
        self.write_outcomes(now);
    }

    /// Nobody knows the outcome of this group, so nothing more may be acknowledged.
    fn handle_lost(&mut self, group: u64) {
        if !self.session.ledger.awaits(group) {
            return;
        }
        self.session.ledger.lose();
        if self.lifecycle.is_ending() {
            return;
        }
        const TEXT: &str = "the node ended before it told the outcome of your last messages; \
            they may be published or not";
        write::error(ErrorCode::INTERNAL, self.incoming.offset(), TEXT, self.replies.end());
        self.lifecycle.flush();
    }

    /// So many bytes were taken by the kernel.
    pub fn handle_sent(&mut self, now: Millis, bytes: usize) {
        self.replies.handle_sent(now, bytes);
        if self.replies.are_sent() {
            // We read it again from now on, so its time for the rest of a frame begins now.
            self.incoming.heard(now);
        }
    }

    /// Our side is shut.
    pub(super) fn handle_shut(&mut self, now: Millis) {
        self.lifecycle.shut(now);
    }

    /// Ends the connection with an ERROR frame, after the outcomes of what was published.
    pub(super) fn refuse(&mut self, now: Millis, code: ErrorCode, text: &'static str) {
        self.settle(now, LastFrame::Error(code, self.incoming.offset(), text));
    }

    /// As [`Publisher::refuse`], because of what its OPEN confirms.
    pub(super) fn refuse_confirmed(&mut self, now: Millis, text: &'static str) {
        let (code, offset) = (ErrorCode::MALFORMED, self.incoming.last_number_at());
        self.settle(now, LastFrame::Error(code, offset, text));
    }

    /// The node takes its leave: outcomes, then GOODBYE.
    pub(super) fn say_goodbye(&mut self, now: Millis, code: GoodbyeCode) {
        self.settle(now, LastFrame::Goodbye(code));
    }

    /// Another epoch has begun. A publisher that was told the one before is told goodbye, so that
    /// it comes back and is told this one.
    pub fn begin_epoch(&mut self, now: Millis, epoch: Epoch) {
        if self.greeting.begin_epoch(epoch) {
            self.say_goodbye(now, GoodbyeCode::EPOCH);
        }
    }

    /// When to call [`Publisher::handle_deadline`], if nothing happens before.
    pub(super) fn deadline(&self, patience: Patience) -> Option<Millis> {
        if self.is_over() {
            return None;
        }
        if let Some(until) = self.lifecycle.until() {
            return Some(until);
        }
        let listens = self.lifecycle.is_open() && self.wants_bytes();
        let late = self.incoming.late_at(patience.frame_ms).filter(|_| listens);
        self.replies.stalled_at(patience.stall_ms).into_iter().chain(late).min()
    }

    /// Ends a publisher that has let us wait too long, judged at the time up to which the kernel
    /// has told everything. A send to it is to be tried before.
    pub(super) fn handle_deadline(&mut self, told: Millis, now: Millis, patience: Patience) {
        if self.deadline(patience).is_none_or(|deadline| told < deadline) {
            return;
        }
        if self.lifecycle.drops_bytes() {
            self.lifecycle.end();
        } else if self.is_stalled(told, patience) {
            self.part(now);
        } else {
            const TEXT: &str = "a frame was begun and its rest did not come in time";
            self.refuse(now, ErrorCode::STALLED, TEXT);
        }
    }

    /// Ends a publisher that reads nothing. Behind the frame that it has in part, and as many of
    /// the waiting outcomes as may be kept, it is told why.
    fn part(&mut self, now: Millis) {
        const TEXT: &str = "you did not read your replies; read while you write. The outcomes of \
            what you sent last may not have been told";
        tracing::info!("a publisher did not read its replies and is ended");
        let reason = LastFrame::Error(ErrorCode::NOT_READING, self.incoming.offset(), TEXT);
        if let Some(farewell) = self.lifecycle.part(now, reason) {
            self.replies.cut();
            farewell.write(self.session.ledger.settled(), self.replies.end());
        }
    }

    /// Takes nothing more from it: the outcomes of what was taken follow, and then this farewell.
    fn settle(&mut self, now: Millis, farewell: LastFrame) {
        if self.lifecycle.is_open() {
            self.lifecycle.settle(farewell);
            self.write_outcomes(now);
        }
    }

    fn write_outcomes(&mut self, now: Millis) {
        if self.lifecycle.is_ending() {
            return;
        }
        let waited = self.replies.are_sent();
        let was_full = !self.wants_bytes();
        let ledger = &mut self.session.ledger;
        self.refused += ledger.write(self.greeting.epoch, self.replies.end());
        if ledger.messages() == 0
            && let Some(farewell) = self.lifecycle.settling()
        {
            farewell.write(ledger.settled(), self.replies.end());
            self.lifecycle.flush();
        }
        if waited {
            self.replies.wait_from(now);
        }
        if was_full {
            self.incoming.heard(now);
        }
    }
}

impl AsMut<Publisher> for Publisher {
    fn as_mut(&mut self) -> &mut Publisher {
        self
    }
}
