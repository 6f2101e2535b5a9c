//! One client's life as a pure machine: bytes, times and answers in; private bytes and
//! `Effect`s out. It knows neither the kernel nor channels' logs: [`crate::shard`] joins it to a
//! socket, to the wheel, to the order and to the fan-out.
//!
//! **The one rule:** after each call that is given `ShardResources` the shard does the effects in
//! it, before it calls another session, and lets its wheel look at `Session::due`.
//!
//! ```text
//!            bytes             whole              reply
//!   Idle ------------> Reading -------> Asking ----------> Waiting (a poll)
//!    ^  <---- answer -----'               |  '-----------> Events, Socket
//!    '------------------- answer ---------'-- and of Waiting, where the connection is kept
//!   '---------------------- an Exchange ------------------'  '- a Stream -'
//!
//!   from everywhere, with the last bytes in the outbox: Leaving, and then the end
//! ```
//!
//! What came is read before time is judged. A thread may stand still for seconds (a busy machine, a
//! paused one), and what its clients sent meanwhile came in time. So two times go through here:
//! `told`, up to which the kernel has told everything, by which deadlines are judged; and `now`,
//! from which new ones run. And whoever waits to be read or written to by us is not late.

mod asking;
mod carrying;
mod complaints;
mod dates;
mod dismissal;
mod effect;
mod events;
mod exchange;
mod flow;
mod given_socket;
mod heard;
mod held;
mod here;
mod leaving;
mod line;
pub mod machine;
mod millis32;
mod newcomer;
mod outbox;
mod overdue;
mod reading;
mod refresh;
mod requests;
mod shared;
mod socket;
mod speaker;
mod standing;
mod state;
mod stream;
mod tenure;
#[cfg(test)]
mod tests;
mod waiting;
mod whole_answer;

use std::sync::Arc;

use fanfare_identity::Identity;
use fanfare_protocol::dialect::Encoding;
use fanfare_protocol::dialect::machine::{Answer, Machine};
use fanfare_protocol::http::Violation;
use fanfare_protocol::id::Id;
use fanfare_protocol::message::GapView;

use crate::clock::Millis;
use crate::driver::Close;
use crate::limits::Limits;
use crate::sequencer::command::{Refusal, Subscribed};
use crate::session_id::SessionId;
use crate::transport::door::Hold;
use flow::Flow;
use heard::Heard;
pub(crate) use here::Here;
use leaving::{Farewell, Leaving, REFUSED_CLOSE_MS, SLOW_CLOSE_MS, Was};
use line::Line;
use millis32::Millis32;
use overdue::Overdue;
use requests::FIRST;
use state::State;
use stream::Stream;
use tenure::Tenure;

pub(crate) use asking::BringResult;
pub(crate) use carrying::Unheld;
pub(crate) use effect::Effect;
#[cfg(test)]
pub(crate) use events::spread_ms;
pub(crate) use exchange::{Exchange, ExchangeStep};
pub(crate) use held::Held;
pub(crate) use outbox::{Outbox, Spare, took};
pub(crate) use requests::REQUESTS_MAX;
pub(crate) use shared::ShardResources;
pub(crate) use whole_answer::WholeAnswer;

/// A client.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) state: State,
    pub(crate) line: Line,
}

impl Session {
    /// A client before its first byte. One that is `over_limit` is kept until it has been told so.
    pub(crate) fn new(over_limit: bool, now: Millis, limits: &Limits) -> Self {
        let due = Millis32::after(now, limits.head_ms);
        let state = State::Exchange(Exchange::new(due));
        let flow = if over_limit { Flow::over_limit(now) } else { Flow::new(now) };
        Self { state, line: Line::new(flow) }
    }

    /// Bytes of memory that only this client uses, beside the entry of its connection.
    pub(crate) fn memory(&self) -> usize {
        let outbox = self.line.outbox.as_ref().map_or(0, |it| size_of::<Outbox>() + it.memory());
        let tenure = self.line.tenure.as_ref().map_or(0, |_| size_of::<Tenure>());
        outbox + tenure + self.state.memory()
    }

    /// A client that begins apart from its sockets, heard by this machine, which learns what it is
    /// called before anything comes for it.
    pub(crate) fn held(
        machine: Box<dyn Machine>,
        id: &SessionId,
        identity: Option<Arc<Identity>>,
        encoding: Encoding,
        now: Millis,
        shared: &mut ShardResources,
    ) -> Self {
        let tenant = shared.context.tenant_of(identity.as_deref());
        let held = Held::new(machine, tenant, encoding, now, &shared.context.limits);
        let state = State::Stream(Stream::Held(Box::new(held)));
        let mut session = Self { state, line: Line::new(Flow::new(now)) };
        let here = &mut Here::new(&mut session.line, now, shared);
        here.line.tenure = identity.map(|it| Tenure::of(it, here));
        if let Some(heard) = session.with_held(now, shared, |held, here| held.begin(id, here)) {
            session.heard(heard, now, shared);
        }
        session
    }

    /// One that comes from another shard, to be held.
    pub(crate) fn unheld(unheld: Unheld, now: Millis) -> Self {
        let state = State::Exchange(Exchange::unheld(unheld));
        Self { state, line: Line::new(Flow::new(now)) }
    }

    /// Whether what the client sends is read now; `hangup` says that it may have ended its side.
    pub(crate) fn wants_bytes(&self, hangup: bool) -> bool {
        self.state.wants_bytes(self.line.private_bytes(), hangup)
    }

    /// Whether this is the end of it: the kernel says that the peer has ended its side or failed
    /// (`hangup`), or failed (`gone`). While the sequencer is asked its answer comes soon, and may
    /// be all that the client waits for; then it is looked at again.
    pub(crate) fn is_over(&self, hangup: bool, gone: bool) -> bool {
        match self.state {
            State::Stream(_) | State::Exchange(Exchange::Carrying(_)) => {
                hangup && !self.wants_bytes(true)
            }
            // Who has only ended its side may wait for its answer.
            State::Exchange(Exchange::Waiting(_)) => gone,
            _ => false,
        }
    }

    /// When it is to be looked at.
    pub(crate) fn due(&self, now: Millis) -> Option<Millis> {
        let due = self.state.due(now)?;
        let tenure = self.line.tenure.as_ref().and_then(|tenure| tenure.due());
        let due = tenure.filter(|_| self.state.is_stream()).map_or(due, |it| it.min(due));
        // Only a stream is looked at more often: what ends an answer or a farewell is its own time.
        let look = self.line.flow.next_look(now).filter(|_| self.state.is_stream());
        Some(look.map_or(due, |look| look.min(due)))
    }
}

/// What the client does.
impl Session {
    /// Its bytes.
    pub(crate) fn take(&mut self, bytes: &mut [u8], now: Millis, shared: &mut ShardResources) {
        match &mut self.state {
            State::Exchange(_) => {
                self.exchange(now, shared, |exchange, here| exchange.take(bytes, here));
            }
            State::Stream(stream) => {
                let heard = stream.take(bytes, &mut Here::new(&mut self.line, now, shared));
                self.heard(heard, now, shared);
            }
            State::Leaving(leaving) => {
                if leaving.take(bytes, &shared.context.limits, now) {
                    shared.want(Effect::Visit);
                }
            }
        }
    }

    /// It has ended its side.
    pub(crate) fn client_ended(&mut self, now: Millis, shared: &mut ShardResources) {
        let has_private = self.line.has_private();
        match &mut self.state {
            // It has said all and may still listen: it gets its last words, and the end.
            State::Leaving(leaving) if has_private => {
                leaving.lingers = false;
                shared.want(Effect::Visit);
            }
            State::Exchange(exchange) => {
                if !exchange.client_ended(&mut Here::new(&mut self.line, now, shared)) {
                    shared.want(Effect::End(Close::Gracefully));
                }
            }
            State::Stream(_) | State::Leaving(_) => shared.want(Effect::End(Close::Gracefully)),
        }
    }

    /// Calls the exchange that it is at, if it is at one.
    pub(crate) fn exchange(
        &mut self,
        now: Millis,
        shared: &mut ShardResources,
        call: impl FnOnce(Exchange, &mut Here<'_>) -> ExchangeStep,
    ) {
        if let State::Exchange(exchange) = &mut self.state {
            let here = &mut Here::new(&mut self.line, now, shared);
            let step = call(std::mem::take(exchange), here);
            self.step(step, now, shared);
        }
    }

    /// What a call of an exchange led to.
    fn step(&mut self, step: ExchangeStep, now: Millis, shared: &mut ShardResources) {
        match step {
            ExchangeStep::On(exchange) => self.state = State::Exchange(exchange),
            ExchangeStep::Open(stream, early) => {
                self.state = State::Stream(*stream);
                if let Some(mut early) = early {
                    self.take(early.rest(), now, shared);
                }
            }
            ExchangeStep::Leave { ms, lingers } => self.leave(ms, lingers, now, shared),
            ExchangeStep::Dismiss { lingers } => {
                shared.metrics().websockets.add(1); // until it has left
                let due = Millis32::after(now, shared.context.limits.close_ms);
                self.leave_as(Leaving::new(Was::Socket, None, due, lingers), shared);
            }
        }
    }

    /// What a WebSocket client said, or its machine, or neither in time.
    fn heard(&mut self, heard: Heard, now: Millis, shared: &mut ShardResources) {
        if matches!(heard, Heard::Abandoned) {
            return shared.want(Effect::End(Close::Gracefully));
        }
        let State::Stream(stream) = &mut self.state else { return };
        if matches!(heard, Heard::TakesOver) && stream.takes_over() {
            shared.want(Effect::TakeOver);
        }
        if let Some(lingers) = stream.end(heard, &mut Here::new(&mut self.line, now, shared)) {
            return self.leave(shared.context.limits.close_ms, lingers, now, shared);
        }
        shared.spare.take_back(&mut self.line.outbox);
        if self.line.has_private() {
            shared.want(Effect::Visit);
        }
    }
}

/// What the kernel does.
impl Session {
    /// There is room again for a client that was blocked.
    pub(crate) fn has_room(&mut self, limits: &Limits, now: Millis) {
        self.line.flow.has_room();
        if let State::Stream(stream) = &mut self.state {
            stream.has_room(limits, now);
        }
    }

    /// A send went whole.
    pub(crate) fn took_all(&mut self, now: Millis) {
        self.line.flow.took_all(now);
        self.state.as_held().into_iter().for_each(Held::note_said);
    }

    /// A send did not go whole; `some` of it did. Whether it is blocked now, and not at its end.
    pub(crate) fn took_part(
        &mut self,
        some: bool,
        now: Millis,
        shared: &mut ShardResources,
    ) -> bool {
        let is_alive = self.line.flow.took_part(some, shared.context.limits.stall_ms, now);
        self.state.as_held().filter(|_| some).into_iter().for_each(Held::note_said);
        if !is_alive {
            shared.cut_off_slow();
        }
        is_alive
    }

    /// Everything that it was owed is sent.
    pub(crate) fn drained(&mut self, now: Millis, shared: &mut ShardResources) {
        match &mut self.state {
            State::Leaving(leaving) if !leaving.lingers => {
                shared.want(Effect::End(Close::Gracefully));
            }
            State::Leaving(_) => {}
            State::Stream(_) if shared.ending => {
                self.farewell(Farewell::Shutdown, shared.context.limits.close_ms, now, shared);
            }
            State::Stream(_) => {}
            State::Exchange(Exchange::Carrying(carrying)) => {
                carrying
                    .has_spoken_for()
                    .into_iter()
                    .for_each(|it| shared.want(Effect::Carries(it)));
            }
            State::Exchange(_) => {
                self.exchange(now, shared, |exchange, here| exchange.next(here));
            }
        }
    }
}

/// What the order and the fan-out do.
impl Session {
    /// The answer to a request to follow that is waited for. `spread` is any number that differs
    /// from client to client: so clients that came in one moment, as after a restart, are not all
    /// spoken to in one moment for as long as they stay.
    pub(crate) fn subscribed(
        &mut self,
        reply: &Subscribed,
        spread: u16,
        now: Millis,
        shared: &mut ShardResources,
    ) {
        let mut early = None;
        match std::mem::take(&mut self.state) {
            State::Exchange(Exchange::Asking(asking)) => {
                let here = &mut Here::new(&mut self.line, now, shared);
                let (opened, behind) = asking.open(reply, spread, here);
                early = behind;
                self.state = opened.into();
            }
            other => self.state = other,
        }
        if let State::Stream(stream) = &mut self.state {
            let heard = stream.subscribed(reply, &mut Here::new(&mut self.line, now, shared));
            self.heard(heard, now, shared);
        }
        if let Some(mut early) = early {
            self.take(early.rest(), now, shared);
        }
    }

    /// How a request ended that followed nothing; one that nobody waits for is passed over.
    pub(crate) fn answered(
        &mut self,
        request: u32,
        answer: Answer<'_>,
        now: Millis,
        shared: &mut ShardResources,
    ) {
        match &mut self.state {
            State::Exchange(_) => {
                self.exchange(now, shared, |exchange, here| exchange.answered(answer, here))
            }
            State::Stream(stream) => {
                let heard =
                    stream.answered(request, answer, &mut Here::new(&mut self.line, now, shared));
                self.heard(heard, now, shared);
            }
            State::Leaving(_) => {}
        }
    }

    /// Everything up to that position was sent.
    pub(crate) fn caught_up(&mut self, now: Millis, shared: &mut ShardResources) {
        let State::Stream(stream) = &mut self.state else { return };
        let heard = stream.caught_up(&mut Here::new(&mut self.line, now, shared));
        self.heard(heard, now, shared);
    }

    /// The order has ended: it gets what is owed, then a farewell. Where the order was lost no
    /// answer comes any more to what it was asked.
    pub(crate) fn order_ended(&mut self, owed: bool, now: Millis, shared: &mut ShardResources) {
        let has_private = self.line.has_private();
        match &mut self.state {
            State::Stream(Stream::Held(held)) if held.is_detached() => {
                shared.want(Effect::End(Close::Gracefully)); // nobody is there to be told
            }
            State::Stream(_) if owed => shared.want(Effect::Visit),
            State::Stream(_) => {
                self.farewell(Farewell::Shutdown, shared.context.limits.close_ms, now, shared);
            }
            // What it asked another shard comes by the order, too.
            State::Exchange(Exchange::Asking(asking))
                if asking.is_to_bring() || shared.life.has_lost_order() =>
            {
                self.answered(FIRST, Answer::Refused(Refusal::ShuttingDown), now, shared);
            }
            State::Exchange(exchange) => exchange.order_ended(has_private, shared),
            State::Leaving(_) => {}
        }
    }

    /// It is owed messages that are not kept any more, and its channel's rule is to disconnect.
    pub(crate) fn close_slow(&mut self, now: Millis, shared: &mut ShardResources) {
        shared.metrics().slow_closed.add(1);
        self.farewell(Farewell::Slow, SLOW_CLOSE_MS, now, shared);
        if let State::Leaving(leaving) = &mut self.state {
            leaving.is_cut_off = true;
        }
    }

    /// It holds most of a memory that is full. A stream that still takes bytes is closed as slow, a
    /// request under way is answered 503; who takes nothing is cut off, or would go on holding it.
    pub(crate) fn let_go(&mut self, now: Millis, shared: &mut ShardResources) {
        match &mut self.state {
            State::Stream(_) if !self.line.is_blocked() => return self.close_slow(now, shared),
            State::Stream(_) | State::Leaving(_) => {}
            State::Exchange(exchange) => {
                let exchange = std::mem::take(exchange);
                if let Some(step) = exchange.let_go(&mut Here::new(&mut self.line, now, shared)) {
                    return self.step(step, now, shared);
                }
            }
        }
        shared.cut_off_slow();
    }

    /// It is in the middle of a message or an answer, for which there is no room any more.
    pub(crate) fn let_go_of_pages(&mut self, shared: &mut ShardResources) {
        shared.metrics().holders_closed.add(1);
        shared.want(Effect::End(Close::Abort));
    }

    /// It has lost messages and goes on after them: a stream is told now, a poll with its answer.
    pub(crate) fn tell_gap(&mut self, gap: &GapView<'_>, encoding: Encoding) {
        match &mut self.state {
            State::Exchange(Exchange::Waiting(waiting)) => waiting.poll.missed(gap),
            _ => encoding.gap(gap, outbox::frame(&mut self.line.outbox, encoding.framing())),
        }
    }

    /// Whether the answer to a poll that is being gathered is to end here.
    pub(crate) fn has_spoken_behind_gathered(&mut self) -> bool {
        let written = self.line.private_bytes();
        self.state.as_held().is_some_and(|held| held.has_spoken_behind(written))
    }

    /// Answers a poll with what was gathered, up to `reached`.
    pub(crate) fn answer_poll(&mut self, reached: Id, now: Millis, shared: &mut ShardResources) {
        self.with_held(now, shared, Held::answer);
        self.exchange(now, shared, |exchange, here| exchange.answer_poll(reached, here));
    }
}

/// What requests and sockets that come for a client apart from them do.
impl Session {
    /// Calls the client apart from its sockets, if it is one.
    pub(crate) fn with_held<T>(
        &mut self,
        now: Millis,
        shared: &mut ShardResources,
        call: impl FnOnce(&mut Held, &mut Here<'_>) -> T,
    ) -> Option<T> {
        let held = self.state.as_held()?;
        Some(call(held, &mut Here::new(&mut self.line, now, shared)))
    }

    /// A request is to be held for it.
    pub(crate) fn comes(&mut self, hold: Hold, now: Millis, shared: &mut ShardResources) {
        if let Some(heard) = self.with_held(now, shared, |held, here| held.comes(hold, here)) {
            self.heard(heard, now, shared);
        }
    }

    /// One whole message of this session's client.
    pub(crate) fn bring(
        &mut self,
        bytes: &mut [u8],
        now: Millis,
        shared: &mut ShardResources,
    ) -> BringResult {
        if self.state.as_held().is_none() {
            return BringResult::Gone;
        }
        if !self.wants_bytes(false) {
            return BringResult::Full;
        }
        self.take(bytes, now, shared);
        BringResult::Taken
    }
}

/// What time does.
impl Session {
    /// Its time is over, or it is to be looked at. `unread` says that bytes of the client wait for
    /// us to read them, `lost` that it has left the live window of a channel that disconnects.
    pub(crate) fn deadline(
        &mut self,
        (unread, lost): (bool, bool),
        (told, now): (Millis, Millis),
        shared: &mut ShardResources,
    ) {
        if self.age(told, now, shared) {
            return;
        }
        let here = &mut Here::new(&mut self.line, now, shared);
        match self.state.deadline((unread, lost), told, here) {
            Overdue::LookAgain(at) => self.state.look_again(at),
            Overdue::Heard(heard) => self.heard(heard, now, shared),
            Overdue::End(how) => shared.want(Effect::End(how)),
            Overdue::Stalled => shared.cut_off_slow(),
            Overdue::Slow => self.close_slow(now, shared),
            Overdue::Unnamed => self.exchange(now, shared, |it, here| it.unnamed(here)),
            Overdue::NoRequest => {
                let State::Exchange(exchange) = &self.state else { return };
                let reader = exchange.reader().map(str::to_owned);
                self.refuse(Violation::HeadDeadline, reader.as_deref(), now, shared);
            }
        }
    }
}

/// How states end.
impl Session {
    /// Refuses its request as one that a page of the origin `reader` may read about, and leaves.
    pub(crate) fn refuse(
        &mut self,
        violation: Violation,
        reader: Option<&str>,
        now: Millis,
        shared: &mut ShardResources,
    ) {
        reading::refuse(violation, reader, &mut Here::new(&mut self.line, now, shared));
        self.leave(REFUSED_CLOSE_MS, true, now, shared);
    }

    /// Says farewell to a stream, which ends when that is sent.
    fn farewell(
        &mut self,
        farewell: Farewell<'_>,
        close_ms: u64,
        now: Millis,
        shared: &mut ShardResources,
    ) {
        let retry_ms = shared.context.limits.retry_ms;
        let State::Stream(stream) = &self.state else { return };
        let lingers = stream.say_farewell(farewell, retry_ms, &mut self.line.outbox);
        self.leave(close_ms, lingers, now, shared);
    }

    /// Sends what is private and then ends; where it `lingers`, it reads and drops meanwhile and
    /// waits for the client to end its side, at most `ms`.
    fn leave(&mut self, ms: u64, lingers: bool, now: Millis, shared: &mut ShardResources) {
        let is_told = match &mut self.state {
            State::Stream(Stream::Held(held)) => {
                held.leaves(&mut Here::new(&mut self.line, now, shared))
            }
            _ => true,
        };
        let (was, frames) = match std::mem::take(&mut self.state) {
            State::Stream(stream) => stream.into_leaving(),
            _ => (Was::Exchange, None),
        };
        if !is_told {
            shared.want(Effect::UnfollowAll);
            return shared.want(Effect::End(Close::Gracefully)); // nobody waits for more
        }
        let due = Millis32::after(now, ms);
        self.leave_as(Leaving::new(was, frames, due, lingers), shared);
    }

    fn leave_as(&mut self, leaving: Leaving, shared: &mut ShardResources) {
        self.state = State::Leaving(leaving);
        shared.want(Effect::UnfollowAll);
        shared.want(Effect::Visit);
    }
}
