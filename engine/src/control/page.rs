//! A page of history as JSON: the envelopes that clients see, and the notice of a gap.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fanfare_protocol::id::{Epoch, Id};
use fanfare_protocol::message::{Kind, MessageView};

use crate::sequencer::command::{Gap, HistoryPage};

/// `{"id","messages":[…],"gap"?,"more"}`.
pub(super) fn history(channel: &str, page: &HistoryPage, epoch: Epoch) -> Vec<u8> {
    let payload: usize = page.messages.iter().map(|message| message.cost()).sum();
    let mut out = Vec::with_capacity(payload + 128);
    out.extend_from_slice(b"{\"id\":");
    id(page.id, &mut out);
    out.extend_from_slice(b",\"messages\":[");
    for (nth, message) in page.messages.iter().enumerate() {
        if nth > 0 {
            out.push(b',');
        }
        envelope(&message.view(epoch), &mut out);
    }
    out.push(b']');
    if let Some(gap) = page.gap {
        out.extend_from_slice(b",\"gap\":");
        notice(channel, gap, &mut out);
    }
    out.extend_from_slice(if page.more { b",\"more\":true}" } else { b",\"more\":false}" });
    out
}

/// `{"channel","id","offset","event"?,"data"|"base64"}`.
fn envelope(message: &MessageView<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"channel\":");
    string(message.channel, out);
    out.extend_from_slice(b",\"id\":");
    id(message.id, out);
    out.extend_from_slice(b",\"offset\":");
    fanfare_protocol::id::write_decimal(message.offset, out);
    if let Some(event) = message.event {
        out.extend_from_slice(b",\"event\":");
        string(event, out);
    }
    match (message.kind, std::str::from_utf8(message.data)) {
        (Kind::Json, _) => {
            out.extend_from_slice(b",\"data\":");
            out.extend_from_slice(message.data);
        }
        (Kind::Text, Ok(text)) => {
            out.extend_from_slice(b",\"data\":");
            string(text, out);
        }
        (Kind::Text | Kind::Binary, _) => {
            out.extend_from_slice(b",\"base64\":");
            string(&STANDARD.encode(message.data), out);
        }
    }
    out.push(b'}');
}

/// `{"event":"fanfare.gap","channel","from","to","missed","reason"}`.
fn notice(channel: &str, gap: Gap, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"event\":\"fanfare.gap\",\"channel\":");
    string(channel, out);
    let number = |number: Option<u64>| number.map_or("null".into(), |number| number.to_string());
    let (from, to) = gap.bounds.unzip();
    let missed = gap.bounds.map(|(from, to)| to - from + 1);
    let rest = format!(
        ",\"from\":{},\"to\":{},\"missed\":{},\"reason\":\"{}\"}}",
        number(from),
        number(to),
        number(missed),
        gap.reason.as_str()
    );
    out.extend_from_slice(rest.as_bytes());
}

fn id(id: Id, out: &mut Vec<u8>) {
    out.push(b'"');
    id.write(out);
    out.push(b'"');
}

fn string(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("a Vec takes every write");
}
