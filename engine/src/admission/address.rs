//! What one address has and how often it comes, counted over all shards (THREATS H27).
//!
//! The kernel spreads the connections of one address over the shards by a hash, unevenly where they
//! are few: a shard's share of "64 connections" would turn away the 33rd of somebody whom the hash
//! favours. So these counts are the node's, and they are the one thing that shards have in common
//! beside ring and inbox. Each is behind one of a few locks, chosen by a hash of the address, taken
//! three times in the life of a connection for the time of a few look-ups; peers that are not
//! counted (loopback, trusted proxies) take none.
//!
//! ```text
//!   stripe = hash of the address      counts   who is connected now: as many as connections, exact
//!                                     buckets  who came lately: a table of fixed size, by set
//! ```
//!
//! **Connections and heads** are counted exactly, since each entry is paid for by a connection that
//! is open, and those have a limit.
//!
//! **How often** is remembered beyond the end of connections, so what is remembered must not grow
//! with those who came: 10,000,000 addresses use the same 1 MiB as one. A set of the table has four
//! places; who finds none takes that of whoever owes least. So an address that comes too often is
//! the last to be forgotten, and to be forgotten is to have a full burst again: it never costs a
//! good client anything. Places are chosen by a keyed hash, so that nobody can aim at a set.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};

use super::network::ClientNetwork;
use super::rate::TokenBucket;
use crate::clock::Millis;
use crate::limits::Limits;

/// Locks: enough that 64 shards seldom meet at one.
const STRIPES: usize = 16;
/// Sets of a stripe.
const SETS: usize = 1 << 10;
/// Places of a set.
const WAYS: usize = 4;

/// Counts by address.
#[derive(Debug)]
pub struct Addresses {
    seed: u64,
    stripes: Box<[Mutex<Stripe>]>,
}

#[derive(Debug)]
struct Stripe {
    counts: HashMap<ClientNetwork, AddressCount>,
    buckets: Box<[Remembered]>,
}

#[derive(Debug, Default)]
struct AddressCount {
    connections: usize,
    heads: usize,
}

/// The bucket of whoever has this hash. Two with one hash of 64 bits share it.
#[derive(Clone, Copy, Debug, Default)]
struct Remembered {
    hash: u64,
    bucket: TokenBucket,
}

/// Why somebody is turned away before anything of what he says is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TurnedAway {
    /// The address has all the connections that it may have.
    Connections,
    /// So many of them have not finished a head.
    Heads,
    /// It comes too often.
    TooFast,
    /// Only trusted proxies may connect, and it is none, or does not say for whom it comes.
    NotAProxy,
}

impl Addresses {
    /// Nobody yet. `seed` is told to nobody.
    pub fn new(seed: u64) -> Self {
        Self { seed, stripes: (0..STRIPES).map(|_| Mutex::new(Stripe::new())).collect() }
    }

    /// One more connection of an address, with an unfinished head or (of a proxy's client) without;
    /// one that is turned away is not counted. Whoever is counted must leave.
    ///
    /// # Errors
    /// It is turned away for this.
    pub fn enter(
        &self,
        who: ClientNetwork,
        is_head: bool,
        limits: &Limits,
        now: Millis,
    ) -> Result<(), TurnedAway> {
        self.with(who, |stripe, hash| {
            let full = |count, max| max > 0 && count >= max;
            let count = stripe.counts.get(&who);
            if full(count.map_or(0, |it| it.connections), limits.connections_per_address) {
                return Err(TurnedAway::Connections);
            }
            if is_head && full(count.map_or(0, |it| it.heads), limits.heads_per_address) {
                return Err(TurnedAway::Heads);
            }
            let bucket = stripe.bucket(hash);
            bucket.take(limits.handshake_rate(), now, 1).map_err(|_wait_ms| TurnedAway::TooFast)?;
            stripe.count(who, is_head);
            Ok(())
        })
    }

    /// One more, whose place was granted before.
    pub fn enter_again(&self, who: ClientNetwork, is_head: bool) {
        self.with(who, |stripe, _| stripe.count(who, is_head));
    }

    /// One more beside one that is connected: a session apart from its sockets. It did not come, so
    /// it is not too fast. Whether it is welcome.
    pub fn enter_beside(&self, who: ClientNetwork, limits: &Limits) -> bool {
        let max = limits.connections_per_address;
        self.with(who, |stripe, _| {
            let connections = stripe.counts.get(&who).map_or(0, |it| it.connections);
            let is_welcome = max == 0 || connections < max;
            if is_welcome {
                stripe.count(who, false);
            }
            is_welcome
        })
    }

    /// The head of a counted connection is whole.
    pub fn head_done(&self, who: ClientNetwork) {
        self.with(who, |stripe, _| {
            if let Some(count) = stripe.counts.get_mut(&who) {
                count.heads = count.heads.saturating_sub(1);
            }
        });
    }

    /// A counted connection is gone, or is not this client's any more.
    pub fn leave(&self, who: ClientNetwork, is_head: bool) {
        self.with(who, |stripe, _| {
            let Some(count) = stripe.counts.get_mut(&who) else { return };
            count.connections = count.connections.saturating_sub(1);
            count.heads = count.heads.saturating_sub(usize::from(is_head));
            if count.connections == 0 {
                stripe.counts.remove(&who);
                stripe.give_back();
            }
        });
    }

    fn with<T>(&self, who: ClientNetwork, call: impl FnOnce(&mut Stripe, u64) -> T) -> T {
        let mut hasher = DefaultHasher::new();
        (self.seed, who).hash(&mut hasher);
        let hash = hasher.finish();
        let stripe = &self.stripes[hash as usize % STRIPES];
        call(&mut stripe.lock().unwrap_or_else(PoisonError::into_inner), hash)
    }
}

impl Stripe {
    fn new() -> Self {
        let buckets = vec![Remembered::default(); SETS * WAYS].into_boxed_slice();
        Self { counts: HashMap::new(), buckets }
    }

    fn count(&mut self, who: ClientNetwork, is_head: bool) {
        let count = self.counts.entry(who).or_default();
        count.connections += 1;
        count.heads += usize::from(is_head);
    }

    /// A storm leaves no memory behind.
    fn give_back(&mut self) {
        const KEPT: usize = 64;
        if self.counts.capacity() > KEPT && self.counts.len() < self.counts.capacity() / 8 {
            self.counts.shrink_to(KEPT);
        }
    }

    /// The bucket of whoever has this hash: its own, or that of whoever owes least in its set, full
    /// again.
    fn bucket(&mut self, hash: u64) -> &mut TokenBucket {
        let set = (hash as usize / STRIPES) % SETS * WAYS;
        let places = &mut self.buckets[set..set + WAYS];
        let place = match places.iter().position(|it| it.hash == hash) {
            Some(place) => place,
            None => {
                let least = (0..WAYS).min_by_key(|place| places[*place].bucket);
                let place = least.expect("a set has places");
                places[place] = Remembered { hash, bucket: TokenBucket::default() };
                place
            }
        };
        &mut places[place].bucket
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn limits() -> Limits {
        Limits {
            connections_per_address: 3,
            heads_per_address: 2,
            handshakes_per_address: 0,
            ..Limits::default()
        }
    }

    fn who(number: u32) -> ClientNetwork {
        ClientNetwork::of(IpAddr::from(Ipv4Addr::from(0xc000_0200 + number)))
    }

    #[test]
    fn the_next_one_is_turned_away_until_one_leaves() {
        let (all, limits, now) = (Addresses::new(1), limits(), Millis(0));
        let enter = |who| all.enter(who, true, &limits, now);
        assert_eq!((enter(who(1)), enter(who(1))), (Ok(()), Ok(())));
        assert_eq!(enter(who(1)), Err(TurnedAway::Heads), "two unfinished heads");
        assert_eq!(all.enter(who(1), false, &limits, now), Ok(()), "one without a head");
        all.head_done(who(1));
        assert_eq!(enter(who(1)), Err(TurnedAway::Connections));
        assert!(!all.enter_beside(who(1), &limits));
        assert_eq!(enter(who(2)), Ok(()), "another address");
        all.leave(who(1), true);
        assert_eq!(enter(who(1)), Ok(()));
        all.leave(who(1), true);
        assert!(all.enter_beside(who(1), &limits));
        (0..3).for_each(|_| all.leave(who(1), false));
        all.leave(who(2), true);
        let left = all.stripes.iter().map(|stripe| stripe.lock().unwrap().counts.len());
        assert_eq!(left.sum::<usize>(), 0, "nothing is left behind");
    }

    #[test]
    fn who_comes_too_often_waits_though_it_leaves_each_time() {
        let (all, mut limits) = (Addresses::new(1), limits());
        (limits.handshakes_per_address, limits.handshakes_burst) = (10, 5);
        let come = |who, ms| {
            let entered = all.enter(who, true, &limits, Millis(ms));
            entered.inspect(|()| all.leave(who, true))
        };
        assert_eq!((0..9).filter(|_| come(who(1), 0).is_ok()).count(), 5);
        assert_eq!(come(who(1), 0), Err(TurnedAway::TooFast));
        assert_eq!(come(who(2), 0), Ok(()), "another address");
        assert_eq!(come(who(1), 100), Ok(()));
        assert_eq!(come(who(1), 100), Err(TurnedAway::TooFast));
    }

    /// Ten million strangers use no more memory than one, and do not make the node forget one who
    /// comes too often.
    #[test]
    fn a_crowd_grows_nothing_and_hides_nobody() {
        let (all, mut limits) = (Addresses::new(7), limits());
        (limits.handshakes_per_address, limits.handshakes_burst) = (10, 5);
        let rude = who(0);
        let come = |who, ms| {
            let entered = all.enter(who, true, &limits, Millis(ms));
            entered.inspect(|()| all.leave(who, true))
        };
        let crowd = 300_000; // five times the places
        let mut passed = 0;
        for number in 1..=crowd {
            let ms = u64::from(number) / 300; // a second in all
            assert_eq!(come(who(number), ms), Ok(()), "nobody of the crowd is turned away");
            if number % 300 == 0 {
                passed += usize::from(come(rude, ms).is_ok());
            }
        }
        assert!(passed <= 5 + 10 + 1, "of 1,000 tries in a second {passed} passed");
        for stripe in &all.stripes {
            let stripe = stripe.lock().unwrap();
            assert_eq!(stripe.buckets.len() * size_of::<Remembered>(), 64 << 10);
            assert!(stripe.counts.capacity() <= 128);
        }
    }
}
