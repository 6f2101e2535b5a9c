//! What one client has asked for and follows, where its dialect has commands. Boxed; clients that
//! only listen have none.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use fanfare_identity::Pattern;
use fanfare_protocol::dialect::machine::Unasked;

use crate::channel::{ChannelId, ChannelName};
use crate::sequencer::command::Subscribed;

/// Requests of one client that may wait for their answers. A client library subscribes again to all
/// it had, one by one, when it comes back.
pub(crate) const REQUESTS_MAX: usize = 256;

/// The number of the request that a connection begins with; those of its machine come after it.
pub(super) const FIRST: u32 = 0;

/// A channel that is followed, or was asked for.
#[derive(Debug)]
struct Wanted {
    /// The request that asked for it.
    request: u32,
    /// The channel's record; none before the answer.
    channel: Option<ChannelId>,
    /// The view that it asked for.
    view: Option<Arc<str>>,
}

impl Wanted {
    fn view_bytes(&self) -> usize {
        self.view.as_ref().map_or(0, |view| view.len())
    }
}

/// The requests of one client that wait for answers, and the channels that it follows.
#[derive(Debug)]
pub(super) struct Requests {
    last: u32,
    /// Requests that were not answered yet.
    outstanding: Vec<u32>,
    channels: HashMap<ChannelName, Wanted>,
    /// Bytes of their views, which are counted for each client though they are shared.
    view_bytes: usize,
    /// Requests of which the machine wants to hear that everything up to a position is sent, by
    /// that position.
    behind: VecDeque<(u64, u32)>,
}

impl Requests {
    /// Of a client that follows what the reply to its first request says; its machine is still to
    /// be told of that.
    pub(super) fn new(reply: &Subscribed) -> Self {
        let wanted = reply.channels.iter().map(|channel| {
            let record = Some(channel.channel);
            (channel.name.as_ref().clone(), Wanted { request: FIRST, channel: record, view: None })
        });
        let (outstanding, channels) = (vec![FIRST], wanted.collect());
        Self { outstanding, channels, ..Self::none() }
    }

    /// Of a client that begins with nothing.
    pub(super) fn none() -> Self {
        let (outstanding, channels) = (Vec::new(), HashMap::new());
        Self { last: FIRST, outstanding, channels, view_bytes: 0, behind: VecDeque::new() }
    }

    /// Bytes of memory, about: the names are shared with the records of their channels.
    pub(super) fn memory(&self) -> usize {
        size_of::<Self>()
            + self.outstanding.capacity() * size_of::<u32>()
            + self.channels.capacity() * size_of::<(ChannelName, Wanted)>()
            + self.view_bytes
            + self.behind.capacity() * size_of::<(u64, u32)>()
    }

    /// A request to follow these, each by its view, where no more than `limit` are followed then.
    pub(super) fn follow<'a>(
        &mut self,
        channels: impl ExactSizeIterator<Item = (&'a ChannelName, Option<&'a str>)>,
        limit: usize,
    ) -> Result<u32, Unasked> {
        if self.channels.len() + channels.len() > limit {
            return Err(Unasked::TooManyChannels);
        }
        let request = self.next()?;
        for (name, view) in channels {
            match self.channels.entry(name.clone()) {
                Entry::Vacant(place) => {
                    self.view_bytes += view.map_or(0, str::len);
                    place.insert(Wanted { request, channel: None, view: view.map(Arc::from) });
                }
                Entry::Occupied(_) => {
                    self.want_no_more(request);
                    return Err(Unasked::AlreadyFollowed);
                }
            }
        }
        self.asked(request);
        Ok(request)
    }

    /// Whether none is under way.
    pub(super) fn are_answered(&self) -> bool {
        self.outstanding.is_empty()
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

    /// The client leaves this channel; `None` where it had not asked for it. Returns the channel's
    /// record, if the answer has come.
    pub(super) fn unfollow(&mut self, name: &ChannelName) -> Option<Option<ChannelId>> {
        let wanted = self.channels.remove(name)?;
        self.view_bytes -= wanted.view_bytes();
        Some(wanted.channel)
    }

    /// Channels that this matches which are asked for and not followed yet.
    pub(super) fn pending(&self, pattern: &Pattern) -> Vec<ChannelName> {
        let pending = self.channels.iter().filter(|(_, wanted)| wanted.channel.is_none());
        let names = pending.map(|(name, _)| name).filter(|name| pattern.matches(&name.name));
        names.cloned().collect()
    }

    /// Nothing is wanted of what this request asked for.
    fn want_no_more(&mut self, request: u32) {
        let view_bytes = &mut self.view_bytes;
        self.channels.retain(|_, wanted| {
            let stays = wanted.request != request;
            *view_bytes -= if stays { 0 } else { wanted.view_bytes() };
            stays
        });
    }

    /// By which view a channel is wanted.
    pub(super) fn view(&self, name: &ChannelName) -> Option<&Arc<str>> {
        self.channels.get(name)?.view.as_ref()
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
        self.want_no_more(request);
    }

    /// This request was answered, and there is nothing to follow.
    pub(super) fn answered(&mut self, request: u32) {
        self.outstanding.retain(|outstanding| *outstanding != request);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::Tenant;

    #[test]
    fn views_are_counted_for_as_long_as_their_channels_are_wanted() {
        let names = ["a", "b", "c"].map(|name| ChannelName::new(Tenant::default(), name));
        let mut requests = Requests::none();
        let first = [(&names[0], Some("1234")), (&names[1], None)];
        assert_eq!(requests.follow(first.into_iter(), 9), Ok(1));
        assert_eq!(requests.follow([(&names[2], Some("123"))].into_iter(), 9), Ok(2));
        assert_eq!((requests.view_bytes, requests.view(&names[0])), (7, Some(&"1234".into())));
        let again = [(&names[0], Some("12345"))];
        assert_eq!(requests.follow(again.into_iter(), 9), Err(Unasked::AlreadyFollowed));
        assert_eq!(requests.view_bytes, 7, "nothing was asked");
        assert_eq!(requests.unfollow(&names[0]), Some(None));
        assert_eq!(requests.view_bytes, 3);
        requests.refused(2);
        assert_eq!((requests.view_bytes, requests.view(&names[2])), (0, None));
    }
}
