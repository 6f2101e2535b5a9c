//! The header fields of a request, in their order, looked up without regard to case.

/// A field's name (a token, as sent) and value (without the white space around it).
pub type Field<'a> = (&'a str, &'a [u8]);

/// All fields of one request.
#[derive(Clone, Debug, Default)]
pub struct Fields<'a> {
    lines: Vec<Field<'a>>,
}

/// A field that may stand once was given more often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeated;

impl<'a> Fields<'a> {
    pub(super) fn from_lines(lines: impl Iterator<Item = Field<'a>>) -> Self {
        Self { lines: lines.collect() }
    }

    /// The first value under `name`.
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.all(name).next()
    }

    /// Every value under `name`, in order.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let of_name = move |(n, value): &Field<'a>| n.eq_ignore_ascii_case(name).then_some(*value);
        self.lines.iter().filter_map(of_name)
    }

    /// The value under `name`, which may stand at most once.
    ///
    /// # Errors
    /// It stands more than once.
    pub fn one(&self, name: &str) -> Result<Option<&'a [u8]>, Repeated> {
        let mut values = self.all(name);
        let first = values.next();
        if values.next().is_some() { Err(Repeated) } else { Ok(first) }
    }

    /// Whether a comma-separated list under `name`, in one field or several, has `token`,
    /// without regard to case (RFC 9110, section 5.6.1).
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.elements(name).any(|e| e.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// The elements of a comma-separated list under `name`, in one field or several, in order.
    pub fn elements(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.all(name).flat_map(elements)
    }

    /// All fields in order.
    pub fn iter(&self) -> impl Iterator<Item = Field<'a>> {
        self.lines.iter().copied()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

/// The elements of a comma-separated list, trimmed; empty ones too, because for some fields an
/// empty element is a fault.
pub(super) fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(trim)
}

/// Without the optional white space (SP, HTAB) at both ends.
pub(super) fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Whether `byte` may stand in a token (RFC 9110, section 5.6.2).
pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lookups_disregard_case_and_see_every_line() {
        let lines: [Field<'_>; 4] =
            [("Host", b"h"), ("CONNECTION", b"keep-alive,\tUpgrade "), ("a", b"1"), ("A", b"2")];
        let fields = Fields::from_lines(lines.into_iter());
        assert_eq!(fields.get("host"), Some(&b"h"[..]));
        assert_eq!(fields.get("none"), None);
        assert_eq!(fields.all("a").collect::<Vec<_>>(), [b"1", b"2"]);
        assert_eq!(fields.one("a"), Err(Repeated));
        assert_eq!(fields.one("HOST"), Ok(Some(&b"h"[..])));
        assert_eq!(fields.one("none"), Ok(None));
        assert!(fields.has_token("connection", "upgrade"));
        assert!(!fields.has_token("connection", "grade"));
    }
}
