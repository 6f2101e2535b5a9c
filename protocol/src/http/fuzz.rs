//! The body of the fuzz target `request_head`, which `cargo test` replays: every cut of the input
//! gives the same head, and what a request promises is true of its bytes.

use super::head::{Fed, HeadReader};
use super::parameters::Parameters;
use super::request::Request;
use super::violation::Violation;
use crate::cuts::{lead, pieces};
use crate::limits::HttpLimits;

/// Small, so that inputs reach every limit.
const LIMITS: HttpLimits = HttpLimits { head_bytes: 512, fields: 8, target_bytes: 128 };

/// What else is said of a request, by whoever stands above.
pub type Also<'a> = &'a dyn Fn(&Request<'_>) -> String;

/// The first eight bytes choose the cuts, the rest is the input.
///
/// # Panics
/// When a promise of the reader is broken, or `also` says something else under other cuts.
pub fn head(bytes: &[u8], also: Also<'_>) {
    let (cuts, input) = lead(bytes);
    same_under_cuts(input, cuts, also);
}

/// Reads `input` whole, byte by byte, and cut as the bytes of `cuts` say.
fn same_under_cuts(input: &[u8], cuts: u64, also: Also<'_>) {
    let whole = outcome([input], also);
    assert_eq!(whole, outcome(input.chunks(1), also), "byte by byte");
    assert_eq!(whole, outcome(pieces(input, cuts), also), "cut by {cuts:x}");
}

/// Bytes of the head, when it is whole, and the request or why there is none.
type HeadRead = Result<Option<(usize, Result<String, Violation>)>, Violation>;

fn outcome<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, also: Also<'_>) -> HeadRead {
    let mut reader = HeadReader::new();
    let mut length = 0;
    for piece in pieces {
        match reader.feed(piece, &LIMITS)? {
            Fed::Partial => length += piece.len(),
            Fed::Complete { taken } => {
                length += taken;
                let described = described(&reader, also);
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

fn described(reader: &HeadReader, also: Also<'_>) -> Result<String, Violation> {
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
    Ok(format!("{request:?} {:?} {channels:?} {}", request.origin(), also(&request)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Bytes that are often nearly a head.
    fn nearly_heads() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just("GET / HTTP/1.1\r\n"),
            Just("Host: a\r\n"),
            Just("X:y\r\n"),
            Just("\r\n"),
            Just("\n"),
            Just("\r"),
            Just(" "),
            Just("\0"),
            Just("POST /a?b=c HTTP/1.0\r\n"),
            Just("Content-Length: 1\r\n"),
        ];
        prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat().into_bytes())
    }

    proptest! {
        #[test]
        fn every_split_gives_the_same(input in nearly_heads(), cuts: u64) {
            same_under_cuts(&input, cuts, &|_| String::new());
        }
    }
}
