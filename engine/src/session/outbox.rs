//! What is one connection's alone: an answer, control frames, notices, the rest of a frame.
//!
//! It goes out before anything from the logs. Most connections have none: it exists only while
//! something private waits.

use std::rc::Rc;

use crate::fanout::{Page, Rest};

/// A rest that is longer than this keeps its page alive instead of being copied.
const COPY_BYTES_MAX: usize = 16 << 10;

/// Outboxes that are kept for the next who needs one: what a second's pings of a crowd take.
const SPARE_MAX: usize = 256;
/// One that has grown longer is given back.
const SPARE_BYTES_MAX: usize = 512;

/// Private bytes in their order.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// The rest of a long frame that was begun: goes first.
    rest: Option<(Rc<Page>, u32, u32)>,
    bytes: Vec<u8>,
    sent: usize,
}

/// Where private bytes are written of a client that may have had none.
pub(super) fn private(place: &mut Option<Box<Outbox>>) -> &mut Vec<u8> {
    place.get_or_insert_default().writer()
}

/// A send of private bytes has ended, and it took `taken` of them, or all. Returns how many.
pub(crate) fn took(place: &mut Option<Box<Outbox>>, taken: usize, spare: &mut Spare) -> u64 {
    let outbox = place.as_mut().expect("private bytes were seen");
    let count = outbox.front().len().min(taken);
    outbox.advance(count);
    spare.take_back(place);
    count as u64
}

impl Outbox {
    /// Where private bytes are written.
    pub(crate) fn writer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Takes over the rest of a frame that was begun. Nothing private waited then: whatever did
    /// went out first.
    pub(crate) fn finish_frame(&mut self, rest: Rest) {
        debug_assert!(self.is_empty());
        let Rest { page, start, end } = rest;
        if (end - start) as usize > COPY_BYTES_MAX {
            self.rest = Some((page, start, end));
        } else {
            self.bytes.extend_from_slice(&page[start as usize..end as usize]);
        }
    }

    /// The next bytes to send: not all, where a rest is held by its page.
    pub(crate) fn front(&self) -> &[u8] {
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
    pub(crate) fn memory(&self) -> usize {
        self.bytes.capacity()
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Empty outboxes of one shard. A pong, a ping or a heartbeat is in one for less than a tick; so
/// these go round, and none of them is an allocation.
#[derive(Debug, Default)]
pub(crate) struct Spare {
    #[expect(clippy::vec_box, reason = "what is lent is the box")]
    outboxes: Vec<Box<Outbox>>,
}

impl Spare {
    /// Lends one where there is none.
    pub(super) fn lend(&mut self, place: &mut Option<Box<Outbox>>) {
        if place.is_none() {
            *place = Some(self.outboxes.pop().unwrap_or_default());
        }
    }

    /// Takes one back that is empty; leaves one that is not.
    pub(super) fn take_back(&mut self, place: &mut Option<Box<Outbox>>) {
        let Some(outbox) = place.take_if(|outbox| outbox.is_empty()) else { return };
        if self.outboxes.len() < SPARE_MAX && outbox.memory() <= SPARE_BYTES_MAX {
            self.outboxes.push(outbox);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_rest_goes_first_and_is_not_copied() {
        let page = Rc::new(vec![7; 40_000]);
        let mut outbox = Outbox::default();
        outbox.finish_frame(Rest { page: Rc::clone(&page), start: 10_000, end: 40_000 });
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
    fn only_small_and_empty_ones_go_round() {
        let (mut spare, mut place) = (Spare::default(), None);
        spare.take_back(&mut place);
        spare.lend(&mut place);
        let writer = place.as_mut().unwrap().writer();
        writer.extend_from_slice(b"pong");
        let memory = writer.as_ptr();
        spare.take_back(&mut place);
        spare.lend(&mut place);
        let outbox = place.as_mut().unwrap();
        assert_eq!(outbox.front(), b"pong", "what waits stays");
        outbox.advance(4);
        spare.take_back(&mut place);
        assert!(place.is_none());
        spare.lend(&mut place);
        let outbox = place.as_mut().unwrap();
        assert!(outbox.is_empty() && outbox.writer().as_ptr() == memory, "the same again");
        outbox.writer().extend_from_slice(&[7; SPARE_BYTES_MAX + 1]);
        outbox.advance(SPARE_BYTES_MAX + 1);
        spare.take_back(&mut place);
        assert_eq!(spare.outboxes.len(), 0, "a long one is given back");
    }

    #[test]
    fn a_short_rest_is_copied() {
        let page = Rc::new(vec![7; 40_000]);
        let mut outbox = Outbox::default();
        outbox.finish_frame(Rest { page: Rc::clone(&page), start: 10, end: 110 });
        assert_eq!((outbox.front().len(), Rc::strong_count(&page)), (100, 1));
    }
}
