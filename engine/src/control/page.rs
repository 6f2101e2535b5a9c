//! A page of history as JSON: the envelopes that clients see, and the notice of a gap.

use fanfare_protocol::dialect::{Rendition, plain};
use fanfare_protocol::id::Epoch;
use fanfare_protocol::message::GapView;

use crate::sequencer::command::HistoryPage;

/// `{"id","messages":[…],"gap"?,"more"}`.
pub(super) fn history(channel: &str, page: &HistoryPage, epoch: Epoch) -> Vec<u8> {
    let costs: usize = page.messages.iter().map(|message| message.cost()).sum();
    let mut out = Vec::with_capacity(costs + 128);
    out.extend_from_slice(b"{\"id\":\"");
    page.id.write(&mut out);
    out.extend_from_slice(b"\",\"messages\":[");
    for (nth, message) in page.messages.iter().enumerate() {
        if nth > 0 {
            out.push(b',');
        }
        plain::render(&message.view(epoch), Rendition::PollItem, &mut out);
    }
    out.push(b']');
    if let Some(gap) = page.gap {
        out.extend_from_slice(b",\"gap\":");
        let gap = GapView { channel, bounds: gap.bounds, reason: gap.reason };
        plain::gap(&gap, Rendition::PollItem, &mut out);
    }
    out.extend_from_slice(if page.more { b",\"more\":true}" } else { b",\"more\":false}" });
    out
}
