//! Bytes for one connection alone: an answer, control frames, notices, the rest of a frame.
//!
//! It goes out before anything from the logs. Most connections have none: it exists only while
//! something private waits.

use std::collections::VecDeque;

use fanfare_protocol::framing::Framing;

use crate::fanout::{Gathering, Slice};

/// Slices that are longer than this keep their page alive instead of being copied.
const COPY_BYTES_MAX: usize = 16 << 10;

/// Outboxes that are kept for the next who needs one: what a second's pings of a crowd take.
const SPARE_MAX: usize = 256;
/// One that has grown longer is given back.
const SPARE_BYTES_MAX: usize = 512;

/// Private bytes in their order.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// What goes first.
    front: VecDeque<Segment>,
    /// Bytes of that.
    front_bytes: usize,
    bytes: Vec<u8>,
    sent: usize,
}

/// Bytes that lie together.
#[derive(Debug)]
enum Segment {
    /// The client's own, of which the first have gone.
    Own(Vec<u8>, usize),
    /// A part of a page that others read too: the rest of a long frame, messages of an answer.
    Shared(Slice),
}

impl Segment {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Own(bytes, sent) => &bytes[*sent..],
            Self::Shared(slice) => slice.bytes(),
        }
    }

    fn advance(&mut self, count: usize) {
        match self {
            Self::Own(_, sent) => *sent += count,
            Self::Shared(slice) => slice.advance(count),
        }
    }
}

/// Where private bytes are written of a client that may have had none.
pub(super) fn private(place: &mut Option<Box<Outbox>>) -> &mut Vec<u8> {
    place.get_or_insert_default().writer()
}

/// The same for one frame, behind what separates it from the one before.
pub(super) fn frame(place: &mut Option<Box<Outbox>>, framing: Framing) -> &mut Vec<u8> {
    let out = private(place);
    out.extend_from_slice(framing.separator());
    out
}

/// A send of private bytes has ended, and it took `taken` of them, or all of the first that lie
/// together. Returns how many.
pub(crate) fn took(place: &mut Option<Box<Outbox>>, taken: usize, spare: &mut Spare) -> u64 {
    let outbox = place.as_mut().expect("private bytes were seen");
    let count = if taken == usize::MAX { outbox.front().len() } else { taken };
    outbox.advance(count);
    spare.take_back(place);
    count as u64
}

impl Outbox {
    /// Where private bytes are written.
    pub(crate) fn writer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Everything that was written, where nothing of it was sent.
    pub(super) fn into_unsent(self) -> Vec<u8> {
        debug_assert!(self.front.is_empty() && self.sent == 0, "something of it was sent");
        self.bytes
    }

    /// Takes over the rest of a frame that was begun. Nothing private waits at that time: it would
    /// have gone out first.
    pub(crate) fn finish_frame(&mut self, rest: Slice) {
        debug_assert!(self.is_empty());
        if rest.len() > COPY_BYTES_MAX {
            self.push(Segment::Shared(rest));
        } else {
            self.bytes.extend_from_slice(rest.bytes());
        }
    }

    /// Takes over the messages of an answer, behind what waits: where they are long, as they lie in
    /// their pages.
    pub(super) fn take_messages(&mut self, gathering: &mut Gathering) {
        if gathering.bytes <= COPY_BYTES_MAX {
            let slices = gathering.messages.drain(..);
            return slices.for_each(|slice| self.bytes.extend_from_slice(slice.bytes()));
        }
        self.front.reserve_exact(gathering.messages.len() + 1);
        if !self.bytes.is_empty() {
            let (bytes, sent) = (std::mem::take(&mut self.bytes), std::mem::take(&mut self.sent));
            self.push(Segment::Own(bytes, sent));
        }
        gathering.messages.drain(..).for_each(|slice| self.push(Segment::Shared(slice)));
    }

    fn push(&mut self, segment: Segment) {
        self.front_bytes += segment.bytes().len();
        self.front.push_back(segment);
    }

    /// The next bytes to send: as many as lie together.
    pub(crate) fn front(&self) -> &[u8] {
        self.front.front().map_or(&self.bytes[self.sent..], Segment::bytes)
    }

    /// Whether the first contiguous bytes are so few that more are copied behind them for one send.
    pub(crate) fn is_scattered(&self) -> bool {
        self.front.front().is_some_and(|first| first.bytes().len() < COPY_BYTES_MAX)
    }

    /// Appends the next bytes to send to `out`, up to `max`.
    pub(crate) fn copy(&self, out: &mut Vec<u8>, max: usize) {
        let end = out.len() + max;
        let all = self.front.iter().map(Segment::bytes).chain([&self.bytes[self.sent..]]);
        for bytes in all {
            let room = end - out.len();
            if room == 0 {
                return;
            }
            out.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
    }

    /// The kernel took the first `count` bytes.
    pub(super) fn advance(&mut self, mut count: usize) {
        while let Some(first) = self.front.front_mut() {
            let length = first.bytes().len();
            let taken = length.min(count);
            first.advance(taken);
            self.front_bytes -= taken;
            if taken < length {
                return;
            }
            count -= taken;
            self.front.pop_front();
            if self.front.is_empty() {
                self.front = VecDeque::new();
            }
        }
        self.sent += count;
        // A client that never takes all must not make this grow for ever.
        if self.sent > self.bytes.len() / 2 {
            self.bytes.drain(..std::mem::take(&mut self.sent));
        }
    }

    /// Bytes that wait.
    pub(super) fn len(&self) -> usize {
        self.front_bytes + self.bytes.len() - self.sent
    }

    /// Bytes of memory of its own.
    pub(crate) fn memory(&self) -> usize {
        let own = |segment: &Segment| match segment {
            Segment::Own(bytes, _) => bytes.capacity(),
            Segment::Shared(_) => 0,
        };
        let front = self.front.capacity() * size_of::<Segment>();
        self.bytes.capacity() + front + self.front.iter().map(own).sum::<usize>()
    }

    /// The parts of pages that it holds.
    pub(crate) fn slices(&self) -> impl Iterator<Item = &Slice> {
        self.front.iter().filter_map(|segment| match segment {
            Segment::Own(..) => None,
            Segment::Shared(slice) => Some(slice),
        })
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

    use std::rc::Rc;

    /// So many bytes of a page.
    fn slice(bytes: usize) -> Slice {
        Slice::of(&vec![7; bytes])
    }

    #[test]
    fn a_long_rest_goes_first_and_is_not_copied() {
        let (mut outbox, rest) = (Outbox::default(), slice(30_000));
        outbox.finish_frame(rest.clone());
        outbox.writer().extend_from_slice(b"pong");
        assert_eq!((outbox.len(), Rc::strong_count(rest.page())), (30_004, 2));
        assert!(outbox.memory() < 1_000 && !outbox.is_scattered());
        outbox.advance(29_999);
        assert_eq!(outbox.front(), [7]);
        outbox.advance(1);
        assert_eq!((outbox.front(), Rc::strong_count(rest.page())), (&b"pong"[..], 1));
        outbox.advance(4);
        assert!(outbox.is_empty());
    }

    #[test]
    fn an_answer_stands_between_what_is_written_before_and_behind_it() {
        let slices = [slice(20_000), slice(10), slice(30), slice(9_000)];
        let bytes = slices.iter().map(Slice::len).sum();
        for cut in [1, 7, 19_999, 20_020, 100_000] {
            let mut answer = Gathering { messages: slices.to_vec(), bytes, ..Gathering::default() };
            let mut outbox = Outbox::default();
            outbox.writer().extend_from_slice(b"sent, head");
            outbox.advance(6);
            outbox.take_messages(&mut answer);
            outbox.writer().extend_from_slice(b"end");
            assert_eq!((outbox.len(), outbox.slices().count()), (4 + bytes + 3, 4));
            assert!(outbox.memory() < 1_000, "{} bytes of its own", outbox.memory());
            let mut given = Vec::new();
            while !outbox.is_empty() {
                let mut some = Vec::new();
                if outbox.is_scattered() {
                    outbox.copy(&mut some, 20_010);
                } else {
                    some.extend_from_slice(outbox.front());
                }
                some.truncate(cut);
                outbox.advance(some.len());
                given.extend(some);
            }
            assert!(given == [&b"head"[..], &vec![7; bytes], b"end"].concat(), "cut at {cut}");
        }
        assert!(slices.iter().all(|slice| Rc::strong_count(slice.page()) == 1));
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
    fn what_is_short_is_copied() {
        let (mut outbox, rest) = (Outbox::default(), slice(100));
        outbox.finish_frame(rest.clone());
        let messages = vec![rest.clone(), rest.clone()];
        let mut answer = Gathering { messages, bytes: 200, ..Gathering::default() };
        outbox.take_messages(&mut answer);
        assert_eq!((outbox.front().len(), outbox.slices().count()), (300, 0));
    }
}
