//! The body of the fuzz target `proxy_header`, which `cargo test` replays: every cut of the input
//! gives the same header, and no header is longer than it may be.

use super::{ProxiedSource, ProxyFed, ProxyHeaderFault, ProxyHeaderReader};
use super::{V1_BYTES_MAX, V2_LENGTH_MAX, V2_START_BYTES};
use crate::cuts::{lead, pieces};

/// The first eight bytes choose the cuts, the rest is the input.
///
/// # Panics
/// When a promise of the reader is broken.
pub fn header(bytes: &[u8]) {
    let (cuts, input) = lead(bytes);
    let whole = outcome([input]);
    assert_eq!(whole, outcome(input.chunks(1)), "byte by byte");
    assert_eq!(whole, outcome(pieces(input, cuts)), "cut by {cuts:x}");
    if let Ok(Some((taken, _))) = whole {
        let most = if input[0] == b'P' { V1_BYTES_MAX } else { V2_START_BYTES + V2_LENGTH_MAX };
        assert!(taken <= most.min(input.len()));
    }
}

/// Bytes of the header, when it is whole, and for whom it speaks.
type HeaderRead = Result<Option<(usize, ProxiedSource)>, ProxyHeaderFault>;

pub(super) fn outcome<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> HeaderRead {
    let (mut reader, mut length) = (ProxyHeaderReader::default(), 0);
    for piece in pieces {
        match reader.feed(piece)? {
            ProxyFed::Partial => length += piece.len(),
            ProxyFed::Complete { taken, source } => return Ok(Some((length + taken, source))),
        }
    }
    Ok(None)
}
