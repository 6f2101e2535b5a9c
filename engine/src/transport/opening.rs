//! What every stream begins with, whatever carries it: what is missing, and where delivery begins.

use fanfare_protocol::dialect::Opening;
use fanfare_protocol::id::Id;
use fanfare_protocol::message::GapView;

use super::Context;
use super::follow_request::{FollowRequest, WantedOpening};
use crate::origin::{Named, Origin};
use crate::sequencer::command::{Requester, Subscribed};

/// Gap notices of every channel, then where delivery begins, unless that is not wanted.
pub(super) fn hello(
    request: &FollowRequest,
    reply: &Subscribed,
    context: &Context,
    out: &mut Vec<u8>,
) {
    for (gap, _) in gaps(reply) {
        request.encoding.gap(&gap, out);
    }
    let retry_ms = context.limits.retry_ms;
    let origin = match request.opening {
        WantedOpening::None => return request.encoding.framing().retry(retry_ms, out),
        WantedOpening::Plain => Some(origin(reply, context).number()),
    };
    let id = Id { epoch: reply.epoch, position: reply.begin };
    request.encoding.open(&Opening { id, origin, retry_ms }, out);
}

/// What the connection that asked is called by those who publish and ask for it. It is made of what
/// the connection has anyway, so that everybody may be told.
fn origin(reply: &Subscribed, context: &Context) -> Origin {
    let Requester { shard, session, .. } = reply.requester;
    let (index, generation) = (session.index, session.generation);
    Origin::of(Named { shard, index, generation }, context.origins_key)
}

/// The gaps of a subscribe reply, as codecs see them, and the position of the first message of each
/// where it is known.
pub(super) fn gaps(reply: &Subscribed) -> impl Iterator<Item = (GapView<'_>, Option<u64>)> {
    reply.channels.iter().filter_map(|channel| {
        let gap = channel.gap?;
        let (bounds, reason) = (gap.bounds, gap.reason);
        Some((
            GapView { channel: &channel.name.name, view: None, bounds, reason },
            channel.gap_begins,
        ))
    })
}
