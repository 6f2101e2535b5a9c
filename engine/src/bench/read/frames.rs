//! A server's WebSocket frames (RFC 6455, section 5.2), payloads passed on as they come.

use super::Violation;

/// Longest header of a frame that is not masked.
const HEADER_BYTES_MAX: usize = 10;

/// What frames bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'b> {
    /// A piece of a message's payload; never empty.
    Payload(&'b [u8]),
    /// A message has ended.
    MessageEnd,
    /// A ping, to be answered with this.
    Ping(&'b [u8]),
    /// A close, with its code; 1005 where it has none.
    Close(u16),
}

/// Reads the frames of one connection.
#[derive(Debug, Default)]
pub struct Frames {
    header: [u8; HEADER_BYTES_MAX],
    header_bytes: u8,
    /// The header is whole, and this is its first byte.
    first: Option<u8>,
    /// Bytes of the payload that are still to come.
    left: u64,
    /// Payload of a control frame that was cut.
    control: Option<Box<Vec<u8>>>,
}

impl Frames {
    /// Takes all of `bytes`.
    ///
    /// # Errors
    /// The server broke the protocol in a way that makes what follows unreadable.
    pub fn feed(
        &mut self,
        mut bytes: &[u8],
        found: &mut impl FnMut(Frame<'_>),
    ) -> Result<(), Violation> {
        while !bytes.is_empty() {
            let Some(first) = self.first else {
                self.read_header(&mut bytes)?;
                // A frame without payload has ended with its header.
                if let (Some(first), 0) = (self.first, self.left) {
                    self.end(first, &[], found);
                }
                continue;
            };
            let take = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
            let (piece, rest) = bytes.split_at(take);
            bytes = rest;
            self.left -= take as u64;
            let is_control = first & 0x08 != 0;
            if !is_control {
                found(Frame::Payload(piece));
            } else if self.left > 0 || self.control.is_some() {
                self.control.get_or_insert_default().extend_from_slice(piece);
            }
            if self.left == 0 {
                let whole = self.control.take();
                self.end(first, whole.as_ref().map_or(piece, |whole| whole), found);
            }
        }
        Ok(())
    }

    fn read_header(&mut self, bytes: &mut &[u8]) -> Result<(), Violation> {
        while let Some((byte, rest)) = bytes.split_first() {
            *bytes = rest;
            self.header[usize::from(self.header_bytes)] = *byte;
            self.header_bytes += 1;
            if self.header_bytes < 2 {
                continue;
            }
            let [first, second, ..] = self.header;
            let wanted = match second & 0x7f {
                126 => 4,
                127 => HEADER_BYTES_MAX as u8,
                _ => 2,
            };
            if self.header_bytes < wanted {
                continue;
            }
            self.header_bytes = 0;
            self.left = match second & 0x7f {
                126 => u64::from(u16::from_be_bytes([self.header[2], self.header[3]])),
                127 => self.header[2..].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
                short => u64::from(short),
            };
            self.first = Some(first);
            return judge(first, second, self.left);
        }
        Ok(())
    }

    fn end(&mut self, first: u8, control: &[u8], found: &mut impl FnMut(Frame<'_>)) {
        self.first = None;
        match first & 0x0f {
            0x8 => {
                let code = control.get(..2).map_or(1005, |c| u16::from_be_bytes([c[0], c[1]]));
                found(Frame::Close(code));
            }
            0x9 => found(Frame::Ping(control)),
            0xa => {}
            _ if first & 0x80 != 0 => found(Frame::MessageEnd),
            _ => {}
        }
    }
}

fn judge(first: u8, second: u8, length: u64) -> Result<(), Violation> {
    if second & 0x80 != 0 {
        return Err("a masked frame");
    }
    if first & 0x70 != 0 {
        return Err("a frame with a reserved bit");
    }
    if !matches!(first & 0x0f, 0x0..=0x2 | 0x8..=0xa) {
        return Err("a frame of unknown kind");
    }
    if first & 0x08 != 0 && (length > 125 || first & 0x80 == 0) {
        return Err("a control frame that is long or cut");
    }
    if length >> 63 != 0 {
        return Err("a frame without end");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Events with their payloads joined, so that they do not depend on the cuts.
    fn read(pieces: &[&[u8]]) -> Result<Vec<String>, Violation> {
        let (mut frames, mut out, mut payload) = (Frames::default(), Vec::new(), Vec::new());
        for piece in pieces {
            frames.feed(piece, &mut |frame| match frame {
                Frame::Payload(bytes) => payload.extend_from_slice(bytes),
                Frame::MessageEnd => {
                    let bytes = std::mem::take(&mut payload);
                    let first = bytes.first().copied().map(char::from).unwrap_or('-');
                    out.push(format!("message {first} {}", bytes.len()));
                }
                Frame::Ping(bytes) => out.push(format!("ping {}", bytes.len())),
                Frame::Close(code) => out.push(format!("close {code}")),
            })?;
        }
        Ok(out)
    }

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        fanfare_protocol::ws::header::write_header(
            fanfare_protocol::ws::Opcode::Text,
            payload.len(),
            &mut out,
        );
        out[0] = first;
        out.extend_from_slice(payload);
        out
    }

    #[test]
    fn every_length_and_every_split_reads_the_same() {
        let mut stream = Vec::new();
        for length in [0, 1, 125, 126, 127, 300] {
            stream.extend(frame(0x81, &vec![b'a'; length]));
        }
        stream.extend(frame(0x89, b"are you there"));
        stream.extend(frame(0x02, b"b"));
        stream.extend(frame(0x89, b""));
        stream.extend(frame(0x80, b"bb"));
        stream.extend(frame(0x8a, b"pong"));
        stream.extend(frame(0x88, &4508u16.to_be_bytes()));
        stream.extend(frame(0x88, b""));
        let expected: Vec<_> = [
            "message - 0",
            "message a 1",
            "message a 125",
            "message a 126",
            "message a 127",
            "message a 300",
            "ping 13",
            "ping 0",
            "message b 3",
            "close 4508",
            "close 1005",
        ]
        .map(str::to_owned)
        .into();
        for cut in 0..=stream.len() {
            let (first, second) = stream.split_at(cut);
            assert_eq!(read(&[first, second]).as_ref(), Ok(&expected), "cut at {cut}");
        }
        let single: Vec<_> = stream.chunks(1).collect();
        assert_eq!(read(&single), Ok(expected));
    }

    #[test]
    fn the_longest_form_of_a_length_is_read() {
        let long = frame(0x82, &vec![b'z'; 70_000]);
        assert_eq!(long[1], 127);
        let pieces: Vec<_> = long.chunks(16_384).collect();
        assert_eq!(read(&pieces), Ok(vec!["message z 70000".to_owned()]));
    }

    #[test]
    fn what_a_server_may_not_send_is_found() {
        for (bytes, what) in [
            (&[0x81, 0x80][..], "masked"),
            (&[0xc1, 0x00], "reserved"),
            (&[0x83, 0x00], "unknown kind"),
            (&[0x89, 126, 0, 200], "control"),
            (&[0x09, 0x00], "control"),
            (&[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0], "without end"),
        ] {
            let said = read(&[bytes]).unwrap_err();
            assert!(said.contains(what), "{said} for {bytes:?}");
        }
    }
}
