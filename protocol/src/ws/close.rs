//! The payload of a close frame (RFC 6455, section 5.5.1).

use super::close_code::CloseCode;
use super::violation::Violation;
use crate::limits::CONTROL_PAYLOAD_BYTES_MAX;

/// Longest reason in bytes: what a control frame holds beside the code.
pub const REASON_BYTES_MAX: usize = CONTROL_PAYLOAD_BYTES_MAX - 2;

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
    out.extend_from_slice(&code.number().to_be_bytes());
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
