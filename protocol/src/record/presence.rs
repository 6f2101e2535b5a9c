//! A presence event in a record: somebody came to a channel or left it, and that has no place yet.

use super::header::FIRST_REQUIRED;
use super::publication::{field, push_with_length, text};
use super::violation::{Fault, Violation, violation};
use crate::message::Change;
use crate::reader::Reader;

/// A presence event as a record holds it. Which of both it is the item's number says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presence<'a> {
    /// What happened.
    pub change: Change,
    /// Whose channel it is; empty is the tenant that there always is.
    pub tenant: &'a str,
    /// In which channel.
    pub channel: &'a str,
    /// Who it is.
    pub member: &'a str,
    /// What is told of them, as JSON; nothing where that is empty.
    pub info: &'a [u8],
}

impl<'a> Presence<'a> {
    /// Reads an item's body.
    pub(super) fn read(change: Change, mut body: Reader<'a>) -> Result<Self, Violation> {
        let short = violation(body.at, Fault::ItemLength);
        let fields_bytes = body.u16().ok_or(short)?;
        let mut name = || {
            let length = body.u16().ok_or(short)?;
            let at = body.at;
            text(body.take(length.into()).ok_or(short)?, at)
        };
        let (channel, member) = (name()?, name()?);
        let fields_at = body.at;
        let fields = body.take(fields_bytes.into()).ok_or(short)?;
        let tenant = read_tenant(Reader::new(fields, fields_at))?;
        Ok(Self { change, tenant, channel, member, info: body.rest() })
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut fields = Vec::new();
        if !self.tenant.is_empty() {
            fields.push(field::TENANT);
            push_with_length(self.tenant.as_bytes(), &mut fields);
        }
        let bytes = u16::try_from(fields.len()).expect("fields are short");
        out.extend_from_slice(&bytes.to_le_bytes());
        push_with_length(self.channel.as_bytes(), out);
        push_with_length(self.member.as_bytes(), out);
        out.extend_from_slice(&fields);
        out.extend_from_slice(self.info);
    }
}

/// Of the fields the tenant; the others may be skipped, or refuse the record.
fn read_tenant(mut fields: Reader<'_>) -> Result<&str, Violation> {
    let (mut tenant, mut before) = ("", 0);
    while !fields.is_empty() {
        let at = fields.at;
        let wrong = violation(at, Fault::Field);
        let number = fields.u8().filter(|number| *number > before).ok_or(wrong)?;
        before = number;
        let length = fields.u16().ok_or(wrong)?;
        let value_at = fields.at;
        let value = fields.take(length.into()).ok_or(wrong)?;
        match number {
            field::TENANT => tenant = text(value, value_at)?,
            unknown if unknown >= FIRST_REQUIRED => {
                return Err(violation(at, Fault::UnknownField(unknown)));
            }
            _ => {}
        }
    }
    Ok(tenant)
}
