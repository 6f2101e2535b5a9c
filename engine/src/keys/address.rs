//! Where a key set is published.

use std::fmt;
use std::net::IpAddr;

use hyper::Uri;

/// The URL of a key set: `https`, or `http` on this machine. Whoever can change what is fetched
/// makes tokens that are believed, so nothing on the way may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyAddress {
    uri: Uri,
    host: String,
}

impl KeyAddress {
    /// Reads a URL.
    ///
    /// # Errors
    /// A sentence about what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let uri: Uri = text.parse().map_err(|_| "this is no URL: https://... is expected")?;
        let authority = uri.authority().ok_or("this URL names no host: https://... is expected")?;
        if authority.as_str().contains('@') {
            return Err(
                "a URL with a user or a password would be in logs: it is taken without".into()
            );
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if is_here(&host) => {}
            Some("http") => {
                return Err(
                    "http is taken from this machine alone (127.0.0.1, [::1], localhost): \
                            whoever stands between could make tokens. Use https"
                        .into(),
                );
            }
            _ => return Err("key sets are fetched over https, or http from this machine".into()),
        }
        if uri.port().is_some() && uri.port_u16().is_none_or(|port| port == 0) {
            return Err("the port of this URL is none".into());
        }
        Ok(Self { host, uri })
    }

    /// Whether it is reached by TLS.
    pub(super) fn is_secure(&self) -> bool {
        self.uri.scheme_str() == Some("https")
    }

    /// The host's name or address, without brackets.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn port(&self) -> u16 {
        self.uri.port_u16().unwrap_or(if self.is_secure() { 443 } else { 80 })
    }

    /// What `Host` says.
    pub(super) fn authority(&self) -> &str {
        self.uri.authority().map_or("", |authority| authority.as_str())
    }

    /// What the request line asks for.
    pub(super) fn target(&self) -> &str {
        match self.uri.path_and_query().map(|target| target.as_str()) {
            Some(target) if target.starts_with('/') => target,
            _ => "/",
        }
    }
}

/// Without its query, which may be nobody's business.
impl fmt::Display for KeyAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.uri.scheme_str().unwrap_or_default();
        write!(f, "{scheme}://{}{}", self.authority(), self.uri.path())
    }
}

fn is_here(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_over_https_or_from_this_machine() {
        for (text, host, port, target) in [
            ("https://id.example/jwks.json", "id.example", 443, "/jwks.json"),
            ("https://id.example:8443/a?b=c", "id.example", 8443, "/a?b=c"),
            ("https://id.example", "id.example", 443, "/"),
            ("http://127.0.0.1:8080/k", "127.0.0.1", 8080, "/k"),
            ("http://[::1]/k", "::1", 80, "/k"),
            ("http://localhost/k", "localhost", 80, "/k"),
        ] {
            let address = KeyAddress::parse(text).unwrap();
            let parts = (address.host(), address.port(), address.target());
            assert_eq!(parts, (host, port, target), "{text}");
        }
        for text in [
            "",
            "jwks.json",
            "/jwks.json",
            "id.example",
            "ftp://id.example/k",
            "file:///etc/passwd",
            "http://id.example/k",
            "http://10.0.0.1/k",
            "http://localhost.evil.example/k",
            "http://127.0.0.1@evil.example/k",
            "https://user:pass@id.example/k",
            "https://",
            "https://id.example:0/k",
            "https://id example/k",
        ] {
            assert!(KeyAddress::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_query_is_not_shown() {
        let address = KeyAddress::parse("https://id.example/jwks?code=hush").unwrap();
        assert_eq!(address.to_string(), "https://id.example/jwks");
    }
}
