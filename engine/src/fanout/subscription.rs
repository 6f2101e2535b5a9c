//! What one client follows: a cursor into the log of each of its channels.

use super::channels::ChannelIndex;

/// One subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subscription {
    /// Where the channel stands in the shard's table.
    pub(super) channel: ChannelIndex,
    /// Where this client stands among the channel's members.
    pub(super) seat: u32,
    /// Seq of the next entry to send.
    pub(super) next: u64,
}

/// The subscriptions of one client; most have one.
#[derive(Debug, Default)]
pub(crate) enum Subscriptions {
    /// None.
    #[default]
    None,
    /// One, without an allocation.
    One(Subscription),
    /// Several.
    Many(Box<[Subscription]>),
}

impl Subscriptions {
    /// From a list.
    fn new(mut list: Vec<Subscription>) -> Self {
        match list.len() {
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
        }
    }

    /// More of them, behind those that are here.
    pub(crate) fn add(&mut self, more: Vec<Subscription>) {
        let mut list = std::mem::take(self).into_list();
        list.extend(more);
        *self = Self::new(list);
    }

    /// Takes out those that `leave`; the others stay in their order.
    pub(crate) fn take_out(&mut self, leave: impl Fn(&Subscription) -> bool) -> Self {
        if self.as_slice().iter().all(&leave) {
            return std::mem::take(self); // nothing is moved for the end of a client
        }
        let (left, stay) = std::mem::take(self).into_list().into_iter().partition(leave);
        *self = Self::new(stay);
        Self::new(left)
    }

    /// All of them.
    pub(crate) fn as_slice(&self) -> &[Subscription] {
        match self {
            Self::None => &[],
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }

    /// All of them.
    pub(crate) fn as_mut_slice(&mut self) -> &mut [Subscription] {
        match self {
            Self::None => &mut [],
            Self::One(one) => std::slice::from_mut(one),
            Self::Many(many) => many,
        }
    }

    /// Whoever moved to another seat of a channel stands there now.
    pub(crate) fn take_seat(&mut self, moved: Moved) {
        self.of(moved.channel).seat = moved.seat;
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
    pub(super) seat: u32,
}
