//! A checkpoint as bytes, record by record.

use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher24};

use super::{End, RECORD_BYTES, RECORD_BYTES_MAX};
use crate::record::{self, HEADER_BYTES, Header, ITEMS_MAX, Item};

/// A checkpoint under way.
#[derive(Debug)]
pub struct Writer {
    /// Of the next record.
    header: Header,
    /// Whole records, each behind its length, and the one that is under way.
    bytes: Vec<u8>,
    /// Where the one under way begins, with its length; the end of the bytes where none is.
    record_at: usize,
    /// How many items it has.
    count: u16,
    digest: SipHasher24,
}

impl Writer {
    /// Begins a checkpoint whose records have this header, and numbers from 0.
    pub fn new(header: Header) -> Self {
        let (header, digest) = (Header { number: 0, ..header }, SipHasher24::new());
        Self { header, bytes: Vec::new(), record_at: 0, count: 0, digest }
    }

    /// Appends an item; the order in which they may come is [said above](super).
    ///
    /// # Panics
    /// When a name or a number of deltas does not fit its field: limits are far below.
    pub fn item(&mut self, item: &Item<'_>) {
        if self.record_at == self.bytes.len() {
            self.bytes.extend_from_slice(&[0; 4]);
            record::Writer::new(&self.header, &mut self.bytes);
        }
        record::write::append(item, &mut self.bytes);
        self.count += 1;
        if self.count == ITEMS_MAX || self.bytes.len() - self.record_at >= RECORD_BYTES {
            self.close();
        }
    }

    /// Bytes that wait to be taken.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing waits to be taken.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Appends what there is to `out`, in whole records.
    pub fn take(&mut self, out: &mut Vec<u8>) {
        self.close();
        out.append(&mut self.bytes);
        self.record_at = 0;
    }

    /// Writes the end, and appends all that there is to `out`.
    pub fn end(mut self, out: &mut Vec<u8>) {
        self.close();
        let digest = self.digest.finish128();
        self.item(&Item::End(End { digest: [digest.h1, digest.h2] }));
        self.take(out);
    }

    /// Ends the record that is under way.
    fn close(&mut self) {
        let record = &mut self.bytes[self.record_at..];
        let Some(length) = record.len().checked_sub(4) else { return };
        assert!(length <= RECORD_BYTES_MAX, "limits of names are far below");
        record[..4].copy_from_slice(&(length as u32).to_le_bytes());
        record[4 + HEADER_BYTES - 2..4 + HEADER_BYTES].copy_from_slice(&self.count.to_le_bytes());
        self.digest.write(record);
        self.header.number += 1;
        (self.record_at, self.count) = (self.bytes.len(), 0);
    }
}
