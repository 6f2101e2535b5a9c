//! Close codes and the payload of a close frame (RFC 6455, sections 5.5.1 and 7.4).
//!
//! Codes of ours tell a client what to do: 44xx is not to be tried again unchanged, 45xx is to be
//! tried again, with backoff, resuming. A code that was ever given out keeps its meaning for good.

use super::violation::Violation;
use crate::limits::CONTROL_PAYLOAD_BYTES_MAX;

/// Longest reason in bytes: what a control frame holds beside the code.
pub const REASON_BYTES_MAX: usize = CONTROL_PAYLOAD_BYTES_MAX - 2;

/// A status code of a close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// The purpose was fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// The endpoint goes away.
    pub const GOING_AWAY: Self = Self(1001);
    /// The peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// A kind of message that this endpoint does not take.
    pub const UNSUPPORTED: Self = Self(1003);
    /// Bytes that are not what they claim to be.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// A limit that no other code names.
    pub const POLICY: Self = Self(1008);
    /// A message over the limit.
    pub const TOO_BIG: Self = Self(1009);
    /// A fault of ours.
    pub const INTERNAL: Self = Self(1011);
    /// The node restarts: connect again.
    pub const RESTART: Self = Self(1012);
    /// The node has no room: connect again later.
    pub const TRY_LATER: Self = Self(1013);
    /// Do not retry unchanged: a command that cannot be understood.
    pub const BAD_COMMAND: Self = Self(4400);
    /// Do not retry unchanged: the token is not good.
    pub const BAD_TOKEN: Self = Self(4401);
    /// Do not retry unchanged: not allowed.
    pub const FORBIDDEN: Self = Self(4403);
    /// Do not retry unchanged: no token came in time.
    pub const AUTH_TIMEOUT: Self = Self(4408);
    /// Do not retry unchanged: another connection took the place of this one.
    pub const SUPERSEDED: Self = Self(4409);
    /// Reconnect and resume: this node is draining.
    pub const DRAINING: Self = Self(4501);
    /// Reconnect and resume, with a new token: this one has expired.
    pub const TOKEN_EXPIRED: Self = Self(4505);
    /// Reconnect and resume: the client was too slow for its channels.
    pub const SLOW_CONSUMER: Self = Self(4508);
    /// Reconnect and resume: the node no longer knows where the client was.
    pub const POSITION_LOST: Self = Self(4510);
    /// Reconnect and resume: a ping of ours was not answered.
    pub const NO_PONG: Self = Self(4512);
    /// Reconnect and resume, slower: the client sent too much.
    pub const RATE_LIMITED: Self = Self(4529);

    /// The code with this number, where an endpoint may send it in a frame: 1000 to 1003, 1007 to
    /// 1014 (registered with IANA), 3000 to 4999. 1004 to 1006 and 1015 are reserved for what never
    /// is on the wire, the rest for later versions (section 7.4).
    pub fn from_wire(number: u16) -> Option<Self> {
        matches!(number, 1000..=1003 | 1007..=1014 | 3000..=4999).then_some(Self(number))
    }

    /// The number.
    pub fn number(self) -> u16 {
        self.0
    }
}

/// Reads the payload of a close frame: nothing, or a code and a reason.
///
/// # Errors
/// A payload of one byte, a code that nobody may send, or a reason that is no UTF-8.
pub fn parse(payload: &[u8]) -> Result<Option<(CloseCode, &str)>, Violation> {
    let Some((number, reason)) = payload.split_first_chunk::<2>() else {
        return if payload.is_empty() { Ok(None) } else { Err(Violation::CloseTooShort) };
    };
    let number = u16::from_be_bytes(*number);
    let code = CloseCode::from_wire(number).ok_or(Violation::CloseCodeForbidden)?;
    let reason = std::str::from_utf8(reason).map_err(|_| Violation::CloseReasonNotUtf8)?;
    Ok(Some((code, reason)))
}

/// Appends the payload of a close frame. A reason that does not fit is cut between two characters.
pub fn write(code: CloseCode, reason: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&code.0.to_be_bytes());
    out.extend_from_slice(fit(reason).as_bytes());
}

/// As much of `reason` as a close frame holds, in whole characters.
pub(super) fn fit(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(REASON_BYTES_MAX)]
}

/// Whether `bytes`, as they came from a client, end with what can only be meant as a close frame.
///
/// For a reader that has closed already and may stand anywhere in the client's stream (after a
/// fault, in the middle of a frame): all that it waits for is the close frame, behind which a
/// client sends nothing more (RFC 6455, section 5.5.1). One that comes in pieces is not seen.
pub fn ends_with_close(bytes: &[u8]) -> bool {
    (0..=CONTROL_PAYLOAD_BYTES_MAX).any(|length| {
        let frame = bytes.len().checked_sub(6 + length).map(|start| &bytes[start..]);
        frame.is_some_and(|frame| frame[0] == 0x88 && frame[1] == 0x80 | length as u8)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_close_frame_is_seen_behind_anything() {
        let empty = [0x88, 0x80, 1, 2, 3, 4];
        let coded = [0x88, 0x82, 1, 2, 3, 4, 0x03 ^ 1, 0xe8 ^ 2];
        for before in [&b""[..], b"\xa3", b"the rest of a frame", &[0x88; 300]] {
            assert!(ends_with_close(&[before, &empty].concat()), "{before:?}");
            assert!(ends_with_close(&[before, &coded].concat()), "{before:?}");
        }
        for other in [&b""[..], &coded[..7], b"\x89\x80abcd", b"\x88\x02ab", b"any text at all"] {
            assert!(!ends_with_close(other), "{other:?}");
        }
        assert!(!ends_with_close(&[&coded[..], b"more"].concat()), "nothing follows a close frame");
    }

    #[test]
    fn codes_that_may_be_received() {
        // THREATS W14, number by number, against ranges written the other way round.
        for number in 0..=u16::MAX {
            let refused = number < 1000
                || (1004..=1006).contains(&number)
                || (1015..=2999).contains(&number)
                || number >= 5000;
            assert_eq!(CloseCode::from_wire(number).is_none(), refused, "{number}");
        }
    }

    #[test]
    fn payloads() {
        assert_eq!(parse(b""), Ok(None));
        assert_eq!(parse(b"\x03"), Err(Violation::CloseTooShort));
        assert_eq!(parse(b"\x03\xe8"), Ok(Some((CloseCode::NORMAL, ""))));
        assert_eq!(parse(b"\x11\x9cslow"), Ok(Some((CloseCode::SLOW_CONSUMER, "slow"))));
        assert_eq!(parse(b"\x03\xed"), Err(Violation::CloseCodeForbidden));
        assert_eq!(parse(b"\x03\xe8\xff"), Err(Violation::CloseReasonNotUtf8));
        assert_eq!(parse(b"\x03\xe8\xe2\x82"), Err(Violation::CloseReasonNotUtf8));
    }

    #[test]
    fn a_written_payload_is_read_back_and_a_long_reason_is_cut_between_characters() {
        let mut out = Vec::new();
        write(CloseCode::DRAINING, "moving house", &mut out);
        assert_eq!(parse(&out), Ok(Some((CloseCode::DRAINING, "moving house"))));

        out.clear();
        write(CloseCode::DRAINING, &"é".repeat(100), &mut out);
        assert_eq!(out.len(), 124, "a whole é more would be 126 bytes");
        assert_eq!(parse(&out), Ok(Some((CloseCode::DRAINING, "é".repeat(61).as_str()))));
    }
}
