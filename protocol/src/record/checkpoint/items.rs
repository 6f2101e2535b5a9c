//! Items of a checkpoint, as they are read and written.

use crate::reader::Reader;
use crate::record::publication::text;
use crate::record::{Secret, Violation};

/// In place of a time where there is none.
const NEVER: u64 = u64::MAX;

/// The beginning of a checkpoint: what is one for the whole order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begin {
    /// The last position of the log that was applied: what stands behind it is to be applied.
    pub position: u64,
    /// The log's time there, in milliseconds.
    pub at: u64,
    /// The last position of any message whose channel was forgotten.
    pub watermark: u64,
    /// A rolling hash of what was assigned up to there.
    pub state: u64,
    /// What keys are digested under.
    pub secret: Secret,
    /// The log's time when the epoch began, where another one was before it; not all ones.
    pub epoch_began: Option<u64>,
}

/// The present life of one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LifeItem<'a> {
    /// The last offset.
    pub offset: u64,
    /// The last message's position.
    pub position: u64,
    /// The log's time when it was last seen to be used.
    pub used: u64,
    /// The position at that time.
    pub used_at: u64,
    /// How many channels were used before it by the message there.
    pub used_nth: u8,
    /// The first message's position: the life's name.
    pub began: u64,
    /// Who comes from before this position may have missed messages of an earlier life.
    pub unknown_before: u64,
    /// The first offset that history keeps; one more than the last where it keeps none.
    pub floor: u64,
    /// The position of the newest message whose position is not remembered; 0 where all are.
    pub forgotten: u64,
    /// Whether the newest message that is not kept was dropped for its age.
    pub expired: bool,
    /// Whose channel it is; empty is the tenant that there always is.
    pub tenant: &'a str,
    /// The channel's name.
    pub name: &'a str,
}

/// Where messages of the channel before it stand that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Positions<'a> {
    /// The first one's offset.
    pub offset: u64,
    /// The first one's position.
    pub first: u64,
    /// Of messages that are trimmed: how many such blocks of all channels were begun before this
    /// one, and one; the oldest are forgotten first. Of messages that are kept, 0.
    pub begun: u64,
    /// How many there are.
    pub count: u16,
    /// The others, each as the difference to the one before it, which is 1 or more (LEB128).
    pub deltas: &'a [u8],
}

/// One idempotency key, by its digests, and the place of what was published under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key<'a> {
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
    /// Its offsets in further channels, eight bytes each.
    pub also: &'a [u8],
}

/// The first position of a time of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time {
    /// The time.
    pub at: u64,
    /// The position.
    pub position: u64,
    /// Whether times between the one before it and this one may have been left out.
    pub is_coarse: bool,
}

/// The end of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// SipHash-2-4, 128 bits, of all bytes before the record of this item, under a key of zeros.
    pub digest: [u64; 2],
}

impl Begin {
    pub(in crate::record) fn read(body: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            position: body.u64()?,
            at: body.u64()?,
            watermark: body.u64()?,
            state: body.u64()?,
            secret: Secret(body.array()?),
            epoch_began: body.u64().map(|at| (at != NEVER).then_some(at))?,
        })
    }

    pub(in crate::record) fn write(&self, out: &mut Vec<u8>) {
        numbers(&[self.position, self.at, self.watermark, self.state], out);
        out.extend_from_slice(&self.secret.0);
        numbers(&[self.epoch_began.unwrap_or(NEVER)], out);
    }
}

impl<'a> LifeItem<'a> {
    pub(in crate::record) fn read(body: &mut Reader<'a>) -> Result<Option<Self>, Violation> {
        let name = |body: &mut Reader<'a>| {
            let length = body.u16()?;
            let at = body.at;
            Some((at, body.take(length.into())?))
        };
        let mut read = || {
            let mut numbers = [0; 8];
            for number in &mut numbers {
                *number = body.u64()?;
            }
            Some((numbers, body.u8()?, flag(body)?, name(body)?, name(body)?))
        };
        let Some((numbers, used_nth, expired, tenant, name)) = read() else { return Ok(None) };
        let [offset, position, used, used_at, began, unknown_before, floor, forgotten] = numbers;
        let (tenant, name) = (text(tenant.1, tenant.0)?, text(name.1, name.0)?);
        Ok(Some(Self {
            offset,
            position,
            used,
            used_at,
            used_nth,
            began,
            unknown_before,
            floor,
            forgotten,
            expired,
            tenant,
            name,
        }))
    }

    pub(in crate::record) fn write(&self, out: &mut Vec<u8>) {
        let last = [self.offset, self.position, self.used, self.used_at];
        numbers(&last, out);
        numbers(&[self.began, self.unknown_before, self.floor, self.forgotten], out);
        out.extend_from_slice(&[self.used_nth, self.expired.into()]);
        for name in [self.tenant, self.name] {
            let length = u16::try_from(name.len()).expect("names are at most 65,535 bytes");
            out.extend_from_slice(&length.to_le_bytes());
            out.extend_from_slice(name.as_bytes());
        }
    }
}

impl<'a> Positions<'a> {
    pub(in crate::record) fn read(body: &mut Reader<'a>) -> Option<Self> {
        let (offset, first, begun) = (body.u64()?, body.u64()?, body.u64()?);
        let (count, deltas) = (body.u16()?, body.rest());
        body.take(deltas.len())?;
        Some(Self { offset, first, begun, count, deltas })
    }

    pub(in crate::record) fn write(&self, out: &mut Vec<u8>) {
        numbers(&[self.offset, self.first, self.begun], out);
        out.extend_from_slice(&self.count.to_le_bytes());
        out.extend_from_slice(self.deltas);
    }

    /// Tells each position, first to last, and gives the last one; `None` where they do not rise,
    /// or are more or fewer than they should be.
    pub fn walk(&self, mut each: impl FnMut(u64)) -> Option<u64> {
        let (mut deltas, mut position) = (self.deltas, self.first);
        each(position);
        for _ in 1..self.count {
            let delta = delta(&mut deltas).filter(|delta| *delta > 0)?;
            position = position.checked_add(delta)?;
            each(position);
        }
        deltas.is_empty().then_some(position)
    }
}

/// Appends a difference to deltas of positions.
pub fn push_delta(mut delta: u64, deltas: &mut Vec<u8>) {
    while delta >= 0x80 {
        deltas.push(delta as u8 | 0x80);
        delta >>= 7;
    }
    deltas.push(delta as u8);
}

fn delta(bytes: &mut &[u8]) -> Option<u64> {
    let mut delta = 0;
    for (nth, byte) in bytes.iter().enumerate().take(10) {
        let bits = u64::from(byte & 0x7f);
        if nth == 9 && bits > 1 {
            return None;
        }
        delta |= bits << (7 * nth);
        if byte & 0x80 == 0 {
            // One number has one spelling.
            if nth > 0 && *byte == 0 {
                return None;
            }
            *bytes = &bytes[nth + 1..];
            return Some(delta);
        }
    }
    None
}

impl<'a> Key<'a> {
    pub(in crate::record) fn read(body: &mut Reader<'a>) -> Option<Self> {
        let key = [body.u64()?, body.u64()?];
        let [digest, position, offset, at] = [body.u64()?, body.u64()?, body.u64()?, body.u64()?];
        let also = body.rest();
        body.take(also.len() / 8 * 8)?;
        Some(Self { key, body: digest, position, offset, at, also })
    }

    /// Its offsets in further channels.
    pub fn also(&self) -> impl Iterator<Item = u64> + use<'a> {
        let (offsets, _) = self.also.as_chunks();
        offsets.iter().map(|offset| u64::from_le_bytes(*offset))
    }

    pub(in crate::record) fn write(&self, out: &mut Vec<u8>) {
        numbers(&self.key, out);
        numbers(&[self.body, self.position, self.offset, self.at], out);
        out.extend_from_slice(self.also);
    }
}

impl Time {
    pub(in crate::record) fn read(body: &mut Reader<'_>) -> Option<Self> {
        Some(Self { at: body.u64()?, position: body.u64()?, is_coarse: flag(body)? })
    }

    pub(in crate::record) fn write(&self, out: &mut Vec<u8>) {
        numbers(&[self.at, self.position], out);
        out.push(self.is_coarse.into());
    }
}

impl End {
    pub(in crate::record) fn read(body: &mut Reader<'_>) -> Option<Self> {
        Some(Self { digest: [body.u64()?, body.u64()?] })
    }

    pub(in crate::record) fn write(&self, out: &mut Vec<u8>) {
        numbers(&self.digest, out);
    }
}

/// 0 or 1.
fn flag(body: &mut Reader<'_>) -> Option<bool> {
    match body.u8()? {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

fn numbers(numbers: &[u64], out: &mut Vec<u8>) {
    numbers.iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
}
