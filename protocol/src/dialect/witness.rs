//! A dialect of tests, compiled for them alone: plain JSON that says who comes and goes. No client
//! speaks it. It stands for those to come that do, so that what carries presence is held to it.

use super::{CloseReason, Codec, DirectView, Opening, UnsubscribedView, json, plain};
use crate::framing::{Envelope, Framing};
use crate::message::{Change, GapView, MessageView, PresenceView};

/// The one form of its envelopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Form;

impl Form {
    /// Whether such envelopes can be carried so.
    pub(super) const fn goes_over(self, framing: Framing) -> bool {
        !framing.is_event_stream() || (framing.is_chunked() && framing.names_events())
    }
}

impl Codec for Form {
    fn message(self, message: &MessageView<'_>, framing: Framing, out: &mut Vec<u8>) {
        plain::Form::Json.message(message, framing, out);
    }

    fn tells_presence(self) -> bool {
        true
    }

    fn presence(self, event: &PresenceView<'_>, framing: Framing, out: &mut Vec<u8>) {
        let object = |out: &mut Vec<u8>| {
            let change = match event.change {
                Change::Join => "join",
                Change::Leave => "leave",
            };
            out.extend_from_slice(format!(r#"{{"{change}":"#).as_bytes());
            json::string(event.member.as_bytes(), out);
            out.extend_from_slice(br#","channel":"#);
            json::string(event.channel.as_bytes(), out);
            plain::view_member(event.view, out);
            if !event.info.is_empty() {
                out.extend_from_slice(br#","info":"#);
                out.extend_from_slice(event.info);
            }
            out.push(b'}');
        };
        framing.wrap(&Envelope { name: Some("presence"), ..Envelope::BARE }, object, out);
    }

    fn gap(self, gap: &GapView<'_>, framing: Framing, out: &mut Vec<u8>) {
        plain::Form::Json.gap(gap, framing, out);
    }

    fn open(self, opening: &Opening, framing: Framing, out: &mut Vec<u8>) {
        plain::Form::Json.open(opening, framing, out);
    }

    fn close(self, reason: CloseReason<'_>, retry_ms: u64, framing: Framing, out: &mut Vec<u8>) {
        plain::Form::Json.close(reason, retry_ms, framing, out);
    }

    fn unsubscribed(self, notice: &UnsubscribedView<'_>, framing: Framing, out: &mut Vec<u8>) {
        plain::Form::Json.unsubscribed(notice, framing, out);
    }

    fn direct(self, message: &DirectView<'_>, framing: Framing, out: &mut Vec<u8>) {
        plain::Form::Json.direct(message, framing, out);
    }
}
