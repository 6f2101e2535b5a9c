//! The lanes of one log: a short list, because a channel is read in one encoding, or in two or
//! three, of all that there are.
//!
//! A visit looks for the lane of its connection's encoding. It compares a byte of each entry from
//! the first on, which is one load and one comparison where there is one lane: no more than an
//! index into a table of all encodings was, and the table had a word for each of them in every log.

use fanfare_protocol::dialect::Encoding;

use super::lane::Lane;
use super::views::ViewNumber;

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
pub(super) struct Lanes(Vec<(Rendition, Lane)>);

impl Lanes {
    /// The lane of `rendition`, where there is anything of it.
    pub(super) fn get(&self, rendition: Rendition) -> Option<&Lane> {
        self.0.iter().find(|(known, _)| *known == rendition).map(|(_, lane)| lane)
    }

    /// The lane of `rendition`, which is empty if it is not there yet.
    pub(super) fn get_or_begin(&mut self, rendition: Rendition) -> &mut Lane {
        let nth = self.0.iter().position(|(known, _)| *known == rendition).unwrap_or_else(|| {
            self.0.reserve_exact(1); // the next one comes seldom, if at all
            self.0.push((rendition, Lane::default()));
            self.0.len() - 1
        });
        &mut self.0[nth].1
    }

    /// Changes each of them. One that is empty then goes.
    pub(super) fn change(&mut self, change: impl FnMut(&mut Lane)) {
        self.0.iter_mut().map(|(_, lane)| lane).for_each(change);
        if self.0.iter().any(|(_, lane)| lane.is_empty()) {
            self.0.retain(|(_, lane)| !lane.is_empty());
            self.0.shrink_to_fit();
        }
    }

    /// A view is forgotten, and another may have its number.
    pub(super) fn forget(&mut self, view: ViewNumber) {
        self.0.retain(|(rendition, _)| rendition.view != view);
        self.0.shrink_to_fit();
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Rendition, &Lane)> {
        self.0.iter().map(|(rendition, lane)| (*rendition, lane))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It was a word for each of nine encodings, and 88 bytes for each in use.
    #[test]
    fn a_channel_pays_for_the_encodings_in_use() {
        assert!(size_of::<Lanes>() == 24 && size_of::<(Rendition, Lane)>() <= 40);
        let mut lanes = Lanes::default();
        assert_eq!(lanes.0.capacity(), 0);
        for (nth, encoding) in Encoding::ALL.into_iter().enumerate() {
            let rendition = Rendition { encoding, view: ViewNumber::default() };
            lanes.get_or_begin(rendition);
            lanes.get_or_begin(rendition);
            assert_eq!(lanes.0.capacity(), nth + 1, "no place for what nobody asked for");
            assert!(lanes.get(rendition).is_some());
        }
        lanes.change(|_| {});
        assert_eq!((lanes.0.len(), lanes.0.capacity()), (0, 0), "nothing is rendered");
    }
}
