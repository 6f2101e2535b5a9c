//! One message, as the sequencer made it: immutable and shared from then on.

use std::ops::Deref;
use std::sync::Arc;

use fanfare_protocol::id::{Epoch, Id};
use fanfare_protocol::message::{Kept, Kind, MessageView};

use crate::channel::{ChannelId, ChannelName};
use crate::clock::Millis;
use crate::origin::Origin;

/// A message with its place in the order. Shared by history, the broadcast ring and every shard.
#[derive(Debug)]
pub struct Message {
    /// The channel record that it was published to.
    pub channel: ChannelId,
    /// That channel's full name.
    pub name: Arc<ChannelName>,
    /// Where it stands in the log: strictly increasing over all channels, not dense.
    pub position: u64,
    /// Which of its publication's channels this one is, from 0. Those of one position are one
    /// publication: who follows several of them gets it once, with the first.
    pub nth: u8,
    /// Dense within the channel record, from 1. Of an ephemeral message, which has none, that of
    /// the kept one that comes next.
    pub offset: u64,
    /// Whether it is for those who follow now and for nobody else: kept by no history, and lost in
    /// silence by whoever is too slow for it.
    pub ephemeral: bool,
    /// The connection that does not get it.
    pub except: Option<Origin>,
    /// First offset that the channel's history still keeps after this message was appended;
    /// `offset + 1` where it keeps none. A shard's log never drops what this still promises.
    pub floor: u64,
    /// The time of its record in the log.
    pub at: Millis,
    /// What the payload is.
    pub kind: Kind,
    /// The publisher's name for the kind of event.
    pub event: Option<Box<str>>,
    /// The publisher's bytes.
    pub data: Data,
    /// Nothing.
    pub filling: Filling,
}

/// Makes a message 128 bytes long, with the counts of its `Arc`. The allocator would give it as
/// many for 112, and give them slowly: for what is aligned to eight bytes it takes more than was
/// asked for wherever a size is no power of two, and then never has a page of just that size to
/// take from at once (mimalloc 3, `mi_malloc_is_naturally_aligned`).
#[derive(Clone, Copy, Debug, Default)]
pub struct Filling {
    _words: [u64; 2],
}

const _: () = assert!(size_of::<Message>() + 2 * size_of::<usize>() == 128);

/// The publisher's bytes: of one message, or of all that are one publication.
#[derive(Clone, Debug)]
pub enum Data {
    /// Its own.
    Own(Box<[u8]>),
    /// Of several.
    Shared(Arc<Box<[u8]>>),
}

const _: () = assert!(size_of::<Data>() == size_of::<Box<[u8]>>(), "plain messages pay nothing");

impl Deref for Data {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Own(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

impl<T: Into<Box<[u8]>>> From<T> for Data {
    fn from(bytes: T) -> Self {
        Self::Own(bytes.into())
    }
}

impl Message {
    /// Bytes that keeping this message costs, as the budgets count it: payload, event name and a
    /// fixed share for the structures that hold it. Of a publication in several channels each
    /// counts the payload, which is there once: what one of them keeps does not hang on the others.
    pub fn cost(&self) -> usize {
        cost(self.data.len(), self.event.as_deref())
    }

    /// Offset of the next kept message of the channel.
    pub fn next_offset(&self) -> u64 {
        self.offset + u64::from(!self.ephemeral)
    }

    /// The message as codecs see it.
    pub fn view(&self, epoch: Epoch) -> MessageView<'_> {
        let id = Id { epoch, position: self.position };
        MessageView {
            channel: &self.name.name,
            view: None,
            kept: (!self.ephemeral).then_some(Kept { id, offset: self.offset }),
            event: self.event.as_deref(),
            kind: self.kind,
            data: &self.data,
        }
    }
}

/// What budgets count for a message beyond its bytes: the `Arc`, its fields and a slot in a queue.
pub(crate) const OVERHEAD_BYTES: usize = 160;

/// Bytes of a publication in so many channels, whose payload is there once.
pub fn cost_in(channels: usize, data_bytes: usize, event: Option<&str>) -> usize {
    data_bytes + channels * cost(0, event)
}

/// [`Message::cost`] before there is a message.
pub fn cost(data_bytes: usize, event: Option<&str>) -> usize {
    OVERHEAD_BYTES + data_bytes + event.map_or(0, str::len)
}
