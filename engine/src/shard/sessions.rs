//! The connections of one shard and all that happens to them, without the kernel: bytes and times
//! in, bytes to send, closes and commands out. [`super::Shard`] joins it to a driver and the ring.
//!
//! A connection that ends is forgotten at once; what the sequencer still has to hear of it waits in
//! `commands`. While anything waits there no head is read and nothing is accepted, so that queue is
//! bounded by the connections that are open.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use fanfare_protocol::http::Violation;
use fanfare_protocol::ws::close::ends_with_close;

use super::complaints::Complaints;
use super::connection::{Connection, Phase, Transport};
use super::dates::Dates;
use super::messages::ClientMessages;
use super::outbox::Spare;
use super::stamp::Stamp;
use super::table::Table;
use super::tick_budget::TickBudget;
use super::wheel::Wheel;
use crate::auth::address::Addresses;
use crate::clock::Millis;
use crate::driver::{Close, Outgoing, Received, SendOutcome, Token};
use crate::fanout::{BATCH_SENDS_MAX, Fanout, Found, Settled};
use crate::life::Life;
use crate::metrics::{Metrics, ShardMetrics};
use crate::sequencer::command::{Command, PublishAnswer, Refusal};
use crate::transport::Context;
use crate::transport::input::Early;

/// Private bytes that may wait for a client before its own bytes are no longer read.
const PRIVATE_BYTES_MAX: usize = 4 << 10;

/// Everything that a shard knows of its clients.
pub(super) struct Sessions<M> {
    pub(super) number: u8,
    pub(super) context: Arc<Context>,
    pub(super) life: Arc<Life>,
    pub(super) addresses: Arc<Addresses>,
    /// The `Date` of answers.
    pub(super) dates: Dates,
    /// Refusals that an operator is told of.
    pub(super) complaints: Complaints,
    metrics: Arc<Metrics>,
    pub(super) table: Table,
    /// What its channels keep, and whose turn it is.
    pub(super) fanout: Fanout,
    pub(super) wheel: Wheel,
    /// Connections to visit for reasons of their own.
    pub(super) queue: VecDeque<Token>,
    /// Connections to receive from.
    pub(super) reading: VecDeque<Token>,
    /// What the sequencer has still to be told.
    pub(super) commands: VecDeque<Command>,
    /// Whether the inbox was full: nothing is received or accepted until it has taken all.
    pub(super) backlog: bool,
    /// What the driver has still to be told.
    pub(super) closes: Vec<(Token, Close)>,
    /// What becomes of the messages that clients send.
    pub(super) client_messages: M,
    /// Last position that the ring has brought.
    pub(super) position: u64,
    /// Whether the end entry was read.
    pub(super) ending: bool,
    /// Outboxes that nobody uses.
    pub(super) spare: Spare,
    /// Reusable memory for those whose time has come.
    pub(super) due: Vec<u32>,
}

impl<M: ClientMessages> Sessions<M> {
    /// No connections yet.
    pub(super) fn new(
        number: u8,
        context: Arc<Context>,
        life: Arc<Life>,
        addresses: Arc<Addresses>,
        metrics: Arc<Metrics>,
        client_messages: M,
        now: Millis,
    ) -> Self {
        Self {
            number,
            dates: Dates::new(context.wall),
            fanout: Fanout::new(context.epoch, TickBudget::DEFAULT.quantum),
            complaints: Complaints::default(),
            context,
            life,
            addresses,
            metrics,
            table: Table::default(),
            wheel: Wheel::new(now),
            queue: VecDeque::new(),
            reading: VecDeque::new(),
            commands: VecDeque::new(),
            backlog: false,
            closes: Vec::new(),
            client_messages,
            position: 0,
            ending: false,
            spare: Spare::default(),
            due: Vec::new(),
        }
    }

    /// The node's numbers.
    pub(super) fn all_metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// This shard's numbers.
    pub(super) fn metrics(&self) -> &ShardMetrics {
        &self.metrics.shards[usize::from(self.number)]
    }

    /// A new connection. Without `room` it is kept only until it has been told so.
    pub(super) fn accept(
        &mut self,
        token: Token,
        peer: Option<std::net::IpAddr>,
        room: bool,
        now: Millis,
    ) {
        self.metrics().accepted.add(1);
        self.metrics().connections.add(1);
        let open = self.life.connections.fetch_add(1, Relaxed);
        let room = room && open < self.context.limits.connections;
        let mut connection = Connection::new(token.generation, now);
        connection.beat = Stamp::after(now, self.context.limits.head_ms);
        connection.flags.extra = !room;
        let welcome = peer.is_none_or(|peer| self.addresses.enter(self.number, token.index, peer));
        connection.flags.counted = peer.is_some() && welcome;
        self.table.insert(token.index, connection);
        self.arm(token, now);
        if !welcome {
            self.metrics().turned_away.add(1);
            self.refuse(token, Violation::TooManyFromAddress, now);
        }
    }

    /// The kernel says that bytes or an end may have come.
    pub(super) fn readable(&mut self, token: Token, hangup: bool, gone: bool) {
        let Some(connection) = self.table.get_mut(token) else { return };
        connection.flags.readable = true;
        connection.flags.hangup |= hangup;
        // While the sequencer is asked its answer comes soon, and may be all that the client waits
        // for; then it is looked at again.
        let over = match connection.phase {
            Phase::Open => hangup && !wants_bytes(connection),
            // One that has only ended its side may wait for its answer: `half_closed_poll`.
            Phase::Waiting => gone,
            _ => false,
        };
        if over {
            self.end(token, Close::Gracefully);
        } else {
            self.read_on(token);
        }
    }

    /// Queues a receive, where bytes may wait and are wanted.
    pub(super) fn read_on(&mut self, token: Token) {
        let Some(connection) = self.table.get_mut(token) else { return };
        let flags = connection.flags;
        if flags.readable && !flags.reading && wants_bytes(connection) {
            connection.flags.reading = true;
            self.reading.push_back(token);
        }
    }

    /// The kernel has room again for a client that was blocked.
    pub(super) fn writable(&mut self, token: Token, now: Millis) {
        if let Some(connection) = self.table.get_mut(token) {
            connection.flags.blocked = false;
            if connection.flags.pinged {
                // Our ping may have waited too: the pong has its whole time from here.
                let pong_ms = self.context.limits.pong_ms;
                if connection.beat.at(now) < now.plus(pong_ms) {
                    connection.beat = Stamp::after(now, pong_ms);
                }
            }
            self.visit_soon(token);
        }
    }

    /// Takes up to `max` connections to receive from, in turn.
    pub(super) fn readers(&mut self, max: usize, tokens: &mut Vec<Token>) {
        if self.backlog {
            return;
        }
        while tokens.len() < max
            && let Some(token) = self.reading.pop_front()
        {
            let Some(connection) = self.table.get_mut(token) else { continue };
            // It may have been answered since it was queued: then what it says has to wait.
            connection.flags.reading = wants_bytes(connection);
            tokens.extend(connection.flags.reading.then_some(token));
        }
    }

    /// What a receive brought.
    pub(super) fn received(&mut self, token: Token, received: Received<'_>, now: Millis) {
        let Some(connection) = self.table.get_mut(token) else { return };
        connection.flags.reading = false;
        match received {
            Received::Again => connection.flags.readable = connection.flags.hangup,
            Received::End if connection.phase == Phase::Leaving && connection.has_private() => {
                // It has said all and may still listen: it gets its last words, and the end.
                connection.flags.readable = false;
                connection.flags.linger = false;
                return self.visit_soon(token);
            }
            Received::End if connection.phase == Phase::Waiting => {
                connection.flags.readable = false;
                return self.half_closed_poll(token, now);
            }
            Received::End => self.end(token, Close::Gracefully),
            Received::Failed(_) => self.end(token, Close::Abort),
            Received::Bytes { bytes, more } => {
                connection.flags.readable = more || connection.flags.hangup;
                self.take(token, bytes, now);
            }
        }
        self.read_on(token);
    }

    /// Bytes of a client, in whatever phase it is.
    pub(super) fn take(&mut self, token: Token, bytes: &mut [u8], now: Millis) {
        let Some(connection) = self.table.get_mut(token) else { return };
        match (connection.phase, connection.transport) {
            (Phase::Head, _) => self.take_request(token, bytes, now),
            // The client answered our close; where the machine stands in its stream says nothing.
            (Phase::Leaving, Transport::WebSocket) if ends_with_close(bytes) => {
                connection.flags.linger = false;
                self.visit_soon(token);
            }
            (Phase::Open | Phase::Leaving, Transport::WebSocket) => {
                self.take_frames(token, bytes, now);
            }
            (Phase::Asking | Phase::Waiting, _) => self.keep_early(token, Early::new(bytes)),
            (Phase::Open | Phase::Leaving, _) => {}
        }
    }

    /// Queues a visit of one connection.
    pub(super) fn visit_soon(&mut self, token: Token) {
        if let Some(connection) = self.table.get_mut(token)
            && !connection.flags.queued
            && !connection.flags.blocked
        {
            connection.flags.queued = true;
            self.queue.push_back(token);
        }
    }

    /// Sends what is private and then ends; where `linger`, reads and drops meanwhile and waits for
    /// the client to end its side, at most `ms`.
    pub(super) fn leave(&mut self, token: Token, ms: u64, linger: bool, now: Millis) {
        self.detach(token);
        let Some(connection) = self.table.get_mut(token) else { return };
        connection.phase = Phase::Leaving;
        connection.flags.linger = linger;
        connection.beat = Stamp::after(now, ms);
        if connection.transport != Transport::WebSocket {
            connection.input = None;
        }
        self.arm(token, now);
        self.visit_soon(token);
        self.read_on(token);
    }

    /// Ends a connection: whatever it followed it follows no more, and its place is free.
    pub(super) fn end(&mut self, token: Token, how: Close) {
        if self.table.get_mut(token).is_none() {
            return;
        }
        self.detach(token);
        self.client_messages.ended(token);
        self.wheel.remove(&mut self.table, token.index);
        let connection = self.table.remove(token.index).expect("it was there");
        self.count_out(connection.phase, connection.transport);
        if connection.flags.counted {
            self.addresses.leave(self.number, token.index);
        }
        self.metrics().connections.sub(1);
        self.life.connections.fetch_sub(1, Relaxed);
        self.closes.push((token, how));
    }

    fn count_out(&self, phase: Phase, transport: Transport) {
        match (phase, transport) {
            (Phase::Open | Phase::Leaving, Transport::WebSocket) => {
                self.metrics().websockets.sub(1)
            }
            (Phase::Open | Phase::Leaving, Transport::EventStream) => {
                self.metrics().event_streams.sub(1);
            }
            (Phase::Waiting, _) => self.metrics().polls.sub(1),
            _ => {}
        }
    }

    /// Ends every subscription of a connection and tells the sequencer.
    pub(super) fn detach(&mut self, token: Token) {
        let Some(connection) = self.table.get_mut(token) else { return };
        let encoding = connection.encoding;
        let subscriptions = std::mem::take(&mut connection.subscriptions);
        let subscriptions = subscriptions.as_slice();
        if subscriptions.is_empty() {
            return;
        }
        let mut ids = Vec::with_capacity(subscriptions.len());
        for subscription in subscriptions {
            ids.push(self.fanout.channel_id(*subscription));
            let Some(moved) = self.fanout.leave(*subscription, encoding) else { continue };
            let connection = self.table.at_mut(moved.member).expect("a member is open");
            connection.subscriptions.take_seat(moved);
            let token = Token { index: moved.member, generation: connection.generation };
            if moved.in_sweep {
                self.visit_soon(token);
            }
        }
        let command =
            Command::Unsubscribe { shard: self.number, session: token, channels: ids.into() };
        self.commands.push_back(command);
    }

    /// Plans sends to those that are to be visited for reasons of their own and to those that
    /// sweeps owe a visit. Each kind has half of the batch for itself, so that a storm of resumes
    /// does not keep live messages waiting, nor a broadcast those who come.
    pub(super) fn plan(&mut self, now: Millis) {
        self.visit_queued(BATCH_SENDS_MAX / 2, now);
        self.fanout.take_turns();
        while !self.fanout.is_batch_full() {
            let Some(index) = self.fanout.next_visit() else { break };
            let Some(connection) = self.table.at(index) else { continue };
            let token = Token { index, generation: connection.generation };
            self.visit(token, now);
        }
        self.visit_queued(BATCH_SENDS_MAX, now);
    }

    /// Visits connections of the queue until the batch has `sends`, each at most once.
    fn visit_queued(&mut self, sends: usize, now: Millis) {
        for _ in 0..self.queue.len().min(BATCH_SENDS_MAX) {
            if self.fanout.planned() >= sends || self.fanout.is_batch_full() {
                return;
            }
            let Some(token) = self.queue.pop_front() else { return };
            match self.table.get_mut(token) {
                None => {}
                // One send of a batch is its own already: the next batch has the next.
                Some(connection) if connection.flags.planned => self.queue.push_back(token),
                Some(connection) => {
                    connection.flags.queued = false;
                    self.visit(token, now);
                }
            }
        }
    }

    fn visit(&mut self, token: Token, now: Millis) {
        let Some(connection) = self.table.get_mut(token) else { return };
        if connection.flags.blocked || connection.flags.planned {
            return;
        }
        if connection.phase == Phase::Waiting && !connection.has_private() {
            return self.answer_poll_if_owed(token, now);
        }
        let found = if connection.has_private() {
            self.fanout.visit_privately(token.index);
            Found::Part // what follows is looked at in the next visit
        } else {
            let subscriptions = &mut connection.subscriptions;
            self.fanout.visit(token.index, connection.encoding, subscriptions)
        };
        connection.flags.lagging &= matches!(found, Found::Part | Found::Lost);
        match found {
            Found::Nothing => self.nothing_owed(token, now),
            Found::Lost => {
                if self.stays_after_loss(token, now) {
                    self.visit(token, now); // the notice, which waits in its outbox
                }
            }
            // At the end of the order everyone is looked at once more, to take leave.
            Found::All if !self.ending => connection.flags.planned = true,
            Found::All | Found::Part => {
                connection.flags.planned = true;
                self.visit_soon(token);
            }
        }
    }

    /// A connection is owed nothing: is that the end of it, or of its answer?
    fn nothing_owed(&mut self, token: Token, now: Millis) {
        let Some(connection) = self.table.get_mut(token) else { return };
        match connection.phase {
            Phase::Leaving if !connection.flags.linger => self.end(token, Close::Gracefully),
            Phase::Open if self.ending => self.farewell_when_sent(token, now),
            Phase::Head => {
                self.next_request(token, now);
                self.read_on(token);
            }
            _ => self.read_on(token),
        }
    }

    /// The planned sends, in their order.
    pub(super) fn sends(&self) -> impl Iterator<Item = Outgoing<'_>> {
        self.fanout.sends().map(|(index, bytes)| {
            let connection = self.table.at(index).expect("a visit keeps it open");
            let private = || connection.outbox.as_ref().expect("private bytes were seen").front();
            let token = Token { index, generation: connection.generation };
            Outgoing { token, bytes: bytes.unwrap_or_else(private) }
        })
    }

    /// Settles a batch that was sent; `outcomes` says how each send ended (`None`: whole).
    pub(super) fn settle(
        &mut self,
        outcomes: &[Option<SendOutcome>],
        watches: &mut Vec<Token>,
        now: Millis,
    ) {
        let (mut deliveries, mut sent_bytes) = (0, 0);
        for (nth, outcome) in outcomes.iter().enumerate() {
            let taken = match outcome {
                None => usize::MAX,
                Some(SendOutcome::Short(count)) => *count,
                Some(SendOutcome::Again | SendOutcome::Failed(_)) => 0,
            };
            let index = self.fanout.planned_for(nth);
            let connection = self.table.at_mut(index).expect("a visit keeps it open");
            match self.fanout.settle(nth, taken, &mut connection.subscriptions) {
                Settled::Private => {
                    let outbox = connection.outbox.as_mut().expect("private bytes were seen");
                    let count = outbox.front().len().min(taken);
                    outbox.advance(count);
                    sent_bytes += count as u64;
                    self.spare.take_back(&mut connection.outbox);
                }
                Settled::Logs { messages, bytes, rest } => {
                    deliveries += messages;
                    sent_bytes += bytes;
                    if let Some(rest) = rest {
                        connection.outbox.get_or_insert_default().finish_frame(rest);
                    }
                }
            }
        }
        let metrics = self.metrics();
        metrics.sends.add(outcomes.len() as u64);
        metrics.deliveries.add(deliveries);
        metrics.sent_bytes.add(sent_bytes);
        for (nth, outcome) in outcomes.iter().enumerate() {
            let index = self.fanout.planned_for(nth);
            let Some(connection) = self.table.at(index) else { continue };
            let token = Token { index, generation: connection.generation };
            self.sent(token, *outcome, watches, now);
        }
        self.fanout.end_batch();
    }

    /// A send to a connection has ended like this, and its cursors are settled.
    fn sent(
        &mut self,
        token: Token,
        outcome: Option<SendOutcome>,
        watches: &mut Vec<Token>,
        now: Millis,
    ) {
        let Some(connection) = self.table.get_mut(token) else { return };
        connection.flags.planned = false;
        let progress = match outcome {
            None => true,
            Some(SendOutcome::Short(count)) => count > 0,
            Some(SendOutcome::Again) => false,
            Some(SendOutcome::Failed(_)) => return self.end(token, Close::Abort),
        };
        if progress {
            connection.progress = Stamp::of(now);
        }
        if outcome.is_none() {
            connection.waits_since = Stamp::NEVER;
        } else {
            if progress || connection.waits_since == Stamp::NEVER {
                connection.waits_since = Stamp::of(now);
                connection.checked = connection.waits_since;
            } else if now.since(connection.waits_since.at(now)) >= self.context.limits.stall_ms {
                // Timers judge who is blocked. One that is told of room again and again, and has
                // none, is between two events of it whenever they look.
                self.metrics().slow_closed.add(1);
                return self.end(token, Close::Abort);
            }
            connection.flags.blocked = true;
            watches.push(token);
            self.arm(token, now);
        }
        self.read_on(token); // what is private may have been in the way
    }

    /// Trims logs whose members have all had their turn.
    pub(super) fn trim_logs(&mut self) {
        self.fanout.trim(&mut self.table);
    }

    /// Says in metrics what fan-out holds.
    pub(super) fn gauge(&self) {
        self.metrics().channels.set(self.fanout.channels() as u64);
        self.metrics().subscriptions.set(self.fanout.subscriptions());
        self.metrics().log_bytes.set(self.fanout.rendered_bytes() as u64);
        self.metrics().ephemeral_lost.set(self.fanout.ephemeral_lost());
    }
}

impl<M: ClientMessages> Sessions<M> {
    /// Whether there is anything to do without the kernel or the ring.
    pub(super) fn has_work(&self) -> bool {
        !self.queue.is_empty()
            || self.fanout.has_work()
            || !(self.backlog || self.commands.is_empty() && self.reading.is_empty())
    }

    /// The sequencer has ended and did not take this.
    pub(super) fn not_taken(&mut self, command: Command, now: Millis) {
        match command {
            Command::Subscribe(subscribe) => {
                self.asked_in_vain(subscribe.requester, Refusal::ShuttingDown, now);
            }
            Command::Publish(_, PublishAnswer::Connection { requester, .. }) => {
                self.published(requester, Err(Refusal::ShuttingDown), now);
            }
            _ => {} // nobody counts subscribers any more
        }
    }

    /// Cuts everyone off.
    pub(super) fn abort_all(&mut self) {
        for index in 0..self.table.places() {
            let Some(connection) = self.table.at(index) else { continue };
            self.end(Token { index, generation: connection.generation }, Close::Abort);
        }
    }
}

/// Whether what the client sends is read now. Nothing is while something that came before waits for
/// its turn: what we hold of a client that sends on and on is what one receive brought.
fn wants_bytes(connection: &Connection) -> bool {
    match connection.phase {
        Phase::Head => !connection.has_private() && !connection.has_early(),
        Phase::Asking => false,
        // Only to learn whether it has ended its side or has a request behind this one.
        Phase::Waiting => {
            let begun = connection.poll.as_ref().is_none_or(|poll| poll.is_begun());
            connection.flags.hangup && !begun && !connection.has_early()
        }
        Phase::Open => {
            connection.outbox.as_ref().is_none_or(|outbox| outbox.len() <= PRIVATE_BYTES_MAX)
        }
        Phase::Leaving => true,
    }
}
