//! What the fuzz target `sse_writer` runs and `cargo test` replays: whatever is published comes
//! out of a browser's parser as it went in, and any stream reads the same however it is cut.

use super::reader::{Event, Reader};
use super::write;
use crate::cuts::{lead, pieces};
use crate::id::{Epoch, Id};
use crate::names::is_event_name;

/// Small, so that streams reach it.
const SMALL_BYTES_MAX: usize = 64;

/// Eight bytes of position and cuts, one for the length of an event name, the name, the payload.
///
/// # Panics
/// When the payload comes back changed, or a cut changes what is read.
pub fn round_trip(bytes: &[u8]) {
    let (number, rest) = lead(bytes);
    same_under_cuts(rest, number);
    let [length, rest @ ..] = rest else { return };
    let (name, data) = rest.split_at(rest.len().min(usize::from(*length)));
    let name = std::str::from_utf8(name).ok().filter(|name| is_event_name(name));
    check_event(number, name, data);
}

/// Writes an event between two others and reads the three back.
pub(super) fn check_event(position: u64, name: Option<&str>, data: &[u8]) {
    let id = |position| Id { epoch: Epoch::from_random(position), position };
    let mut stream = Vec::new();
    write::retry(&mut stream, 1_000);
    write::event(&mut stream, Some(id(1)), Some("fanfare.open"), b"{}");
    write::comment(&mut stream, "");
    write::event(&mut stream, None, None, b"before");
    write::comment(&mut stream, "");
    write::comment(&mut stream, "");
    write::event(&mut stream, Some(id(position)), name, data);
    write::event(&mut stream, Some(id(2)), None, b"after");
    write::retry(&mut stream, 2_000);
    let text = String::from_utf8_lossy(data).replace("\r\n", "\n").replace('\r', "\n");
    let event = |id: Id, event: &str, data: &str| Event {
        id: id.to_string(),
        event: event.into(),
        data: data.into(),
    };
    let expected = [
        event(id(1), "fanfare.open", "{}"),
        event(id(1), "message", "before"),
        event(id(position), name.unwrap_or("message"), &text),
        event(id(2), "message", "after"),
    ];
    let (events, _, retry_ms) = read([stream.as_slice()], usize::MAX);
    assert_eq!((events.as_slice(), retry_ms), (&expected[..], Some(2_000)));
    same_under_cuts(&stream, position);
}

/// Reads `stream` whole, byte by byte, and cut as the bytes of `cuts` say.
pub(super) fn same_under_cuts(stream: &[u8], cuts: u64) {
    for bytes_max in [SMALL_BYTES_MAX, usize::MAX] {
        let whole = read([stream], bytes_max);
        assert_eq!(whole, read(stream.chunks(1), bytes_max), "byte by byte");
        assert_eq!(whole, read(pieces(stream, cuts), bytes_max), "cut by {cuts:x}");
    }
}

/// Events, last id and retry; the events up to the one that is too long.
fn read<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
    bytes_max: usize,
) -> (Vec<Event>, String, Option<u64>) {
    let (mut reader, mut events) = (Reader::new(bytes_max), Vec::new());
    for piece in pieces {
        if reader.feed(piece, &mut events).is_err() {
            break;
        }
    }
    (events, reader.last_id().to_string(), reader.retry_ms())
}
