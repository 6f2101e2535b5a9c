//! The query: raw `k=v&k=v` pairs, decoded only where they are read.
//!
//! In a query `+` is a space, as `URLSearchParams`, HTML forms and every common server have it.
//! `encodeURIComponent` writes a plus as `%2B` and a space as `%20`, `URLSearchParams` writes them
//! as `%2B` and `+`: with this reading both come back right, with a literal `+` only one would.
//!
//! What the parameters mean that follow channels says [`super::parameters`].

use std::borrow::Cow;

use super::percent::{Plus, decode};
use super::violation::Violation;

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

    /// Its keys, decoded; those that cannot be are left out.
    pub fn keys(self) -> impl Iterator<Item = Cow<'a, str>> {
        self.pairs().filter_map(|(key, _)| decode(key, Plus::Space))
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
}
