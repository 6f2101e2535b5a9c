//! `POST` and `QUERY` of what streams and polls ask for in a URL: a list of channels that no target
//! would hold comes in a body.
//!
//! The body is a form or one JSON object. What the query says counts too, as if both were one list
//! of parameters, so a parameter that may stand once stands in one of them.

use std::borrow::Cow;
use std::fmt;

use fanfare_protocol::http::parameters::{Gathering, Key};
use fanfare_protocol::http::{Query, Request, Violation};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::Context;
use super::follow_request::{FollowHead, FollowRequest};

/// How the parameters of a body are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyForm {
    /// `application/x-www-form-urlencoded`.
    Pairs,
    /// `application/json`.
    Json,
}

impl BodyForm {
    /// What the head says that the body is.
    ///
    /// # Errors
    /// [`Violation::UnsupportedType`].
    pub fn of(request: &Request<'_>) -> Result<Self, Violation> {
        let Ok(Some(value)) = request.fields.one("content-type") else {
            return Err(Violation::UnsupportedType);
        };
        let media_type = value.split(|byte| *byte == b';').next().unwrap_or_default();
        match media_type.trim_ascii() {
            form if form.eq_ignore_ascii_case(b"application/x-www-form-urlencoded") => {
                Ok(Self::Pairs)
            }
            json if json.eq_ignore_ascii_case(b"application/json") => Ok(Self::Json),
            _ => Err(Violation::UnsupportedType),
        }
    }
}

/// A request to follow channels whose body is not here yet.
#[derive(Debug)]
pub struct PendingFollow {
    /// What its head said.
    pub head: FollowHead,
    /// What its query said.
    query: Box<str>,
    form: BodyForm,
}

impl PendingFollow {
    /// From the head, whose body is `form`.
    pub fn new(head: FollowHead, request: &Request<'_>, form: BodyForm) -> Self {
        Self { head, query: request.raw_query.unwrap_or_default().into(), form }
    }

    /// What the head and the whole body ask for together.
    ///
    /// # Errors
    /// The first that is wrong with a parameter, or with the body that holds them.
    pub fn with(self, body: &[u8], context: &Context) -> Result<FollowRequest, Violation> {
        let mut gathering = Gathering::new(context.limits.channels_per_connection);
        gathering.take_all(Query::new(&self.query))?;
        match self.form {
            BodyForm::Pairs => {
                let pairs = std::str::from_utf8(body).map_err(|_| Violation::BadParameter)?;
                gathering.take_all(Query::new(pairs.trim_ascii_end()))?;
                self.head.with(&gathering.found())
            }
            BodyForm::Json => {
                object(body, &mut gathering)?;
                self.head.with(&gathering.found())
            }
        }
    }
}

/// Takes the members of one JSON object, as they come: nothing is built of what nobody asked for.
fn object(body: &[u8], gathering: &mut Gathering<'_>) -> Result<(), Violation> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    // What is passed over would not be looked at for this.
    let body = std::str::from_utf8(body).map_err(|_| Violation::BadJson)?;
    let mut fault = Violation::BadJson;
    let mut reader = serde_json::Deserializer::from_str(body);
    let object = Members { gathering, fault: &mut fault };
    match reader.deserialize_map(object).and_then(|()| reader.end()) {
        Ok(()) => Ok(()),
        // JSON, but not what was asked for; all else is none, whatever it was to say.
        Err(error) if error.is_data() => Err(fault),
        Err(_) => Err(Violation::BadJson),
    }
}

/// Reads an object. What is wrong with a member is in `fault`, and serde's error says nothing but
/// whether it was JSON.
struct Members<'g, 'a> {
    gathering: &'g mut Gathering<'a>,
    fault: &'g mut Violation,
}

impl<'de> Visitor<'de> for Members<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { gathering, fault } = self;
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            let taken = match gathering.count().and_then(|()| Key::of(&name)) {
                Ok(None) => map.next_value::<IgnoredAny>().map(|_| Ok(()))?,
                Ok(Some(Key::Channels)) => {
                    *fault = Violation::ChannelsNoList;
                    let taken = map.next_value_seed(List { gathering })?;
                    *fault = Violation::BadJson;
                    taken
                }
                Ok(Some(key)) => member(key, map.next_value::<&RawValue>()?.get(), gathering),
                Err(violation) => Err(violation),
            };
            if let Err(violation) = taken {
                *fault = violation;
                return Err(A::Error::custom(""));
            }
        }
        Ok(())
    }
}

/// A member that is one value, as it was written. Each has its own type, and a wrong one is told by
/// its name.
fn member(key: Key, value: &str, gathering: &mut Gathering<'_>) -> Result<(), Violation> {
    let text = match (key, Scalar::of(value)?) {
        (_, Scalar::Null) => return Ok(()), // as if it were not there
        (Key::Wait | Key::Last | Key::Max, Scalar::Number) => value.to_owned(),
        (Key::Open, Scalar::Switch(on)) => u8::from(on).to_string(),
        (Key::Wait, _) => return Err(Violation::BadWait),
        (Key::Last, _) => return Err(Violation::BadLast),
        (Key::Open, Scalar::Text(text)) => text,
        (Key::Open, _) => return Err(Violation::BadOpen),
        (Key::Max, _) => return Err(Violation::BadMax),
        (_, Scalar::Text(text)) => text,
        (Key::Channels | Key::Channel, _) => return Err(Violation::ChannelsNoList),
        (Key::Since, _) => return Err(Violation::BadSince),
        (Key::Format, _) => return Err(Violation::BadFormat),
        (Key::Names, _) => return Err(Violation::BadNames),
        (Key::LastEventId, _) => return gathering.take(key, None), // a library wrote it
    };
    gathering.take(key, Some(Cow::Owned(text)))
}

/// The names of `channels`, if it is not null. An error of its own is one of the list; serde's is
/// one of its form.
struct List<'g, 'a> {
    gathering: &'g mut Gathering<'a>,
}

impl<'de> DeserializeSeed<'de> for List<'_, '_> {
    type Value = Result<(), Violation>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for List<'_, '_> {
    type Value = Result<(), Violation>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of names")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Ok(()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> Result<Self::Value, A::Error> {
        let mut taken = Ok(());
        let Self { gathering } = self;
        while names.next_element_seed(Name { gathering, taken: &mut taken })?.is_some() {}
        Ok(taken)
    }
}

/// One name of a list. After one that is wrong the others are read, because the list may be no
/// JSON, but not taken.
struct Name<'g, 'a> {
    gathering: &'g mut Gathering<'a>,
    taken: &'g mut Result<(), Violation>,
}

impl<'de> DeserializeSeed<'de> for Name<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<(), E> {
        if self.taken.is_ok() {
            *self.taken = self.gathering.name(name);
        }
        Ok(())
    }
}

/// What a member of ours is. A number stays as it was written, since no type holds every one.
enum Scalar {
    Null,
    Switch(bool),
    Number,
    Text(String),
    Other,
}

impl Scalar {
    /// Of one JSON value.
    fn of(value: &str) -> Result<Self, Violation> {
        Ok(match value.as_bytes().first() {
            Some(b'n') => Self::Null,
            Some(b't') => Self::Switch(true),
            Some(b'f') => Self::Switch(false),
            // Half of a surrogate pair is found only here.
            Some(b'"') => Self::Text(serde_json::from_str(value).map_err(|_| Violation::BadJson)?),
            Some(b'-' | b'0'..=b'9') => Self::Number,
            _ => Self::Other,
        })
    }
}

#[cfg(test)]
mod tests;
