//! Performs one piece of work: room first, then the decision, then what is told of it: to shards
//! through the ring, to publishers by their answers, to the operator by metrics and warnings.

use std::collections::VecDeque;
use std::sync::Arc;

use fanfare_protocol::id::{Epoch, Id};
use fanfare_protocol::record::Secret;

use crate::channel::ChannelId;
use crate::clock::Millis;
use crate::log::{Item, Log, LogEvent};
use crate::message;
use crate::metrics::Metrics;

use super::command::{
    Command, Entry, Genesis, HistoryQuery, Publication, PublishAnswer, Published, Refusal,
    Requester, Subscribe,
};
use super::listing::Listing;
use super::log_queue::LogQueue;
use super::offers::Ticket;
use super::order::{EndedLives, LIVES_PER_HEARTBEAT, Order, Placed};
use super::read;
use super::sink::Sink;
use super::subscribe::Following;
use super::tenants::TenantRates;
use super::warn::Warn;

/// Units of work in one turn of one side: messages that are placed or imported, channels that are
/// followed or left. One publish, or the import of one channel, goes over it by what it alone is.
const UNITS_PER_TURN: usize = 256;

/// Something to be done that is not done yet.
pub(super) enum Work {
    /// A command of which nothing was done.
    Command(Command),
    /// What stands in the log next.
    Item(Item<Ticket>),
    /// The next slice of a request to follow.
    Slice(Following),
    /// What was to be published and is not to stand in the log, for this reason.
    Refused(Ticket, Refusal),
}

/// How far a piece of work came.
pub(super) enum Performed {
    /// It is done, and answered where it has an answer.
    Done {
        /// Messages placed, in each of their channels, or imported, channels followed or left: at
        /// least one.
        units: usize,
    },
    /// Nothing was done: the ring has no room for what it may write.
    NoRoom(Work),
}

/// Entries and bytes that an item of the log may write at most, where so many channels have a life.
fn room_of_item(item: &Item<Ticket>, lives: usize) -> (usize, usize) {
    match &item.event {
        LogEvent::Genesis { .. } => (1, Entry::ended_cost(lives)),
        LogEvent::Heartbeat => (1, Entry::ended_cost(LIVES_PER_HEARTBEAT)),
        LogEvent::Presence(presence) => (1, Entry::message_cost(presence.cost())),
        LogEvent::Published { publication, ticket, .. } => {
            let Publication { also, data, event, .. } = publication;
            let cost = message::cost_in(1 + also.len(), data.len(), event.as_deref());
            // It may end lives, of which shards are told: one whose time is over, and for each of
            // its channels one that there is no room for beside it.
            let bytes = Entry::ended_cost(2 + also.len()) + Entry::message_cost(cost);
            match ticket {
                Some(Ticket::Alone(PublishAnswer::Connection { .. })) => {
                    (3, bytes + Entry::bare_cost())
                }
                _ => (2, bytes),
            }
        }
    }
}

/// The same of any piece of work.
fn room(work: &Work, units_per_turn: usize, lives: usize) -> (usize, usize) {
    match work {
        Work::Item(item) => room_of_item(item, lives),
        Work::Refused(Ticket::Alone(PublishAnswer::Connection { .. }), _) => {
            (1, Entry::bare_cost())
        }
        Work::Refused(..) => (0, 0),
        Work::Command(Command::Publish(_, PublishAnswer::Connection { .. })) => {
            (1, Entry::bare_cost()) // it may be refused
        }
        Work::Command(Command::Subscribe(_)) => (1, Entry::bare_cost()), // it may be refused
        Work::Slice(following) => (1, Entry::subscribed_cost(following.left().min(units_per_turn))),
        Work::Command(Command::Unsubscribe { channels, .. }) => {
            (1, Entry::released_cost(channels.len()))
        }
        Work::Command(Command::Relay(relay)) => (1, Entry::relayed_cost(relay)),
        Work::Command(Command::Inquire(inquiry)) => (1, Entry::inquiry_cost(inquiry)),
        Work::Command(_) => (0, 0),
    }
}

/// How far the order is from its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// Commands are performed.
    Open,
    /// Commands are refused; the end entry is to be written when the inbox is empty and all that
    /// was published has its outcome. The log is waited for until then, and no longer.
    Closing { until: Millis },
    /// The end entry is written: nothing follows it.
    Ended,
}

/// Whoever performs: the order, and all that hears of it.
pub(super) struct Performer<S, L> {
    pub(super) order: Order,
    pub(super) log: LogQueue<L>,
    pub(super) ring: S,
    pub(super) metrics: Arc<Metrics>,
    pub(super) phase: Phase,
    pub(super) units_per_turn: usize,
    /// The rest of a request to follow, of which a part is done.
    pub(super) following: Option<Following>,
    /// Pages of channels that are wanted, the oldest first.
    listings: VecDeque<Listing>,
    /// How fast tenants publish that have limits of their own.
    rates: TenantRates,
    /// Who hears of each epoch that begins.
    hear_epochs: Vec<Box<dyn FnMut(Epoch) + Send>>,
    warn: Warn,
}

impl<S: Sink, L: Log<Ticket>> Performer<S, L> {
    pub(super) fn new(order: Order, log: LogQueue<L>, ring: S, metrics: Arc<Metrics>) -> Self {
        metrics.sequencer.epoch.set(order.applied.epoch.number());
        let rates = TenantRates::new(&order.limits);
        Self {
            order,
            log,
            ring,
            metrics,
            phase: Phase::Open,
            units_per_turn: UNITS_PER_TURN,
            following: None,
            listings: VecDeque::new(),
            rates,
            hear_epochs: Vec::new(),
            warn: Warn::default(),
        }
    }

    /// No more is taken.
    pub(super) fn close(&mut self) {
        if self.phase == Phase::Open {
            // Who is told of it needs time too.
            let until = self.order.now.plus(self.order.limits.shutdown_ms / 2);
            self.phase = Phase::Closing { until };
        }
    }

    /// Performs what stands in the log next.
    pub(super) fn perform_item(&mut self, item: Item<Ticket>) -> Performed {
        let (entries, bytes) = room_of_item(&item, self.order.lives.len());
        if !self.ring.has_room(entries, bytes) {
            return Performed::NoRoom(Work::Item(item));
        }
        self.place_item(item)
    }

    /// Places an item of the log, for which the ring has room.
    fn place_item(&mut self, item: Item<Ticket>) -> Performed {
        let mut units = 1;
        let Item { position, at, event } = item;
        match event {
            LogEvent::Published { publication, ticket } => {
                units += publication.also.len();
                self.place(position, at, publication, ticket);
            }
            LogEvent::Presence(presence) => {
                if let Some((mask, event)) = self.order.place_presence(position, at, presence) {
                    self.ring.tell(mask, Entry::Presence(event));
                }
            }
            LogEvent::Heartbeat => {
                self.log.time_has_passed();
                self.order.pass(position, at);
                self.tell_ended();
            }
            LogEvent::Genesis { epoch, secret } => {
                units += self.begin_epoch(Id { epoch, position }, secret, at);
            }
        }
        Performed::Done { units }
    }

    /// Performs what is to be done next.
    pub(super) fn perform(&mut self, work: Work) -> Performed {
        let (entries, bytes) = room(&work, self.units_per_turn, self.order.lives.len());
        if entries > 0 && !self.ring.has_room(entries, bytes) {
            return Performed::NoRoom(work);
        }
        let mut units = 1;
        match work {
            Work::Item(item) => return self.place_item(item),
            // Whatever ends first, what was sent reaches its shard before the end does.
            Work::Command(Command::Relay(relay)) => {
                self.ring.tell(1 << relay.to, Entry::Relayed(relay));
            }
            Work::Command(command) if self.phase != Phase::Open => self.refuse(command),
            Work::Refused(ticket, refusal) => {
                self.metrics.sequencer.refused.add(1);
                match refusal {
                    Refusal::RateLimited => self.metrics.sequencer.rate_limited.add(1),
                    Refusal::Busy => self.warn.log_stuck(self.order.now),
                    _ => self.warn.log_failed(self.order.now),
                }
                self.settle(ticket, Err(refusal));
            }
            Work::Command(Command::Publish(publication, answer)) => {
                if !self.log.waits_for_room(self.order.now) && !self.log.offers.are_waiting() {
                    return self.offer(publication, Ticket::Alone(answer));
                }
                self.wait(publication, answer);
            }
            Work::Command(Command::PublishBatch(publications, answer)) => {
                // Each message is offered and given room on its own, so that a batch may be larger
                // than the ring; nothing else is published between them.
                match publications.len() {
                    0 => answer.refuse(0, Refusal::Busy),
                    _ => self.log.offers.begin_batch(publications, answer),
                }
            }
            Work::Command(Command::Subscribe(request)) => return self.subscribe(request),
            Work::Slice(following) => units = self.follow(following),
            Work::Command(Command::Unsubscribe { shard, channels, .. }) => {
                units = channels.len().max(1);
                self.unsubscribe(shard, &channels);
            }
            Work::Command(Command::History(query)) => self.history(*query),
            Work::Command(Command::HearEpochs(hear)) => self.hear_epochs(hear),
            Work::Command(Command::Stats(name, answer)) => {
                answer(read::stats(self.order.channels.named(&name)))
            }
            Work::Command(Command::List(query)) => self.listings.push_back(Listing::new(*query)),
            Work::Command(Command::Inquire(inquiry)) => {
                let shards = inquiry.shards(self.order.followers.shards());
                self.ring.tell(shards, Entry::Inquiry(inquiry));
            }
            Work::Command(Command::Shutdown) => self.close(),
        }
        Performed::Done { units }
    }

    /// Another epoch begins. All shards hear of it at this place of the ring: what stands before it
    /// belongs to the old one, what comes after it to the new. Returns how many lives of channels
    /// ended with it.
    fn begin_epoch(&mut self, id: Id, secret: Secret, at: Millis) -> usize {
        tracing::warn!(
            epoch = %id.epoch,
            "another epoch begins: the log does not go on from what was read of it, so histories \
             and idempotency keys begin anew, and clients are told a gap"
        );
        let genesis = Genesis { id, lives: self.order.begin_epoch(id, at, secret) };
        let lives = genesis.lives.len();
        self.following.iter_mut().for_each(Following::begin_epoch);
        self.ring.tell(self.order.followers.all_shards(), Entry::Genesis(Arc::new(genesis)));
        self.metrics.sequencer.epochs.add(1);
        self.metrics.sequencer.epoch.set(id.epoch.number());
        self.hear_epochs.iter_mut().for_each(|hear| hear(id.epoch));
        lives
    }

    fn hear_epochs(&mut self, mut hear: Box<dyn FnMut(Epoch) + Send>) {
        hear(self.order.applied.epoch);
        self.hear_epochs.push(hear);
    }

    /// Offers a message to the log, unless its tenant publishes too fast, and places it where it
    /// stands there at once.
    pub(super) fn offer(&mut self, publication: Publication, ticket: Ticket) -> Performed {
        if !self.rates.take(&publication.channel.tenant, self.order.now) {
            return self.perform(Work::Refused(ticket, Refusal::RateLimited));
        }
        match self.log.offer(publication, ticket, self.order.now) {
            Ok(Some(item)) => self.perform_item(item),
            Ok(None) => Performed::Done { units: 1 },
            Err((ticket, refusal)) => self.perform(Work::Refused(ticket, refusal)),
        }
    }

    /// Places what stands in the log, and tells of it: the shards that follow its channel, and
    /// whoever published it here. What has its place already is only answered.
    fn place(
        &mut self,
        position: u64,
        at: Millis,
        publication: Publication,
        ticket: Option<Ticket>,
    ) {
        let bytes = publication.data.len() as u64;
        let placed = self.order.place(position, at, publication);
        self.tell_ended();
        let metrics = &self.metrics.sequencer;
        let result = match placed {
            Ok(Placed { published, told }) => {
                if published.duplicate {
                    metrics.duplicates.add(1);
                } else {
                    metrics.published.add(1);
                    metrics.published_bytes.add(bytes);
                }
                if let Some((mask, entry)) = told {
                    self.ring.tell(mask, entry);
                }
                Ok(published)
            }
            Err(refusal) => {
                metrics.refused.add(1);
                metrics.key_conflicts.add(u64::from(refusal == Refusal::Conflict));
                if refusal == Refusal::ChannelLimit {
                    metrics.channels_refused.add(1);
                    self.warn.kept(self.order.now, self.order.limits.channels);
                }
                Err(refusal)
            }
        };
        if let Some(ticket) = ticket {
            self.log.offers.given_back();
            self.settle(ticket, result);
        }
    }

    /// What this node offered has its outcome.
    fn settle(&mut self, ticket: Ticket, result: Result<Published, Refusal>) {
        match ticket {
            Ticket::Alone(answer) => self.answer_publish(answer, result),
            Ticket::Batch { batch, nth } => self.log.offers.answer_of_batch(batch, nth, result),
        }
    }

    /// The log has no room for a message now: it waits, or is refused where it is one of too many
    /// of clients.
    fn wait(&mut self, publication: Publication, answer: PublishAnswer) {
        match answer {
            PublishAnswer::Connection { .. } if !self.log.offers.have_room() => {
                self.metrics.sequencer.refused.add(1);
                self.answer_publish(answer, Err(Refusal::Busy));
            }
            _ => self.log.offers.wait(publication, answer),
        }
    }

    fn answer_publish(&mut self, answer: PublishAnswer, result: Result<Published, Refusal>) {
        match answer {
            PublishAnswer::Nobody => {}
            PublishAnswer::Callback(answer) => answer(result),
            PublishAnswer::Connection { .. } if self.phase == Phase::Ended => {}
            PublishAnswer::Connection { requester, .. } => {
                self.ring.tell(1 << requester.shard, Entry::Published(requester, result));
            }
        }
    }

    /// Begins to follow what a client asked for, unless that is refused.
    fn subscribe(&mut self, request: Box<Subscribe>) -> Performed {
        let Err(refusal) = self.order.followers.may_follow(&request, &self.order.channels) else {
            return self.perform(Work::Slice(Following::new(request)));
        };
        self.metrics.sequencer.followed_refused.add(1);
        self.warn.followed(self.order.now, self.order.limits.followed_channels);
        let Requester { shard, .. } = request.requester;
        self.ring.tell(1 << shard, Entry::SubscribeRefused(request.requester, refusal));
        Performed::Done { units: request.channels.len().max(1) }
    }

    /// Follows the next channels of a request, as many as are a turn's work; what is left of it
    /// comes first in the next turn of clients. Returns the units of work that it was.
    fn follow(&mut self, mut following: Following) -> usize {
        let Order { applied, followers, channels, .. } = &mut self.order;
        let (reply, units) =
            following.follow_next(self.units_per_turn, applied, followers, channels);
        self.ring.tell(1 << following.shard(), Entry::Subscribed(Box::new(reply)));
        self.following = Some(following).filter(|following| following.left() > 0);
        units
    }

    fn unsubscribe(&mut self, shard: u8, channels: &[ChannelId]) {
        let Order { now, followers, channels: all, .. } = &mut self.order;
        let released = followers.leave(shard, channels, *now, all);
        if !released.is_empty() && self.phase != Phase::Ended {
            self.ring.tell(1 << shard, Entry::Released(released.into()));
        }
    }

    fn history(&mut self, query: HistoryQuery) {
        let channel = self.order.channels.named(&query.channel);
        let page = read::history(channel, query.since, query.limit, &self.order.applied);
        (query.answer)(page);
    }

    /// Answers a command that comes after the end was asked for. Reads change nothing and are still
    /// answered; after the end entry the ring hears nothing more.
    pub(super) fn refuse(&mut self, command: Command) {
        let refused = &self.metrics.sequencer.refused;
        match command {
            Command::Publish(_, answer) => {
                refused.add(1);
                self.answer_publish(answer, Err(Refusal::ShuttingDown));
            }
            Command::PublishBatch(publications, answer) => {
                refused.add(publications.len() as u64);
                answer.refuse(publications.len(), Refusal::ShuttingDown);
            }
            Command::Subscribe(request) if self.phase != Phase::Ended => {
                let entry = Entry::SubscribeRefused(request.requester, Refusal::ShuttingDown);
                self.ring.tell(1 << request.requester.shard, entry);
            }
            Command::Unsubscribe { shard, channels, .. } => {
                self.unsubscribe(shard, &channels);
            }
            Command::History(query) => self.history(*query),
            Command::HearEpochs(hear) => self.hear_epochs(hear),
            Command::Stats(name, answer) => answer(read::stats(self.order.channels.named(&name))),
            // Whoever waits for these hears that nobody answers: they are dropped.
            Command::List(_) | Command::Inquire(_) => {}
            Command::Subscribe(_) | Command::Relay(_) | Command::Shutdown => {}
        }
    }

    /// Looks on for the page of channels that was wanted first; whether there was one.
    pub(super) fn list(&mut self) -> bool {
        if self.phase != Phase::Open {
            self.listings.clear();
        }
        let Some(mut listing) = self.listings.pop_front() else { return false };
        match listing.go_on(self.units_per_turn, &self.order.channels) {
            true => listing.answer(),
            // Others have their turn: a page that is wanted of few channels waits for none of many.
            false => self.listings.push_back(listing),
        }
        true
    }

    /// Tells the shards of lives that ended. Comes before whatever is decided afterwards.
    fn tell_ended(&mut self) {
        if let Some(EndedLives { mask, lives }) = self.order.take_ended() {
            self.ring.tell(mask, Entry::Ended(lives.into()));
        }
    }
}
