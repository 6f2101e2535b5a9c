//! The request target: its form, its parts, and the path decoded (RFC 9112, section 3.2).

use std::borrow::Cow;

use super::host::is_authority;
use super::method::Method;
use super::percent::{Plus, decode};
use super::violation::Violation;

/// A target in its parts, as sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target<'a> {
    /// Of the absolute form.
    pub(super) authority: Option<&'a str>,
    /// Begins with `/`, or is `*`.
    pub(super) path: &'a str,
    /// After the first `?`.
    pub(super) query: Option<&'a str>,
}

/// Takes `raw` apart: the origin form, the absolute form, or `*` for OPTIONS. The authority form
/// belongs to CONNECT, which is refused before.
pub(super) fn parse(raw: &str, method: Method) -> Result<Target<'_>, Violation> {
    if raw == "*" && method == Method::Options {
        return Ok(Target { authority: None, path: raw, query: None });
    }
    if raw.starts_with('/') {
        let (path, query) = split_query(raw);
        return Ok(Target { authority: None, path, query });
    }
    let rest = without_scheme(raw).ok_or(Violation::Target)?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    if !is_authority(authority) {
        return Err(Violation::Target);
    }
    let (path, query) = split_query(rest);
    Ok(Target { authority: Some(authority), path: if path.is_empty() { "/" } else { path }, query })
}

fn without_scheme(raw: &str) -> Option<&str> {
    ["http://", "https://"].iter().find_map(|scheme| {
        let (start, rest) = raw.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    })
}

fn split_query(raw: &str) -> (&str, Option<&str>) {
    match raw.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (raw, None),
    }
}

/// The path as text. An escaped slash, a backslash and dot segments are refused and not resolved:
/// a proxy in front may have read them in another way.
pub(super) fn decode_path(raw: &str) -> Result<Cow<'_, str>, Violation> {
    let path = decode(raw, Plus::Literal).ok_or(Violation::Target)?;
    let slashes = |text: &str| text.bytes().filter(|b| *b == b'/').count();
    let ambiguous = path.contains('\\')
        || path.split('/').any(|segment| matches!(segment, "." | ".."))
        || slashes(&path) != slashes(raw);
    if ambiguous { Err(Violation::Target) } else { Ok(path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let target = |authority, path, query| Ok(Target { authority, path, query });
        let cases = [
            ("/", Method::Get, target(None, "/", None)),
            ("/sse?channels=a?b", Method::Get, target(None, "/sse", Some("channels=a?b"))),
            ("/?", Method::Get, target(None, "/", Some(""))),
            ("*", Method::Options, target(None, "*", None)),
            ("*", Method::Get, Err(Violation::Target)),
            ("HTTP://a:80/x", Method::Get, target(Some("a:80"), "/x", None)),
            ("https://a", Method::Get, target(Some("a"), "/", None)),
            ("http://a?q", Method::Get, target(Some("a"), "/", Some("q"))),
            ("http://u@a/", Method::Get, Err(Violation::Target)),
            ("http:///x", Method::Get, Err(Violation::Target)),
            ("ftp://a/", Method::Get, Err(Violation::Target)),
            ("a:80", Method::Get, Err(Violation::Target)),
        ];
        for (raw, method, expected) in cases {
            assert_eq!(parse(raw, method), expected, "{raw}");
        }
    }

    #[test]
    fn paths() {
        for (raw, expected) in [("/a%20b", "/a b"), ("/a+b", "/a+b"), ("/..a", "/..a"), ("*", "*")]
        {
            assert_eq!(decode_path(raw).as_deref(), Ok(expected), "{raw}");
        }
        for raw in [
            "/..",
            "/../a",
            "/a/..",
            "/a/%2e%2E/b",
            "/./a",
            "/a\\b",
            "/a%5cb",
            "/a%2fb",
            "/%00",
            "/%0d%0a",
            "/%c0%ae",
            "/%zz",
            "/%",
        ] {
            assert_eq!(decode_path(raw), Err(Violation::Target), "{raw}");
        }
    }
}
