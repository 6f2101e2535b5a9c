//! The state of a client: one of three, with all that is true in it.

use std::sync::Arc;

use fanfare_protocol::dialect::Encoding;

use super::asking::Opened;
use super::carrying::{Carrying, Unheld};
use super::effect::Effect;
use super::exchange::Exchange;
use super::held::Held;
use super::here::Here;
use super::leaving::Leaving;
use super::millis32::Millis32;
use super::overdue::{Overdue, RECHECK_MS};
use super::requests::FIRST;
use super::socket::Socket;
use super::stream::Stream;
use crate::channel::ChannelName;
use crate::clock::Millis;
use crate::driver::{Close, Token};
use crate::fanout::Gathering;
use crate::limits::Limits;
use crate::metrics::ShardMetrics;

/// Private bytes that may wait for a client before its own bytes are no longer read.
pub(super) const PRIVATE_BYTES_MAX: usize = 4 << 10;

/// The state of a client.
#[derive(Debug)]
pub(crate) enum State {
    /// It has requests, each with an answer.
    Exchange(Exchange),
    /// It is told what comes.
    Stream(Stream),
    /// The last bytes are in the outbox; then it is closed.
    Leaving(Leaving),
}

impl State {
    /// Bytes of memory that only this client uses, beside the entry of its connection.
    pub(super) fn memory(&self) -> usize {
        match self {
            Self::Exchange(exchange) => exchange.memory(),
            Self::Stream(stream) => stream.memory(),
            Self::Leaving(leaving) => leaving.memory(),
        }
    }

    /// Bytes of memory of what came behind a request.
    #[cfg(test)]
    pub(crate) fn early_memory(&self) -> usize {
        let Self::Exchange(exchange) = self else { return 0 };
        exchange.early().map_or(0, |early| early.memory())
    }

    /// How the channels of this request are to be read, and up to which length of a message where
    /// it says so, if its answer is waited for.
    pub(crate) fn awaits(&self, request: u32) -> Option<(Encoding, Option<u32>)> {
        match self {
            Self::Exchange(exchange) if request == FIRST => exchange.reads(),
            Self::Stream(stream) => {
                stream.requests()?.is_outstanding(request).then_some((stream.encoding(), None))
            }
            _ => None,
        }
    }

    /// Whether a channel of this request, whose answer is waited for, is still wanted.
    pub(crate) fn wants(&self, request: u32, channel: &ChannelName) -> bool {
        match self {
            Self::Stream(stream) => {
                stream.requests().is_some_and(|requests| requests.wants(request, channel))
            }
            _ => true,
        }
    }

    /// By which view it wants a channel, if by any.
    pub(crate) fn view(&self, channel: &ChannelName) -> Option<&Arc<str>> {
        match self {
            Self::Stream(stream) => stream.requests()?.view(channel),
            _ => None,
        }
    }

    /// The position up to which everything must be sent before its machine is told that it caught
    /// up, if it waits for that.
    pub(crate) fn catches_up_to(&self) -> Option<u64> {
        match self {
            Self::Stream(stream) => stream.requests()?.catches_up_to(),
            _ => None,
        }
    }

    /// Whether it is a poll that waits; one of a client apart from its sockets, too.
    pub(crate) fn is_polled(&self) -> bool {
        match self {
            Self::Exchange(exchange) => matches!(exchange, Exchange::Waiting(_)),
            Self::Stream(Stream::Held(held)) => held.is_polled(),
            _ => false,
        }
    }

    /// Whether what is written for a poll goes with its answer, and is none of that by itself.
    pub(crate) fn answers_with_private(&self) -> bool {
        matches!(self, Self::Stream(_))
    }

    /// Whether it is a poll that waits, with another one behind it.
    pub(crate) fn is_waiting_before_another(&self, limits: &Limits) -> bool {
        match self {
            Self::Exchange(Exchange::Waiting(waiting)) => {
                waiting.early.as_ref().is_some_and(|early| early.holds_poll(&limits.http))
            }
            _ => false,
        }
    }

    /// What was gathered for a poll so far, if it is to be answered whatever there is.
    pub(crate) fn gathered(&self) -> Option<&Gathering> {
        match self {
            Self::Exchange(Exchange::Waiting(waiting)) => waiting.gathering.as_deref(),
            Self::Stream(Stream::Held(held)) => held.gathered(),
            _ => None,
        }
    }

    /// The same, to be added to.
    pub(crate) fn gathering(&mut self) -> Option<&mut Gathering> {
        match self {
            Self::Exchange(Exchange::Waiting(waiting)) => waiting.gathering.as_deref_mut(),
            Self::Stream(Stream::Held(held)) => held.gathering(),
            _ => None,
        }
    }

    /// There is something to answer a poll with.
    pub(crate) fn begin_answer(&mut self) {
        match self {
            Self::Exchange(Exchange::Waiting(waiting)) => waiting.begin_answer(),
            Self::Stream(Stream::Held(held)) => held.begin_answer(),
            _ => {}
        }
    }

    /// The request that is held for a session, where it is one.
    pub(crate) fn as_carrying(&self) -> Option<&Carrying> {
        match self {
            Self::Exchange(Exchange::Carrying(carrying)) => Some(carrying),
            _ => None,
        }
    }

    /// The client apart from its sockets, where it is one.
    pub(crate) fn as_held(&mut self) -> Option<&mut Held> {
        match self {
            Self::Stream(Stream::Held(held)) => Some(held),
            _ => None,
        }
    }

    /// For which session its socket knocks, if for any.
    pub(crate) fn knocks_for(&self) -> Option<Token> {
        match self {
            Self::Stream(Stream::Socket(socket)) => socket.knock().map(|knock| knock.session),
            _ => None,
        }
    }

    /// Gives the WebSocket to the session that it knocks for, which sends over it from here on.
    pub(super) fn give_socket(&mut self) -> Option<Socket> {
        let given_to = self.knocks_for()?;
        match std::mem::replace(self, Self::Exchange(Exchange::given_to(given_to))) {
            Self::Stream(Stream::Socket(socket)) => Some(socket),
            _ => None,
        }
    }

    /// What is left of a request that is to be held, which goes to another shard.
    pub(crate) fn into_unheld(self) -> Option<Unheld> {
        match self {
            Self::Exchange(exchange) => exchange.into_unheld(),
            _ => None,
        }
    }

    /// Whether it is a stream that is open.
    pub(crate) fn is_stream(&self) -> bool {
        matches!(self, Self::Stream(_))
    }

    /// Whether what the client sends is read, while so many `private` bytes wait for it; `hangup`
    /// says that it may have ended its side.
    pub(super) fn wants_bytes(&self, private: usize, hangup: bool) -> bool {
        match self {
            Self::Exchange(exchange) => exchange.wants_bytes(private, hangup),
            Self::Stream(_) => private <= PRIVATE_BYTES_MAX,
            Self::Leaving(_) => true,
        }
    }

    /// When its deadline is over.
    pub(super) fn due(&self, now: Millis) -> Option<Millis> {
        match self {
            Self::Exchange(exchange) => exchange.due(now),
            Self::Stream(stream) => Some(stream.due(now)),
            Self::Leaving(leaving) => Some(leaving.due.at(now)),
        }
    }

    /// Its time is over, or it is to be looked at. `unread` says that bytes of the client wait for
    /// us to read them, `lost` that it has left the live window of a channel that disconnects.
    pub(super) fn deadline(
        &mut self,
        (unread, lost): (bool, bool),
        told: Millis,
        here: &mut Here<'_>,
    ) -> Overdue {
        let (now, stall_ms) = (here.now, here.shared.context.limits.stall_ms);
        match self {
            Self::Exchange(Exchange::Waiting(_)) if here.line.flow.has_stalled(stall_ms, told) => {
                Overdue::Stalled
            }
            Self::Exchange(Exchange::Waiting(waiting)) => {
                waiting.begin_answer();
                here.shared.want(Effect::Visit);
                Overdue::LookAgain(now.plus(RECHECK_MS))
            }
            // Who goes on after a gap is told of it when there is room.
            Self::Stream(stream) if here.line.is_blocked() => {
                here.line.flow.look(now);
                let limits = &here.shared.context.limits;
                if here.line.flow.has_stalled(stall_ms, told) {
                    Overdue::Stalled
                } else if lost {
                    Overdue::Slow
                } else {
                    Overdue::Heard(stream.deadline_while_blocked(unread, (told, now), limits))
                }
            }
            Self::Stream(stream) => {
                let silent_since = here.line.flow.progress(told);
                Overdue::Heard(stream.deadline(unread, silent_since, told, here))
            }
            Self::Exchange(_) | Self::Leaving(_) => self.overdue(unread, told, here),
        }
    }

    /// What becomes of a client that is no stream and no poll when its deadline is over. `unread`
    /// says that its bytes wait for us to read them.
    fn overdue(&self, unread: bool, told: Millis, here: &Here<'_>) -> Overdue {
        let (flow, now, limits) = (&here.line.flow, here.now, &here.shared.context.limits);
        let has_private = here.has_private();
        // The client has room, and it is we who have not written yet. If it has none after all, the
        // send finds that out and judges it ([`Flow::took_part`]).
        if has_private && !flow.is_blocked() {
            return Overdue::LookAgain(now.plus(RECHECK_MS));
        }
        match self {
            // It was too slow before: no byte that it takes now gives it more time.
            Self::Leaving(leaving) if leaving.is_cut_off => Overdue::End(Close::Abort),
            Self::Leaving(leaving) if has_private && leaving.lingers => Overdue::End(Close::Abort),
            // A client that has not taken its whole answer has time for as long as it takes bytes.
            _ if has_private => {
                let progress = flow.progress(told);
                if told.since(progress) < limits.stall_ms {
                    Overdue::LookAgain(progress.plus(limits.stall_ms))
                } else {
                    Overdue::Stalled
                }
            }
            Self::Leaving(_) | Self::Stream(_) => Overdue::End(Close::Gracefully),
            Self::Exchange(exchange) => exchange.overdue(flow, unread, now, limits),
        }
    }

    /// What is not a stream is looked at again then.
    pub(super) fn look_again(&mut self, at: Millis) {
        match self {
            Self::Exchange(exchange) => exchange.look_again(at),
            Self::Leaving(leaving) => leaving.due = Millis32::of(at),
            Self::Stream(_) => {}
        }
    }

    /// Counts it out of the gauge that it was counted in.
    pub(crate) fn count_out(&self, metrics: &ShardMetrics) {
        match self {
            Self::Exchange(Exchange::Waiting(_)) => metrics.polls.sub(1),
            Self::Exchange(_) => {}
            Self::Stream(stream) => stream.was().count_out(metrics),
            Self::Leaving(leaving) => leaving.was.count_out(metrics),
        }
    }
}

impl From<Opened> for State {
    fn from(opened: Opened) -> Self {
        match opened {
            Opened::Waiting(waiting) => Self::Exchange(Exchange::Waiting(waiting)),
            Opened::Stream(stream) => Self::Stream(stream),
        }
    }
}

impl Default for State {
    /// What stands in for a state that is being left.
    fn default() -> Self {
        Self::Exchange(Exchange::default())
    }
}
