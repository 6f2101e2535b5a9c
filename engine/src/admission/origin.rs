//! The origin check: which pages of which sites a browser may connect from.
//!
//! A browser tells the page's origin with every WebSocket handshake and with every request that
//! goes elsewhere; a program tells none. Origins are compared as parsed scheme, host and port,
//! never as text, so that `https://good.example.evil` is not `https://good.example`.

use super::host::{Host, split_port, without_empty_port};

/// The origins that are allowed beside the same host and, in development mode, loopback.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins {
    allowed: Vec<Site>,
    any: bool,
}

/// What the check says about one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// No `Origin` field: not a browser's cross-site request.
    NoneSent,
    /// The page may connect.
    Allowed,
    /// It may not: 403.
    Refused,
}

impl Origins {
    /// Reads the list of the configuration: `scheme://host[:port]` each, or `*` alone for every
    /// origin.
    ///
    /// # Errors
    /// A sentence about the first entry that is wrong.
    pub fn new(list: &[String]) -> Result<Self, String> {
        if list.iter().any(|entry| entry == "*") {
            return match list.len() {
                1 => Ok(Self { allowed: Vec::new(), any: true }),
                _ => Err("\"*\" allows every origin, so it stands alone in the list: \
                          remove it or the others"
                    .into()),
            };
        }
        let allowed = list.iter().map(|entry| listed(entry)).collect::<Result<_, _>>()?;
        Ok(Self { allowed, any: false })
    }

    /// Whether none is listed.
    pub fn is_empty(&self) -> bool {
        self.allowed.is_empty() && !self.any
    }

    /// Whether every origin is allowed (`*`).
    pub fn allows_any(&self) -> bool {
        self.any
    }

    /// Judges a request by its one `Origin` field and its `Host` field. A request with two `Origin`
    /// fields is the caller's to refuse. `development` says that only this machine is served, so
    /// that a page of this machine may, whatever its port: a front end under development has a
    /// server of its own.
    pub fn access(&self, origin: Option<&[u8]>, host: Option<&str>, development: bool) -> Access {
        let Some(origin) = origin else { return Access::NoneSent };
        if self.allows(origin, host, development) { Access::Allowed } else { Access::Refused }
    }

    fn allows(&self, origin: &[u8], host: Option<&str>, development: bool) -> bool {
        // What a sandboxed frame or a file sends: any site can make one, so only `*` means it.
        if origin == b"null" {
            return self.any;
        }
        let Some(site) = std::str::from_utf8(origin).ok().and_then(Site::parse) else {
            return false;
        };
        self.any
            || host.is_some_and(|host| site.is_at(host))
            || (development && site.is_web() && site.host.is_loopback())
            || self.allowed.contains(&site)
    }
}

/// One entry of the list, or the sentence that says what is wrong with it.
fn listed(entry: &str) -> Result<Site, String> {
    Site::parse(entry).ok_or_else(|| {
        let hint = match entry {
            _ if entry.contains('*') => "patterns are not read: list each origin, or \"*\" alone",
            "null" => "\"null\" is what any site can send from a sandboxed frame",
            _ if !entry.contains("://") => "the scheme is missing, as in \"https://example.com\"",
            _ if entry.ends_with('/') => "an origin has no path: remove what follows the host",
            _ => "write scheme://host or scheme://host:port",
        };
        format!("\"{entry}\" is not an origin: {hint}")
    })
}

/// A parsed origin (RFC 6454, section 4): lower case, the scheme's default port filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Site {
    scheme: String,
    host: Host,
    /// `None` only where the scheme has no default that we know and none was given.
    port: Option<u16>,
}

impl Site {
    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        if !is_scheme(&scheme) {
            return None;
        }
        let (host, port) = split_port(rest)?;
        let port = port.or_else(|| default_port(&scheme));
        Some(Self { host: Host::parse(host)?, port, scheme })
    }

    fn is_web(&self) -> bool {
        matches!(self.scheme.as_str(), "http" | "https")
    }

    /// Whether a `Host` field names this site. The request's own scheme is not asked: a proxy that
    /// ends TLS speaks http to us about a page of https. A `Host` without a port means the default
    /// one of the page's scheme.
    fn is_at(&self, field: &str) -> bool {
        let Some((host, port)) = split_port(without_empty_port(field)) else { return false };
        self.is_web()
            && Host::parse(host).as_ref() == Some(&self.host)
            && port.or_else(|| default_port(&self.scheme)) == self.port
    }
}

/// RFC 3986, section 3.1.
fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::Access::{Allowed, NoneSent, Refused};
    use super::*;

    fn origins(list: &[&str]) -> Origins {
        Origins::new(&list.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn the_same_host_and_port_is_allowed() {
        let cases = [
            ("http://a.example:7070", "a.example:7070", Allowed),
            ("http://A.Example:7070", "a.exAMPLE:7070", Allowed),
            ("http://a.example", "a.example", Allowed),
            ("http://a.example", "a.example:80", Allowed),
            ("https://a.example", "a.example", Allowed),
            ("https://a.example:443", "a.example", Allowed),
            ("https://a.example", "a.example:443", Allowed),
            ("http://[::1]:7070", "[0:0::1]:7070", Allowed),
            ("http://a.example:7071", "a.example:7070", Refused),
            ("http://a.example", "a.example:7070", Refused),
            ("https://a.example", "a.example:80", Refused),
            ("http://b.example:7070", "a.example:7070", Refused),
            ("http://a.example.evil:7070", "a.example:7070", Refused),
            ("http://evil-a.example:7070", "a.example:7070", Refused),
            ("http://a.example@evil:7070", "a.example:7070", Refused),
            ("ftp://a.example:7070", "a.example:7070", Refused),
        ];
        for (origin, host, expected) in cases {
            let access = Origins::default().access(Some(origin.as_bytes()), Some(host), false);
            assert_eq!(access, expected, "{origin} at {host}");
        }
    }

    #[test]
    fn pages_of_this_machine_may_in_development_only() {
        let cases = [
            ("http://localhost:3000", Allowed),
            ("https://LOCALHOST", Allowed),
            ("http://app.localhost:5173", Allowed),
            ("http://127.0.0.1", Allowed),
            ("http://127.9.8.7:1", Allowed),
            ("http://[::1]:8080", Allowed),
            ("http://[::ffff:127.0.0.1]", Allowed),
            ("http://localhost.evil.example", Refused),
            ("http://notlocalhost", Refused),
            ("http://127.0.0.1.evil.example", Refused),
            ("http://10.0.0.1", Refused),
            ("http://[::2]", Refused),
            ("app://localhost", Refused),
        ];
        for (origin, expected) in cases {
            let access = |development| {
                Origins::default().access(Some(origin.as_bytes()), Some("x:7070"), development)
            };
            assert_eq!(access(true), expected, "{origin}");
            assert_eq!(access(false), Refused, "{origin}");
        }
    }

    #[test]
    fn listed_origins_are_compared_by_their_parts() {
        let listed = origins(&["https://Good.example", "http://other.example:8080", "app://x"]);
        let cases = [
            ("https://good.example", Allowed),
            ("HTTPS://GOOD.EXAMPLE:443", Allowed),
            ("http://other.example:8080", Allowed),
            ("app://x", Allowed),
            ("http://good.example", Refused),
            ("https://good.example:444", Refused),
            ("https://good.example.evil", Refused),
            ("https://evilgood.example", Refused),
            ("https://good.example/", Refused),
            ("https://good.example https://evil.example", Refused),
            ("https://good.example:", Refused),
            ("https://good.example:99999", Refused),
            ("https://good.example:+443", Refused),
            ("https://", Refused),
            ("://good.example", Refused),
            ("good.example", Refused),
            ("null", Refused),
            ("", Refused),
        ];
        for (origin, expected) in cases {
            let access = listed.access(Some(origin.as_bytes()), Some("host"), false);
            assert_eq!(access, expected, "{origin}");
        }
        assert_eq!(listed.access(Some(b"https://good.example\xff"), None, false), Refused);
    }

    #[test]
    fn none_sent_is_an_access_of_its_own_and_a_star_means_all() {
        assert_eq!(Origins::default().access(None, None, false), NoneSent);
        assert_eq!(Origins::default().access(Some(b"null"), Some("null"), true), Refused);
        let any = origins(&["*"]);
        assert!(any.allows_any() && !Origins::default().allows_any());
        assert_eq!(any.access(None, None, false), NoneSent);
        assert_eq!(any.access(Some(b"null"), None, false), Allowed);
        assert_eq!(any.access(Some(b"https://any.example"), None, false), Allowed);
        assert_eq!(any.access(Some(b"rubbish"), None, false), Refused);
    }

    #[test]
    fn bad_lists_are_refused_with_a_sentence() {
        let cases = [
            (&["*", "https://a"][..], "stands alone"),
            (&["a.example"], "the scheme is missing"),
            (&["https://a.example/"], "has no path"),
            (&["https://*.a.example"], "patterns are not read"),
            (&["null"], "sandboxed frame"),
            (&["https://a:b@c"], "scheme://host:port"),
            (&["https://a b"], "scheme://host:port"),
            (&["https://a", "https://[::1"], "[::1\" is not an origin"),
        ];
        for (list, part) in cases {
            let list: Vec<_> = list.iter().map(ToString::to_string).collect();
            let error = Origins::new(&list).unwrap_err();
            assert!(error.contains(part), "{list:?}: {error}");
        }
        assert_eq!(Origins::new(&[]), Ok(Origins::default()));
    }
}
