//! A message as tests of fan-out need it: all of it is one channel's, and text.

use std::sync::Arc;

use fanfare_protocol::message::Kind;

use crate::channel::{ChannelId, ChannelName, Tenant};
use crate::clock::Millis;
use crate::message::{Filling, Message};

/// Whose it is.
pub(super) fn name() -> Arc<ChannelName> {
    Arc::new(ChannelName::new(Tenant::default(), "c"))
}

/// A message of these bytes, of a channel whose history begins with offset `floor`.
pub(super) fn message(
    position: u64,
    offset: u64,
    ephemeral: bool,
    floor: u64,
    data: Vec<u8>,
) -> Arc<Message> {
    Arc::new(Message {
        channel: ChannelId(1),
        name: name(),
        position,
        nth: 0,
        offset,
        ephemeral,
        except: None,
        floor,
        at: Millis::default(),
        kind: Kind::Text,
        event: None,
        data: data.into(),
        filling: Filling::default(),
    })
}
