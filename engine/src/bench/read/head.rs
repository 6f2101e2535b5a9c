//! The head of an HTTP answer.

use super::Violation;

/// Longest head that is read.
const HEAD_BYTES_MAX: usize = 16 << 10;
const FIELDS_MAX: usize = 64;

/// How long a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// So many bytes.
    Bytes(u64),
    /// In chunks (RFC 9112, section 7.1).
    Chunked,
    /// Until the connection ends.
    UntilClose,
}

/// What is wanted of a head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The status.
    pub status: u16,
    /// The body's length.
    pub length: Length,
    /// `Sec-WebSocket-Accept`.
    pub accept: Option<Vec<u8>>,
}

/// Collects a head.
#[derive(Debug, Default)]
pub struct HeadReader {
    cut: Option<Box<Vec<u8>>>,
}

impl HeadReader {
    /// Takes bytes; the head and what of `bytes` follows it, once it is whole.
    ///
    /// # Errors
    /// It is no HTTP, or too long.
    pub fn feed<'b>(&mut self, bytes: &'b [u8]) -> Result<Option<(Head, &'b [u8])>, Violation> {
        let Some(mut cut) = self.cut.take() else {
            let head = read(bytes)?;
            if head.is_none() && !bytes.is_empty() {
                self.cut = Some(Box::new(bytes.to_vec()));
            }
            return Ok(head.map(|(head, length)| (head, &bytes[length..])));
        };
        let before = cut.len();
        cut.extend_from_slice(bytes);
        match read(&cut)? {
            Some((head, length)) => Ok(Some((head, &bytes[length - before..]))),
            None => {
                self.cut = Some(cut);
                Ok(None)
            }
        }
    }
}

fn read(bytes: &[u8]) -> Result<Option<(Head, usize)>, Violation> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    let length = match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if bytes.len() > HEAD_BYTES_MAX => {
            return Err("a head without end");
        }
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err("no HTTP answer"),
    };
    let status = response.code.unwrap_or_default();
    let mut head = Head { status, length: Length::UntilClose, accept: None };
    if matches!(status, 100..=199 | 204 | 304) {
        head.length = Length::Bytes(0);
    }
    for field in response.headers.iter() {
        let (name, value) = (field.name, field.value.trim_ascii());
        let has =
            |token: &[u8]| value.to_ascii_lowercase().windows(token.len()).any(|w| w == token);
        if name.eq_ignore_ascii_case("content-length") {
            let text = std::str::from_utf8(value).map_err(|_| "a length that is no number")?;
            head.length = Length::Bytes(text.parse().map_err(|_| "a length that is no number")?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") && has(b"chunked") {
            head.length = Length::Chunked;
        } else if name.eq_ignore_ascii_case("sec-websocket-accept") {
            head.accept = Some(value.to_vec());
        }
    }
    Ok(Some((head, length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_split_reads_the_same_head() {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\nConnection: Close\r\n\r\n";
        let stream = [&head[..], b"body"].concat();
        for cut in 0..stream.len() {
            let mut reader = HeadReader::default();
            let (first, second) = stream.split_at(cut);
            let (read, rest) = match reader.feed(first).unwrap() {
                Some((read, rest)) => (read, [rest, second].concat()),
                None => {
                    let (read, rest) = reader.feed(second).unwrap().unwrap();
                    (read, rest.to_vec())
                }
            };
            assert_eq!(rest, b"body", "cut at {cut}");
            let length = Length::Bytes(12);
            assert_eq!(read, Head { status: 200, length, accept: None });
        }
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        assert!(HeadReader::default().feed(b"SSH-2.0-OpenSSH\r\n").is_err());
        let mut reader = HeadReader::default();
        reader.feed(b"HTTP/1.1 200 OK\r\nA: ").unwrap();
        let mut said = Ok(None);
        for _ in 0..20 {
            said = reader.feed(&[b'a'; 1_000]);
            if said.is_err() {
                break;
            }
        }
        assert_eq!(said.unwrap_err(), "a head without end");
    }

    #[test]
    fn a_body_ends_as_its_head_says() {
        for (fields, status, length) in [
            ("Transfer-Encoding: chunked", 200, Length::Chunked),
            ("X: y", 200, Length::UntilClose),
            ("X: y", 101, Length::Bytes(0)),
            ("X: y", 204, Length::Bytes(0)),
        ] {
            let text = format!("HTTP/1.1 {status} Word\r\n{fields}\r\n\r\n");
            let mut reader = HeadReader::default();
            let (head, _) = reader.feed(text.as_bytes()).unwrap().unwrap();
            assert_eq!(head.length, length, "{text}");
        }
    }
}
