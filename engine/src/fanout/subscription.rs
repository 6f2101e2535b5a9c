//! What one client follows: a cursor into the log of each of its channels.

use std::sync::Arc;

use fanfare_protocol::dialect::Encoding;

use super::channels::{ChannelIndex, FollowedChannels};
use super::filter::{Filter, Reads};
use super::lane::Renderer;
use super::lanes::Rendition;
use super::views::ViewNumber;
use crate::channel::{ChannelId, ChannelName};
use crate::inquiry::DescribedSubscription;
use crate::origin::Origin;

/// One subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subscription {
    /// Where the channel stands in the shard's table.
    pub(super) channel: ChannelIndex,
    /// Where this client stands among the channel's members, and by which view it reads.
    pub(super) seat: MemberSeat,
    /// Seq of the next entry to send.
    pub(super) next: u64,
}

/// A place among the members of a channel, and the number of a view beside it: in one word, because
/// most clients read by none, and a subscription is sixteen bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct MemberSeat(u32);

impl MemberSeat {
    const PLACE_BITS: u32 = u32::BITS - ViewNumber::BITS;

    /// Of a member that stands there and reads by this view.
    pub(super) fn new(place: u32, view: ViewNumber) -> Self {
        debug_assert!(place < 1 << Self::PLACE_BITS, "a shard has no table that is so long");
        Self(place | view.bits() << Self::PLACE_BITS)
    }

    /// Where the member stands.
    pub(super) fn place(self) -> u32 {
        self.0 & ((1 << Self::PLACE_BITS) - 1)
    }

    /// By which view it reads.
    pub(super) fn view(self) -> ViewNumber {
        ViewNumber::from_bits(self.0 >> Self::PLACE_BITS)
    }
}

const _: () = assert!(size_of::<Subscription>() == 16);

impl Subscription {
    /// Of a member that has still to [`Subscription::join`].
    pub(super) fn before_joining(channel: ChannelIndex, next: u64) -> Self {
        Self { channel, seat: MemberSeat::default(), next }
    }

    /// A member takes its seat in the channel, and reads it by `view` from here on, which has room;
    /// what is not for it there is noted in its filter.
    pub(crate) fn join(
        &mut self,
        member: u32,
        filter: &mut Filter,
        view: Option<&Arc<str>>,
        channels: &mut FollowedChannels,
    ) {
        let channel = channels.at_mut(self.channel);
        filter.begin(&channel.log, self.next);
        self.seat = MemberSeat::new(channel.join(member), channel.log.lanes.enter(view));
        channels.subscriptions += 1;
    }

    /// It ends. Says who has its seat now, where anyone has: the caller lets it
    /// [`Subscriptions::take_seat`].
    #[must_use]
    pub(crate) fn leave(self, channels: &mut FollowedChannels) -> Option<Moved> {
        let Self { channel: index, seat, .. } = self;
        channels.subscriptions -= 1;
        let channel = channels.at_mut(index);
        channel.log.lanes.leave(seat.view());
        let (member, in_sweep) = channel.leave(seat.place())?;
        Some(Moved { member, in_sweep, channel: index, place: seat.place() })
    }

    /// What the sequencer calls its channel.
    pub(crate) fn channel_id(self, channels: &FollowedChannels) -> ChannelId {
        channels.at(self.channel).log.id
    }

    /// The name of its channel.
    pub(crate) fn name(self, channels: &FollowedChannels) -> &Arc<ChannelName> {
        &channels.at(self.channel).log.name
    }

    /// How far its client is.
    pub(crate) fn describe(self, channels: &FollowedChannels) -> DescribedSubscription {
        let log = &channels.at(self.channel).log;
        DescribedSubscription {
            channel: Arc::clone(&log.name),
            offset: log.entries().offset_at(self.next) - 1,
            lag: log.entries().end() - self.next,
        }
    }

    /// Whether its channel has room for one more by `view`.
    pub(crate) fn has_room_for(self, view: &str, channels: &FollowedChannels) -> bool {
        channels.at(self.channel).log.lanes.has_room_for(view)
    }

    /// Which life of its channel the log is of now, for [`super::begin_late`].
    pub(crate) fn life(self, channels: &FollowedChannels) -> u64 {
        channels.at(self.channel).log.lives().present()
    }

    /// What is rendered for it, where its client takes this encoding.
    pub(super) fn rendition(&self, encoding: Encoding) -> Rendition {
        Rendition { encoding, view: self.seat.view() }
    }
}

/// The subscriptions of one client; most have one, and no filter.
#[derive(Debug, Default)]
pub(crate) enum Subscriptions {
    /// None.
    #[default]
    None,
    /// One, without an allocation.
    One(Subscription),
    /// Several.
    Many(Box<[Subscription]>),
    /// Of a client that is not to have everything.
    Filtered(Box<Filtered>),
}

/// Subscriptions and what is withheld of them.
#[derive(Debug)]
pub(crate) struct Filtered {
    list: Box<[Subscription]>,
    filter: Filter,
}

impl Subscriptions {
    /// From a list.
    fn new(mut list: Vec<Subscription>, filter: Filter) -> Self {
        match list.len() {
            _ if filter.is_any() => {
                Self::Filtered(Box::new(Filtered { list: list.into(), filter }))
            }
            0 => Self::None,
            1 => Self::One(list.remove(0)),
            _ => Self::Many(list.into()),
        }
    }

    fn into_list(self) -> Vec<Subscription> {
        match self {
            Self::None => Vec::new(),
            Self::One(one) => vec![one],
            Self::Many(many) => many.into(),
            Self::Filtered(filtered) => filtered.list.into(),
        }
    }

    /// More of them, behind those that are here, and what is withheld of all from now on.
    pub(crate) fn add(&mut self, more: Vec<Subscription>, filter: Filter) {
        let mut list = std::mem::take(self).into_list();
        list.extend(more);
        *self = Self::new(list, filter);
    }

    /// Takes out those that `leave`; the others stay in their order.
    pub(crate) fn take_out(&mut self, leave: impl Fn(&Subscription) -> bool) -> Self {
        if self.as_slice().iter().all(&leave) {
            // Nothing is moved for the end of a client; one that was named still is.
            let filter = self.filter().map_or_else(Filter::default, Filter::name_alone);
            return std::mem::replace(self, Self::new(Vec::new(), filter));
        }
        let filter = self.withheld();
        let (left, stay) = std::mem::take(self).into_list().into_iter().partition(leave);
        *self = Self::new(stay, filter);
        Self::new(left, Filter::default())
    }

    /// All of them.
    pub(crate) fn as_slice(&self) -> &[Subscription] {
        match self {
            Self::None => &[],
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
            Self::Filtered(filtered) => &filtered.list,
        }
    }

    /// All of them.
    pub(super) fn as_mut_slice(&mut self) -> &mut [Subscription] {
        self.parts().0
    }

    /// All of them, and what is withheld, where anything is.
    pub(super) fn parts(&mut self) -> (&mut [Subscription], Option<&Filter>) {
        match self {
            Self::None => (&mut [], None),
            Self::One(one) => (std::slice::from_mut(one), None),
            Self::Many(many) => (many, None),
            Self::Filtered(filtered) => (&mut filtered.list, Some(&filtered.filter)),
        }
    }

    /// Whether any of them is owed a message, or is to be told of one.
    pub(crate) fn are_owed(
        &mut self,
        encoding: Encoding,
        channels: &mut FollowedChannels,
        renderer: &mut Renderer,
    ) -> bool {
        let (all, filter) = self.parts();
        all.iter_mut().any(|it| {
            let rendition = it.rendition(encoding);
            let log = &mut channels.at_mut(it.channel).log;
            Reads { log, rendition, renderer }.pass(&mut it.next, filter);
            it.next < log.entries().end()
        })
    }

    /// Whether all was sent of them up to `position`.
    pub(crate) fn are_past(&self, position: u64, channels: &FollowedChannels) -> bool {
        let is_past = |it: &Subscription| {
            it.next >= channels.at(it.channel).log.entries().after_position(position)
        };
        self.as_slice().iter().all(is_past)
    }

    /// What is withheld, where anything is.
    pub(super) fn filter(&self) -> Option<&Filter> {
        match self {
            Self::None | Self::One(_) | Self::Many(_) => None,
            Self::Filtered(filtered) => Some(&filtered.filter),
        }
    }

    /// What is withheld of whatever this client follows.
    pub(crate) fn withheld(&self) -> Filter {
        self.filter().cloned().unwrap_or_default()
    }

    /// How long the frames are at most that this client takes, where it says so.
    pub(crate) fn frame_bytes_max(&self) -> Option<u32> {
        self.filter().and_then(Filter::frame_bytes_max)
    }

    /// These channels, of which [`Subscriptions::take_out`] took the subscriptions, are left.
    pub(crate) fn forget(&mut self, channels: &[ChannelId]) {
        if let Self::Filtered(filtered) = self {
            filtered.filter.forget(channels);
        }
    }

    /// A message was published that excludes the client with this name, whose these are: from here
    /// on entries are looked at for it.
    pub(crate) fn name(&mut self, origin: Origin) {
        if let Self::Filtered(filtered) = self {
            return filtered.filter.name(origin);
        }
        let mut filter = Filter::default();
        filter.name(origin);
        *self = Self::new(self.as_slice().to_vec(), filter);
    }

    /// Whoever moved to another seat of a channel stands there now.
    pub(crate) fn take_seat(&mut self, moved: Moved) {
        let seat = &mut self.of(moved.channel).seat;
        *seat = MemberSeat::new(moved.place, seat.view());
    }

    /// That of a channel of which this client is a member.
    pub(super) fn of(&mut self, channel: ChannelIndex) -> &mut Subscription {
        let mine = self.as_mut_slice().iter_mut().find(|it| it.channel == channel);
        mine.expect("a member follows the channel")
    }
}

/// A member of a channel got the seat of one that left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moved {
    /// Which member.
    pub(crate) member: u32,
    /// Whether a sweep is under way that may pass it over now: it is to be visited for itself.
    pub(crate) in_sweep: bool,
    pub(super) channel: ChannelIndex,
    pub(super) place: u32,
}
