//! The seam for dialects with commands: one client's machine, and what it may do.
//!
//! What a WebSocket client says goes to its [`Machine`] in pieces, checked and counted. The machine
//! asks for things by a [`Turn`], each under a number, and what became of each comes back under
//! that number. Whatever it writes goes to this client before anything that is shared. The plain
//! dialect has no commands: its clients have no machine, and what they say is dropped.
//!
//! Machines are boxed and called once for each piece of a client and each answer, never for a
//! delivery.

use std::sync::Arc;

use fanfare_protocol::ws::{CloseCode, DataKind};

use super::requests::Requests;
use super::shared::{Effect, Shared};
use crate::bodies::{Payer, Share};
use crate::channel::ChannelName;
use crate::payload;
use crate::sequencer::command::{Publication, Published, Refusal, Since, Subscribed};

/// Makes the machine of each WebSocket client that begins.
pub type Machines = Arc<dyn Fn() -> Box<dyn Machine> + Send + Sync>;

/// One client's commands. It runs on a shard's thread and must not wait.
pub trait Machine {
    /// A piece of a message of the client; an empty message is one empty piece.
    fn piece(&mut self, piece: Piece<'_>, turn: &mut Turn<'_>);

    /// What became of a request. Each that was asked gets one answer, in no particular order.
    fn answer(&mut self, request: u32, answer: Answer<'_>, turn: &mut Turn<'_>);

    /// The client was sent everything that was published before this request was answered, of all
    /// that it follows: it has caught up with where it began. Told where [`Turn::tell_caught_up`]
    /// asked for it.
    fn caught_up(&mut self, _request: u32, _turn: &mut Turn<'_>) {}
}

/// A piece of a client's message.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// What the whole message is.
    pub kind: DataKind,
    /// Whether it is the message's last piece.
    pub last: bool,
    /// Its bytes; of text checked as UTF-8, though a piece may end inside a code point.
    pub bytes: &'a [u8],
}

/// What became of a request.
#[derive(Clone, Copy, Debug)]
pub enum Answer<'a> {
    /// These are followed from this place on, but for those that were left meanwhile. What the
    /// machine writes now goes out before the first message of them.
    Following(&'a Subscribed),
    /// It has its place.
    Published(Published),
    /// The sequencer did not do it.
    Refused(Refusal),
}

/// Why a request was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unasked {
    /// As many are under way as may be.
    TooManyRequests,
    /// A connection follows no more channels than that.
    TooManyChannels,
    /// One of these is followed already, or was asked for.
    AlreadyFollowed,
    /// A name that no channel has.
    BadChannel,
    /// Longer than a message may be, in one of its forms at least.
    MessageTooLong,
    /// There is no room for it now: a moment later there may be.
    Busy,
}

/// What a machine may do while it is called.
pub struct Turn<'a> {
    pub(super) private: &'a mut Vec<u8>,
    pub(super) requests: &'a mut Requests,
    pub(super) shared: &'a mut Shared,
    pub(super) farewell: Option<(CloseCode, &'static str)>,
    pub(super) catches_up: bool,
}

impl Turn<'_> {
    /// Where whole frames for this client alone are written.
    pub fn private(&mut self) -> &mut Vec<u8> {
        self.private
    }

    /// Follows these channels, all of them or none, each from there. Returns the request's number.
    ///
    /// # Errors
    /// Nothing was asked, for this reason.
    pub fn follow(&mut self, channels: &[(&str, Since)]) -> Result<u32, Unasked> {
        let named = channels.iter().map(|(name, since)| Ok((self.name(name)?, *since)));
        let channels: Box<[_]> = named.collect::<Result<_, _>>()?;
        let limit = self.shared.context.limits.channels_per_connection;
        let request = self.requests.follow(channels.iter().map(|(name, _)| name), limit)?;
        self.shared.want(Effect::Follow { request, channels });
        Ok(request)
    }

    /// Follows this channel no more, from now on: nothing more of it is sent, and what was asked
    /// for it and not answered comes to nothing. Whether it was followed or asked for.
    pub fn unfollow(&mut self, channel: &str) -> bool {
        let name = ChannelName::new(self.shared.context.tenant.clone(), channel);
        let Some(followed) = self.requests.unfollow(&name) else { return false };
        if let Some(channel) = followed {
            self.shared.want(Effect::Unfollow(channel));
        }
        true
    }

    /// Publishes to a channel. Returns the request's number.
    ///
    /// # Errors
    /// Nothing was asked, for this reason.
    pub fn publish(&mut self, channel: &str, data: &[u8]) -> Result<u32, Unasked> {
        let channel = self.name(channel)?;
        let context = &self.shared.context;
        let (message_bytes, (kind, message)) =
            (context.limits.message_bytes, payload::settle(data));
        let room = payload::room(message_bytes, &channel.name, None, kind, message);
        if data.len() > message_bytes || room.is_err() {
            return Err(Unasked::MessageTooLong);
        }
        let mut body = Share::default();
        if !body.grow(self.shared.bodies(), message.len(), Payer::Stranger, &context.limits) {
            return Err(Unasked::Busy);
        }
        let data = message.into();
        let publication = Box::new(Publication {
            channel,
            kind,
            event: None,
            idempotency_key: None,
            ephemeral: false,
            except: None,
            data,
        });
        let request = self.requests.publish()?;
        self.shared.want(Effect::Publish { request, publication, body });
        Ok(request)
    }

    /// In the answer to a request to follow: asks for [`Machine::caught_up`].
    pub fn tell_caught_up(&mut self) {
        self.catches_up = true;
    }

    /// Closes the connection when what was written is sent. What the client says afterwards is
    /// dropped.
    pub fn close(&mut self, code: CloseCode, reason: &'static str) {
        self.farewell.get_or_insert((code, reason));
    }

    fn name(&self, channel: &str) -> Result<ChannelName, Unasked> {
        if !fanfare_protocol::names::is_channel_name(channel) {
            return Err(Unasked::BadChannel);
        }
        Ok(ChannelName::new(self.shared.context.tenant.clone(), channel))
    }
}
