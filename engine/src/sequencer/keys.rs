//! Idempotency keys: a message that is published again gets the place that it has.
//!
//! A publisher that does not know what became of a message sends it again under the same key. Here
//! is the window in which that is noticed: the newest keys of the node, so many and so old at most.
//! A key belongs to a channel of a tenant. Under one that is in the window the same message (kind,
//! event, bytes) is answered with the first one's place and nothing is published; another message
//! is refused.
//!
//! ```text
//!  order:  front (oldest)  mark, at │ mark, at │ ...   back (newest)
//!  places: mark ──> body, place, at
//! ```
//!
//! **Nothing of the message is kept but two digests** of 128 bits, of the key with its channel and
//! of the body, so that an entry costs about 150 bytes whatever was published, and a window of
//! 100,000 about 15 MB. They are two runs of SipHash under random secrets that never leave the
//! process: nobody can look for two messages of one digest, and two of a billion share one by
//! chance less than once in 10^20 nodes. (SHA-1, which is in the tree too, is neither keyed nor
//! faster for short messages.)
//!
//! **Keys outlive their channel's record.** Forgetting a channel forgets no message that was
//! delivered: a publisher that comes back after it must not deliver twice. So a key may answer with
//! an offset of an earlier life of the channel; the id beside it is of the same epoch and tells
//! them apart.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hash, RandomState};

use crate::clock::Millis;

use super::command::{Publication, Published};

/// A digest of 128 bits.
type Digest = (u64, u64);

/// The window.
pub(super) struct Keys {
    /// Most entries.
    count: usize,
    age_ms: u64,
    secrets: [RandomState; 2],
    places: HashMap<Digest, Place>,
    /// Every entry, oldest first. One whose key was used again after its age is dead, and is
    /// known by its time.
    order: VecDeque<(Digest, Millis)>,
}

struct Place {
    body: Digest,
    published: Published,
    at: Millis,
}

/// A publication with a key that is not in the window: what is to be remembered once it has its
/// place.
#[derive(Debug)]
pub(super) struct Mark {
    key: Digest,
    body: Digest,
}

/// What the window says of a publication.
#[derive(Debug)]
pub(super) enum Seen {
    /// Nothing: it has no key, or one that is not in the window.
    Never(Option<Mark>),
    /// It was published, and this is its place.
    Before(Published),
    /// Its key was used for another message.
    Otherwise,
}

impl Keys {
    /// A window of `count` keys that are younger than `age_ms`; none where either is 0.
    pub(super) fn new(count: usize, age_ms: u64) -> Self {
        Self {
            count: if age_ms == 0 { 0 } else { count },
            age_ms,
            secrets: [RandomState::new(), RandomState::new()],
            places: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    /// How many keys are remembered.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether this was published before.
    pub(super) fn look(&self, publication: &Publication, now: Millis) -> Seen {
        let Some(key) = publication.idempotency_key.as_deref().filter(|_| self.count > 0) else {
            return Seen::Never(None);
        };
        let key = self.digest(&(&publication.channel, key));
        let Publication { kind, event, data, .. } = publication;
        let body = self.digest(&(*kind as u8, event, data));
        match self.places.get(&key).filter(|place| !self.is_over(place.at, now)) {
            None => Seen::Never(Some(Mark { key, body })),
            Some(place) if place.body == body => {
                Seen::Before(Published { duplicate: true, ..place.published })
            }
            Some(_) => Seen::Otherwise,
        }
    }

    /// Remembers where it was published.
    pub(super) fn remember(&mut self, mark: Mark, published: Published, now: Millis) {
        let Mark { key, body } = mark;
        self.places.insert(key, Place { body, published, at: now });
        self.order.push_back((key, now));
        while self.order.len() > self.count {
            self.forget_oldest();
        }
    }

    /// Forgets keys that are too old, `max` at most; says how many.
    pub(super) fn expire(&mut self, now: Millis, max: usize) -> usize {
        let mut gone = 0;
        while gone < max && self.next_expiry().is_some_and(|due| due <= now) {
            self.forget_oldest();
            gone += 1;
        }
        gone
    }

    /// When the next key is too old.
    pub(super) fn next_expiry(&self) -> Option<Millis> {
        self.order.front().map(|(_, at)| at.plus(self.age_ms))
    }

    fn forget_oldest(&mut self) {
        let Some((key, at)) = self.order.pop_front() else { return };
        if self.places.get(&key).is_some_and(|place| place.at == at) {
            self.places.remove(&key);
        }
    }

    fn is_over(&self, at: Millis, now: Millis) -> bool {
        at.plus(self.age_ms) <= now
    }

    fn digest(&self, of: &impl Hash) -> Digest {
        let [first, second] = &self.secrets;
        (first.hash_one(of), second.hash_one(of))
    }

    /// Panics where the two structures contradict each other or the bound.
    pub(super) fn invariants(&self) {
        assert!(self.places.len() <= self.order.len() && self.order.len() <= self.count);
        let living = self.order.iter().filter(|(key, at)| self.places[key].at == *at);
        assert_eq!(living.count(), self.places.len());
        assert!(self.order.iter().is_sorted_by_key(|(_, at)| *at));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::{ChannelName, Tenant};
    use fanfare_protocol::id::{Epoch, Id};
    use fanfare_protocol::message::Kind;

    fn publication(key: &str) -> Publication {
        Publication {
            channel: ChannelName::new(Tenant::default(), "a"),
            kind: Kind::Text,
            event: None,
            idempotency_key: Some(key.as_bytes().into()),
            data: b"x".as_slice().into(),
        }
    }

    fn place(position: u64) -> Published {
        let id = Id { epoch: Epoch::from_random(1), position };
        Published { id, offset: position, subscribers: 0, duplicate: false }
    }

    /// Publishes under `key`; the position that it has.
    fn publish(keys: &mut Keys, key: &str, position: u64, now: u64) -> u64 {
        match keys.look(&publication(key), Millis(now)) {
            Seen::Never(mark) => {
                keys.remember(mark.unwrap(), place(position), Millis(now));
                position
            }
            Seen::Before(published) => {
                assert!(published.duplicate);
                published.id.position
            }
            Seen::Otherwise => panic!("it is the same message"),
        }
    }

    #[test]
    fn everything_of_the_message_counts_and_the_channel_belongs_to_the_key() {
        let mut keys = Keys::new(10, 10);
        publish(&mut keys, "k", 1, 0);
        let same = publication("k");
        assert!(matches!(keys.look(&same, Millis(9)), Seen::Before(_)));
        let others = [
            Publication { kind: Kind::Binary, ..same.clone() },
            Publication { event: Some("".into()), ..same.clone() },
            Publication { data: b"xx".as_slice().into(), ..same.clone() },
            Publication { data: Box::default(), ..same.clone() },
        ];
        for other in others {
            assert!(matches!(keys.look(&other, Millis(9)), Seen::Otherwise), "{other:?}");
        }
        let elsewhere = [
            Publication { idempotency_key: None, ..same.clone() },
            Publication { idempotency_key: Some(b"l".as_slice().into()), ..same.clone() },
            Publication { channel: ChannelName::new(Tenant::default(), "b"), ..same.clone() },
            Publication { channel: ChannelName::new(Tenant::new("other"), "a"), ..same.clone() },
            // The parts of a name are not joined.
            Publication {
                channel: ChannelName::new(Tenant::default(), "ak"),
                idempotency_key: Some(Box::default()),
                ..same.clone()
            },
        ];
        for elsewhere in elsewhere {
            let seen = keys.look(&elsewhere, Millis(9));
            assert!(matches!(seen, Seen::Never(_)), "{elsewhere:?}");
        }
    }

    #[test]
    fn a_key_is_free_again_after_its_age_and_when_newer_ones_need_its_place() {
        let mut keys = Keys::new(2, 10);
        assert_eq!(publish(&mut keys, "a", 1, 0), 1);
        assert_eq!(publish(&mut keys, "a", 2, 9), 1, "an answer makes it no younger");
        assert_eq!(publish(&mut keys, "a", 3, 10), 3);
        assert_eq!(keys.expire(Millis(10), 9), 1, "the dead entry goes");
        assert_eq!(publish(&mut keys, "a", 4, 19), 3, "and takes nothing with it");
        publish(&mut keys, "b", 5, 19);
        publish(&mut keys, "c", 6, 19);
        assert_eq!(publish(&mut keys, "a", 7, 19), 7);
        keys.invariants();
    }

    #[test]
    fn no_window_remembers_nothing() {
        for mut keys in [Keys::new(0, 10), Keys::new(10, 0)] {
            assert!(matches!(keys.look(&publication("a"), Millis(0)), Seen::Never(None)));
            keys.invariants();
            assert_eq!(keys.expire(Millis(9), 9), 0);
        }
    }

    #[test]
    fn an_entry_is_no_larger_than_it_says() {
        let (place, queued) = (size_of::<(Digest, Place)>() + 1, size_of::<(Digest, Millis)>());
        assert!(place + queued <= 150, "{place} and {queued}");
    }
}
