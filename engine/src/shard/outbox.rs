//! What is one connection's alone: an answer, control frames, notices, the rest of a frame.
//!
//! It goes out before anything from the logs. Most connections have none: it exists only while
//! something private waits.

use std::rc::Rc;

use super::lane::Page;

/// A rest that is longer than this keeps its page alive instead of being copied.
const COPY_BYTES_MAX: usize = 16 << 10;

/// Private bytes in their order.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// The rest of a long frame that was begun: goes first.
    rest: Option<(Rc<Page>, u32, u32)>,
    bytes: Vec<u8>,
    sent: usize,
}

impl Outbox {
    /// Where private bytes are written.
    pub(super) fn writer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Takes over the rest of a frame that was begun, bytes `start..end` of `page`. Nothing private
    /// waited then: whatever did went out first.
    pub(super) fn finish_frame(&mut self, page: &Rc<Page>, start: u32, end: u32) {
        debug_assert!(self.is_empty());
        if (end - start) as usize > COPY_BYTES_MAX {
            self.rest = Some((Rc::clone(page), start, end));
        } else {
            self.bytes.extend_from_slice(&page[start as usize..end as usize]);
        }
    }

    /// The next bytes to send: not all, where a rest is held by its page.
    pub(super) fn front(&self) -> &[u8] {
        match &self.rest {
            Some((page, start, end)) => &page[*start as usize..*end as usize],
            None => &self.bytes[self.sent..],
        }
    }

    /// The kernel took the first `count` bytes of [`Outbox::front`].
    pub(super) fn advance(&mut self, count: usize) {
        match &mut self.rest {
            Some((_, start, end)) => {
                *start += count as u32;
                if start == end {
                    self.rest = None;
                }
            }
            None => {
                self.sent += count;
                // A client that never takes all must not make this grow for ever.
                if self.sent > self.bytes.len() / 2 {
                    self.bytes.drain(..std::mem::take(&mut self.sent));
                }
            }
        }
    }

    /// Bytes that wait.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.sent
            + self.rest.as_ref().map_or(0, |(_, start, end)| (end - start) as usize)
    }

    /// Bytes of memory of its own.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.bytes.capacity()
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_rest_goes_first_and_is_not_copied() {
        let page = Rc::new(vec![7; 40_000]);
        let mut outbox = Outbox::default();
        outbox.finish_frame(&page, 10_000, 40_000);
        outbox.writer().extend_from_slice(b"pong");
        assert_eq!((outbox.len(), Rc::strong_count(&page)), (30_004, 2));
        outbox.advance(29_999);
        assert_eq!(outbox.front(), [7]);
        outbox.advance(1);
        assert_eq!((outbox.front(), Rc::strong_count(&page)), (&b"pong"[..], 1));
        outbox.advance(4);
        assert!(outbox.is_empty());
    }

    #[test]
    fn a_short_rest_is_copied() {
        let page = Rc::new(vec![7; 40_000]);
        let mut outbox = Outbox::default();
        outbox.finish_frame(&page, 10, 110);
        assert_eq!((outbox.front().len(), Rc::strong_count(&page)), (100, 1));
    }
}
