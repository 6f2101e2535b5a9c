//! WebSocket: the bytes that open a stream.

use fanfare_protocol::http::HttpDate;
use fanfare_protocol::id::Id;
use fanfare_protocol::message::GapView;
use fanfare_protocol::ws::handshake;

use super::Facts;
use super::ask::Ask;
use crate::sequencer::command::Subscribed;

/// `101`, gap notices, and where delivery begins (raw frames carry no ids).
pub fn open(ask: &Ask, reply: &Subscribed, facts: &Facts, date: HttpDate, out: &mut Vec<u8>) {
    let accept_key = ask.accept_key.as_ref().expect("an upgrade has a key");
    handshake::write_switch(out, date, accept_key);
    hello(ask, reply, facts, out);
}

/// Gap notices of every channel, then where delivery begins, unless that is not wanted.
pub(super) fn hello(ask: &Ask, reply: &Subscribed, facts: &Facts, out: &mut Vec<u8>) {
    for (gap, _) in gaps(reply) {
        ask.encoding.gap(&gap, out);
    }
    let retry_ms = facts.limits.retry_ms;
    if ask.opening {
        let id = Id { epoch: facts.epoch, position: reply.begin };
        ask.encoding.open(id, retry_ms, out);
    } else {
        ask.encoding.framing().retry(retry_ms, out);
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
