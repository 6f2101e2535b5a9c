//! WebSocket: the bytes that open a stream.

use fanfare_protocol::http::{HttpDate, Status, Violation};
use fanfare_protocol::ws::{CloseCode, handshake};

use super::Context;
use super::follow_request::FollowRequest;
use super::opening::hello;
use crate::sequencer::command::Subscribed;

/// How a request is refused over a WebSocket that is open, and with which word.
pub fn close_of(violation: Violation) -> (CloseCode, &'static str) {
    let code = match violation {
        Violation::TokenNeeded
        | Violation::BadToken
        | Violation::BadTicket
        | Violation::TokenRevoked => CloseCode::BAD_TOKEN,
        Violation::TokenExpired => CloseCode::TOKEN_EXPIRED,
        Violation::Forbidden => CloseCode::FORBIDDEN,
        Violation::Draining => CloseCode::RESTART,
        _ if violation.status() == Status::ServiceUnavailable => CloseCode::TRY_LATER,
        _ => CloseCode::BAD_COMMAND,
    };
    (code, violation.code())
}

/// `101` where it is not written yet, gap notices, and where delivery begins (raw frames carry no
/// ids).
pub fn open(
    request: &FollowRequest,
    reply: &Subscribed,
    context: &Context,
    date: HttpDate,
    out: &mut Vec<u8>,
) {
    if let Some(switch) = &request.switch {
        handshake::write_switch(out, date, switch);
    }
    hello(request, reply, context, out);
}
