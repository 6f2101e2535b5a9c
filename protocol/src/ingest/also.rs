//! One message in several channels: the names of those beside the first, and its places there.
//!
//! ```text
//!  names:   length u16, name ...           for each further channel, in the publisher's order
//!  places:  offset u64, subscribers u64    for each of them, in the same order
//! ```

use std::fmt;

use crate::message::ChannelReceipt;
use crate::reader::Reader;

/// Names of channels, as they were read or as they are to be written. Nothing is checked but that
/// they can be told apart.
#[derive(Clone, Copy)]
pub struct ChannelNames<'a>(Listed<'a>);

#[derive(Clone, Copy)]
enum Listed<'a> {
    /// Lengths and names, of which the last may be cut.
    Read(Reader<'a>),
    Given(&'a [&'a [u8]]),
}

impl<'a> ChannelNames<'a> {
    /// These.
    pub fn of(names: &'a [&'a [u8]]) -> Self {
        Self(Listed::Given(names))
    }

    /// What a field holds; `None` where it ends in the middle of a name.
    pub(super) fn read(field: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(field, 0);
        let names = Self(Listed::Read(reader));
        while !reader.is_empty() {
            let length = reader.u16()?;
            reader.take(length.into())?;
        }
        Some(names)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        match &self.0 {
            Listed::Given(names) => names.is_empty(),
            Listed::Read(reader) => reader.is_empty(), // no name of it is cut
        }
    }

    /// Bytes of a field that holds them.
    pub(super) fn bytes(self) -> usize {
        self.map(|name| 2 + name.len()).sum()
    }
}

impl Default for ChannelNames<'_> {
    fn default() -> Self {
        Self::of(&[])
    }
}

impl<'a> Iterator for ChannelNames<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        match &mut self.0 {
            Listed::Given(names) => {
                let (first, rest) = names.split_first()?;
                *names = rest;
                Some(first)
            }
            Listed::Read(reader) => {
                let length = reader.u16()?;
                reader.take(length.into())
            }
        }
    }
}

impl fmt::Debug for ChannelNames<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.map(<[u8]>::escape_ascii)).finish()
    }
}

impl PartialEq for ChannelNames<'_> {
    fn eq(&self, other: &Self) -> bool {
        Iterator::eq(*self, *other)
    }
}

impl Eq for ChannelNames<'_> {}

/// Bytes of a place.
pub(super) const PLACE_BYTES: usize = 16;

/// Places in further channels, as they were read or as they are to be written.
#[derive(Clone, Copy)]
pub struct ChannelReceipts<'a>(Told<'a>);

#[derive(Clone, Copy)]
enum Told<'a> {
    Read(Reader<'a>),
    Given(&'a [ChannelReceipt]),
}

impl<'a> ChannelReceipts<'a> {
    /// These.
    pub fn of(places: &'a [ChannelReceipt]) -> Self {
        Self(Told::Given(places))
    }

    /// What stands at the end of an ANSWER. (What is no whole place may come later and is skipped.)
    pub(super) fn read(rest: Reader<'a>) -> Self {
        Self(Told::Read(rest))
    }
}

impl Default for ChannelReceipts<'_> {
    fn default() -> Self {
        Self::of(&[])
    }
}

impl Iterator for ChannelReceipts<'_> {
    type Item = ChannelReceipt;

    fn next(&mut self) -> Option<ChannelReceipt> {
        match &mut self.0 {
            Told::Given(places) => {
                let (first, rest) = places.split_first()?;
                *places = rest;
                Some(*first)
            }
            Told::Read(reader) if reader.len() < PLACE_BYTES => None,
            Told::Read(reader) => {
                Some(ChannelReceipt { offset: reader.u64()?, subscribers: reader.u64()? })
            }
        }
    }
}

impl fmt::Debug for ChannelReceipts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(*self).finish()
    }
}

impl PartialEq for ChannelReceipts<'_> {
    fn eq(&self, other: &Self) -> bool {
        Iterator::eq(*self, *other)
    }
}

impl Eq for ChannelReceipts<'_> {}
