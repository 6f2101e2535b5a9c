//! A page: frames of consecutive entries of a channel in one encoding, end to end.
//!
//! Lanes hold pages, and so do clients: one that is in the middle of a frame, or of an answer. A
//! page that anybody but its lane holds is never written again, so what was sliced stays where it
//! is; and it is memory for as long as anybody holds it, so it is counted from its beginning to its
//! end, whoever that is.

use std::cell::Cell;
use std::rc::Rc;

/// A page is full when the next frame would make it longer; a longer frame has a page alone.
pub(super) const PAGE_BYTES: usize = 32 << 10;

/// Pages that a shard keeps for the next lane that needs one.
const SPARE_MAX: usize = 8;

/// Frames that a page has room for when it goes round: it may come from a lane of long ones.
const FRAMES: usize = 512;

/// Bytes of the pages of a shard.
#[derive(Clone, Debug, Default)]
struct PageBytes(Rc<Count>);

#[derive(Debug, Default)]
struct Count {
    all: Cell<usize>,
    /// Those of pages that somebody holds who is no lane.
    held: Cell<usize>,
    /// The most that one page ever took.
    longest: Cell<usize>,
}

impl PageBytes {
    fn change(&self, from: usize, to: usize) {
        self.0.longest.set(self.0.longest.get().max(to));
        self.0.all.set(self.0.all.get() - from + to);
    }

    fn change_held(&self, from: usize, to: usize) {
        self.0.held.set(self.0.held.get() - from + to);
    }
}

/// Rendered frames, end to end.
#[derive(Debug)]
pub(crate) struct Page {
    /// Seq of its first frame.
    first: u64,
    bytes: Vec<u8>,
    /// The byte after each frame's last.
    ends: Vec<u32>,
    /// Whether the next frame did not fit.
    full: bool,
    /// Whether anybody was given any of it since eviction last came by.
    used: Cell<bool>,
    /// What is counted of it.
    counted: usize,
    /// Slices of it that there are.
    slices: Cell<u32>,
    all: PageBytes,
}

impl Page {
    /// An empty one whose first frame will be of `seq`.
    fn starting_at(seq: u64, all: &PageBytes) -> Self {
        Self {
            first: seq,
            bytes: Vec::new(),
            ends: Vec::new(),
            full: false,
            used: Cell::new(true),
            counted: 0,
            slices: Cell::new(0),
            all: all.clone(),
        }
    }

    /// Seq of its first frame.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// Seq after its last frame's.
    pub(super) fn end(&self) -> u64 {
        self.first + self.ends.len() as u64
    }

    /// Whether another frame may fit.
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    /// All frames.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes of all frames.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// First byte of the frame of `seq`, or of the next one to come.
    pub(super) fn start_of(&self, seq: u64) -> u32 {
        match (seq - self.first).checked_sub(1) {
            None => 0,
            Some(before) => self.ends[before as usize],
        }
    }

    /// The byte after the last of the frame of `seq`.
    pub(super) fn end_of(&self, seq: u64) -> u32 {
        self.ends[(seq - self.first) as usize]
    }

    /// Seq of the frame that holds this byte.
    pub(super) fn seq_at(&self, byte: u32) -> u64 {
        self.first + self.ends.partition_point(|end| *end <= byte) as u64
    }

    /// Whether there is room for a frame that is at least so long.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.ends.is_empty() || self.bytes.len() + bytes <= PAGE_BYTES
    }

    /// No frame comes any more.
    pub(super) fn close(&mut self) {
        self.full = true;
    }

    /// Appends a frame. Memory grows with what there is to say, up to a page.
    pub(super) fn push(&mut self, frame: &[u8]) {
        let length = self.bytes.len() + frame.len();
        if length > self.bytes.capacity() {
            let grown = (2 * self.bytes.capacity()).min(PAGE_BYTES).max(length);
            self.bytes.reserve_exact(grown - self.bytes.len());
        }
        self.bytes.extend_from_slice(frame);
        self.ends.push(length as u32);
        self.full = length > PAGE_BYTES;
        self.count();
    }

    /// Somebody is given some of it.
    pub(super) fn touch(&self) {
        self.used.set(true);
    }

    /// Whether anybody was since this was last asked.
    pub(super) fn take_used(&self) -> bool {
        self.used.replace(false)
    }

    /// Bytes of memory.
    pub(super) fn memory(&self) -> usize {
        size_of::<Self>() + self.bytes.capacity() + self.ends.capacity() * size_of::<u32>()
    }

    /// Whether anybody but a lane holds it.
    pub(super) fn is_held(&self) -> bool {
        self.slices.get() > 0
    }

    fn count(&mut self) {
        let memory = self.memory();
        self.all.change(self.counted, memory);
        self.counted = memory;
    }

    /// Forgets everything, to begin again with `seq`.
    fn clear(&mut self, seq: u64) {
        self.bytes.clear();
        self.ends.clear();
        (self.first, self.full) = (seq, false);
        self.used.set(true);
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.all.change(self.counted, 0);
    }
}

/// A part of a page, which is held for as long as there is any slice of it.
#[derive(Debug)]
pub(crate) struct Slice {
    page: Rc<Page>,
    start: u32,
    end: u32,
}

impl Slice {
    /// These bytes of a page.
    pub(super) fn new(page: &Rc<Page>, start: u32, end: u32) -> Self {
        if page.slices.replace(page.slices.get() + 1) == 0 {
            page.all.change_held(0, page.counted);
        }
        Self { page: Rc::clone(page), start, end }
    }

    /// The bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.page.bytes()[self.start as usize..self.end as usize]
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// Takes another one in, where that begins where this one ends.
    pub(super) fn join(&mut self, other: &Self) -> bool {
        let joins = Rc::ptr_eq(&self.page, &other.page) && self.end == other.start;
        if joins {
            self.end = other.end;
        }
        joins
    }

    /// Takes its first `count` bytes away.
    pub(crate) fn advance(&mut self, count: usize) {
        self.start += count as u32;
    }

    /// Where it lies.
    pub(crate) fn page(&self) -> &Rc<Page> {
        &self.page
    }

    /// One of a page of its own, for tests of what holds it.
    #[cfg(test)]
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut page = Page::starting_at(0, &PageBytes::default());
        page.push(bytes);
        Self::new(&Rc::new(page), 0, bytes.len() as u32)
    }
}

impl Clone for Slice {
    fn clone(&self) -> Self {
        Self::new(&self.page, self.start, self.end)
    }
}

impl Drop for Slice {
    fn drop(&mut self) {
        let page = &self.page;
        if page.slices.replace(page.slices.get() - 1) == 1 {
            page.all.change_held(page.counted, 0);
        }
    }
}

/// Memory for pages, lent to whichever lane is rendered: a message in steady state takes no
/// allocation.
#[derive(Debug, Default)]
pub(super) struct Pages {
    all: PageBytes,
    /// Whole pages that no lane holds any more, empty and not counted.
    spare: Vec<Rc<Page>>,
}

impl Pages {
    /// Bytes of all pages, of lanes and of clients.
    pub(super) fn bytes(&self) -> usize {
        self.all.0.all.get()
    }

    /// Bytes of those that clients hold: nothing but their letting go makes room of these.
    pub(super) fn held_bytes(&self) -> usize {
        self.all.0.held.get()
    }

    /// The most that one page ever took.
    pub(super) fn longest(&self) -> usize {
        self.all.0.longest.get()
    }

    /// An empty page whose first frame will be of `seq`; `long` says that it is longer than a page.
    pub(super) fn begin(&mut self, seq: u64, long: bool) -> Rc<Page> {
        if !long
            && let Some(mut page) = self.spare.pop()
            && let Some(spare) = Rc::get_mut(&mut page)
        {
            spare.clear(seq);
            return page;
        }
        Rc::new(Page::starting_at(seq, &self.all))
    }

    /// Keeps a page that a lane has done with, where it is a whole one and nobody else reads it.
    pub(super) fn keep(&mut self, mut page: Rc<Page>) {
        let whole = PAGE_BYTES / 2..=2 * PAGE_BYTES;
        if self.spare.len() < SPARE_MAX
            && let Some(spare) = Rc::get_mut(&mut page)
            && whole.contains(&spare.bytes.capacity())
        {
            spare.clear(0);
            spare.ends.reserve_exact(FRAMES); // whichever lane takes it
            spare.all.change(spare.counted, 0);
            spare.counted = 0;
            self.spare.push(page);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_page_takes_is_counted_until_nobody_holds_it() {
        let mut pages = Pages::default();
        let mut page = pages.begin(5, false);
        assert_eq!(pages.bytes(), 0, "nothing is in it");
        for nth in 1..=100 {
            Rc::get_mut(&mut page).unwrap().push(&[nth; 300]);
            assert_eq!(pages.bytes(), page.memory());
        }
        assert!(pages.bytes() > 30_000 && page.bytes.capacity() <= PAGE_BYTES);
        assert_eq!(pages.held_bytes(), 0);
        let slice = Slice::new(&page, 0, 300);
        let another = slice.clone();
        pages.keep(page);
        let memory = slice.page().memory();
        assert_eq!((pages.bytes(), pages.held_bytes()), (memory, memory), "clients hold it");
        assert!(pages.spare.is_empty());
        drop(slice);
        assert_eq!((pages.bytes(), pages.held_bytes()), (memory, memory), "one of them does");
        drop(another);
        assert_eq!((pages.bytes(), pages.held_bytes()), (0, 0));
    }

    #[test]
    fn a_whole_page_goes_round() {
        let mut pages = Pages::default();
        let mut page = pages.begin(1, false);
        let memory = {
            let inner = Rc::get_mut(&mut page).unwrap();
            (0..4).for_each(|_| inner.push(&[1; PAGE_BYTES / 4]));
            inner.bytes.as_ptr()
        };
        pages.keep(page);
        assert_eq!((pages.bytes(), pages.spare.len()), (0, 1));
        let mut again = pages.begin(9, false);
        Rc::get_mut(&mut again).unwrap().push(b"x");
        assert_eq!((again.bytes.as_ptr(), again.first(), again.end()), (memory, 9, 10));
        assert_eq!(pages.bytes(), again.memory());
        let mut long = pages.begin(1, true);
        Rc::get_mut(&mut long).unwrap().push(&[1; 3 * PAGE_BYTES]);
        assert!(long.is_full());
        pages.keep(long);
        assert!(pages.spare.is_empty(), "one long message leaves no long page behind");
    }

    #[test]
    fn a_byte_is_in_a_frame() {
        let mut page = Page::starting_at(7, &PageBytes::default());
        [3, 5, 2].into_iter().for_each(|bytes| page.push(&vec![0; bytes]));
        let frames: Vec<u64> = (0..10).map(|byte| page.seq_at(byte)).collect();
        assert_eq!(frames, [7, 7, 7, 8, 8, 8, 8, 8, 9, 9]);
        let bounds = [7, 8, 9].map(|seq| (page.start_of(seq), page.end_of(seq)));
        assert_eq!(bounds, [(0, 3), (3, 8), (8, 10)]);
        assert_eq!((page.start_of(10), page.end()), (10, 10));
    }
}
