//! Whether what a path gives is among what the client takes (RFC 9110, section 12.5.1).
//!
//! Of all ranges that cover a media type the most specific one decides, wherever it stands:
//! `text/*;q=0, */*` takes no text, and `*/*;q=0, text/event-stream` takes event streams.

use super::fields::{Fields, elements, trim};

/// A media type that a path gives.
#[derive(Clone, Copy, Debug)]
pub struct MediaType {
    /// As in `text`.
    pub kind: &'static str,
    /// As in `event-stream`.
    pub subtype: &'static str,
    /// Its one parameter, as in `charset=utf-8`.
    pub parameter: (&'static str, &'static str),
}

/// What a stream of events is.
pub const EVENT_STREAM: MediaType =
    MediaType { kind: "text", subtype: "event-stream", parameter: ("charset", "utf-8") };

/// How much of a media type a range names; what names more has the say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Names {
    /// `*/*`
    Nothing,
    /// `text/*`
    Kind,
    /// `text/event-stream`
    Type,
    /// `text/event-stream;charset=utf-8`
    Parameter,
}

/// Whether a client with these fields takes `given`. One without `Accept`, or with an empty one,
/// takes everything.
pub(super) fn accepts(fields: &Fields<'_>, given: &MediaType) -> bool {
    let ranges = || fields.all("accept").flat_map(elements).filter(|range| !range.is_empty());
    let said = ranges().filter_map(|range| covers(range, given));
    // Of two that name as much the kinder one counts.
    match said.max() {
        Some((_, takes)) => takes,
        None => ranges().next().is_none(),
    }
}

/// How much of `given` the range names, and whether it takes it; `None` where it is about others.
fn covers(range: &[u8], given: &MediaType) -> Option<(Names, bool)> {
    let mut parts = range.split(|byte| *byte == b';').map(trim);
    let names = parts.next().unwrap_or_default();
    let mut named = match split(names, b'/') {
        // `*` alone is what old Java clients write.
        (b"*", None | Some(b"*")) => Names::Nothing,
        (kind, Some(b"*")) if is(kind, given.kind) => Names::Kind,
        (kind, Some(sub)) if is(kind, given.kind) && is(sub, given.subtype) => Names::Type,
        _ => return None,
    };
    let (mut takes, mut stranger) = (true, false);
    for (name, value) in parts.map(|part| split(part, b'=')) {
        let value = value.unwrap_or_default();
        if is(name, "q") {
            takes = !is_zero(value);
        } else if is(name, given.parameter.0) && is(unquoted(value), given.parameter.1) {
            named = named.max(Names::Parameter);
        } else {
            stranger = !name.is_empty();
        }
    }
    // A parameter that the type does not have is no reason to refuse whoever asks for the type, and
    // whoever refuses such a variant has not refused the type.
    (takes || !stranger).then_some((named, takes))
}

fn split(text: &[u8], at: u8) -> (&[u8], Option<&[u8]>) {
    match text.iter().position(|byte| *byte == at) {
        Some(place) => (&text[..place], Some(&text[place + 1..])),
        None => (text, None),
    }
}

fn is(word: &[u8], expected: &str) -> bool {
    word.eq_ignore_ascii_case(expected.as_bytes())
}

fn unquoted(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(value)
}

/// `0`, `0.`, `0.0` to `0.000`.
fn is_zero(weight: &[u8]) -> bool {
    match weight {
        [b'0'] => true,
        [b'0', b'.', digits @ ..] => digits.iter().all(|digit| *digit == b'0'),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_range_decides() {
        for (values, expected) in [
            (&[][..], true),
            (&[""], true),
            (&["text/event-stream"], true),
            (&["text/event-stream", "text/event-stream;q=0"], true),
            (&["application/json, TEXT/*;q=0.5"], true),
            (&["a/b", "*/*"], true),
            (&["text/html, image/gif, *; q=.2, */*; q=.2"], true),
            (&["text/html, *"], true),
            (&["application/json"], false),
            (&["text/html"], false),
            (&["text/event-stream; q=0.000"], false),
            (&["text/event-stream;q=0.001"], true),
            (&["text/event-stream;q=0, */*"], false),
            (&["*/*, text/event-stream;q=0"], false),
            (&["*/*", "text/event-stream;q=0"], false),
            (&["text/*;q=0, */*"], false),
            (&["text/*, text/event-stream;Q=0"], false),
            (&["*/*;q=0"], false),
            (&["*/*;q=0, text/event-stream"], true),
            (&["*/*;q=0, text/*;q=0.1"], true),
            (&["text/*;q=0, text/event-stream;q=0.5"], true),
            (&["text/event-stream;charset=utf-8"], true),
            (&["text/event-stream;charset=\"UTF-8\";q=0, text/event-stream"], false),
            (&["text/event-stream;q=0, text/event-stream; charset=utf-8"], true),
            (&["text/event-stream;level=1"], true),
            (&["text/event-stream;level=1;q=0, text/event-stream"], true),
            (&["text/event-stream;level=1;q=0"], false),
            (&["text /event-stream"], false),
        ] {
            let lines = values.iter().map(|value| ("Accept", value.as_bytes()));
            let fields = Fields::from_lines(lines);
            assert_eq!(accepts(&fields, &EVENT_STREAM), expected, "{values:?}");
        }
    }
}
