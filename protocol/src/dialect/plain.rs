//! The plain dialect: what a bare `WebSocket`, `EventSource` or `fetch` gets.
//!
//! *Raw* is the publisher's bytes: only a framing that has a place for them carries ids and names.
//! *JSON* is `{"channel","view"?,"id","offset","event"?,"data"}`: `data` is embedded when it is
//! JSON and a string when it is text; binary is `"base64"` in its place. `view` is there where a
//! machine asked for the channel by one; nobody who only listens can.

use super::{CloseReason, Codec, DirectView, Opening, TokenNotice, UnsubscribedView, json};
use crate::framing::{Envelope, Framing, Payload};
use crate::id::{ID_TEXT_BYTES_MAX, write_decimal};
use crate::message::{GapView, Kept, Kind, MessageView};
use crate::ws::CloseCode;

/// Our own events begin with `fanfare.`, which no publisher may use.
const GAP: &str = "fanfare.gap";
const OPEN: &str = "fanfare.open";
const CLOSE: &str = "fanfare.close";
const EXPIRING: &str = "fanfare.expiring";
const REFRESHED: &str = "fanfare.refreshed";
const UNSUBSCRIBED: &str = "fanfare.unsubscribed";

/// What stands in an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// The publisher's bytes.
    Raw,
    /// A JSON object around the payload.
    Json,
}

impl Form {
    /// Whether such envelopes can be carried so.
    pub(super) const fn goes_over(self, framing: Framing) -> bool {
        match self {
            Self::Raw => framing.takes_raw(),
            Self::Json => true,
        }
    }
}

impl Codec for Form {
    fn message(self, message: &MessageView<'_>, framing: Framing, out: &mut Vec<u8>) {
        let MessageView { event: name, data, kind, kept, .. } = *message;
        let (payload, end) = self.payload(kind, data);
        let envelope =
            Envelope { name, id: kept.map(|kept| kept.id), retry_ms: None, payload, end };
        match self {
            Self::Raw => framing.wrap(&envelope, |_| {}, out),
            Self::Json => framing.wrap(&envelope, |out| object_until_payload(message, out), out),
        }
    }

    /// A raw WebSocket gets it as a text frame too, where a client cannot tell it from a payload
    /// that looks the same.
    fn gap(self, gap: &GapView<'_>, framing: Framing, out: &mut Vec<u8>) {
        // No id: a client that leaves here has to be told again.
        let envelope = Envelope { name: Some(GAP), ..Envelope::BARE };
        framing.wrap(&envelope, |out| gap_object(gap, out), out);
    }

    /// An event stream says it in one block, with a name and with data. By the standard a block of
    /// an id alone would do, and no page would see it; but half of the parsers in use make an empty
    /// message of a block without data. Where publishers' bytes have no id, none would be known
    /// from here on either, and nothing is said.
    fn open(self, opening: &Opening, framing: Framing, out: &mut Vec<u8>) {
        if self == Self::Raw && !framing.carries_ids() {
            return;
        }
        let (name, id, retry_ms) = (Some(OPEN), Some(opening.id), Some(opening.retry_ms));
        let envelope = Envelope { name, id, retry_ms, ..Envelope::BARE };
        framing.wrap(&envelope, |out| open_object(opening, !framing.names_events(), out), out);
    }

    fn token(self, notice: TokenNotice, framing: Framing, out: &mut Vec<u8>) {
        let name = match notice {
            TokenNotice::Expiring(_) => EXPIRING,
            TokenNotice::Refreshed(_) | TokenNotice::TryAgain => REFRESHED,
        };
        let envelope = Envelope { name: Some(name), ..Envelope::BARE };
        framing.wrap(&envelope, |out| token_object(name, notice, out), out);
    }

    /// It is an event with data, since some parsers make an empty message of whatever stands before
    /// an end.
    fn close(self, reason: CloseReason<'_>, retry_ms: u64, framing: Framing, out: &mut Vec<u8>) {
        let envelope = Envelope { name: Some(CLOSE), retry_ms: Some(retry_ms), ..Envelope::BARE };
        framing.wrap(&envelope, |out| close_object(reason, out), out);
    }

    /// A raw WebSocket gets it as a text frame too, as it does a gap. No id, like every notice.
    fn unsubscribed(self, notice: &UnsubscribedView<'_>, framing: Framing, out: &mut Vec<u8>) {
        let envelope = Envelope { name: Some(UNSUBSCRIBED), ..Envelope::BARE };
        framing.wrap(&envelope, |out| unsubscribed_object(notice, out), out);
    }

    /// As a message, but for what it has not: a channel and numbers.
    fn direct(self, message: &DirectView<'_>, framing: Framing, out: &mut Vec<u8>) {
        let DirectView { event: name, kind, data } = *message;
        let (payload, end) = self.payload(kind, data);
        let envelope = Envelope { name, id: None, retry_ms: None, payload, end };
        let object = |out: &mut Vec<u8>| {
            out.push(b'{');
            if let Some(event) = name {
                out.extend_from_slice(br#""event":"#);
                json::string(event.as_bytes(), out);
                out.push(b',');
            }
            out.extend_from_slice(&data_member(kind)[1..]);
        };
        match self {
            Self::Raw => framing.wrap(&envelope, |_| {}, out),
            Self::Json => framing.wrap(&envelope, object, out),
        }
    }
}

impl Form {
    /// How a payload stands in an envelope, and what stands behind it.
    fn payload(self, kind: Kind, data: &[u8]) -> (Payload<'_>, &'static [u8]) {
        match (self, kind) {
            (Self::Raw, Kind::Json | Kind::Text) => (Payload::Plain(data), b""),
            (Self::Raw, Kind::Binary) => (Payload::Binary(data), b""),
            (Self::Json, Kind::Json) => (Payload::Plain(data), b"}"),
            (Self::Json, Kind::Text) => (Payload::JsonString(data), b"}"),
            (Self::Json, Kind::Binary) => (Payload::Base64String(data), b"}"),
        }
    }
}

fn unsubscribed_object(notice: &UnsubscribedView<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"event":"fanfare.unsubscribed","channel":"#);
    json::string(notice.channel.as_bytes(), out);
    view_member(notice.view, out);
    why_members(notice.code, notice.reason, out);
    out.push(b'}');
}

/// What a backend says of something that it ends.
fn why_members(code: CloseCode, reason: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(br#","code":"#);
    write_decimal(u64::from(code.number()), out);
    out.extend_from_slice(br#","reason":"#);
    json::string(reason.as_bytes(), out);
}

fn close_object(reason: CloseReason<'_>, out: &mut Vec<u8>) {
    let reason = match reason {
        CloseReason::Dismissed { code, reason } => {
            out.extend_from_slice(br#"{"event":"fanfare.close""#);
            why_members(code, reason, out);
            return out.push(b'}');
        }
        CloseReason::Slow => "slow",
        CloseReason::Restart => "restart",
        CloseReason::Full => "full",
        CloseReason::FollowedLimit => "followed_limit",
    };
    for part in [r#"{"event":""#, CLOSE, r#"","reason":""#, reason, r#""}"#] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// How many seconds are left, or why that cannot be said.
fn token_object(name: &str, notice: TokenNotice, out: &mut Vec<u8>) {
    for part in [r#"{"event":""#, name, r#"","#] {
        out.extend_from_slice(part.as_bytes());
    }
    match notice {
        TokenNotice::Expiring(in_s) | TokenNotice::Refreshed(Some(in_s)) => {
            out.extend_from_slice(br#""in":"#);
            write_decimal(in_s, out);
        }
        TokenNotice::Refreshed(None) => out.extend_from_slice(br#""in":null"#),
        TokenNotice::TryAgain => out.extend_from_slice(br#""error":"keys_unavailable""#),
    }
    out.push(b'}');
}

/// The beginning as JSON, with its name where nothing else says it.
fn open_object(opening: &Opening, named: bool, out: &mut Vec<u8>) {
    out.push(b'{');
    if named {
        out.extend_from_slice(br#""event":"fanfare.open","#);
    }
    out.extend_from_slice(br#""id":""#);
    opening.id.write(out);
    if let Some(origin) = opening.origin {
        out.extend_from_slice(br#"","origin":""#);
        out.extend_from_slice(format!("{origin:016x}").as_bytes());
    }
    out.extend_from_slice(br#""}"#);
}

/// Appends the object of a message up to its payload, and makes room for all of it.
fn object_until_payload(message: &MessageView<'_>, out: &mut Vec<u8>) {
    let names = message.channel.len() + message.event.map_or(0, str::len);
    out.reserve(128 + names + message.data.len());
    out.extend_from_slice(br#"{"channel":"#);
    json::string(message.channel.as_bytes(), out);
    view_member(message.view, out);
    if let Some(Kept { id, offset }) = message.kept {
        out.extend_from_slice(br#","id":""#);
        id.write(out);
        out.extend_from_slice(br#"","offset":"#);
        write_decimal(offset, out);
    }
    if let Some(event) = message.event {
        out.extend_from_slice(br#","event":"#);
        json::string(event.as_bytes(), out);
    }
    out.extend_from_slice(data_member(message.kind));
}

/// The name of the payload, behind other members.
fn data_member(kind: Kind) -> &'static [u8] {
    match kind {
        Kind::Json | Kind::Text => br#","data":"#,
        Kind::Binary => br#","base64":"#,
    }
}

/// What a frame says of the view that it is rendered by.
pub(super) fn view_member(view: Option<&str>, out: &mut Vec<u8>) {
    if let Some(view) = view {
        out.extend_from_slice(br#","view":"#);
        json::string(view.as_bytes(), out);
    }
}

/// [`super::longest_bytes`] of this dialect.
pub(super) fn longest_bytes(channel: &str, event: Option<&str>, kind: Kind, data: &[u8]) -> usize {
    /// What never changes, the longest frame header or event block around it, and the digits.
    const FIXED_BYTES: usize = 128 + 2 * ID_TEXT_BYTES_MAX;
    let name = json::string_bytes(channel.as_bytes());
    let event = event.map_or(0, |event| event.len() + json::string_bytes(event.as_bytes()));
    let payload = match kind {
        Kind::Json => Payload::Plain(data).longest_bytes(),
        Kind::Text => {
            Payload::Plain(data).longest_bytes().max(Payload::JsonString(data).longest_bytes())
        }
        Kind::Binary => Payload::Base64String(data).longest_bytes(),
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
    view_member(gap.view, out);
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
