//! What a publisher said and what a client may be told about it, as the codecs see it.

use std::sync::Arc;

use crate::id::Id;

/// What the bytes of a payload are. Decided once, where the message enters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Valid JSON (RFC 8259): may stand inside another JSON document as it is.
    Json = 0,
    /// Valid UTF-8 that is not JSON.
    Text = 1,
    /// Any bytes.
    Binary = 2,
}

impl Kind {
    /// The kind with this number on the wire, if there is one.
    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Json),
            1 => Some(Self::Text),
            2 => Some(Self::Binary),
            _ => None,
        }
    }
}

/// What a presence event says of somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// Is there from here on.
    Join,
    /// Is there no more.
    Leave,
}

/// A presence event of a channel as a codec renders it.
#[derive(Clone, Copy, Debug)]
pub struct PresenceView<'a> {
    /// The channel's name, without its tenant.
    pub channel: &'a str,
    /// As in [`MessageView`].
    pub view: Option<&'a str>,
    /// What happened.
    pub change: Change,
    /// Who it is.
    pub member: &'a str,
    /// What is told of them, as JSON; nothing where that is empty.
    pub info: &'a [u8],
}

/// One message as a codec renders it. Holds nothing of the connection that it goes to.
#[derive(Clone, Copy, Debug)]
pub struct MessageView<'a> {
    /// The channel's name, without its tenant.
    pub channel: &'a str,
    /// The view of those whom it is rendered for: see [`crate::dialect::Codec`].
    pub view: Option<&'a str>,
    /// Its numbers; `None` of an ephemeral message, which nobody can come back to.
    pub kept: Option<Kept>,
    /// The publisher's name for the kind of event.
    pub event: Option<&'a str>,
    /// What `data` is.
    pub kind: Kind,
    /// The publisher's bytes.
    pub data: &'a [u8],
}

/// The numbers of a message that history may keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Epoch and position.
    pub id: Id,
    /// Dense number within the channel, from 1.
    pub offset: u64,
}

/// Where a message stands in one channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChannelReceipt {
    /// Within the channel, from 1; 0 of an ephemeral message.
    pub offset: u64,
    /// Connections that follow the channel at that position.
    pub subscribers: u64,
}

/// A message has its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Epoch and position.
    pub id: Id,
    /// Dense number within the channel, from 1; 0 of an ephemeral message, which has none.
    pub offset: u64,
    /// Connections of this node that follow the channel at that position.
    pub subscribers: u64,
    /// Whether the place was given earlier, to the same message under the same key.
    pub duplicate: bool,
    /// Its places in further channels, in the order in which they were named; of nearly every
    /// message there are none, and nothing is held for them.
    pub also: Option<Arc<Vec<ChannelReceipt>>>,
}

impl Published {
    /// Its places in further channels.
    pub fn also(&self) -> &[ChannelReceipt] {
        self.also.as_ref().map_or(&[], |also| also.as_slice())
    }
}

/// Messages of one channel that a client will not get, as it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GapView<'a> {
    /// The channel's name, without its tenant.
    pub channel: &'a str,
    /// As in [`MessageView`].
    pub view: Option<&'a str>,
    /// First and last missed offset, inclusive; `None` where it cannot be known exactly.
    pub bounds: Option<(u64, u64)>,
    /// Why they are gone.
    pub reason: GapReason,
}

/// Why messages of a gap cannot be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GapReason {
    /// History dropped them for its count, its bytes, or the node's budget.
    Trimmed,
    /// History dropped them for their age.
    Expired,
    /// The client was too slow and fell out of the live window.
    Slow,
    /// They are longer than the client takes.
    Size,
    /// The client's position belongs to another life of the node.
    Epoch,
    /// What was missed cannot be told: no readable position, one in the future, or a forgotten
    /// channel.
    Unknown,
}

impl GapReason {
    /// The word that clients see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trimmed => "trimmed",
            Self::Expired => "expired",
            Self::Slow => "slow",
            Self::Size => "size",
            Self::Epoch => "epoch",
            Self::Unknown => "unknown",
        }
    }
}
