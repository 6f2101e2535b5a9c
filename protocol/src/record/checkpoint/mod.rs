//! A checkpoint: what the order knew at one place of the log, so that whoever comes back needs of
//! the log only what history keeps, and what stands behind that place.
//!
//! It is a sequence of records, each behind its length (u32), whose headers are the same but for
//! their numbers, which count from 0. Of their items
//!
//! * [`Begin`] is the first;
//! * each [`LifeItem`] is followed by the [`Positions`] of its channel's messages, oldest first: of
//!   those that are trimmed as far as they are remembered, then of those that are kept, whose bytes
//!   stand in the log at these positions and not here;
//! * [`Key`]s come oldest first, and so do [`Time`]s;
//! * [`End`] is alone in the last record, and digests the bytes of all records before it. What has
//!   no end is no checkpoint: its writer was interrupted.
//!
//! Who reads it believes nothing: numbers that contradict each other are refused as a record is
//! whose bytes are wrong, with the place.

mod items;
mod read;
#[cfg(test)]
mod tests;
mod write;

use std::fmt;

pub use items::{Begin, End, Key, LifeItem, Positions, Time, push_delta};
pub use read::Reader;
pub use write::Writer;

use super::Fault;

/// A record is closed when it has so many bytes; its last item may go over it.
pub const RECORD_BYTES: usize = 64 << 10;
/// Longest record of a checkpoint. A length over it is refused before anybody waits for it.
pub const RECORD_BYTES_MAX: usize = 128 << 10;
/// Most positions of one item.
pub const POSITIONS_MAX: u16 = 256;

// The longest item: so many positions of ten bytes, or a life with two names.
const _: () = assert!(RECORD_BYTES + 10 * POSITIONS_MAX as usize + 200 < RECORD_BYTES_MAX);
const _: () = assert!(RECORD_BYTES + 2 * 0xffff / 4 + 200 < RECORD_BYTES_MAX);

/// Why a checkpoint cannot be read, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Where in the checkpoint, in bytes: the byte that is wrong, or the beginning of the record
    /// whose item is.
    pub offset: u64,
    /// Which record, from 0.
    pub record: u64,
    /// Which of its items, from 0, where its bytes are right.
    pub item: Option<u16>,
    /// What is wrong.
    pub wrong: Wrong,
}

/// What is wrong with a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// A record's bytes.
    Record(Fault),
    /// A record is longer than [`RECORD_BYTES_MAX`].
    TooLong,
    /// A record is of another checkpoint, or one before it is missing.
    Header,
    /// Something stands before the item that is one for the whole order, or that comes twice.
    Begin,
    /// An item that belongs to no checkpoint.
    Item,
    /// A life whose numbers contradict each other, or the order's.
    Life,
    /// Positions that are not those of the life before them, do not rise, or are too few.
    Positions,
    /// A key from after the checkpoint, or older than the one before it.
    Key,
    /// A time from after the checkpoint, or that does not rise with its position.
    Time,
    /// A channel stands twice, or has a name that no channel has.
    Channel,
    /// The bytes are not those that were written.
    Digest,
    /// Something follows the end.
    BehindEnd,
    /// There is no end.
    NoEnd,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offset, record, item, wrong } = self;
        write!(f, "byte {offset}, record {record}")?;
        item.map_or(Ok(()), |item| write!(f, ", item {item}"))?;
        let what = match wrong {
            Wrong::Record(fault) => return write!(f, ": it cannot be read ({fault:?})"),
            Wrong::TooLong => "it is longer than any record of a checkpoint",
            Wrong::Header => "it belongs to another checkpoint, or one before it is missing",
            Wrong::Begin => "the order's own numbers come first, and once",
            Wrong::Item => "this belongs to no checkpoint",
            Wrong::Life => "the channel's numbers contradict each other",
            Wrong::Positions => "the positions are not those of the channel before them",
            Wrong::Key => "the key is out of order",
            Wrong::Time => "the time is out of order",
            Wrong::Channel => "the channel stands here twice, or has no name that channels have",
            Wrong::Digest => "the bytes before it are not those that were written",
            Wrong::BehindEnd => "something follows the end",
            Wrong::NoEnd => "the checkpoint was not finished",
        };
        write!(f, ": {what}")
    }
}

impl std::error::Error for Unreadable {}
