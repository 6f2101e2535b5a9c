//! A shard: one thread with its own sockets, timers and logs. It shares nothing but the ring that
//! it reads and the inbox that it writes to.
//!
//! This file is the only place where the order of work is written:
//!
//! 1. take what the kernel says: new connections, bytes, ends, room;
//! 2. drain the broadcast ring: messages into logs, replies to clients;
//! 3. receive from those that have spoken;
//! 4. timers, by the time up to which the kernel has told everything; questions of backends for
//!    connections, where they are more work than is done when they come;
//! 5. offer the sequencer what it has to be told;
//! 6. visit: as many batches of sends as a tick may have, small audiences first; then trim logs;
//! 7. close, start or stop accepting, and sleep if nothing is left to do.
//!
//! Every step is bounded, so nothing waits longer than a tick for its turn.

use std::sync::Arc;
use std::time::Duration;

use arrayvec::ArrayVec;
use fanfare_protocol::http::Violation;
use fanfare_protocol::id::Epoch;

use crate::admission::address::Addresses;
use crate::admission::peers::AdmittedPeers;
use crate::admission::rate::TokenBucket;
use crate::clock::{Clock, Millis};
use crate::driver::{Driver, Event, Exception, Outgoing, SendOutcome, Token};
use crate::fanout::BATCH_SENDS_MAX;
use crate::metrics::Metrics;
use crate::node_state::NodeState;
use crate::ring::Reader;
use crate::sequencer::command::Entry;
use crate::sequencer::inbox::{Inbox, NotTaken};
use crate::session::ShardResources;
use crate::session::machine::Machines;
use crate::transport::door::Door;
use crate::transport::{Context, ContextSlot};

mod apart;
mod carriers;
mod clients;
mod commands;
mod connection;
mod connections;
mod from_order;
mod holders;
mod inquiries;
mod inspect;
mod link;
mod page_holders;
mod parcel;
mod recent;
mod review;
mod room_queue;
mod slices;
mod table;
pub mod tick_budget;
mod users;
mod visits;
mod wheel;

#[cfg(test)]
mod tests;

use apart::Apart;
use clients::Clients;
use from_order::FromOrder;
use inquiries::Inquiring;
use tick_budget::TickBudget;
use visits::Visits;

/// Ring entries between two looks at whether logs have grown too long.
const ENTRIES_AT_ONCE: usize = 8;
/// Between two offers to a full inbox, for two shards. More shards wait longer, so that together
/// they ask no more often: what the inbox waits for is that the sequencer gets a core.
const INBOX_RETRY: Duration = Duration::from_millis(1);

/// Polls after which what is due is judged, though there may be more to tell: a storm must not keep
/// deadlines away for ever.
const POLLS_MAX: usize = 1_000;
/// From a failed accept to the next one: what is missing (descriptors, memory) comes back slowly.
const ACCEPT_RETRY_MS: u64 = 100;

/// What a shard is started with, beside its driver.
pub struct ShardParts {
    /// Its side of the broadcast ring, which has its number.
    pub ring: Reader<Entry>,
    /// The sequencer.
    pub inbox: Inbox,
    /// The identity with which the order begins.
    pub epoch: Epoch,
    /// What every connection of the public listener shares.
    pub contexts: Arc<ContextSlot>,
    /// How the node is.
    pub life: Arc<NodeState>,
    /// Peers, counted over all shards.
    pub addresses: Arc<Addresses>,
    /// Numbers.
    pub metrics: Arc<Metrics>,
    /// What hears clients that do more than listen; without it they only listen.
    pub machines: Option<Machines>,
    /// What knows the requests of clients that come over many sockets, where there are any.
    pub door: Option<Arc<dyn Door>>,
    /// Connections that this shard serves; beyond them it says no.
    pub connections_max: usize,
}

/// Whether a shard goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tick {
    /// It does.
    Goes,
    /// The order has ended and every client is gone.
    Ended,
}

/// A shard.
pub struct Shard<D> {
    driver: D,
    ring: Reader<Entry>,
    inbox: Inbox,
    clients: Clients,
    contexts: Arc<ContextSlot>,
    /// The revision of the context that clients are served by.
    context_seen: u32,
    connections_max: usize,
    budget: TickBudget,
    accepting: bool,
    /// By how much this shard is to offer less often than [`INBOX_RETRY`].
    inbox_turns: u32,
    /// How many more may be accepted now ([`crate::limits::Limits::handshakes`]).
    accepts: TokenBucket,
    /// Not before this time, after an accept failed.
    accept_again: Millis,
    /// When the last poll began: what came before it was told, so what is due after it is not late.
    polled: Millis,
    /// When clients that have not left after the end are cut off.
    deadline: Option<Millis>,
    events: Vec<Event>,
    receivers: Vec<Token>,
    exceptions: Vec<Exception>,
    outcomes: Vec<Option<SendOutcome>>,
    watches: Vec<Token>,
}

impl<D: Driver> Shard<D> {
    /// A shard without clients. `driver` was made on this thread.
    pub fn new(driver: D, parts: ShardParts, now: Millis) -> Self {
        let ShardParts { ring, inbox, epoch, contexts, life, addresses, .. } = parts;
        let context = contexts.context();
        let ShardParts { metrics, machines, door, connections_max, .. } = parts;
        let inbox_turns = (metrics.shards.len() as u32).div_ceil(2);
        let peers = AdmittedPeers::new(addresses);
        let number = ring.number();
        let shared = ShardResources::new(number, context, life, metrics, (machines, door), peers);
        let clients = Clients::new((number, epoch), shared, now);
        Self {
            driver,
            ring,
            inbox,
            clients,
            contexts,
            context_seen: 0,
            connections_max,
            budget: TickBudget::DEFAULT,
            accepting: false,
            inbox_turns,
            accepts: TokenBucket::default(),
            accept_again: now,
            polled: now,
            deadline: None,
            events: Vec::new(),
            receivers: Vec::new(),
            exceptions: Vec::with_capacity(BATCH_SENDS_MAX),
            outcomes: Vec::with_capacity(BATCH_SENDS_MAX),
            watches: Vec::new(),
        }
    }

    /// Clients are served by this from now on. Those who are here are asked again whether they may
    /// be, some in each tick, and whatever they do next is judged by it. Limits that size what is
    /// made once stay as they were ([`Context::limits`]).
    fn set_context(&mut self, context: Arc<Context>) {
        self.clients.shared.set_context(context);
        self.clients.begin_review();
    }

    /// Other bounds from the next tick on: for benchmarks, which compare them.
    ///
    /// # Panics
    /// When any of them is 0: that work would never be done.
    pub fn set_budget(&mut self, budget: TickBudget) {
        let TickBudget { entries, units, receives, batches, quantum } = budget;
        assert!(
            [entries, units, receives, batches, quantum].iter().all(|bound| *bound > 0),
            "{budget:?}"
        );
        self.budget = budget;
        self.clients.fanout.sweep.set_quantum(quantum);
    }

    /// The thread: ticks until the order ends and every client is gone.
    pub fn run(mut self, clock: Clock) {
        while self.tick(clock.now(), true) == Tick::Goes {}
    }

    /// One tick at time `now`; where `sleep`, it waits for work when nothing is left to do.
    pub fn tick(&mut self, now: Millis, sleep: bool) -> Tick {
        if let Some(context) = self.contexts.newer(&mut self.context_seen) {
            self.set_context(context);
        }
        self.take_events(now);
        self.drain(now);
        if self.clients.shared.life.has_lost_order() && !self.clients.shared.ending {
            self.order_side(now).end_all();
        }
        self.receive(now);
        self.move_sockets(now);
        self.clients.relieve(now);
        self.clients.timers(self.polled, now, self.budget.units);
        Inquiring { clients: &mut self.clients, now }.pursue(self.budget.units);
        self.clients.review(now, self.budget.units);
        self.offer_commands(now);
        self.clients.gauge(); // whoever is answered is counted
        self.send(now);
        self.clients.trim_logs();
        self.clients.gauge();
        self.close();
        self.accept_or_not(now);
        if self.clients.shared.ending && self.is_over(now) {
            return Tick::Ended;
        }
        self.wait(now, sleep);
        Tick::Goes
    }

    fn take_events(&mut self, now: Millis) {
        for event in self.events.drain(..) {
            match event {
                Event::Accepted { token, peer } => {
                    self.accepts.owe(self.clients.accept_rate(), now, 1);
                    let room = self.clients.table_has_room(self.connections_max);
                    self.clients.accept(token, peer.map(|peer| peer.ip()), room, now);
                }
                Event::Readable { token, hangup, gone } => {
                    self.clients.readable(token, hangup, gone, now);
                }
                Event::Writable { token } => self.clients.writable(token, now),
                Event::AcceptFailed(errno) => {
                    self.accepting = false;
                    self.accept_again = now.plus(ACCEPT_RETRY_MS);
                    let error = std::io::Error::from_raw_os_error(errno);
                    tracing::warn!(%error, "a connection could not be accepted");
                }
            }
        }
    }

    /// Reads on in the order, unless something has to be sent first: of a log that is too long, or
    /// of an epoch that is over.
    fn drain(&mut self, now: Millis) {
        let clients = &mut self.clients;
        let (mut entries, until) = (0, clients.units + self.budget.units);
        FromOrder { clients, now }.begin_epoch();
        while entries < self.budget.entries && !clients.must_send_first() {
            let passed = self.ring.drain_while(ENTRIES_AT_ONCE, |entry| {
                FromOrder { clients, now }.entry(entry);
                clients.units < until && !clients.must_send_first()
            });
            entries += passed;
            if passed < ENTRIES_AT_ONCE || clients.units >= until {
                return;
            }
        }
    }

    fn receive(&mut self, now: Millis) {
        self.receivers.clear();
        self.clients.readers(self.budget.receives, &mut self.receivers);
        if self.receivers.is_empty() {
            return;
        }
        let clients = &mut self.clients;
        self.driver.recv_batch(&self.receivers, &mut |token, received| {
            clients.received(token, received, now);
        });
    }

    /// Holds requests for their sessions, here or where those are. Each is told what it may be told
    /// before it is sent anything.
    fn move_sockets(&mut self, now: Millis) {
        let mut apart = Apart { clients: &mut self.clients, now };
        apart.part();
        while let Some(mut moving) = apart.clients.carriers.arrivals.pop_front() {
            if apart.clients.table_has_room(self.connections_max)
                && let Some(socket) = moving.take_socket()
            {
                match self.driver.adopt(socket) {
                    Ok(token) => apart.arrive(token, *moving),
                    Err(not_adopted) => moving.put_back(not_adopted.socket),
                }
            }
        }
        while let Some((token, request)) = apart.clients.carriers.to_hold.pop_front() {
            match apart.holder(&request) {
                // It may have ended, and its driver is not told yet.
                _ if apart.clients.connections.get_mut(token).is_none() => {}
                None => apart.hold(token, &request),
                Some(shard) => match self.driver.detach(token) {
                    Ok(socket) => apart.send_away(token, shard, socket, request),
                    Err(_) => apart.refuse(token, Violation::Busy, &request),
                },
            }
        }
        apart.part();
    }

    /// Tells the sequencer what it has room for; the rest is offered again in the next tick.
    fn offer_commands(&mut self, now: Millis) {
        self.clients.commands.backlog = false;
        let mut offered = false;
        while let Some(command) = self.order_side(now).next_command() {
            match self.inbox.offer_asleep(command) {
                Ok(()) => offered = true,
                Err(NotTaken::Full(command)) => {
                    self.clients.metrics().inbox_full.add(1);
                    self.clients.commands.backlog = true;
                    self.clients.commands.put_back(command);
                    break;
                }
                Err(NotTaken::Ended(command)) => self.order_side(now).not_taken(command),
            }
        }
        if offered {
            self.inbox.wake();
        }
    }

    fn order_side(&mut self, now: Millis) -> FromOrder<'_> {
        FromOrder { clients: &mut self.clients, now }
    }

    fn send(&mut self, now: Millis) {
        for _ in 0..self.budget.batches {
            Visits { clients: &mut self.clients, now }.plan(self.budget.units);
            let planned = self.clients.fanout.batch.len();
            if planned == 0 {
                return;
            }
            let sends: ArrayVec<Outgoing<'_>, BATCH_SENDS_MAX> = self.clients.sends().collect();
            self.exceptions.clear();
            self.driver.send_batch(&sends, &mut self.exceptions);
            drop(sends);
            self.outcomes.clear();
            self.outcomes.resize(planned, None);
            for exception in &self.exceptions {
                self.outcomes[exception.nth] = Some(exception.outcome);
            }
            Visits { clients: &mut self.clients, now }.settle(&self.outcomes, &mut self.watches);
            for token in self.watches.drain(..) {
                self.driver.watch_writable(token);
            }
        }
    }

    fn close(&mut self) {
        for (token, how) in self.clients.closes.drain(..) {
            self.driver.close(token, how);
        }
    }

    /// Accepts while commands are taken. While the driver has no place free, those who come wait;
    /// its last places are for saying no.
    fn accept_or_not(&mut self, now: Millis) {
        let clients = &self.clients;
        // Who is not accepted costs nothing and has no deadline; to refuse would cost as much as to
        // serve.
        let wait_ms = self.accepts.wait_ms(clients.accept_rate(), now);
        if wait_ms > 0 {
            self.accept_again = self.accept_again.max(now.plus(wait_ms));
        }
        let wanted = !clients.shared.ending
            && !clients.shared.life.is_draining()
            && !clients.commands.backlog
            && now >= self.accept_again;
        if wanted != self.accepting {
            self.accepting = wanted;
            self.driver.set_accepting(wanted);
        }
    }

    fn is_over(&mut self, now: Millis) -> bool {
        // What the node's other parts took of the time for its end is not there any more. Where the
        // order has ended without a stop, the shard has all of it.
        let ShardResources { context, life, .. } = &self.clients.shared;
        let mine = self.deadline.unwrap_or_else(|| now.plus(context.limits.shutdown_ms));
        let deadline = life.end().map_or(mine, |end| end.min(mine));
        self.deadline = Some(deadline);
        if now >= deadline {
            let count = self.clients.connections.table.len();
            tracing::warn!(count, "clients that had not left in time are cut off");
            self.clients.abort_all();
            self.close();
        }
        self.clients.connections.table.is_empty()
    }

    /// Asks the kernel what happened; sleeps first if nothing is left to do.
    fn wait(&mut self, now: Millis, sleep: bool) {
        self.clients.metrics().queue_overflows.set(self.driver.queue_overflows());
        self.poll(now, sleep);
        // Whoever is due is judged in the next tick, and by this time: so all that came until now
        // must be told, however long ago that was (this thread may have stood still).
        if self.clients.connections.next_due().is_some_and(|due| due <= now) {
            self.hear_all();
        }
        self.polled = now;
    }

    fn hear_all(&mut self) {
        for _ in 0..POLLS_MAX {
            let before = self.events.len();
            self.driver.poll(Some(Duration::ZERO), &mut self.events);
            if self.events.len() == before {
                return;
            }
        }
    }

    fn poll(&mut self, now: Millis, sleep: bool) {
        if !sleep || self.clients.has_work(now) {
            return self.driver.poll(Some(Duration::ZERO), &mut self.events);
        }
        let accept = (self.accept_again > now).then_some(self.accept_again);
        let lets_go = self.clients.connections.lets_go_next(&self.clients.fanout);
        let due = self
            .clients
            .connections
            .next_due()
            .into_iter()
            .chain(self.deadline)
            .chain(accept)
            .chain(lets_go.map(|(_, due)| due))
            .min();
        let mut timeout = due.map(|due| Duration::from_millis(due.since(now)));
        if self.clients.commands.backlog {
            timeout = Some(INBOX_RETRY * self.inbox_turns);
        }
        let (driver, events) = (&mut self.driver, &mut self.events);
        let slept = self.ring.park(|| driver.poll(timeout, events));
        if slept.is_none() {
            self.driver.poll(Some(Duration::ZERO), &mut self.events);
        }
    }
}
