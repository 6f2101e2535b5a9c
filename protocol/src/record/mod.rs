//! Records: what a log of messages is made of, whoever keeps it, and what a checkpoint is made of.
//! A node whose log is its memory writes none; a journal and a broker's log do.
//!
//! A record is what one node appends to the log in one piece. Whoever keeps the log says where a
//! record begins and ends, and whether its bytes are whole; so a record is read as one slice.
//!
//! ```text
//!  version  flags  epoch  incarnation  number  seen  chain  state  count   items
//!  u8       u8     u40    u64          u64     u64   u32    u32    u16     ...
//!
//!  an item:         type u8    length u32   body ...
//!
//!  a publication:   kind u8    channels u8    fields length u16
//!                   channels: length u16, name ...    fields: number u8, length u16, value ...
//!                   data to the end
//!
//!  a join, a leave: fields length u16    channel, member: length u16, text    fields as above
//!                   info to the end
//! ```
//!
//! Numbers are little-endian. **It can grow** as the publish protocol does: items and fields have
//! numbers; below [`FIRST_REQUIRED`] one that is not known is skipped, from there on it refuses the
//! record. What changes a place, an offset or who may see a message is required: a node that
//! skipped it would compute something else than its peers. Items that are skipped count, because
//! positions are counted by them. A number is retired, never reused. Number 3 is that of a node
//! that says goodbye.
//!
//! **A message excludes one connection at most**, by the origin that its publisher names: a
//! backend's `except`, and a client's that does not want to hear what it published itself, are the
//! same cut in what that connection is given. Whose origin it is nobody needs to know for that.
//!
//! A [checkpoint] is a sequence of records, too, each behind its length as [`frames`] reads it.

pub mod checkpoint;
pub mod digest;
pub mod fuzz;
mod header;
mod item;
mod presence;
mod publication;
#[cfg(test)]
mod tests;
mod violation;
mod write;

pub use digest::Secret;
pub use header::{FIRST_REQUIRED, HEADER_BYTES, Header, ITEM_BYTES, ITEMS_MAX, VERSION};
pub use item::{Item, Items};
pub use presence::Presence;
pub use publication::{Channels, Delivery, Publication};
pub use violation::{Fault, Violation};
pub use write::Writer;

use crate::reader::Reader;
use violation::violation;

/// A record that was read, and whose items are all readable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// What stands before them.
    pub header: Header,
    items: Items<'a>,
}

impl<'a> Record<'a> {
    /// Reads a whole record.
    ///
    /// # Errors
    /// Where the record is not one of [`VERSION`], or something in it must be understood and is
    /// not known.
    pub fn read(bytes: &'a [u8]) -> Result<Self, Violation> {
        Self::read_at(bytes, 0)
    }

    fn read_at(bytes: &'a [u8], at: u64) -> Result<Self, Violation> {
        let mut reader = Reader::new(bytes, at);
        let header = Header::read(&mut reader)?;
        let count_at = reader.at;
        let count = reader.u16().ok_or(violation(count_at, Fault::Truncated))?;
        if count > ITEMS_MAX {
            return Err(violation(count_at, Fault::TooManyItems));
        }
        let items = Items::new(reader, count);
        for _ in 0..count {
            Item::read(&mut reader)?;
        }
        match reader.is_empty() {
            true => Ok(Self { header, items }),
            false => Err(violation(reader.at, Fault::TrailingBytes)),
        }
    }

    /// How many items it has, those that are skipped too.
    pub fn count(&self) -> u16 {
        self.items.count
    }

    /// Its items with their numbers, from 0; those that are not known are left out.
    pub fn items(&self) -> Items<'a> {
        self.items
    }
}

/// Takes the next record off a sequence of records that each come after their length (u32);
/// `None` where fewer bytes are there than it has.
///
/// # Errors
/// As [`Record::read`]; the offset counts from the record's length.
pub fn frames<'a>(bytes: &mut &'a [u8]) -> Result<Option<Record<'a>>, Violation> {
    let mut reader = Reader::new(bytes, 0);
    let Some(length) = reader.u32() else { return Ok(None) };
    let Some(record) = reader.take(length as usize) else { return Ok(None) };
    *bytes = &bytes[4 + length as usize..];
    Record::read_at(record, 4).map(Some)
}
