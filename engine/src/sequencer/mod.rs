//! The sequencer: the one owner of channels and the one writer of the order.
//!
//! It takes commands from the inbox one at a time, decides (`order`), and writes what happened
//! into the broadcast ring. Whatever it tells a shard it tells through that ring, so that replies,
//! messages, floors and the ends of interests have one order, and a subscription starts at an exact
//! place.
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
//! 4. floors that rose meanwhile;
//! 5. publishes the ring once, for all of it.
//!
//! Each part is bounded, so a step is. It never waits: [`Sequencer::run`] does, between steps.

mod applied;
mod channel;
pub mod checkpoint;
pub mod command;
mod followers;
mod history;
pub mod inbox;
mod interest;
mod keys;
mod lazy;
mod lives;
mod offers;
mod order;
mod packed;
mod perform;
mod read;
pub mod relay;
pub mod restore;
mod resume;
mod retention;
mod run;
mod sink;
mod subscribe;
mod table;
mod times;
mod trimmed;
mod warn;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use crossbeam_channel::TryRecvError;
use fanfare_protocol::id::Epoch;
use fanfare_protocol::record::Secret;

use crate::clock::Millis;
use crate::limits::Limits;
use crate::log::{Log, Readiness};
use crate::metrics::Metrics;
use crate::rule::Rules;

use checkpoint::{Mark, Written};
use command::{Command, Entry, Refusal};
use inbox::{Commands, Side};
use offers::Offers;
use order::{EndedLives, Order};
use perform::{Performed, Work};
use restore::Replay;
use subscribe::Following;
use warn::Warn;

pub use offers::Ticket;

pub use sink::Sink;

/// Units of work in one turn of one side: messages that are placed or imported, channels that are
/// followed or left. One publish, or the import of one channel, goes over it by what it alone is.
const UNITS_PER_TURN: usize = 256;
/// Messages that expire in one step.
const UPKEEP_PER_STEP: usize = 1_024;
/// Channels of one entry that tells floors or ends of interest.
const CHANNELS_PER_ENTRY: usize = 512;

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
    log: L,
    ring: S,
    metrics: Arc<Metrics>,
    order: Order,
    /// What was taken from inbox or log and found no room in the ring.
    work: Option<Work>,
    /// The rest of a request to follow, of which a part is done.
    following: Option<Following>,
    /// What is to be published and has no place yet.
    offers: Offers,
    /// Since when the log has taken nothing, where it has no room.
    full_since: Option<Millis>,
    /// Whether the log was asked to say that time has passed, and has not said it.
    time_asked: bool,
    /// Who hears of each epoch that begins.
    hear_epochs: Vec<Box<dyn FnMut(Epoch) + Send>>,
    warn: Warn,
    /// Entries that some shard had not read when the last step began.
    held: usize,
    phase: Phase,
    was_blocked: bool,
    units_per_turn: usize,
}

/// How far the order is from its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Commands are performed.
    Open,
    /// Commands are refused; the end entry is to be written when the inbox is empty and all that
    /// was published has its outcome. The log is waited for until then, and no longer.
    Closing { until: Millis },
    /// The end entry is written: nothing follows it.
    Ended,
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

    fn of(order: Order, mut log: L, inbox: Commands, ring: S, metrics: Arc<Metrics>) -> Self {
        metrics.sequencer.epoch.set(order.applied.epoch.number());
        log.wake_by(inbox.bell());
        Self {
            inbox,
            log,
            ring,
            metrics,
            order,
            work: None,
            following: None,
            offers: Offers::default(),
            full_since: None,
            time_asked: false,
            hear_epochs: Vec::new(),
            warn: Warn::default(),
            held: 0,
            phase: Phase::Open,
            was_blocked: false,
            units_per_turn: UNITS_PER_TURN,
        }
    }

    /// Takes turns of so many units from the next step on: for tests and the simulation, whose
    /// requests are small.
    pub fn set_turn(&mut self, units: usize) {
        self.units_per_turn = units.max(1);
    }

    /// Does what there is to do at `now`, within bounds, without waiting.
    pub fn step(&mut self, now: Millis) -> Step {
        if self.phase == Phase::Ended {
            return Step::Ended;
        }
        self.order.now = self.order.now.max(now);
        self.held = self.ring.release();
        if self.log.readiness() == Readiness::Full {
            self.full_since.get_or_insert(self.order.now);
        }
        let mut progress = Progress::default();
        self.upkeep(&mut progress);
        self.take_commands(&mut progress);
        self.log.submit();
        self.tell_floors(&mut progress);
        self.end(&mut progress);
        self.ring.publish();
        self.count(&progress);
        match progress {
            _ if self.phase == Phase::Ended => Step::Ended,
            Progress { worked: true, .. } => Step::Worked,
            Progress { blocked: true, .. } => Step::Blocked,
            _ => Step::Idle,
        }
    }

    /// Begins a checkpoint: of what is known now, however long it takes to be written. One that is
    /// being written is given up.
    pub fn begin_checkpoint(&mut self, mark: Mark) {
        self.order.begin_checkpoint(mark);
    }

    /// Writes on at the checkpoint, about so many units of work, and appends whole records to
    /// `out`. To be called between steps, so that commands have their turns.
    pub fn write_checkpoint(&mut self, units: usize, out: &mut Vec<u8>) -> Written {
        self.order.write_checkpoint(units, out)
    }

    /// A rolling hash of every position and offset that was assigned: whoever has placed as much of
    /// the same log has the same.
    pub fn state(&self) -> u64 {
        self.order.applied.state
    }

    /// Panics where any structure contradicts itself or another. Walks over everything: for tests.
    pub fn invariants(&self) {
        self.order.invariants();
    }

    fn upkeep(&mut self, progress: &mut Progress) {
        progress.worked |= self.order.expire(UPKEEP_PER_STEP) > 0;
        for shard in 0..self.order.followers.shards() {
            self.end_interests(shard, progress);
        }
        let now = self.order.now;
        // Lives and keys end by the log's time alone, so it is the log that says that it has come.
        // Not while something waits that may be offered to the log itself: what the log says comes
        // after it, in the next step.
        let is_over = self.order.next_end().is_some_and(|end| end <= now);
        if is_over && self.work.is_none() && !self.time_asked {
            self.log.pass(now);
            self.time_asked = true;
        }
    }

    /// Ends the interests of one shard that are due. The shard reads of it before anything that is
    /// decided afterwards: a subscribe that follows begins a fresh log.
    fn end_interests(&mut self, shard: usize, progress: &mut Progress) {
        let order = &mut self.order;
        if !order.followers.are_due(shard, order.now, &order.channels) {
            return;
        }
        if !self.ring.has_room(1, Entry::released_cost(CHANNELS_PER_ENTRY)) {
            progress.blocked = true;
            return;
        }
        let (now, all) = (order.now, &mut order.channels);
        let ended = order.followers.end_due(shard, now, CHANNELS_PER_ENTRY, all);
        // What is left of their audiences held no record: only a channel that has a life lingers.
        self.push(1 << shard, Entry::Released(ended.into()));
        progress.worked = true;
    }

    /// Takes turns: what backends publish is visible before clients have theirs.
    fn take_commands(&mut self, progress: &mut Progress) {
        self.take_turn(Side::Backends, progress);
        // Between the messages of a batch nothing comes that could come after it, and what found no
        // room in the ring is not overtaken.
        let in_a_batch = self.offers.are_in_a_batch() && !self.waits_for_log();
        if self.work.is_none() && !in_a_batch {
            self.ring.publish();
            self.take_turn(Side::Clients, progress);
        }
    }

    fn take_turn(&mut self, side: Side, progress: &mut Progress) {
        let mut units = 0;
        while units < self.units_per_turn
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
    fn perform_next(&mut self, side: Side) -> Option<Performed> {
        if let Some(work) = self.work.take() {
            return Some(self.perform(work));
        }
        if let Some(item) = self.log.next() {
            return Some(self.perform(Work::Item(item)));
        }
        if let Some(ticket) = self.log.take_lost() {
            self.offers.given_back();
            return Some(self.perform(Work::Refused(ticket, Refusal::LogFailed)));
        }
        if !self.waits_for_log()
            && let Some((publication, ticket)) = self.offers.next()
        {
            return Some(self.offer(publication, ticket));
        }
        if !self.hears(side) {
            return None;
        }
        if let Some(following) = self.following.take_if(|_| side == Side::Clients) {
            return Some(self.perform(Work::Slice(following)));
        }
        let command = self.next_command(side)?;
        Some(self.perform(Work::Command(command)))
    }

    fn next_command(&mut self, side: Side) -> Option<Command> {
        match self.inbox.try_recv(side) {
            Ok(command) => Some(command),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => {
                // Nobody is left who could ask for anything, the end included.
                self.close();
                None
            }
        }
    }

    /// Whether the log has no room now, and is to be waited for. One that takes nothing for long is
    /// not: whoever publishes is told so, and the end of the node is heard of behind them.
    fn waits_for_log(&self) -> bool {
        let is_full = self.log.readiness() == Readiness::Full;
        is_full && self.patience_ends().is_none_or(|end| self.order.now < end)
    }

    /// When it is waited for no longer.
    fn patience_ends(&self) -> Option<Millis> {
        // A stop is to have time for what else it is made of.
        self.full_since.map(|since| since.plus(self.order.limits.shutdown_ms / 4))
    }

    /// Whether commands of this side are taken: no more of backends' while something of theirs
    /// waits for room in the log, for as long as it would be published at all.
    fn hears(&self, side: Side) -> bool {
        side == Side::Clients || self.phase != Phase::Open || !self.offers.are_waiting()
    }

    /// No more is taken.
    fn close(&mut self) {
        if self.phase == Phase::Open {
            // Who is told of it needs time too.
            self.phase =
                Phase::Closing { until: self.order.now.plus(self.order.limits.shutdown_ms / 2) };
        }
    }

    /// Whether nothing waits for the log.
    pub fn is_settled(&self) -> bool {
        self.offers.are_settled()
    }

    /// Tells the shards of floors that rose without a message. Late is safe: a shard that has not
    /// heard of it keeps more.
    fn tell_floors(&mut self, progress: &mut Progress) {
        while self.order.retention.untold() > 0 {
            let max = self.order.retention.untold().min(CHANNELS_PER_ENTRY);
            if !self.ring.has_room(1, Entry::floors_cost(max)) {
                progress.blocked = true;
                return;
            }
            let (mask, floors) = self.order.retention.take_floors(max, &mut self.order.channels);
            if !floors.is_empty() {
                self.push(mask, Entry::Floors(floors.into()));
            }
            progress.worked = true;
        }
    }

    /// Writes the end entry, once nothing is left to refuse.
    fn end(&mut self, progress: &mut Progress) {
        let Phase::Closing { until } = self.phase else { return };
        let waits = !self.offers.are_settled() && self.order.now < until;
        let is_begun = self.work.is_some() || self.following.is_some();
        if is_begun || waits || !self.inbox.is_empty() {
            return;
        }
        if !self.ring.has_room(1, Entry::bare_cost()) {
            progress.blocked = true;
            return;
        }
        self.push(self.order.followers.all_shards(), Entry::End);
        self.phase = Phase::Ended;
    }

    /// Writes an entry for which there is room.
    fn push(&mut self, mask: u64, entry: Entry) {
        self.ring.push(mask, entry.cost(), entry);
    }

    /// Tells the shards of lives that ended. Comes before whatever is decided afterwards.
    fn tell_ended(&mut self) {
        let EndedLives { mask, lives } = self.order.take_ended();
        if !lives.is_empty() {
            self.push(mask, Entry::Ended(lives.into()));
        }
    }

    fn count(&mut self, progress: &Progress) {
        let (metrics, order) = (&self.metrics.sequencer, &self.order);
        metrics.channels.set(order.lives.len() as u64);
        metrics.followed_channels.set(order.followers.followed() as u64);
        metrics.subscriptions.set(order.followers.subscriptions());
        metrics.history_messages.set(order.retention.messages() as u64);
        metrics.history_bytes.set(order.retention.bytes() as u64);
        metrics.channels_forgotten.set(order.lives.ended);
        metrics.position.set(order.applied.position);
        metrics.idempotency_keys.set(order.keys.len() as u64);
        metrics.keys_pushed_out.set(order.keys.pushed_out());
        for (number, shard) in self.metrics.shards.iter().enumerate() {
            shard.ring_lag.set(self.ring.lag(number));
        }
        let is_blocked = progress.blocked && !progress.worked;
        metrics.ring_full.add(u64::from(is_blocked && !self.was_blocked));
        self.was_blocked = is_blocked;
    }
}
