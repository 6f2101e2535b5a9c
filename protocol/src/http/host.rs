//! The syntax of `Host` and of the authority of a target, stricter than RFC 3986.
//!
//! A registered name here is letters, digits, `-`, `.`, `_`, `~`: no escape, no `@`, no list, so
//! that two readers of the same header cannot see two hosts. A port may be empty (RFC 3986, section
//! 3.2.3), which says no more than none (section 6.2.3).

use std::net::Ipv6Addr;

/// `authority` without a colon that no port follows.
pub(super) fn without_empty_port(authority: &str) -> &str {
    authority.strip_suffix(':').unwrap_or(authority)
}

/// Whether `text` is a host with an optional port.
pub(super) fn is_authority(text: &str) -> bool {
    let (host_is_valid, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, rest)) => (address.parse::<Ipv6Addr>().is_ok(), rest),
            None => return false,
        },
        None => {
            let end = text.find(':').unwrap_or(text.len());
            (is_name(&text[..end]), &text[end..])
        }
    };
    host_is_valid && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
}

fn is_name(host: &str) -> bool {
    (1..=255).contains(&host.len())
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b))
}

fn is_port(digits: &str) -> bool {
    digits.is_empty()
        || digits.len() <= 5
            && digits.bytes().all(|b| b.is_ascii_digit())
            && digits.parse::<u16>().is_ok_and(|port| port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for good in ["a", "a.example", "a.example:80", "127.0.0.1:7070", "[::1]", "[::1]:7070"] {
            assert!(is_authority(good), "{good}");
            assert_eq!(without_empty_port(good), good);
        }
        for (good, bare) in [("a:", "a"), ("127.0.0.1:", "127.0.0.1"), ("[::1]:", "[::1]")] {
            assert!(is_authority(good), "{good}");
            assert_eq!(without_empty_port(good), bare);
        }
        let long = "a".repeat(256);
        for bad in [
            "",
            ":80",
            ":",
            "a::",
            "[::1]::",
            "a:0",
            "a:65536",
            "a:080000",
            "a:+8",
            "a b",
            "a,b",
            "u@a",
            "a/b",
            "[::1",
            "[::1]x",
            "[]",
            "[1.2.3.4]",
            "::1",
            "a%41",
            "ä",
            "a:80:80",
            "a\\b",
            &long,
        ] {
            assert!(!is_authority(bad), "{bad}");
        }
    }
}
