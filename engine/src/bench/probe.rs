//! What every message of a run carries, at a fixed place and in ASCII, so that reading it costs
//! nothing and survives every envelope: a JSON string, an SSE line, a frame of whatever server.
//!
//! ```text
//!  ~f1  run (8)   stream (1)  sequence (8)  nanos (16)   padding ...
//!  3    hex       hex         hex           hex          "x" up to the payload's size
//! ```
//!
//! `run` tells our messages from those of another run, `stream` which of the run's channels it went
//! to. `sequence` counts from 1 in its stream. `nanos` is when it was meant to be sent, on the
//! run's clock: the intended time, so that a generator or a server that falls behind is charged.

/// What a probe begins with. Its first byte stands nowhere else in a message of ours.
pub const MARK: &[u8; 3] = b"~f1";
/// Bytes of a probe, and so of the smallest message.
pub const PROBE_BYTES: usize = 36;

/// One message's probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Which run.
    pub run: u32,
    /// Which of its channels, below 16.
    pub stream: u8,
    /// From 1, without holes.
    pub sequence: u32,
    /// When it was meant to be sent.
    pub nanos: u64,
}

impl Probe {
    /// Writes a whole message into `out`: probe and padding, `size` bytes and at least
    /// [`PROBE_BYTES`].
    pub fn write(&self, size: usize, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(MARK);
        hex(u64::from(self.run), 8, out);
        hex(u64::from(self.stream), 1, out);
        hex(u64::from(self.sequence), 8, out);
        hex(self.nanos, 16, out);
        debug_assert_eq!(out.len(), PROBE_BYTES);
        out.resize(size.max(PROBE_BYTES), b'x');
    }

    /// Reads [`PROBE_BYTES`] bytes; `None` where they are no probe.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; PROBE_BYTES] = bytes.try_into().ok()?;
        let digits = bytes.strip_prefix(MARK)?;
        Some(Self {
            run: number(&digits[..8])? as u32,
            stream: number(&digits[8..9])? as u8,
            sequence: number(&digits[9..17])? as u32,
            nanos: number(&digits[17..])?,
        })
    }
}

fn hex(number: u64, digits: u32, out: &mut Vec<u8>) {
    for digit in (0..digits).rev() {
        out.push(b"0123456789abcdef"[(number >> (4 * digit)) as usize & 15]);
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |sum, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(sum << 4 | u64::from(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_as_it_was_written() {
        let probe = Probe { run: 0xdead_beef, stream: 15, sequence: u32::MAX, nanos: u64::MAX - 1 };
        let mut message = Vec::new();
        probe.write(128, &mut message);
        assert_eq!(message.len(), 128);
        assert!(message.starts_with(b"~f1deadbeeffffffffff"));
        assert_eq!(Probe::read(&message[..PROBE_BYTES]), Some(probe));
        assert_eq!(Probe::read(&message[..PROBE_BYTES - 1]), None);
        message[PROBE_BYTES - 1] = b'g';
        assert_eq!(Probe::read(&message[..PROBE_BYTES]), None);
        probe.write(0, &mut message);
        assert_eq!(message.len(), PROBE_BYTES);
    }
}
