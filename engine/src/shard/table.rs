//! The connections of a shard, by the index of their socket, in pages of a fixed size.
//!
//! A table in one piece would double when it grows: as much again for nothing, and all of it copied
//! while clients wait. Pages stay where they are; one whose last connection has ended is given
//! back, so that a storm leaves no memory behind. Drivers give low places first.

use super::connection::Connection;
use crate::clock::Millis;
use crate::driver::Token;
use crate::fanout::Filter;
use crate::message::Message;
use crate::origin::Named;

/// Connections of a page: 28 KiB, a size class of the allocator, so that nothing is wasted.
const PAGE: usize = 256;
/// What a place keeps of the time.
const MS_PER_TENTH: u64 = 100;

/// All of them.
#[derive(Debug, Default)]
pub(super) struct ConnectionTable {
    pages: Vec<Page>,
    count: usize,
}

#[derive(Debug, Default)]
struct Page {
    /// As many as a page has, or none where none is used.
    places: Box<[Option<Connection>]>,
    /// Since when each place has the connection that it has, in tenths of a second: in four bytes,
    /// that is for 13 years.
    since: Box<[u32]>,
    count: usize,
}

impl ConnectionTable {
    /// Puts a connection in its place, which has it since `now`.
    pub(super) fn insert(&mut self, index: u32, connection: Connection, now: Millis) {
        let (page, place) = split(index);
        if page >= self.pages.len() {
            self.pages.resize_with(page + 1, Page::default);
        }
        let page = &mut self.pages[page];
        if page.places.is_empty() {
            page.places = (0..PAGE).map(|_| None).collect();
            page.since = vec![0; PAGE].into();
        }
        page.since[place] = (now.0 / MS_PER_TENTH) as u32;
        let before = page.places[place].replace(connection);
        assert!(before.is_none(), "the driver gives a place once");
        page.count += 1;
        self.count += 1;
    }

    /// Takes a connection out.
    pub(super) fn remove(&mut self, index: u32) -> Option<Connection> {
        let (page, place) = split(index);
        let page = self.pages.get_mut(page)?;
        let connection = page.places.get_mut(place)?.take()?;
        page.count -= 1;
        self.count -= 1;
        if page.count == 0 {
            (page.places, page.since) = (Box::default(), Box::default());
        }
        Some(connection)
    }

    /// The connection at a place.
    pub(super) fn at(&self, index: u32) -> Option<&Connection> {
        let (page, place) = split(index);
        self.pages.get(page)?.places.get(place)?.as_ref()
    }

    /// The connection at a place.
    pub(super) fn at_mut(&mut self, index: u32) -> Option<&mut Connection> {
        let (page, place) = split(index);
        self.pages.get_mut(page)?.places.get_mut(place)?.as_mut()
    }

    /// The connection that a token means, if that life goes on.
    pub(super) fn get_mut(&mut self, token: Token) -> Option<&mut Connection> {
        self.at_mut(token.index).filter(|connection| connection.generation == token.generation)
    }

    /// The first place that is taken and not before this one.
    pub(super) fn next(&self, from: u32) -> Option<u32> {
        let (page, place) = split(from);
        let pages = self.pages.iter().enumerate().skip(page).filter(|(_, it)| it.count > 0);
        pages.into_iter().find_map(|(nth, it)| {
            let first = if nth == page { place } else { 0 };
            let taken = it.places[first..].iter().position(Option::is_some)?;
            Some((nth * PAGE + first + taken) as u32)
        })
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Where a message excludes a connection of this shard, visits of that connection look for
    /// excluded messages from here on. `key` is the random number of this node's origins.
    pub(super) fn note_exclusion(&mut self, message: &Message, shard: u8, key: u64) {
        let Some(origin) = message.except else { return };
        let named = origin.named(key).filter(|named| named.shard == shard);
        let token = named.map(|Named { index, generation, .. }| Token { index, generation });
        if let Some(connection) = token.and_then(|token| self.get_mut(token)) {
            connection.subscriptions.name(origin);
        }
    }

    /// What is withheld of whatever a connection follows.
    pub(super) fn withheld(&mut self, token: Token) -> Filter {
        let connection = self.get_mut(token);
        connection.map_or_else(Filter::default, |it| it.subscriptions.withheld())
    }

    /// For how long a place has its connection, about.
    pub(super) fn age_ms(&self, index: u32, now: Millis) -> u64 {
        let (page, place) = split(index);
        let since = self.pages.get(page).and_then(|page| page.since.get(place));
        since.map_or(0, |since| now.since(Millis(u64::from(*since) * MS_PER_TENTH)))
    }

    /// All of them, with their places.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Connection)> {
        let pages = self.pages.iter().enumerate().filter(|(_, page)| page.count > 0);
        pages.flat_map(|(nth, page)| {
            let places = page.places.iter().enumerate();
            places.filter_map(move |(place, it)| Some(((nth * PAGE + place) as u32, it.as_ref()?)))
        })
    }

    /// The tokens of all of them: a copy, so that connections may end while it is gone through.
    pub(super) fn tokens(&self) -> Vec<Token> {
        let token = |(index, it): (u32, &Connection)| Token { index, generation: it.generation };
        self.iter().map(token).collect()
    }
}

fn split(index: u32) -> (usize, usize) {
    (index as usize / PAGE, index as usize % PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(generation: u32) -> Connection {
        Connection::of_life(generation)
    }

    #[test]
    fn each_is_found_by_its_own_token_only() {
        let mut table = ConnectionTable::default();
        let last = 3 * PAGE as u32 + 7;
        table.insert(last, connection(5), Millis(1_000));
        table.insert(0, connection(1), Millis(86_400_000_000));
        assert_eq!(table.len(), 2);
        assert!(table.get_mut(Token { index: last, generation: 5 }).is_some());
        assert!(table.get_mut(Token { index: last, generation: 3 }).is_none());
        for nobody in [1, last - 1, last + 1, PAGE as u32, u32::MAX] {
            assert!(table.at(nobody).is_none() && table.at_mut(nobody).is_none());
            assert!(table.remove(nobody).is_none());
        }
        assert_eq!(table.iter().map(|(index, _)| index).collect::<Vec<_>>(), [0, last]);
        assert_eq!([0, 1, last, last + 1].map(|from| table.next(from)), {
            [Some(0), Some(last), Some(last), None]
        });
        assert_eq!(table.age_ms(last, Millis(61_050)), 60_050);
        assert_eq!(table.age_ms(0, Millis(86_400_000_100)), 100, "after a thousand days");
        assert!(table.remove(last).is_some() && table.remove(last).is_none());
        assert!(table.remove(0).is_some() && table.is_empty());
    }

    #[test]
    fn a_page_that_nobody_needs_is_given_back() {
        let mut table = ConnectionTable::default();
        let pages = |table: &ConnectionTable| {
            table.pages.iter().map(|page| page.places.len()).sum::<usize>()
        };
        (0..4 * PAGE as u32).for_each(|index| table.insert(index, connection(1), Millis(0)));
        assert_eq!(pages(&table), 4 * PAGE, "nothing is held in reserve");
        (PAGE as u32..4 * PAGE as u32).for_each(|index| drop(table.remove(index)));
        assert_eq!((pages(&table), table.len()), (PAGE, PAGE));
        table.insert(3 * PAGE as u32, connection(3), Millis(0));
        assert_eq!(pages(&table), 2 * PAGE);
    }
}
