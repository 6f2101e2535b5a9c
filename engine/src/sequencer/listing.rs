//! A page of the channels that there are, in the order of their names.
//!
//! Records lie in a table in no order, and nobody sorts a million of them: each page is one pass
//! over the table, in as many turns as that takes, and of what was seen the first names are kept.
//! A channel that is there all the while is on its page; one that begins or ends meanwhile may be.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::command::{ChannelList, ChannelListQuery, ChannelStats};
use super::read;
use super::table::Channels;

/// Places of the table that are looked at for one unit of work.
const PLACES_PER_UNIT: usize = 8;

/// A pass that is under way.
pub(super) struct Listing {
    query: ChannelListQuery,
    /// The next place to look at.
    place: usize,
    /// The first names so far, as many as are wanted.
    first: BTreeMap<Arc<str>, ChannelStats>,
    /// Whether there are others behind them.
    more: bool,
}

impl Listing {
    /// One that begins.
    pub(super) fn new(query: ChannelListQuery) -> Self {
        Self { query, place: 0, first: BTreeMap::new(), more: false }
    }

    /// Looks on for so many units; whether all of the table was seen.
    pub(super) fn go_on(&mut self, units: usize, channels: &Channels) -> bool {
        let until = self.place + units * PLACES_PER_UNIT;
        for place in self.place..until.min(channels.places()) {
            if let Some(channel) = channels.in_place(place)
                && channel.name.tenant == self.query.tenant
            {
                self.see(&channel.name.name, || read::stats(Some(channel)));
            }
        }
        self.place = until;
        until >= channels.places()
    }

    fn see(&mut self, name: &Arc<str>, stats: impl FnOnce() -> ChannelStats) {
        let Self { query, first, more, .. } = self;
        let is_after = query.after.as_deref().is_none_or(|after| **name > *after);
        if !is_after || !name.starts_with(&*query.prefix) {
            return;
        }
        let is_full = first.len() == query.limit;
        if is_full && first.last_key_value().is_none_or(|(last, _)| last < name) {
            *more = true;
            return;
        }
        let before = first.insert(Arc::clone(name), stats());
        if is_full && before.is_none() {
            first.pop_last();
            *more = true;
        }
    }

    /// Answers with what was found.
    pub(super) fn answer(self) {
        let channels = self.first.into_iter().collect();
        (self.query.answer)(ChannelList { channels, more: self.more });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::channel::{ChannelName, Tenant};
    use crate::rule::Rules;

    /// A page, gathered in turns of one unit, and how many turns that took.
    fn page(
        channels: &Channels,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> (Vec<String>, bool, usize) {
        let (said, heard) = mpsc::channel();
        let mut listing = Listing::new(ChannelListQuery {
            tenant: Tenant::default(),
            prefix: prefix.into(),
            after: after.map(Into::into),
            limit,
            answer: Box::new(move |list| said.send(list).unwrap()),
        });
        let mut turns = 1;
        while !listing.go_on(1, channels) {
            assert!(listing.first.len() <= limit, "no more is kept than is wanted");
            turns += 1;
        }
        listing.answer();
        let list = heard.recv().unwrap();
        (list.channels.iter().map(|(name, _)| name.to_string()).collect(), list.more, turns)
    }

    #[test]
    fn pages_go_through_all_names_in_order_and_know_their_end() {
        let mut channels = Channels::new(Rules::default());
        // An order that is none: 7 and 100 have no common divisor.
        let mut names: Vec<_> = (0..100).map(|n| format!("room:{:02}", n * 7 % 100)).collect();
        for name in names.iter().map(String::as_str).chain(["other", "room", "zoo:1"]) {
            channels.find_or_make(&ChannelName::new(Tenant::default(), name));
            channels.find_or_make(&ChannelName::new(Tenant::new("acme"), name));
        }
        names.sort();
        for limit in [1, 3, 99, 100, 101] {
            let (mut seen, mut after) = (Vec::new(), None);
            loop {
                let (page, more, turns) = page(&channels, "room:", after.as_deref(), limit);
                assert_eq!(turns, 206_usize.div_ceil(PLACES_PER_UNIT), "both tenants' places");
                seen.extend(page);
                after = seen.last().cloned();
                if !more {
                    break;
                }
            }
            assert_eq!(seen, names, "{limit}");
        }
        let (page, more, _) = page(&channels, "zoo", None, 5);
        assert_eq!((page, more), (vec!["zoo:1".to_owned()], false));
    }

    #[test]
    fn a_name_that_moves_to_another_place_meanwhile_stands_once() {
        let mut listing = Listing::new(ChannelListQuery {
            tenant: Tenant::default(),
            prefix: "".into(),
            after: None,
            limit: 2,
            answer: Box::new(|_| {}),
        });
        let name: Arc<str> = "a".into();
        listing.see(&name, ChannelStats::default);
        listing.see(&"b".into(), ChannelStats::default);
        listing.see(&name, || ChannelStats { offset: 5, ..ChannelStats::default() });
        assert!(!listing.more && listing.first.len() == 2);
        assert_eq!(listing.first[&name].offset, 5);
    }
}
