//! The query: raw `k=v&k=v` pairs, decoded only where they are read.
//!
//! In a query `+` is a space, as `URLSearchParams`, HTML forms and every common server have it.
//! `encodeURIComponent` writes a plus as `%2B` and a space as `%20`, `URLSearchParams` writes them
//! as `%2B` and `+`: with this reading both come back right, with a literal `+` only one would.
//!
//! A list of channels is split at literal commas first and each name is decoded after, so that a
//! name may hold an escaped comma. `URLSearchParams` escapes commas: it suits a single channel.
//!
//! Unknown parameters are ignored, malformed ones too; a known one may stand once.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::percent::{Plus, decode};
use super::violation::Violation;
use crate::names::is_channel_name;

/// A raw query, without its `?`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    /// A view of `raw`.
    pub fn new(raw: &'a str) -> Self {
        Self(raw)
    }

    /// Its pairs, not decoded; a key without `=` has the empty value.
    pub fn pairs(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let pairs = self.0.split('&').filter(|pair| !pair.is_empty());
        pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
    }

    /// The raw value of `key`.
    ///
    /// # Errors
    /// [`Violation::BadParameter`] when it is given twice: which one is meant is not guessed.
    pub fn raw(self, key: &str) -> Result<Option<&'a str>, Violation> {
        let mut values = self.pairs().filter(|(k, _)| *k == key).map(|(_, value)| value);
        let first = values.next();
        if values.next().is_some() { Err(Violation::BadParameter) } else { Ok(first) }
    }

    /// The value of `key`, decoded.
    ///
    /// # Errors
    /// [`Violation::BadParameter`] when it is given twice or cannot be decoded.
    pub fn value(self, key: &str) -> Result<Option<Cow<'a, str>>, Violation> {
        let Some(raw) = self.raw(key)? else { return Ok(None) };
        decode(raw, Plus::Space).map(Some).ok_or(Violation::BadParameter)
    }

    /// The parameter `channels`: every name once, in the order of its first mention.
    ///
    /// # Errors
    /// [`Violation::NoChannels`] without the parameter, and those of [`channels`].
    pub fn channels(self, count_max: usize) -> Result<Vec<Cow<'a, str>>, Violation> {
        channels(self.raw("channels")?.ok_or(Violation::NoChannels)?, count_max)
    }
}

/// Reads a list of channel names, of which at most `count_max` may be different.
///
/// # Errors
/// [`Violation::EmptyChannel`], [`Violation::BadChannel`] and [`Violation::TooManyChannels`].
pub fn channels(raw: &str, count_max: usize) -> Result<Vec<Cow<'_, str>>, Violation> {
    let mut seen = BTreeSet::new(); // ordered, because hashing would need randomness
    let mut names = Vec::new();
    for raw_name in raw.split(',') {
        if raw_name.is_empty() {
            return Err(Violation::EmptyChannel);
        }
        let name = decode(raw_name, Plus::Space).ok_or(Violation::BadChannel)?;
        if !is_channel_name(&name) {
            return Err(Violation::BadChannel);
        }
        if !seen.insert(name.clone()) {
            continue;
        }
        if names.len() == count_max {
            return Err(Violation::TooManyChannels);
        }
        names.push(name);
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_and_values() {
        let query = Query::new("a=1&&b&c=x%3D=y&%zz=%zz&d=%zz&a=2");
        let pairs: Vec<_> = query.pairs().collect();
        assert_eq!(
            pairs,
            [("a", "1"), ("b", ""), ("c", "x%3D=y"), ("%zz", "%zz"), ("d", "%zz"), ("a", "2")]
        );
        assert_eq!(query.value("a"), Err(Violation::BadParameter), "twice");
        assert_eq!(query.value("b").unwrap().as_deref(), Some(""));
        assert_eq!(query.value("c").unwrap().as_deref(), Some("x==y"));
        assert_eq!(query.value("d"), Err(Violation::BadParameter), "a bad escape");
        assert_eq!(query.value("none"), Ok(None));
        assert_eq!(Query::default().pairs().count(), 0);
    }

    #[test]
    fn channel_lists() {
        let list = |raw| channels(raw, 3).map(|names| names.join("|"));
        let ok = |names: &str| Ok(names.to_string());
        let cases = [
            ("a", ok("a")),
            ("a,b,a,b", ok("a|b")),
            ("b,a", ok("b|a")),
            ("a%2Cb,c", ok("a,b|c")),
            ("room:%C3%A4", ok("room:ä")),
            ("a+b,a%2Bb", ok("a b|a+b")),
            ("%61,a", ok("a")),
            ("%2561", ok("%61")),
            ("a,b,c,a", ok("a|b|c")),
            ("a,b,c,d", Err(Violation::TooManyChannels)),
            ("", Err(Violation::EmptyChannel)),
            ("a,", Err(Violation::EmptyChannel)),
            (",a", Err(Violation::EmptyChannel)),
            ("a,,b", Err(Violation::EmptyChannel)),
            ("*", Err(Violation::BadChannel)),
            ("%2a", Err(Violation::BadChannel)),
            ("a%00", Err(Violation::BadChannel)),
            ("a%0d%0ab", Err(Violation::BadChannel)),
            ("%c0%af", Err(Violation::BadChannel)),
            ("%", Err(Violation::BadChannel)),
        ];
        for (raw, expected) in cases {
            assert_eq!(list(raw), expected, "{raw}");
        }
        assert!(channels(&"x".repeat(255), 1).is_ok());
        assert_eq!(channels(&"x".repeat(256), 1), Err(Violation::BadChannel));
        assert_eq!(Query::new("channel=a").channels(3), Err(Violation::NoChannels));
        assert_eq!(Query::new("channels=a&channels=b").channels(3), Err(Violation::BadParameter));
    }
}
