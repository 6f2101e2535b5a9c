//! Reads an event stream as a browser does, incrementally and bounded
//! (WHATWG HTML, sections 9.2.5 and 9.2.6).

use memchr::memchr2;

/// One event that a page would see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The last event id when it was dispatched; empty when there was none yet.
    pub id: String,
    /// `event`, or `message`.
    pub event: String,
    /// The data lines, with LF between them.
    pub data: String,
}

/// An event, or a line, is longer than the reader takes. The stream cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

impl std::fmt::Display for TooLong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an event of the stream is longer than this reader takes")
    }
}

impl std::error::Error for TooLong {}

/// The state of one stream. A new connection is a new reader; carry [`Reader::last_id`] over.
#[derive(Debug)]
pub struct Reader {
    event_bytes_max: usize,
    /// The unfinished line.
    line: Vec<u8>,
    /// The last line ended with CR: a LF that comes next belongs to it.
    after_cr: bool,
    /// No line is finished yet: it may begin with a byte order mark.
    at_start: bool,
    /// Lines of data, each with a LF after it.
    data: String,
    event: String,
    /// As the last `id` line says; becomes `id` with the next empty line.
    id_next: String,
    id: String,
    retry_ms: Option<u64>,
}

impl Reader {
    /// At the beginning of a stream. At most `event_bytes_max` bytes are kept for one event.
    pub fn new(event_bytes_max: usize) -> Self {
        Self {
            event_bytes_max,
            line: Vec::new(),
            after_cr: false,
            at_start: true,
            data: String::new(),
            event: String::new(),
            id_next: String::new(),
            id: String::new(),
            retry_ms: None,
        }
    }

    /// Takes the next bytes and appends the events that they finish.
    ///
    /// # Errors
    /// [`TooLong`]; events finished before it are in `events`.
    pub fn feed(&mut self, mut input: &[u8], events: &mut Vec<Event>) -> Result<(), TooLong> {
        if self.after_cr && !input.is_empty() {
            self.after_cr = false;
            input = input.strip_prefix(b"\n").unwrap_or(input);
        }
        while let Some(at) = memchr2(b'\r', b'\n', input) {
            self.keep(&input[..at])?;
            self.end_line(events);
            let rest = &input[at + 1..];
            input = match input[at] {
                b'\r' if rest.is_empty() => {
                    self.after_cr = true;
                    rest
                }
                b'\r' => rest.strip_prefix(b"\n").unwrap_or(rest),
                _ => rest,
            };
        }
        self.keep(input)
    }

    /// The id to come back with: that of the last block that ended, event or not. Empty when
    /// the stream has given none.
    pub fn last_id(&self) -> &str {
        &self.id
    }

    /// How long to wait before connecting again, when the stream has said so.
    pub fn retry_ms(&self) -> Option<u64> {
        self.retry_ms
    }

    fn keep(&mut self, piece: &[u8]) -> Result<(), TooLong> {
        if self.line.len() + piece.len() + self.data.len() > self.event_bytes_max {
            return Err(TooLong);
        }
        self.line.extend_from_slice(piece);
        Ok(())
    }

    fn end_line(&mut self, events: &mut Vec<Event>) {
        let line = std::mem::take(&mut self.line);
        let mut bytes = line.as_slice();
        if std::mem::take(&mut self.at_start) {
            bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        }
        // Line breaks are ASCII, so that a line decodes as it would within the stream.
        let text = String::from_utf8_lossy(bytes);
        if text.is_empty() {
            self.dispatch(events);
        } else if let Some((name, value)) = text.split_once(':') {
            self.field(name, value.strip_prefix(' ').unwrap_or(value)); // no name: a comment
        } else {
            self.field(&text, "");
        }
        self.line = line;
        self.line.clear();
    }

    fn field(&mut self, name: &str, value: &str) {
        match name {
            "event" => self.event = value.to_string(),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => self.id_next = value.to_string(),
            "retry" if value.bytes().all(|b| b.is_ascii_digit()) => {
                self.retry_ms = value.parse().ok().or(self.retry_ms);
            }
            _ => {}
        }
    }

    fn dispatch(&mut self, events: &mut Vec<Event>) {
        self.id.clone_from(&self.id_next);
        let event = std::mem::take(&mut self.event);
        let mut data = std::mem::take(&mut self.data);
        if data.pop().is_none() {
            return; // no data line: nothing to dispatch
        }
        let event = if event.is_empty() { "message".to_string() } else { event };
        events.push(Event { id: self.id.clone(), event, data });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Event>, Reader) {
        let (mut reader, mut events) = (Reader::new(1 << 10), Vec::new());
        for piece in pieces {
            reader.feed(piece, &mut events).unwrap();
        }
        (events, reader)
    }

    fn event(id: &str, event: &str, data: &str) -> Event {
        Event { id: id.into(), event: event.into(), data: data.into() }
    }

    #[test]
    fn the_examples_of_the_standard() {
        let cases: [(&str, Vec<Event>); 6] = [
            ("data: YHOO\ndata: +2\ndata: 10\n\n", vec![event("", "message", "YHOO\n+2\n10")]),
            (
                ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\n\
                 data:  third event\n\n",
                vec![
                    event("1", "message", "first event"),
                    event("", "message", "second event"),
                    event("", "message", " third event"),
                ],
            ),
            (
                "data\n\ndata\ndata\n\ndata:",
                vec![event("", "message", ""), event("", "message", "\n")],
            ),
            (
                "data:test\n\ndata: test\n\n",
                vec![event("", "message", "test"), event("", "message", "test")],
            ),
            ("event: add\ndata: 73857293\n\n", vec![event("", "add", "73857293")]),
            ("event: x\n\ndata: y\n\n", vec![event("", "message", "y")]),
        ];
        for (stream, expected) in cases {
            assert_eq!(read([stream.as_bytes()]).0, expected, "{stream:?}");
        }
    }

    #[test]
    fn ids_outlive_their_events_and_a_nul_makes_none() {
        let (events, reader) = read([&b"id: 1\n\nid: 2\0\ndata: x\n\nid: 3\ndata: y\n"[..]]);
        assert_eq!(events, [event("1", "message", "x")]);
        assert_eq!(reader.last_id(), "1", "the block of 3 has not ended");
    }

    #[test]
    fn retry_is_digits() {
        assert_eq!(read([&b"retry: 1500\n"[..]]).1.retry_ms(), Some(1500));
        for bad in ["retry: 1s\n", "retry: -1\n", "retry:\n", "retry: 99999999999999999999\n"] {
            let stream = format!("retry: 7\n{bad}");
            assert_eq!(read([stream.as_bytes()]).1.retry_ms(), Some(7), "{bad}");
        }
    }

    #[test]
    fn a_byte_order_mark_is_skipped_once() {
        let (events, _) = read([&b"\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\ndata: c\n\n"[..]]);
        assert_eq!(events, [event("", "message", "a"), event("", "message", "c")]);
    }

    #[test]
    fn an_event_is_bounded() {
        let mut events = Vec::new();
        let mut reader = Reader::new(16);
        assert_eq!(reader.feed(b"data: 0123456789", &mut events), Ok(()));
        assert_eq!(reader.feed(b"0", &mut events), Err(TooLong));
        let mut reader = Reader::new(16);
        let many = b"data: 01\n".repeat(8);
        assert_eq!(reader.feed(&many, &mut events), Err(TooLong), "many short lines");
    }

    proptest! {
        #[test]
        fn every_split_gives_the_same(
            stream in "(\r|\n|\r\n|data|id|event|retry|:| |\0|1|ä|\u{feff}){0,40}", cuts: u64,
        ) {
            super::super::fuzz::same_under_cuts(stream.as_bytes(), cuts);
        }
    }
}
