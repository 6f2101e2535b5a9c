//! Tests of the sequencer as a whole.

use std::sync::Arc;

use fanfare_protocol::message::Kind;

use crate::channel::{ChannelId, ChannelName, Tenant};
use crate::clock::Millis;
use crate::message::Message;

/// A message for tests of single structures.
pub(super) fn message(offset: u64, position: u64) -> Arc<Message> {
    Arc::new(Message {
        channel: ChannelId(0),
        name: Arc::new(ChannelName::new(Tenant::default(), "test")),
        position,
        offset,
        floor: 1,
        at: Millis(position),
        kind: Kind::Text,
        event: None,
        data: Box::default(),
    })
}
