//! Under which names a listener answers.
//!
//! A page of a stranger can point its own name at 127.0.0.1 (DNS rebinding) and is then of the same
//! origin as whatever listens there. What it cannot do is make its browser say another name as
//! `Host`. So what serves this machine alone looks at the name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The names that an operator has listed, beside those of this machine itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts {
    listed: Vec<(Host, Option<u16>)>,
}

impl Hosts {
    /// Reads the list of the configuration: a name or an address each, with a port where only that
    /// one is meant.
    ///
    /// # Errors
    /// A sentence about the first entry that is wrong.
    pub fn new(list: &[String]) -> Result<Self, String> {
        let listed = list.iter().map(|entry| listed(entry)).collect::<Result<_, _>>()?;
        Ok(Self { listed })
    }

    /// Whether none is listed.
    pub fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }

    /// Whether a request with this `Host` is answered. Where nothing is listed everyone is, but in
    /// development mode only this machine; where something is, only that and this machine. A
    /// request without `Host` (HTTP/1.0, as old health checks send it) comes from no browser.
    pub fn answers(&self, field: Option<&str>, development: bool) -> bool {
        let Some(field) = field else { return true };
        if self.listed.is_empty() && !development {
            return true;
        }
        let Some((host, port)) = split_port(without_empty_port(field)) else { return false };
        let Some(host) = Host::parse(host) else { return false };
        let is_listed = |(listed, only): &(Host, Option<u16>)| {
            *listed == host && (only.is_none() || *only == port)
        };
        host.is_loopback() || self.listed.iter().any(is_listed)
    }
}

/// Whether a `Host` field names this machine itself.
pub fn is_loopback_host(field: &str) -> bool {
    split_port(without_empty_port(field))
        .and_then(|(host, _)| Host::parse(host))
        .is_some_and(|host| host.is_loopback())
}

/// One entry of the list, or the sentence that says what is wrong with it.
fn listed(entry: &str) -> Result<(Host, Option<u16>), String> {
    let parsed = split_port(entry).and_then(|(host, port)| Some((Host::parse(host)?, port)));
    parsed.ok_or_else(|| {
        let hint = match entry {
            _ if entry.contains('*') => {
                "patterns are not read: list each name, or say no_dev to answer every name"
            }
            _ if entry.contains("://") => "a host has no scheme: write the name alone",
            _ if entry.parse::<Ipv6Addr>().is_ok() => "write an IPv6 address in brackets",
            _ => "write a name or an address, with or without a port, as in \"app.example\"",
        };
        format!("\"{entry}\" is not a host: {hint}")
    })
}

/// The host of an origin or of a `Host` field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    /// An address, whatever its spelling; an IPv4 one in IPv6 clothes is the IPv4 one.
    Address(IpAddr),
    /// A name in lower case.
    Name(String),
}

impl Host {
    /// `None` where it is none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if let Some(inner) = text.strip_prefix('[') {
            let address: Ipv6Addr = inner.strip_suffix(']')?.parse().ok()?;
            return Some(Self::Address(IpAddr::V6(address).to_canonical()));
        }
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Some(Self::Address(address.into()));
        }
        let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let is_name = (1..=253).contains(&text.len()) && text.bytes().all(is_name_byte);
        is_name.then(|| Self::Name(text.to_ascii_lowercase()))
    }

    /// Browsers resolve `localhost` and what ends in `.localhost` to this machine themselves
    /// (RFC 6761, section 6.3), so no stranger's page can have such a name.
    pub(super) fn is_loopback(&self) -> bool {
        match self {
            Self::Address(address) => address.is_loopback(),
            Self::Name(name) => name == "localhost" || name.ends_with(".localhost"),
        }
    }
}

/// `host[:port]` as its two parts. `None` where the port is no port.
pub(super) fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    // The colons inside of an address in brackets part nothing.
    let after_host = text.rfind(']').map_or(0, |bracket| bracket + 1);
    let Some(colon) = text[after_host..].find(':') else { return Some((text, None)) };
    let (host, port) = (&text[..after_host + colon], &text[after_host + colon + 1..]);
    let is_port = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    is_port.then(|| port.parse().ok()).flatten().map(|port| (host, Some(port)))
}

/// `authority` without a colon that no port follows: that says no more than none (RFC 3986, section
/// 6.2.3).
pub(super) fn without_empty_port(authority: &str) -> &str {
    authority.strip_suffix(':').unwrap_or(authority)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(list: &[&str]) -> Hosts {
        Hosts::new(&list.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn loopback_hosts() {
        for host in [
            "localhost:7071",
            "127.0.0.1:7071",
            "[::1]:7071",
            "LocalHost",
            "x.localhost",
            "localhost:",
            "[::1]:",
        ] {
            assert!(is_loopback_host(host), "{host}");
            assert!(Hosts::default().answers(Some(host), true), "{host}");
        }
        for host in [
            "evil.example:7071",
            "localhost.evil",
            "127.0.0.1.evil.example",
            "",
            ":",
            "10.0.0.1",
            "0.0.0.0",
            "localhost:x",
            "::1",
        ] {
            assert!(!is_loopback_host(host), "{host}");
            assert!(!Hosts::default().answers(Some(host), true), "{host}");
            assert!(Hosts::default().answers(Some(host), false), "{host}");
        }
        assert!(Hosts::default().answers(None, true));
    }

    #[test]
    fn listed_hosts_are_compared_by_their_parts() {
        let listed = hosts(&["App.example", "api.example:8443", "192.0.2.1", "[2001:db8::1]"]);
        for (host, expected) in [
            ("app.example", true),
            ("APP.example:7070", true),
            ("app.example:", true),
            ("api.example:8443", true),
            ("api.example", false),
            ("api.example:7070", false),
            ("192.0.2.1:80", true),
            ("[::ffff:192.0.2.1]", true),
            ("[2001:DB8:0::1]:80", true),
            ("localhost", true),
            ("192.0.2.2", false),
            ("app.example.evil", false),
            ("evil-app.example", false),
            ("evil.example", false),
        ] {
            assert_eq!(listed.answers(Some(host), true), expected, "{host}");
            assert_eq!(listed.answers(Some(host), false), expected, "{host}, in production");
        }
    }

    #[test]
    fn bad_lists_are_refused_with_a_sentence() {
        for (entry, part) in [
            ("*.example", "patterns are not read"),
            ("https://app.example", "has no scheme"),
            ("2001:db8::1", "in brackets"),
            ("app.example:x", "as in"),
            ("app.example:", "as in"),
            ("a b", "as in"),
            ("", "as in"),
        ] {
            let error = Hosts::new(&[entry.to_owned()]).unwrap_err();
            assert!(error.contains(part), "{entry}: {error}");
        }
    }
}
