//! A lane: one channel's messages in one encoding, laid end to end in pages.
//!
//! What waits for a client is then one contiguous slice and one plain send, whoever the client is.
//! A frame never straddles pages. A page that a slow client still needs is kept alive by its own
//! count; such a page is never appended to again, so what was sliced stays where it is.
//!
//! ```text
//! pages:   [ f10 f11 f12 f13 ] [ f14 f15 ....free.... ]
//! frames:    10  11  12  13      14  15          first = 10, head = 15
//! ```

use std::collections::VecDeque;
use std::rc::Rc;

/// A page is closed when the next frame would make it longer; a longer frame has a page alone.
pub(super) const PAGE_BYTES: usize = 32 << 10;

/// Rendered frames, end to end.
pub(crate) type Page = Vec<u8>;

/// Pages that a shard keeps for the next lane that needs one.
const SPARE_MAX: usize = 8;

/// Memory for rendering, lent to whichever log is rendered: a message in steady state takes no
/// allocation.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// One rendered frame.
    pub(super) frame: Vec<u8>,
    /// Seqs that went with a log's last trim: see [`super::log::Log::trim`].
    pub(super) dropped: Vec<u64>,
    /// Whole pages that no lane holds any more, empty.
    pages: Vec<Rc<Page>>,
}

impl Scratch {
    /// A page that begins with this frame.
    fn page(&mut self, frame: &[u8]) -> Rc<Page> {
        if frame.len() <= PAGE_BYTES
            && let Some(mut page) = self.pages.pop()
            && let Some(bytes) = Rc::get_mut(&mut page)
        {
            bytes.extend_from_slice(frame);
            return page;
        }
        // A channel with little to say has little memory: a first page grows as it is needed.
        Rc::new(frame.to_vec())
    }

    /// Keeps a page that a lane has done with, where it is a whole one and nobody else reads it.
    fn keep(&mut self, mut page: Rc<Page>) {
        let whole = PAGE_BYTES / 2..=2 * PAGE_BYTES;
        if self.pages.len() < SPARE_MAX
            && whole.contains(&page.capacity())
            && let Some(bytes) = Rc::get_mut(&mut page)
        {
            bytes.clear();
            self.pages.push(page);
        }
    }

    /// One long message leaves no long buffer behind.
    pub(super) fn shrink(&mut self) {
        self.frame.shrink_to(2 * PAGE_BYTES);
    }
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    /// Number of its page; numbers run on from page to page and wrap.
    page: u32,
    start: u32,
    end: u32,
}

/// Consecutive frames that lie in one page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    page: u32,
    /// First byte in the page.
    pub(super) start: u32,
    /// Byte after the last.
    pub(super) end: u32,
    /// Seq after the last of the run.
    pub(super) next: u64,
}

/// A frame and where it lies in its page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    /// Seq of its message.
    pub(super) seq: u64,
    /// Its first byte in the page.
    pub(super) start: u32,
    /// The byte after its last.
    pub(super) end: u32,
}

/// One channel in one encoding.
#[derive(Debug)]
pub(super) struct Lane {
    pages: VecDeque<Rc<Page>>,
    /// Number of `pages[0]`.
    first_page: u32,
    frames: VecDeque<Frame>,
    /// Seq of `frames[0]`, or of the next append where there is none.
    first: u64,
    /// Subscriptions that read this lane; without any it is dropped.
    pub(super) readers: u32,
    bytes: usize,
}

impl Lane {
    /// An empty lane whose first frame will be of `seq`.
    pub(super) fn starting_at(seq: u64) -> Self {
        Self {
            pages: VecDeque::new(),
            first_page: 1 << 31,
            frames: VecDeque::new(),
            first: seq,
            readers: 0,
            bytes: 0,
        }
    }

    /// Seq of the first frame, or of the next append where there is none.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// Seq of the next append.
    pub(super) fn end(&self) -> u64 {
        self.first + self.frames.len() as u64
    }

    /// Bytes of all pages.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends the frame in `scratch`, which is of message [`Lane::end`].
    pub(super) fn append(&mut self, scratch: &mut Scratch) {
        let frame = std::mem::take(&mut scratch.frame);
        self.append_frame(&frame, scratch);
        scratch.frame = frame;
    }

    fn append_frame(&mut self, frame: &[u8], scratch: &mut Scratch) {
        let start = match self.pages.back_mut().and_then(Rc::get_mut) {
            Some(page) if page.len() + frame.len() <= PAGE_BYTES => {
                page.extend_from_slice(frame);
                page.len() - frame.len()
            }
            _ => {
                self.pages.push_back(scratch.page(frame));
                0
            }
        };
        let page = self.first_page.wrapping_add(self.pages.len() as u32 - 1);
        self.frames.push_back(Frame {
            page,
            start: start as u32,
            end: (start + frame.len()) as u32,
        });
        self.bytes += frame.len();
    }

    /// Puts `earlier`, a lane that ends where this one begins, before it.
    pub(super) fn prepend(&mut self, earlier: Lane) {
        assert_eq!(earlier.end(), self.first, "a lane has no holes");
        let pages = earlier.pages.len() as u32;
        self.first_page = self.first_page.wrapping_sub(pages);
        let shift = self.first_page.wrapping_sub(earlier.first_page);
        for frame in earlier.frames.into_iter().rev() {
            self.frames.push_front(Frame { page: frame.page.wrapping_add(shift), ..frame });
        }
        for page in earlier.pages.into_iter().rev() {
            self.pages.push_front(page);
        }
        self.first = earlier.first;
        self.bytes += earlier.bytes;
    }

    /// Drops every frame before `seq`; later appends go on from where they are.
    pub(super) fn drop_before(&mut self, seq: u64, scratch: &mut Scratch) {
        while self.first < seq {
            self.first += 1;
            let Some(frame) = self.frames.pop_front() else { continue };
            self.bytes -= (frame.end - frame.start) as usize;
            if self.frames.front().is_none_or(|next| next.page != frame.page) {
                self.pages.pop_front().into_iter().for_each(|page| scratch.keep(page));
                self.first_page = self.first_page.wrapping_add(1);
            }
        }
    }

    /// Drops the frames of these seqs, which are in order, and of no other. What stands before each
    /// moves up by one, as in the log; the end stays.
    pub(super) fn drop_within(&mut self, seqs: &[u64], scratch: &mut Scratch) {
        if seqs.last().is_none_or(|last| *last < self.first) {
            return;
        }
        let end = self.end();
        let mut rest = Lane::starting_at(end);
        rest.readers = self.readers;
        for (seq, frame) in (self.first..).zip(&self.frames) {
            if seqs.binary_search(&seq).is_err() {
                let page = &self.pages[frame.page.wrapping_sub(self.first_page) as usize];
                rest.append_frame(&page[frame.start as usize..frame.end as usize], scratch);
            }
        }
        rest.first = end - rest.frames.len() as u64;
        let whole = std::mem::replace(self, rest);
        whole.pages.into_iter().for_each(|page| scratch.keep(page));
    }

    /// The run that begins with message `seq`: as many frames as lie in one page, end before
    /// `before`, and fit into `bytes_max`; at least one. `None` where there is no such frame.
    pub(super) fn run(&self, seq: u64, before: u64, bytes_max: usize) -> Option<Run> {
        let nth = usize::try_from(seq.checked_sub(self.first)?).ok()?;
        let last = (before.min(self.end()).checked_sub(self.first)? as usize).checked_sub(1)?;
        let first = *self.frames.get(nth)?;
        if last < nth {
            return None;
        }
        let fits = |frame: &Frame| {
            frame.page == first.page && (frame.end - first.start) as usize <= bytes_max
        };
        let last = if fits(&self.frames[last]) {
            last
        } else {
            let (mut fit, mut beyond) = (nth, last);
            while beyond - fit > 1 {
                let middle = usize::midpoint(fit, beyond);
                if fits(&self.frames[middle]) { fit = middle } else { beyond = middle }
            }
            fit
        };
        Some(Run {
            page: first.page,
            start: first.start,
            end: self.frames[last].end,
            next: self.first + last as u64 + 1,
        })
    }

    /// The bytes of a run.
    pub(super) fn slice(&self, run: Run) -> &[u8] {
        &self.page(run)[run.start as usize..run.end as usize]
    }

    /// The page of a run.
    pub(super) fn page(&self, run: Run) -> &Rc<Page> {
        &self.pages[run.page.wrapping_sub(self.first_page) as usize]
    }

    /// The frame that holds the byte `sent` bytes after the first byte of message `seq`, in the
    /// page of that message.
    pub(super) fn frame_holding(&self, seq: u64, sent: usize) -> Held {
        let mut nth = (seq - self.first) as usize;
        let at = self.frames[nth].start + sent as u32;
        while self.frames[nth].end <= at {
            nth += 1;
        }
        let Frame { start, end, .. } = self.frames[nth];
        Held { seq: self.first + nth as u64, start, end }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(offset: u64) -> Vec<u8> {
        let long = if offset.is_multiple_of(7) { PAGE_BYTES + 1 } else { 5_000 };
        vec![offset as u8; long]
    }

    fn lane(from: u64, before: u64) -> Lane {
        let mut lane = Lane::starting_at(from);
        let mut scratch = Scratch::default();
        (from..before).for_each(|offset| lane.append_frame(&frame(offset), &mut scratch));
        lane
    }

    /// Reads everything from `offset` on through runs, as visits do.
    fn read(lane: &Lane, mut offset: u64, bytes_max: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Some(run) = lane.run(offset, u64::MAX, bytes_max) {
            bytes.extend_from_slice(lane.slice(run));
            assert!(run.next > offset);
            offset = run.next;
        }
        assert_eq!(offset, lane.end());
        bytes
    }

    #[test]
    fn runs_give_every_frame_once_in_order() {
        let lane = lane(10, 60);
        for from in [10, 13, 14, 15, 59] {
            let expected: Vec<u8> = (from..60).flat_map(frame).collect();
            for bytes_max in [1, 5_000, 12_000, PAGE_BYTES, usize::MAX] {
                assert!(read(&lane, from, bytes_max) == expected, "from {from} by {bytes_max}");
            }
        }
        assert_eq!(lane.run(9, 60, 1), None);
        assert_eq!(lane.run(60, 61, 1), None);
        assert_eq!(lane.run(20, 22, usize::MAX).map(|run| run.next <= 22), Some(true));
    }

    #[test]
    fn dropping_and_prepending_keep_the_rest_in_place() {
        let scratch = &mut Scratch::default();
        let mut later = lane(30, 60);
        later.drop_before(33, scratch);
        later.prepend(lane(5, 33));
        assert_eq!((later.first(), later.end()), (5, 60));
        let expected: Vec<u8> = (5..60).flat_map(frame).collect();
        assert!(read(&later, 5, usize::MAX) == expected);
        later.drop_before(58, scratch);
        assert!(read(&later, 58, usize::MAX) == [frame(58), frame(59)].concat());
        later.drop_before(70, scratch);
        assert_eq!((later.first(), later.end(), later.bytes(), later.pages.len()), (70, 70, 0, 0));
        later.append_frame(b"x", scratch);
        assert_eq!(read(&later, 70, 1), b"x");
    }

    #[test]
    fn a_page_that_is_held_is_never_written_again() {
        let mut lane = lane(1, 3);
        let run = lane.run(1, 3, usize::MAX).unwrap();
        let held = Rc::clone(lane.page(run));
        let before = held.clone();
        lane.append_frame(b"new", &mut Scratch::default());
        assert_eq!(before, held);
        assert_eq!(
            lane.run(3, 4, usize::MAX).map(|run| lane.slice(run).to_vec()),
            Some(b"new".to_vec())
        );
    }

    #[test]
    fn a_page_goes_round_unless_somebody_reads_it() {
        let (scratch, mut lane) = (&mut Scratch::default(), Lane::starting_at(1));
        scratch.frame = vec![1; PAGE_BYTES / 4 - 1];
        (1..=12).for_each(|_| lane.append(scratch));
        let held = Rc::clone(&lane.pages[1]);
        lane.drop_before(13, scratch);
        assert_eq!((scratch.pages.len(), held[0]), (2, 1), "one of three is still read");
        scratch.frame = vec![2; 8];
        lane.append(scratch);
        assert_eq!((scratch.pages.len(), read(&lane, 13, usize::MAX)), (1, vec![2; 8]));
        scratch.frame = vec![3; PAGE_BYTES + 1];
        lane.append(scratch);
        assert_eq!(scratch.pages.len(), 1, "a long frame has a page of its own");
        lane.drop_before(15, scratch);
        assert!(scratch.pages.iter().all(|page| page.is_empty()));
    }

    #[test]
    fn the_frame_that_holds_a_byte() {
        let lane = lane(1, 4);
        let held = |seq, start, end| Held { seq, start, end };
        assert_eq!(lane.frame_holding(1, 0), held(1, 0, 5_000));
        assert_eq!(lane.frame_holding(1, 4_999), held(1, 0, 5_000));
        assert_eq!(lane.frame_holding(1, 5_000), held(2, 5_000, 10_000));
        assert_eq!(lane.frame_holding(2, 5_001), held(3, 10_000, 15_000));
    }
}
