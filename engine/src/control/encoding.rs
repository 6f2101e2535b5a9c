//! Bodies in a content coding (RFC 9110, section 8.4): gzip, deflate and br are undone, others are
//! refused before a byte of the body is read.
//!
//! A kilobyte may stand for a gigabyte, so nothing is inflated beyond one byte more than a body may
//! have, and each step is paid for from the budget of all bodies before it is kept. One body is
//! inflated at a time, as this thread has no other turn meanwhile: what a decoder itself holds, a
//! window of 16 MB at most, is held once. A window beyond that (brotli's "large window", up to
//! 1 GB, which no RFC knows) is corrupt.

use std::io::{self, Read};

use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use flate2::bufread::MultiGzDecoder;
use flate2::{Decompress, FlushDecompress, Status};

use super::answer::Fault;

/// What an answer names beside a 415: RFC 9110, section 12.5.3.
const ACCEPTED: HeaderValue = HeaderValue::from_static("gzip, deflate, br");
/// Most codings of one body. Nobody means more than one, and each is work.
const CODINGS_MAX: usize = 2;
/// Bytes that are inflated, paid for and kept at a time.
const STEP_BYTES: usize = 16 << 10;

/// A coding that is undone here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    /// RFC 1952; several members are one body.
    Gzip,
    /// RFC 1950, and RFC 1951 without its wrapper, which clients send by that name too (RFC 9110,
    /// section 8.4.1.2).
    Deflate,
    /// RFC 7932.
    Brotli,
}

/// The codings of a request's body, in the order in which they were applied.
pub(super) fn codings(fields: &HeaderMap) -> Result<Vec<Coding>, Fault> {
    let mut codings = Vec::new();
    let values = fields.get_all(CONTENT_ENCODING).iter();
    for name in values.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')) {
        match name.trim_ascii().to_ascii_lowercase().as_slice() {
            b"" | b"identity" => {} // an empty element of a list is nothing (section 5.6.1.2)
            b"gzip" | b"x-gzip" => codings.push(Coding::Gzip),
            b"deflate" => codings.push(Coding::Deflate),
            b"br" => codings.push(Coding::Brotli),
            _ => return Err(unknown("the body has a coding that is not known here")),
        }
    }
    if codings.len() > CODINGS_MAX {
        return Err(unknown("the body has more codings, one over the other, than are undone here"));
    }
    Ok(codings)
}

fn unknown(what: &str) -> Fault {
    let message =
        format!("{what}: send it as it is, or with a Content-Encoding of gzip, deflate or br");
    Fault::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "bad_encoding", message)
        .with(ACCEPT_ENCODING, ACCEPTED)
        .closing()
}

/// Most bytes on the wire of a body that has `limit` bytes once it is inflated: data that cannot be
/// compressed grows a little by its coding.
pub(super) fn wire_limit(limit: usize) -> usize {
    limit.saturating_add(limit / 64).saturating_add(1_024)
}

/// Why a body could not be inflated.
pub(super) enum Failed {
    /// It has more than the limit.
    TooLarge,
    /// It is not what its coding says, or ends early, or does not end where its coding does.
    Corrupt,
    /// There was nothing to pay with.
    Unpaid(Fault),
}

/// Undoes one coding. `pay` is asked for each piece before it is kept.
pub(super) fn inflate(
    coding: Coding,
    input: &[u8],
    limit: usize,
    pay: impl FnMut(usize) -> Result<(), Fault>,
) -> Result<Vec<u8>, Failed> {
    match coding {
        Coding::Gzip => drain(MultiGzDecoder::new(input), limit, pay),
        Coding::Deflate => drain(Deflate::new(input), limit, pay),
        Coding::Brotli => drain(Brotli::new(input), limit, pay),
    }
}

fn drain(
    mut decoder: impl Read,
    limit: usize,
    mut pay: impl FnMut(usize) -> Result<(), Fault>,
) -> Result<Vec<u8>, Failed> {
    let (mut whole, mut step) = (Vec::new(), vec![0; STEP_BYTES]);
    loop {
        let most = STEP_BYTES.min(limit - whole.len() + 1);
        match decoder.read(&mut step[..most]) {
            Ok(0) => return Ok(whole),
            Ok(bytes) if whole.len() + bytes > limit => return Err(Failed::TooLarge),
            Ok(bytes) => {
                pay(bytes).map_err(Failed::Unpaid)?;
                whole.extend_from_slice(&step[..bytes]);
            }
            Err(_) => return Err(Failed::Corrupt),
        }
    }
}

fn corrupt() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

/// Deflate to its last bit: flate2's own reader takes an end of the input for the end of the data.
struct Deflate<'a> {
    state: Decompress,
    input: &'a [u8],
    ended: bool,
}

impl<'a> Deflate<'a> {
    fn new(input: &'a [u8]) -> Self {
        // RFC 1950, section 2.2: method 8, and the first two bytes are a multiple of 31. A raw
        // stream cannot begin so: its first block would be stored, and not byte-aligned.
        let wrapped = matches!(input, [first, second, ..]
            if first & 0x0f == 8 && (u16::from(*first) << 8 | u16::from(*second)) % 31 == 0);
        Self { state: Decompress::new(wrapped), input, ended: false }
    }
}

impl Read for Deflate<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while !self.ended {
            let (taken, made) = (self.state.total_in(), self.state.total_out());
            let status = self.state.decompress(self.input, out, FlushDecompress::None);
            let status = status.map_err(|_| corrupt())?;
            let (taken, made) = (self.state.total_in() - taken, self.state.total_out() - made);
            self.input = &self.input[usize::try_from(taken).expect("a part of the input")..];
            self.ended = status == Status::StreamEnd;
            if made > 0 {
                return Ok(usize::try_from(made).expect("a part of the output"));
            }
            if taken == 0 && !self.ended {
                return Err(corrupt()); // it wants more than there is
            }
        }
        if self.input.is_empty() { Ok(0) } else { Err(corrupt()) }
    }
}

/// Brotli without large windows.
struct Brotli<'a> {
    state: BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>,
    input: &'a [u8],
    ended: bool,
}

impl<'a> Brotli<'a> {
    fn new(input: &'a [u8]) -> Self {
        let allocate = StandardAlloc::default;
        let state = BrotliState::new_strict(allocate(), allocate(), allocate());
        Self { state, input, ended: false }
    }
}

impl Read for Brotli<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if !self.ended {
            let (mut waiting, mut taken) = (self.input.len(), 0);
            let (mut room, mut made, mut total) = (out.len(), 0, 0);
            let result = BrotliDecompressStream(
                &mut waiting,
                &mut taken,
                self.input,
                &mut room,
                &mut made,
                out,
                &mut total,
                &mut self.state,
            );
            self.input = &self.input[taken..];
            match result {
                BrotliResult::ResultSuccess => self.ended = true,
                BrotliResult::NeedsMoreOutput if made > 0 => {}
                _ => return Err(corrupt()),
            }
            if made > 0 {
                return Ok(made);
            }
        }
        if self.input.is_empty() { Ok(0) } else { Err(corrupt()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use std::io::Write;

    fn named(value: &str) -> Result<Vec<Coding>, u16> {
        let mut fields = HeaderMap::new();
        for line in value.split('|') {
            fields.append(CONTENT_ENCODING, line.parse().unwrap());
        }
        codings(&fields).map_err(|fault| {
            let response = axum::response::IntoResponse::into_response(fault);
            assert_eq!(response.headers()["accept-encoding"], "gzip, deflate, br");
            response.status().as_u16()
        })
    }

    #[test]
    fn names_of_codings() {
        use Coding::{Brotli, Deflate, Gzip};
        assert_eq!(named("identity"), Ok(vec![]));
        assert_eq!(named(""), Ok(vec![]));
        assert_eq!(named("GZip"), Ok(vec![Gzip]));
        assert_eq!(named("x-gzip, , identity"), Ok(vec![Gzip]));
        assert_eq!(named("deflate|br"), Ok(vec![Deflate, Brotli]));
        assert_eq!(named("br,gzip"), Ok(vec![Brotli, Gzip]));
        for unknown in ["zstd", "compress", "gzip, aws-chunked", "gzip;q=1", "gzip,gzip,gzip"] {
            assert_eq!(named(unknown), Err(415), "{unknown}");
        }
    }

    /// `aaaa…` of a million bytes, as Node's `zlib.brotliCompressSync` makes it.
    const BROTLI_MILLION: &[u8] = &[91, 63, 66, 143, 95, 34, 44, 30, 11, 4, 242, 115, 30, 0];
    /// `{"a":1}` by the same.
    const BROTLI_SMALL: &[u8] = &[11, 3, 128, 123, 34, 97, 34, 58, 49, 125, 3];
    /// `{"a":1}` with a window of 26 bits.
    const BROTLI_LARGE_WINDOW: &[u8] = &[17, 26, 12, 0, 2, 123, 34, 97, 34, 58, 49, 125, 3];

    fn all(data: &[u8]) -> Vec<(Coding, Vec<u8>)> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
        let mut raw = DeflateEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(data).unwrap();
        zlib.write_all(data).unwrap();
        raw.write_all(data).unwrap();
        vec![
            (Coding::Gzip, gzip.finish().unwrap()),
            (Coding::Deflate, zlib.finish().unwrap()),
            (Coding::Deflate, raw.finish().unwrap()),
        ]
    }

    fn plain(coding: Coding, input: &[u8], limit: usize) -> Result<Vec<u8>, &'static str> {
        let mut paid = 0;
        let made = inflate(coding, input, limit, |bytes| {
            paid += bytes;
            Ok(())
        });
        assert!(paid <= limit, "{paid} of {limit} bytes were kept");
        made.map_err(|failed| match failed {
            Failed::TooLarge => "too large",
            Failed::Corrupt => "corrupt",
            Failed::Unpaid(_) => "unpaid",
        })
    }

    #[test]
    fn what_was_deflated_comes_back_and_no_bomb_does() {
        let million = vec![b'a'; 1_000_000];
        let mut cases = all(&million);
        cases.push((Coding::Brotli, BROTLI_MILLION.to_vec()));
        for (coding, bytes) in cases {
            assert!(bytes.len() < 2_000, "{coding:?}");
            assert!(plain(coding, &bytes, 1_000_000).as_deref() == Ok(&million), "{coding:?}");
            for limit in [999_999, 100_000, 1, 0] {
                assert_eq!(plain(coding, &bytes, limit), Err("too large"), "{coding:?} {limit}");
            }
        }
    }

    #[test]
    fn nothing_but_the_whole_is_taken() {
        let mut cases = all(br#"{"a":1}"#);
        cases.push((Coding::Brotli, BROTLI_SMALL.to_vec()));
        for (coding, bytes) in cases {
            assert_eq!(plain(coding, &bytes, 7).as_deref(), Ok(&br#"{"a":1}"#[..]), "{coding:?}");
            for end in 0..bytes.len() {
                assert_eq!(plain(coding, &bytes[..end], 7), Err("corrupt"), "{coding:?} {end}");
            }
            let followed = [&bytes[..], b"x"].concat();
            assert_eq!(plain(coding, &followed, 7), Err("corrupt"), "{coding:?}");
        }
        assert_eq!(plain(Coding::Brotli, BROTLI_LARGE_WINDOW, 7), Err("corrupt"));
        let (_, gzip) = all(b"ab").remove(0);
        assert_eq!(plain(Coding::Gzip, &gzip.repeat(3), 9).as_deref(), Ok(&b"ababab"[..]));
        assert_eq!(plain(Coding::Gzip, &gzip.repeat(3), 5), Err("too large"));
        let mut flipped = gzip.clone();
        flipped[gzip.len() - 8] ^= 1; // the checksum
        assert_eq!(plain(Coding::Gzip, &flipped, 9), Err("corrupt"));
    }

    #[test]
    fn what_cannot_be_paid_for_is_not_kept() {
        let (coding, bytes) = all(&vec![b'a'; 100_000]).remove(0);
        let mut purse = 40_000;
        let made = inflate(coding, &bytes, 100_000, |bytes| {
            purse = usize::checked_sub(purse, bytes).ok_or(Fault::too_large("", ""))?;
            Ok(())
        });
        assert!(matches!(made, Err(Failed::Unpaid(_))));
    }
}
