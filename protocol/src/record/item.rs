//! Items of a record, as they are read.

use super::checkpoint::{Begin, End, Key, LifeItem, Positions, Time};
use super::digest::Secret;
use super::header::FIRST_REQUIRED;
use super::presence::Presence;
use super::publication::Publication;
use super::violation::{Fault, Violation, violation};
use crate::message::Change;
use crate::reader::Reader;

/// Numbers of items.
pub(super) mod number {
    pub(in super::super) const JOIN: u8 = 1;
    pub(in super::super) const LEAVE: u8 = 2;
    pub(in super::super) const PUBLICATION: u8 = 128;
    pub(in super::super) const HEARTBEAT: u8 = 129;
    pub(in super::super) const GENESIS: u8 = 130;
    pub(in super::super) const BEGIN: u8 = 131;
    pub(in super::super) const LIFE: u8 = 132;
    pub(in super::super) const KEY: u8 = 133;
    pub(in super::super) const POSITIONS: u8 = 134;
    pub(in super::super) const TIME: u8 = 135;
    pub(in super::super) const END: u8 = 136;
}

/// One item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A message.
    Publication(Publication<'a>),
    /// Somebody came to a channel or left it. It changes no place, no offset and no life, so who
    /// does not know it computes the same.
    Presence(Presence<'a>),
    /// Time has passed, and nothing else happened.
    Heartbeat,
    /// The order begins anew in the epoch of the record, under this secret.
    Genesis(Secret),
    /// Of a checkpoint: what is one for the whole order.
    Begin(Begin),
    /// Of a checkpoint: the present life of one channel.
    Life(LifeItem<'a>),
    /// Of a checkpoint: one idempotency key.
    Key(Key<'a>),
    /// Of a checkpoint: where messages of the channel before it stand.
    Positions(Positions<'a>),
    /// Of a checkpoint: the first position of a time.
    Time(Time),
    /// Of a checkpoint: it is whole.
    End(End),
}

/// The items of a record that was read, with their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Items<'a> {
    reader: Reader<'a>,
    next: u16,
    /// How many there are, those that are skipped too.
    pub(super) count: u16,
}

impl<'a> Items<'a> {
    pub(super) fn new(reader: Reader<'a>, count: u16) -> Self {
        Self { reader, next: 0, count }
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = (u16, Item<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        while self.next < self.count {
            let number = self.next;
            self.next += 1;
            if let Some(item) = Item::read(&mut self.reader).expect("the record was read") {
                return Some((number, item));
            }
        }
        None
    }
}

impl<'a> Item<'a> {
    /// Reads the next item; `None` where it is to be skipped.
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Option<Self>, Violation> {
        let truncated = violation(reader.at + reader.len() as u64, Fault::Truncated);
        let at = reader.at;
        let number = reader.u8().ok_or(truncated)?;
        let length = reader.u32().ok_or(truncated)?;
        let body_at = reader.at;
        let body = reader.take(length as usize).ok_or(truncated)?;
        let mut body = Reader::new(body, body_at);
        let short = violation(body_at, Fault::ItemLength);
        let item = match number {
            number::PUBLICATION => {
                return Publication::read(body).map(|it| Some(Self::Publication(it)));
            }
            number::JOIN | number::LEAVE => {
                let change = if number == number::JOIN { Change::Join } else { Change::Leave };
                return Presence::read(change, body).map(|it| Some(Self::Presence(it)));
            }
            number::HEARTBEAT => Some(Self::Heartbeat),
            number::GENESIS => body.array().map(|it| Self::Genesis(Secret(it))),
            number::BEGIN => Begin::read(&mut body).map(Self::Begin),
            number::LIFE => LifeItem::read(&mut body)?.map(Self::Life),
            number::KEY => Key::read(&mut body).map(Self::Key),
            number::POSITIONS => Positions::read(&mut body).map(Self::Positions),
            number::TIME => Time::read(&mut body).map(Self::Time),
            number::END => End::read(&mut body).map(Self::End),
            unknown if unknown >= FIRST_REQUIRED => {
                return Err(violation(at, Fault::UnknownItem(unknown)));
            }
            _ => return Ok(None),
        };
        if !body.is_empty() {
            return Err(short);
        }
        item.map(Some).ok_or(short)
    }
}
