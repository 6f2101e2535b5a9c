//! The plain dialect: what a bare `WebSocket`, `EventSource` or `fetch` gets.
//!
//! *Raw* is the publisher's bytes; a WebSocket then carries neither ids nor names. *JSON* is
//! `{"channel","id","offset","event"?,"data"}`: `data` is embedded when it is JSON and a string
//! when it is text; binary is `"base64"` in its place.

use super::{Rendition, json};
use crate::http::chunk;
use crate::id::{ID_TEXT_BYTES_MAX, Id, write_decimal};
use crate::message::{GapView, Kind, MessageView};
use crate::sse::write as sse;
use crate::ws::Opcode;
use crate::ws::header::{HEADER_BYTES_MAX, write_header};

/// Our own events begin with `fanfare.`, which no publisher may use.
const GAP: &str = "fanfare.gap";
const OPEN: &str = "fanfare.open";
const CLOSE: &str = "fanfare.close";

/// Why an event stream ends by our will: each is over in a while, so a client comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The client fell out of the live window.
    Slow,
    /// The node is shutting down.
    Restart,
    /// There is no room for one more: of connections, channels or commands.
    Full,
}

impl CloseReason {
    /// The word in the event's data.
    fn as_str(self) -> &'static str {
        match self {
            Self::Slow => "slow",
            Self::Restart => "restart",
            Self::Full => "full",
        }
    }
}

/// Appends `message` complete, as every connection of `rendition` gets it.
pub fn render(message: &MessageView<'_>, rendition: Rendition, out: &mut Vec<u8>) {
    let start = out.len();
    match rendition {
        Rendition::WsRaw => {
            let opcode = if message.kind == Kind::Binary { Opcode::Binary } else { Opcode::Text };
            frame(opcode, message.data, out);
        }
        Rendition::WsJson => {
            opening(message, out);
            let bytes = out.len() - start + payload_bytes(message) + 1;
            out.reserve(HEADER_BYTES_MAX + bytes);
            let end = out.len();
            write_header(Opcode::Text, bytes, out);
            // Only now is the length known that stands before it all; what has to move is small.
            let header_bytes = out.len() - end;
            out[start..].rotate_right(header_bytes);
            payload(message, out);
            out.push(b'}');
        }
        Rendition::SseRaw | Rendition::SseRawUnchunked => {
            sse::begin(out, message.event);
            match message.kind {
                Kind::Json | Kind::Text => sse::lines(out, message.data),
                Kind::Binary => json::base64(message.data, out),
            }
            sse::end(out, Some(message.id));
        }
        Rendition::SseJson
        | Rendition::SseJsonUnchunked
        | Rendition::SseJsonUnnamed
        | Rendition::SseJsonUnnamedUnchunked => {
            let name = message.event.filter(|_| rendition.names_events());
            sse::begin(out, name);
            opening(message, out);
            match message.kind {
                // Line breaks in JSON lie between its tokens: a LF for a CR changes nothing.
                Kind::Json => sse::lines(out, message.data),
                Kind::Text | Kind::Binary => payload(message, out),
            }
            out.push(b'}');
            sse::end(out, Some(message.id));
        }
        Rendition::PollItem => {
            opening(message, out);
            payload(message, out);
            out.push(b'}');
        }
    }
    close_chunk(rendition, start, out);
}

/// Makes what was written since `start` a chunk, where `rendition` has them.
fn close_chunk(rendition: Rendition, start: usize, out: &mut Vec<u8>) {
    if rendition.is_chunked() {
        chunk::wrap(out, start);
    }
}

/// Appends the notice that messages of a channel are missing. A raw WebSocket gets it as a text
/// frame too, where a client cannot tell it from a payload that looks the same.
pub fn gap(gap: &GapView<'_>, rendition: Rendition, out: &mut Vec<u8>) {
    let mut object = Vec::with_capacity(128 + gap.channel.len());
    gap_object(gap, &mut object);
    let start = out.len();
    match rendition {
        Rendition::WsRaw | Rendition::WsJson => frame(Opcode::Text, &object, out),
        Rendition::PollItem => out.extend_from_slice(&object),
        // No id: a client that leaves here has to be told again.
        _ => sse::event(out, None, rendition.names_events().then_some(GAP), &object),
    }
    close_chunk(rendition, start, out);
}

/// Appends what a connection begins with, after any gap notices: where delivery begins, so that a
/// client that has received nothing can resume, and for an event stream how long to wait before
/// connecting again. A raw WebSocket and a poll have no such beginning.
///
/// An event stream says it in one block, with a name and with data. By the standard a block of an
/// id alone would do, and no page would see it; but half of the parsers in use make an empty
/// message of a block without data.
pub fn open(id: Id, retry_ms: u64, rendition: Rendition, out: &mut Vec<u8>) {
    let start = out.len();
    match rendition {
        Rendition::WsRaw | Rendition::PollItem => {}
        Rendition::WsJson => frame(Opcode::Text, &open_object(id, true), out),
        _ => {
            let named = rendition.names_events();
            sse::retry(out, retry_ms);
            sse::event(out, Some(id), named.then_some(OPEN), &open_object(id, !named));
            close_chunk(rendition, start, out);
        }
    }
}

/// Appends what is left of [`open`] for a client that wants the publishers' messages alone: how
/// long to wait before connecting again is a line of the event that comes next.
pub fn open_unsaid(retry_ms: u64, rendition: Rendition, out: &mut Vec<u8>) {
    if rendition.is_event_stream() {
        let start = out.len();
        sse::retry(out, retry_ms);
        close_chunk(rendition, start, out);
    }
}

/// Appends the sign of life of an event stream that has nothing to tell.
pub fn heartbeat(rendition: Rendition, out: &mut Vec<u8>) {
    let start = out.len();
    sse::comment(out, "");
    close_chunk(rendition, start, out);
}

/// Appends the end of an event stream: why, and when to come back. It is an event with data, since
/// some parsers make an empty message of whatever stands before an end.
pub fn close(reason: CloseReason, retry_ms: u64, rendition: Rendition, out: &mut Vec<u8>) {
    let start = out.len();
    sse::retry(out, retry_ms);
    let object = format!(r#"{{"event":"{CLOSE}","reason":"{}"}}"#, reason.as_str());
    sse::event(out, None, rendition.names_events().then_some(CLOSE), object.as_bytes());
    close_chunk(rendition, start, out);
    if rendition.is_chunked() {
        out.extend_from_slice(chunk::LAST);
    }
}

/// The beginning as JSON, with its name where nothing else says it.
fn open_object(id: Id, named: bool) -> Vec<u8> {
    let mut object = b"{".to_vec();
    if named {
        object.extend_from_slice(br#""event":"fanfare.open","#);
    }
    object.extend_from_slice(br#""id":""#);
    id.write(&mut object);
    object.extend_from_slice(br#""}"#);
    object
}

fn frame(opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) {
    out.reserve(HEADER_BYTES_MAX + payload.len());
    write_header(opcode, payload.len(), out);
    out.extend_from_slice(payload);
}

/// Appends the object up to its payload: small, so that its length is known by making it.
fn opening(message: &MessageView<'_>, out: &mut Vec<u8>) {
    let names = message.channel.len() + message.event.map_or(0, str::len);
    out.reserve(128 + names + message.data.len());
    out.extend_from_slice(br#"{"channel":"#);
    json::string(message.channel.as_bytes(), out);
    out.extend_from_slice(br#","id":""#);
    message.id.write(out);
    out.extend_from_slice(br#"","offset":"#);
    write_decimal(message.offset, out);
    if let Some(event) = message.event {
        out.extend_from_slice(br#","event":"#);
        json::string(event.as_bytes(), out);
    }
    out.extend_from_slice(match message.kind {
        Kind::Json | Kind::Text => br#","data":"#,
        Kind::Binary => br#","base64":"#,
    });
}

fn payload(message: &MessageView<'_>, out: &mut Vec<u8>) {
    match message.kind {
        Kind::Json => out.extend_from_slice(message.data),
        Kind::Text => json::string(message.data, out),
        Kind::Binary => json::base64_string(message.data, out),
    }
}

/// Length of what [`payload`] appends: a frame says it before the first byte.
fn payload_bytes(message: &MessageView<'_>) -> usize {
    match message.kind {
        Kind::Json => message.data.len(),
        Kind::Text => json::string_bytes(message.data),
        Kind::Binary => json::base64_string_bytes(message.data),
    }
}

/// Length of the longest rendition of such a message, whatever place it is given: never less than
/// what [`render`] appends, and hardly more than the longest of them.
pub fn longest_bytes(channel: &str, event: Option<&str>, kind: Kind, data: &[u8]) -> usize {
    /// What never changes, the longest frame header or event block around it, and the digits.
    const FIXED_BYTES: usize = 128 + 2 * ID_TEXT_BYTES_MAX;
    let name = json::string_bytes(channel.as_bytes());
    let event = event.map_or(0, |event| event.len() + json::string_bytes(event.as_bytes()));
    let payload = match kind {
        Kind::Json => sse::lines_bytes(data),
        Kind::Text => sse::lines_bytes(data).max(json::string_bytes(data)),
        Kind::Binary => json::base64_string_bytes(data),
    };
    FIXED_BYTES + name + event + payload
}

fn gap_object(gap: &GapView<'_>, out: &mut Vec<u8>) {
    let missed = gap.bounds.map(|(from, to)| {
        debug_assert!(from <= to, "a gap of nothing");
        to.saturating_sub(from).saturating_add(1)
    });
    out.extend_from_slice(br#"{"event":"fanfare.gap","channel":"#);
    json::string(gap.channel.as_bytes(), out);
    let numbers: [(&[u8], Option<u64>); 3] = [
        (br#","from":"#, gap.bounds.map(|bounds| bounds.0)),
        (br#","to":"#, gap.bounds.map(|bounds| bounds.1)),
        (br#","missed":"#, missed),
    ];
    for (name, number) in numbers {
        out.extend_from_slice(name);
        match number {
            Some(number) => write_decimal(number, out),
            None => out.extend_from_slice(b"null"),
        }
    }
    out.extend_from_slice(br#","reason":""#);
    out.extend_from_slice(gap.reason.as_str().as_bytes());
    out.extend_from_slice(br#""}"#);
}

#[cfg(test)]
mod tests;
