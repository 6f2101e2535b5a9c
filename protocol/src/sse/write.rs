//! Events as bytes. A line break in a payload can never end its field: every line of the payload
//! is a `data:` line of its own, whichever of CR, LF and CRLF parted it. A reader sees LF for each.

use memchr::{memchr2, memchr2_iter};

use crate::id::{Id, write_decimal};

/// Appends one event. `data` may be empty, and is then still dispatched: it has one `data:` line.
/// `event` has passed [`crate::names::is_event_name`] or is one of ours: no line breaks.
pub fn event(out: &mut Vec<u8>, id: Option<Id>, event: Option<&str>, data: &[u8]) {
    begin(out, event);
    lines(out, data);
    end(out, id);
}

/// Appends a comment, which keeps the path to the client alive and which no page sees. It is a
/// line and no block: many parsers take an empty line for the end of a message, whatever stood
/// before it. `text` has no line breaks.
pub fn comment(out: &mut Vec<u8>, text: &str) {
    line(out, b":", text.as_bytes());
}

/// Appends how long a client waits before it connects again, in milliseconds. It is a line and no
/// block, for the reason of [`comment`]: it belongs to the event that follows, and where none does
/// it counts all the same.
pub fn retry(out: &mut Vec<u8>, retry_ms: u64) {
    out.extend_from_slice(b"retry: ");
    write_decimal(retry_ms, out);
    out.push(b'\n');
}

/// The lines before the payload, and the name of its first `data` field. The payload follows by
/// [`lines`], in pieces if need be, and then [`end`].
pub(crate) fn begin(out: &mut Vec<u8>, event: Option<&str>) {
    if let Some(event) = event {
        line(out, b"event: ", event.as_bytes());
    }
    out.extend_from_slice(b"data: ");
}

/// A piece of payload, in which every line break begins another `data` field. A CRLF must lie
/// within one piece.
pub(crate) fn lines(out: &mut Vec<u8>, mut piece: &[u8]) {
    out.reserve(piece.len() + 2);
    while let Some(at) = memchr2(b'\r', b'\n', piece) {
        out.extend_from_slice(&piece[..at]);
        out.extend_from_slice(b"\ndata: ");
        let is_crlf = piece[at..].starts_with(b"\r\n");
        piece = &piece[at + if is_crlf { 2 } else { 1 }..];
    }
    out.extend_from_slice(piece);
}

/// Length of what [`lines`] appends.
pub(crate) fn lines_bytes(piece: &[u8]) -> usize {
    let breaks = memchr2_iter(b'\r', b'\n', piece);
    // Of CR LF one byte is let go of, beside the other, which becomes seven.
    let growth = breaks.map(|at| match (piece[at], piece.get(at + 1)) {
        (b'\r', Some(b'\n')) => -1,
        _ => 6,
    });
    piece.len().saturating_add_signed(growth.sum())
}

/// The end of the last `data` field, the id, and the end of the event. The id comes last, because
/// many parsers take it at its line: of an event that a cut halves they would drop the data and
/// resume behind it.
pub(crate) fn end(out: &mut Vec<u8>, id: Option<Id>) {
    out.push(b'\n');
    if let Some(id) = id {
        out.extend_from_slice(b"id: ");
        id.write(out);
        out.push(b'\n');
    }
    out.push(b'\n');
}

fn line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    debug_assert!(memchr2(b'\r', b'\n', value).is_none(), "a line break would begin a field");
    out.extend_from_slice(name);
    out.extend_from_slice(value);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Epoch;
    use proptest::prelude::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn known_blocks() {
        let id = Id { epoch: Epoch::from_random(0), position: 7 };
        let cases = [
            (Some(id), Some("tick"), "a", "event: tick\ndata: a\nid: 00000000-7\n\n"),
            (None, None, "", "data: \n\n"),
            (None, None, " a ", "data:  a \n\n"),
            (None, None, "a\nb", "data: a\ndata: b\n\n"),
            (None, None, "a\rb", "data: a\ndata: b\n\n"),
            (None, None, "a\r\nb", "data: a\ndata: b\n\n"),
            (None, None, "a\n\rb", "data: a\ndata: \ndata: b\n\n"),
            (None, None, "\n", "data: \ndata: \n\n"),
            (None, None, "a\n\nid: x", "data: a\ndata: \ndata: id: x\n\n"),
            (None, None, "a\u{2028}b\0", "data: a\u{2028}b\0\n\n"),
        ];
        for (id, name, data, expected) in cases {
            assert_eq!(written(|out| event(out, id, name, data.as_bytes())), expected);
        }
        assert_eq!(written(|out| comment(out, "")), ":\n");
        assert_eq!(written(|out| retry(out, 1000)), "retry: 1000\n");
    }

    proptest! {
        #[test]
        fn lengths_are_told_before(data in "(\r|\n|\r\n|a|é){0,12}") {
            let data = data.as_bytes();
            prop_assert_eq!(written(|out| lines(out, data)).len(), lines_bytes(data));
        }

        #[test]
        fn what_is_written_is_read_back(
            data in "(\r|\n|\r\n|\0|\u{2028}|\u{feff}|:|data: |[ a-zä]){0,12}",
            event in prop::option::of("[a-z]([ :a-zä]{0,4}[a-z])?"),
            position: u64,
        ) {
            super::super::fuzz::check_event(position, event.as_deref(), data.as_bytes());
        }
    }
}
