//! The PROXY protocol (HAProxy's `doc/proxy-protocol.txt`), versions 1 and 2: what a proxy that
//! passes bytes on, and not requests, says of its client before the first of them.
//!
//! Bytes in, an address out. A header is read where the configuration says that one comes, and from
//! nobody whom it does not name: whoever may send one may claim any address (section 5: "the
//! receiver MUST NOT try to guess"). The reader owns 107 bytes, whatever length is claimed: of
//! version 2 it keeps the addresses, and what follows them (TLVs) is counted and dropped.
//!
//! ```text
//!  v1  PROXY TCP4 203.0.113.9 192.0.2.1 49152 443\r\n          at most 107 bytes
//!  v2  \r\n\r\n\0\r\nQUIT\n | 2,command | family,transport | length u16 | addresses | TLVs
//!      12 bytes               1           1                  2            <--- length --->
//! ```

pub mod fuzz;
mod v1;
mod v2;

use std::net::SocketAddr;

/// Most bytes of a header of version 1, with its CRLF (section 2.1).
const V1_BYTES_MAX: usize = 107;
/// The bytes of version 2 before its length counts.
const V2_START_BYTES: usize = 16;
/// Most bytes that a header of version 2 may claim behind those. What proxies add (the TLS name, a
/// certificate's subject, an id of the cloud's) is some hundred.
pub const V2_LENGTH_MAX: usize = 4 << 10;
/// What no line of any protocol begins with (section 2.2).
const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const V1_PREFIX: &[u8; 6] = b"PROXY ";

/// Of whom a proxy says that it speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxiedSource {
    /// A client with this address.
    Client(SocketAddr),
    /// Nobody: the proxy asks for itself, as a health check does (`LOCAL`).
    Itself,
    /// Somebody whose address it cannot tell: `UNKNOWN`, a Unix socket, another transport.
    Unknown,
}

/// What became of a piece of input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyFed {
    /// The header goes on; all of the input was taken.
    Partial,
    /// The header is whole.
    Complete {
        /// How many bytes of this input belonged to it. The rest is the client's.
        taken: usize,
        /// For whom the proxy speaks.
        source: ProxiedSource,
    },
}

/// What is wrong with a header. The connection has no answer (section 2: the receiver "must drop"
/// it).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProxyHeaderFault {
    /// It begins like no header of either version.
    Missing,
    /// A version, command, family or transport that there is not.
    Unknown,
    /// A line that is not of the form, an address or a port that is none, addresses cut off.
    Malformed,
    /// A line without an end, or more bytes than anyone has to say.
    TooLong,
}

/// Which header it is, as far as its bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// All bytes so far could begin either.
    Open,
    V1,
    V2,
}

/// Collects one header.
#[derive(Clone, Debug)]
pub struct ProxyHeaderReader {
    kept: [u8; V1_BYTES_MAX],
    /// How many bytes came, of which the first are kept.
    came: usize,
    kind: Kind,
}

impl Default for ProxyHeaderReader {
    fn default() -> Self {
        Self { kept: [0; V1_BYTES_MAX], came: 0, kind: Kind::Open }
    }
}

impl ProxyHeaderReader {
    /// Takes the next bytes, up to the end of the header.
    ///
    /// # Errors
    /// The same fault at the same byte, however the input is cut. The reader is of no use after it.
    pub fn feed(&mut self, input: &[u8]) -> Result<ProxyFed, ProxyHeaderFault> {
        for (nth, byte) in input.iter().enumerate() {
            if let Some(place) = self.kept.get_mut(self.came) {
                *place = *byte;
            }
            self.came += 1;
            if let Some(source) = self.step(*byte)? {
                return Ok(ProxyFed::Complete { taken: nth + 1, source });
            }
        }
        Ok(ProxyFed::Partial)
    }

    /// The byte that was just kept.
    fn step(&mut self, byte: u8) -> Result<Option<ProxiedSource>, ProxyHeaderFault> {
        let at = self.came - 1;
        match self.kind {
            Kind::Open => {
                let (first, second) = (V1_PREFIX.get(at), V2_SIGNATURE.get(at));
                let begins = |all: &[u8]| all.starts_with(&self.kept[..at]);
                if first == Some(&byte) && begins(V1_PREFIX) {
                    self.kind = if self.came == V1_PREFIX.len() { Kind::V1 } else { Kind::Open };
                } else if second == Some(&byte) && begins(V2_SIGNATURE) {
                    self.kind = if self.came == V2_SIGNATURE.len() { Kind::V2 } else { Kind::Open };
                } else {
                    return Err(ProxyHeaderFault::Missing);
                }
                Ok(None)
            }
            Kind::V1 => v1::step(&self.kept[..self.came]),
            Kind::V2 => v2::step(&self.kept, self.came),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a header comes to, with how many bytes it has.
    fn read(input: &[u8]) -> Result<(usize, ProxiedSource), Option<ProxyHeaderFault>> {
        match ProxyHeaderReader::default().feed(input) {
            Ok(ProxyFed::Complete { taken, source }) => Ok((taken, source)),
            Ok(ProxyFed::Partial) => Err(None),
            Err(fault) => Err(Some(fault)),
        }
    }

    fn client(text: &str) -> ProxiedSource {
        ProxiedSource::Client(text.parse().unwrap())
    }

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [V2_SIGNATURE, &[command, family][..], &length, body].concat()
    }

    const TCP4: [u8; 12] = [203, 0, 113, 9, 192, 0, 2, 1, 0xc0, 0, 1, 0xbb];

    /// The examples of section 2.1, and what each byte of them can be made to.
    #[test]
    fn version_1() {
        for (line, expected) in [
            ("PROXY TCP4 203.0.113.9 192.0.2.1 49152 443\r\n", client("203.0.113.9:49152")),
            (
                "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
                client("255.255.255.255:65535"),
            ),
            ("PROXY TCP6 2001:db8::1 2001:db8::2 4000 443\r\n", client("[2001:db8::1]:4000")),
            (
                "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
              ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
                client("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"),
            ),
            ("PROXY UNKNOWN\r\n", ProxiedSource::Unknown),
            (
                "PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n",
                ProxiedSource::Unknown,
            ),
            ("PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", client("0.0.0.0:0")),
        ] {
            let input = [line.as_bytes(), b"GET / HTTP/1.1\r\n"].concat();
            assert_eq!(read(&input), Ok((line.len(), expected)), "{line}");
            for cut in 0..line.len() {
                assert_eq!(read(&line.as_bytes()[..cut]), Err(None), "{line} cut at {cut}");
            }
        }
        for line in [
            "PROXY TCP4 203.0.113.9 192.0.2.1 49152\r\n",
            "PROXY TCP4 203.0.113.9 192.0.2.1 49152 443 1\r\n",
            "PROXY TCP4  203.0.113.9 192.0.2.1 49152 443\r\n",
            "PROXY TCP4 203.0.113.9 192.0.2.1 49152 443 \r\n",
            "PROXY TCP4 203.0.113.009 192.0.2.1 49152 443\r\n",
            "PROXY TCP4 203.0.113 192.0.2.1 49152 443\r\n",
            "PROXY TCP4 203.0.113.9 192.0.2.1 65536 443\r\n",
            "PROXY TCP4 203.0.113.9 192.0.2.1 +1 443\r\n",
            "PROXY TCP4 203.0.113.9 192.0.2.1 01 443\r\n",
            "PROXY TCP4 203.0.113.9 192.0.2.1 1 x\r\n",
            "PROXY TCP4 2001:db8::1 2001:db8::2 1 1\r\n",
            "PROXY TCP6 203.0.113.9 192.0.2.1 1 1\r\n",
            "PROXY TCP4 203.0.113.9 192.0.2.1 1 1\n",
            "PROXY TCP4 203.0.113.9 192.0.2.1 1 1\rx",
            "PROXY UNKNOWN\0\r\n",
        ] {
            assert_eq!(read(line.as_bytes()), Err(Some(ProxyHeaderFault::Malformed)), "{line}");
        }
        for line in ["PROXY UDP4 1.1.1.1 1.1.1.1 1 1\r\n", "PROXY \r\n", "PROXY tcp4 1.1.1.1\r\n"] {
            assert_eq!(read(line.as_bytes()), Err(Some(ProxyHeaderFault::Unknown)), "{line}");
        }
        let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(V1_BYTES_MAX - 16));
        assert_eq!(read(longest.as_bytes()), Ok((V1_BYTES_MAX, ProxiedSource::Unknown)));
        let longer = format!("PROXY UNKNOWN {}\r\n", "x".repeat(V1_BYTES_MAX - 15));
        assert_eq!(read(longer.as_bytes()), Err(Some(ProxyHeaderFault::TooLong)));
    }

    #[test]
    fn version_2() {
        let v6 = [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[1], &[0; 16], &[0x0f, 0xa0, 1, 0xbb]];
        let with_tlvs = [&TCP4[..], &[4, 0, 3, 1, 2, 3]].concat();
        for (header, expected) in [
            (v2(0x21, 0x11, &TCP4), client("203.0.113.9:49152")),
            (v2(0x21, 0x11, &with_tlvs), client("203.0.113.9:49152")),
            (v2(0x21, 0x21, &v6.concat()), client("[2001:db8::1]:4000")),
            (v2(0x20, 0x00, &[]), ProxiedSource::Itself),
            (v2(0x20, 0x11, &TCP4), ProxiedSource::Itself),
            (v2(0x20, 0xff, &[1, 2, 3]), ProxiedSource::Itself),
            (v2(0x21, 0x00, &[]), ProxiedSource::Unknown),
            (v2(0x21, 0x12, &TCP4), ProxiedSource::Unknown),
            (v2(0x21, 0x31, &[0; 216]), ProxiedSource::Unknown),
            (
                v2(0x21, 0x11, &[&TCP4[..], &[0; V2_LENGTH_MAX - 12]].concat()),
                client("203.0.113.9:49152"),
            ),
        ] {
            let input = [&header[..], b"GET / HTTP/1.1\r\n"].concat();
            assert_eq!(read(&input), Ok((header.len(), expected)), "{header:02x?}");
            for cut in 0..header.len() {
                assert_eq!(read(&header[..cut]), Err(None), "{header:02x?} cut at {cut}");
            }
        }
        for (header, fault) in [
            (v2(0x11, 0x11, &TCP4), ProxyHeaderFault::Unknown),
            (v2(0x31, 0x11, &TCP4), ProxyHeaderFault::Unknown),
            (v2(0x22, 0x11, &TCP4), ProxyHeaderFault::Unknown),
            (v2(0x21, 0x13, &TCP4), ProxyHeaderFault::Unknown),
            (v2(0x21, 0x41, &TCP4), ProxyHeaderFault::Unknown),
            (v2(0x21, 0x11, &TCP4[..11]), ProxyHeaderFault::Malformed),
            (v2(0x21, 0x21, &[0; 35]), ProxyHeaderFault::Malformed),
            (v2(0x21, 0x11, &[0; V2_LENGTH_MAX + 1]), ProxyHeaderFault::TooLong),
        ] {
            assert_eq!(read(&header), Err(Some(fault)), "{:02x?}", &header[..16]);
        }
    }

    #[test]
    fn what_is_no_header_is_known_by_its_first_wrong_byte() {
        for (input, taken) in [
            (&b"GET / HTTP/1.1\r\n"[..], 1),
            (b"PUT", 2),
            (b"PROXX", 5),
            (b"PROXY\r\n", 6),
            (b"\x16\x03\x01", 1),
            (b"\r\n\r\nGET", 5),
            (b"\r\n\r\n\0\r\nQUIT\r", 12),
        ] {
            assert_eq!(read(&input[..taken]), Err(Some(ProxyHeaderFault::Missing)), "{input:?}");
            assert_eq!(read(&input[..taken - 1]), Err(None), "{input:?}");
        }
    }

    /// A byte stream comes to the same however it is cut.
    #[test]
    fn every_split() {
        let line = b"PROXY TCP4 203.0.113.9 192.0.2.1 49152 443\r\nGET".to_vec();
        let binary = [v2(0x21, 0x11, &[&TCP4[..], &[7; 200]].concat()), b"GET".to_vec()].concat();
        let broken = b"PROXY TCP4 203.0.113.9 192.0.2.1 49152 x\r\nGET".to_vec();
        for input in [line, binary, broken] {
            let whole = fuzz::outcome([&input[..]]);
            for first in 0..input.len() {
                for second in first..input.len() {
                    let parts = [&input[..first], &input[first..second], &input[second..]];
                    assert_eq!(fuzz::outcome(parts), whole);
                }
            }
            assert_eq!(fuzz::outcome(input.chunks(1)), whole);
        }
    }
}
