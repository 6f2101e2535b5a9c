//! A client with requests and answers: one request after the other, until one of them is a stream
//! or its last.
//!
//! What a call leads to is an [`ExchangeStep`], which [`super::Session`] takes.

use std::sync::Arc;

use fanfare_identity::Identity;
use fanfare_protocol::dialect::Encoding;
use fanfare_protocol::dialect::machine::Answer;
use fanfare_protocol::http::Violation;
use fanfare_protocol::id::Id;
use fanfare_protocol::ws::handshake::{self, Switch};

use super::asking::{self, Asking, BringResult};
use super::carrying::{Carrying, Unheld};
use super::effect::Effect;
use super::flow::Flow;
use super::here::Here;
use super::leaving::REFUSED_CLOSE_MS;
use super::millis32::Millis32;
use super::newcomer::Newcomer;
use super::overdue::{Overdue, RECHECK_MS};
use super::reading::{self, Next, Reading};
use super::requests::FIRST;
use super::shared::ShardResources;
use super::socket::Socket;
use super::stream::Stream;
use super::tenure::Tenure;
use super::waiting::Waiting;
use super::whole_answer::WholeAnswer;
use crate::clock::Millis;
use crate::driver::{Close, Token};
use crate::limits::Limits;
use crate::transport::door::{HoldRequest, Once, Upgrade};
use crate::transport::input::Early;

/// Where the client is with its requests. What few clients have is boxed.
#[derive(Debug)]
pub(crate) enum Exchange {
    /// It is between requests, or before its first. The answer to the last may be on its way.
    Idle(Idle),
    /// A part of a request is here.
    Reading(Box<Reading>),
    /// The sequencer was asked and answers soon. What the client sends waits. No deadline.
    Asking(Box<Asking>),
    /// A poll that waits for a message.
    Waiting(Box<Waiting>),
    /// It has asked to follow channels, and who it is is not known yet.
    Newcomer(Box<Newcomer>),
    /// A request that is held for a session, which says what goes over it. Until it has an answer
    /// its only deadline is the session's.
    Carrying(Box<Carrying>),
}

/// Between requests.
#[derive(Debug)]
pub(crate) struct Idle {
    /// What came behind the last request, to be read when its answer is on its way.
    pub(super) early: Option<Box<Early>>,
    /// When its first head must be whole; after an answer, when it is looked at.
    pub(super) due: Millis32,
    /// Whether it had an answer and may wait for its next request.
    pub(super) served: bool,
}

/// What a call of an exchange leads to.
#[derive(Debug)]
pub(crate) enum ExchangeStep {
    /// It goes on like this.
    On(Exchange),
    /// It is a stream from here on. What came behind the request is said over that.
    Open(Box<Stream>, Option<Box<Early>>),
    /// Its last words over a WebSocket are written.
    Dismiss {
        /// Whether it waits for the client to close.
        lingers: bool,
    },
    /// Its last words are written. It ends after so long at most; where it `lingers`, it waits for
    /// the client to end its side.
    Leave {
        /// From now to its end.
        ms: u64,
        /// Whether it waits for the client.
        lingers: bool,
    },
}

impl Exchange {
    /// Before the first byte.
    pub(super) fn new(due: Millis32) -> Self {
        Self::Idle(Idle { early: None, due, served: false })
    }

    /// Bytes of the client.
    pub(super) fn take(mut self, bytes: &mut [u8], here: &mut Here<'_>) -> ExchangeStep {
        if let Self::Newcomer(newcomer) = self {
            return newcomer.take(bytes, here);
        }
        if let Self::Asking(_) | Self::Waiting(_) | Self::Carrying(_) = self {
            self.keep_early(Box::new(Early::new(bytes)));
            return ExchangeStep::On(self);
        }
        let (taken, step) = self.read(bytes, here);
        match step {
            ExchangeStep::On(Self::Newcomer(newcomer)) if newcomer.wants_bytes() => {
                newcomer.take(&mut bytes[taken..], here)
            }
            ExchangeStep::On(mut next) if taken < bytes.len() => {
                next.keep_early(Box::new(Early::new(&bytes[taken..])));
                ExchangeStep::On(next)
            }
            step => step,
        }
    }

    /// The answer to a request has gone out: what came with it is the next one.
    pub(super) fn next(mut self, here: &mut Here<'_>) -> ExchangeStep {
        let Self::Idle(Idle { early, .. }) = &mut self else { return ExchangeStep::On(self) };
        let Some(mut early) = early.take() else { return ExchangeStep::On(self) };
        let (taken, step) = self.read(early.rest(), here);
        match step {
            ExchangeStep::On(Self::Newcomer(newcomer)) if newcomer.wants_bytes() => {
                early.advance(taken);
                newcomer.take(early.rest(), here)
            }
            ExchangeStep::On(mut next) if early.advance(taken) => {
                next.keep_early(early);
                ExchangeStep::On(next)
            }
            step => step,
        }
    }

    /// Takes bytes of a request. Says how many of them belonged to it.
    fn read(self, bytes: &[u8], here: &mut Here<'_>) -> (usize, ExchangeStep) {
        let reading = match self {
            Self::Reading(reading) => *reading,
            Self::Idle(Idle { served: true, .. }) => {
                Reading::new(here.now.plus(here.shared.context.limits.head_ms))
            }
            Self::Idle(idle) => Reading::new(idle.due.at(here.now)),
            Self::Asking(_) | Self::Waiting(_) | Self::Newcomer(_) | Self::Carrying(_) => {
                debug_assert!(false, "no request is read while {self:?}");
                return (bytes.len(), ExchangeStep::On(self));
            }
        };
        let (taken, next) = reading.take(bytes, here);
        let step = match next {
            Next::More(reading) => ExchangeStep::On(Self::Reading(reading)),
            Next::Answered { keep_alive } => next_or_leave(keep_alive, None, here),
            Next::Refused => ExchangeStep::refused(true),
            Next::Follow { ask, keep_alive } => asking::begin(ask, keep_alive, here),
            // Where the order was lost nobody is left who could answer a publish.
            Next::Publish { .. } if here.shared.ending => {
                reading::refuse(Violation::Draining, None, here);
                ExchangeStep::refused(true)
            }
            Next::Publish { publication, body, keep_alive } => {
                here.shared.want(Effect::Publish { request: FIRST, publication, body });
                ExchangeStep::On(Self::Asking(Box::new(Asking::to_publish(keep_alive))))
            }
            Next::Hold { request, keep_alive } => Self::hold(request, keep_alive, here),
            Next::Refresh { of, identity, origin, keep_alive } => {
                here.shared.want(Effect::Refresh(of, identity));
                ExchangeStep::On(Self::Asking(Box::new(Asking::to_bring(origin, keep_alive))))
            }
            Next::Bring { brought, origin, keep_alive } => {
                here.shared.want(Effect::Bring(brought));
                ExchangeStep::On(Self::Asking(Box::new(Asking::to_bring(origin, keep_alive))))
            }
        };
        here.shared.spare.take_back(&mut here.line.outbox);
        (taken, step)
    }

    /// Asks to be held for a session, unless nobody more is taken in.
    fn hold(request: Box<HoldRequest>, keep_alive: bool, here: &mut Here<'_>) -> ExchangeStep {
        if let Some(violation) = here.shared.turns_away(here.line.flow.is_over_limit()) {
            reading::refuse(violation, request.origin.as_deref(), here);
            return ExchangeStep::refused(true);
        }
        let origin = request.origin.clone();
        here.shared.want(Effect::Hold(request));
        ExchangeStep::On(Self::unheld(Unheld::new(origin, keep_alive)))
    }

    /// A request that is to be held: it came from another shard, or has just been read.
    pub(super) fn unheld(unheld: Unheld) -> Self {
        Self::Carrying(Box::new(Carrying::new(unheld)))
    }

    /// What is left where its socket is a WebSocket of this session's.
    pub(super) fn given_to(session: Token) -> Self {
        Self::Carrying(Box::new(Carrying::given_to(session)))
    }

    /// What another shard needs to hold it.
    pub(super) fn into_unheld(self) -> Option<Unheld> {
        let Self::Carrying(carrying) = self else { return None };
        Some(carrying.into_unheld())
    }

    /// It is held for this session: a stream begins, or it waits for its answer.
    pub(crate) fn carry(
        mut self,
        session: Token,
        once: Option<Once>,
        here: &mut Here<'_>,
    ) -> ExchangeStep {
        if let Self::Carrying(carrying) = &mut self {
            carrying.begin(session, once, here);
        }
        ExchangeStep::On(self)
    }

    /// It becomes a WebSocket that knocks for this session. What came behind the request is said
    /// over that.
    pub(crate) fn knock(
        self,
        session: Token,
        (upgrade, key): (Upgrade, &Switch),
        identity: Option<Arc<Identity>>,
        here: &mut Here<'_>,
    ) -> ExchangeStep {
        let Self::Carrying(carrying) = self else { return ExchangeStep::On(self) };
        let date = here.date();
        here.line.tenure = identity.map(|it| Tenure::of(it, here));
        handshake::write_switch(here.private(), date, key);
        here.shared.metrics().websockets.add(1);
        here.shared.want(Effect::Visit);
        let (tenant, limits) = (here.tenant(), &here.shared.context.limits);
        let socket = Socket::knocking(session, upgrade, tenant, here.now, limits);
        ExchangeStep::Open(Box::new(Stream::Socket(socket)), carrying.into_unheld().into_early())
    }

    /// This is its answer. Its session hears when it has gone out.
    pub(crate) fn answer(mut self, answer: WholeAnswer, here: &mut Here<'_>) -> ExchangeStep {
        if let Self::Carrying(carrying) = &mut self {
            carrying.answer(answer, here);
        }
        ExchangeStep::On(self)
    }

    /// It is held no more: its answer ends, where it has not.
    pub(crate) fn release(self, here: &mut Here<'_>) -> ExchangeStep {
        let Self::Carrying(carrying) = self else { return ExchangeStep::On(self) };
        let (keep_alive, early) = carrying.release(here);
        next_or_leave(keep_alive, early, here)
    }

    /// Answers a request with what became of the thing that it brought to a session.
    pub(crate) fn told(self, told: BringResult, here: &mut Here<'_>) -> ExchangeStep {
        match self {
            Self::Asking(asking) if asking.is_to_bring() => match asking.told(told, here) {
                Some((keep_alive, early)) => next_or_leave(keep_alive, early, here),
                None => ExchangeStep::refused(true),
            },
            other => ExchangeStep::On(other),
        }
    }

    /// Keeps the bytes that came behind a request until its answer is on its way. While they are
    /// here nothing more is read.
    pub(super) fn keep_early(&mut self, early: Box<Early>) {
        let Some(place) = self.early_mut() else { return };
        debug_assert!(place.is_none(), "bytes were read that nobody wanted");
        *place = Some(early);
    }

    /// The client has ended its side; says whether there is still something to send to it. It may
    /// be gone, or wait for the answer to all that it has said (RFC 9112, section 9.6), and only
    /// sent bytes can tell. So the head of the answer goes out now. A client that is gone answers
    /// it with RST; one that listens gets the rest when it is there.
    pub(super) fn client_ended(&mut self, here: &mut Here<'_>) -> bool {
        let Self::Waiting(waiting) = self else { return false };
        waiting.poll.begin(here.date(), here.private());
        waiting.keep_alive = false;
        here.shared.want(Effect::Visit);
        true
    }

    /// How what the sequencer is asked to follow is to be encoded, and up to which length of a
    /// message.
    pub(super) fn reads(&self) -> Option<(Encoding, Option<u32>)> {
        match self {
            Self::Asking(asking) => asking.reads(),
            _ => None,
        }
    }

    /// The answer to a request after which nothing is followed.
    pub(super) fn answered(self, answer: Answer<'_>, here: &mut Here<'_>) -> ExchangeStep {
        match (self, answer) {
            (Self::Asking(asking), Answer::Published(published)) => {
                let (keep_alive, early) = asking.answer(published, here);
                next_or_leave(keep_alive, early, here)
            }
            (Self::Asking(asking), Answer::Refused(refusal)) => asking.refuse(refusal, here),
            (other, _) => ExchangeStep::On(other),
        }
    }

    /// An endpoint of keys was asked, if it waits for one.
    pub(crate) fn keys_came(self, here: &mut Here<'_>) -> ExchangeStep {
        match self {
            Self::Newcomer(newcomer) => newcomer.keys_came(here),
            other => ExchangeStep::On(other),
        }
    }

    /// Whoever it speaks for may not do that any more. An answer that has begun goes on to its end,
    /// which is near.
    pub(super) fn deny(self, violation: Violation, here: &mut Here<'_>) -> ExchangeStep {
        match self {
            Self::Asking(asking) => asking.turn_away(violation, here),
            Self::Waiting(waiting) if !waiting.poll.is_begun() => {
                here.shared.metrics().polls.sub(1);
                reading::refuse(violation, waiting.poll.reader(), here);
                ExchangeStep::refused(true)
            }
            other => ExchangeStep::On(other),
        }
    }

    /// Who it is was not to be learnt in time, where it has not said or keys have not come.
    pub(crate) fn unnamed(self, here: &mut Here<'_>) -> ExchangeStep {
        match self {
            Self::Newcomer(newcomer) => newcomer.overdue(here),
            other => ExchangeStep::On(other),
        }
    }

    /// Answers a poll with what was gathered, up to `reached`.
    pub(super) fn answer_poll(self, reached: Id, here: &mut Here<'_>) -> ExchangeStep {
        let Self::Waiting(waiting) = self else { return ExchangeStep::On(self) };
        let (keep_alive, early) = waiting.answer(reached, here);
        here.shared.want(Effect::UnfollowAll);
        next_or_leave(keep_alive, early, here)
    }

    /// The order has ended. A head that is under way is refused when it is whole; answers are on
    /// their way.
    pub(super) fn order_ended(&mut self, has_private: bool, shared: &mut ShardResources) {
        match self {
            Self::Waiting(waiting) => {
                waiting.begin_answer();
                shared.want(Effect::Visit);
            }
            Self::Idle(idle) if idle.early.is_none() && !has_private => {
                shared.want(Effect::End(Close::Gracefully));
            }
            _ => {}
        }
    }

    /// Whether what the client sends is read, while so many `private` bytes wait for it; `hangup`
    /// says that it may have ended its side. Nothing is read while earlier bytes wait for their
    /// turn: so of a client that never stops sending we hold what one receive brought.
    pub(super) fn wants_bytes(&self, private: usize, hangup: bool) -> bool {
        match self {
            Self::Idle(idle) => private == 0 && idle.early.is_none(),
            Self::Reading(_) => private == 0,
            Self::Asking(_) => false,
            Self::Waiting(waiting) => hangup && waiting.wants_bytes(),
            Self::Newcomer(newcomer) => private == 0 && newcomer.wants_bytes(),
            Self::Carrying(carrying) => hangup && carrying.early.is_none(),
        }
    }

    /// Bytes of memory beside those of a connection that waits for its next request.
    pub(super) fn memory(&self) -> usize {
        let early = |early: &Option<Box<Early>>| early.as_ref().map_or(0, |early| early.memory());
        match self {
            Self::Idle(idle) => early(&idle.early),
            Self::Reading(reading) => size_of::<Reading>() + reading.memory(),
            Self::Asking(asking) => size_of::<Asking>() + asking.memory() + early(&asking.early),
            Self::Waiting(waiting) => waiting.memory() + early(&waiting.early),
            Self::Newcomer(newcomer) => newcomer.memory() + early(&newcomer.early),
            Self::Carrying(carrying) => size_of::<Carrying>() + early(&carrying.early),
        }
    }

    /// Lets go of what it holds, because there is no memory for it: a request under way is told to
    /// come back. `None` where it cannot be told, because it does not take what it was sent before.
    pub(super) fn let_go(self, here: &mut Here<'_>) -> Option<ExchangeStep> {
        match self {
            Self::Idle(_) | Self::Carrying(_) => None,
            Self::Reading(reading) => {
                reading::refuse(Violation::Busy, reading.reader(), here);
                Some(ExchangeStep::refused(true))
            }
            Self::Asking(asking) => Some(asking.turn_away(Violation::Busy, here)),
            Self::Newcomer(newcomer) => Some(newcomer.turn_away(here)),
            // It has its answer now, with whatever there is.
            Self::Waiting(mut waiting) => {
                waiting.begin_answer();
                here.shared.want(Effect::Visit);
                Some(ExchangeStep::On(Self::Waiting(waiting)))
            }
        }
    }

    /// When its deadline is over.
    pub(super) fn due(&self, now: Millis) -> Option<Millis> {
        match self {
            Self::Asking(_) => None,
            Self::Carrying(carrying) => carrying.due(),
            Self::Idle(idle) => Some(idle.due.at(now)),
            Self::Reading(reading) => Some(reading.due),
            Self::Waiting(waiting) => Some(waiting.due),
            Self::Newcomer(newcomer) => Some(newcomer.due),
        }
    }

    /// What becomes of it when its deadline is over, and it has taken all that it was told.
    pub(super) fn overdue(
        &self,
        flow: &Flow,
        unread: bool,
        now: Millis,
        limits: &Limits,
    ) -> Overdue {
        match self {
            // Its bytes are here, and it is we who have not come to read them.
            _ if unread => Overdue::LookAgain(now.plus(RECHECK_MS)),
            Self::Newcomer(_) => Overdue::Unnamed,
            // Its answer has gone out, and its session is about to hear that.
            Self::Carrying(_) => Overdue::LookAgain(now.plus(RECHECK_MS)),
            Self::Idle(idle) if idle.served => {
                let since = flow.progress(now);
                if now.since(since) < limits.idle_ms {
                    Overdue::LookAgain(since.plus(limits.idle_ms))
                } else {
                    Overdue::End(Close::Gracefully)
                }
            }
            _ => Overdue::NoRequest,
        }
    }

    /// It is looked at again then.
    pub(super) fn look_again(&mut self, at: Millis) {
        match self {
            Self::Idle(idle) => idle.due = Millis32::of(at),
            Self::Reading(reading) => reading.due = at,
            Self::Carrying(carrying) => carrying.look_again(at),
            Self::Waiting(waiting) => waiting.due = at,
            Self::Newcomer(newcomer) => newcomer.due = at,
            Self::Asking(_) => {}
        }
    }

    /// The origin of the page that sends a body and may read the answer.
    pub(super) fn reader(&self) -> Option<&str> {
        match self {
            Self::Reading(reading) => reading.reader(),
            _ => None,
        }
    }

    /// Where what came behind a request may wait.
    fn early_mut(&mut self) -> Option<&mut Option<Box<Early>>> {
        match self {
            Self::Idle(idle) => Some(&mut idle.early),
            Self::Asking(asking) => Some(&mut asking.early),
            Self::Waiting(waiting) => Some(&mut waiting.early),
            Self::Newcomer(newcomer) => Some(&mut newcomer.early),
            Self::Carrying(carrying) => Some(&mut carrying.early),
            Self::Reading(_) => None,
        }
    }

    /// What came behind a request.
    #[cfg(test)]
    pub(super) fn early(&self) -> Option<&Early> {
        match self {
            Self::Idle(idle) => idle.early.as_deref(),
            Self::Asking(asking) => asking.early.as_deref(),
            Self::Waiting(waiting) => waiting.early.as_deref(),
            Self::Newcomer(newcomer) => newcomer.early.as_deref(),
            Self::Carrying(carrying) => carrying.early.as_deref(),
            Self::Reading(_) => None,
        }
    }
}

impl Default for Exchange {
    /// What stands in for an exchange that is being called.
    fn default() -> Self {
        Self::new(Millis32::NEVER)
    }
}

impl ExchangeStep {
    /// A refusal that ends the connection is written. Behind it nothing is kept.
    pub(super) fn refused(lingers: bool) -> Self {
        Self::Leave { ms: REFUSED_CLOSE_MS, lingers }
    }
}

/// An ordinary answer is in the outbox: the connection is free for its next request, or ends.
fn next_or_leave(keep_alive: bool, early: Option<Box<Early>>, here: &mut Here<'_>) -> ExchangeStep {
    here.line.tenure = None; // each request says itself whom it speaks for
    // Looked at when it may have stalled; one that has taken all is idle for longer.
    let look_ms = here.shared.context.limits.idle_ms.min(here.shared.context.limits.stall_ms);
    if !keep_alive || here.shared.ending {
        return ExchangeStep::Leave { ms: look_ms, lingers: false };
    }
    here.shared.want(Effect::Served);
    here.shared.want(Effect::Visit);
    let due = Millis32::after(here.now, look_ms);
    ExchangeStep::On(Exchange::Idle(Idle { early, due, served: true }))
}
