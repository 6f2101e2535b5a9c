//! What one client has asked for and follows: the books of a session with commands. They are boxed,
//! and those who only listen have none.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

use fanfare_protocol::dialect::machine::Unasked;

use crate::channel::{ChannelId, ChannelName};
use crate::sequencer::command::Subscribed;

/// Requests of one client that may wait for their answers. A client library subscribes again to all
/// it had, one by one, when it comes back.
const REQUESTS_MAX: usize = 256;

/// The number of the request that a connection begins with; those of its machine come after it.
pub(super) const FIRST: u32 = 0;

/// A channel that is followed, or was asked for.
#[derive(Debug)]
struct Wanted {
    /// By which request.
    request: u32,
    /// Which record it is; none before the answer.
    channel: Option<ChannelId>,
}

/// The books.
#[derive(Debug)]
pub(super) struct Requests {
    last: u32,
    /// Requests that were not answered yet.
    outstanding: Vec<u32>,
    channels: HashMap<ChannelName, Wanted>,
    /// Requests whose machine wants to be told when everything up to a position is sent, by that.
    behind: VecDeque<(u64, u32)>,
}

impl Requests {
    /// Of a client that follows what the reply to its first request says, and whose machine is to
    /// be told of that.
    pub(super) fn new(reply: &Subscribed) -> Self {
        let wanted = reply.channels.iter().map(|channel| {
            let record = Some(channel.channel);
            (channel.name.as_ref().clone(), Wanted { request: FIRST, channel: record })
        });
        let (outstanding, channels) = (vec![FIRST], wanted.collect());
        Self { last: FIRST, outstanding, channels, behind: VecDeque::new() }
    }

    /// Of a client that begins with nothing.
    pub(super) fn none() -> Self {
        let (outstanding, channels) = (Vec::new(), HashMap::new());
        Self { last: FIRST, outstanding, channels, behind: VecDeque::new() }
    }

    /// Bytes of memory, about: the names are shared with the records of their channels.
    pub(super) fn memory(&self) -> usize {
        size_of::<Self>()
            + self.outstanding.capacity() * size_of::<u32>()
            + self.channels.capacity() * size_of::<(ChannelName, Wanted)>()
            + self.behind.capacity() * size_of::<(u64, u32)>()
    }

    /// A request to follow these, where no more than `limit` are followed then.
    pub(super) fn follow<'a>(
        &mut self,
        names: impl ExactSizeIterator<Item = &'a ChannelName>,
        limit: usize,
    ) -> Result<u32, Unasked> {
        if self.channels.len() + names.len() > limit {
            return Err(Unasked::TooManyChannels);
        }
        let request = self.next()?;
        for name in names {
            match self.channels.entry(name.clone()) {
                Entry::Vacant(place) => {
                    place.insert(Wanted { request, channel: None });
                }
                Entry::Occupied(_) => {
                    self.channels.retain(|_, wanted| wanted.request != request);
                    return Err(Unasked::AlreadyFollowed);
                }
            }
        }
        self.asked(request);
        Ok(request)
    }

    /// A request to publish.
    pub(super) fn publish(&mut self) -> Result<u32, Unasked> {
        let request = self.next()?;
        self.asked(request);
        Ok(request)
    }

    /// The number of the next request, where there may be one.
    fn next(&self) -> Result<u32, Unasked> {
        match self.outstanding.len() < REQUESTS_MAX {
            true => Ok(self.last.checked_add(1).unwrap_or(FIRST + 1)),
            false => Err(Unasked::TooManyRequests),
        }
    }

    fn asked(&mut self, request: u32) {
        self.last = request;
        self.outstanding.push(request);
    }

    /// This channel is wanted no more; `None` where it was not. Gives its record, where the answer
    /// was there.
    pub(super) fn unfollow(&mut self, name: &ChannelName) -> Option<Option<ChannelId>> {
        self.channels.remove(name).map(|wanted| wanted.channel)
    }

    /// Whether the answer to this request is waited for.
    pub(super) fn is_outstanding(&self, request: u32) -> bool {
        self.outstanding.contains(&request)
    }

    /// Whether a channel of the reply to this request is still wanted.
    pub(super) fn wants(&self, request: u32, name: &ChannelName) -> bool {
        self.channels.get(name).is_some_and(|wanted| wanted.request == request)
    }

    /// This request was answered: what it asked for and is still wanted is followed.
    pub(super) fn subscribed(&mut self, reply: &Subscribed) {
        let request = reply.requester.request;
        self.answered(request);
        for channel in &reply.channels {
            if let Some(wanted) = self.channels.get_mut(channel.name.as_ref())
                && wanted.request == request
            {
                wanted.channel = Some(channel.channel);
            }
        }
    }

    /// The machine is to be told when everything up to `position` is sent, which is where the order
    /// was when this request was answered: later requests have later ones.
    pub(super) fn catch_up(&mut self, request: u32, position: u64) {
        self.behind.push_back((position, request));
    }

    /// Up to where everything must be sent before the machine is told next.
    pub(super) fn catches_up_to(&self) -> Option<u64> {
        self.behind.front().map(|(position, _)| *position)
    }

    /// Everything up to there is sent: of this request.
    pub(super) fn caught_up(&mut self) -> Option<u32> {
        self.behind.pop_front().map(|(_, request)| request)
    }

    /// This request was refused.
    pub(super) fn refused(&mut self, request: u32) {
        self.answered(request);
        self.channels.retain(|_, wanted| wanted.request != request);
    }

    /// This request was answered, and there is nothing to follow.
    pub(super) fn answered(&mut self, request: u32) {
        self.outstanding.retain(|outstanding| *outstanding != request);
    }
}
