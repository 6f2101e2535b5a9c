//! Connections of one peer address, counted over all shards (THREATS H27).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use crate::limits::Limits;

/// Counts by address. One lock for the node, taken when a counted peer comes, finishes its head, or
/// goes: loopback peers are not counted unless configured, and a load balancer's are few.
#[derive(Debug)]
pub struct Addresses {
    connections_max: usize,
    heads_max: usize,
    count_loopback: bool,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    by_address: HashMap<IpAddr, Count>,
    by_connection: HashMap<(u8, u32), (IpAddr, bool)>,
}

#[derive(Debug, Default)]
struct Count {
    connections: usize,
    heads: usize,
}

impl Addresses {
    /// Nobody yet.
    pub fn new(limits: &Limits) -> Self {
        Self {
            connections_max: limits.connections_per_address,
            heads_max: limits.heads_per_address,
            count_loopback: limits.count_loopback,
            counts: Mutex::default(),
        }
    }

    /// Whether peers of a listener must be known at all.
    pub fn wanted(&self, loopback_listener: bool) -> bool {
        (self.connections_max > 0 || self.heads_max > 0)
            && (!loopback_listener || self.count_loopback)
    }

    /// A connection of `shard` came from `peer`; whether it is welcome. One that is not is not
    /// counted. A connection is counted once: it must leave.
    pub fn enter(&self, shard: u8, index: u32, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        if peer.is_loopback() && !self.count_loopback {
            return true;
        }
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.by_address.entry(peer).or_default();
        let full = |count, max| max > 0 && count >= max;
        if full(count.connections, self.connections_max) || full(count.heads, self.heads_max) {
            return false;
        }
        count.connections += 1;
        count.heads += 1;
        counts.by_connection.insert((shard, index), (peer, true));
        true
    }

    /// Another of the peer of a connection that is counted, whose head is whole; whether it is
    /// welcome.
    pub fn enter_beside(&self, shard: u8, index: u32, beside: u32) -> bool {
        let peer = {
            let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
            counts.by_connection.get(&(shard, beside)).map(|(peer, _)| *peer)
        };
        let welcome = peer.is_none_or(|peer| self.enter(shard, index, peer));
        self.head_done(shard, index);
        welcome
    }

    /// A connection that was counted on another shard, and was welcome there.
    pub fn enter_again(&self, shard: u8, index: u32, peer: IpAddr) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.by_address.entry(peer).or_default().connections += 1;
        counts.by_connection.insert((shard, index), (peer, false));
    }

    /// The head of a counted connection is whole.
    pub fn head_done(&self, shard: u8, index: u32) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = &mut *counts;
        if let Some((peer, head)) = counts.by_connection.get_mut(&(shard, index))
            && std::mem::take(head)
            && let Some(count) = counts.by_address.get_mut(peer)
        {
            count.heads -= 1;
        }
    }

    /// A connection is gone; one that was not counted changes nothing. Says whose it was.
    pub fn leave(&self, shard: u8, index: u32) -> Option<IpAddr> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let (peer, head) = counts.by_connection.remove(&(shard, index))?;
        let count = counts.by_address.get_mut(&peer)?;
        count.connections -= 1;
        count.heads -= usize::from(head);
        if count.connections == 0 {
            counts.by_address.remove(&peer);
        }
        Some(peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(count_loopback: bool) -> Addresses {
        let limits = Limits {
            connections_per_address: 3,
            heads_per_address: 2,
            count_loopback,
            ..Limits::default()
        };
        Addresses::new(&limits)
    }

    #[test]
    fn the_next_one_is_unwelcome_until_one_leaves() {
        let (all, peer) = (addresses(false), IpAddr::from([192, 0, 2, 1]));
        assert!(all.enter(0, 1, peer) && all.enter(1, 1, peer));
        assert!(!all.enter(0, 2, peer), "two unfinished heads");
        all.head_done(0, 1);
        all.head_done(0, 1);
        assert!(all.enter(0, 2, peer));
        all.head_done(0, 2);
        assert!(!all.enter(0, 3, peer), "three connections");
        assert!(all.enter(0, 3, IpAddr::from([192, 0, 2, 2])), "another address");
        all.leave(0, 3);
        all.leave(1, 1);
        all.leave(1, 1);
        assert!(all.enter(0, 3, peer));
        for index in [1, 2, 3] {
            all.leave(0, index);
        }
        assert!(all.counts.lock().unwrap().by_address.is_empty(), "nothing is left behind");
    }

    #[test]
    fn an_ipv4_peer_is_the_same_through_an_ipv6_socket() {
        let all = addresses(false);
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
        assert!(all.enter(0, 1, mapped) && all.enter(0, 2, IpAddr::from([192, 0, 2, 1])));
        assert!(!all.enter(0, 3, mapped));
    }

    #[test]
    fn loopback_counts_only_when_asked() {
        let loopback = IpAddr::from([127, 0, 0, 1]);
        assert!((0..100).all(|index| addresses(false).enter(0, index, loopback)));
        let all = addresses(true);
        assert_eq!((0..100).filter(|index| all.enter(0, *index, loopback)).count(), 2);
    }
}
