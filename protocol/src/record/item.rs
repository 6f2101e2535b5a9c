//! Items of a record, as they are read.

use super::publication::{Publication, text};
use super::{FIRST_REQUIRED, Fault, Secret, Violation, violation};
use crate::reader::Reader;

/// Numbers of items.
pub(super) mod number {
    pub(in super::super) const PUBLICATION: u8 = 128;
    pub(in super::super) const HEARTBEAT: u8 = 129;
    pub(in super::super) const GENESIS: u8 = 130;
    pub(in super::super) const ORDER: u8 = 131;
    pub(in super::super) const HEAD: u8 = 132;
    pub(in super::super) const KEY: u8 = 133;
}

/// One item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A message.
    Publication(Publication<'a>),
    /// Time has passed, and nothing else happened.
    Heartbeat,
    /// The order begins anew in the epoch of the record, under this secret.
    Genesis(Secret),
    /// Of a checkpoint: what is one for the whole order.
    Order(Order),
    /// Of a checkpoint: the present life of one channel.
    Head(Head<'a>),
    /// Of a checkpoint: one idempotency key.
    Key(Key),
}

/// What is one for the whole order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// The last position that was placed.
    pub position: u64,
    /// The log's time there, in milliseconds.
    pub at: u64,
    /// The last position of any message whose channel was forgotten.
    pub watermark: u64,
    /// A rolling hash of what was assigned up to there.
    pub state: u64,
    /// What keys are digested under.
    pub secret: Secret,
}

/// The present life of one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// The last offset.
    pub offset: u64,
    /// The last message's position.
    pub position: u64,
    /// The log's time when it was last seen to be used.
    pub used: u64,
    /// The first message's position: the life's name.
    pub began: u64,
    /// Who comes from before this position may have missed messages of an earlier life.
    pub unknown_before: u64,
    /// Whose channel it is; empty is the tenant that there always is.
    pub tenant: &'a str,
    /// The channel's name.
    pub name: &'a str,
}

/// One idempotency key, by its digests, and the place of what was published under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Digest of tenant, channel and key.
    pub key: [u64; 2],
    /// Digest of what was published.
    pub body: u64,
    /// Its position.
    pub position: u64,
    /// Its offset.
    pub offset: u64,
    /// The log's time there.
    pub at: u64,
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
            number::HEARTBEAT => Some(Self::Heartbeat),
            number::GENESIS => body.array().map(|it| Self::Genesis(Secret(it))),
            number::ORDER => Order::read(&mut body).map(Self::Order),
            number::HEAD => Head::read(&mut body)?.map(Self::Head),
            number::KEY => Key::read(&mut body).map(Self::Key),
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

impl Order {
    fn read(body: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            position: body.u64()?,
            at: body.u64()?,
            watermark: body.u64()?,
            state: body.u64()?,
            secret: Secret(body.array()?),
        })
    }
}

impl<'a> Head<'a> {
    fn read(body: &mut Reader<'a>) -> Result<Option<Self>, Violation> {
        let name = |body: &mut Reader<'a>| {
            let length = body.u16()?;
            let at = body.at;
            Some((at, body.take(length.into())?))
        };
        let mut read = || {
            let numbers = [body.u64()?, body.u64()?, body.u64()?, body.u64()?, body.u64()?];
            Some((numbers, name(body)?, name(body)?))
        };
        let Some((numbers, tenant, name)) = read() else { return Ok(None) };
        let [offset, position, used, began, unknown_before] = numbers;
        let (tenant, name) = (text(tenant.1, tenant.0)?, text(name.1, name.0)?);
        Ok(Some(Self { offset, position, used, began, unknown_before, tenant, name }))
    }
}

impl Key {
    fn read(body: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            key: [body.u64()?, body.u64()?],
            body: body.u64()?,
            position: body.u64()?,
            offset: body.u64()?,
            at: body.u64()?,
        })
    }
}
