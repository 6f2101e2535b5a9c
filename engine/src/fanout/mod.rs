//! Fan-out: what one shard keeps of the channels that its clients follow, and what of that goes to
//! whom next. It knows neither sockets nor clients: a *member* is a number of the caller's, whose
//! [`Subscriptions`] the caller keeps and lends.
//!
//! [`Fanout`] does what concerns several of its parts, and lends them for what concerns one. A
//! shard calls it in this order, tick by tick:
//!
//! 1. what the order brings: [`Fanout::append`], [`Fanout::import`], [`Fanout::raise_floor`],
//!    [`Fanout::release`], unless logs are to be sent from first ([`Fanout::holds_back`]);
//! 2. who comes and who goes: [`Subscription::join`], [`Subscription::leave`];
//! 3. a batch, which [`Fanout::begin_batch`] begins: members are taken from the [`Sweep`] and
//!    visited by [`Batch::visit`]; what was planned is read by [`Batch::sends`], sent, and settled
//!    by [`Batch::settle`], each in its turn, until [`Batch::clear`];
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
#[cfg(test)]
mod sample;
mod subscription;
mod sweep;
mod views;

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use fanfare_protocol::dialect::Encoding;
use fanfare_protocol::id::Epoch;

use crate::channel::ChannelId;
use crate::message::Message;
use crate::presence;
use crate::sequencer::command::{EndedLife, SubscribedChannel};
use channels::ChannelIndex;
use eviction::Eviction;
use lane::Renderer;
use log::ChannelLog;
use overgrown::Overgrown;
use page::Page;

pub(crate) use batch::{BATCH_SENDS_MAX, Batch, Settled, VisitResult, Withheld};
pub(crate) use channels::FollowedChannels;
pub(crate) use filter::Filter;
pub(crate) use gathering::Gathering;
pub(crate) use late::begin_late;
pub(crate) use lost::{must_close, skip_lost};
pub(crate) use overgrown::Members;
pub(crate) use page::Slice;
pub(crate) use room::NoRoom;
pub(crate) use subscription::{Moved, Subscription, Subscriptions};
pub(crate) use sweep::Sweep;

/// The channels of one shard, and whose turn it is.
#[derive(Debug)]
pub(crate) struct Fanout {
    /// What there is of each channel, and who follows it.
    pub(crate) channels: FollowedChannels,
    /// Who is owed a visit.
    pub(crate) sweep: Sweep,
    /// What is sent next.
    pub(crate) batch: Batch,
    /// What renders all that.
    pub(crate) renderer: Renderer,
    /// What keeps it within its budget.
    pub(crate) eviction: Eviction,
    overgrown: Overgrown,
}

impl Fanout {
    /// No channels yet. `quantum` is how many visits one channel has in one turn; `rendered_bytes`
    /// is what may be rendered.
    pub(crate) fn new(epoch: Epoch, quantum: usize, rendered_bytes: usize) -> Self {
        Self {
            channels: FollowedChannels::default(),
            sweep: Sweep::new(quantum),
            batch: Batch::default(),
            renderer: Renderer::new(epoch),
            eviction: Eviction::new(rendered_bytes),
            overgrown: Overgrown::default(),
        }
    }

    /// Bytes of all rendered pages, whoever holds them.
    pub(crate) fn rendered_bytes(&self) -> usize {
        self.renderer.pages.bytes()
    }
}

/// What the order brings.
impl Fanout {
    /// A message of a channel, where there is a log of it.
    pub(crate) fn append(&mut self, message: &Arc<Message>) {
        let Some(channel) = self.channels.find(message.channel) else { return };
        self.channels.change(channel, |log| log.append(Arc::clone(message)));
        self.has_grown(channel);
    }

    /// A presence event of a channel, where there is a log of it.
    pub(crate) fn append_presence(&mut self, event: &Arc<presence::PlacedPresence>) {
        let Some(channel) = self.channels.find(event.channel) else { return };
        self.channels.change(channel, |log| log.append_presence(Arc::clone(event)));
        self.has_grown(channel);
    }

    fn has_grown(&mut self, channel: ChannelIndex) {
        self.sweep.mark(channel, &mut self.channels);
        self.overgrown.look(channel, &mut self.channels);
    }

    /// A channel of a subscribe reply: its log is here from now on and reaches back as far as the
    /// reply says. Returns the subscription, whose member has still to [`Subscription::join`].
    pub(crate) fn import(&mut self, reply: &SubscribedChannel) -> Subscription {
        let channel = self.channels.find(reply.channel).unwrap_or_else(|| {
            let (name, rule) = (Arc::clone(&reply.name), Arc::clone(&reply.rule));
            self.channels.insert(ChannelLog::after(reply.channel, name, rule, reply.last))
        });
        let pages = &mut self.renderer.pages;
        self.channels.change(channel, |log| {
            log.import(&reply.import, pages);
            log.raise_floor(reply.floor);
        });
        let next = self.channels.at(channel).log.entries().seq_of(reply.next);
        self.overgrown.look(channel, &mut self.channels);
        Subscription::before_joining(channel, next)
    }

    /// History promises nothing of a channel before `floor` any more.
    pub(crate) fn raise_floor(&mut self, channel: ChannelId, floor: u64) {
        let Some(channel) = self.channels.find(channel) else { return };
        self.channels.change(channel, |log| log.raise_floor(floor));
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
        let pages = &mut self.renderer.pages;
        self.channels.change(channel, |log| log.begin_anew(pages));
    }

    /// Another epoch begins: every log begins anew, whoever follows is told, and these lives have
    /// ended, each of a channel that this shard has an interest in where it has this bit.
    pub(crate) fn begin_epoch(&mut self, epoch: Epoch, lives: &[EndedLife], bit: u64) {
        self.renderer.begin_epoch(epoch);
        for life in lives.iter().filter(|life| life.followed & bit == 0) {
            self.release(life.channel);
        }
        for channel in self.channels.indexes() {
            self.channels.change(channel, |log| log.begin_epoch(&mut self.renderer.pages));
            self.sweep.mark(channel, &mut self.channels);
        }
    }

    /// Whether no more of the order is to be read for now.
    pub(crate) fn holds_back(&self) -> bool {
        self.overgrown.is_far() || self.eviction.is_far_over(self.channels.loose_bytes())
    }
}

/// Budgets and turns.
impl Fanout {
    /// A batch begins: what is rendered is brought back into its budget first, whatever that takes
    /// where somebody waits for room. Messages behind the position `new_after` are new.
    pub(crate) fn begin_batch(&mut self, waits_for: Option<NoRoom>, new_after: u64) {
        let windows = self.channels.loose_bytes();
        self.renderer.begin_part();
        self.renderer.room = self.eviction.room(windows, &self.renderer.pages);
        self.eviction.tighten(windows, &mut self.channels, &mut self.overgrown);
        self.renderer.new_after = new_after;
        self.eviction.evict(waits_for, windows, &mut self.channels, &self.renderer.pages);
    }

    /// Whether there is room for this now.
    pub(crate) fn has_room(&self, wanted: NoRoom) -> bool {
        let (windows, pages) = (self.channels.loose_bytes(), &self.renderer.pages);
        self.eviction.room(windows, pages).has(wanted, pages.bytes())
    }

    /// Whether something is rendered that nobody holds, which makes room when it is dropped.
    pub(crate) fn has_idle_pages(&self) -> bool {
        self.renderer.pages.held_bytes() < self.renderer.pages.bytes()
    }

    /// Whether what clients hold is more than there is room for, or leaves none to whoever waits
    /// for some, so that some have to let go.
    pub(crate) fn is_stuck(&self, waits_for: Option<NoRoom>) -> bool {
        self.eviction.is_stuck(waits_for, self.channels.loose_bytes(), &self.renderer.pages)
    }

    /// Whether live windows need what clients hold, and nobody is given time for it.
    pub(crate) fn is_pressed(&self) -> bool {
        self.eviction.is_pressed(self.channels.loose_bytes(), &self.renderer.pages)
    }

    /// Whether what is planned must be sent before another visit.
    pub(crate) fn is_batch_full(&self) -> bool {
        self.batch.is_full() || self.renderer.is_spent()
    }

    /// Whether those who are visited for reasons of their own have had their half of a batch.
    pub(crate) fn is_batch_half_full(&self) -> bool {
        self.batch.is_half_full() || self.renderer.is_spent()
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

    /// Trims every log whose members have all had their turn. What keeps a log from it is work that
    /// is under way, so the next tick comes soon.
    pub(crate) fn trim(&mut self, members: &mut impl Members) {
        if !self.sweep.is_visiting() {
            let pages = &mut self.renderer.pages;
            let trimmed = self.overgrown.trim(&mut self.channels, pages, members);
            self.channels.lost(trimmed.ephemeral);
            self.channels.trimmed(trimmed.loose_bytes);
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
        assert_eq!((subscriptions, subscriptions), (self.channels.subscriptions(), seats as u64));
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
        assert_eq!(self.channels.loose_bytes(), loose, "what live windows hold");
        assert_eq!(self.rendered_bytes(), pages.values().sum::<usize>(), "pages that somebody has");
        let mut renderer = self.renderer.another();
        self.channels.iter().for_each(|one| one.log.invariants(&mut renderer));
        assert_eq!(self.batch.len(), 0, "a batch was settled");
    }
}
