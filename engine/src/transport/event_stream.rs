//! Server-Sent Events: the bytes that open a stream.

use fanfare_protocol::dialect::CloseReason;
use fanfare_protocol::http::{Ending, HttpDate, response};

use super::Context;
use super::follow_request::FollowRequest;
use super::opening::hello;
use crate::sequencer::command::Subscribed;

/// The head, gap notices, and a block that says `retry:` and where delivery begins, so that even a
/// client that has received nothing resumes.
pub fn open(
    request: &FollowRequest,
    reply: &Subscribed,
    context: &Context,
    date: HttpDate,
    out: &mut Vec<u8>,
) {
    head(request, date, out);
    hello(request, reply, context, out);
}

/// A refusal that may be over in a moment: `EventSource` takes any other status for the end, so it
/// is a stream without messages that says when to come back (THREATS, "Browsers").
pub fn come_back(
    request: &FollowRequest,
    reason: CloseReason<'_>,
    retry_ms: u64,
    date: HttpDate,
    out: &mut Vec<u8>,
) {
    head(request, date, out);
    request.encoding.close(reason, retry_ms, out);
}

fn head(request: &FollowRequest, date: HttpDate, out: &mut Vec<u8>) {
    let cors = request.origin.as_deref().map(response::cors);
    let chunked = request.encoding.framing().is_chunked();
    let fields = cors.as_deref().unwrap_or_default();
    response::event_stream(out, date, chunked, Ending::Close, fields);
}
