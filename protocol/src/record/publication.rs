//! A publication in a record: what was checked where it entered, and has no place yet.

use std::fmt;
use std::num::NonZeroU64;

use super::header::FIRST_REQUIRED;
use super::violation::{Fault, Violation, violation};
use crate::message::Kind;
use crate::reader::Reader;

/// Numbers of a publication's fields. Retired is 2, which was the connection that published: who is
/// not to hear what it said itself is excluded as any other is, by [`field::EXCEPT`], and that is
/// no field to be skipped, because it says who gets the message.
pub(super) mod field {
    pub(in super::super) const EVENT: u8 = 1;
    pub(in super::super) const TENANT: u8 = 128;
    pub(in super::super) const KEY: u8 = 129;
    pub(in super::super) const DELIVERY: u8 = 130;
    pub(in super::super) const EXCEPT: u8 = 131;
}

/// What becomes of a message beside its delivery to whoever follows now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Delivery {
    /// It has an offset, and history keeps it.
    #[default]
    Kept = 0,
    /// It has neither.
    Ephemeral = 1,
}

/// A message as a record holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publication<'a> {
    /// Whose channels these are; empty is the tenant that there always is.
    pub tenant: &'a str,
    /// Where to: one at least.
    pub channels: Channels<'a>,
    /// What `data` is.
    pub kind: Kind,
    /// The publisher's name for the kind of event.
    pub event: Option<&'a str>,
    /// The publisher's key for this message.
    pub key: Option<&'a [u8]>,
    /// What becomes of it.
    pub delivery: Delivery,
    /// The origin of the connection that does not get it: one that its publisher names, which may
    /// be the connection that published it.
    pub except: Option<NonZeroU64>,
    /// The payload.
    pub data: &'a [u8],
}

/// The names of a publication's channels, as they were read or as they are to be written.
#[derive(Clone, Copy)]
pub struct Channels<'a>(Names<'a>);

#[derive(Clone, Copy)]
enum Names<'a> {
    /// Lengths and names.
    Read(Reader<'a>),
    Given(&'a [&'a str]),
}

impl<'a> Channels<'a> {
    /// These.
    pub fn of(names: &'a [&'a str]) -> Self {
        Self(Names::Given(names))
    }
}

impl<'a> Iterator for Channels<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        match &mut self.0 {
            Names::Given(names) => {
                let (first, rest) = names.split_first()?;
                *names = rest;
                Some(first)
            }
            Names::Read(reader) => {
                let length = reader.u16()?;
                let name = reader.take(length.into()).expect("the record was read");
                Some(std::str::from_utf8(name).expect("the record was read"))
            }
        }
    }
}

impl fmt::Debug for Channels<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(*self).finish()
    }
}

impl PartialEq for Channels<'_> {
    fn eq(&self, other: &Self) -> bool {
        Iterator::eq(*self, *other)
    }
}

impl Eq for Channels<'_> {}

impl<'a> Publication<'a> {
    /// Reads an item's body.
    pub(super) fn read(mut body: Reader<'a>) -> Result<Self, Violation> {
        let short = violation(body.at, Fault::ItemLength);
        let at = body.at;
        let kind = body.u8().ok_or(short)?;
        let kind = Kind::from_number(kind).ok_or(violation(at, Fault::Kind))?;
        let count = body.u8().ok_or(short)?;
        if count == 0 {
            return Err(violation(at + 1, Fault::NoChannel));
        }
        let fields_bytes = body.u16().ok_or(short)?;
        let (names, names_at) = (body, body.at);
        for _ in 0..count {
            let length = body.u16().ok_or(short)?;
            let at = body.at;
            text(body.take(length.into()).ok_or(short)?, at)?;
        }
        let mut names = names;
        let names = names.take((body.at - names_at) as usize).ok_or(short)?;
        let channels = Channels(Names::Read(Reader::new(names, names_at)));
        let fields_at = body.at;
        let fields = body.take(fields_bytes.into()).ok_or(short)?;
        let (event, key, except) = (None, None, None);
        let (tenant, delivery, data) = ("", Delivery::Kept, body.rest());
        let mut read = Self { tenant, channels, kind, event, key, delivery, except, data };
        read.read_fields(Reader::new(fields, fields_at))?;
        Ok(read)
    }

    fn read_fields(&mut self, mut fields: Reader<'a>) -> Result<(), Violation> {
        let mut before = 0;
        while !fields.is_empty() {
            let at = fields.at;
            let wrong = violation(at, Fault::Field);
            let number = fields.u8().ok_or(wrong)?;
            if number <= before {
                return Err(wrong);
            }
            before = number;
            let length = fields.u16().ok_or(wrong)?;
            let value_at = fields.at;
            let value = fields.take(length.into()).ok_or(wrong)?;
            match number {
                field::EVENT => self.event = Some(text(value, value_at)?),
                field::TENANT => self.tenant = text(value, value_at)?,
                field::KEY => self.key = Some(value),
                field::DELIVERY => {
                    self.delivery = match value {
                        [0] => Delivery::Kept,
                        [1] => Delivery::Ephemeral,
                        [_] => return Err(violation(value_at, Fault::Kind)),
                        _ => return Err(wrong),
                    }
                }
                field::EXCEPT => {
                    let origin = u64::from_le_bytes(value.try_into().map_err(|_| wrong)?);
                    self.except = Some(NonZeroU64::new(origin).ok_or(wrong)?);
                }
                unknown if unknown >= FIRST_REQUIRED => {
                    return Err(violation(at, Fault::UnknownField(unknown)));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Appends a length of 16 bits and the bytes that have it.
pub(super) fn push_with_length(bytes: &[u8], out: &mut Vec<u8>) {
    let length = u16::try_from(bytes.len()).expect("names and keys are at most 65,535 bytes");
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(bytes);
}

pub(super) fn text(bytes: &[u8], at: u64) -> Result<&str, Violation> {
    std::str::from_utf8(bytes).map_err(|_| violation(at, Fault::Name))
}
