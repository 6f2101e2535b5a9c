//! One message as a publisher writes it, alone in a PUBLISH frame or among others in a BATCH.
//!
//! ```text
//!  flags  kind   channel length  fields length  data length   channel  fields  data
//!  u8     u8     u16             u16            u32           ...      ...     ...
//!
//!  a field:  number u8   length u16   value ...
//! ```
//!
//! What makes a frame unreadable ends the connection; what is wrong with one message only (its
//! name, its size, its kind) refuses that message, by [`PublishFrame::check`].

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU64;

use super::also::ChannelNames;
use super::code::RefusalCode;
use super::numbers::field;
use super::server::violation::{Fault, Violation};
use crate::limits::{IDEMPOTENCY_KEY_BYTES_MAX, IngestLimits};
use crate::message::Kind;
use crate::names::{is_channel_name, is_event_name, origin_number};
use crate::reader::Reader;
use crate::refusals;

/// The flag of a message that wants an ANSWER of its own.
pub(super) const FLAG_ANSWER: u8 = 1;
const KIND_DETECT: u8 = 3;

/// What a publisher says that its payload is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DeclaredKind {
    /// It says so, and is refused where it is not so.
    Known(Kind),
    /// The server looks: JSON where it is valid, else text where it is UTF-8, else binary.
    #[default]
    Detect,
}

impl DeclaredKind {
    /// Its number on the wire.
    pub fn number(self) -> u8 {
        match self {
            Self::Known(kind) => kind as u8,
            Self::Detect => KIND_DETECT,
        }
    }

    /// The kind with this number on the wire, if there is one.
    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            KIND_DETECT => Some(Self::Detect),
            _ => Kind::from_number(number).map(Self::Known),
        }
    }
}

/// One message, borrowed, with nothing checked yet but its shape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PublishFrame<'a> {
    /// Whether it wants an ANSWER of its own.
    pub answer: bool,
    /// What `data` is.
    pub kind: DeclaredKind,
    /// Where to; at most 65,535 bytes.
    pub channel: &'a [u8],
    /// The publisher's name for the kind of event.
    pub event: Option<&'a [u8]>,
    /// The publisher's key for this message.
    pub idempotency_key: Option<&'a [u8]>,
    /// Whether it is for those who follow now alone, and kept by nobody.
    pub ephemeral: bool,
    /// The origin of the connection that does not get it, as that was told it.
    pub except: Option<&'a [u8]>,
    /// Where to as well, beside `channel`.
    pub also: ChannelNames<'a>,
    /// The payload.
    pub data: &'a [u8],
    /// The first field that must be understood and is not.
    pub unknown_required: Option<u8>,
}

/// A message that may be published, but for one thing: whether it is JSON, where it says so or
/// leaves that open, is for the caller to find out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckedPublish<'a> {
    /// Where to.
    pub channel: &'a str,
    /// The publisher's name for the kind of event.
    pub event: Option<&'a str>,
    /// The publisher's key for this message.
    pub idempotency_key: Option<&'a [u8]>,
    /// Whether it is for those who follow now alone, and kept by nobody.
    pub ephemeral: bool,
    /// The origin of the connection that does not get it.
    pub except: Option<NonZeroU64>,
    also: ChannelNames<'a>,
    /// What `data` is; text has been checked.
    pub kind: DeclaredKind,
    /// The payload, not empty.
    pub data: &'a [u8],
}

impl<'a> CheckedPublish<'a> {
    /// Whether it goes to one channel alone.
    pub fn is_for_one(&self) -> bool {
        self.also.is_empty()
    }

    /// Where to as well, beside `channel`: no name twice.
    pub fn also(&self) -> impl Iterator<Item = &'a str> {
        self.also.map(|name| text(name).expect("it was checked"))
    }
}

/// Why one message is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// For machines.
    pub code: RefusalCode,
    /// For people: what happened and what to do.
    pub text: Cow<'static, str>,
}

impl Refusal {
    /// What said it was JSON is not, as `reason` says of "the data": for the caller of
    /// [`PublishFrame::check`].
    pub fn not_json(reason: impl fmt::Display) -> Self {
        let text =
            format!("the data {reason}; publish it as text, or let the kind be detected").into();
        Self { code: RefusalCode::BAD_DATA, text }
    }

    /// The message is longer than may be, as `text` says: for the caller of
    /// [`PublishFrame::check`], who knows what becomes of it.
    pub fn too_large(text: impl fmt::Display) -> Self {
        Self { code: RefusalCode::TOO_LARGE, text: text.to_string().into() }
    }
}

impl<'a> PublishFrame<'a> {
    /// A message whose kind is detected and that is covered by a cumulative acknowledgement.
    pub fn new(channel: &'a str, data: &'a [u8]) -> Self {
        Self { channel: channel.as_bytes(), data, ..Self::default() }
    }

    /// Whether it may be published.
    ///
    /// # Errors
    /// What a REFUSED frame should say.
    pub fn check(&self, limits: &IngestLimits) -> Result<CheckedPublish<'a>, Refusal> {
        self.check_after(None, limits)
    }

    /// As [`PublishFrame::check`], where it is known that a channel may be called `good`: most
    /// publishers stay with a channel for a while. Where this is that channel, its name in what is
    /// returned is `good` itself.
    ///
    /// # Errors
    /// As [`PublishFrame::check`].
    #[inline] // for each message, and what it returns is long
    pub fn check_after(
        &self,
        good: Option<&'a str>,
        limits: &IngestLimits,
    ) -> Result<CheckedPublish<'a>, Refusal> {
        let refuse = |code, text: &'static str| Err(Refusal { code, text: text.into() });
        if self.unknown_required.is_some() {
            const TEXT: &str = "the message has a field that must be understood and is not known \
                here; use a newer server, or do without it";
            return refuse(RefusalCode::UNKNOWN_FIELD, TEXT);
        }
        let good = good.filter(|good| good.as_bytes() == self.channel);
        let checked = || text(self.channel).filter(|name| is_channel_name(name));
        let Some(channel) = good.or_else(checked) else {
            return refuse(RefusalCode::BAD_CHANNEL, refusals::BAD_CHANNEL);
        };
        if !self.also.is_empty() {
            self.check_also(limits)?;
        }
        let event = self.event.map(|name| text(name).filter(|name| is_event_name(name)));
        if event == Some(None) {
            return refuse(RefusalCode::BAD_EVENT, refusals::BAD_EVENT);
        }
        let key_bytes = self.idempotency_key.map_or(1, <[u8]>::len);
        if !(1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&key_bytes) {
            return refuse(RefusalCode::BAD_KEY, refusals::BAD_KEY);
        }
        let except = self.except.map(origin_number);
        if except == Some(None) {
            return refuse(RefusalCode::BAD_EXCEPT, refusals::BAD_EXCEPT);
        }
        if self.data.is_empty() {
            return refuse(RefusalCode::BAD_DATA, refusals::EMPTY);
        }
        if self.data.len() > limits.message_bytes as usize {
            let (bytes, most) = (self.data.len(), limits.message_bytes);
            return Err(Refusal::too_large(refusals::too_large(bytes, most as usize)));
        }
        if self.kind == DeclaredKind::Known(Kind::Text) && text(self.data).is_none() {
            return refuse(RefusalCode::BAD_DATA, "the text is not UTF-8; publish it as binary");
        }
        Ok(CheckedPublish {
            channel,
            event: event.flatten(),
            idempotency_key: self.idempotency_key,
            ephemeral: self.ephemeral,
            except: except.flatten(),
            also: self.also,
            kind: self.kind,
            data: self.data,
        })
    }

    fn check_also(&self, limits: &IngestLimits) -> Result<(), Refusal> {
        for (nth, name) in self.also.enumerate() {
            if !text(name).is_some_and(is_channel_name) {
                let text = refusals::BAD_CHANNEL.into();
                return Err(Refusal { code: RefusalCode::BAD_CHANNEL, text });
            }
            let is_known = name == self.channel || self.also.take(nth).any(|other| other == name);
            if is_known || nth + 2 > limits.channels as usize {
                let text = refusals::bad_channels(limits.channels as usize).into();
                return Err(Refusal { code: RefusalCode::BAD_CHANNELS, text });
            }
        }
        Ok(())
    }

    /// Reads one message off the front of a frame.
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, Violation> {
        let overrun = Violation::malformed(reader.at, Fault::MessageOverrun);
        let at = reader.at;
        let flags = reader.u8().ok_or(overrun)?;
        if flags & !FLAG_ANSWER != 0 {
            return Err(Violation::malformed(at, Fault::UnknownFlag));
        }
        let at = reader.at;
        let kind = reader.u8().ok_or(overrun)?;
        let kind =
            DeclaredKind::from_number(kind).ok_or(Violation::malformed(at, Fault::UnknownKind))?;
        let channel_bytes = reader.u16().ok_or(overrun)?;
        let fields_bytes = reader.u16().ok_or(overrun)?;
        let data_bytes = reader.u32().ok_or(overrun)?;
        let channel = reader.take(channel_bytes.into()).ok_or(overrun)?;
        let fields_at = reader.at;
        let fields = reader.take(fields_bytes.into()).ok_or(overrun)?;
        let data = reader.take(data_bytes as usize).ok_or(overrun)?;
        let answer = flags & FLAG_ANSWER != 0;
        let mut message = Self { answer, kind, channel, data, ..Self::default() };
        message.read_fields(Reader::new(fields, fields_at))?;
        Ok(message)
    }

    fn read_fields(&mut self, mut fields: Reader<'a>) -> Result<(), Violation> {
        let mut before = 0;
        while !fields.is_empty() {
            let at = fields.at;
            let overrun = Violation::malformed(at, Fault::FieldOverrun);
            let number = fields.u8().ok_or(overrun)?;
            if number <= before {
                return Err(Violation::malformed(at, Fault::FieldOrder));
            }
            before = number;
            let length = fields.u16().ok_or(overrun)?;
            let value = fields.take(length.into()).ok_or(overrun)?;
            match number {
                field::EVENT => self.event = Some(value),
                field::IDEMPOTENCY_KEY => self.idempotency_key = Some(value),
                field::EPHEMERAL if value.is_empty() => self.ephemeral = true,
                field::EPHEMERAL => return Err(Violation::malformed(at, Fault::FieldValue)),
                field::EXCEPT => self.except = Some(value),
                field::ALSO => {
                    let cut = Violation::malformed(at, Fault::FieldOverrun);
                    self.also = ChannelNames::read(value).ok_or(cut)?;
                }
                unknown if unknown >= field::FIRST_REQUIRED => {
                    self.unknown_required.get_or_insert(unknown);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}
