//! One message as it happened, and the names by which the simulation knows messages and channels.

use fanfare_protocol::message::Kind;

use crate::driver::sim::Client;

/// A client, and the shard that it is connected to.
pub(crate) type ClientAt = (usize, Client);

/// How a message is published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Manner {
    pub(crate) ephemeral: bool,
    /// Who is not to have it.
    pub(crate) except: Option<ClientAt>,
}

/// A message that has an outcome to come.
#[derive(Clone)]
pub(super) struct UnderWay {
    pub(super) channels: Vec<usize>,
    pub(super) kind: Kind,
    pub(super) payload: Vec<u8>,
    pub(super) manner: Manner,
    /// Whether a client publishes it, which hears its outcome itself.
    pub(super) by_client: bool,
    /// Outcomes that are to come: more than one, where it was published again under its key.
    pub(super) asked: u32,
}

/// A message that was published under a key, and may be published again.
#[derive(Clone)]
pub(super) struct Keyed {
    pub(super) number: u64,
    pub(super) channels: Vec<usize>,
    pub(super) kind: Kind,
    pub(super) payload: Vec<u8>,
}

impl Keyed {
    /// Its key.
    pub(super) fn key(&self) -> String {
        format!("k{}", self.number)
    }
}

/// One message that has its place, in one of its channels: those of one publication have one
/// position, and stand in the order in which their channels were named.
pub(crate) struct Fact {
    pub(crate) channel: usize,
    /// Which life of the channel's record: offsets begin again with each.
    pub(crate) life: u32,
    pub(crate) position: u64,
    /// 0 of an ephemeral message.
    pub(crate) offset: u64,
    /// Who is not to have it.
    pub(crate) except: Option<ClientAt>,
    pub(crate) kind: Kind,
    pub(crate) payload: Vec<u8>,
}

impl Fact {
    pub(super) fn is_ephemeral(&self) -> bool {
        self.offset == 0
    }

    /// Whether its longest encoding is longer than that.
    pub(super) fn may_be_longer(&self, bytes: usize) -> bool {
        2 * self.payload.len() + 400 > bytes
    }
}

/// In few words: a payload is known by its number.
impl std::fmt::Debug for Fact {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { channel, life, position, offset, except, kind, payload } = self;
        let (number, bytes) = (number_in(payload).unwrap_or(0), payload.len());
        write!(f, "#{number} at {position}: {channel}/{life}/{offset}, {kind:?} of {bytes}")?;
        except.iter().try_for_each(|client| write!(f, " except {client:?}"))
    }
}

/// The number that a payload of ours begins with.
pub(crate) fn number_in(payload: &[u8]) -> Option<u64> {
    let start = payload.windows(2).position(|two| two == b"#n")? + 2;
    let end = payload[start..].iter().position(|byte| *byte == b';')? + start;
    std::str::from_utf8(&payload[start..end]).ok()?.parse().ok()
}

/// How many channels a world has.
pub(super) const CHANNELS: usize = 5;

pub(crate) fn channel_name(channel: usize) -> String {
    format!("c{channel}")
}

pub(crate) fn channel_of(name: &str) -> usize {
    name[1..].parse().expect("a channel of ours")
}
