//! WebSocket: the bytes that open a stream.

use fanfare_protocol::http::HttpDate;
use fanfare_protocol::id::Id;
use fanfare_protocol::message::GapView;
use fanfare_protocol::ws::handshake;

use super::Context;
use super::follow_request::FollowRequest;
use crate::sequencer::command::Subscribed;

/// `101`, gap notices, and where delivery begins (raw frames carry no ids).
pub fn open(
    request: &FollowRequest,
    reply: &Subscribed,
    context: &Context,
    date: HttpDate,
    out: &mut Vec<u8>,
) {
    let accept_key = request.accept_key.as_ref().expect("an upgrade has a key");
    handshake::write_switch(out, date, accept_key);
    hello(request, reply, context, out);
}

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
    if request.wants_open {
        let id = Id { epoch: context.epoch, position: reply.begin };
        request.encoding.open(id, retry_ms, out);
    } else {
        request.encoding.framing().retry(retry_ms, out);
    }
}

/// The gaps of a subscribe reply, as codecs see them, and the position of the first message of each
/// where it is known.
pub(super) fn gaps(reply: &Subscribed) -> impl Iterator<Item = (GapView<'_>, Option<u64>)> {
    reply.channels.iter().filter_map(|channel| {
        let gap = channel.gap?;
        let (bounds, reason) = (gap.bounds, gap.reason);
        Some((GapView { channel: &channel.name.name, bounds, reason }, channel.gap_begins))
    })
}
