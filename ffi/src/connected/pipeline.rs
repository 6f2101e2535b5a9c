//! The messages of one publisher on their way: no socket, no clock, no thread.
//!
//! ```text
//!  offered ──> waiting ──fill──> flying ──answer, refusal, acknowledgement──> settled
//!                 ^                 │
//!                 └────── lost ─────┘   in their order, each under its key
//! ```
//!
//! On a connection the n-th message that is written has the number n ([`Pipeline::base`] is that of
//! the front of `flying`). A message that has its outcome before those in front of it leaves a
//! hole there.
//!
//! **What was written and has no outcome when the connection is lost is sent again**, because
//! nobody knows; the server finds the key and answers with the first place. That holds as long as
//! it remembers keys, so a message that was first sent too long ago is told *unknown* instead.

use std::collections::VecDeque;

use fanfare::clock::Millis;
use fanfare_protocol::id::Epoch;
use fanfare_protocol::ingest::client::Reply;
use fanfare_protocol::ingest::{ErrorCode, RefusalCode};
use fanfare_protocol::limits::IngestLimits;

use crate::code::{FANFARE_E_PIPE, FANFARE_E_TOO_LARGE, FANFARE_E_UNKNOWN, of_refusal};
use crate::outcome::{Courier, Outcome, Place};

/// Bytes that are encoded ahead of the socket.
const AHEAD_BYTES: usize = 256 << 10;
/// Windows of the server that may be under way: it reads one, the others wait in the socket.
const WINDOWS: usize = 4;

/// One message without an outcome.
pub(super) struct Item {
    /// Its PUBLISH frame, with a key.
    pub(super) frame: Box<[u8]>,
    /// How many messages this publisher took up to it.
    pub(super) number: u64,
    courier: Courier,
    /// When it was first written to a socket, where its outcome is not known to be "not published".
    first_sent: Option<Millis>,
}

impl Item {
    pub(super) fn new(frame: Box<[u8]>, courier: Courier) -> Self {
        Self { frame, number: 0, courier, first_sent: None }
    }

    pub(super) fn deliver(self, outcome: Outcome) {
        self.courier.deliver(outcome);
    }
}

/// All messages of one publisher that have no outcome.
pub(super) struct Pipeline {
    waiting: VecDeque<Item>,
    flying: VecDeque<Option<Item>>,
    base: u64,
    limits: IngestLimits,
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

impl Pipeline {
    pub(super) fn new(unknown_ms: u64) -> Self {
        Self {
            waiting: VecDeque::new(),
            flying: VecDeque::new(),
            base: 1,
            limits: IngestLimits::DEFAULT,
            unknown_ms,
            settled: Vec::new(),
            resent: 0,
        }
    }

    /// Takes what was offered.
    pub(super) fn add(&mut self, items: impl IntoIterator<Item = Item>) {
        self.waiting.extend(items);
    }

    /// A server has said what it takes.
    pub(super) fn greet(&mut self, limits: IngestLimits) {
        self.limits = limits;
    }

    /// Whether there is something to write and room under way.
    pub(super) fn may_fill(&self) -> bool {
        !self.waiting.is_empty() && self.flying.len() < self.limits.window as usize * WINDOWS
    }

    /// Appends frames of waiting messages to what is written next.
    pub(super) fn fill(&mut self, out: &mut Vec<u8>, now: Millis) {
        while out.len() < AHEAD_BYTES && self.may_fill() {
            let Some(mut item) = self.waiting.pop_front() else { return };
            // The length counts what follows it. A frame over the limit would end the connection,
            // and every one after it.
            if item.frame.len() - 4 > self.limits.frame_bytes as usize {
                self.settled.push((item, Err(FANFARE_E_TOO_LARGE)));
                continue;
            }
            self.resent += u64::from(item.first_sent.is_some());
            item.first_sent.get_or_insert(now);
            out.extend_from_slice(&item.frame);
            self.flying.push_back(Some(item));
        }
    }

    /// What the server said.
    pub(super) fn handle(&mut self, reply: &Reply<'_>, epoch: Epoch) -> Then {
        match *reply {
            Reply::Hello(_) => {}
            Reply::Answer(answer) => {
                let place = Place {
                    epoch: epoch.number(),
                    position: answer.position,
                    offset: answer.offset,
                    subscribers: answer.subscribers,
                    duplicate: answer.duplicate,
                };
                self.settle(answer.sequence, Ok(place));
            }
            Reply::Refused { code: RefusalCode::SHUTTING_DOWN, sequence, .. } => {
                // Not published, and to be sent again elsewhere: it stays, and is no riddle.
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
            Reply::Goodbye(last) => {
                let first = usize::try_from((last + 1).saturating_sub(self.base)).unwrap_or(0);
                for item in self.flying.iter_mut().skip(first).flatten() {
                    item.first_sent = None;
                }
                return Then::Leave;
            }
        }
        Then::Go
    }

    /// The connection is lost: what has no outcome is sent again on the next one.
    pub(super) fn lose(&mut self) {
        for item in self.flying.drain(..).rev().flatten() {
            self.waiting.push_front(item);
        }
        self.base = 1;
    }

    /// Gives up what was first sent too long ago to be sent again. Only without a connection.
    pub(super) fn expire(&mut self, now: Millis) {
        while self.next_expiry().is_some_and(|due| due <= now) {
            let Some(item) = self.waiting.pop_front() else { return };
            self.settled.push((item, Err(FANFARE_E_UNKNOWN)));
        }
    }

    /// When the next message will have been sent too long ago. Those that were sent stand in front.
    pub(super) fn next_expiry(&self) -> Option<Millis> {
        self.waiting.front()?.first_sent.map(|at| at.plus(self.unknown_ms))
    }

    /// Ends all of them.
    pub(super) fn end(&mut self) {
        self.lose();
        for item in self.waiting.drain(..) {
            let code = if item.first_sent.is_some() { FANFARE_E_UNKNOWN } else { FANFARE_E_PIPE };
            self.settled.push((item, Err(code)));
        }
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
            // An answer comes before the acknowledgement, so nobody asked for the place.
            let outcome = if item.courier.wants_place() {
                Err(FANFARE_E_UNKNOWN)
            } else {
                Ok(Place { epoch: epoch.number(), ..Place::default() })
            };
            self.settled.push((item, outcome));
        }
    }
}

#[cfg(test)]
mod tests;
