//! What the sequencer is asked, and what it answers: through the broadcast ring to shards, through
//! callbacks to everyone else.

use std::sync::Arc;

use fanfare_protocol::id::{Epoch, Id, LifeId};
pub use fanfare_protocol::message::Published;
use fanfare_protocol::message::{GapReason, Kind};
pub use fanfare_protocol::refusals::Refusal;

use crate::bodies::BodyShare;
use crate::channel::{ChannelId, ChannelName, Tenant};
use crate::clock::Millis;
use crate::driver::Token;
use crate::inquiry::Inquiry;
use crate::limits::FOLLOW_BYTES;
use crate::message::{self, Message};
use crate::origin::Origin;
use crate::presence;
use crate::rule::Rule;
use crate::sequencer::relay::Relay;

/// One command of the inbox. The sequencer takes them one at a time; that is the order.
pub enum Command {
    /// Publish one message.
    Publish(Publication, PublishAnswer),
    /// Publish many, each to its own channel, one after the other with nothing between. The
    /// answer tells how each ended, or the refused alone, as it is asked for.
    PublishBatch(Vec<Publication>, BatchAnswer),
    /// A connection of a shard follows channels from a place; the reply comes in the ring.
    Subscribe(Box<Subscribe>),
    /// A connection of a shard follows these no more; each names one subscription that was
    /// answered.
    Unsubscribe {
        /// Which shard.
        shard: u8,
        /// Which of its connections leaves them.
        session: Token,
        /// The channels, as the subscribe reply named them.
        channels: Box<[ChannelId]>,
    },
    /// A shard sends this to another, by [`Entry::Relayed`].
    Relay(Relay),
    /// Read what a channel keeps.
    History(Box<HistoryQuery>),
    /// Hear which epoch this is, at once and whenever another one begins: before the answers to
    /// whatever has its place in that one. Called on the sequencer's thread: it must not wait.
    HearEpochs(Box<dyn FnMut(Epoch) + Send>),
    /// Read a channel's numbers.
    Stats(ChannelName, Box<dyn FnOnce(ChannelStats) + Send>),
    /// Read which channels there are.
    List(Box<ChannelListQuery>),
    /// Ask the shards for connections, by [`Entry::Inquiry`].
    Inquire(Arc<Inquiry>),
    /// Take no more: refuse what comes after this, write the end entry, and stop.
    Shutdown,
}

impl Command {
    /// Bytes that it holds while it waits, as the budget of what waits for the order counts them.
    /// Questions and the end hold next to nothing: their number is bounded.
    pub fn cost(&self) -> usize {
        match self {
            Self::Publish(publication, _) => publication.cost(),
            Self::PublishBatch(publications, _) => publications.iter().map(Publication::cost).sum(),
            Self::Subscribe(request) => {
                let names = request.channels.iter().map(|(channel, _)| channel.name.len());
                size_of_val(&**request) + size_of_val(&*request.channels) + names.sum::<usize>()
            }
            Self::Unsubscribe { channels, .. } => size_of_val::<[ChannelId]>(channels),
            Self::Relay(relay) => size_of::<Relay>() + relay.bytes,
            Self::Inquire(inquiry) => inquiry.cost(),
            Self::History(_)
            | Self::HearEpochs(_)
            | Self::Stats(..)
            | Self::List(_)
            | Self::Shutdown => 0,
        }
    }
}

const _: () = assert!(
    size_of::<Subscribe>() + size_of::<(ChannelName, Since)>() <= FOLLOW_BYTES,
    "the largest request to follow has room when it is alone"
);

/// A message that has no place yet.
#[derive(Debug, Clone)]
pub struct Publication {
    /// The channel that gets it.
    pub channel: ChannelName,
    /// Further channels that get it, at the same position: of the same tenant, no name twice.
    pub also: Box<[ChannelName]>,
    /// What `data` is, decided where it entered.
    pub kind: Kind,
    /// Validated by [`fanfare_protocol::names::is_event_name`].
    pub event: Option<Box<str>>,
    /// The publisher's key for this message: published again under it, it keeps its first place.
    pub idempotency_key: Option<Box<[u8]>>,
    /// Whether it is for those who follow now alone: it gets no offset, and no history keeps it.
    pub ephemeral: bool,
    /// The connection that does not get it.
    pub except: Option<Origin>,
    /// The payload, within the configured size.
    pub data: Box<[u8]>,
}

impl Publication {
    /// All its channels, in the order that its publisher chose.
    pub fn channels(&self) -> impl Iterator<Item = &ChannelName> {
        std::iter::once(&self.channel).chain(&self.also)
    }

    /// Bytes that it holds, as the budget of what waits for the order counts them.
    pub fn cost(&self) -> usize {
        let event = self.event.as_ref().map_or(0, |event| event.len());
        let key = self.idempotency_key.as_ref().map_or(0, |key| key.len());
        let also = self.also.iter().map(|channel| size_of_val(channel) + channel.name.len());
        let names = self.channel.name.len() + also.sum::<usize>();
        size_of::<Self>() + names + event + key + self.data.len()
    }
}

/// Who hears how a publish ended.
pub enum PublishAnswer {
    /// Nobody.
    Nobody,
    /// This callback, called on the sequencer's thread: it must not wait.
    Callback(Box<dyn FnOnce(Result<Published, Refusal>) + Send>),
    /// A connection of a shard, by [`Entry::Published`].
    Connection {
        /// Which one, and which of its requests this is.
        requester: Requester,
        /// What its body costs, until it is answered.
        body: BodyShare,
    },
}

/// How each message of a batch ended, in order.
pub type EachResult = Vec<Result<Published, Refusal>>;

/// Hears how the messages of a batch ended, on the sequencer's thread: it must not wait.
pub enum BatchAnswer {
    /// How each of them did.
    Each(Box<dyn FnOnce(EachResult) + Send>),
    /// For whoever does not ask where they stand: most of those who publish much.
    Summary(Box<dyn FnOnce(BatchSummary) + Send>),
}

/// How the messages of a batch ended, without their places.
#[derive(Debug, Default)]
pub struct BatchSummary {
    /// Messages that have a place.
    pub placed: usize,
    /// How many of them had it already.
    pub duplicates: usize,
    /// All others: which one of the batch each is, from 0, in order.
    pub refused: Vec<(usize, Refusal)>,
}

impl BatchAnswer {
    /// All of so many messages are refused.
    pub fn refuse(self, messages: usize, refusal: Refusal) {
        match self {
            Self::Each(answer) => answer(vec![Err(refusal); messages]),
            Self::Summary(answer) => {
                let refused = (0..messages).map(|nth| (nth, refusal)).collect();
                answer(BatchSummary { refused, ..BatchSummary::default() });
            }
        }
    }
}

/// A connection that asks for something, and which of its requests this is. The answer names both,
/// so a connection may have many requests under way, and one that nobody waits for any more is
/// recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Requester {
    /// Its shard.
    pub shard: u8,
    /// Which of the shard's connections, and which life of its place.
    pub session: Token,
    /// The connection's own number for the request.
    pub request: u32,
}

/// A connection asks to follow channels. One command, one reply.
#[derive(Debug)]
pub struct Subscribe {
    /// Who asks.
    pub requester: Requester,
    /// What to follow, each from where; no name twice.
    pub channels: Box<[(ChannelName, Since)]>,
}

/// Where a subscription begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// With what is published next.
    Now,
    /// After this place.
    After(Id),
    /// After this offset, in that life of the channel.
    Offset(u64, LifeId),
    /// The client had a place, but it cannot be read: a gap, then as [`Since::Now`].
    Unreadable,
    /// With the oldest message that is kept.
    Earliest,
    /// With the last so many messages, or as many of them as are kept.
    Last(u64),
    /// With the first message of this time or a later one.
    Time(Millis),
}

/// The reply to [`Subscribe`], or one of several. A request that is much work is performed in
/// slices, each with a reply of its own; messages may stand between the replies, and the shard
/// already keeps them in the logs of the channels that were told before. The whole request has its
/// place where its last reply stands: the client gets everything that stands after that in the
/// ring, and of what stands before it only what it asked for of the past.
#[derive(Debug)]
pub struct Subscribed {
    /// Who asked.
    pub requester: Requester,
    /// To which epoch its positions belong.
    pub epoch: Epoch,
    /// Where delivery begins, as far as it is known: the largest position such that all messages to
    /// deliver of the channels that were told lie after it.
    pub begin: u64,
    /// Last position of the order when this was said: what lies at or before it is to be
    /// delivered, or is told as a gap, or is none of the client's.
    pub present: u64,
    /// The next channels that were asked for, in the same order.
    pub channels: Box<[SubscribedChannel]>,
    /// Channels that later replies tell; 0 in the last one.
    pub left: usize,
}

/// One channel of a subscribe reply, as it is where that reply stands.
#[derive(Debug)]
pub struct SubscribedChannel {
    /// The record's number.
    pub channel: ChannelId,
    /// Its name.
    pub name: Arc<ChannelName>,
    /// Its rule.
    pub rule: Arc<Rule>,
    /// Where it was asked to begin.
    pub since: Since,
    /// First offset to deliver.
    pub next: u64,
    /// Last offset that was assigned; `next` is at most one more.
    pub last: u64,
    /// The position by which the life of those offsets is named: see [`LifeId`].
    pub life: u64,
    /// First offset that history keeps, one more than the last where it keeps none.
    pub floor: u64,
    /// What the client missed and will not get.
    pub gap: Option<Gap>,
    /// Position of the first message of that gap, where it is known.
    pub gap_begins: Option<u64>,
    /// Messages from `floor` up to where this shard's log begins (or up to `last`, where the shard
    /// has no log of the channel): the shard puts them before what it has. Empty when the log
    /// reaches back to `next` already.
    pub import: Box<[Arc<Message>]>,
}

impl SubscribedChannel {
    /// The same, once its imported messages are in the shard's log.
    pub fn without_import(&self) -> Self {
        let Self { channel, since, next, last, life, floor, gap, gap_begins, .. } = *self;
        let (name, rule) = (Arc::clone(&self.name), Arc::clone(&self.rule));
        let import = Box::default();
        Self { channel, name, rule, since, next, last, life, floor, gap, gap_begins, import }
    }
}

/// What a client missed and will not get, in one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// First and last missed offset, inclusive; `None` where it cannot be known exactly.
    pub bounds: Option<(u64, u64)>,
    /// Why.
    pub reason: GapReason,
}

/// A read of a channel's history.
pub struct HistoryQuery {
    /// Which channel.
    pub channel: ChannelName,
    /// Messages after this place; all that is kept where it is `None`.
    pub since: Option<Id>,
    /// Most messages, oldest first.
    pub limit: usize,
    /// Hears the page, on the sequencer's thread: it must not wait.
    pub answer: Box<dyn FnOnce(HistoryPage) + Send>,
}

/// A page of a channel's history.
#[derive(Debug)]
pub struct HistoryPage {
    /// The messages, oldest first.
    pub messages: Vec<Arc<Message>>,
    /// What lies after `since` and is no longer kept.
    pub gap: Option<Gap>,
    /// Where this page ends: continue with it as `since`.
    pub id: Id,
    /// Whether more is kept after this page.
    pub more: bool,
}

/// A channel's numbers. A channel that nobody used has zeros.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChannelStats {
    /// Connections that follow it.
    pub subscribers: u64,
    /// Last offset that was assigned.
    pub offset: u64,
    /// Messages that its history keeps.
    pub history_messages: u64,
    /// Their bytes, as [`Message::cost`] counts them.
    pub history_bytes: u64,
}

/// A question for channels that there are: published to and not forgotten, or followed.
pub struct ChannelListQuery {
    /// Whose channels.
    pub tenant: Tenant,
    /// What their names begin with.
    pub prefix: Box<str>,
    /// They come after this name.
    pub after: Option<Box<str>>,
    /// Most channels, at least one; in the order of the bytes of their names.
    pub limit: usize,
    /// Hears the page, on the sequencer's thread: it must not wait. It is dropped uncalled where
    /// the order ends before the page is made.
    pub answer: Box<dyn FnOnce(ChannelList) + Send>,
}

/// A page of channels.
#[derive(Debug, PartialEq, Eq)]
pub struct ChannelList {
    /// Each with its numbers, in order.
    pub channels: Vec<(Arc<str>, ChannelStats)>,
    /// Whether there are more behind the last.
    pub more: bool,
}

/// One entry of the broadcast ring: what happened, in the order in which it happened.
#[derive(Debug)]
pub enum Entry {
    /// A message, for every shard that follows its channel.
    Message(Arc<Message>),
    /// One publication in several channels, for every shard that follows any of them: a message for
    /// each, at one position. They are one entry, so that nobody is visited between two of them.
    Messages(Box<[Arc<Message>]>),
    /// A presence event, for every shard that follows its channel.
    Presence(Arc<presence::PlacedPresence>),
    /// The reply to one connection's subscribe.
    Subscribed(Box<Subscribed>),
    /// This subscribe was refused; none of its channels is followed.
    SubscribeRefused(Requester, Refusal),
    /// How this publish of a connection ended.
    Published(Requester, Result<Published, Refusal>),
    /// History dropped messages without a new one (age, budget): the new floors.
    Floors(Arc<[(ChannelId, u64)]>),
    /// The shard's interest in these channels ended: it drops their logs. A subscribe that the
    /// sequencer takes afterwards starts with a fresh log.
    Released(Arc<[ChannelId]>),
    /// Lives of channels ended: the log of each is dropped where nobody follows it, and begins anew
    /// where somebody does.
    Ended(Box<[EndedLife]>),
    /// Another epoch begins, and with it every channel.
    Genesis(Arc<Genesis>),
    /// What another shard sends to this one.
    Relayed(Relay),
    /// A backend asks for connections of this shard, or has something done to them.
    Inquiry(Arc<Inquiry>),
    /// The order ends here: say farewell.
    End,
}

/// The life of a channel ended; its next message has offset 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndedLife {
    /// The record's number, which stays where somebody follows the channel.
    pub channel: ChannelId,
    /// A bit for each shard on which somebody follows it. The interest of every other shard has
    /// ended.
    pub followed: u64,
}

/// The beginning of an epoch in a running node.
#[derive(Debug, PartialEq, Eq)]
pub struct Genesis {
    /// The epoch, and where in the log it begins.
    pub id: Id,
    /// The lives that ended with the epoch before, of the channels that any shard had an interest
    /// in. What was never published to had none, and is followed as before.
    pub lives: Box<[EndedLife]>,
}

/// What the ring's budget counts for an entry beside what it holds.
const FIXED_BYTES: usize = 64;

impl Entry {
    /// Bytes that this entry holds, as the ring's budget counts them.
    pub fn cost(&self) -> usize {
        match self {
            Self::Message(message) => Self::message_cost(message.cost()),
            Self::Messages(messages) => {
                let first = &messages[0];
                let event = first.event.as_deref();
                Self::message_cost(message::cost_in(messages.len(), first.data.len(), event))
            }
            Self::Presence(event) => Self::message_cost(event.cost()),
            Self::Subscribed(reply) => Self::subscribed_cost(reply.channels.len()),
            Self::Floors(floors) => Self::floors_cost(floors.len()),
            Self::Released(channels) => Self::released_cost(channels.len()),
            Self::Ended(lives) => Self::ended_cost(lives.len()),
            Self::Genesis(genesis) => Self::ended_cost(genesis.lives.len()),
            Self::Relayed(relay) => Self::relayed_cost(relay),
            Self::Inquiry(inquiry) => Self::inquiry_cost(inquiry),
            Self::SubscribeRefused(..) | Self::Published(..) | Self::End => FIXED_BYTES,
        }
    }

    /// Bytes of a message entry, before there is a message.
    pub fn message_cost(message_bytes: usize) -> usize {
        FIXED_BYTES + message_bytes
    }

    /// Bytes of the reply to a subscribe. Imports are shared with history and counted there.
    pub fn subscribed_cost(channels: usize) -> usize {
        FIXED_BYTES + channels * 128
    }

    /// Bytes of an entry that tells so many floors.
    pub fn floors_cost(floors: usize) -> usize {
        FIXED_BYTES + floors * 16
    }

    /// Bytes of an entry that releases so many channels.
    pub fn released_cost(channels: usize) -> usize {
        FIXED_BYTES + channels * 8
    }

    /// Bytes of an entry that ends so many lives.
    pub fn ended_cost(lives: usize) -> usize {
        FIXED_BYTES + lives * 16
    }

    /// Bytes of an entry that brings this to a shard.
    pub fn relayed_cost(relay: &Relay) -> usize {
        FIXED_BYTES + relay.bytes
    }

    /// Bytes of an entry that asks the shards this.
    pub fn inquiry_cost(inquiry: &Inquiry) -> usize {
        FIXED_BYTES + inquiry.cost()
    }

    /// Bytes of an entry that holds nothing but itself.
    pub fn bare_cost() -> usize {
        FIXED_BYTES
    }
}
