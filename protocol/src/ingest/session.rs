//! Sessions, of version 2: what a publisher and a server know of each other beyond a connection.

use super::server::violation::{Fault, Violation};
use crate::id::Epoch;
use crate::limits::SessionLimits;
use crate::reader::Reader;

/// The flag of an OPEN that wants this session or none.
pub(super) const FLAG_RESUME: u8 = 1;
/// The flag of a HELLO to a session that the server has.
pub(super) const FLAG_KNOWN: u8 = 1;

/// The name of a session: 128 random bits that its publisher has drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub [u8; 16]);

/// A publisher opens a session, or takes one up again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    /// Which one.
    pub session: SessionId,
    /// Whether messages were sent in it before: then it is this one that is wanted, and none where
    /// it is not known.
    pub resumes: bool,
    /// The publisher has seen the outcomes of all messages up to this one.
    pub confirmed: u64,
}

/// Where a session stands, as HELLO tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whether the server had it already.
    pub known: bool,
    /// The last message that the server took in it: the next one that it reads is the one after.
    pub taken: u64,
    /// How long and how many.
    pub limits: SessionLimits,
    /// The first epoch of this server's life: whatever epochs it has had since, what it took under
    /// one of them it may have published.
    pub life: Epoch,
}

impl Open {
    /// Reads the body of an OPEN frame.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Violation> {
        let short = Violation::malformed(reader.at, Fault::Short);
        let flags_at = reader.at;
        let flags = reader.u8().ok_or(short)?;
        if flags & !FLAG_RESUME != 0 {
            return Err(Violation::malformed(flags_at, Fault::UnknownFlag));
        }
        let session = SessionId(reader.array().ok_or(short)?);
        let confirmed = reader.u64().ok_or(short)?;
        Ok(Self { session, resumes: flags & FLAG_RESUME != 0, confirmed })
    }
}

impl Standing {
    /// Reads what a HELLO of this epoch has behind the limits of version 1. The servers that first
    /// spoke version 2 had one epoch for life, and said no more than that.
    pub(super) fn read(reader: &mut Reader<'_>, epoch: Epoch) -> Option<Self> {
        Some(Self {
            known: reader.u8()? & FLAG_KNOWN != 0,
            taken: reader.u64()?,
            limits: SessionLimits {
                unconfirmed: reader.u32()?,
                sessions: reader.u32()?,
                age_s: reader.u32()?,
            },
            life: match reader.is_empty() {
                true => epoch,
                false => Epoch::from_random(reader.u64()?),
            },
        })
    }
}
