//! What is true of a client, one thing at a time.

use super::RECHECK_MS;
use super::asking::{Asking, ending};
use super::events::Events;
use super::flow::Flow;
use super::leaving::{Leaving, Was};
use super::millis32::Millis32;
use super::outbox::{Outbox, private};
use super::reading::Reading;
use super::shared::Shared;
use super::socket::Socket;
use crate::clock::Millis;
use crate::driver::Close;
use crate::limits::Limits;
use crate::metrics::ShardMetrics;
use crate::transport::input::Early;
use crate::transport::long_poll::{Item, Poll};

/// Private bytes that may wait for a client before its own bytes are no longer read.
const PRIVATE_BYTES_MAX: usize = 4 << 10;

/// What is true of a client. What few have is boxed.
#[derive(Debug)]
pub(super) enum State {
    /// It is between requests, or before its first. The answer to the last may be on its way.
    Idle(Idle),
    /// A part of a request is here.
    Reading(Box<Reading>),
    /// The sequencer was asked and answers soon. What the client sends waits. No deadline.
    Asking(Box<Asking>),
    /// A poll that waits for a message.
    Waiting(Box<Waiting>),
    /// A stream of events that is open.
    Events(Events),
    /// A WebSocket that is open.
    Socket(Socket),
    /// The last bytes are in the outbox; then it is closed.
    Leaving(Leaving),
}

/// Between requests.
#[derive(Debug)]
pub(super) struct Idle {
    /// What came behind the last request, to be read when its answer is on its way.
    pub(super) early: Option<Box<Early>>,
    /// When its first head must be whole; after an answer, when it is looked at.
    pub(super) due: Millis32,
    /// Whether it had an answer and may wait for its next request.
    pub(super) served: bool,
}

/// A poll that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) poll: Poll,
    /// When the client's patience is over.
    pub(super) due: Millis,
    /// As in [`Asking`].
    pub(super) keep_alive: bool,
    /// As in [`Asking`].
    pub(super) early: Option<Box<Early>>,
}

impl Waiting {
    /// Answers with `items`, whatever there is up to `position`. Says whether another request may
    /// follow, and what came of it.
    pub(super) fn answer<'a>(
        self,
        items: impl Iterator<Item = Item<'a>>,
        position: u64,
        outbox: &mut Option<Box<Outbox>>,
        now: Millis,
        shared: &mut Shared,
    ) -> (bool, Option<Box<Early>>) {
        let Self { poll, keep_alive, early, .. } = self;
        let keep_alive = keep_alive && !shared.ending; // and the answer says so
        let (epoch, date) = (shared.context.epoch, shared.date(now));
        let answer = poll.answer(items, epoch, position, date, ending(keep_alive));
        private(outbox).extend_from_slice(&answer.bytes);
        shared.metrics().deliveries.add(answer.messages);
        shared.metrics().gaps.add(answer.gaps);
        shared.metrics().polls.sub(1);
        (keep_alive, early)
    }
}

/// What becomes of a client whose deadline is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// Its time is not over yet, or it is we who are late: it is looked at then.
    LookAgain(Millis),
    /// Its time is over.
    End(Close),
    /// It takes nothing of its answer.
    Stalled,
    /// No whole request came.
    NoRequest,
}

impl State {
    /// Whether what the client sends is read, while so many `private` bytes wait for it; `hangup`
    /// says that it may have ended its side. Nothing is while something that came before waits for
    /// its turn: what we hold of a client that sends on and on is what one receive brought.
    pub(super) fn wants_bytes(&self, private: usize, hangup: bool) -> bool {
        match self {
            Self::Idle(idle) => private == 0 && idle.early.is_none(),
            Self::Reading(_) => private == 0,
            Self::Asking(_) => false,
            // Only to learn whether it has ended its side or has a request behind this one.
            Self::Waiting(waiting) => hangup && !waiting.poll.is_begun() && waiting.early.is_none(),
            Self::Events(_) | Self::Socket(_) => private <= PRIVATE_BYTES_MAX,
            Self::Leaving(_) => true,
        }
    }

    /// When its deadline is over.
    pub(super) fn due(&self, now: Millis) -> Option<Millis> {
        match self {
            Self::Asking(_) => None,
            Self::Idle(idle) => Some(idle.due.at(now)),
            Self::Reading(reading) => Some(reading.due),
            Self::Waiting(waiting) => Some(waiting.due),
            Self::Leaving(leaving) => Some(leaving.due.at(now)),
            Self::Events(events) => Some(events.due(now)),
            Self::Socket(socket) => Some(socket.due(now)),
        }
    }

    /// What becomes of what is no stream and no poll when its deadline is over. `unread` says that
    /// bytes of the client wait for us to read them, `has_private` that it has not taken all.
    pub(super) fn overdue(
        &self,
        flow: &Flow,
        (unread, has_private): (bool, bool),
        (told, now): (Millis, Millis),
        limits: &Limits,
    ) -> Overdue {
        // It has room for what it is owed, and it is we who have not come to write it. If that was
        // no room after all, the send finds out, and judges it ([`Flow::took_part`]).
        if has_private && !flow.is_blocked() {
            return Overdue::LookAgain(now.plus(RECHECK_MS));
        }
        match self {
            // It was too slow before: no byte that it takes now gives it more time.
            Self::Leaving(leaving) if leaving.is_cut_off => Overdue::End(Close::Abort),
            Self::Leaving(leaving) if has_private && leaving.lingers => Overdue::End(Close::Abort),
            // One that has not taken its whole answer has time for as long as it takes bytes.
            _ if has_private => {
                let progress = flow.progress(told);
                if told.since(progress) < limits.stall_ms {
                    Overdue::LookAgain(progress.plus(limits.stall_ms))
                } else {
                    Overdue::Stalled
                }
            }
            Self::Leaving(_) => Overdue::End(Close::Gracefully),
            // Its bytes are here, and it is we who have not come to read them.
            _ if unread => Overdue::LookAgain(now.plus(RECHECK_MS)),
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

    /// What is not a stream is looked at again then.
    pub(super) fn look_again(&mut self, at: Millis) {
        match self {
            Self::Idle(idle) => idle.due = Millis32::of(at),
            Self::Reading(reading) => reading.due = at,
            Self::Leaving(leaving) => leaving.due = Millis32::of(at),
            Self::Asking(_) | Self::Waiting(_) | Self::Events(_) | Self::Socket(_) => {}
        }
    }

    /// Whose page sends a body and may read what is said to it.
    pub(super) fn reader(&self) -> Option<&str> {
        match self {
            Self::Reading(reading) => reading.reader(),
            _ => None,
        }
    }

    /// Where what came behind a request may wait.
    pub(super) fn early_mut(&mut self) -> Option<&mut Option<Box<Early>>> {
        match self {
            Self::Idle(idle) => Some(&mut idle.early),
            Self::Asking(asking) => Some(&mut asking.early),
            Self::Waiting(waiting) => Some(&mut waiting.early),
            Self::Reading(_) | Self::Events(_) | Self::Socket(_) | Self::Leaving(_) => None,
        }
    }

    /// What came behind a request.
    #[cfg(test)]
    pub(super) fn early(&self) -> Option<&Option<Box<Early>>> {
        match self {
            Self::Idle(idle) => Some(&idle.early),
            Self::Asking(asking) => Some(&asking.early),
            Self::Waiting(waiting) => Some(&waiting.early),
            Self::Reading(_) | Self::Events(_) | Self::Socket(_) | Self::Leaving(_) => None,
        }
    }

    /// Counts it out of the gauge that it was counted in.
    pub(super) fn count_out(&self, metrics: &ShardMetrics) {
        match self {
            Self::Socket(_) | Self::Leaving(Leaving { was: Was::Socket, .. }) => {
                metrics.websockets.sub(1);
            }
            Self::Events(_) | Self::Leaving(Leaving { was: Was::Events, .. }) => {
                metrics.event_streams.sub(1);
            }
            Self::Waiting(_) => metrics.polls.sub(1),
            Self::Idle(_) | Self::Reading(_) | Self::Asking(_) | Self::Leaving(_) => {}
        }
    }
}

impl Default for State {
    /// What stands in for a state that is being left.
    fn default() -> Self {
        Self::Idle(Idle { early: None, due: Millis32::NEVER, served: false })
    }
}
