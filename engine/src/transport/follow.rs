//! `POST` and `QUERY` of what streams and polls ask for in a URL: a list of channels that no target
//! would hold comes in a body.
//!
//! The body is a form or one JSON object. What the query says counts too, as if both were one list
//! of parameters, so a parameter that may stand once stands in one of them.

use std::borrow::Cow;
use std::fmt;

use fanfare_protocol::http::parameters::Gathering;
use fanfare_protocol::http::{Query, Request, Violation};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::Facts;
use super::ask::{Ask, Asker};

/// How the parameters of a body are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `application/x-www-form-urlencoded`.
    Pairs,
    /// `application/json`.
    Json,
}

impl Form {
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
pub struct Pending {
    /// What its head said.
    pub asker: Asker,
    /// What its query said.
    query: Box<str>,
    form: Form,
}

impl Pending {
    /// From the head, whose body is `form`.
    pub fn new(asker: Asker, request: &Request<'_>, form: Form) -> Self {
        Self { asker, query: request.raw_query.unwrap_or_default().into(), form }
    }

    /// What the head and the whole body ask for together.
    ///
    /// # Errors
    /// The first that is wrong with a parameter, or with the body that holds them.
    pub fn ask(self, body: &[u8], facts: &Facts) -> Result<Ask, Violation> {
        let mut gathering = Gathering::new(facts.limits.channels_per_connection);
        gathering.take_all(Query::new(&self.query))?;
        match self.form {
            Form::Pairs => {
                let pairs = std::str::from_utf8(body).map_err(|_| Violation::BadParameter)?;
                gathering.take_all(Query::new(pairs.trim_ascii_end()))?;
                self.asker.ask(&gathering.done()?, facts)
            }
            Form::Json => {
                object(body, &mut gathering)?;
                self.asker.ask(&gathering.done()?, facts)
            }
        }
    }
}

/// Takes the members of one JSON object, as they come: nothing is built of what nobody asked for.
fn object(body: &[u8], gathering: &mut Gathering<'_>) -> Result<(), Violation> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let mut fault = None;
    let mut reader = serde_json::Deserializer::from_slice(body);
    let object = Members { gathering, fault: &mut fault };
    let read = reader.deserialize_map(object).and_then(|()| reader.end());
    match (fault, read) {
        (Some(fault), _) => Err(fault),
        (None, Err(_)) => Err(Violation::BadJson),
        (None, Ok(())) => Ok(()),
    }
}

/// Reads an object. What is wrong with a member is in `fault`, and serde's error says nothing.
struct Members<'g, 'a> {
    gathering: &'g mut Gathering<'a>,
    fault: &'g mut Option<Violation>,
}

impl<'de> Visitor<'de> for Members<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut fail = |violation| {
            *self.fault = Some(violation);
            A::Error::custom("")
        };
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            let taken = match &*key {
                "channels" => match map.next_value_seed(List { gathering: self.gathering }) {
                    Ok(taken) => taken,
                    Err(_) => Err(Violation::ChannelsNoList),
                },
                "channel" => match map.next_value::<Scalar>()? {
                    Scalar::Text(name) => self.gathering.take("channel", Some(Cow::Owned(name))),
                    _ => Err(Violation::ChannelsNoList),
                },
                _ => member(&key, map.next_value()?, self.gathering),
            };
            taken.map_err(&mut fail)?;
        }
        Ok(())
    }
}

/// A member that is one value. Each has its own type, and a wrong one is told by its name.
fn member(key: &str, value: Scalar, gathering: &mut Gathering<'_>) -> Result<(), Violation> {
    let text = match (key, value) {
        (_, Scalar::Null) => return Ok(()), // as if it were not there
        ("since" | "format" | "names" | "lastEventId", Scalar::Text(text)) => text,
        ("wait", Scalar::Number(number)) => number,
        ("open", Scalar::Switch(on)) => u8::from(on).to_string(),
        ("since", _) => return Err(Violation::BadSince),
        ("lastEventId", _) => return gathering.take(key, None), // a library wrote it, not a person
        ("format", _) => return Err(Violation::BadFormat),
        ("names", _) => return Err(Violation::BadNames),
        ("wait", _) => return Err(Violation::BadWait),
        ("open", _) => return Err(Violation::BadOpen),
        // Somebody else's, or ours but for a letter, which is told.
        (_, Scalar::Text(text)) => text,
        _ => String::new(),
    };
    gathering.take(key, Some(Cow::Owned(text)))
}

/// The names of `channels`. An error of its own is one of the list; serde's is one of its form.
struct List<'g, 'a> {
    gathering: &'g mut Gathering<'a>,
}

impl<'de> DeserializeSeed<'de> for List<'_, '_> {
    type Value = Result<(), Violation>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for List<'_, '_> {
    type Value = Result<(), Violation>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of names")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> Result<Self::Value, A::Error> {
        let mut taken = Ok(());
        let mut is_empty = true;
        while let Some(name) = names.next_element::<String>()? {
            is_empty = false;
            if taken.is_ok() {
                taken = self.gathering.take("channel", Some(Cow::Owned(name)));
            }
        }
        if is_empty { Ok(Err(Violation::NoChannels)) } else { Ok(taken) }
    }
}

/// A value that is no list and no object; of those nothing is kept.
enum Scalar {
    Null,
    Switch(bool),
    Number(String),
    Text(String),
    Other,
}

impl<'de> serde::Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        reader.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Scalar, E> {
        Ok(Scalar::Null)
    }

    fn visit_bool<E: Error>(self, on: bool) -> Result<Scalar, E> {
        Ok(Scalar::Switch(on))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Scalar, E> {
        Ok(Scalar::Number(number.to_string()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Scalar, E> {
        Ok(Scalar::Number(number.to_string()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Scalar, E> {
        Ok(Scalar::Number(number.to_string()))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Scalar, E> {
        Ok(Scalar::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Scalar, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }
}

#[cfg(test)]
mod tests;
