//! The lanes of one log: a short list, because a channel is followed in one encoding, or in two or
//! three, of all that there are.
//!
//! A visit looks for the lane of its connection's encoding. It compares a byte of each entry from
//! the first on, which is one load and one comparison where there is one lane: no more than an
//! index into a table of all encodings was, and the table had a word for each of them in every log.

use fanfare_protocol::dialect::Encoding;

use super::lane::Lane;

/// One lane for each encoding in use.
#[derive(Debug, Default)]
pub(super) struct Lanes(Vec<(Encoding, Lane)>);

impl Lanes {
    /// The lane of `encoding`, where it is in use.
    pub(super) fn get(&self, encoding: Encoding) -> Option<&Lane> {
        self.0.iter().find(|(known, _)| *known == encoding).map(|(_, lane)| lane)
    }

    /// The lane of `encoding`, which begins at `seq` if it is not there yet.
    pub(super) fn get_or_begin(&mut self, encoding: Encoding, seq: u64) -> &mut Lane {
        let nth = self.0.iter().position(|(known, _)| *known == encoding).unwrap_or_else(|| {
            self.0.reserve_exact(1); // the next one comes seldom, if at all
            self.0.push((encoding, Lane::starting_at(seq)));
            self.0.len() - 1
        });
        &mut self.0[nth].1
    }

    /// One subscription reads `encoding` no more; the last one takes the lane with it.
    pub(super) fn remove_reader(&mut self, encoding: Encoding) {
        let nth = self.0.iter().position(|(known, _)| *known == encoding);
        let nth = nth.expect("a subscription has its lane");
        let lane = &mut self.0[nth].1;
        lane.readers -= 1;
        if lane.readers == 0 {
            self.0.swap_remove(nth);
            self.0.shrink_to_fit();
        }
    }

    /// All of them.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (Encoding, &mut Lane)> {
        self.0.iter_mut().map(|(encoding, lane)| (*encoding, lane))
    }

    /// Bytes of rendered frames.
    pub(super) fn bytes(&self) -> usize {
        self.0.iter().map(|(_, lane)| lane.bytes()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It was a word for each of nine encodings, and 88 bytes for each in use.
    #[test]
    fn a_channel_pays_for_the_encodings_in_use() {
        assert!(size_of::<Lanes>() == 24 && size_of::<(Encoding, Lane)>() <= 96);
        let mut lanes = Lanes::default();
        assert_eq!(lanes.0.capacity(), 0);
        for (nth, encoding) in Encoding::ALL.into_iter().enumerate() {
            lanes.get_or_begin(encoding, 7).readers = 1;
            lanes.get_or_begin(encoding, 9).readers += 1;
            assert_eq!(lanes.0.capacity(), nth + 1, "no place for what nobody asked for");
        }
        for (nth, encoding) in Encoding::ALL.into_iter().enumerate() {
            lanes.remove_reader(encoding);
            assert_eq!(lanes.get(encoding).map(Lane::first), Some(7), "another one follows it");
            lanes.remove_reader(encoding);
            assert!(lanes.get(encoding).is_none());
            let left = Encoding::ALL.into_iter().skip(nth + 1);
            assert!(left.clone().all(|encoding| lanes.get(encoding).is_some()));
            assert_eq!((lanes.0.len(), lanes.0.capacity()), (left.count(), lanes.0.len()));
        }
    }
}
