//! What the fuzz target `request_head` runs and `cargo test` replays: every cut of the input gives
//! the same head, and what a request promises is true of its bytes.

use super::head::{Fed, HeadReader};
use super::parameters::Parameters;
use super::violation::Violation;
use crate::cuts::{lead, pieces};
use crate::limits::HttpLimits;

/// Small, so that inputs reach every limit.
const LIMITS: HttpLimits = HttpLimits { head_bytes: 512, fields: 8, target_bytes: 128 };

/// The first eight bytes choose the cuts, the rest is the input.
///
/// # Panics
/// When a promise of the reader is broken.
pub fn head(bytes: &[u8]) {
    let (cuts, input) = lead(bytes);
    same_under_cuts(input, cuts);
}

/// Reads `input` whole, byte by byte, and cut as the bytes of `cuts` say.
pub(super) fn same_under_cuts(input: &[u8], cuts: u64) {
    let whole = outcome([input]);
    assert_eq!(whole, outcome(input.chunks(1)), "byte by byte");
    assert_eq!(whole, outcome(pieces(input, cuts)), "cut by {cuts:x}");
}

/// Bytes of the head, when it is whole, and the request or why there is none.
type Outcome = Result<Option<(usize, Result<String, Violation>)>, Violation>;

fn outcome<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut reader = HeadReader::new();
    let mut length = 0;
    for piece in pieces {
        match reader.feed(piece, &LIMITS)? {
            Fed::Partial => length += piece.len(),
            Fed::Complete { taken } => {
                length += taken;
                let described = described(&reader);
                // The machine is the stricter parser: what it passes, `httparse` takes apart.
                let lines = [
                    Violation::FieldLine,
                    Violation::RequestLine,
                    Violation::HttpVersion,
                    Violation::TooManyFields,
                ];
                assert!(!described.as_ref().is_err_and(|refused| lines.contains(refused)));
                return Ok(Some((length, described)));
            }
        }
    }
    Ok(None)
}

fn described(reader: &HeadReader) -> Result<String, Violation> {
    let request = reader.request(&LIMITS)?;
    assert!(request.fields.len() <= LIMITS.fields);
    assert!(request.minor_version == 0 || request.host.is_some());
    assert!(request.path.starts_with('/') || request.path == "*");
    assert!(!request.path.chars().any(|char| char.is_control() || char == '\\'));
    assert!(!request.path.split('/').any(|segment| segment == ".."));
    for (_, value) in request.fields.iter() {
        assert!(value.iter().all(|byte| *byte == b'\t' || (*byte >= 0x20 && *byte != 0x7f)));
    }
    let channels = Parameters::of(request.query(), 4);
    let upgrade = crate::ws::handshake::decide(&request);
    Ok(format!("{request:?} {:?} {channels:?} {upgrade:?}", request.origin()))
}
