//! What was published: ready-made frames end to end, shared by all clients, each with a cursor.

use std::collections::VecDeque;

use contender::frame;

/// A place in the stream of all frames since the start.
pub type Cursor = u64;

/// Who is farther behind is dropped.
const LOG_BYTES_MAX: usize = 64 << 20;

/// The log.
#[derive(Debug, Default)]
pub struct Log {
    /// Where `frames` begins.
    base: Cursor,
    frames: Vec<u8>,
    /// Where each frame ends.
    ends: VecDeque<Cursor>,
}

impl Log {
    /// Appends a message.
    pub fn append(&mut self, payload: &[u8]) {
        frame::text(payload, &mut self.frames);
        self.ends.push_back(self.end());
    }

    /// Behind the last frame.
    pub fn end(&self) -> Cursor {
        self.base + self.frames.len() as u64
    }

    /// Everything that waits behind a cursor.
    pub fn rest(&self, cursor: Cursor) -> &[u8] {
        &self.frames[(cursor - self.base) as usize..]
    }

    /// The frame that a cursor stands at, or what is left of the one that it stands in.
    pub fn frame(&self, cursor: Cursor) -> &[u8] {
        let nth = self.ends.partition_point(|end| *end <= cursor);
        let end = self.ends.get(nth).copied().unwrap_or(cursor);
        &self.frames[(cursor - self.base) as usize..(end - self.base) as usize]
    }

    /// Forgets what comes before `all_have`, which every client has been sent, or more if the log
    /// is too long. The place from which on there still is something: whoever is behind it is lost.
    pub fn trim(&mut self, all_have: Cursor) -> Cursor {
        let gone = match self.frames.len() {
            _ if all_have > self.base => (all_have - self.base) as usize,
            length if length > LOG_BYTES_MAX => {
                let half = self.base + length as u64 / 2;
                let nth = self.ends.partition_point(|end| *end <= half);
                (self.ends[nth] - self.base) as usize
            }
            _ => return self.base,
        };
        // Everything is the usual case: the same memory, still warm, is used again.
        self.frames.drain(..gone);
        self.base += gone as u64;
        self.ends.drain(..self.ends.partition_point(|end| *end <= self.base));
        self.base
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_sees_its_frame_and_all_that_waits() {
        let mut log = Log::default();
        log.append(b"ab");
        log.append(b"c");
        assert_eq!(log.rest(0), b"\x81\x02ab\x81\x01c");
        assert_eq!(log.frame(0), b"\x81\x02ab");
        assert_eq!(log.frame(1), b"\x02ab");
        assert_eq!(log.frame(4), b"\x81\x01c");
        assert_eq!(log.frame(7), b"");
    }

    #[test]
    fn what_came_while_the_last_clients_were_asked_is_kept() {
        let mut log = Log::default();
        log.append(b"ab");
        assert_eq!(log.trim(0), 0);
        let all_have = log.end();
        log.append(b"c");
        assert_eq!(log.trim(all_have), 4);
        assert_eq!((log.frame(4), log.rest(4)), (&b"\x81\x01c"[..], &b"\x81\x01c"[..]));
        assert_eq!(log.trim(log.end()), 7);
        assert_eq!(log.frame(7), b"");
    }

    #[test]
    fn who_is_too_far_behind_is_lost() {
        let mut log = Log::default();
        for _ in 0..3 {
            log.append(&vec![b'x'; LOG_BYTES_MAX / 2]);
        }
        let first = log.trim(0);
        assert!(first > LOG_BYTES_MAX as u64 / 2 && first < log.end(), "{first}");
        assert_eq!(log.frame(first)[..2], [0x81, 127]);
    }
}
