//! Where a run goes: URLs, the rule about whom it may load, and how many addresses it spreads over.
//!
//! A load generator in a product must not become a weapon by accident. So only this machine is
//! loaded, unless somebody says in so many words that the other server is theirs.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};

/// Connections from one address to one address and port. Beyond about 14,000 the kernel looks for a
/// free port one by one, and connecting becomes slower with the square of their number.
pub const PAIR_CONNECTIONS_MAX: usize = 12_000;

/// The first address that clients of a run come from, far from what people use of 127.0.0.0/8.
/// Ports that the last run used wait a minute before they are free (RFC 9293, section 3.6.1), and
/// looking for others among them is slow: so each run comes from a corner of its own.
fn first_source(run: u32) -> Ipv4Addr {
    let [a, b, ..] = run.to_le_bytes();
    Ipv4Addr::new(127, 64 + a % 128, b, 1)
}

/// A URL of plain HTTP or WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// As it was written, for people.
    pub text: String,
    /// What `Host` says.
    pub host: String,
    /// Where it is.
    pub address: SocketAddr,
    /// Path and query; `None` where the URL ends with the host.
    pub path: Option<String>,
}

impl Url {
    /// Reads a URL and finds its address. `owned`: the user says that the server is theirs.
    ///
    /// # Errors
    /// A sentence: what is wrong with it, or why it may not be loaded.
    pub fn parse(text: &str, owned: bool) -> Result<Self, String> {
        let rest = match text.split_once("://") {
            Some(("http" | "ws", rest)) => rest,
            Some(("https" | "wss", _)) => {
                return Err(format!(
                    "{text}: the load generator speaks plain TCP, because it is to measure fan-out \
                     and not TLS: name the server's plain port"
                ));
            }
            _ => return Err(format!("{text}: a URL begins with http:// or ws://")),
        };
        let (host, path) = match rest.find(['/', '?']) {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let path = match path {
            "" | "/" => None,
            query if query.starts_with('?') => Some(format!("/{query}")),
            path => Some(path.to_owned()),
        };
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let with_port = if has_port { host.to_owned() } else { format!("{host}:80") };
        let mut addresses = with_port
            .to_socket_addrs()
            .map_err(|error| format!("{text}: {host} cannot be found ({error})"))?;
        let address = addresses.next().ok_or_else(|| format!("{text}: {host} has no address"))?;
        if !owned && !address.ip().to_canonical().is_loopback() {
            return Err(format!(
                "{text} is not on this machine ({}): loading other people's servers is an attack. \
                 If this one is yours, say --i-own-this-server",
                address.ip()
            ));
        }
        Ok(Self { text: text.to_owned(), host: host.to_owned(), address, path })
    }
}

/// From where to where each client goes.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    /// Where the server is.
    pub first: SocketAddr,
    /// How many addresses of the server are used, from `first` on: a server at 0.0.0.0 has all of
    /// 127.0.0.0/8.
    pub destinations: u32,
    /// Which run.
    pub run: u32,
}

impl Spread {
    /// Source and destination of the `nth` client. Off loopback the kernel picks the source.
    pub fn pair(&self, nth: u32) -> (Option<IpAddr>, SocketAddr) {
        let IpAddr::V4(first) = self.first.ip() else { return (None, self.first) };
        let destination = u32::from(first).wrapping_add(nth % self.destinations);
        let destination = SocketAddr::from((Ipv4Addr::from(destination), self.first.port()));
        let source = first.is_loopback().then(|| {
            let group = nth / self.destinations / PAIR_CONNECTIONS_MAX as u32;
            IpAddr::from(Ipv4Addr::from(u32::from(first_source(self.run)) + group))
        });
        (source, destination)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn only_this_machine_is_loaded_unless_the_other_is_owned() {
        for ours in ["http://127.0.0.1:7070", "ws://127.9.9.9:1/", "http://[::1]:7070/x"] {
            assert!(Url::parse(ours, false).is_ok(), "{ours}");
        }
        for theirs in ["http://192.0.2.1:80", "ws://[2001:db8::1]:80/x", "http://0.0.0.0:7070"] {
            let why = Url::parse(theirs, false).unwrap_err();
            assert!(why.contains("--i-own-this-server"), "{why}");
            assert!(Url::parse(theirs, true).is_ok(), "{theirs}");
        }
        assert!(Url::parse("https://127.0.0.1", false).unwrap_err().contains("plain"));
        assert!(Url::parse("127.0.0.1:7070", false).unwrap_err().contains("http://"));
    }

    #[test]
    fn a_url_has_a_path_or_none() {
        let path = |text| Url::parse(text, false).unwrap().path;
        assert_eq!(path("http://127.0.0.1:1"), None);
        assert_eq!(path("http://127.0.0.1:1/"), None);
        assert_eq!(path("ws://127.0.0.1:1/chat?a=b").as_deref(), Some("/chat?a=b"));
        assert_eq!(path("ws://127.0.0.1:1?a=b").as_deref(), Some("/?a=b"));
        let url = Url::parse("ws://127.0.0.1/x", false).unwrap();
        assert_eq!((url.host.as_str(), url.address.port()), ("127.0.0.1", 80));
    }

    #[test]
    fn no_pair_of_addresses_has_too_many_connections() {
        for destinations in [1, 3] {
            let first = "127.0.0.1:7070".parse().unwrap();
            let spread = Spread { first, destinations, run: 7 };
            let mut pairs = HashMap::new();
            for nth in 0..100_000 {
                *pairs.entry(spread.pair(nth)).or_insert(0) += 1;
            }
            assert!(pairs.values().all(|count| *count <= PAIR_CONNECTIONS_MAX));
            let (source, destination) = spread.pair(0);
            assert_eq!(source, Some("127.71.0.1".parse().unwrap()));
            assert_eq!(destination, first);
        }
        let far = Spread { first: "192.0.2.1:80".parse().unwrap(), destinations: 1, run: 7 };
        assert_eq!(far.pair(70_000), (None, far.first));
    }
}
