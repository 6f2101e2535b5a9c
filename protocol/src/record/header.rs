//! What stands before a record's items, and the numbers of the format.

use super::violation::{Fault, Violation, violation};
use crate::id::Epoch;
use crate::reader::Reader;

/// The version that is written and read.
pub const VERSION: u8 = 1;
/// From this number on what is not known refuses the record.
pub const FIRST_REQUIRED: u8 = 128;
/// Most items of a record. Positions are a record's number times 4,096 plus the item's.
pub const ITEMS_MAX: u16 = 4_095;
/// Bytes before the items.
pub const HEADER_BYTES: usize = 1 + 1 + 5 + 8 + 8 + 8 + 4 + 4 + 2;
/// Bytes of an item before its body.
pub const ITEM_BYTES: usize = 1 + 4;

/// What stands before a record's items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The epoch that its writer was in.
    pub epoch: Epoch,
    /// Random for each start of its writer: two nodes of one name are told apart.
    pub incarnation: u64,
    /// Its number among the records of its writer.
    pub number: u64,
    /// The last record of the log that its writer had applied.
    pub seen: u64,
    /// A rolling hash of the log's bytes up to there: is it the same log?
    pub chain: u32,
    /// A rolling hash of what was assigned up to there: was the same computed?
    pub state: u32,
}

impl Header {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Violation> {
        let truncated = violation(reader.at + reader.len() as u64, Fault::Truncated);
        let at = reader.at;
        if reader.u8().ok_or(truncated)? != VERSION {
            return Err(violation(at, Fault::Version));
        }
        if reader.u8().ok_or(truncated)? != 0 {
            return Err(violation(at + 1, Fault::Flag));
        }
        let [a, b, c, d, e] = reader.array::<5>().ok_or(truncated)?;
        Ok(Self {
            epoch: Epoch::from_random(u64::from_le_bytes([a, b, c, d, e, 0, 0, 0])),
            incarnation: reader.u64().ok_or(truncated)?,
            number: reader.u64().ok_or(truncated)?,
            seen: reader.u64().ok_or(truncated)?,
            chain: reader.u32().ok_or(truncated)?,
            state: reader.u32().ok_or(truncated)?,
        })
    }
}
