//! The header of a frame that a server sends: whole messages, never masked (RFC 6455, section 5.2).

use super::frame::Opcode;

/// Longest header of an unmasked frame.
pub const HEADER_BYTES_MAX: usize = 10;

/// Appends the header of a final frame with `payload_bytes` of payload, which the caller appends
/// or sends after it. The length has its shortest form, as the RFC demands.
pub fn write_header(opcode: Opcode, payload_bytes: usize, out: &mut Vec<u8>) {
    const FIN: u8 = 0x80;
    out.push(FIN | opcode as u8);
    match payload_bytes {
        0..=125 => out.push(payload_bytes as u8),
        126..=0xffff => {
            out.push(126);
            out.extend_from_slice(&(payload_bytes as u16).to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(payload_bytes as u64).to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_their_shortest_form() {
        let cases: [(Opcode, usize, &[u8]); 7] = [
            (Opcode::Text, 0, &[0x81, 0]),
            (Opcode::Binary, 125, &[0x82, 125]),
            (Opcode::Text, 126, &[0x81, 126, 0, 126]),
            (Opcode::Binary, 256, &[0x82, 126, 1, 0]), // RFC 6455, section 5.7
            (Opcode::Text, 65_535, &[0x81, 126, 0xff, 0xff]),
            (Opcode::Binary, 65_536, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]), // RFC 6455, section 5.7
            (Opcode::Pong, 5, &[0x8a, 5]),
        ];
        for (opcode, length, expected) in cases {
            let mut out = Vec::new();
            write_header(opcode, length, &mut out);
            assert_eq!(out, expected);
            assert!(out.len() <= HEADER_BYTES_MAX);
        }
    }
}
