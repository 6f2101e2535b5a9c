//! What a request to follow channels asks for, wherever it wrote it: the query of a URL, a form,
//! or pairs that were something else before.
//!
//! `channels` is a list: its value is decoded and then split at commas, so that a comma is one
//! whether it was written literally or as `%2C`, as every encoder of forms and of queries does
//! that is not told otherwise. `channel` is one name as it stands, commas and all. Both may be
//! repeated and mixed; a name given twice is one.
//!
//! Of the others each may stand once. A parameter that is ours but for its case or a letter is
//! refused with the right name (see [`super::spelling`]); whatever else there is belongs to
//! somebody else, and is ignored. There may be as many of all of them as there may be channels, and
//! [`OTHERS_MAX`] more: each costs work, and nobody who asks in earnest has more.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::percent::{Plus, decode};
use super::query::Query;
use super::spelling;
use super::violation::Violation;
use crate::names::is_channel_name;

/// A value, decoded.
pub type Value<'a> = Cow<'a, str>;

/// What was asked for. Of the values only the names of channels were looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters<'a> {
    /// Every name once, in the order of its first mention.
    pub channels: Vec<Value<'a>>,
    /// Where to begin: an id, the start, a time.
    pub since: Option<Value<'a>>,
    /// With how many messages to begin.
    pub last: Option<Value<'a>>,
    /// The id that a client library brought back.
    pub last_event_id: LastEventId<'a>,
    /// How messages are written.
    pub format: Option<Value<'a>>,
    /// Where the names of events go.
    pub names: Option<Value<'a>>,
    /// Whether it is told where delivery begins.
    pub open: Option<Value<'a>>,
    /// How long a poll waits.
    pub wait: Option<Value<'a>>,
    /// The longest message that is taken.
    pub max: Option<Value<'a>>,
}

/// The header field `Last-Event-ID` as a parameter: what libraries that cannot set a field write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LastEventId<'a> {
    /// There is none, or an empty one, which is what a library writes that has none yet.
    #[default]
    None,
    /// It is this.
    Some(Value<'a>),
    /// There are several, or one that cannot be decoded. A page did not write it, so that a refusal
    /// would be read by nobody.
    Unreadable,
}

/// How many parameters there may be beside one for each channel: ours, and what pages, proxies and
/// caches append.
pub const OTHERS_MAX: usize = 64;

/// A parameter of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A list of names.
    Channels,
    /// One name.
    Channel,
    /// Where to begin.
    Since,
    /// With how many messages to begin.
    Last,
    /// What a library brought back, however it writes it.
    LastEventId,
    /// How messages are written.
    Format,
    /// Where the names of events go.
    Names,
    /// Whether it is told where delivery begins.
    Open,
    /// How long a poll waits.
    Wait,
    /// The longest message that is taken.
    Max,
}

/// Each with its name, and what is told to who wrote it nearly so.
const KEYS: [(&str, Key, Violation); 10] = [
    ("channels", Key::Channels, Violation::MeantChannels),
    ("channel", Key::Channel, Violation::MeantChannel),
    ("since", Key::Since, Violation::MeantSince),
    (LAST, Key::Last, Violation::MeantLast),
    ("lastEventId", Key::LastEventId, Violation::MeantLastEventId),
    ("format", Key::Format, Violation::MeantFormat),
    ("names", Key::Names, Violation::MeantNames),
    ("open", Key::Open, Violation::MeantOpen),
    ("wait", Key::Wait, Violation::MeantWait),
    ("max", Key::Max, Violation::MeantMax),
];

const NAMES: [&str; KEYS.len()] = {
    let mut names = [""; KEYS.len()];
    let mut nth = 0;
    while nth < names.len() {
        names[nth] = KEYS[nth].0;
        nth += 1;
    }
    names
};

/// Too common a parameter of other people's to be taken for `names`.
const FOREIGN: &str = "name";

/// Too near to words of other people's (`lat`, `list`, `past`) to be looked for in anything but its
/// own letters.
const LAST: &str = "last";

/// Collects parameters, from one place or from several.
#[derive(Debug)]
pub struct Gathering<'a> {
    found: Parameters<'a>,
    seen: BTreeSet<Value<'a>>, // ordered, because hashing would need randomness
    channels_max: usize,
    /// How many parameters may still come.
    room: usize,
}

impl<'a> Parameters<'a> {
    /// Those of a query or of a form (`application/x-www-form-urlencoded`), of which at most
    /// `channels_max` channels may be different.
    ///
    /// # Errors
    /// Those of [`Gathering::take_all`] and [`Gathering::done`].
    pub fn of(query: Query<'a>, channels_max: usize) -> Result<Self, Violation> {
        let mut gathering = Gathering::new(channels_max);
        gathering.take_all(query)?;
        gathering.done()
    }
}

impl<'a> Gathering<'a> {
    /// Nothing yet.
    pub fn new(channels_max: usize) -> Self {
        Self {
            found: Parameters::default(),
            seen: BTreeSet::new(),
            channels_max,
            room: channels_max.saturating_add(OTHERS_MAX),
        }
    }

    /// Takes every pair of a query or a form.
    ///
    /// # Errors
    /// Those of [`Gathering::count`], [`Key::of`] and [`Gathering::take`].
    pub fn take_all(&mut self, query: Query<'a>) -> Result<(), Violation> {
        for (name, value) in query.pairs() {
            self.count()?;
            let Some(name) = decode(name, Plus::Space) else { continue };
            if let Some(key) = Key::of(&name)? {
                self.take(key, decode(value, Plus::Space))?;
            }
        }
        Ok(())
    }

    /// There is another parameter, ours or not. Whoever reads some calls this for each, before it
    /// is looked at.
    ///
    /// # Errors
    /// [`Violation::TooManyParameters`].
    pub fn count(&mut self) -> Result<(), Violation> {
        self.room = self.room.checked_sub(1).ok_or(Violation::TooManyParameters)?;
        Ok(())
    }

    /// Takes one of ours, decoded; `None` where the value cannot be.
    ///
    /// # Errors
    /// [`Violation::EmptyChannel`], [`Violation::BadChannel`], [`Violation::TooManyChannels`],
    /// and [`Violation::BadParameter`] when one that may stand once stands twice or cannot be
    /// decoded.
    pub fn take(&mut self, key: Key, value: Option<Value<'a>>) -> Result<(), Violation> {
        let place = match key {
            Key::Channels => return self.list(value.ok_or(Violation::BadChannel)?),
            Key::Channel => return self.channel(value.ok_or(Violation::BadChannel)?),
            Key::LastEventId => {
                self.last_event_id(value);
                return Ok(());
            }
            Key::Since => &mut self.found.since,
            Key::Last => &mut self.found.last,
            Key::Format => &mut self.found.format,
            Key::Names => &mut self.found.names,
            Key::Open => &mut self.found.open,
            Key::Wait => &mut self.found.wait,
            Key::Max => &mut self.found.max,
        };
        match (&place, value) {
            (None, Some(value)) => *place = Some(value),
            _ => return Err(Violation::BadParameter),
        }
        Ok(())
    }

    /// What was found.
    ///
    /// # Errors
    /// [`Violation::NoChannels`].
    pub fn done(self) -> Result<Parameters<'a>, Violation> {
        if self.found.channels.is_empty() { Err(Violation::NoChannels) } else { Ok(self.found) }
    }

    /// What was found, where no channel need be among it.
    pub fn found(self) -> Parameters<'a> {
        self.found
    }

    fn list(&mut self, list: Value<'a>) -> Result<(), Violation> {
        match list {
            Cow::Borrowed(list) => {
                list.split(',').try_for_each(|name| self.channel(Cow::Borrowed(name)))
            }
            Cow::Owned(list) => list.split(',').try_for_each(|name| self.name(name)),
        }
    }

    /// Takes one name of a list, copied only if it is new: a list may be long and have few.
    ///
    /// # Errors
    /// Those of [`Gathering::take`] for [`Key::Channel`].
    pub fn name(&mut self, name: &str) -> Result<(), Violation> {
        if self.seen.contains(name) { Ok(()) } else { self.channel(Cow::Owned(name.to_owned())) }
    }

    fn channel(&mut self, name: Value<'a>) -> Result<(), Violation> {
        if name.is_empty() {
            return Err(Violation::EmptyChannel);
        }
        if !is_channel_name(&name) {
            return Err(Violation::BadChannel);
        }
        if !self.seen.insert(name.clone()) {
            return Ok(());
        }
        if self.found.channels.len() == self.channels_max {
            return Err(Violation::TooManyChannels);
        }
        self.found.channels.push(name);
        Ok(())
    }

    fn last_event_id(&mut self, value: Option<Value<'a>>) {
        let found = &mut self.found.last_event_id;
        match (&found, value) {
            (_, Some(value)) if value.is_empty() => {}
            (LastEventId::None, Some(value)) => *found = LastEventId::Some(value),
            (LastEventId::Some(before), Some(value)) if *before == value => {}
            _ => *found = LastEventId::Unreadable,
        }
    }
}

impl Key {
    /// Which of ours `name` is; `None` where it is somebody else's.
    ///
    /// # Errors
    /// For each of ours one of its own, when `name` is nearly that.
    pub fn of(name: &str) -> Result<Option<Self>, Violation> {
        if let Some((_, key, _)) = KEYS.iter().find(|(known, ..)| *known == name) {
            return Ok(Some(*key));
        }
        if is_last_event_id(name) {
            return Ok(Some(Self::LastEventId));
        }
        if name.eq_ignore_ascii_case(FOREIGN) {
            return Ok(None);
        }
        let right = spelling::meant(name, &NAMES);
        match KEYS.iter().find(|(known, ..)| Some(*known) == right) {
            Some((LAST, ..)) if !spelling::is_same_but_for_case(name, LAST) => Ok(None),
            Some((.., violation)) => Err(*violation),
            None => Ok(None),
        }
    }
}

/// `lastEventId`, `lastEventID`, `last_event_id`, `Last-Event-ID`: every library has its own.
fn is_last_event_id(name: &str) -> bool {
    let letters = name.bytes().filter(|byte| !matches!(byte, b'-' | b'_'));
    letters.map(|byte| byte.to_ascii_lowercase()).eq(*b"lasteventid")
}

#[cfg(test)]
mod tests;
