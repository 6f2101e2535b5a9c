//! A JSON object in which every name stands once.
//!
//! Of two members of one name some readers take the first and some the last, so a token with
//! `"sub"` twice is one user here and another there. It is refused.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The members of an object in their order, each with its value as it was written.
pub(super) struct Members<'j>(pub Vec<(Cow<'j, str>, &'j RawValue)>);

impl<'j> Members<'j> {
    /// Reads all of `json`.
    ///
    /// # Errors
    /// A clause that says what is wrong, without a byte of what was read.
    pub fn read(json: &'j [u8]) -> Result<Self, &'static str> {
        serde_json::from_slice(json).map_err(|error| {
            // The text of an error may repeat what was read: only ours is known not to.
            if error.to_string().starts_with(TWICE) { TWICE } else { "not one JSON object" }
        })
    }

    /// The same of a value inside of an object.
    ///
    /// # Errors
    /// As [`Members::read`].
    pub fn of(value: &'j RawValue) -> Result<Self, &'static str> {
        Self::read(value.get().as_bytes())
    }
}

const TWICE: &str = "an object with one name twice";

/// A name, borrowed where it was written without escapes.
#[derive(Deserialize)]
struct Name<'j>(#[serde(borrow)] Cow<'j, str>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reading;
        impl<'de> Visitor<'de> for Reading {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                let mut names = BTreeSet::new();
                while let Some((Name(name), value)) = map.next_entry::<Name<'de>, &RawValue>()? {
                    if !names.insert(name.clone()) {
                        return Err(A::Error::custom(TWICE));
                    }
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Reading)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_once_however_it_is_spelled() {
        for json in [r#"{"a":1,"a":1}"#, r#"{"a":1,"b":2,"\u0061":3}"#] {
            assert_eq!(Members::read(json.as_bytes()).err(), Some(TWICE), "{json}");
        }
        for json in ["", "[]", "null", "{", r#"{"a":1}x"#, "\u{feff}{}", r#"{"a":01}"#, "{'a':1}"] {
            assert_eq!(Members::read(json.as_bytes()).err(), Some("not one JSON object"), "{json}");
        }
        assert!(Members::read(b"{\"\xff\":1}").is_err());
        let members = Members::read(br#" {"a":{"a":1,"a":2},"A":[ 1 ]} "#).unwrap();
        let written: Vec<_> = members.0.iter().map(|(name, raw)| (&**name, raw.get())).collect();
        assert_eq!(written, [("a", r#"{"a":1,"a":2}"#), ("A", "[ 1 ]")]);
    }
}
