//! WebSocket frames (RFC 6455, section 5.2): ready-made ones to send, and what clients say.

const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;
/// Section 5.5: control frames are no longer.
const CONTROL_BYTES_MAX: usize = 125;

/// Appends a message as one text frame.
pub fn text(payload: &[u8], out: &mut Vec<u8>) {
    frame(TEXT, payload, out);
}

fn frame(first: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.push(first);
    match payload.len() {
        length @ 0..=125 => out.push(length as u8),
        length @ 126..=0xffff => {
            out.push(126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}

/// Reads one client's frames. Messages are passed over: clients only listen here.
#[derive(Debug, Default)]
pub struct Inbound {
    /// A header, or a control frame, that has not come whole.
    partial: Vec<u8>,
    /// Bytes of a data frame that are still to be passed over.
    skip: u64,
}

/// What a client's bytes ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// To go on.
    Open,
    /// To end, once the answers are out.
    Closing,
}

impl Inbound {
    /// Takes all of `bytes`; answers go to `answers`. A frame that is not masked, or a control
    /// frame that is too long, ends the connection with code 1002.
    pub fn feed(&mut self, bytes: &[u8], answers: &mut Vec<u8>) -> After {
        self.partial.extend_from_slice(bytes);
        let mut at = 0;
        let after = loop {
            let rest = &self.partial[at..];
            let skipped = self.skip.min(rest.len() as u64);
            if skipped > 0 {
                self.skip -= skipped;
                at += skipped as usize;
                continue;
            }
            let Some((header_bytes, length)) = header(rest) else { break After::Open };
            let is_control = rest[0] & 0x08 != 0;
            if rest[1] & 0x80 == 0 || is_control && length > CONTROL_BYTES_MAX as u64 {
                frame(CLOSE, &1002u16.to_be_bytes(), answers);
                break After::Closing;
            }
            if !is_control {
                at += header_bytes;
                self.skip = length;
                continue;
            }
            let end = header_bytes + length as usize;
            let Some(masked) = rest.get(header_bytes..end) else { break After::Open };
            let mask = &rest[header_bytes - 4..header_bytes];
            let unmasked = masked.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key);
            let payload: Vec<u8> = unmasked.collect();
            match rest[0] {
                PING => frame(PONG, &payload, answers),
                CLOSE => {
                    frame(CLOSE, payload.get(..2).unwrap_or_default(), answers);
                    break After::Closing;
                }
                _ => {}
            }
            at += end;
        };
        self.partial.drain(..at);
        if self.partial.is_empty() {
            // An idle client keeps no buffer.
            self.partial = Vec::new();
        }
        after
    }
}

/// Bytes of a masked frame's header, and of its payload; `None` where it has not come whole.
fn header(bytes: &[u8]) -> Option<(usize, u64)> {
    let (before_mask, length) = match bytes.get(1)? & 0x7f {
        126 => (4, bytes.get(2..4)?.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))),
        127 => (10, bytes.get(2..10)?.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))),
        short => (2, u64::from(short)),
    };
    bytes.get(..before_mask + 4).map(|header| (header.len(), length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_written_as_short_as_they_may() {
        for (length, header) in [
            (125, &[0x81, 125][..]),
            (126, &[0x81, 126, 0, 126]),
            (0xffff, &[0x81, 126, 0xff, 0xff]),
            (0x1_0000, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut out = Vec::new();
            text(&vec![b'x'; length], &mut out);
            assert_eq!((&out[..header.len()], out.len()), (header, header.len() + length));
        }
    }

    #[test]
    fn pings_and_a_close_are_answered_however_they_are_cut() {
        let mut says = vec![0x82, 0x80 | 126, 0, 130, 9, 9, 9, 9];
        says.extend_from_slice(&[7; 130]);
        says.extend_from_slice(&[0x89, 0x82, 1, 2, 3, 4, b'h' ^ 1, b'i' ^ 2]);
        says.extend_from_slice(&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8]);
        for cut in 0..says.len() {
            let (mut inbound, mut answers) = (Inbound::default(), Vec::new());
            assert_eq!(inbound.feed(&says[..cut], &mut answers), After::Open);
            assert_eq!(inbound.feed(&says[cut..], &mut answers), After::Closing, "{cut}");
            assert_eq!(answers, [0x8a, 2, b'h', b'i', 0x88, 2, 0x03, 0xe8], "{cut}");
        }
    }

    #[test]
    fn a_frame_without_a_mask_is_a_violation() {
        let mut answers = Vec::new();
        let after = Inbound::default().feed(&[0x89, 0, 0, 0, 0, 0], &mut answers);
        assert_eq!((after, &answers[..]), (After::Closing, &[0x88, 2, 0x03, 0xea][..]));
    }
}
