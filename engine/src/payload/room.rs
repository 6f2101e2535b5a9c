//! How long a message becomes on its way: clients have limits of their own, for frames as they are.

use std::fmt;

use fanfare_protocol::dialect;
use fanfare_protocol::limits::ENVELOPE_BYTES_MAX;
use fanfare_protocol::message::Kind;

/// The most that one byte of a payload becomes: a line break in an event stream, `\ndata: `.
const GROWTH_MAX: usize = 7;

/// The longest frame, event or item that a node gives out which takes messages of `message_bytes`.
pub const fn frame_bytes(message_bytes: usize) -> usize {
    message_bytes.saturating_add(ENVELOPE_BYTES_MAX)
}

/// A message that would leave in a frame over [`frame_bytes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong {
    /// How long its longest encoding would be.
    pub bytes: usize,
    /// How long it may be.
    pub limit: usize,
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes, limit } = self;
        write!(
            f,
            "the message would have {bytes} bytes in the longest form in which clients get it \
             (text escaped in JSON, binary in base 64, a field for each line), and {limit} is the \
             most: send less in one message, or raise message_bytes"
        )
    }
}

/// Whether every encoding of a message has room in a frame. Small ones are not looked at.
///
/// # Errors
/// How long the longest would be.
pub fn room(
    message_bytes: usize,
    channel: &str,
    event: Option<&str>,
    kind: Kind,
    data: &[u8],
) -> Result<(), TooLong> {
    if data.len() <= message_bytes / GROWTH_MAX {
        return Ok(());
    }
    let limit = frame_bytes(message_bytes);
    match dialect::longest_bytes(channel, event, kind, data) {
        bytes if bytes > limit => Err(TooLong { bytes, limit }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(message_bytes: usize, kind: Kind, data: &[u8]) -> bool {
        room(message_bytes, "demo", Some("tick"), kind, data).is_ok()
    }

    #[test]
    fn plain_text_and_json_of_the_limit_fit_and_what_grows_does_not() {
        const LIMIT: usize = 100_000;
        assert!(fits(LIMIT, Kind::Text, &vec![b'x'; LIMIT]));
        let mut json = vec![b'1'; LIMIT];
        json[1] = b'.';
        assert!(fits(LIMIT, Kind::Json, &json));
        assert!(fits(LIMIT, Kind::Binary, &vec![0; LIMIT * 3 / 4]));
        assert!(!fits(LIMIT, Kind::Binary, &vec![0; LIMIT]));
        for (byte, growth) in [(b'"', 2), (1, 6), (b'\n', 7)] {
            let data = vec![byte; LIMIT];
            assert!(!fits(LIMIT, Kind::Text, &data), "{byte}");
            assert!(fits(LIMIT, Kind::Text, &data[..LIMIT / growth]), "{byte}");
            let more = LIMIT / growth + ENVELOPE_BYTES_MAX;
            assert!(!fits(LIMIT, Kind::Text, &data[..more]), "{byte}");
        }
        // Between the tokens of JSON line breaks are fields of an event stream, too.
        let spaced = [vec![b'\n'; LIMIT - 1], vec![b'1']].concat();
        assert!(!fits(LIMIT, Kind::Json, &spaced));
    }

    #[test]
    fn the_refusal_says_how_long_it_would_be() {
        let refused = room(1_000, "demo", None, Kind::Text, &[1; 1_000]).unwrap_err();
        assert!((6_000..6_200).contains(&refused.bytes), "{refused:?}");
        assert_eq!(refused.limit, 1_000 + ENVELOPE_BYTES_MAX);
        assert!(refused.to_string().contains(&refused.bytes.to_string()));
        assert!(refused.to_string().len() <= 512, "it has room in a REFUSED frame");
    }
}
