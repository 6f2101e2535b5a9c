//! WebSocket: the bytes that open a stream.

use fanfare_protocol::http::HttpDate;
use fanfare_protocol::ws::handshake;

use super::Context;
use super::follow_request::FollowRequest;
use super::opening::hello;
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
