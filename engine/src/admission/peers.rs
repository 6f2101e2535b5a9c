//! Whose the connections of one shard are, where that counts: a stranger's, or a proxy's that says
//! for whom each request is.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use fanfare_protocol::http::Fields;
use fanfare_protocol::proxy::{ProxiedSource, ProxyFed, ProxyHeaderReader};

use super::address::{Addresses, TurnedAway};
use super::forwarded::{BadForwarded, TrustedProxies};
use super::network::ClientNetwork;
use crate::clock::Millis;
use crate::limits::Limits;

/// The peers of one shard by the index of their connections. Those that nobody counts are not here.
#[derive(Debug)]
pub struct AdmittedPeers {
    addresses: Arc<Addresses>,
    admitted: HashMap<u32, Admitted>,
    /// Connections of trusted proxies that have not said yet for whom they come.
    announcing: HashMap<u32, ProxyHeaderReader>,
}

/// How a connection is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// As one of its peer's.
    Peer {
        /// Whom.
        who: ClientNetwork,
        /// Whether its first head is unfinished.
        is_head: bool,
    },
    /// A trusted proxy's: as one of whom its present request is for, while that is at work. Between
    /// two requests it is nobody's, since the next may be anybody's.
    Proxy {
        /// Whom, where the proxy said so and that counts.
        client: Option<ClientNetwork>,
    },
}

/// Why a request that a proxy has sent is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotForwarded {
    /// What the proxy says of its client is none.
    Unreadable,
    /// The client is turned away.
    TurnedAway(TurnedAway),
}

impl From<BadForwarded> for NotForwarded {
    fn from(_: BadForwarded) -> Self {
        Self::Unreadable
    }
}

/// Whether a listener's peers must be known at all. Asked once, when the listener is made.
pub fn wants_peers(limits: &Limits, proxies: &TrustedProxies, loopback: bool) -> bool {
    let Limits { connections_per_address, heads_per_address, handshakes_per_address, .. } = limits;
    let counts =
        *connections_per_address > 0 || *heads_per_address > 0 || *handshakes_per_address > 0;
    !proxies.is_empty() || counts && (!loopback || limits.count_loopback)
}

impl AdmittedPeers {
    /// Nobody yet.
    pub fn new(addresses: Arc<Addresses>) -> Self {
        Self { addresses, admitted: HashMap::new(), announcing: HashMap::new() }
    }

    /// A connection has come from `peer`. Whether it is counted: then it must leave.
    ///
    /// # Errors
    /// It is turned away for this.
    pub fn come(
        &mut self,
        index: u32,
        peer: IpAddr,
        (limits, proxies): (&Limits, &TrustedProxies),
        now: Millis,
    ) -> Result<bool, TurnedAway> {
        if proxies.proxy_protocol {
            if !proxies.trusts(peer) {
                return Err(TurnedAway::NotAProxy);
            }
            self.announcing.insert(index, ProxyHeaderReader::default());
            return Ok(true);
        }
        self.is_from(index, peer, (limits, proxies), now)
    }

    /// Whether a connection has still to say for whom it comes, before anything else.
    pub fn announces(&self, index: u32) -> bool {
        self.announcing.contains_key(&index)
    }

    /// A connection that has to say for whom it comes has sent these bytes. How many of them
    /// belonged to its header, once that is whole: what comes behind is its client's.
    ///
    /// # Errors
    /// It is turned away for this.
    pub fn announce(
        &mut self,
        index: u32,
        bytes: &[u8],
        judges: (&Limits, &TrustedProxies),
        now: Millis,
    ) -> Result<Option<usize>, TurnedAway> {
        let Some(reader) = self.announcing.get_mut(&index) else { return Ok(Some(0)) };
        let (taken, source) = match reader.feed(bytes) {
            Ok(ProxyFed::Partial) => return Ok(None),
            Ok(ProxyFed::Complete { taken, source }) => (taken, source),
            Err(_) => return Err(TurnedAway::NotAProxy),
        };
        self.announcing.remove(&index);
        // What a proxy of bytes passes on it has not read. So of whom it cannot name nothing is
        // known, whatever the fields of his requests say, and nobody is counted.
        if let ProxiedSource::Client(client) = source {
            self.is_from(index, client.ip(), judges, now)?;
        }
        Ok(Some(taken))
    }

    /// A connection is from `peer`: it was seen so, or a trusted proxy says so.
    fn is_from(
        &mut self,
        index: u32,
        peer: IpAddr,
        (limits, proxies): (&Limits, &TrustedProxies),
        now: Millis,
    ) -> Result<bool, TurnedAway> {
        let admitted = if proxies.trusts(peer) {
            Admitted::Proxy { client: None }
        } else if let Some(who) = counted(peer, limits) {
            self.addresses.enter(who, true, limits, now)?;
            Admitted::Peer { who, is_head: true }
        } else {
            return Ok(false);
        };
        let before = self.admitted.insert(index, admitted);
        debug_assert!(before.is_none(), "a connection comes once");
        Ok(true)
    }

    /// The first head of a connection is whole.
    pub fn head_done(&mut self, index: u32) {
        if let Some(Admitted::Peer { who, is_head }) = self.admitted.get_mut(&index)
            && std::mem::take(is_head)
        {
            self.addresses.head_done(*who);
        }
    }

    /// A connection has a request with these fields: where it is a trusted proxy's it is for whom
    /// the proxy says.
    ///
    /// # Errors
    /// The request is refused for this.
    pub fn asks(
        &mut self,
        index: u32,
        fields: &Fields<'_>,
        (limits, proxies): (&Limits, &TrustedProxies),
        now: Millis,
    ) -> Result<(), NotForwarded> {
        self.served(index);
        let Some(Admitted::Proxy { client }) = self.admitted.get_mut(&index) else {
            return Ok(());
        };
        let Some(who) = proxies.client(fields)?.and_then(|address| {
            if proxies.trusts(address) { None } else { counted(address, limits) }
        }) else {
            return Ok(());
        };
        self.addresses.enter(who, false, limits, now).map_err(NotForwarded::TurnedAway)?;
        *client = Some(who);
        Ok(())
    }

    /// The request has its answer. The connection of a proxy is nobody's until the next one.
    pub fn served(&mut self, index: u32) {
        if let Some(Admitted::Proxy { client }) = self.admitted.get_mut(&index)
            && let Some(who) = client.take()
        {
            self.addresses.leave(who, false);
        }
    }

    /// As whose a connection is counted now.
    pub fn client(&self, index: u32) -> Option<ClientNetwork> {
        match self.admitted.get(&index)? {
            Admitted::Peer { who, .. } => Some(*who),
            Admitted::Proxy { client } => *client,
        }
    }

    /// A session apart from its sockets begins beside a connection, as another one of its client's.
    /// Whether it is counted; `Err` where it is turned away.
    ///
    /// # Errors
    /// The client has all the connections that it may have.
    pub fn come_beside(
        &mut self,
        index: u32,
        beside: u32,
        limits: &Limits,
    ) -> Result<bool, TurnedAway> {
        let who = match self.admitted.get(&beside) {
            Some(Admitted::Peer { who, .. }) => *who,
            Some(Admitted::Proxy { client: Some(who) }) => *who,
            Some(Admitted::Proxy { client: None }) | None => return Ok(false),
        };
        if !self.addresses.enter_beside(who, limits) {
            return Err(TurnedAway::Connections);
        }
        self.admitted.insert(index, Admitted::Peer { who, is_head: false });
        Ok(true)
    }

    /// A connection is gone. Says how it was counted.
    pub fn leave(&mut self, index: u32) -> Option<Admitted> {
        self.announcing.remove(&index);
        let admitted = self.admitted.remove(&index)?;
        match admitted {
            Admitted::Peer { who, is_head } => self.addresses.leave(who, is_head),
            Admitted::Proxy { client } => {
                client.into_iter().for_each(|who| self.addresses.leave(who, false));
            }
        }
        const KEPT: usize = 1_024;
        if self.admitted.capacity() > KEPT && self.admitted.len() < self.admitted.capacity() / 8 {
            self.admitted.shrink_to(KEPT);
        }
        Some(admitted)
    }

    /// A connection that was counted on another shard has come here.
    pub fn come_again(&mut self, index: u32, admitted: Admitted) {
        match admitted {
            Admitted::Peer { who, is_head } => self.addresses.enter_again(who, is_head),
            Admitted::Proxy { client } => {
                client.into_iter().for_each(|who| self.addresses.enter_again(who, false));
            }
        }
        self.admitted.insert(index, admitted);
    }
}

/// To what an address counts, if it counts at all.
fn counted(address: IpAddr, limits: &Limits) -> Option<ClientNetwork> {
    let is_counted = limits.count_loopback || !address.to_canonical().is_loopback();
    is_counted.then(|| ClientNetwork::of(address))
}

#[cfg(test)]
mod tests {
    use fanfare_protocol::http::HeadReader;
    use fanfare_protocol::limits::HttpLimits;

    use super::*;

    const NOW: Millis = Millis(0);

    fn limits() -> Limits {
        Limits { connections_per_address: 2, ..Limits::default() }
    }

    fn proxies() -> TrustedProxies {
        TrustedProxies::new(&["10.0.0.0/8".into(), "127.0.0.1".into()]).unwrap()
    }

    fn peers() -> AdmittedPeers {
        AdmittedPeers::new(Arc::new(Addresses::new(0)))
    }

    fn come(peers: &mut AdmittedPeers, index: u32, peer: &str) -> Result<bool, TurnedAway> {
        peers.come(index, peer.parse().unwrap(), (&limits(), &proxies()), NOW)
    }

    fn ask(peers: &mut AdmittedPeers, index: u32, told: &str) -> Result<(), NotForwarded> {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {told}\r\n\r\n");
        let mut reader = HeadReader::new();
        reader.feed(head.as_bytes(), &HttpLimits::DEFAULT).unwrap();
        let request = reader.request(&HttpLimits::DEFAULT).unwrap();
        peers.asks(index, &request.fields, (&limits(), &proxies()), NOW)
    }

    /// H29: an untrusted peer counts as itself, whatever it says.
    #[test]
    fn a_stranger_is_counted_by_its_own_address() {
        let mut peers = peers();
        for index in 0..2 {
            assert_eq!(come(&mut peers, index, "203.0.113.9"), Ok(true));
            peers.head_done(index);
            assert_eq!(ask(&mut peers, index, &format!("192.0.2.{index}")), Ok(()));
            assert_eq!(ask(&mut peers, index, "rubbish"), Ok(()));
        }
        assert_eq!(come(&mut peers, 2, "203.0.113.9"), Err(TurnedAway::Connections));
        assert_eq!(come(&mut peers, 2, "::ffff:203.0.113.9"), Err(TurnedAway::Connections));
        assert_eq!(come(&mut peers, 3, "192.0.2.1"), Ok(true));
        let was = Admitted::Peer { who: ClientNetwork::V4([192, 0, 2, 1].into()), is_head: true };
        assert_eq!(peers.leave(3), Some(was));
        assert_eq!(peers.leave(3), None);
    }

    #[test]
    fn a_proxys_requests_are_counted_by_whom_they_are_for() {
        let mut peers = peers();
        for index in 0..9 {
            assert_eq!(come(&mut peers, index, "10.0.0.1"), Ok(true), "a proxy is not counted");
        }
        for index in 0..2 {
            assert_eq!(ask(&mut peers, index, "6.6.6.6, 203.0.113.9, 10.7.7.7"), Ok(()));
        }
        let full = Err(NotForwarded::TurnedAway(TurnedAway::Connections));
        assert_eq!(ask(&mut peers, 2, "203.0.113.9"), full);
        assert_eq!(ask(&mut peers, 2, "203.0.113.10"), Ok(()));
        assert_eq!(ask(&mut peers, 2, "rubbish"), Err(NotForwarded::Unreadable));
        assert_eq!(ask(&mut peers, 3, "unknown"), Ok(()));
        assert_eq!(ask(&mut peers, 3, "127.0.0.1"), Ok(()));
        // The same connection with the client's next request, and another one of the same proxy.
        assert_eq!(ask(&mut peers, 0, "203.0.113.9"), Ok(()));
        assert_eq!(ask(&mut peers, 4, "203.0.113.9"), full);
        peers.served(0);
        assert_eq!(ask(&mut peers, 4, "203.0.113.9"), Ok(()));
        peers.leave(1);
        assert_eq!(ask(&mut peers, 5, "203.0.113.9"), Ok(()));
    }

    #[test]
    fn loopback_counts_only_when_asked() {
        let mut peers = peers();
        let none = TrustedProxies::default();
        let loopback: IpAddr = "127.0.0.1".parse().unwrap();
        for index in 0..9 {
            assert_eq!(peers.come(index, loopback, (&limits(), &none), NOW), Ok(false));
        }
        let counts = Limits { count_loopback: true, ..limits() };
        let mut come = |index| peers.come(index, loopback, (&counts, &none), NOW).is_ok();
        assert_eq!((0..9).filter(|index| come(*index)).count(), 2);
        assert!(!wants_peers(&limits(), &none, true) && wants_peers(&limits(), &none, false));
        assert!(wants_peers(&limits(), &proxies(), true) && wants_peers(&counts, &none, true));
    }

    #[test]
    fn sessions_beside_and_moves_between_shards_are_counted_once() {
        let mut here = peers();
        let mut there = AdmittedPeers::new(Arc::clone(&here.addresses));
        assert_eq!(come(&mut here, 0, "203.0.113.9"), Ok(true));
        assert_eq!(here.come_beside(1, 0, &limits()), Ok(true));
        assert_eq!(here.come_beside(2, 0, &limits()), Err(TurnedAway::Connections));
        assert_eq!(here.come_beside(2, 77, &limits()), Ok(false), "who is not counted");
        let moved = here.leave(0).unwrap();
        there.come_again(7, moved);
        assert_eq!(come(&mut there, 8, "203.0.113.9"), Err(TurnedAway::Connections));
        there.leave(7);
        assert_eq!(come(&mut there, 8, "203.0.113.9"), Ok(true));
    }
}
