//! A page of history as JSON: the envelopes that clients see, and the notice of a gap.

use fanfare_protocol::dialect::{Codec, plain};
use fanfare_protocol::framing::Framing;
use fanfare_protocol::message::GapView;

use crate::sequencer::command::HistoryPage;

/// `{"id","messages":[…],"gap"?,"more"}`, of which the messages have `bytes_max` at most.
pub(super) fn history(channel: &str, page: &mut HistoryPage, bytes_max: usize) -> Vec<u8> {
    let items = items(page, bytes_max);
    let mut out = Vec::with_capacity(items.len() + 256);
    out.extend_from_slice(b"{\"id\":\"");
    page.id.write(&mut out);
    out.extend_from_slice(b"\",\"messages\":[");
    out.extend_from_slice(&items);
    out.push(b']');
    if let Some(gap) = page.gap {
        out.extend_from_slice(b",\"gap\":");
        let gap = GapView { channel, view: None, bounds: gap.bounds, reason: gap.reason };
        plain::Form::Json.gap(&gap, Framing::Poll, &mut out);
    }
    out.extend_from_slice(if page.more { b",\"more\":true}" } else { b",\"more\":false}" });
    out
}

/// The messages in the form in which they are sent. They are counted in that form, because escaped
/// text is longer than what history keeps. The first is given whatever its size; `more` says that
/// others were left out.
fn items(page: &mut HistoryPage, bytes_max: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for (nth, message) in page.messages.iter().enumerate() {
        let before = out.len();
        if nth > 0 {
            out.push(b',');
        }
        plain::Form::Json.message(&message.view(page.id.epoch), Framing::Poll, &mut out);
        if out.len() > bytes_max && nth > 0 {
            out.truncate(before);
            page.id.position = page.messages[nth - 1].position;
            page.messages.truncate(nth);
            page.more = true;
            break;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::channel::{ChannelId, ChannelName, Tenant};
    use crate::clock::Millis;
    use crate::message::{Filling, Message};
    use fanfare_protocol::id::{Epoch, Id};
    use fanfare_protocol::message::Kind;

    fn page_of(sizes: &[usize], with: u8) -> HistoryPage {
        let name = Arc::new(ChannelName::new(Tenant::default(), "demo"));
        let message = |(nth, size): (usize, &usize)| {
            Arc::new(Message {
                channel: ChannelId(1),
                name: Arc::clone(&name),
                position: 10 * (nth as u64 + 1),
                nth: 0,
                offset: nth as u64 + 1,
                ephemeral: false,
                except: None,
                floor: 1,
                at: Millis(0),
                kind: Kind::Text,
                event: None,
                data: vec![with; *size].into(),
                filling: Filling::default(),
            })
        };
        HistoryPage {
            messages: sizes.iter().enumerate().map(message).collect(),
            gap: None,
            id: Id { epoch: Epoch::from_random(1), position: 99 },
            more: false,
        }
    }

    #[test]
    fn pages_are_cut_by_the_bytes_that_are_told() {
        let cases: [(&[usize], u8, usize, u64, bool); 7] = [
            (&[], b'x', 0, 99, false),
            (&[100, 100], b'x', 2, 99, false),
            (&[600, 600, 600], b'x', 1, 10, true),
            (&[5_000], b'x', 1, 99, false),
            (&[5_000, 1], b'x', 1, 10, true),
            // Escaped they have six times as many bytes.
            (&[100, 100], 1, 1, 10, true),
            (&[70, 70], 1, 2, 99, false),
        ];
        for (sizes, with, kept, position, more) in cases {
            let mut page = page_of(sizes, with);
            let bytes = history("demo", &mut page, 1_000);
            assert_eq!((page.messages.len(), page.id.position, page.more), (kept, position, more));
            let told: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(told["messages"].as_array().unwrap().len(), kept);
            assert_eq!((&told["more"], &told["id"]), (&more.into(), &page.id.to_string().into()));
            assert!(bytes.len() <= 1_256 || kept == 1);
        }
    }
}
