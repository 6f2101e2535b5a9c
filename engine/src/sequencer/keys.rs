//! Idempotency keys: a message that is published again gets the place that it has.
//!
//! A publisher that does not know what became of a message sends it again under the same key. Here
//! is the window in which that is noticed: the newest keys of the node, so many and so old at most.
//! A key belongs to a channel of a tenant, which is the first one of a message in several: the
//! others are part of the message. Under one that is in the window the same message (kind,
//! event, bytes) is answered with the first one's place and nothing is published; another message
//! is refused.
//!
//! ```text
//!  entries:  front (oldest)  key, body, place, at │ key, body, place, at │ ...   back (newest)
//!  numbers:  half of a key ──> how many entries came before its newest one
//! ```
//!
//! Entries lie in the order in which they come and go, so that the memory that is touched for each
//! message is next to that of the one before; only the numbers, 16 bytes each, are all over the
//! place. (With the entries in the table, forgetting was a quarter of what a publish under a key
//! costs: one cache miss after the other.)
//!
//! **Nothing of the message is kept but two digests**, 128 bits of the key with its channel and 64
//! of the body, so that an entry costs about 100 bytes whatever was published, and up to 150 with
//! the room to grow of queue and table: a window of 100,000 takes at most 15 MB. They are
//! [specified](fanfare_protocol::record::digest), since whoever reads the same log must find the
//! same duplicates, and are made under the secret that the order began with, which is told to
//! nobody but nodes: nobody else can look for two messages of one digest. Two keys of a billion
//! share one by chance less than once in 10^20 nodes; bodies are compared only where the keys are
//! equal, so of all keys that are used for a second message one in 10^19 goes unnoticed. (SHA-1,
//! which is in the tree too, is neither keyed nor faster for short messages.)
//!
//! **Keys outlive their channel's record.** Forgetting a channel forgets no message that was
//! delivered: a publisher that comes back after it must not deliver twice. So a key may answer with
//! an offset of an earlier life of the channel; the id beside it is of the same epoch and tells
//! them apart.

use std::collections::hash_map::Entry::Occupied;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use fanfare_protocol::id::Id;
use fanfare_protocol::message::ChannelReceipt;
use fanfare_protocol::record::checkpoint;
use fanfare_protocol::record::digest::Body;
use fanfare_protocol::record::{Delivery, Secret};

use crate::clock::Millis;
use crate::origin::Origin;

use super::command::{Publication, Published};
use super::warn::OncePerMinute;

/// A digest of 128 bits.
type Digest = [u64; 2];

/// The window.
pub(super) struct Keys {
    /// Most entries.
    count: usize,
    age_ms: u64,
    secret: Secret,
    /// By the first half of a key's digest. Of two keys that share it, once in 10^14 messages, the
    /// newer one is remembered.
    numbers: HashMap<u64, u64, BuildHasherDefault<Hashed>>,
    /// Every entry, oldest first. One whose key was used again after its age is dead, and is
    /// known by its number.
    entries: VecDeque<Entry>,
    /// Number of the front entry.
    front: u64,
    /// Places in further channels of all entries: each takes room as an entry does.
    further: usize,
    /// Keys that newer ones pushed out before their age.
    pushed_out: u64,
    warn: OncePerMinute,
    /// What a checkpoint that is being written has still to get.
    saving: Option<Saving>,
}

/// Entries that a checkpoint has still to get, by their numbers.
struct Saving {
    next: u64,
    end: u64,
    /// Those before the next one that were forgotten meanwhile.
    forgotten: VecDeque<Entry>,
}

/// Digests are as good as random, and under a secret: a table needs no hash of them.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn write_u64(&mut self, digest: u64) {
        self.0 = digest;
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("a digest is a number");
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

struct Entry {
    key: Digest,
    body: u64,
    published: Published,
    at: Millis,
}

impl Entry {
    fn save(&self, to: impl FnOnce(&checkpoint::Key<'_>)) {
        let Self { key, body, published, at } = self;
        let (position, offset) = (published.id.position, published.offset);
        let also = published.also().iter().flat_map(|place| place.offset.to_le_bytes());
        let also: Vec<u8> = also.collect();
        to(&checkpoint::Key { key: *key, body: *body, position, offset, at: at.0, also: &also });
    }
}

/// A publication with a key that is not in the window: what is to be remembered once it has its
/// place.
#[derive(Debug)]
pub(super) struct Mark {
    key: Digest,
    body: u64,
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
    pub(super) fn new(secret: Secret, count: usize, age_ms: u64) -> Self {
        Self {
            count: if age_ms == 0 { 0 } else { count },
            age_ms,
            secret,
            numbers: HashMap::default(),
            entries: VecDeque::new(),
            front: 0,
            further: 0,
            pushed_out: 0,
            warn: OncePerMinute::default(),
            saving: None,
        }
    }

    /// What digests are made under.
    pub(super) fn secret(&self) -> Secret {
        self.secret
    }

    /// What a checkpoint says, oldest first: `id` is the place. How many followed it when it was
    /// published is not known any more.
    pub(super) fn restore(&mut self, saved: &checkpoint::Key<'_>, id: Id) {
        if self.count == 0 {
            return;
        }
        let also = saved.also().map(|offset| ChannelReceipt { offset, subscribers: 0 });
        let also: Vec<ChannelReceipt> = also.collect();
        let also = (!also.is_empty()).then(|| Arc::new(also));
        let (offset, subscribers, duplicate) = (saved.offset, 0, false);
        let published = Published { id, offset, subscribers, duplicate, also };
        self.numbers.insert(saved.key[0], self.front + self.entries.len() as u64);
        self.further += published.also().len();
        let (key, body, at) = (saved.key, saved.body, Millis(saved.at));
        self.entries.push_back(Entry { key, body, published, at });
        while self.entries.len() + self.further > self.count {
            self.forget_oldest();
        }
    }

    /// A checkpoint is begun, which is to get all that are remembered now.
    pub(super) fn begin_saving(&mut self) {
        let end = self.front + self.entries.len() as u64;
        self.saving = Some(Saving { next: self.front, end, forgotten: VecDeque::new() });
    }

    /// Gives `to` the oldest one that the checkpoint has not got yet; whether there was one.
    pub(super) fn save_next(&mut self, to: impl FnOnce(&checkpoint::Key<'_>)) -> bool {
        let Some(saving) = &mut self.saving else { return false };
        if let Some(entry) = saving.forgotten.pop_front() {
            entry.save(to);
            return true;
        }
        if saving.next == saving.end {
            self.saving = None;
            return false;
        }
        let nth = saving.next - self.front;
        saving.next += 1;
        let entry = usize::try_from(nth).ok().and_then(|nth| self.entries.get(nth));
        entry.expect("what was not forgotten is there").save(to);
        true
    }

    /// How many keys are remembered.
    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Whether this was published before.
    pub(super) fn look(&self, publication: &Publication, now: Millis) -> Seen {
        let Some(key) = publication.idempotency_key.as_deref().filter(|_| self.count > 0) else {
            return Seen::Never(None);
        };
        let Publication { channel, also, kind, event, ephemeral, except, data, .. } = publication;
        let key = self.secret.of_key(channel.tenant.in_records(), &channel.name, key);
        let also: Vec<&str> = also.iter().map(|channel| &*channel.name).collect();
        let body = self.secret.of_body(&Body {
            kind: *kind,
            delivery: if *ephemeral { Delivery::Ephemeral } else { Delivery::Kept },
            except: except.map(Origin::number),
            event: event.as_deref(),
            also: &also,
            data,
        });
        match self.entry(key).filter(|entry| !self.is_over(entry.at, now)) {
            None => Seen::Never(Some(Mark { key, body })),
            Some(entry) if entry.body == body => {
                Seen::Before(Published { duplicate: true, ..entry.published.clone() })
            }
            Some(_) => Seen::Otherwise,
        }
    }

    /// Remembers where it was published.
    pub(super) fn remember(&mut self, mark: Mark, published: Published, now: Millis) {
        let Mark { key, body } = mark;
        self.numbers.insert(key[0], self.front + self.entries.len() as u64);
        self.further += published.also().len();
        self.entries.push_back(Entry { key, body, published, at: now });
        while self.entries.len() + self.further > self.count {
            // One whose age is over promises nothing any more.
            if self.next_expiry().is_some_and(|due| due > now) {
                self.pushed_out += 1;
                self.warn(now);
            }
            self.forget_oldest();
        }
    }

    /// Keys that newer ones pushed out before their age.
    pub(super) fn pushed_out(&self) -> u64 {
        self.pushed_out
    }

    /// Forgets keys that are too old at this time of the log, `max` at most; says how many. (A node
    /// whose own time runs ahead of what it has read would forget what others still know.)
    pub(super) fn expire(&mut self, now: Millis, max: usize) -> usize {
        let mut gone = 0;
        while gone < max && self.next_expiry().is_some_and(|due| due <= now) {
            self.forget_oldest();
            gone += 1;
        }
        gone
    }

    /// Forgets all of them, and begins anew under another secret.
    pub(super) fn begin_anew(&mut self, secret: Secret) {
        self.secret = secret;
        self.front += self.entries.len() as u64;
        self.entries.clear();
        self.numbers.clear();
        self.further = 0;
        self.saving = None;
    }

    /// When the next key is too old.
    pub(super) fn next_expiry(&self) -> Option<Millis> {
        self.entries.front().map(|entry| entry.at.plus(self.age_ms))
    }

    /// The newest entry of a key.
    fn entry(&self, key: Digest) -> Option<&Entry> {
        let nth = self.numbers.get(&key[0])? - self.front;
        self.entries.get(usize::try_from(nth).ok()?).filter(|entry| entry.key == key)
    }

    fn forget_oldest(&mut self) {
        let Some(entry) = self.entries.pop_front() else { return };
        self.further -= entry.published.also().len();
        if let Occupied(number) = self.numbers.entry(entry.key[0])
            && *number.get() == self.front
        {
            number.remove();
        }
        if let Some(saving) = self.saving.as_mut().filter(|saving| saving.next == self.front)
            && saving.next < saving.end
        {
            saving.next += 1;
            saving.forgotten.push_back(entry);
        }
        self.front += 1;
    }

    fn warn(&mut self, now: Millis) {
        if self.warn.take(now).is_some() {
            tracing::warn!(
                keys = self.count,
                "idempotency keys are forgotten before limits.idempotency_age: what is sent again \
                 under them is published again. Raise limits.idempotency_keys"
            );
        }
    }

    fn is_over(&self, at: Millis, now: Millis) -> bool {
        at.plus(self.age_ms) <= now
    }

    /// Panics where the two structures contradict each other or the bound.
    pub(super) fn invariants(&self) {
        let further = self.entries.iter().map(|entry| entry.published.also().len());
        assert_eq!(self.further, further.sum::<usize>());
        assert!(self.numbers.len() <= self.entries.len());
        assert!(self.entries.len() + self.further <= self.count);
        for (half, number) in &self.numbers {
            let entry = usize::try_from(number - self.front).ok();
            let entry = entry.and_then(|nth| self.entries.get(nth)).expect("an entry is kept");
            assert_eq!(entry.key[0], *half);
        }
        assert!(self.entries.iter().all(|entry| self.numbers.contains_key(&entry.key[0])));
        assert!(self.entries.iter().is_sorted_by_key(|entry| entry.at));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::channel::{ChannelName, Tenant};
    use fanfare_protocol::id::Epoch;
    use fanfare_protocol::message::{ChannelReceipt, Kind};

    const SECRET: Secret = Secret([7; 16]);

    fn publication(key: &str) -> Publication {
        Publication {
            channel: ChannelName::new(Tenant::default(), "a"),
            also: Box::default(),
            kind: Kind::Text,
            event: None,
            idempotency_key: Some(key.as_bytes().into()),
            ephemeral: false,
            except: None,
            data: b"x".as_slice().into(),
        }
    }

    fn place(position: u64) -> Published {
        let id = Id { epoch: Epoch::from_random(1), position };
        Published { id, offset: position, subscribers: 0, duplicate: false, also: None }
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
        let mut keys = Keys::new(SECRET, 10, 10);
        publish(&mut keys, "k", 1, 0);
        let same = publication("k");
        assert!(matches!(keys.look(&same, Millis(9)), Seen::Before(_)));
        let others = [
            Publication { kind: Kind::Binary, ..same.clone() },
            Publication { event: Some("".into()), ..same.clone() },
            Publication { data: b"xx".as_slice().into(), ..same.clone() },
            Publication { data: Box::default(), ..same.clone() },
            Publication { ephemeral: true, ..same.clone() },
            Publication { also: [ChannelName::new(Tenant::default(), "b")].into(), ..same.clone() },
            Publication { except: Origin::parse("00000000000000a1"), ..same.clone() },
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
        let mut keys = Keys::new(SECRET, 2, 10);
        assert_eq!(publish(&mut keys, "a", 1, 0), 1);
        assert_eq!(publish(&mut keys, "a", 2, 9), 1, "an answer makes it no younger");
        assert_eq!(publish(&mut keys, "a", 3, 10), 3);
        assert_eq!(keys.expire(Millis(10), 9), 1, "the dead entry goes");
        assert_eq!(publish(&mut keys, "a", 4, 19), 3, "and takes nothing with it");
        publish(&mut keys, "b", 5, 19);
        assert_eq!(keys.pushed_out(), 0);
        publish(&mut keys, "c", 6, 19);
        assert_eq!(keys.pushed_out(), 1);
        assert_eq!(publish(&mut keys, "a", 7, 19), 7);
        keys.invariants();
    }

    #[test]
    fn a_digest_is_a_function_of_the_message_and_the_secret() {
        let mark = |secret| match Keys::new(secret, 10, 10).look(&publication("k"), Millis(0)) {
            Seen::Never(Some(Mark { key, body })) => (key, body),
            other => panic!("{other:?}"),
        };
        assert_eq!(mark(SECRET), mark(SECRET), "two nodes agree");
        let (other, own) = (mark(Secret([8; 16])), mark(SECRET));
        assert!(other.0[0] != own.0[0] && other.0[1] != own.0[1] && other.1 != own.1);
    }

    #[test]
    fn a_message_in_several_channels_takes_the_room_of_as_many() {
        let also = Some(Arc::new(vec![ChannelReceipt { offset: 3, subscribers: 4 }; 2]));
        let several = Published { also: also.clone(), ..place(2) };
        let mut keys = Keys::new(SECRET, 4, 10);
        publish(&mut keys, "a", 1, 0);
        let Seen::Never(mark) = keys.look(&publication("b"), Millis(0)) else {
            panic!("it is new")
        };
        keys.remember(mark.unwrap(), several, Millis(0));
        assert_eq!((keys.len(), keys.pushed_out()), (2, 0));
        let Seen::Before(again) = keys.look(&publication("b"), Millis(0)) else { panic!("known") };
        assert_eq!((again.also, again.duplicate), (also, true), "its places are all told again");
        publish(&mut keys, "c", 3, 0);
        assert_eq!((keys.len(), keys.pushed_out()), (2, 1));
        publish(&mut keys, "d", 4, 0);
        assert_eq!((keys.len(), keys.pushed_out()), (2, 2), "and is given back with it");
        publish(&mut keys, "e", 5, 0);
        assert_eq!(keys.len(), 3);
        keys.invariants();
    }

    #[test]
    fn no_window_remembers_nothing() {
        for mut keys in [Keys::new(SECRET, 0, 10), Keys::new(SECRET, 10, 0)] {
            assert!(matches!(keys.look(&publication("a"), Millis(0)), Seen::Never(None)));
            keys.invariants();
            assert_eq!(keys.expire(Millis(9), 9), 0);
        }
    }

    #[test]
    fn an_entry_is_no_larger_than_it_says() {
        let (entry, number) = (size_of::<Entry>(), size_of::<(u64, u64)>() + 1);
        assert!(entry + number <= 100, "{entry} and {number}");
    }
}
