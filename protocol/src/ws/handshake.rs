//! The opening handshake: decides an upgrade and writes the answer (RFC 6455, section 4.2).
//!
//! Of what is offered one subprotocol is taken, [`PROTOCOL`], because a browser that offers any
//! ends a connection whose 101 names none. No extension is spoken, so the client goes on without
//! (sections 4.2.2 and 9.1).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

use crate::http::response::{dated, end, field};
use crate::http::{HttpDate, Method, Request, Status, Violation};

/// What RFC 6455, section 1.3, appends to every key.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Sixteen bytes in base64.
const KEY_BYTES: usize = 24;

/// The subprotocol of a client that speaks the plain dialect: whoever puts a token into another
/// item of its list offers this beside it.
pub const PROTOCOL: &str = "fanfare";

/// The value of `Sec-WebSocket-Accept`.
pub type AcceptKey = [u8; 28];

/// What a 101 says of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Switch {
    /// The answer to the client's key.
    pub accept: AcceptKey,
    /// Whether the client has offered [`PROTOCOL`].
    pub names_protocol: bool,
}

/// Whether `request` may become a WebSocket, and with which answer to its key.
///
/// # Errors
/// Why not. The order matters: what the client can mend by itself comes after what makes its bytes
/// ambiguous, and a body is refused before anything is upgraded (CVE-2026-69243).
pub fn decide(request: &Request<'_>) -> Result<Switch, Violation> {
    if request.method != Method::Get {
        return Err(Violation::MethodNotGet);
    }
    request.without_body()?;
    if request.expects_continue {
        return Err(Violation::Expectation);
    }
    let fields = &request.fields;
    if !fields.has_token("connection", "upgrade") || !fields.has_token("upgrade", "websocket") {
        return Err(Violation::NoUpgrade);
    }
    if request.minor_version == 0 {
        return Err(Violation::WsHttpVersion);
    }
    if fields.one("sec-websocket-version") != Ok(Some(b"13")) {
        return Err(Violation::WsVersion);
    }
    let key = fields.one("sec-websocket-key").ok().flatten().ok_or(Violation::WsKey)?;
    if !is_key(key) {
        return Err(Violation::WsKey);
    }
    // As it is written: a browser compares what comes back byte by byte.
    let mut offered = fields.elements("sec-websocket-protocol");
    let names_protocol = offered.any(|item| item == PROTOCOL.as_bytes());
    Ok(Switch { accept: accept(key), names_protocol })
}

fn is_key(key: &[u8]) -> bool {
    key.len() == KEY_BYTES && STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 16)
}

/// The answer to `key` (RFC 6455, section 4.2.2, step 5.4).
pub fn accept(key: &[u8]) -> AcceptKey {
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    let mut text = [0; 28];
    let length = STANDARD.encode_slice(digest, &mut text).expect("20 bytes are 28 characters");
    assert_eq!(length, text.len());
    text
}

/// Appends the `101 Switching Protocols`; after it the connection speaks frames.
pub fn write_switch(out: &mut Vec<u8>, date: HttpDate, switch: &Switch) {
    let accept = std::str::from_utf8(&switch.accept).expect("base64 is ASCII");
    dated(out, Status::SwitchingProtocols, date);
    field(out, ("Upgrade", "websocket"));
    field(out, ("Connection", "Upgrade"));
    field(out, ("Sec-WebSocket-Accept", accept));
    if switch.names_protocol {
        field(out, ("Sec-WebSocket-Protocol", PROTOCOL));
    }
    end(out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::HeadReader;
    use crate::limits::HttpLimits;

    const LIMITS: HttpLimits = HttpLimits::DEFAULT;
    const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    const VERSION: &str = "Sec-WebSocket-Version: 13\r\n";
    const UPGRADE: &str = "Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n";

    fn decided(line: &str, fields: &[&str]) -> Result<Switch, Violation> {
        let head = format!("{line}\r\nHost: a\r\n{}\r\n", fields.concat());
        let mut reader = HeadReader::new();
        reader.feed(head.as_bytes(), &LIMITS).unwrap();
        decide(&reader.request(&LIMITS)?)
    }

    fn get(fields: &[&str]) -> Result<Switch, Violation> {
        decided("GET /ws HTTP/1.1", fields)
    }

    #[test]
    fn the_vector_of_rfc_6455_section_1_3() {
        assert_eq!(&accept(b"dGhlIHNhbXBsZSBub25jZQ=="), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        let mut out = Vec::new();
        let date = HttpDate::from_unix_seconds(0);
        write_switch(&mut out, date, &get(&[UPGRADE, VERSION, KEY]).unwrap());
        assert_eq!(
            out,
            b"HTTP/1.1 101 Switching Protocols\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\
              Upgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
        );
    }

    #[test]
    fn h14_a_body_is_never_upgraded() {
        for body in ["Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"] {
            assert_eq!(get(&[UPGRADE, VERSION, KEY, body]), Err(Violation::UnexpectedBody));
        }
        assert!(get(&[UPGRADE, VERSION, KEY, "Content-Length: 0\r\n"]).is_ok());
    }

    #[test]
    fn h17_what_is_no_upgrade() {
        let all = [UPGRADE, VERSION, KEY];
        assert_eq!(decided("POST /ws HTTP/1.1", &all), Err(Violation::MethodNotGet));
        assert_eq!(decided("HEAD /ws HTTP/1.1", &all), Err(Violation::MethodNotGet));
        assert_eq!(decided("GET /ws HTTP/1.0", &all), Err(Violation::WsHttpVersion));
        for fields in ["", "Upgrade: websocket\r\n", "Connection: upgrade\r\n"] {
            assert_eq!(get(&[fields, VERSION, KEY]), Err(Violation::NoUpgrade), "{fields}");
        }
        let h2c = "Connection: Upgrade\r\nUpgrade: h2c\r\n";
        assert_eq!(get(&[h2c, VERSION, KEY]), Err(Violation::NoUpgrade));
    }

    #[test]
    fn h18_other_versions() {
        for version in ["8", "", "13, 8", "013", "13.0"] {
            let field = format!("Sec-WebSocket-Version: {version}\r\n");
            assert_eq!(get(&[UPGRADE, &field, KEY]), Err(Violation::WsVersion), "{version}");
        }
        assert_eq!(get(&[UPGRADE, KEY]), Err(Violation::WsVersion));
        assert_eq!(get(&[UPGRADE, VERSION, VERSION, KEY]), Err(Violation::WsVersion));
    }

    #[test]
    fn h19_keys() {
        let long = "A".repeat(8192);
        for key in [
            "",
            "x",
            "dGhlIHNhbXBsZSBub25jZQ",   // no padding
            "dGhlIHNhbXBsZSBub25jZQ=",  // half of it
            "dGhlIHNhbXBsZSBub25j",     // 15 bytes
            "dGhlIHNhbXBsZSBub25jZTEy", // 18 bytes
            "dGhlIHNhbXBsZSBub25jZR==", // bits beyond the sixteenth byte
            "dGhl!HNhbXBsZSBub25jZQ==",
            &long,
        ] {
            let field = format!("Sec-WebSocket-Key: {key}\r\n");
            assert_eq!(get(&[UPGRADE, VERSION, &field]), Err(Violation::WsKey), "{key}");
        }
        assert_eq!(get(&[UPGRADE, VERSION]), Err(Violation::WsKey));
        assert_eq!(get(&[UPGRADE, VERSION, KEY, KEY]), Err(Violation::WsKey));
    }

    #[test]
    fn h21_our_subprotocol_is_taken_beside_what_nobody_else_should_see() {
        let offer = "Sec-WebSocket-Protocol: fanfare.bearer.a.b.c, fanfare\r\n";
        let mut out = Vec::new();
        let date = HttpDate::from_unix_seconds(0);
        write_switch(&mut out, date, &get(&[UPGRADE, VERSION, KEY, offer]).unwrap());
        let text = String::from_utf8(out).unwrap();
        assert!(text.ends_with("\r\nSec-WebSocket-Protocol: fanfare\r\n\r\n"), "{text}");
        assert!(!text.contains("bearer"));
    }

    #[test]
    fn h21_h22_whatever_else_is_offered_is_declined() {
        let long = format!("Sec-WebSocket-Extensions: x;{}\r\n", "y".repeat(8192));
        for offer in [
            "Sec-WebSocket-Protocol: chat, superchat\r\n",
            "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=7\r\n",
            "Sec-WebSocket-Extensions: permessage-deflate; a; a, permessage-deflate\r\n",
            &long,
        ] {
            assert_eq!(get(&[UPGRADE, VERSION, KEY, offer]), get(&[UPGRADE, VERSION, KEY]));
        }
    }

    #[test]
    fn h23_no_expectation_is_met_on_an_upgrade() {
        let expect = "Expect: 100-continue\r\n";
        assert_eq!(get(&[UPGRADE, VERSION, KEY, expect]), Err(Violation::Expectation));
    }
}
