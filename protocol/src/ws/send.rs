//! Frames as bytes. A server's frames are not masked (RFC 6455, section 5.1).
//!
//! Published messages do not pass here: their header is written beside the payload where they are
//! rendered, once. This is for what one connection is told: control frames and small notices.

use super::close;
use super::close_code::CloseCode;
use super::frame::Opcode;
use super::header::write_header;
use super::mask::apply_mask;
use crate::limits::CONTROL_PAYLOAD_BYTES_MAX;

/// Appends a close frame. A reason that does not fit is cut between two characters.
pub fn write_close(code: CloseCode, reason: &str, out: &mut Vec<u8>) {
    write_header(Opcode::Close, 2 + close::fit(reason).len(), out);
    close::write(code, reason, out);
}

/// Appends a close frame without code and reason: the answer to one without.
pub fn write_empty_close(out: &mut Vec<u8>) {
    write_header(Opcode::Close, 0, out);
}

/// Appends a ping.
///
/// # Panics
/// When `payload` has more than 125 bytes.
pub fn write_ping(payload: &[u8], out: &mut Vec<u8>) {
    write_control(Opcode::Ping, payload, out);
}

/// Appends the pong that a ping with this payload is owed.
///
/// # Panics
/// When `payload` has more than 125 bytes, which no received ping has.
pub fn write_pong(payload: &[u8], out: &mut Vec<u8>) {
    write_control(Opcode::Pong, payload, out);
}

/// Appends a whole text message in one frame.
pub fn write_text(text: &str, out: &mut Vec<u8>) {
    write_header(Opcode::Text, text.len(), out);
    out.extend_from_slice(text.as_bytes());
}

/// Appends a whole binary message in one frame.
pub fn write_binary(bytes: &[u8], out: &mut Vec<u8>) {
    write_header(Opcode::Binary, bytes.len(), out);
    out.extend_from_slice(bytes);
}

/// Appends one frame as a client sends it, masked with `key`: for load generators and tests. The
/// key must be hard to foresee where a browser's script chooses the payload (section 10.3).
pub fn write_masked(fin: bool, opcode: Opcode, payload: &[u8], key: [u8; 4], out: &mut Vec<u8>) {
    let start = out.len();
    write_header(opcode, payload.len(), out);
    out[start] = out[start] & 0x7f | u8::from(fin) << 7;
    out[start + 1] |= 0x80;
    out.extend_from_slice(&key);
    let start = out.len();
    out.extend_from_slice(payload);
    apply_mask(&mut out[start..], key, 0);
}

fn write_control(opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) {
    assert!(payload.len() <= CONTROL_PAYLOAD_BYTES_MAX, "a control frame holds at most 125 bytes");
    write_header(opcode, payload.len(), out);
    out.extend_from_slice(payload);
}
