//! The sequencer: the one owner of channels and the one writer of the order.
//!
//! It takes commands from the inbox one at a time, and this file says whose turn it is. `perform`
//! does one command: it has `order` decide, and writes what happened into the broadcast ring.
//! Shards are told everything through that ring, so that replies, messages, floors and the ends of
//! interests have one order, and a subscription starts at an exact place.
//!
//! One step, in this order:
//!
//! 1. lets go of what all shards have read;
//! 2. upkeep that time makes due: expiry and ends of interest; where lives or keys are over, the
//!    log is asked to say that time has passed;
//! 3. commands, those of backends first and then those of clients, a turn of work each. Each is
//!    performed only when the ring has room for everything it may write. One that finds no room
//!    stays here and nothing overtakes it: that is the backpressure. A request to follow that is
//!    more than a turn goes on in the next turn of clients;
//! 4. looks on for a page of channels that somebody wants, a turn of work;
//! 5. tells the shards of floors that rose without a message;
//! 6. publishes the ring once, for all of it.
//!
//! Each part is bounded, so a step is. It never waits: [`Sequencer::run`] does, between steps.

mod applied;
mod audience;
mod channel;
pub mod checkpoint;
pub mod command;
mod followers;
mod history;
pub mod inbox;
mod keys;
mod lazy;
mod life;
mod lingering;
mod listing;
mod lives;
mod log_queue;
mod offers;
mod order;
mod packed;
mod perform;
mod read;
pub mod relay;
pub mod restore;
mod resume;
mod retention;
mod sink;
mod subscribe;
mod table;
mod tenants;
mod times;
mod trimmed;
mod warn;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::TryRecvError;
use crossbeam_utils::Backoff;
use fanfare_protocol::id::Epoch;
use fanfare_protocol::record::Secret;

use crate::clock::{Clock, Millis};
use crate::limits::Limits;
use crate::log::Log;
use crate::metrics::Metrics;
use crate::rule::Rules;

use checkpoint::{CheckpointMark, Written};
use command::{Command, Entry, Refusal};
use inbox::{Commands, SenderKind};
use log_queue::LogQueue;
use order::Order;
use perform::{Performed, Performer, Phase, Work};
use restore::Replay;

pub use offers::Ticket;

pub use sink::Sink;

/// Messages that expire in one step.
const UPKEEP_PER_STEP: usize = 1_024;
/// Channels of one entry that tells floors or ends of interest.
const CHANNELS_PER_ENTRY: usize = 512;

/// How long an idle sequencer sleeps while shards still read: what they have read is let go of
/// soon, though nothing else happens.
const SLEEP_WHILE_HELD_MS: u64 = 50;
/// How long it sleeps otherwise, where nothing is due earlier.
const SLEEP_MS_MAX: u64 = 60_000;
/// Sleeps of a sequencer that waits for room in the ring, once spinning did not help.
const NAP_MIN: Duration = Duration::from_micros(100);
const NAP_MAX: Duration = Duration::from_millis(1);

/// What a sequencer is started with.
#[derive(Clone, Debug)]
pub struct SequencerConfig {
    /// The identity with which the order begins: random, new for each start.
    pub epoch: Epoch,
    /// What its digests of idempotency keys are made under: random, and told to nobody.
    pub secret: Secret,
    /// Shards, 1 to 64.
    pub shards: usize,
    /// What the node may use.
    pub limits: Limits,
    /// What channels keep.
    pub rules: Rules,
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Something was done; there may be more.
    Worked,
    /// There was nothing to do.
    Idle,
    /// What there is to do needs room in the ring; nothing was done.
    Blocked,
    /// The order has ended, and the end entry was written.
    Ended,
}

/// The sequencer. Owned by one thread, or by a simulation that calls [`Sequencer::step`].
pub struct Sequencer<S, L> {
    inbox: Commands,
    performer: Performer<S, L>,
    /// What was taken from inbox or log and found no room in the ring.
    work: Option<Work>,
    /// Entries that some shard had not read when the last step began.
    held: usize,
    was_blocked: bool,
}

/// What a step has done so far.
#[derive(Default)]
struct Progress {
    worked: bool,
    blocked: bool,
}

impl<S: Sink, L: Log<Ticket>> Sequencer<S, L> {
    /// A sequencer at position 0, without channels, over this log, which it reads from its
    /// beginning.
    ///
    /// # Panics
    /// When `settings.shards` is not 1 to 64.
    pub fn new(
        log: L,
        settings: SequencerConfig,
        inbox: Commands,
        ring: S,
        metrics: Arc<Metrics>,
    ) -> Self {
        let SequencerConfig { epoch, secret, shards, limits, rules } = settings;
        let order = Order::new((epoch, secret), shards, limits, rules);
        Self::of(order, log, inbox, ring, metrics)
    }

    /// A sequencer that goes on from where an order was read to, over what stands in its log from
    /// there on.
    pub fn restored(
        replay: Replay,
        log: L,
        inbox: Commands,
        ring: S,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self::of(replay.end(), log, inbox, ring, metrics)
    }

    fn of(order: Order, log: L, inbox: Commands, ring: S, metrics: Arc<Metrics>) -> Self {
        let log = LogQueue::new(log, inbox.waker(), order.limits.shutdown_ms);
        let performer = Performer::new(order, log, ring, metrics);
        Self { inbox, performer, work: None, held: 0, was_blocked: false }
    }

    /// Takes turns of so many units from the next step on: for tests and the simulation, whose
    /// requests are small.
    pub fn set_turn(&mut self, units: usize) {
        self.performer.units_per_turn = units.max(1);
    }

    /// Does what there is to do at `now`, within bounds, without waiting.
    pub fn step(&mut self, now: Millis) -> Step {
        if self.performer.phase == Phase::Ended {
            return Step::Ended;
        }
        let now = self.performer.order.now.max(now);
        self.performer.order.now = now;
        self.held = self.performer.ring.release();
        self.performer.log.look(now);
        let mut progress = Progress::default();
        self.upkeep(&mut progress);
        self.take_commands(&mut progress);
        progress.worked |= self.performer.list();
        self.performer.log.submit();
        self.tell_floors(&mut progress);
        self.end(&mut progress);
        self.performer.ring.publish();
        self.count(&progress);
        match progress {
            _ if self.performer.phase == Phase::Ended => Step::Ended,
            Progress { worked: true, .. } => Step::Worked,
            Progress { blocked: true, .. } => Step::Blocked,
            _ => Step::Idle,
        }
    }

    /// Steps until the order ends: the body of the sequencer's thread.
    ///
    /// Commands that were offered before it ends are all answered. One that is offered in the very
    /// moment of the end may be dropped with the inbox, and its answer with it, uncalled: whoever
    /// waits for an answer takes a dropped one for a refusal.
    pub fn run(mut self, clock: Clock) {
        self.inbox.waker().attach();
        let (mut backoff, mut nap) = (Backoff::new(), NAP_MIN);
        loop {
            match self.step(clock.now()) {
                Step::Worked => (backoff, nap) = (Backoff::new(), NAP_MIN),
                Step::Idle => self.wait_for_command(),
                Step::Blocked => {
                    self.performer.ring.wake_lagging();
                    if backoff.is_completed() {
                        std::thread::sleep(nap);
                        nap = (nap * 2).min(NAP_MAX);
                    } else {
                        backoff.snooze();
                    }
                }
                Step::Ended => break,
            }
        }
        for side in [SenderKind::Backends, SenderKind::Clients] {
            while let Ok(command) = self.inbox.try_recv(side) {
                self.performer.refuse(command);
            }
        }
    }

    /// Sleeps until a command comes, the log wakes it, or something is due.
    fn wait_for_command(&mut self) {
        let most = if self.held > 0 { SLEEP_WHILE_HELD_MS } else { SLEEP_MS_MAX };
        let Performer { order, log, phase, .. } = &mut self.performer;
        let upkeep = order.next_due(!log.is_asked_for_time());
        let end = if let Phase::Closing { until } = *phase { Some(until) } else { None };
        let patience = log.patience_ends().filter(|_| log.offers.are_waiting());
        let due = upkeep.into_iter().chain(end).chain(patience).min();
        let due = due.map_or(most, |due| due.since(order.now)).min(most);
        self.inbox.sleep(Duration::from_millis(due));
    }

    /// Begins a checkpoint: of what is known now, however long it takes to be written. One that is
    /// being written is given up.
    pub fn begin_checkpoint(&mut self, mark: CheckpointMark) {
        self.performer.order.begin_checkpoint(mark);
    }

    /// Writes on at the checkpoint, about so many units of work, and appends whole records to
    /// `out`. To be called between steps, so that commands have their turns.
    pub fn write_checkpoint(&mut self, units: usize, out: &mut Vec<u8>) -> Written {
        self.performer.order.write_checkpoint(units, out)
    }

    /// A rolling hash of every position and offset that was assigned: whoever has placed as much of
    /// the same log has the same.
    pub fn state(&self) -> u64 {
        self.performer.order.applied.state
    }

    /// Panics where any structure contradicts itself or another. Walks over everything: for tests.
    pub fn invariants(&self) {
        self.performer.order.invariants();
    }

    /// Whether nothing waits for the log.
    pub fn is_settled(&self) -> bool {
        self.performer.log.offers.are_settled()
    }

    fn upkeep(&mut self, progress: &mut Progress) {
        progress.worked |= self.performer.order.expire(UPKEEP_PER_STEP) > 0;
        for shard in 0..self.performer.order.followers.shards() {
            self.end_interests(shard, progress);
        }
        let Performer { order, log, .. } = &mut self.performer;
        // Lives and keys end by the log's time alone, so the log is asked to say that time has
        // passed. It is not asked while something waits that may be offered to it: the log would
        // say so after that, in the next step.
        if self.work.is_none() && order.next_end().is_some_and(|end| end <= order.now) {
            log.ask_for_time(order.now);
        }
    }

    /// Ends the interests of one shard that are due. The shard reads of it before anything that is
    /// decided afterwards: a subscribe that follows begins a fresh log.
    fn end_interests(&mut self, shard: usize, progress: &mut Progress) {
        let Performer { order, ring, .. } = &mut self.performer;
        if !order.followers.are_due(shard, order.now, &order.channels) {
            return;
        }
        if !ring.has_room(1, Entry::released_cost(CHANNELS_PER_ENTRY)) {
            progress.blocked = true;
            return;
        }
        let (now, all) = (order.now, &mut order.channels);
        let ended = order.followers.end_due(shard, now, CHANNELS_PER_ENTRY, all);
        // No record is dropped with them: an interest lingers only in a channel that has a life,
        // and that keeps the record.
        ring.tell(1 << shard, Entry::Released(ended.into()));
        progress.worked = true;
    }

    /// Takes turns: what backends publish is visible before clients have theirs.
    fn take_commands(&mut self, progress: &mut Progress) {
        self.take_turn(SenderKind::Backends, progress);
        let Performer { order, log, ring, .. } = &mut self.performer;
        // Nothing is taken between the messages of a batch, and nothing overtakes what found no
        // room in the ring.
        let in_a_batch = log.offers.are_in_a_batch() && !log.waits_for_room(order.now);
        if self.work.is_none() && !in_a_batch {
            ring.publish();
            self.take_turn(SenderKind::Clients, progress);
        }
    }

    fn take_turn(&mut self, side: SenderKind, progress: &mut Progress) {
        let mut units = 0;
        while units < self.performer.units_per_turn
            && let Some(performed) = self.perform_next(side)
        {
            match performed {
                Performed::Done { units: done } => units += done,
                Performed::NoRoom(work) => {
                    self.work = Some(work);
                    progress.blocked = true;
                    break;
                }
            }
            progress.worked = true;
        }
    }

    /// Performs what comes first: what found no room in the ring, what stands in the log, what
    /// waits for room in the log, the rest of a request of clients, the next command of this side.
    /// `None` where there is nothing to do.
    fn perform_next(&mut self, side: SenderKind) -> Option<Performed> {
        if let Some(work) = self.work.take() {
            return Some(self.performer.perform(work));
        }
        let Performer { order, log, .. } = &mut self.performer;
        if let Some(item) = log.next_item() {
            return Some(self.performer.perform_item(item));
        }
        if let Some(ticket) = log.take_lost() {
            return Some(self.performer.perform(Work::Refused(ticket, Refusal::LogFailed)));
        }
        if let Some((publication, ticket)) = log.next_waiting(order.now) {
            return Some(self.performer.offer(publication, ticket));
        }
        if !self.hears(side) {
            return None;
        }
        if let Some(following) = self.performer.following.take_if(|_| side == SenderKind::Clients) {
            return Some(self.performer.perform(Work::Slice(following)));
        }
        let command = self.next_command(side)?;
        Some(self.performer.perform(Work::Command(command)))
    }

    fn next_command(&mut self, side: SenderKind) -> Option<Command> {
        match self.inbox.try_recv(side) {
            Ok(command) => Some(command),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => {
                // Nobody is left who could ask for anything, the end included.
                self.performer.close();
                None
            }
        }
    }

    /// Whether commands of this side are taken. Those of backends are not while a publish of theirs
    /// waits for room in the log and may still get it.
    fn hears(&self, side: SenderKind) -> bool {
        let Performer { phase, log, .. } = &self.performer;
        side == SenderKind::Clients || *phase != Phase::Open || !log.offers.are_waiting()
    }

    /// Tells the shards of floors that rose without a message. Late is safe: a shard that has not
    /// heard of it keeps more.
    fn tell_floors(&mut self, progress: &mut Progress) {
        let Performer { order, ring, .. } = &mut self.performer;
        while order.retention.untold() > 0 {
            let max = order.retention.untold().min(CHANNELS_PER_ENTRY);
            if !ring.has_room(1, Entry::floors_cost(max)) {
                progress.blocked = true;
                return;
            }
            let (mask, floors) = order.retention.take_floors(max, &mut order.channels);
            if !floors.is_empty() {
                ring.tell(mask, Entry::Floors(floors.into()));
            }
            progress.worked = true;
        }
    }

    /// Writes the end entry, once nothing is left to refuse.
    fn end(&mut self, progress: &mut Progress) {
        let Performer { order, log, ring, phase, following, .. } = &mut self.performer;
        let Phase::Closing { until } = *phase else { return };
        let waits = !log.offers.are_settled() && order.now < until;
        let is_begun = self.work.is_some() || following.is_some();
        if is_begun || waits || !self.inbox.is_empty() {
            return;
        }
        if !ring.has_room(1, Entry::bare_cost()) {
            progress.blocked = true;
            return;
        }
        ring.tell(order.followers.all_shards(), Entry::End);
        *phase = Phase::Ended;
    }

    fn count(&mut self, progress: &Progress) {
        let Performer { order, ring, metrics: all, .. } = &self.performer;
        let metrics = &all.sequencer;
        metrics.channels.set(order.lives.len() as u64);
        metrics.followed_channels.set(order.followers.followed() as u64);
        metrics.subscriptions.set(order.followers.subscriptions());
        metrics.history_messages.set(order.retention.messages() as u64);
        metrics.history_bytes.set(order.retention.bytes() as u64);
        metrics.channels_forgotten.set(order.lives.ended);
        metrics.position.set(order.applied.position);
        metrics.idempotency_keys.set(order.keys.len() as u64);
        metrics.keys_pushed_out.set(order.keys.pushed_out());
        for (number, shard) in all.shards.iter().enumerate() {
            shard.ring_lag.set(ring.lag(number));
        }
        let is_blocked = progress.blocked && !progress.worked;
        metrics.ring_full.add(u64::from(is_blocked && !self.was_blocked));
        self.was_blocked = is_blocked;
    }
}
