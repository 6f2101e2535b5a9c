//! A checkpoint is read record by record, and each item is held against those before it.

use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher24};

use super::{Begin, End, Key, LifeItem, POSITIONS_MAX, Positions, RECORD_BYTES_MAX, Time};
use super::{Unreadable, Wrong};
use crate::record::{Fault, Header, Item, frames};

/// How far a checkpoint was read.
#[derive(Debug)]
pub struct Reader {
    /// Bytes of all records that were read.
    offset: u64,
    /// The header of the last one that was.
    header: Option<Header>,
    digest: SipHasher24,
    seen: Seen,
}

/// What the items before said.
#[derive(Debug, Default)]
struct Seen {
    order: Option<Begin>,
    channel: Option<Channel>,
    /// The last key's time.
    key_at: u64,
    time: Option<Time>,
    ended: bool,
}

/// A channel of which positions may still come.
#[derive(Debug)]
struct Channel {
    floor: u64,
    /// The last offset and its position.
    last: (u64, u64),
    /// The offset that comes next, and the position before it.
    next: (u64, u64),
}

impl Default for Reader {
    fn default() -> Self {
        let digest = SipHasher24::new();
        Self { offset: 0, header: None, digest, seen: Seen::default() }
    }
}

impl Reader {
    /// Takes all whole records off the front of `bytes`, and gives their items to `each`, with the
    /// header of their record; it may find something wrong itself. What is left is the beginning
    /// of the next record.
    ///
    /// # Errors
    /// Where the bytes cannot be read, or an item contradicts another.
    pub fn read<'a>(
        &mut self,
        bytes: &mut &'a [u8],
        mut each: impl FnMut(&Header, Item<'a>) -> Result<(), Wrong>,
    ) -> Result<(), Unreadable> {
        loop {
            let frame = *bytes;
            let Some(length) = frame.first_chunk() else { return Ok(()) };
            if u32::from_le_bytes(*length) as usize > RECORD_BYTES_MAX {
                return Err(self.unreadable(None, Wrong::TooLong));
            }
            let record = frames(bytes).map_err(|violation| {
                let at = self.unreadable(None, Wrong::Record(violation.fault));
                Unreadable { offset: at.offset + violation.offset, ..at }
            })?;
            let Some(record) = record else { return Ok(()) };
            self.begin(&record.header).map_err(|wrong| self.unreadable(None, wrong))?;
            for (number, item) in record.items() {
                let whole = |_| if record.count() == 1 { Ok(()) } else { Err(Wrong::Item) };
                let alone = if let Item::End(_) = item { whole(()) } else { Ok(()) };
                let checked = alone.and_then(|()| self.seen.check(&item, &self.digest));
                let wrong = checked.and_then(|()| each(&record.header, item)).err();
                if let Some(wrong) = wrong {
                    return Err(self.unreadable(Some(number), wrong));
                }
            }
            let read = frame.len() - bytes.len();
            self.digest.write(&frame[..read]);
            self.offset += read as u64;
            self.header = Some(record.header);
        }
    }

    /// Whether the end was read, and nothing is `left` behind it.
    ///
    /// # Errors
    /// Where it was not: what was read is no checkpoint.
    pub fn end(&self, left: &[u8]) -> Result<(), Unreadable> {
        match (self.seen.ended, left.is_empty()) {
            (true, true) => Ok(()),
            (true, false) => Err(self.unreadable(None, Wrong::BehindEnd)),
            (false, true) => Err(self.unreadable(None, Wrong::NoEnd)),
            (false, false) => Err(self.unreadable(None, Wrong::Record(Fault::Truncated))),
        }
    }

    fn begin(&self, header: &Header) -> Result<(), Wrong> {
        if self.seen.ended {
            return Err(Wrong::BehindEnd);
        }
        let expected = match self.header {
            None => Header { number: 0, ..*header },
            Some(last) => Header { number: last.number + 1, ..last },
        };
        if expected == *header { Ok(()) } else { Err(Wrong::Header) }
    }

    fn unreadable(&self, item: Option<u16>, wrong: Wrong) -> Unreadable {
        let record = self.header.map_or(0, |header| header.number + 1);
        Unreadable { offset: self.offset, record, item, wrong }
    }
}

impl Seen {
    fn check(&mut self, item: &Item<'_>, digest: &SipHasher24) -> Result<(), Wrong> {
        let order = match (item, self.order) {
            (Item::Begin(order), None) => {
                let began = order.epoch_began.is_none_or(|began| began <= order.at);
                let is_right = order.watermark <= order.position && began;
                self.order = Some(*order);
                return if is_right { Ok(()) } else { Err(Wrong::Begin) };
            }
            (Item::Begin(_), Some(_)) | (_, None) => return Err(Wrong::Begin),
            (_, Some(order)) => order,
        };
        if let Item::Positions(positions) = item {
            let channel = self.channel.as_mut().ok_or(Wrong::Positions)?;
            return channel.check(positions).ok_or(Wrong::Positions);
        }
        if self.channel.take().is_some_and(|channel| !channel.is_whole()) {
            return Err(Wrong::Positions);
        }
        match item {
            Item::Life(life) => {
                self.channel = Some(Channel::new(life, &order).ok_or(Wrong::Life)?);
                Ok(())
            }
            Item::Key(Key { position, at, .. }) => {
                let is_right = *at >= self.key_at && *at <= order.at && *position <= order.position;
                self.key_at = *at;
                if is_right { Ok(()) } else { Err(Wrong::Key) }
            }
            Item::Time(time) => {
                let rises = self.time.is_none_or(|last| {
                    time.at > last.at
                        && time.position > last.position
                        && (last.is_coarse || !time.is_coarse)
                });
                self.time = Some(*time);
                let is_past = time.at <= order.at && time.position <= order.position;
                if rises && is_past && time.position > 0 { Ok(()) } else { Err(Wrong::Time) }
            }
            Item::End(End { digest: said }) => {
                let digest = digest.finish128();
                self.ended = *said == [digest.h1, digest.h2];
                if self.ended { Ok(()) } else { Err(Wrong::Digest) }
            }
            _ => Err(Wrong::Item),
        }
    }
}

impl Channel {
    fn new(life: &LifeItem<'_>, order: &Begin) -> Option<Self> {
        let LifeItem { offset, position, used, used_at, began, unknown_before, floor, .. } = *life;
        let is_right = offset > 0
            && offset < u64::MAX
            && (1..=offset + 1).contains(&floor)
            && began > 0
            && unknown_before < began
            && unknown_before <= order.watermark
            && (began..=order.position).contains(&position)
            && (began..=order.position).contains(&used_at)
            && used <= order.at
            && life.forgotten <= position
            && (life.forgotten == 0 || (life.forgotten >= began && floor > 1));
        let next = if life.forgotten == 0 { 1 } else { 0 };
        let channel = Self { floor, last: (offset, position), next: (next, life.forgotten) };
        is_right.then_some(channel)
    }

    /// Whether the last position is known: it is that of the last message.
    fn is_whole(&self) -> bool {
        let (next, position) = self.next;
        // 0: of no message the position is known, so none is kept, and the last one is forgotten.
        let all = next == self.last.0 + 1 || (next == 0 && self.floor == self.last.0 + 1);
        all && position == self.last.1
    }

    fn check(&mut self, positions: &Positions<'_>) -> Option<()> {
        let Positions { offset, first, begun, count, .. } = *positions;
        let end = offset.checked_add(count.into())?;
        let is_next = if self.next.0 == 0 {
            (2..=self.floor).contains(&offset)
        } else {
            offset == self.next.0
        };
        let is_trimmed = offset < self.floor;
        let is_right = is_next
            && (1..=POSITIONS_MAX).contains(&count)
            && end <= self.last.0 + 1
            && (!is_trimmed || end <= self.floor)
            && is_trimmed == (begun > 0)
            && first > self.next.1;
        let last = positions.walk(drop).filter(|last| is_right && *last <= self.last.1)?;
        self.next = (end, last);
        Some(())
    }
}
