//! Records as bytes, appended to a `Vec` that the caller keeps.

use super::header::{Header, ITEM_BYTES, ITEMS_MAX, VERSION};
use super::item::Item;
use super::item::number;
use super::publication::{Delivery, Publication, field, push_with_length};
use crate::message::Change;

/// A record under way: its header is written, its items follow one by one.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
    count_at: usize,
    count: u16,
}

impl<'a> Writer<'a> {
    /// Begins a record at the end of `out`.
    pub fn new(header: &Header, out: &'a mut Vec<u8>) -> Self {
        out.extend_from_slice(&[VERSION, 0]);
        out.extend_from_slice(&header.epoch.number().to_le_bytes()[..5]);
        for number in [header.incarnation, header.number, header.seen] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for hash in [header.chain, header.state] {
            out.extend_from_slice(&hash.to_le_bytes());
        }
        let count_at = out.len();
        out.extend_from_slice(&[0; 2]);
        Self { out, count_at, count: 0 }
    }

    /// How many items it has.
    pub fn count(&self) -> u16 {
        self.count
    }

    /// Appends an item.
    ///
    /// # Panics
    /// When the record has [`ITEMS_MAX`] already, when a publication has no channel or more than
    /// 255, or when a length does not fit its field: 65,535 bytes for names, keys and all fields
    /// together, 4 GiB for the item. Limits are far below.
    pub fn item(&mut self, item: &Item<'_>) {
        assert!(self.count < ITEMS_MAX, "a record has room");
        append(item, self.out);
        self.count += 1;
        self.out[self.count_at..self.count_at + 2].copy_from_slice(&self.count.to_le_bytes());
    }
}

/// Appends an item, and says nothing of it in the record's header.
pub(super) fn append(item: &Item<'_>, out: &mut Vec<u8>) {
    let at = out.len();
    out.extend_from_slice(&[0; ITEM_BYTES]);
    out[at] = match item {
        Item::Publication(publication) => {
            body_of(publication, out);
            number::PUBLICATION
        }
        Item::Presence(presence) => {
            presence.write(out);
            match presence.change {
                Change::Join => number::JOIN,
                Change::Leave => number::LEAVE,
            }
        }
        Item::Heartbeat => number::HEARTBEAT,
        Item::Genesis(secret) => {
            out.extend_from_slice(&secret.0);
            number::GENESIS
        }
        Item::Begin(order) => {
            order.write(out);
            number::BEGIN
        }
        Item::Life(life) => {
            life.write(out);
            number::LIFE
        }
        Item::Key(key) => {
            key.write(out);
            number::KEY
        }
        Item::Positions(positions) => {
            positions.write(out);
            number::POSITIONS
        }
        Item::Time(time) => {
            time.write(out);
            number::TIME
        }
        Item::End(end) => {
            end.write(out);
            number::END
        }
    };
    let length = out.len() - at - ITEM_BYTES;
    let length = u32::try_from(length).expect("an item is shorter than 4 GiB");
    out[at + 1..at + ITEM_BYTES].copy_from_slice(&length.to_le_bytes());
}

fn body_of(publication: &Publication<'_>, out: &mut Vec<u8>) {
    let count = u8::try_from(publication.channels.count()).expect("255 channels at most");
    assert!(count > 0, "a publication has a channel");
    out.extend_from_slice(&[publication.kind as u8, count]);
    let fields_bytes_at = out.len();
    out.extend_from_slice(&[0; 2]);
    publication.channels.for_each(|name| push_with_length(name.as_bytes(), out));
    let fields_at = out.len();
    fields(publication, out);
    let bytes = u16::try_from(out.len() - fields_at).expect("fields are short");
    out[fields_bytes_at..fields_bytes_at + 2].copy_from_slice(&bytes.to_le_bytes());
    out.extend_from_slice(publication.data);
}

fn fields(publication: &Publication<'_>, out: &mut Vec<u8>) {
    let mut write = |number: u8, value: &[u8]| {
        out.push(number);
        push_with_length(value, out);
    };
    if let Some(event) = publication.event {
        write(field::EVENT, event.as_bytes());
    }
    if !publication.tenant.is_empty() {
        write(field::TENANT, publication.tenant.as_bytes());
    }
    if let Some(key) = publication.key {
        write(field::KEY, key);
    }
    if publication.delivery != Delivery::Kept {
        write(field::DELIVERY, &[publication.delivery as u8]);
    }
    if let Some(origin) = publication.except {
        write(field::EXCEPT, &origin.get().to_le_bytes());
    }
}
