//! A naive decoder to compare the machine with: it has the whole stream, looks at whole frames, and
//! joins messages in a `Vec`.

use super::fuzz::{StreamRead, Told};
use super::{DataKind, Violation};
use crate::limits::WsLimits;

/// What a server is told by a client's `stream`; `None` where it ends inside a frame, of which this
/// decoder says nothing.
pub(super) fn decode(mut stream: &[u8], limits: &WsLimits) -> Option<StreamRead> {
    let mut outcome = StreamRead::default();
    let mut message: Option<(DataKind, u32)> = None;
    while !stream.is_empty() {
        let frame = Frame::split(&mut stream)?;
        match take(frame, &mut message, &mut outcome, limits) {
            Ok(whole) => whole?,
            Err(violation) => {
                outcome.violation = Some(violation);
                return Some(outcome);
            }
        }
        if matches!(outcome.told.last(), Some(Told::Close(_))) {
            return Some(outcome);
        }
    }
    outcome.idle = message.is_none();
    Some(outcome)
}

struct Frame {
    first: u8,
    second: u8,
    /// None where the payload is not there.
    payload: Option<Vec<u8>>,
    length: u64,
}

impl Frame {
    fn split(stream: &mut &[u8]) -> Option<Self> {
        let (first, second) = (*stream.first()?, *stream.get(1)?);
        let (length, mut at) = match second & 127 {
            126 => (u64::from(u16::from_be_bytes(stream.get(2..4)?.try_into().ok()?)), 4),
            127 => (u64::from_be_bytes(stream.get(2..10)?.try_into().ok()?), 10),
            short => (u64::from(short), 2),
        };
        let mut key = [0; 4];
        if second & 128 != 0 {
            key.copy_from_slice(stream.get(at..at + 4)?);
            at += 4;
        }
        let end = usize::try_from(length).ok().and_then(|length| at.checked_add(length));
        let payload = end.and_then(|end| stream.get(at..end)).map(|masked| {
            masked.iter().enumerate().map(|(i, byte)| byte ^ key[i & 3]).collect::<Vec<u8>>()
        });
        *stream = end.and_then(|end| stream.get(end..)).unwrap_or_default();
        Some(Self { first, second, payload, length })
    }
}

/// `None` where the header is good and the payload is not all there.
fn take(
    frame: Frame,
    message: &mut Option<(DataKind, u32)>,
    outcome: &mut StreamRead,
    limits: &WsLimits,
) -> Result<Option<()>, Violation> {
    let (fin, opcode) = (frame.first >= 128, frame.first & 15);
    let refuse = |wrong, violation| if wrong { Err(violation) } else { Ok(()) };
    refuse(frame.first >> 4 & 7 != 0, Violation::ReservedBit)?;
    refuse(![0, 1, 2, 8, 9, 10].contains(&opcode), Violation::ReservedOpcode)?;
    let control = opcode >= 8;
    if control {
        refuse(!fin, Violation::ControlFragmented)?;
    } else {
        refuse(opcode == 0 && message.is_none(), Violation::NothingToContinue)?;
        refuse(opcode != 0 && message.is_some(), Violation::MessageInsideMessage)?;
        let fragments = message.map_or(0, |(_, fragments)| fragments);
        refuse(fragments + 1 > limits.fragments, Violation::TooManyFragments)?;
    }
    refuse(frame.second < 128, Violation::Unmasked)?;
    if control {
        refuse(frame.second & 127 > 125, Violation::ControlTooLong)?;
        refuse(opcode == 8 && frame.length == 1, Violation::CloseTooShort)?;
    } else {
        refuse(frame.length > i64::MAX as u64, Violation::LengthTopBit)?;
        let least = [126, 65_536].get((frame.second as usize & 127).wrapping_sub(126));
        refuse(least.is_some_and(|least| frame.length < *least), Violation::LengthNotMinimal)?;
        let sum = outcome.open.len() as u64 + frame.length;
        refuse(sum > limits.message_bytes as u64, Violation::MessageTooLong)?;
    }
    let Some(payload) = frame.payload else { return Ok(None) };
    match opcode {
        8 => outcome.told.push(Told::Close(close(&payload)?)),
        9 => outcome.told.push(Told::Ping(payload)),
        10 => outcome.told.push(Told::Pong(payload)),
        _ => {
            let (kind, fragments) = message.unwrap_or(match opcode {
                1 => (DataKind::Text, 0),
                _ => (DataKind::Binary, 0),
            });
            *message = Some((kind, fragments + 1));
            outcome.open.extend(payload);
            if kind == DataKind::Text {
                // A code point that is cut by a fragment's end is good until the last fragment.
                let text = std::str::from_utf8(&outcome.open);
                let wrong = text.is_err_and(|error| fin || error.error_len().is_some());
                refuse(wrong, Violation::TextNotUtf8)?;
            }
            if fin {
                outcome.told.push(Told::Message(kind, std::mem::take(&mut outcome.open)));
                *message = None;
            }
        }
    }
    Ok(Some(()))
}

fn close(payload: &[u8]) -> Result<Option<(u16, String)>, Violation> {
    let [high, low, reason @ ..] = payload else { return Ok(None) };
    let code = u16::from_be_bytes([*high, *low]);
    const REGISTERED: [u16; 12] =
        [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014];
    if !REGISTERED.contains(&code) && !(3000..5000).contains(&code) {
        return Err(Violation::CloseCodeForbidden);
    }
    let reason = String::from_utf8(reason.to_vec()).map_err(|_| Violation::CloseReasonNotUtf8)?;
    Ok(Some((code, reason)))
}
