//! Request heads, as far as a contender needs them: an upgrade, an event stream, a publish.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// The answer to a publish: it was taken, and its fan-out is still to come.
pub const TAKEN: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
/// The answer to what nobody here understands.
pub const REFUSED: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

const HEADERS_MAX: usize = 32;
/// RFC 6455, section 1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A request whose head has come whole.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// Bytes of the head; the body begins behind them.
    pub bytes: usize,
    /// The number at the end of the path: whose channel it is about, where each has its own.
    pub number: Option<u32>,
    /// What it asks for.
    pub wish: Wish,
}

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Wish {
    /// A WebSocket: `Sec-WebSocket-Accept` of the answer.
    Upgrade {
        /// In base64.
        accept: [u8; 28],
    },
    /// To publish a body of so many bytes.
    Publish {
        /// `Content-Length`.
        bytes: usize,
    },
    /// Something else.
    Other,
}

/// Reads the head that `bytes` begin with; `None` where it is not whole yet.
///
/// # Errors
/// It is no request.
pub fn read(bytes: &[u8]) -> Result<Option<Request>, httparse::Error> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(head_bytes) = request.parse(bytes)? else { return Ok(None) };
    let field = |name: &str| {
        let found = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.map(|header| header.value.trim_ascii())
    };
    let wish = match (request.method, field("Sec-WebSocket-Key")) {
        (Some("GET"), Some(key)) => Wish::Upgrade { accept: accept(key) },
        (Some("POST"), _) => {
            let length = field("Content-Length").and_then(|text| std::str::from_utf8(text).ok());
            let length = length.and_then(|text| text.parse().ok());
            length.map_or(Wish::Other, |bytes| Wish::Publish { bytes })
        }
        _ => Wish::Other,
    };
    let number = request.path.and_then(|path| path.rsplit_once('-')?.1.parse().ok());
    Ok(Some(Request { bytes: head_bytes, number, wish }))
}

/// The whole answer to an upgrade.
pub fn switching(accept: &[u8; 28]) -> Vec<u8> {
    let mut answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                       Connection: Upgrade\r\nSec-WebSocket-Accept: "
        .to_vec();
    answer.extend_from_slice(accept);
    answer.extend_from_slice(b"\r\n\r\n");
    answer
}

fn accept(key: &[u8]) -> [u8; 28] {
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    let mut text = [0; 28];
    let written = STANDARD.encode_slice(digest, &mut text);
    assert_eq!(written, Ok(28), "20 bytes are 28 letters");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upgrade_is_answered_as_the_rfc_says() {
        let ask =
            b"GET /ws HTTP/1.1\r\nHost: x\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        let request = read(ask).unwrap().unwrap();
        assert_eq!(request.bytes, ask.len());
        let Wish::Upgrade { accept } = request.wish else { panic!("{request:?}") };
        assert_eq!(&accept, b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        for cut in 0..ask.len() {
            assert_eq!(read(&ask[..cut]).unwrap(), None, "{cut}");
        }
    }

    #[test]
    fn a_publish_says_its_length() {
        let ask = b"POST /publish HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello";
        let request = read(ask).unwrap().unwrap();
        assert_eq!((request.wish, request.number), (Wish::Publish { bytes: 5 }, None));
        let ask_7 = b"POST /publish/bench-7 HTTP/1.1\r\nContent-Length: 5\r\n\r\n";
        assert_eq!(read(ask_7).unwrap().unwrap().number, Some(7));
        assert_eq!(&ask[request.bytes..], b"hello");
        assert_eq!(read(b"POST / HTTP/1.1\r\n\r\n").unwrap().unwrap().wish, Wish::Other);
        assert!(read(b"\x16\x03\x01").is_err());
    }
}
