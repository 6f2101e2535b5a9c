//! Finds probes and gap notices in a stream of payload bytes, however it is cut.
//!
//! What is cut is kept until the rest comes, and only then is there any memory for it: a connection
//! at rest costs one pointer.

use memchr::memchr2;

use super::probe::{MARK, PROBE_BYTES, Probe};

/// How a gap notice of the plain dialect begins, on every transport.
const NOTICE: &[u8] = br#"{"event":"fanfare.gap","#;
/// A notice longer than this is none: a channel's name and five short fields.
const NOTICE_BYTES_MAX: usize = 1_024;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A message of a run.
    Probe(Probe),
    /// The server says that messages are missing.
    Gap(Gap),
}

/// A gap notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// How many, where the server knows.
    pub missed: Option<u64>,
    /// Why, in the server's word.
    pub reason: String,
}

/// The scanner of one connection.
#[derive(Debug, Default)]
pub struct Scanner {
    /// A candidate whose end has not come yet.
    cut: Option<Box<Vec<u8>>>,
}

enum Match {
    /// These are the first bytes of something, or may be.
    Short,
    /// They are nothing of ours.
    Nothing,
    /// They begin with this, so many bytes long.
    Here(Found, usize),
}

impl Scanner {
    /// Takes the next bytes.
    pub fn feed(&mut self, bytes: &[u8], found: &mut impl FnMut(Found)) {
        let mut rest = bytes;
        while let Some(mut cut) = self.cut.take() {
            let Some((first, after)) = rest.split_first() else {
                self.cut = Some(cut);
                return;
            };
            // As many as a probe still needs, else one by one: notices are rare.
            let want = if cut[0] == MARK[0] { PROBE_BYTES.saturating_sub(cut.len()) } else { 1 };
            if want > 1 && rest.len() >= want {
                cut.extend_from_slice(&rest[..want]);
                rest = &rest[want..];
            } else {
                cut.push(*first);
                rest = after;
            }
            match judge(&cut) {
                Match::Short => self.cut = Some(cut),
                Match::Here(what, length) => {
                    debug_assert_eq!(length, cut.len());
                    found(what);
                }
                Match::Nothing => self.scan(&cut[1..], found),
            }
        }
        self.scan(rest, found);
    }

    /// Scans from where no candidate is open. Called with the remains of a candidate too, which are
    /// shorter than it was.
    fn scan(&mut self, bytes: &[u8], found: &mut impl FnMut(Found)) {
        let mut rest = bytes;
        while let Some(at) = memchr2(MARK[0], NOTICE[0], rest) {
            rest = &rest[at..];
            match judge(rest) {
                Match::Short => {
                    self.cut = Some(Box::new(rest.to_vec()));
                    return;
                }
                Match::Nothing => rest = &rest[1..],
                Match::Here(what, length) => {
                    found(what);
                    rest = &rest[length..];
                }
            }
        }
    }
}

fn judge(bytes: &[u8]) -> Match {
    if bytes[0] == MARK[0] {
        if bytes.len() >= PROBE_BYTES {
            let probe = Probe::read(&bytes[..PROBE_BYTES]);
            return probe
                .map_or(Match::Nothing, |probe| Match::Here(Found::Probe(probe), PROBE_BYTES));
        }
        let known = bytes.len().min(MARK.len());
        return if bytes[..known] == MARK[..known] { Match::Short } else { Match::Nothing };
    }
    let known = bytes.len().min(NOTICE.len());
    if bytes[..known] != NOTICE[..known] {
        return Match::Nothing;
    }
    match memchr::memchr(b'}', bytes) {
        Some(end) => Match::Here(Found::Gap(read_gap(&bytes[..=end])), end + 1),
        None if bytes.len() > NOTICE_BYTES_MAX => Match::Nothing,
        None => Match::Short,
    }
}

fn read_gap(bytes: &[u8]) -> Gap {
    let text = String::from_utf8_lossy(bytes);
    let after = |name: &str| text.split_once(name).map_or("", |(_, after)| after);
    let digits = after(r#""missed":"#);
    let end = digits.find(|char: char| !char.is_ascii_digit()).unwrap_or(digits.len());
    let reason = after(r#""reason":""#).split('"').next().unwrap_or_default();
    Gap { missed: digits[..end].parse().ok(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(sequence: u32, size: usize) -> Vec<u8> {
        let mut out = Vec::new();
        Probe { run: 1, stream: 0, sequence, nanos: 5 }.write(size, &mut out);
        out
    }

    fn found(pieces: &[&[u8]]) -> (Vec<Found>, bool) {
        let (mut scanner, mut all) = (Scanner::default(), Vec::new());
        for piece in pieces {
            scanner.feed(piece, &mut |what| all.push(what));
        }
        (all, scanner.cut.is_some())
    }

    #[test]
    fn every_split_finds_the_same() {
        let mut stream = b"{\"ev~{\"data\":\"".to_vec();
        stream.extend(message(1, 60));
        stream
            .extend(b"~f2~~f1zz{{\"event\":\"fanfare.gap\",\"channel\":\"b\",\"from\":1,\"to\":4,");
        stream.extend(b"\"missed\":4,\"reason\":\"slow\"}");
        stream.extend(message(2, 36));
        stream.extend(message(3, 36));
        let probe = |sequence| Found::Probe(Probe { run: 1, stream: 0, sequence, nanos: 5 });
        let gap = Found::Gap(Gap { missed: Some(4), reason: "slow".into() });
        let expected = vec![probe(1), gap, probe(2), probe(3)];
        for cut in 0..=stream.len() {
            let (all, open) = found(&[&stream[..cut], &stream[cut..]]);
            assert_eq!((all, open), (expected.clone(), false), "cut at {cut}");
        }
        let single: Vec<_> = stream.chunks(1).collect();
        assert_eq!(found(&single), (expected.clone(), false));
        for size in 2..50 {
            let pieces: Vec<_> = stream.chunks(size).collect();
            assert_eq!(found(&pieces), (expected.clone(), false), "pieces of {size}");
        }
    }

    #[test]
    fn a_gap_without_a_count_is_read() {
        let begin = br#"{"event":"fanfare.gap","channel":"b","from":null,"to":null,"#;
        let (all, _) = found(&[begin, br#""missed":null,"reason":"epoch"}"#]);
        assert_eq!(all, [Found::Gap(Gap { missed: None, reason: "epoch".into() })]);
    }
}
