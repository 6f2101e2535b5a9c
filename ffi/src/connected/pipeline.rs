//! The messages of one publisher on their way: no socket, no clock, no thread.
//!
//! ```text
//!  offered ──> waiting ──fill──> flying ──answer, refusal, acknowledgement──> settled
//!                 ^                 │
//!                 └── not taken ────┘   in their order
//! ```
//!
//! The n-th message of the *session* has the number n ([`Pipeline::base`] is that of the front of
//! `flying`), whatever connections come and go. A message that has its outcome before those in
//! front of it leaves a hole there.
//!
//! **What was written and has no outcome when the connection is lost stays in flight.** On the next
//! connection the server says how far it took the session: what lies behind that was not published
//! and is sent again, and the outcomes of the rest are told again. Where the server has forgotten
//! the session, nobody knows, and that is told. Where it is another server's life, history went
//! with the old one, and all of it is sent again. (An epoch that begins in a running server ends
//! its connections, not its life: it knows what it took.)

use std::collections::VecDeque;
use std::sync::Arc;

use fanfare::clock::Millis;
use fanfare_protocol::id::Epoch;
use fanfare_protocol::ingest::client::{Hello, Reply};
use fanfare_protocol::ingest::session::Open;
use fanfare_protocol::ingest::{ErrorCode, RefusalCode, SessionId, write};
use fanfare_protocol::limits::{IngestLimits, SessionLimits};

use crate::code::{Code, FANFARE_E_PIPE, FANFARE_E_TOO_LARGE, FANFARE_E_UNKNOWN, of_refusal};
use crate::outcome::{Outcome, OutcomeSender, Placed};

/// Bytes that are encoded ahead of the socket.
const AHEAD_BYTES: usize = 256 << 10;
/// Windows of the server that may be under way: it reads one, the others wait in the socket.
const WINDOWS: usize = 4;

/// One message without an outcome.
pub(super) struct Item {
    /// Its PUBLISH frame.
    pub(super) frame: Box<[u8]>,
    /// How many messages this publisher took up to it.
    pub(super) number: u64,
    sender: OutcomeSender,
    /// When it was first written to a socket, where its outcome is not known to be "not published".
    first_sent: Option<Millis>,
    /// Whether it was written before.
    was_sent: bool,
}

impl Item {
    pub(super) fn new(frame: Box<[u8]>, sender: OutcomeSender) -> Self {
        Self { frame, number: 0, sender, first_sent: None, was_sent: false }
    }

    pub(super) fn deliver(self, outcome: Outcome) {
        self.sender.send(outcome);
    }
}

/// All messages of one publisher that have no outcome.
pub(super) struct Pipeline {
    waiting: VecDeque<Item>,
    flying: VecDeque<Option<Item>>,
    /// Everything before it was acknowledged in this session.
    base: u64,
    session: SessionId,
    /// Which life of a server the session belongs to, once one has said so, and the epoch that
    /// answers of this connection belong to where they name no other.
    life: Option<Epoch>,
    epoch: Option<Epoch>,
    /// Whether a message was written in this session.
    has_sent: bool,
    /// What was confirmed on this connection.
    confirmed: u64,
    limits: IngestLimits,
    unconfirmed: usize,
    unknown_ms: u64,
    settled: Vec<(Item, Outcome)>,
    /// Messages that were written a second time.
    resent: u64,
}

/// What a reply means for the connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// It goes on.
    Go,
    /// It is to be dropped and made again.
    Leave,
}

/// What a HELLO means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Greeting {
    /// The session is open.
    Open,
    /// Another session is to be opened.
    Another(Open),
    /// No server says that.
    Nonsense,
}

impl Pipeline {
    /// Without a session yet; the first one is to be `session`.
    pub(super) fn new(unknown_ms: u64, session: SessionId) -> Self {
        Self {
            waiting: VecDeque::new(),
            flying: VecDeque::new(),
            base: 1,
            session,
            life: None,
            epoch: None,
            has_sent: false,
            confirmed: 0,
            limits: IngestLimits::DEFAULT,
            unconfirmed: SessionLimits::DEFAULT.unconfirmed as usize,
            unknown_ms,
            settled: Vec::new(),
            resent: 0,
        }
    }

    /// Takes what was offered.
    pub(super) fn add(&mut self, items: impl IntoIterator<Item = Item>) {
        self.waiting.extend(items);
    }

    /// What is asked for on a new connection.
    pub(super) fn opening(&mut self) -> Open {
        self.confirmed = self.base - 1;
        Open { session: self.session, resumes: self.has_sent, confirmed: self.confirmed }
    }

    /// The server has answered the opening with this. `fresh` is the name of another session,
    /// should one be needed.
    pub(super) fn greet(&mut self, hello: &Hello, fresh: SessionId) -> Greeting {
        let Some(standing) = hello.session else { return Greeting::Nonsense };
        self.limits = hello.limits;
        self.unconfirmed = standing.limits.unconfirmed as usize;
        if self.has_sent && !standing.known {
            self.forgotten(standing.life);
            self.session = fresh;
            return Greeting::Another(self.opening());
        }
        if !self.take_up(standing.taken) {
            return Greeting::Nonsense;
        }
        (self.life, self.epoch) = (Some(standing.life), Some(hello.epoch));
        Greeting::Open
    }

    /// The server took everything up to `taken` and nothing behind it. That is sent again; returns
    /// whether it can be.
    fn take_up(&mut self, taken: u64) -> bool {
        let Some(ours) = taken.checked_sub(self.base - 1) else { return false };
        if ours > self.flying.len() as u64 {
            return false;
        }
        for nth in (0..self.flying.len()).rev() {
            let is_taken = (nth as u64) < ours;
            let slot = &mut self.flying[nth];
            // Of what the server took, messages that it refused because it was shutting down are
            // sent again too.
            if let Some(mut item) = slot.take_if(|item| !is_taken || item.first_sent.is_none()) {
                item.first_sent = None;
                self.waiting.push_front(item);
            }
        }
        self.flying.truncate(ours as usize);
        true
    }

    /// The server at the other end, which is in this life, does not know the session.
    fn forgotten(&mut self, life: Epoch) {
        let is_same_life = self.life == Some(life);
        let mut again = Vec::new();
        for mut item in self.flying.drain(..).flatten() {
            if is_same_life && item.first_sent.is_some() {
                self.settled.push((item, Err(FANFARE_E_UNKNOWN)));
            } else {
                item.first_sent = None;
                again.push(item);
            }
        }
        again.into_iter().rev().for_each(|item| self.waiting.push_front(item));
        self.base = 1;
        self.has_sent = false;
    }

    /// Whether there is something to write and room under way.
    pub(super) fn may_fill(&self) -> bool {
        let window = self.limits.window as usize * WINDOWS;
        !self.waiting.is_empty() && self.flying.len() < window.min(self.unconfirmed)
    }

    /// Writes what is next to a buffer that is empty: what was heard is confirmed, and frames of
    /// waiting messages follow.
    pub(super) fn fill(&mut self, out: &mut Vec<u8>, now: Millis) {
        if self.may_fill() && self.confirmed < self.base - 1 {
            self.confirmed = self.base - 1;
            write::confirm(self.confirmed, out);
        }
        while out.len() < AHEAD_BYTES && self.may_fill() {
            let Some(mut item) = self.waiting.pop_front() else { return };
            // The length counts what follows it. A frame over the limit would end the connection,
            // and every one after it.
            if item.frame.len() - 4 > self.limits.frame_bytes as usize {
                self.settled.push((item, Err(FANFARE_E_TOO_LARGE)));
                continue;
            }
            self.resent += u64::from(item.was_sent);
            item.first_sent = Some(now);
            item.was_sent = true;
            self.has_sent = true;
            out.extend_from_slice(&item.frame);
            self.flying.push_back(Some(item));
        }
    }

    /// What the server said, in an open session.
    pub(super) fn handle(&mut self, reply: &Reply<'_>) -> Then {
        let epoch = self.epoch.unwrap_or(Epoch::from_random(0));
        match *reply {
            Reply::Hello(_) => {}
            Reply::Answer(answer) => {
                let place = Placed {
                    epoch: answer.id(epoch).epoch.number(),
                    position: answer.position,
                    offset: answer.offset,
                    subscribers: answer.subscribers,
                    duplicate: answer.duplicate,
                    also: Some(answer.also.collect::<Vec<_>>())
                        .filter(|also| !also.is_empty())
                        .map(Arc::new),
                };
                self.settle(answer.sequence, Ok(place));
            }
            Reply::Refused { code: RefusalCode::SHUTTING_DOWN, sequence, .. } => {
                // It was not published, and is to be sent again on another connection: it stays,
                // and what became of it is known.
                if let Some(Some(item)) = self.flown(sequence) {
                    item.first_sent = None;
                }
                return Then::Leave;
            }
            Reply::Refused { sequence, code, .. } => self.settle(sequence, Err(of_refusal(code))),
            Reply::Ack(sequence) => self.acknowledge(sequence, epoch),
            Reply::Error { code, .. } => {
                // What is before the offending frame has its outcome.
                if matches!(code, ErrorCode::MALFORMED | ErrorCode::TOO_LARGE)
                    && let Some(item) = self.flying.iter_mut().find_map(Option::take)
                {
                    self.settled.push((item, Err(-i32::from(code.0))));
                }
                return Then::Leave;
            }
            Reply::Goodbye { last, .. } => {
                let first = usize::try_from((last + 1).saturating_sub(self.base)).unwrap_or(0);
                for item in self.flying.iter_mut().skip(first).flatten() {
                    item.first_sent = None;
                }
                return Then::Leave;
            }
        }
        Then::Go
    }

    /// The connection is lost, with so many bytes of the last ones that were to be written.
    pub(super) fn lose(&mut self, mut unsent: usize) {
        while let Some(Some(item)) = self.flying.back()
            && let Some(less) = unsent.checked_sub(item.frame.len())
            && let Some(Some(mut item)) = self.flying.pop_back()
        {
            unsent = less;
            item.first_sent = None;
            self.waiting.push_front(item);
        }
    }

    /// Gives up what was first sent too long ago. Only without a connection.
    pub(super) fn expire(&mut self, now: Millis) {
        while self.next_expiry().is_some_and(|due| due <= now) {
            let mut sent = self.flying.iter_mut().filter(|slot| is_unknown(slot));
            let Some(item) = sent.next().and_then(Option::take) else { return };
            self.settled.push((item, Err(FANFARE_E_UNKNOWN)));
        }
    }

    /// When the next message will have been sent too long ago.
    pub(super) fn next_expiry(&self) -> Option<Millis> {
        let sent = self.flying.iter().flatten().find_map(|item| item.first_sent);
        sent.map(|at| at.plus(self.unknown_ms))
    }

    /// Ends all of them: `code` for what was not sent. What comes after is of the session `fresh`.
    pub(super) fn end(&mut self, code: Code, fresh: SessionId) {
        for item in self.flying.drain(..).flatten() {
            let code = if item.first_sent.is_some() { FANFARE_E_UNKNOWN } else { code };
            self.settled.push((item, Err(code)));
        }
        for item in self.waiting.drain(..) {
            self.settled.push((item, Err(code)));
        }
        if self.has_sent {
            (self.session, self.base, self.has_sent) = (fresh, 1, false);
            (self.life, self.epoch) = (None, None);
        }
    }

    /// As [`Pipeline::end`], for good.
    pub(super) fn close(&mut self) {
        self.end(FANFARE_E_PIPE, self.session);
    }

    /// Those that have their outcome since the last call.
    pub(super) fn take_settled(&mut self) -> Vec<(Item, Outcome)> {
        std::mem::take(&mut self.settled)
    }

    /// Messages that were sent again since the last call.
    pub(super) fn take_resent(&mut self) -> u64 {
        std::mem::take(&mut self.resent)
    }

    /// Number of the first message without an outcome.
    pub(super) fn first_open(&self) -> Option<u64> {
        let flying = self.flying.iter().flatten().next();
        flying.or_else(|| self.waiting.front()).map(|item| item.number)
    }

    fn flown(&mut self, sequence: u64) -> Option<&mut Option<Item>> {
        let nth = usize::try_from(sequence.checked_sub(self.base)?).ok()?;
        self.flying.get_mut(nth)
    }

    fn settle(&mut self, sequence: u64, outcome: Outcome) {
        if let Some(item) = self.flown(sequence).and_then(Option::take) {
            self.settled.push((item, outcome));
        }
    }

    fn acknowledge(&mut self, sequence: u64, epoch: Epoch) {
        while self.base <= sequence
            && let Some(slot) = self.flying.pop_front()
        {
            self.base += 1;
            let Some(item) = slot else { continue };
            // A message whose place was asked for has been answered before it is acknowledged.
            // Where that was left out, the place is unknown.
            let outcome = if item.sender.wants_place() {
                Err(FANFARE_E_UNKNOWN)
            } else {
                Ok(Placed { epoch: epoch.number(), ..Placed::default() })
            };
            self.settled.push((item, outcome));
        }
    }
}

/// Whether nobody knows what became of it.
fn is_unknown(slot: &Option<Item>) -> bool {
    slot.as_ref().is_some_and(|item| item.first_sent.is_some())
}

#[cfg(test)]
mod tests;
