//! Fan-out: what one shard keeps of the channels that its clients follow, and what of that goes to
//! whom next. It knows neither sockets nor clients: a *member* is a number of the caller's, whose
//! [`Subscriptions`] the caller keeps and lends.
//!
//! A shard calls it in this order, tick by tick:
//!
//! 1. what the order brings: [`Fanout::append`], [`Fanout::import`], [`Fanout::raise_floor`],
//!    [`Fanout::release`], unless logs are to be sent from first ([`Fanout::holds_back`]);
//! 2. who comes and who goes: [`Fanout::join`], [`Fanout::leave`];
//! 3. a batch, which [`Fanout::begin_batch`] begins: members are taken from sweeps by
//!    [`Fanout::next_visit`] and visited by
//!    [`Fanout::visit`]; what was planned is read by [`Fanout::sends`], sent, and settled by
//!    [`Fanout::settle`], each in its turn, until [`Fanout::end_batch`];
//! 4. [`Fanout::trim`].
//!
//! **The one rule:** between the first visit of a batch and its end nobody joins, leaves or is
//! trimmed, since planned sends name bytes of logs.

mod batch;
mod channels;
mod entries;
mod entry;
mod eviction;
mod filter;
mod gathering;
mod lane;
mod lanes;
mod late;
mod lives;
mod log;
mod lost;
mod overgrown;
mod owed;
mod page;
mod room;
mod subscription;
mod sweep;
mod views;

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use fanfare_protocol::dialect::Encoding;
use fanfare_protocol::id::Epoch;
use fanfare_protocol::message::GapView;

use crate::channel::ChannelId;
use crate::message::Message;
use crate::presence;
use crate::sequencer::command::{EndedLife, SubscribedChannel};
use batch::Batch;
use channels::{ChannelIndex, Channels};
use eviction::Eviction;
use filter::Reads;
use lane::Renderer;
use log::Log;
use overgrown::Overgrown;
use page::{Page, Pages};
use subscription::Seat;
use sweep::Sweep;

pub(crate) use batch::{BATCH_SENDS_MAX, Found, Settled, Withheld};
pub(crate) use filter::Filter;
pub(crate) use gathering::Gathering;
pub(crate) use overgrown::Members;
pub(crate) use page::Slice;
pub(crate) use room::NoRoom;
pub(crate) use subscription::{Moved, Subscription, Subscriptions};

/// The channels of one shard, and whose turn it is.
#[derive(Debug)]
pub(crate) struct Fanout {
    channels: Channels,
    sweep: Sweep,
    /// Members that sweeps owe a visit and that were taken from them.
    visits: VecDeque<u32>,
    batch: Batch,
    overgrown: Overgrown,
    renderer: Renderer,
    eviction: Eviction,
    /// Bytes of all live windows.
    loose_bytes: usize,
    subscriptions: u64,
    ephemeral_lost: u64,
}

impl Fanout {
    /// No channels yet. `quantum` is how many visits one channel has in one turn; `rendered_bytes`
    /// is what may be rendered.
    pub(crate) fn new(epoch: Epoch, quantum: usize, rendered_bytes: usize) -> Self {
        Self {
            channels: Channels::default(),
            sweep: Sweep::new(quantum),
            visits: VecDeque::new(),
            batch: Batch::default(),
            overgrown: Overgrown::default(),
            renderer: Renderer::new(epoch),
            eviction: Eviction::new(rendered_bytes),
            loose_bytes: 0,
            subscriptions: 0,
            ephemeral_lost: 0,
        }
    }

    /// The epoch of what is given now.
    pub(crate) fn epoch(&self) -> Epoch {
        self.renderer.epoch()
    }

    /// Takes turns of another length from now on.
    pub(crate) fn set_quantum(&mut self, quantum: usize) {
        self.sweep.set_quantum(quantum);
    }

    /// Channels that there is a log of.
    pub(crate) fn channels(&self) -> usize {
        self.channels.len()
    }

    /// Subscriptions of all members.
    pub(crate) fn subscriptions(&self) -> u64 {
        self.subscriptions
    }

    /// Bytes of all rendered pages, whoever holds them.
    pub(crate) fn rendered_bytes(&self) -> usize {
        self.renderer.pages.bytes()
    }

    /// Bytes of what logs hold that history does not promise: the live windows.
    pub(crate) fn loose_bytes(&self) -> usize {
        self.loose_bytes
    }

    /// Pages that were dropped to stay within the budget, so far.
    pub(crate) fn evicted(&self) -> u64 {
        self.eviction.evicted()
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
        self.change_log(channel, |log, _| log.append(Arc::clone(message)));
        self.sweep.mark(channel, &mut self.channels);
        self.overgrown.look(channel, &mut self.channels);
    }

    /// A presence event of a channel, where there is a log of it.
    pub(crate) fn append_presence(&mut self, event: &Arc<presence::Placed>) {
        let Some(channel) = self.channels.find(event.channel) else { return };
        self.change_log(channel, |log, _| log.append_presence(Arc::clone(event)));
        self.sweep.mark(channel, &mut self.channels);
        self.overgrown.look(channel, &mut self.channels);
    }

    /// A channel of a subscribe reply: its log is here from now on and reaches back as far as the
    /// reply says. Returns the subscription, whose member has still to [`Fanout::join`].
    pub(crate) fn import(&mut self, reply: &SubscribedChannel) -> Subscription {
        let channel = self.channels.find(reply.channel).unwrap_or_else(|| {
            let (name, rule) = (Arc::clone(&reply.name), Arc::clone(&reply.rule));
            self.channels.insert(Log::after(reply.channel, name, rule, reply.last))
        });
        self.change_log(channel, |log, pages| {
            log.import(&reply.import, pages);
            log.raise_floor(reply.floor);
        });
        let next = self.channels.at(channel).log.entries().seq_of(reply.next);
        self.overgrown.look(channel, &mut self.channels);
        Subscription { channel, seat: Seat::default(), next }
    }

    /// Which life of a channel its log is of, for [`Fanout::begin_late`].
    pub(crate) fn life(&self, subscription: Subscription) -> u64 {
        self.channels.at(subscription.channel).log.lives().present()
    }

    /// Where a subscription begins now, where the order is at `present`, that was imported earlier,
    /// when the log was of this `life`, and whose member has still to [`Fanout::join`]; and the
    /// position of the first message to deliver, where there is one. The reply says from here on
    /// what is true now.
    pub(crate) fn begin_late(
        &self,
        reply: &mut SubscribedChannel,
        life: u64,
        present: u64,
    ) -> (Subscription, Option<u64>) {
        let channel = self.channels.find(reply.channel).expect("its log stays until it is left");
        let log = &self.channels.at(channel).log;
        let next = late::begin(log, life, present, reply);
        (Subscription { channel, seat: Seat::default(), next }, log.entries().position(next))
    }

    /// History promises nothing of a channel before `floor` any more.
    pub(crate) fn raise_floor(&mut self, channel: ChannelId, floor: u64) {
        let Some(channel) = self.channels.find(channel) else { return };
        self.change_log(channel, |log, _| log.raise_floor(floor));
        self.overgrown.look(channel, &mut self.channels);
    }

    /// Drops the log of a channel that nobody follows any more.
    pub(crate) fn release(&mut self, channel: ChannelId) {
        let released = self.channels.remove(channel);
        self.loose_bytes -= released.map_or(0, |log| log.loose_bytes());
    }

    /// The life of a channel ended. Where it is still followed, by members of the shard that has
    /// this bit, its log begins anew.
    pub(crate) fn end_life(&mut self, life: &EndedLife, bit: u64) {
        if life.followed & bit == 0 {
            return self.release(life.channel);
        }
        let Some(channel) = self.channels.find(life.channel) else { return };
        self.change_log(channel, |log, pages| log.begin_anew(pages));
    }

    /// Changes a log and keeps the count of live windows true.
    fn change_log(&mut self, channel: ChannelIndex, change: impl FnOnce(&mut Log, &mut Pages)) {
        let log = &mut self.channels.at_mut(channel).log;
        let before = log.loose_bytes();
        change(log, &mut self.renderer.pages);
        self.loose_bytes = self.loose_bytes - before + log.loose_bytes();
    }

    /// Another epoch begins: every log begins anew, whoever follows is told, and these lives have
    /// ended, each of a channel that this shard has an interest in where it has this bit.
    pub(crate) fn begin_epoch(&mut self, epoch: Epoch, lives: &[EndedLife], bit: u64) {
        self.renderer.begin_epoch(epoch);
        for life in lives.iter().filter(|life| life.followed & bit == 0) {
            self.release(life.channel);
        }
        for channel in self.channels.indexes() {
            self.change_log(channel, |log, pages| log.begin_epoch(pages));
            self.sweep.mark(channel, &mut self.channels);
        }
    }

    /// Whether no more of the order is to be read for now.
    pub(crate) fn holds_back(&self) -> bool {
        self.overgrown.is_far() || self.eviction.is_far_over(self.loose_bytes)
    }
}

/// Who comes and who goes.
impl Fanout {
    /// A member takes its seat in the channel of this subscription, and reads it by `view` from
    /// here on, which has room; what is not for it there is noted in its filter.
    pub(crate) fn join(
        &mut self,
        member: u32,
        subscription: &mut Subscription,
        filter: &mut Filter,
        view: Option<&Arc<str>>,
    ) {
        let Subscription { channel, next, .. } = *subscription;
        filter.begin(&self.channels.at(channel).log, next);
        let channel = self.channels.at_mut(channel);
        subscription.seat = Seat::new(channel.join(member), channel.log.lanes.enter(view));
        self.subscriptions += 1;
    }

    /// Whether the channel of this subscription has room for one more by `view`.
    pub(crate) fn has_room_for(&self, subscription: Subscription, view: &str) -> bool {
        self.channels.at(subscription.channel).log.lanes.has_room_for(view)
    }

    /// Ends a subscription. Says who has its seat now, where anyone has: the caller lets it
    /// [`Subscriptions::take_seat`].
    #[must_use]
    pub(crate) fn leave(&mut self, subscription: Subscription) -> Option<Moved> {
        let Subscription { channel: index, seat, .. } = subscription;
        self.subscriptions -= 1;
        let channel = self.channels.at_mut(index);
        channel.log.lanes.leave(seat.view());
        let (member, in_sweep) = channel.leave(seat.place())?;
        Some(Moved { member, in_sweep, channel: index, place: seat.place() })
    }

    /// What the sequencer calls the channel of a subscription.
    pub(crate) fn channel_id(&self, subscription: Subscription) -> ChannelId {
        self.channels.at(subscription.channel).log.id
    }

    /// Whether any of these is owed a message, or is to be told of one.
    pub(crate) fn owes(&mut self, subscriptions: &mut Subscriptions, encoding: Encoding) -> bool {
        let (all, filter) = subscriptions.parts();
        all.iter_mut().any(|it| {
            let rendition = it.rendition(encoding);
            let log = &mut self.channels.at_mut(it.channel).log;
            let renderer = &mut self.renderer;
            Reads { log, rendition, renderer }.pass(&mut it.next, filter);
            it.next < log.entries().end()
        })
    }

    /// Whether these were all sent up to `position`.
    pub(crate) fn is_past(&self, subscriptions: &Subscriptions, position: u64) -> bool {
        let mut all = subscriptions.as_slice().iter();
        all.all(|it| it.next >= self.channels.at(it.channel).log.entries().after_position(position))
    }

    /// Gathers what a poll is answered with, and moves its cursors past it. Says of which epoch all
    /// that is; `None` where this turn is over, and the answer goes on in another.
    ///
    /// # Errors
    /// Where nothing was gathered, and there is no room for what comes first.
    pub(crate) fn gather(
        &mut self,
        subscriptions: &mut Subscriptions,
        encoding: Encoding,
        gathering: &mut Gathering,
    ) -> Result<Option<Epoch>, NoRoom> {
        let Self { batch, channels, renderer, .. } = self;
        let epoch = gathering.epoch_or(renderer.epoch());
        let parts = subscriptions.parts();
        let is_whole = gathering.gather(parts, &mut batch.owed, channels, encoding, renderer)?;
        Ok(is_whole.then_some(epoch))
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
        let Self { batch, channels, renderer, .. } = self;
        batch.withhold(subscriptions.parts(), channels, encoding, renderer, out)
    }
}

/// A batch of sends.
impl Fanout {
    /// A batch begins: what is rendered is brought back into its budget first, whatever that takes
    /// where somebody waits for room. Messages behind the position `new_after` are new.
    pub(crate) fn begin_batch(&mut self, waits_for: Option<NoRoom>, new_after: u64) {
        let windows = self.loose_bytes;
        self.renderer.begin_part();
        self.renderer.room = self.eviction.room(windows, &self.renderer.pages);
        self.eviction.tighten(windows, &mut self.channels, &mut self.overgrown);
        self.renderer.new_after = new_after;
        self.eviction.evict(waits_for, windows, &mut self.channels, &self.renderer.pages);
    }

    /// Others are visited from here on: what was rendered for those before takes nothing from them.
    pub(crate) fn begin_part(&mut self) {
        self.renderer.begin_part();
    }

    /// Whether there is room for this now.
    pub(crate) fn has_room(&self, wanted: NoRoom) -> bool {
        let pages = &self.renderer.pages;
        self.eviction.room(self.loose_bytes, pages).has(wanted, pages.bytes())
    }

    /// Whether something is rendered that nobody holds, which makes room when it is dropped.
    pub(crate) fn has_idle_pages(&self) -> bool {
        self.renderer.pages.held_bytes() < self.renderer.pages.bytes()
    }

    /// Whether what clients hold is more than there is room for, or leaves none to whoever waits
    /// for some, so that some have to let go.
    pub(crate) fn is_stuck(&self, waits_for: Option<NoRoom>) -> bool {
        self.eviction.is_stuck(waits_for, self.loose_bytes, &self.renderer.pages)
    }

    /// Whether live windows need what clients hold, and nobody is given time for it.
    pub(crate) fn is_pressed(&self) -> bool {
        self.eviction.is_pressed(self.loose_bytes, &self.renderer.pages)
    }

    /// Lets sweeps say who is visited next, where nobody is left of those that they said before.
    pub(crate) fn take_turns(&mut self) {
        self.begin_part();
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
        let Self { batch, channels, renderer, .. } = self;
        batch.visit(member, encoding, subscriptions.parts(), channels, renderer)
    }

    /// Plans a send of bytes that the caller has for this member alone.
    pub(crate) fn visit_privately(&mut self, member: u32) {
        self.batch.plan_private(member);
    }

    /// Plans a send of bytes that the caller has for this member alone, in pieces: `copy` appends
    /// as many of them as it is told.
    pub(crate) fn visit_copying(&mut self, member: u32, copy: impl FnOnce(&mut Vec<u8>, usize)) {
        self.batch.plan_copied(member, copy);
    }

    /// How many sends are planned.
    pub(crate) fn planned(&self) -> usize {
        self.batch.len()
    }

    /// Whether what is planned must be sent before another visit.
    pub(crate) fn is_batch_full(&self) -> bool {
        self.batch.is_full() || self.renderer.is_spent()
    }

    /// Whether those who are visited for reasons of their own have had their half of a batch.
    pub(crate) fn is_batch_half_full(&self) -> bool {
        self.batch.is_half_full() || self.renderer.is_spent()
    }

    /// The planned sends in their order: to whom, and which bytes; `None` where the caller has
    /// them.
    pub(crate) fn sends(&self) -> impl Iterator<Item = (u32, Option<&[u8]>)> {
        self.batch.sends()
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
            let (channels, pages) = (&mut self.channels, &mut self.renderer.pages);
            let trimmed = self.overgrown.trim(channels, pages, members);
            self.ephemeral_lost += trimmed.ephemeral;
            self.loose_bytes -= trimmed.loose_bytes;
            self.eviction.trimmed(trimmed.waits);
        }
    }
}

/// For the simulation and for tests.
impl Fanout {
    /// Panics where anything contradicts itself or what members have: their subscriptions, and the
    /// slices that wait for them. What is rendered is rendered again.
    pub(crate) fn invariants<'a>(
        &self,
        members: impl Iterator<Item = (u32, &'a Subscriptions)>,
        slices: impl Iterator<Item = &'a Slice>,
    ) {
        let mut subscriptions = 0;
        for (member, its) in members {
            for subscription in its.as_slice() {
                let channel = self.channels.at(subscription.channel);
                assert_eq!(channel.members[subscription.seat.place() as usize], member);
                assert!(subscription.next <= channel.log.entries().end());
                subscriptions += 1;
            }
        }
        let seats: usize = self.channels.iter().map(|channel| channel.members.len()).sum();
        assert_eq!((subscriptions, subscriptions), (self.subscriptions, seats as u64));
        let mut pages: HashMap<_, _> = HashMap::new();
        let mut see = |page: &Rc<Page>| {
            pages.insert(Rc::as_ptr(page), page.memory());
        };
        self.channels.iter().flat_map(|one| one.log.lanes.pages()).for_each(&mut see);
        let held: HashMap<_, _> = slices.map(Slice::page).map(|it| (Rc::as_ptr(it), it)).collect();
        let held_bytes: usize = held.values().map(|page| page.memory()).sum();
        assert_eq!(self.renderer.pages.held_bytes(), held_bytes, "pages that clients hold");
        held.into_values().for_each(see);
        let loose: usize = self.channels.iter().map(|one| one.log.loose_bytes()).sum();
        assert_eq!(self.loose_bytes, loose, "what live windows hold");
        assert_eq!(self.rendered_bytes(), pages.values().sum::<usize>(), "pages that somebody has");
        let mut renderer = self.renderer.another();
        self.channels.iter().for_each(|one| one.log.invariants(&mut renderer));
        assert_eq!(self.batch.len(), 0, "a batch was settled");
    }

    /// Messages of the longest log.
    #[cfg(test)]
    pub(crate) fn longest_log(&self) -> u64 {
        let lengths =
            self.channels.iter().map(|one| one.log.entries().end() - one.log.entries().first());
        lengths.max().unwrap_or(0)
    }
}
