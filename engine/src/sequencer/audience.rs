//! Who follows a channel: how many connections of which shards, and how far back each shard's log
//! of it reaches. A shard's interest may outlive its last subscriber: see `lingering`.

/// One channel's subscribers and interested shards.
#[derive(Default)]
pub(super) struct Audience {
    subscribers: u64,
    shards: Vec<Interest>,
    mask: u64,
}

/// One shard's interest in one channel.
struct Interest {
    shard: u8,
    subscribers: u64,
    /// First offset that the shard's log of the channel holds or held: what floors told it to drop
    /// is not subtracted.
    log_from: u64,
    /// The number of the wait that ends the interest, where there are no subscribers. Waits with
    /// other numbers were given up.
    ticket: u64,
}

impl Audience {
    /// Connections that follow the channel, on all shards.
    pub(super) fn subscribers(&self) -> u64 {
        self.subscribers
    }

    /// A bit for each shard that gets the channel's messages.
    pub(super) fn mask(&self) -> u64 {
        self.mask
    }

    /// One connection of `shard` more. A shard that had no interest begins its log at `log_from`.
    /// Returns whether an interest lingered, which now is in use again.
    pub(super) fn join(&mut self, shard: u8, log_from: u64) -> bool {
        self.subscribers += 1;
        match self.shards.iter_mut().find(|interest| interest.shard == shard) {
            Some(interest) => {
                interest.subscribers += 1;
                interest.subscribers == 1
            }
            None => {
                self.mask |= 1 << shard;
                // Most channels are followed on one shard, and there are 64 at most.
                self.shards.reserve_exact(1);
                self.shards.push(Interest { shard, subscribers: 1, log_from, ticket: 0 });
                false
            }
        }
    }

    /// One connection of `shard` fewer. `ticket` numbers the wait for the end of the interest;
    /// says whether that wait begins.
    pub(super) fn leave(&mut self, shard: u8, ticket: u64) -> bool {
        let interest = self.shards.iter_mut().find(|interest| interest.shard == shard);
        let Some(interest) = interest.filter(|interest| interest.subscribers > 0) else {
            debug_assert!(false, "shard {shard} leaves a channel that it does not follow");
            return false;
        };
        interest.subscribers -= 1;
        self.subscribers -= 1;
        interest.ticket = ticket;
        interest.subscribers == 0
    }

    /// Whether this wait for the end of `shard`'s interest still counts.
    pub(super) fn lingers(&self, shard: u8, ticket: u64) -> bool {
        self.shards.iter().any(|interest| {
            (interest.shard, interest.subscribers, interest.ticket) == (shard, 0, ticket)
        })
    }

    /// The channel's life ended. Its next message has offset 1, and the log of each shard that
    /// still follows begins with that. Interests that linger end with the life; returns whose they
    /// are.
    pub(super) fn begin_anew(&mut self) -> Vec<u8> {
        let ended = self.lingering().collect();
        self.shards.retain_mut(|interest| {
            interest.log_from = 1;
            interest.subscribers > 0
        });
        self.mask = self.shards.iter().fold(0, |mask, interest| mask | 1 << interest.shard);
        ended
    }

    /// The shards whose interest lingers without a subscriber.
    pub(super) fn lingering(&self) -> impl Iterator<Item = u8> {
        let waiting = self.shards.iter().filter(|interest| interest.subscribers == 0);
        waiting.map(|interest| interest.shard)
    }

    /// The interest of a shard without subscribers ends.
    pub(super) fn release(&mut self, shard: u8) {
        self.shards.retain(|interest| interest.shard != shard);
        self.shards.shrink_to_fit();
        self.mask &= !(1 << shard);
    }

    /// From which offset on `shard` has what history keeps, to be changed by an import.
    pub(super) fn log_from(&mut self, shard: u8) -> &mut u64 {
        let interest = self.shards.iter_mut().find(|interest| interest.shard == shard);
        &mut interest.expect("the shard follows the channel").log_from
    }

    /// Panics where the structure contradicts itself.
    pub(super) fn invariants(&self, last: u64) {
        let sum: u64 = self.shards.iter().map(|interest| interest.subscribers).sum();
        assert_eq!(self.subscribers, sum);
        let mask = self.shards.iter().fold(0, |mask, interest| mask | 1u64 << interest.shard);
        assert_eq!(self.mask, mask);
        assert_eq!(mask.count_ones() as usize, self.shards.len(), "a shard stands once");
        assert!(self.shards.iter().all(|interest| interest.log_from <= last + 1));
    }
}
