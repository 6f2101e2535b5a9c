//! Fan-out: what one shard keeps of the channels that its clients follow, and what of that goes to
//! whom next. It knows neither sockets nor clients: a *member* is a number of the caller's, whose
//! [`Subscriptions`] the caller keeps and lends.
//!
//! A shard calls it in this order, tick by tick:
//!
//! 1. what the order brings: [`Fanout::append`], [`Fanout::import`], [`Fanout::raise_floor`],
//!    [`Fanout::release`], unless logs are to be sent from first ([`Fanout::holds_back`]);
//! 2. who comes and who goes: [`Fanout::join`], [`Fanout::leave`];
//! 3. a batch: members are taken from sweeps by [`Fanout::next_visit`] and visited by
//!    [`Fanout::visit`]; what was planned is read by [`Fanout::sends`], sent, and settled by
//!    [`Fanout::settle`], each in its turn, until [`Fanout::end_batch`];
//! 4. [`Fanout::trim`].
//!
//! **The one rule:** between the first visit of a batch and its end nobody joins, leaves or is
//! trimmed, since planned sends name bytes of logs.

mod batch;
mod channels;
mod filter;
mod lane;
mod lanes;
mod late;
mod log;
mod lost;
mod merge;
mod overgrown;
mod subscription;
mod sweep;

use std::collections::VecDeque;
use std::sync::Arc;

use fanfare_protocol::dialect::Encoding;
use fanfare_protocol::id::Epoch;
use fanfare_protocol::message::GapView;

use crate::channel::ChannelId;
use crate::message::Message;
use crate::sequencer::command::{EndedLife, SubscribedChannel};
use batch::Batch;
use channels::{ChannelIndex, Channels};
use lane::Scratch;
use log::Log;
use merge::Merged;
use overgrown::Overgrown;
use sweep::Sweep;

pub(crate) use batch::{BATCH_SENDS_MAX, Found, Rest, Settled, Withheld};
pub(crate) use filter::Filter;
pub(crate) use lane::Page;
pub(crate) use overgrown::Members;
pub(crate) use subscription::{Moved, Subscription, Subscriptions};

/// The channels of one shard, and whose turn it is.
#[derive(Debug)]
pub(crate) struct Fanout {
    epoch: Epoch,
    channels: Channels,
    sweep: Sweep,
    /// Members that sweeps owe a visit and that were taken from them.
    visits: VecDeque<u32>,
    batch: Batch,
    overgrown: Overgrown,
    scratch: Scratch,
    rendered_bytes: usize,
    subscriptions: u64,
    ephemeral_lost: u64,
}

impl Fanout {
    /// No channels yet. `quantum` is how many visits one channel has in one turn.
    pub(crate) fn new(epoch: Epoch, quantum: usize) -> Self {
        Self {
            epoch,
            channels: Channels::default(),
            sweep: Sweep::new(quantum),
            visits: VecDeque::new(),
            batch: Batch::default(),
            overgrown: Overgrown::default(),
            scratch: Scratch::default(),
            rendered_bytes: 0,
            subscriptions: 0,
            ephemeral_lost: 0,
        }
    }

    /// Takes turns of another length from now on.
    pub(crate) fn set_quantum(&mut self, quantum: usize) {
        self.sweep.set_quantum(quantum);
    }

    /// The epoch of all that logs hold.
    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Channels that there is a log of.
    pub(crate) fn channels(&self) -> usize {
        self.channels.len()
    }

    /// Subscriptions of all members.
    pub(crate) fn subscriptions(&self) -> u64 {
        self.subscriptions
    }

    /// Bytes of rendered frames in all logs.
    pub(crate) fn rendered_bytes(&self) -> usize {
        self.rendered_bytes
    }

    /// Ephemeral messages that members were too slow for, so far.
    pub(crate) fn ephemeral_lost(&self) -> u64 {
        self.ephemeral_lost
    }

    /// Whether anybody is owed a visit.
    pub(crate) fn has_work(&self) -> bool {
        !(self.visits.is_empty() && self.sweep.is_idle())
    }
}

/// What the order brings.
impl Fanout {
    /// A message of a channel, where there is a log of it.
    pub(crate) fn append(&mut self, message: &Arc<Message>) {
        let Some(channel) = self.channels.find(message.channel) else { return };
        let epoch = self.epoch;
        self.change_log(channel, |log, scratch| log.append(Arc::clone(message), epoch, scratch));
        self.scratch.shrink();
        self.sweep.mark(channel, &mut self.channels);
        self.overgrown.look(channel, &mut self.channels);
    }

    /// A channel of a subscribe reply: its log is here from now on and reaches back as far as the
    /// reply says. Returns the subscription, whose member has still to [`Fanout::join`].
    pub(crate) fn import(&mut self, reply: &SubscribedChannel) -> Subscription {
        let channel = self.channels.find(reply.channel).unwrap_or_else(|| {
            let (name, rule) = (Arc::clone(&reply.name), Arc::clone(&reply.rule));
            self.channels.insert(Log::after(reply.channel, name, rule, reply.head))
        });
        let log = &mut self.channels.at_mut(channel).log;
        log.import(&reply.import);
        log.raise_floor(reply.floor);
        let next = log.seq_of(reply.next);
        self.overgrown.look(channel, &mut self.channels);
        Subscription { channel, seat: 0, next }
    }

    /// Which life of a channel its log is of, for [`Fanout::begin_late`].
    pub(crate) fn life(&self, subscription: Subscription) -> u64 {
        self.channels.at(subscription.channel).log.life()
    }

    /// Where a subscription begins now that was imported earlier, when the log was of this `life`,
    /// and whose member has still to [`Fanout::join`]; and the position of the first message to
    /// deliver, where there is one. The reply says from here on what is true now.
    pub(crate) fn begin_late(
        &self,
        reply: &mut SubscribedChannel,
        life: u64,
    ) -> (Subscription, Option<u64>) {
        let channel = self.channels.find(reply.channel).expect("its log stays until it is left");
        let log = &self.channels.at(channel).log;
        let next = late::begin(log, life, reply);
        (Subscription { channel, seat: 0, next }, log.position(next))
    }

    /// History promises nothing of a channel before `floor` any more.
    pub(crate) fn raise_floor(&mut self, channel: ChannelId, floor: u64) {
        let Some(channel) = self.channels.find(channel) else { return };
        self.channels.at_mut(channel).log.raise_floor(floor);
        self.overgrown.look(channel, &mut self.channels);
    }

    /// Drops the log of a channel that nobody follows any more.
    pub(crate) fn release(&mut self, channel: ChannelId) {
        self.channels.remove(channel);
    }

    /// The life of a channel ended. Where it is still followed, by members of the shard that has
    /// this bit, its log begins anew.
    pub(crate) fn end_life(&mut self, life: &EndedLife, bit: u64) {
        if life.followed & bit == 0 {
            return self.release(life.channel);
        }
        let Some(channel) = self.channels.find(life.channel) else { return };
        self.change_log(channel, |log, scratch| log.begin_anew(scratch));
    }

    /// Another epoch begins: every log begins anew, whoever follows is told, and these lives have
    /// ended, each of a channel that this shard has an interest in where it has this bit.
    pub(crate) fn begin_epoch(&mut self, epoch: Epoch, lives: &[EndedLife], bit: u64) {
        self.epoch = epoch;
        for life in lives.iter().filter(|life| life.followed & bit == 0) {
            self.release(life.channel);
        }
        for channel in self.channels.indexes() {
            self.change_log(channel, |log, scratch| log.begin_epoch(scratch));
            self.sweep.mark(channel, &mut self.channels);
        }
    }

    /// Whether no more of the order is to be read for now.
    pub(crate) fn holds_back(&self) -> bool {
        self.overgrown.is_far()
    }

    /// Changes a log and keeps the count of rendered bytes true.
    fn change_log(&mut self, channel: ChannelIndex, change: impl FnOnce(&mut Log, &mut Scratch)) {
        let log = &mut self.channels.at_mut(channel).log;
        self.rendered_bytes -= log.rendered_bytes();
        change(log, &mut self.scratch);
        self.rendered_bytes += log.rendered_bytes();
    }
}

/// Who comes and who goes.
impl Fanout {
    /// A member takes its seat in the channel of this subscription and reads it as `encoding`; what
    /// is not for it there is noted in its filter.
    pub(crate) fn join(
        &mut self,
        member: u32,
        encoding: Encoding,
        subscription: &mut Subscription,
        filter: &mut Filter,
    ) {
        let Subscription { channel, next, .. } = *subscription;
        let epoch = self.epoch;
        self.change_log(channel, |log, scratch| log.add_reader(encoding, next, epoch, scratch));
        filter.begin(&self.channels.at(channel).log, next);
        subscription.seat = self.channels.at_mut(channel).join(member);
        self.subscriptions += 1;
    }

    /// Ends a subscription that was read as `encoding`. Says who has its seat now, where anyone
    /// has: the caller lets it [`Subscriptions::take_seat`].
    #[must_use]
    pub(crate) fn leave(
        &mut self,
        subscription: Subscription,
        encoding: Encoding,
    ) -> Option<Moved> {
        let Subscription { channel, seat, .. } = subscription;
        self.change_log(channel, |log, _| log.remove_reader(encoding));
        self.subscriptions -= 1;
        let (member, in_sweep) = self.channels.at_mut(channel).leave(seat)?;
        Some(Moved { member, in_sweep, channel, seat })
    }

    /// What the sequencer calls the channel of a subscription.
    pub(crate) fn channel_id(&self, subscription: Subscription) -> ChannelId {
        self.channels.at(subscription.channel).log.id
    }

    /// Whether any of these is owed a message, or is to be told of one.
    pub(crate) fn owes(&self, subscriptions: &mut Subscriptions, encoding: Encoding) -> bool {
        let (all, filter) = subscriptions.parts();
        all.iter_mut().any(|it| {
            let log = &self.channels.at(it.channel).log;
            if let Some(filter) = filter {
                filter.pass(&mut it.next, log, encoding);
            }
            it.next < log.end()
        })
    }

    /// Whether these were all sent up to `position`.
    pub(crate) fn is_past(&self, subscriptions: &Subscriptions, position: u64) -> bool {
        let mut all = subscriptions.as_slice().iter();
        all.all(|it| it.next >= self.channels.at(it.channel).log.after_position(position))
    }

    /// Everything that these are owed, in the order of positions.
    pub(crate) fn merged<'a>(
        &'a self,
        subscriptions: &'a Subscriptions,
        encoding: Encoding,
    ) -> Merged<'a> {
        Merged::new(subscriptions, &self.channels, encoding)
    }

    /// Whether one of these has left the live window of a channel that disconnects for that.
    pub(crate) fn must_close(&self, subscriptions: &Subscriptions) -> bool {
        lost::must_close(subscriptions.as_slice(), &self.channels)
    }

    /// Moves cursors that have left the live windows to where they go on. Tells each gap, and
    /// returns how many there were.
    pub(crate) fn skip_lost(
        &mut self,
        subscriptions: &mut Subscriptions,
        tell: impl FnMut(&GapView<'_>),
    ) -> u64 {
        let list = subscriptions.as_mut_slice();
        let skipped = lost::skip_lost(list, &self.channels, tell);
        self.ephemeral_lost += skipped.ephemeral;
        skipped.gaps
    }

    /// Where what is owed first is too long for a member, writes to `out` what it gets instead, and
    /// what it gets between one such message and the next, and moves its cursors past all that.
    pub(crate) fn withhold(
        &mut self,
        subscriptions: &mut Subscriptions,
        encoding: Encoding,
        out: &mut Vec<u8>,
    ) -> Withheld {
        self.batch.withhold(subscriptions.parts(), &self.channels, encoding, out)
    }
}

/// A batch of sends.
impl Fanout {
    /// Lets sweeps say who is visited next, where nobody is left of those that they said before.
    pub(crate) fn take_turns(&mut self) {
        if self.visits.is_empty() {
            self.sweep.take(&mut self.channels, &mut self.visits);
        }
    }

    /// The next member that a sweep owes a visit.
    pub(crate) fn next_visit(&mut self) -> Option<u32> {
        self.visits.pop_front()
    }

    /// Plans what a member gets next of its channels, and moves its cursors past it.
    pub(crate) fn visit(
        &mut self,
        member: u32,
        encoding: Encoding,
        subscriptions: &mut Subscriptions,
    ) -> Found {
        self.batch.visit(member, encoding, subscriptions.parts(), &self.channels)
    }

    /// Plans a send of bytes that the caller has for this member alone.
    pub(crate) fn visit_privately(&mut self, member: u32) {
        self.batch.plan_private(member);
    }

    /// How many sends are planned.
    pub(crate) fn planned(&self) -> usize {
        self.batch.len()
    }

    /// Whether what is planned must be sent before another visit.
    pub(crate) fn is_batch_full(&self) -> bool {
        self.batch.is_full()
    }

    /// The planned sends in their order: to whom, and which bytes; `None` where the caller has
    /// them.
    pub(crate) fn sends(&self) -> impl Iterator<Item = (u32, Option<&[u8]>)> {
        self.batch.sends(&self.channels)
    }

    /// To whom the planned send `nth` goes.
    pub(crate) fn planned_for(&self, nth: usize) -> u32 {
        self.batch.member(nth)
    }

    /// The planned send `nth` has ended and the first `taken` bytes of it are sent, `usize::MAX`
    /// where all are: moves the cursors of what was not back.
    pub(crate) fn settle(
        &self,
        nth: usize,
        taken: usize,
        subscriptions: &mut Subscriptions,
    ) -> Settled {
        self.batch.settle(nth, taken, subscriptions.as_mut_slice(), &self.channels)
    }

    /// Everything that was planned is settled.
    pub(crate) fn end_batch(&mut self) {
        self.batch.clear();
    }

    /// Trims every log whose members have all had their turn. What keeps a log from it is work that
    /// is under way, so the next tick comes soon.
    pub(crate) fn trim(&mut self, members: &mut impl Members) {
        if self.visits.is_empty() {
            let (channels, scratch) = (&mut self.channels, &mut self.scratch);
            let trimmed = self.overgrown.trim(channels, scratch, members);
            self.rendered_bytes -= trimmed.bytes;
            self.ephemeral_lost += trimmed.ephemeral;
        }
    }
}

/// For the simulation and for tests.
impl Fanout {
    /// Panics where anything contradicts itself or what members have.
    pub(crate) fn invariants<'a>(&self, members: impl Iterator<Item = (u32, &'a Subscriptions)>) {
        let mut subscriptions = 0;
        for (member, its) in members {
            for subscription in its.as_slice() {
                let channel = self.channels.at(subscription.channel);
                assert_eq!(channel.members[subscription.seat as usize], member);
                assert!(subscription.next <= channel.log.end());
                subscriptions += 1;
            }
        }
        let seats: usize = self.channels.iter().map(|channel| channel.members.len()).sum();
        assert_eq!((subscriptions, subscriptions), (self.subscriptions, seats as u64));
        let rendered: usize = self.channels.iter().map(|one| one.log.rendered_bytes()).sum();
        assert_eq!(self.rendered_bytes, rendered);
        assert_eq!(self.batch.len(), 0, "a batch was settled");
    }

    /// Messages of the longest log.
    #[cfg(test)]
    pub(crate) fn longest_log(&self) -> u64 {
        let lengths = self.channels.iter().map(|one| one.log.end() - one.log.first());
        lengths.max().unwrap_or(0)
    }
}
