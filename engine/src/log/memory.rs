//! The log of a node that keeps no journal and has no peers: what is offered stands at once.
//!
//! A record is what was offered in one millisecond, so that its time is that of each of its items.
//! Nothing is kept: a place is given, and the item goes on to the sequencer.

use crate::clock::Millis;
use crate::sequencer::command::Publication;

use super::{Item, Log, LogEvent, RECORD_ITEMS};

/// The log of one node in memory.
pub struct Memory<T> {
    /// The last position that was given; 0 before the first.
    position: u64,
    /// The time of the record that it lies in.
    at: Millis,
    /// What was offered and not read yet.
    offered: Option<Item<T>>,
}

impl<T> Default for Memory<T> {
    fn default() -> Self {
        Self { position: 0, at: Millis(0), offered: None }
    }
}

impl<T> Log<T> for Memory<T> {
    fn offer(&mut self, publication: Publication, ticket: T, now: Millis) {
        self.offered = self.offer_next(publication, ticket, now);
    }

    fn offer_next(&mut self, publication: Publication, ticket: T, now: Millis) -> Option<Item<T>> {
        debug_assert!(self.offered.is_none(), "what was offered is read first");
        let (next, at) = (self.position + 1, now.max(self.at));
        let is_full = next % RECORD_ITEMS == RECORD_ITEMS - 1;
        self.position = if at == self.at && !is_full && self.position > 0 {
            next
        } else {
            (self.position / RECORD_ITEMS + 1) * RECORD_ITEMS
        };
        self.at = at;
        let (position, ticket) = (self.position, Some(ticket));
        Some(Item { position, at, event: LogEvent::Published { publication, ticket } })
    }

    fn pass(&mut self, now: Millis) {
        // One that waits to be read will do, late as it is: what is due stays due.
        if self.offered.is_none() {
            let (position, at) = (self.position, now.max(self.at));
            self.offered = Some(Item { position, at, event: LogEvent::Heartbeat });
        }
    }

    fn next(&mut self) -> Option<Item<T>> {
        self.offered.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::{ChannelName, Tenant};
    use fanfare_protocol::message::Kind;

    fn place(log: &mut Memory<u64>, ticket: u64, now: u64) -> (u64, u64) {
        let publication = Publication {
            channel: ChannelName::new(Tenant::default(), "a"),
            also: Box::default(),
            kind: Kind::Text,
            event: None,
            idempotency_key: None,
            ephemeral: false,
            except: None,
            data: Box::default(),
        };
        log.offer(publication, ticket, Millis(now));
        let Some(Item { position, at, event }) = log.next() else { panic!("it stands at once") };
        let LogEvent::Published { ticket: given, .. } = event else { panic!("no message") };
        assert_eq!(given, Some(ticket));
        assert!(log.next().is_none(), "once");
        (position, at.0)
    }

    #[test]
    fn a_record_is_what_comes_in_one_millisecond() {
        let mut log = Memory::default();
        let places = [(0, 4_096), (0, 4_097), (1, 8_192), (1, 8_193), (900, 12_288)];
        for (nth, (now, position)) in (0..).zip(places) {
            assert_eq!(place(&mut log, nth, now), (position, now));
        }
        assert_eq!(place(&mut log, 9, 3), (12_289, 900), "time does not go back");
    }

    #[test]
    fn a_record_holds_one_item_less_than_it_has_positions() {
        let mut log = Memory::default();
        let positions: Vec<u64> = (0..10_000).map(|nth| place(&mut log, nth, 5).0).collect();
        assert_eq!(positions[..2], [4_096, 4_097]);
        assert_eq!(positions[4_093..4_097], [8_189, 8_190, 8_192, 8_193]);
        assert!(positions.iter().all(|position| position % 4_096 < 4_095));
        assert!(positions.is_sorted_by(|one, next| one < next));
    }
}
