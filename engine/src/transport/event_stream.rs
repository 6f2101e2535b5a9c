//! Server-Sent Events: the bytes that open a stream.

use fanfare_protocol::dialect::CloseReason;
use fanfare_protocol::http::{HttpDate, response};

use super::Facts;
use super::ask::Ask;
use super::websocket::hello;
use crate::sequencer::command::Subscribed;

/// The head, gap notices, and a block that says `retry:` and where delivery begins, so that even a
/// client that has received nothing resumes.
pub fn open(ask: &Ask, reply: &Subscribed, facts: &Facts, date: HttpDate, out: &mut Vec<u8>) {
    head(ask, date, out);
    hello(ask, reply, facts, out);
}

/// A refusal that may be over in a moment: `EventSource` takes any other status for the end, so it
/// is a stream without messages that says when to come back (THREATS, "Browsers").
pub fn come_back(ask: &Ask, reason: CloseReason, retry_ms: u64, date: HttpDate, out: &mut Vec<u8>) {
    head(ask, date, out);
    ask.encoding.close(reason, retry_ms, out);
}

fn head(ask: &Ask, date: HttpDate, out: &mut Vec<u8>) {
    let cors = ask.origin.as_deref().map(response::cors);
    let chunked = ask.encoding.framing().is_chunked();
    response::event_stream(out, date, chunked, cors.as_deref().unwrap_or_default());
}
