//! A lane: what is rendered of one channel in one encoding, and by one view where it has such.
//! It is a cache of its log, in pages.
//!
//! What waits for a client is then one contiguous slice and one plain send, whoever the client is.
//! A page holds the frames of consecutive entries, and pages lie in the order of their entries; but
//! between them there may be holes, of what nobody has asked for yet, or for long. Whoever asks
//! renders, from there on and up to what it asks for, a page's length or where the next page
//! begins: so nothing is rendered when a message comes or when a client does, one visit renders one
//! page or one long message, and a crowd that comes back shares what the first of it rendered.
//!
//! ```text
//! log:     10 11 12 13 14 15 16 17 18 19 20 21 22 23 24
//! pages:     [ 11 12 13 ]       [ 17 18 19 20 ][ 21 22 ..free.. ]
//! ```
//!
//! Nearly always what is asked for lies in the newest page, or is to be appended to it.

use std::collections::VecDeque;
use std::rc::Rc;

use fanfare_protocol::dialect::Encoding;
use fanfare_protocol::id::Epoch;

use super::entries::Entries;
use super::entry::LogEntry;
use super::page::{PAGE_BYTES, Page, Pages, Slice};
use super::room::{NoRoom, Room};

/// A page before another one begins this much earlier than it is asked for, as far as nothing is
/// rendered there: or those who come each a message further back would leave a page for each.
const BEFORE_BYTES: usize = 4 << 10;
/// Bytes that may be rendered in one part of a batch, unless one message alone is longer: for those
/// who are visited for reasons of their own, and for those whom sweeps visit.
const WORK_BYTES: usize = 128 << 10;

/// What renders, for all lanes of a shard.
#[derive(Debug)]
pub(crate) struct Renderer {
    /// The order's.
    epoch: Epoch,
    /// Where to.
    pub(super) pages: Pages,
    /// How much of that there may be.
    pub(super) room: Room,
    /// Position behind which messages are new.
    pub(super) new_after: u64,
    frame: Vec<u8>,
    /// What was done since this part of the batch began, in bytes.
    work: usize,
}

impl Renderer {
    /// One that has rendered nothing.
    pub(super) fn new(epoch: Epoch) -> Self {
        let (pages, room) = (Pages::default(), Room::ANY);
        Self { epoch, pages, room, new_after: 0, frame: Vec::new(), work: 0 }
    }

    /// The epoch of all that is rendered.
    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Another epoch begins, and nothing of the one before is rendered any more.
    pub(super) fn begin_epoch(&mut self, epoch: Epoch) {
        self.epoch = epoch;
    }

    /// One that renders the same and has rendered nothing.
    pub(super) fn another(&self) -> Self {
        Self::new(self.epoch)
    }

    /// A part of a batch begins.
    pub(crate) fn begin_part(&mut self) {
        self.work = 0;
        // One long message leaves no long buffer behind.
        self.frame.shrink_to(2 * PAGE_BYTES);
    }

    /// Work was done that is worth so many rendered bytes.
    pub(super) fn worked(&mut self, bytes: usize) {
        self.work += bytes;
    }

    /// Whether there is no time for more in this part of a batch.
    pub(super) fn is_spent(&self) -> bool {
        self.work >= WORK_BYTES
    }

    /// Whether there is room to render this entry, and what fits behind it in a page. It came
    /// while its channel was followed here, or was published before that.
    ///
    /// # Errors
    /// Where there is none: it is to wait for some.
    pub(super) fn room_for(&self, entry: &LogEntry, came: bool) -> Result<(), NoRoom> {
        let is_new = came && entry.position() > self.new_after;
        let wanted = NoRoom::of(is_new, entry.bytes() > PAGE_BYTES);
        if self.has_room(wanted) { Ok(()) } else { Err(wanted) }
    }

    /// Whether there would be room for a longest message, too, where one more was kept.
    pub(super) fn has_room_to_spare(&self) -> bool {
        self.room.has_to_spare(self.pages.bytes())
    }

    fn has_room(&self, wanted: NoRoom) -> bool {
        self.room.has(wanted, self.pages.bytes())
    }

    /// How long an entry is, rendered: for whoever asks only that.
    pub(super) fn measure(
        &mut self,
        entry: &LogEntry,
        view: Option<&str>,
        encoding: Encoding,
    ) -> usize {
        self.render(entry, view, encoding);
        self.frame.len()
    }

    /// Renders an entry as it stands in a lane.
    fn render(&mut self, entry: &LogEntry, view: Option<&str>, encoding: Encoding) {
        self.frame.clear();
        entry.render(view, encoding, self.epoch, &mut self.frame);
        self.work += self.frame.len();
    }
}

/// The entries of a log, as those see them who read by one view.
#[derive(Clone, Copy, Debug)]
pub(super) struct Viewed<'a> {
    /// All of them.
    pub(super) entries: &'a Entries,
    /// What the view says, where they read by any.
    pub(super) view: Option<&'a str>,
}

/// What a reader asks for: entries from `seq` on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Want {
    /// The first one.
    pub(super) seq: u64,
    /// Those before this.
    pub(super) before: u64,
    /// As many as fit, and the first whatever its length.
    pub(super) bytes: usize,
    /// Whether what comes behind is rendered with it, because it will be asked for soon.
    pub(super) ahead: bool,
}

/// Consecutive frames that lie in one page.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run<'a> {
    page: &'a Rc<Page>,
    start: u32,
    end: u32,
    /// Seq after the last of the run.
    pub(super) next: u64,
}

impl Run<'_> {
    /// How many bytes it has.
    pub(super) fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    /// The bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.page.bytes()[self.start as usize..self.end as usize]
    }

    /// The same, to be held.
    pub(super) fn slice(self) -> Slice {
        Slice::new(self.page, self.start, self.end)
    }
}

/// One channel in one encoding.
#[derive(Debug, Default)]
pub(super) struct Lane {
    pages: VecDeque<Rc<Page>>,
}

impl Lane {
    /// What is wanted, as far as it lies in one page. The log holds the first of it, and it is
    /// rendered or there is room for it.
    pub(super) fn run(
        &mut self,
        want: Want,
        encoding: Encoding,
        viewed: Viewed<'_>,
        renderer: &mut Renderer,
    ) -> Run<'_> {
        let nth = self.reach(want, encoding, viewed, renderer);
        let page = &self.pages[nth];
        page.touch();
        let start = page.start_of(want.seq);
        let fits = |seq: u64| (page.end_of(seq) - start) as usize <= want.bytes;
        let last = page.end().min(want.before) - 1;
        let last = if fits(last) {
            last
        } else {
            let (mut fit, mut beyond) = (want.seq, last);
            while beyond - fit > 1 {
                let middle = u64::midpoint(fit, beyond);
                if fits(middle) { fit = middle } else { beyond = middle }
            }
            fit
        };
        Run { page, start, end: page.end_of(last), next: last + 1 }
    }

    /// The page that holds `seq`, where it is rendered.
    pub(super) fn page_of(&self, seq: u64) -> Option<&Rc<Page>> {
        self.find(seq).ok().map(|nth| &self.pages[nth])
    }

    /// Which page holds `seq`, or before which it would stand.
    fn find(&self, seq: u64) -> Result<usize, usize> {
        let behind = match self.pages.back() {
            Some(newest) if newest.first() <= seq => self.pages.len(),
            _ => self.pages.partition_point(|page| page.first() <= seq),
        };
        match behind.checked_sub(1) {
            Some(nth) if seq < self.pages[nth].end() => Ok(nth),
            _ => Err(behind),
        }
    }

    /// Which page holds the first that is wanted, after what is missing of it was rendered.
    fn reach(
        &mut self,
        want: Want,
        encoding: Encoding,
        viewed: Viewed<'_>,
        renderer: &mut Renderer,
    ) -> usize {
        let seq = want.seq;
        let behind = match self.find(seq) {
            Ok(nth) => {
                if renderer.has_room(NoRoom::Page) {
                    self.extend(nth, want, encoding, viewed, renderer);
                }
                return nth;
            }
            Err(behind) => behind,
        };
        let mut from = viewed.entries.first();
        if let Some(before) = behind.checked_sub(1) {
            from = from.max(self.pages[before].end());
            if from == seq {
                self.extend(before, want, encoding, viewed, renderer);
                if seq < self.pages[before].end() {
                    return before;
                }
            }
        }
        let mut first = seq;
        let mut room = if behind < self.pages.len() { BEFORE_BYTES } else { 0 };
        while first > from
            && let Some(left) = room.checked_sub(viewed.entries.at(first - 1).cost())
        {
            (first, room) = (first - 1, left);
        }
        self.begin(behind, first, viewed, renderer);
        self.extend(behind, want, encoding, viewed, renderer);
        if seq < self.pages[behind].end() {
            return behind;
        }
        // What comes before it took the whole page.
        self.begin(behind + 1, seq, viewed, renderer);
        self.extend(behind + 1, want, encoding, viewed, renderer);
        behind + 1
    }

    fn begin(&mut self, nth: usize, seq: u64, viewed: Viewed<'_>, renderer: &mut Renderer) {
        let long = viewed.entries.at(seq).bytes() > PAGE_BYTES;
        self.pages.insert(nth, renderer.pages.begin(seq, long));
    }

    /// Appends to a page what is wanted and was not rendered yet, unless somebody holds it.
    fn extend(
        &mut self,
        nth: usize,
        want: Want,
        encoding: Encoding,
        viewed: Viewed<'_>,
        renderer: &mut Renderer,
    ) {
        let next_page = self.pages.get(nth + 1).map_or(u64::MAX, |page| page.first());
        let before = if want.ahead { u64::MAX } else { want.before };
        let until = viewed.entries.end().min(next_page).min(before);
        let page = &mut self.pages[nth];
        if page.end() >= until || page.is_full() {
            return;
        }
        let Some(page) = Rc::get_mut(page) else { return };
        while page.end() < until && (want.ahead || !has(page, want)) {
            let entry = viewed.entries.at(page.end());
            if !page.has_room(entry.bytes()) {
                return page.close();
            }
            renderer.render(entry, viewed.view, encoding);
            if !page.has_room(renderer.frame.len()) {
                return page.close();
            }
            page.push(&renderer.frame);
            if page.is_full() {
                return;
            }
        }
    }

    /// Drops the pages that hold nothing from `seq` on.
    pub(super) fn drop_before(&mut self, seq: u64, pages: &mut Pages) {
        while let Some(page) = self.pages.pop_front_if(|page| page.end() <= seq) {
            pages.keep(page);
        }
    }

    /// Drops the pages that hold anything up to `seq`: numbers there are other entries' now.
    pub(super) fn drop_up_to(&mut self, seq: u64, pages: &mut Pages) {
        while let Some(page) = self.pages.pop_front_if(|page| page.first() <= seq) {
            pages.keep(page);
        }
    }

    /// Drops pages of which `goes` says so.
    pub(super) fn evict(&mut self, mut goes: impl FnMut(&Rc<Page>) -> bool) {
        self.pages.retain(|page| !goes(page));
    }

    /// Whether nothing is rendered.
    pub(super) fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }

    /// Panics where pages are not in order, or are not what the entries say. What is rendered of
    /// entries that went since is not looked at.
    pub(super) fn invariants(
        &self,
        encoding: Encoding,
        viewed: Viewed<'_>,
        renderer: &mut Renderer,
    ) {
        let mut end = 0;
        for page in &self.pages {
            assert!(
                end <= page.first()
                    && page.first() < page.end()
                    && page.end() <= viewed.entries.end()
            );
            end = page.end();
            for seq in page.first().max(viewed.entries.first())..page.end() {
                let frame = page.start_of(seq) as usize..page.end_of(seq) as usize;
                renderer.render(viewed.entries.at(seq), viewed.view, encoding);
                let said = &page.bytes()[frame];
                assert!(
                    said == renderer.frame,
                    "{seq} in {encoding}: {} instead of {}",
                    String::from_utf8_lossy(said),
                    String::from_utf8_lossy(&renderer.frame)
                );
            }
        }
    }

    /// All pages, in order.
    pub(super) fn pages(&self) -> impl Iterator<Item = &Rc<Page>> {
        self.pages.iter()
    }
}

/// Whether a page holds as many bytes as are wanted, from the first that is.
fn has(page: &Page, want: Want) -> bool {
    page.end() > want.seq && page.len() - page.start_of(want.seq) as usize >= want.bytes
}

#[cfg(test)]
mod tests;
