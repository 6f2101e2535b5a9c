//! What stands in a log: messages, and who came and went between them.

use std::sync::Arc;

use fanfare_protocol::dialect::Encoding;
use fanfare_protocol::id::Epoch;
use fanfare_protocol::message::{MessageView, PresenceView};

use crate::message::Message;
use crate::origin::Origin;
use crate::presence;

/// One entry.
#[derive(Debug)]
pub(super) enum LogEntry {
    /// A message that history keeps or that is ephemeral.
    Message(Arc<Message>),
    /// A presence event, and the offset of the kept message that comes next.
    Presence(u64, Arc<presence::PlacedPresence>),
}

const _: () = assert!(size_of::<LogEntry>() == 16, "what presence needs lies beside a pointer");

impl LogEntry {
    /// Whether it is a presence event.
    pub(super) fn is_presence(&self) -> bool {
        matches!(self, Self::Presence(..))
    }

    /// Where it stands in the order.
    pub(super) fn position(&self) -> u64 {
        match self {
            Self::Message(message) => message.position,
            Self::Presence(_, event) => event.position,
        }
    }

    /// Its position, and which of its publication's channels this is.
    pub(super) fn rank(&self) -> (u64, u8) {
        match self {
            Self::Message(message) => (message.position, message.nth),
            Self::Presence(_, event) => (event.position, 0),
        }
    }

    /// Its offset; of one that has none that of the kept message that comes next.
    pub(super) fn offset(&self) -> u64 {
        match self {
            Self::Message(message) => message.offset,
            Self::Presence(next, _) => *next,
        }
    }

    /// Offset of the kept message that comes next.
    pub(super) fn next_offset(&self) -> u64 {
        match self {
            Self::Message(message) => message.next_offset(),
            Self::Presence(next, _) => *next,
        }
    }

    /// Whether it is for those who follow now, has no offset, and is lost in silence.
    pub(super) fn is_ephemeral(&self) -> bool {
        match self {
            Self::Message(message) => message.ephemeral,
            Self::Presence(..) => true,
        }
    }

    /// The connection that does not get it.
    pub(super) fn except(&self) -> Option<Origin> {
        match self {
            Self::Message(message) => message.except,
            Self::Presence(..) => None,
        }
    }

    /// What it costs, as budgets count it.
    pub(super) fn cost(&self) -> usize {
        match self {
            Self::Message(message) => message.cost(),
            Self::Presence(_, event) => event.cost(),
        }
    }

    /// Bytes of what it says: no encoding that says it makes it shorter.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Message(message) => message.data.len(),
            Self::Presence(_, event) => event.bytes(),
        }
    }

    /// Appends it as it stands in a lane: behind what separates it from the one before, or nothing
    /// at all where the dialect does not tell it.
    pub(super) fn render(
        &self,
        view: Option<&str>,
        encoding: Encoding,
        epoch: Epoch,
        out: &mut Vec<u8>,
    ) {
        let separator = encoding.framing().separator();
        match self {
            Self::Message(message) => {
                out.extend_from_slice(separator);
                encoding.message(&MessageView { view, ..message.view(epoch) }, out);
            }
            Self::Presence(_, event) if encoding.tells_presence() => {
                out.extend_from_slice(separator);
                encoding.presence(&PresenceView { view, ..event.view() }, out);
            }
            Self::Presence(..) => {}
        }
    }
}
