//! What a publisher is told: frames that wait to be sent, and since when it takes none of them.

use crate::clock::Millis;

/// Bytes of replies that wait for a publisher after which it is not read.
const WAITING_BYTES_MAX: usize = 64 << 10;
/// Bytes of replies that are kept for a publisher that is ended because it reads none.
const LEFT_BYTES_MAX: usize = 128 << 10;
/// Bytes of a frame's length, which does not count itself.
const LENGTH_BYTES: usize = 4;

/// Replies in the order in which they are sent.
#[derive(Debug)]
pub(super) struct Replies {
    /// Whole frames; the first `sent` bytes are gone.
    frames: Vec<u8>,
    sent: usize,
    /// When the publisher last took something, or when there began to be something to take.
    taken: Millis,
}

impl Replies {
    /// None yet.
    pub(super) fn new(now: Millis) -> Self {
        Self { frames: Vec::new(), sent: 0, taken: now }
    }

    /// What is to be sent now.
    pub(super) fn unsent(&self) -> &[u8] {
        &self.frames[self.sent..]
    }

    /// Whether everything is sent.
    pub(super) fn are_sent(&self) -> bool {
        self.unsent().is_empty()
    }

    /// Whether so much waits that nothing more is to be asked for.
    pub(super) fn are_too_many(&self) -> bool {
        self.unsent().len() > WAITING_BYTES_MAX
    }

    /// Where the next frame is written.
    pub(super) fn end(&mut self) -> &mut Vec<u8> {
        &mut self.frames
    }

    /// From now on it is waited for that something is taken.
    pub(super) fn wait_from(&mut self, now: Millis) {
        self.taken = now;
    }

    /// When the publisher has let us wait for so long; `None` where nothing waits.
    pub(super) fn stalled_at(&self, stall_ms: u64) -> Option<Millis> {
        (!self.are_sent()).then(|| self.taken.plus(stall_ms))
    }

    /// So many bytes were taken by the kernel.
    pub(super) fn handle_sent(&mut self, now: Millis, bytes: usize) {
        self.sent += bytes;
        self.taken = now;
        if self.are_sent() {
            self.frames.clear();
            self.frames.shrink_to(WAITING_BYTES_MAX);
            self.sent = 0;
        } else if self.sent > WAITING_BYTES_MAX {
            // One that reads, but is never quite done, must not make this grow.
            let whole = self.begun();
            self.frames.drain(..whole);
            self.sent -= whole;
        }
    }

    /// Drops the last frames that there may be no room for: what is kept ends with a whole frame,
    /// and the one that is sent in part is kept.
    pub(super) fn cut(&mut self) {
        self.frames.truncate(self.frames_until(self.sent + LEFT_BYTES_MAX));
    }

    /// Where the frame begins that is sent in part, or the first that is not sent.
    fn begun(&self) -> usize {
        let ends = FrameEnds { bytes: &self.frames, at: 0 };
        ends.take_while(|end| *end <= self.sent).last().unwrap_or(0)
    }

    /// Where the last frame ends that fits within so many bytes, or the frame that is sent in part.
    fn frames_until(&self, bytes: usize) -> usize {
        let mut last = 0;
        for end in (FrameEnds { bytes: &self.frames, at: 0 }) {
            if end > bytes && last >= self.sent {
                break;
            }
            last = end;
        }
        last
    }
}

/// Where each frame ends of replies that begin with a whole one.
struct FrameEnds<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Iterator for FrameEnds<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let length = self.bytes[self.at..].first_chunk::<LENGTH_BYTES>()?;
        self.at += LENGTH_BYTES + u32::from_le_bytes(*length) as usize;
        Some(self.at)
    }
}
