//! What counts as one address: of IPv4 the address, of IPv6 its /64.
//!
//! Whoever has IPv6 has at least 2^64 addresses, all of one /64 (RFC 4291, section 2.5.1): counted
//! one by one they would be as many strangers. Ranges of addresses are written as in RFC 4632.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A peer as it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClientNetwork {
    /// An IPv4 address, in IPv6 clothes or not.
    V4(Ipv4Addr),
    /// The upper half of an IPv6 address.
    V6(u64),
}

impl ClientNetwork {
    /// To what an address counts.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => Self::V6((u128::from(address) >> 64) as u64),
        }
    }
}

impl fmt::Display for ClientNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(address) => address.fmt(f),
            Self::V6(upper) => write!(f, "{}/64", Ipv6Addr::from(u128::from(*upper) << 64)),
        }
    }
}

/// All addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRange {
    first: IpAddr,
    bits: u32,
}

impl AddressRange {
    /// Reads `192.0.2.0/24`, `2001:db8::/32`, or one address.
    ///
    /// # Errors
    /// A sentence about what is no range.
    pub fn parse(text: &str) -> Result<Self, String> {
        const EXAMPLE: &str = "write an address or a range, as in \"127.0.0.1\", \"10.0.0.0/8\" or \
                               \"2001:db8::/32\"";
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let Ok(first) = address.parse::<IpAddr>() else {
            return Err(format!("\"{text}\" is not a range of addresses: {EXAMPLE}"));
        };
        let width = width(first);
        let is_number = |bits: &str| bits.len() <= 3 && bits.bytes().all(|b| b.is_ascii_digit());
        let bits = match bits {
            None => width,
            Some(bits) => match bits.parse::<u32>().ok().filter(|_| is_number(bits)) {
                Some(bits) if bits <= width => bits,
                _ => {
                    return Err(format!(
                        "\"{text}\" is not a range of addresses: after the / stands how many bits \
                         are common, 0 to {width}"
                    ));
                }
            },
        };
        let IpAddr::V6(v6) = first else { return Self { first, bits }.checked(text) };
        match v6.to_ipv4_mapped() {
            // A socket for both families shows an IPv4 peer so; it is compared as what it is.
            Some(v4) if bits >= 96 => Self { first: v4.into(), bits: bits - 96 }.checked(text),
            _ => Self { first, bits }.checked(text),
        }
    }

    /// Refuses a range whose first address is not the first one: one of the two numbers is wrong,
    /// and which is not guessed.
    fn checked(self, text: &str) -> Result<Self, String> {
        let first = self.first_of();
        if first == self.first {
            return Ok(self);
        }
        Err(format!(
            "\"{text}\" is an address and a range at once: the range is \"{first}/{}\", the \
             address alone is \"{}\"",
            self.bits, self.first
        ))
    }

    fn first_of(self) -> IpAddr {
        let kept = |width: u32| u128::MAX.checked_shl(width - self.bits).unwrap_or(0);
        match self.first {
            IpAddr::V4(v4) => Ipv4Addr::from(u32::from(v4) & kept(32) as u32).into(),
            IpAddr::V6(v6) => Ipv6Addr::from(u128::from(v6) & kept(128)).into(),
        }
    }

    /// Whether it has this address.
    pub fn has(self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        width(address) == width(self.first)
            && Self { first: address, ..self }.first_of() == self.first
    }
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn ipv6_counts_by_its_upper_half_and_ipv4_by_itself() {
        let of = |text| ClientNetwork::of(ip(text));
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_ne!(of("::192.0.2.1"), of("192.0.2.1"), "a compatible address is IPv6");
    }

    #[test]
    fn ranges_have_what_begins_like_them() {
        for (range, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("192.0.2.128/25", "192.0.2.255", "192.0.2.127"),
            ("192.0.2.1", "192.0.2.1", "192.0.2.0"),
            ("192.0.2.1/32", "::ffff:192.0.2.1", "::192.0.2.1"),
            ("0.0.0.0/0", "203.0.113.9", "::1"),
            ("::/0", "2001:db8::1", "203.0.113.9"),
            ("::1", "::1", "::2"),
            ("2001:db8::/32", "2001:db8:ffff::", "2001:db9::"),
            ("fd00::/8", "fdff::1", "fe00::1"),
            ("::ffff:10.0.0.0/104", "10.1.2.3", "11.0.0.0"),
        ] {
            let parsed = AddressRange::parse(range).unwrap();
            assert!(parsed.has(ip(inside)), "{range} has {inside}");
            assert!(!parsed.has(ip(outside)), "{range} has not {outside}");
        }
    }

    #[test]
    fn what_is_no_range_is_refused_with_a_sentence() {
        for (text, part) in [
            ("", "10.0.0.0/8"),
            ("proxy.example", "10.0.0.0/8"),
            ("10.0.0.0/33", "0 to 32"),
            ("::/129", "0 to 128"),
            ("10.0.0.0/", "0 to 32"),
            ("10.0.0.0/+8", "0 to 32"),
            ("10.0.0.0/8/8", "0 to 32"),
            ("10.0.0/8", "10.0.0.0/8"),
            ("10.1.2.3/8", "\"10.0.0.0/8\""),
            ("2001:db8::1/64", "\"2001:db8::/64\""),
            (" 10.0.0.1", "10.0.0.0/8"),
            ("[::1]", "10.0.0.0/8"),
        ] {
            let what = AddressRange::parse(text).unwrap_err();
            assert!(what.contains(part), "{text}: {what}");
        }
    }
}
