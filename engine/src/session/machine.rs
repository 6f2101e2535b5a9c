//! What a machine of a dialect may do while it is called, done for its session.

use fanfare_identity::Right;
use fanfare_protocol::dialect::machine::{ChannelToFollow, Followed, Turn, Unasked};
use fanfare_protocol::framing::Framing;
use fanfare_protocol::id::{Id, LifeId};
use fanfare_protocol::message::GapView;
use fanfare_protocol::names;
use fanfare_protocol::ws::CloseCode;

pub use fanfare_protocol::dialect::machine::Machines;

use super::effect::Effect;
use super::here::Here;
use super::requests::Requests;
use crate::bodies::{BodySender, BodyShare};
use crate::channel::{ChannelName, Tenant};
use crate::payload;
use crate::sequencer::command::{Publication, Subscribed};
use crate::transport::since::by_own_time;

/// One call of a machine.
pub(super) struct MachineCall<'a, 'h> {
    pub(super) here: &'a mut Here<'h>,
    pub(super) requests: &'a mut Requests,
    /// Whose channels its client names.
    pub(super) tenant: &'a Tenant,
    pub(super) framing: Framing,
    /// With which the machine ended its connection.
    pub(super) farewell: Option<(CloseCode, &'static str)>,
    /// Whether its socket takes over the client that it knocks for.
    pub(super) takes_over: bool,
    /// Whether it wants to be told when its client has caught up.
    pub(super) catches_up: bool,
}

/// What a subscribe reply tells a machine.
pub(super) fn followed(reply: &Subscribed) -> Vec<Followed<'_>> {
    let channels = reply.channels.iter().map(|told| {
        let channel = &*told.name.name;
        let gap = told.gap.map(|gap| (gap.bounds, gap.reason));
        let gap = gap.map(|(bounds, reason)| GapView { channel, view: None, bounds, reason });
        let life = LifeId(Id { epoch: reply.epoch, position: told.life });
        Followed { channel, next: told.next, last: told.last, life, gap }
    });
    channels.collect()
}

impl Turn for MachineCall<'_, '_> {
    fn framing(&self) -> Framing {
        self.framing
    }

    fn private(&mut self) -> &mut Vec<u8> {
        self.here.brief()
    }

    fn follow(&mut self, asked: &[ChannelToFollow<'_>]) -> Result<u32, Unasked> {
        let (wall, now) = (self.here.shared.context.wall, self.here.now);
        let mut views = asked.iter().filter_map(|it| it.view);
        if !views.all(names::is_view) {
            return Err(Unasked::BadView);
        }
        let named =
            asked.iter().map(|it| Ok((self.name(it.channel)?, by_own_time(it.since, wall, now))));
        let channels: Box<[_]> = named.collect::<Result<_, _>>()?;
        channels.iter().try_for_each(|(name, _)| self.check(Right::Subscribe, name))?;
        let limit = self.here.shared.context.limits.channels_per_connection;
        let views = asked.iter().map(|it| it.view);
        let names = channels.iter().map(|(name, _)| name);
        let request = self.requests.follow(names.zip(views), limit)?;
        self.here.shared.want(Effect::Follow { request, channels });
        Ok(request)
    }

    fn unfollow(&mut self, channel: &str) -> bool {
        let name = ChannelName::new(self.tenant.clone(), channel);
        let Some(followed) = self.requests.unfollow(&name) else { return false };
        if let Some(channel) = followed {
            self.here.shared.want(Effect::Unfollow(channel));
        }
        true
    }

    fn publish(&mut self, channel: &str, data: &[u8]) -> Result<u32, Unasked> {
        let channel = self.name(channel)?;
        self.check(Right::Publish, &channel)?;
        let context = &self.here.shared.context;
        let (message_bytes, (kind, message)) =
            (context.limits.message_bytes, payload::settle(data));
        let room = payload::room(message_bytes, &channel.name, None, kind, message);
        if data.len() > message_bytes || room.is_err() {
            return Err(Unasked::MessageTooLong);
        }
        let mut body = BodyShare::default();
        if !body.grow(
            self.here.shared.bodies(),
            message.len(),
            BodySender::Stranger,
            &context.limits,
        ) {
            return Err(Unasked::Busy);
        }
        let data = message.into();
        let publication = Box::new(Publication {
            channel,
            also: Box::default(),
            kind,
            event: None,
            idempotency_key: None,
            ephemeral: false,
            except: None,
            data,
        });
        let request = self.requests.publish()?;
        self.here.shared.want(Effect::Publish { request, publication, body });
        Ok(request)
    }

    fn tell_caught_up(&mut self) {
        self.catches_up = true;
    }

    fn take_over(&mut self) {
        self.takes_over = true;
    }

    fn close(&mut self, code: CloseCode, reason: &'static str) {
        self.farewell.get_or_insert((code, reason));
    }
}

impl MachineCall<'_, '_> {
    /// Whether its client may, where anybody is asked.
    fn check(&mut self, right: Right, channel: &ChannelName) -> Result<(), Unasked> {
        let Some(authority) = &self.here.shared.context.authority else { return Ok(()) };
        let identity = self.here.line.identity().map(|identity| &**identity);
        let denied = authority.check(identity, right, channel);
        denied.map_err(|denial| {
            self.here.shared.denied(&denial, identity, self.here.now);
            Unasked::Forbidden
        })
    }

    fn name(&self, channel: &str) -> Result<ChannelName, Unasked> {
        if !names::is_channel_name(channel) {
            return Err(Unasked::BadChannel);
        }
        Ok(ChannelName::new(self.tenant.clone(), channel))
    }
}
