//! The `data` fields of an event stream (HTML standard, section 9.2.6), passed on as they come.

/// Reads one stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lines(State);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// At the beginning of a line.
    #[default]
    Begin,
    /// So many bytes of the name agree.
    Name(u8),
    /// In the value.
    Value,
    /// In a line that is no data.
    Other,
}

const NAME: &[u8] = b"data:";

impl Lines {
    /// Takes all of `bytes`; gives pieces of values. A space that may follow the name is given too:
    /// who looks for probes does not mind.
    pub fn feed(&mut self, mut bytes: &[u8], value: &mut impl FnMut(&[u8])) {
        while let Some(first) = bytes.first() {
            match self.0 {
                State::Begin | State::Name(_) => {
                    let known =
                        if let State::Name(known) = self.0 { usize::from(known) } else { 0 };
                    self.0 = match *first {
                        b'\n' | b'\r' => State::Begin,
                        byte if byte == NAME[known] && known + 1 == NAME.len() => State::Value,
                        byte if byte == NAME[known] => State::Name(known as u8 + 1),
                        _ => State::Other,
                    };
                    bytes = &bytes[1..];
                }
                State::Value | State::Other => {
                    let end = memchr::memchr2(b'\n', b'\r', bytes);
                    let (line, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
                    if self.0 == State::Value && !line.is_empty() {
                        value(line);
                    }
                    if end.is_some() {
                        self.0 = State::Begin;
                    }
                    bytes = rest;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_split_gives_the_same_values() {
        let stream = b"retry: 1\r\n\r\nid: data:1\nevent: data\ndata: one\ndata:two\rdat: x\n\
                       : data: no\ndata\ndata: three\n\n";
        for cut in 0..=stream.len() {
            let (mut lines, mut out) = (Lines::default(), Vec::new());
            let (first, second) = stream.split_at(cut);
            for piece in [first, second] {
                lines.feed(piece, &mut |value| out.extend_from_slice(value));
            }
            assert_eq!(out, b" onetwo three", "cut at {cut}");
        }
    }
}
