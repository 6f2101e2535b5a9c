//! The header of a frame (RFC 6455, section 5.2), byte by byte, refused at the first byte that
//! decides it.
//!
//! ```text
//!  byte 0          byte 1           0, 2 or 8 bytes    0 or 4 bytes
//!  F RRR OOOO      M LLLLLLL        longer length      mask
//! ```
//!
//! A header has at most 14 bytes, so a step per byte costs little, and there is one path for a
//! header in one piece and for one that drips in. While a length is half read, what is known is a
//! range; a frame is refused when no length in that range could be good.

use super::violation::Violation;
use crate::limits::CONTROL_PAYLOAD_BYTES_MAX;

/// What a frame is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Opcode {
    /// More of the message that is open.
    #[default]
    Continuation = 0,
    /// A message of UTF-8, or its first fragment.
    Text = 1,
    /// A message of bytes, or its first fragment.
    Binary = 2,
    /// The peer ends the connection.
    Close = 8,
    /// The peer asks for a pong.
    Ping = 9,
    /// The answer to a ping, or a sign of life.
    Pong = 10,
}

impl Opcode {
    /// The opcode with this number; `None` for the reserved ones.
    pub fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }

    /// Whether it is one that may stand between the fragments of a message.
    pub fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// A header that was read whole and found good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameHeader {
    /// Whether it is the last frame of its message.
    pub fin: bool,
    /// What it is.
    pub opcode: Opcode,
    /// Bytes of payload.
    pub length: u64,
    /// The key of the payload; zeros, which change nothing, where it is not masked.
    pub mask: [u8; 4],
}

/// What the frame that is being read may be.
#[derive(Clone, Copy, Debug)]
pub struct Admission {
    /// Whether the sender must mask (a client) or must not (a server).
    pub masked: bool,
    /// Whether a message is open.
    pub in_message: bool,
    /// Whether one more fragment is within the limit.
    pub fragment_left: bool,
    /// Bytes that the message may still take.
    pub room: u64,
}

/// Reads headers one after the other.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeaderDecoder {
    part: Part,
    /// Bytes that `part` still needs, where it has more than one.
    missing: u8,
    header: FrameHeader,
}

/// Which part of the header the next byte belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    /// The first byte: nothing of the frame has arrived.
    #[default]
    Opcode,
    /// The second byte.
    Length,
    /// A length of two bytes, which must be at least 126.
    Length16,
    /// A length of eight bytes, which must be at least 65,536.
    Length64,
    /// The mask.
    Mask,
}

impl HeaderDecoder {
    /// Whether nothing of a header has arrived.
    pub fn is_idle(&self) -> bool {
        self.part == Part::Opcode
    }

    /// Takes one byte; gives the header with its last one, and is then ready for the next frame.
    ///
    /// # Errors
    /// The first thing in the header that RFC 6455 or `admission` forbids.
    pub fn push(
        &mut self,
        byte: u8,
        admission: &Admission,
    ) -> Result<Option<FrameHeader>, Violation> {
        let next = match self.part {
            Part::Opcode => self.opcode(byte, admission)?,
            Part::Length => self.length(byte, admission)?,
            Part::Length16 | Part::Length64 => self.longer_length(byte, admission)?,
            Part::Mask => {
                self.missing -= 1;
                self.header.mask[usize::from(3 - self.missing)] = byte;
                (self.missing > 0).then_some(Part::Mask)
            }
        };
        if let Some(part) = next {
            self.part = part;
            return Ok(None);
        }
        Ok(Some(std::mem::take(self).header))
    }

    /// The opcode that the last first byte named, whether or not its frame was good.
    pub fn last_opcode(&self) -> Opcode {
        self.header.opcode
    }

    fn opcode(&mut self, byte: u8, admission: &Admission) -> Result<Option<Part>, Violation> {
        if byte & 0x70 != 0 {
            return Err(Violation::ReservedBit);
        }
        let fin = byte & 0x80 != 0;
        let opcode = Opcode::from_number(byte & 0x0f).ok_or(Violation::ReservedOpcode)?;
        if opcode.is_control() {
            if !fin {
                return Err(Violation::ControlFragmented);
            }
        } else if opcode == Opcode::Continuation && !admission.in_message {
            return Err(Violation::NothingToContinue);
        } else if opcode != Opcode::Continuation && admission.in_message {
            return Err(Violation::MessageInsideMessage);
        } else if !admission.fragment_left {
            return Err(Violation::TooManyFragments);
        }
        self.header = FrameHeader { fin, opcode, length: 0, mask: [0; 4] };
        Ok(Some(Part::Length))
    }

    fn length(&mut self, byte: u8, admission: &Admission) -> Result<Option<Part>, Violation> {
        match (byte & 0x80 != 0, admission.masked) {
            (false, true) => return Err(Violation::Unmasked),
            (true, false) => return Err(Violation::Masked),
            _ => {}
        }
        let length = byte & 0x7f;
        if self.header.opcode.is_control() {
            if usize::from(length) > CONTROL_PAYLOAD_BYTES_MAX {
                return Err(Violation::ControlTooLong);
            }
            if self.header.opcode == Opcode::Close && length == 1 {
                return Err(Violation::CloseTooShort);
            }
            self.header.length = u64::from(length);
            return Ok(self.after_length(admission));
        }
        match length {
            126 => {
                self.missing = 2;
                Ok(Some(Part::Length16))
            }
            127 => {
                self.missing = 8;
                Ok(Some(Part::Length64))
            }
            _ if u64::from(length) > admission.room => Err(Violation::MessageTooLong),
            _ => {
                self.header.length = u64::from(length);
                Ok(self.after_length(admission))
            }
        }
    }

    /// A byte of the longer forms. `least` and `most` are what the length can still be.
    fn longer_length(
        &mut self,
        byte: u8,
        admission: &Admission,
    ) -> Result<Option<Part>, Violation> {
        self.missing -= 1;
        self.header.length = self.header.length << 8 | u64::from(byte);
        let least = self.header.length << (8 * self.missing);
        let most = least | ((1 << (8 * self.missing)) - 1);
        // "the most significant bit MUST be 0" (section 5.2).
        if least >> 63 != 0 {
            return Err(Violation::LengthTopBit);
        }
        // "the minimal number of bytes MUST be used to encode the length" (section 5.2).
        if most < if self.part == Part::Length16 { 126 } else { 1 << 16 } {
            return Err(Violation::LengthNotMinimal);
        }
        if least > admission.room {
            return Err(Violation::MessageTooLong);
        }
        if self.missing > 0 {
            return Ok(Some(self.part));
        }
        Ok(self.after_length(admission))
    }

    fn after_length(&mut self, admission: &Admission) -> Option<Part> {
        self.missing = 4;
        admission.masked.then_some(Part::Mask)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: Admission =
        Admission { masked: true, in_message: false, fragment_left: true, room: 1 << 40 };

    /// How many bytes it took, and to what.
    fn read(bytes: &[u8], admission: Admission) -> (usize, Result<Option<FrameHeader>, Violation>) {
        let mut decoder = HeaderDecoder::default();
        for (i, byte) in bytes.iter().enumerate() {
            match decoder.push(*byte, &admission) {
                Ok(None) => {}
                end => return (i + 1, end),
            }
        }
        (bytes.len(), Ok(None))
    }

    #[test]
    fn lengths_of_every_form() {
        for (bytes, length) in [
            (&b"\x82\x80mask"[..], 0),
            (b"\x82\xfdmask", 125),
            (b"\x82\xfe\x00\x7emask", 126),
            (b"\x82\xfe\xff\xffmask", 65_535),
            (b"\x82\xff\x00\x00\x00\x00\x00\x01\x00\x00mask", 65_536),
            (b"\x82\xff\x00\x00\x00\xff\xff\xff\xff\xffmask", (1 << 40) - 1),
        ] {
            let header = FrameHeader { fin: true, opcode: Opcode::Binary, length, mask: *b"mask" };
            assert_eq!(read(bytes, ANY), (bytes.len(), Ok(Some(header))), "{length}");
            assert_eq!(
                read(&bytes[..bytes.len() - 1], ANY).1,
                Ok(None),
                "{length}, one byte short"
            );
        }
    }

    #[test]
    fn refused_at_the_byte_that_decides() {
        let small = Admission { room: 1000, ..ANY };
        for (bytes, admission, decided_by, violation) in [
            (&b"\xc1"[..], ANY, 1, Violation::ReservedBit),
            (b"\xa1", ANY, 1, Violation::ReservedBit),
            (b"\x91", ANY, 1, Violation::ReservedBit),
            (b"\x83", ANY, 1, Violation::ReservedOpcode),
            (b"\x8f", ANY, 1, Violation::ReservedOpcode),
            (b"\x08", ANY, 1, Violation::ControlFragmented),
            (b"\x80", ANY, 1, Violation::NothingToContinue),
            (b"\x81", Admission { in_message: true, ..ANY }, 1, Violation::MessageInsideMessage),
            (b"\x81", Admission { fragment_left: false, ..ANY }, 1, Violation::TooManyFragments),
            (b"\x81\x05", ANY, 2, Violation::Unmasked),
            (b"\x81\x85", Admission { masked: false, ..ANY }, 2, Violation::Masked),
            (b"\x89\xfe", ANY, 2, Violation::ControlTooLong),
            (b"\x89\xff", ANY, 2, Violation::ControlTooLong),
            (b"\x88\x81", ANY, 2, Violation::CloseTooShort),
            (b"\x81\x85", Admission { room: 4, ..ANY }, 2, Violation::MessageTooLong),
            (b"\x81\xfe\x00\x05", ANY, 4, Violation::LengthNotMinimal),
            (b"\x81\xfe\x00\x7d", ANY, 4, Violation::LengthNotMinimal),
            (b"\x81\xfe\x04", small, 3, Violation::MessageTooLong),
            (b"\x81\xfe\x03\xe9", small, 4, Violation::MessageTooLong),
            (b"\x81\xff\x80", ANY, 3, Violation::LengthTopBit),
            (b"\x81\xff\x00\x00\x00\x00\x00\x00", ANY, 8, Violation::LengthNotMinimal),
            (b"\x81\xff\x01", ANY, 3, Violation::MessageTooLong),
            // 1 GiB (THREATS W6), known to be at least 16 MiB with its fifth byte.
            (b"\x81\xff\x00\x00\x00\x00\x40", small, 7, Violation::MessageTooLong),
        ] {
            let padded = [bytes, b"\x00\x00\x00\x00"].concat();
            assert_eq!(read(&padded, admission), (decided_by, Err(violation)), "{bytes:x?}");
        }
    }

    #[test]
    fn control_frames_need_no_room_and_a_fragment_limit_is_not_theirs() {
        let full = Admission { room: 0, fragment_left: false, in_message: true, ..ANY };
        let (_, end) = read(b"\x89\xfd\x01\x02\x03\x04", full);
        assert_eq!(end.map(|header| header.map(|header| header.length)), Ok(Some(125)));
    }
}
