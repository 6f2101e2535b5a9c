//! The lanes of one log: a short list, because a channel is read in one encoding, or in two or
//! three, of all that there are; and the views by which it is read.
//!
//! A visit looks for the lane of its connection's encoding. It compares a byte of each entry from
//! the first on, which is one load and one comparison where there is one lane: no more than an
//! index into a table of all encodings was, and the table had a word for each of them in every log.

use std::rc::Rc;
use std::sync::Arc;

use fanfare_protocol::dialect::Encoding;

use super::entries::Entries;
use super::lane::{Lane, Renderer, Run, Viewed, Want};
use super::page::Page;
use super::room::NoRoom;
use super::views::{ViewNumber, Views};

/// What is rendered once for all who read it: an encoding, and a view of the channel where those
/// who take it read by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rendition {
    /// In which encoding.
    pub(super) encoding: Encoding,
    /// By which view.
    pub(super) view: ViewNumber,
}

/// One lane for each rendition of which there is anything.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    list: Vec<(Rendition, Lane)>,
    views: Views,
}

impl Lanes {
    /// What is wanted of the entries in a rendition, as far as it lies in one page: rendered now,
    /// where it was not. `None` where the first of it is not there, or nothing is wanted.
    ///
    /// # Errors
    /// Where the first of it is not rendered and there is no room for that.
    pub(super) fn run(
        &mut self,
        want: Want,
        rendition: Rendition,
        entries: &Entries,
        renderer: &mut Renderer,
    ) -> Result<Option<Run<'_>>, NoRoom> {
        if !(entries.first()..entries.end().min(want.before)).contains(&want.seq) {
            return Ok(None);
        }
        if let Err(no_room) = renderer.room_for(entries.at(want.seq), Entries::came(want.seq))
            && self.page_of(want.seq, rendition).is_none()
        {
            return Err(no_room);
        }
        let viewed = Viewed { entries, view: self.views.get(rendition.view) };
        let lane = get_or_begin(&mut self.list, rendition);
        Ok(Some(lane.run(want, rendition.encoding, viewed, renderer)))
    }

    /// The page that holds entry `seq`, where it is rendered.
    pub(super) fn page_of(&self, seq: u64, rendition: Rendition) -> Option<&Rc<Page>> {
        let (_, lane) = self.list.iter().find(|(known, _)| *known == rendition)?;
        lane.page_of(seq)
    }

    /// Changes each of them. One that is empty then goes.
    pub(super) fn change(&mut self, change: impl FnMut(&mut Lane)) {
        self.list.iter_mut().map(|(_, lane)| lane).for_each(change);
        if self.list.iter().any(|(_, lane)| lane.is_empty()) {
            self.list.retain(|(_, lane)| !lane.is_empty());
            self.list.shrink_to_fit();
        }
    }

    /// Drops pages of which `goes` says so.
    pub(super) fn evict(&mut self, mut goes: impl FnMut(&Rc<Page>) -> bool) {
        self.change(|lane| lane.evict(&mut goes));
    }

    /// All pages of all lanes.
    pub(super) fn pages(&self) -> impl Iterator<Item = &Rc<Page>> {
        self.list.iter().flat_map(|(_, lane)| lane.pages())
    }

    /// Panics where what is rendered is not what the entries say.
    pub(super) fn invariants(&self, entries: &Entries, renderer: &mut Renderer) {
        for (Rendition { encoding, view }, lane) in &self.list {
            let viewed = Viewed { entries, view: self.views.get(*view) };
            lane.invariants(*encoding, viewed, renderer);
        }
    }
}

/// Views.
impl Lanes {
    /// What a view of the channel says.
    pub(super) fn view(&self, number: ViewNumber) -> Option<&str> {
        self.views.get(number)
    }

    /// Whether one more subscription by `view` has room.
    pub(super) fn has_room_for(&self, view: &str) -> bool {
        self.views.has_room(view)
    }

    /// A subscription by `view` begins, if by any; it has room.
    pub(super) fn enter(&mut self, view: Option<&Arc<str>>) -> ViewNumber {
        view.map(|view| self.views.enter(view)).unwrap_or_default()
    }

    /// A subscription by this view ends. What was rendered by it goes with the last one: another
    /// view may have its number then.
    pub(super) fn leave(&mut self, view: ViewNumber) {
        if self.views.leave(view) {
            self.list.retain(|(rendition, _)| rendition.view != view);
            self.list.shrink_to_fit();
        }
    }
}

/// The lane of `rendition`, which is empty if it is not there yet.
fn get_or_begin(list: &mut Vec<(Rendition, Lane)>, rendition: Rendition) -> &mut Lane {
    let nth = list.iter().position(|(known, _)| *known == rendition).unwrap_or_else(|| {
        list.reserve_exact(1); // the next one comes seldom, if at all
        list.push((rendition, Lane::default()));
        list.len() - 1
    });
    &mut list[nth].1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It was a word for each of nine encodings, and 88 bytes for each in use.
    #[test]
    fn a_channel_pays_for_the_encodings_in_use() {
        assert!(size_of::<Lanes>() == 32 && size_of::<(Rendition, Lane)>() <= 40);
        let mut lanes = Lanes::default();
        assert_eq!(lanes.list.capacity(), 0);
        for (nth, encoding) in Encoding::ALL.into_iter().enumerate() {
            let rendition = Rendition { encoding, view: ViewNumber::default() };
            get_or_begin(&mut lanes.list, rendition);
            get_or_begin(&mut lanes.list, rendition);
            assert_eq!(lanes.list.capacity(), nth + 1, "no place for what nobody asked for");
        }
        lanes.change(|_| {});
        assert_eq!((lanes.list.len(), lanes.list.capacity()), (0, 0), "nothing is rendered");
    }
}
