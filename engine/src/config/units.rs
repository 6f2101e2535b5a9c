//! Sizes, times, addresses and modes as people write them, read strictly and written back exactly.
//!
//! Flags, environment and file go through the same functions, so that a value means the same
//! wherever it stands. Every error is a sentence that shows a right value.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;

use crate::admission::host::Hosts;
use crate::node::DriverChoice;
use crate::rule::Slow;

/// Longest path of a Unix socket: `sun_path` has 108 bytes, one of them the final NUL (unix(7)).
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// A place to listen at that may be switched off with the word `none`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OptionalAddress<T> {
    /// Listen here.
    At(T),
    /// Do not listen.
    Off,
}

impl<T> OptionalAddress<T> {
    /// The place, if there is one.
    pub fn place(self) -> Option<T> {
        match self {
            Self::At(place) => Some(place),
            Self::Off => None,
        }
    }
}

/// Reads `IP:PORT`; `localhost` stands for 127.0.0.1. No name is looked up: which address a
/// listener has must not depend on a name server.
///
/// # Errors
/// A sentence for whoever wrote it: what is wrong, and an example.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    let example =
        "an address is IP:PORT, as in \"127.0.0.1:7070\", \"0.0.0.0:80\" or \"[::1]:7070\"";
    if let Some(port) = text.strip_prefix("localhost:") {
        let port = port.parse().map_err(|_| format!("\"{port}\" is not a port: {example}"))?;
        return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    }
    text.parse().map_err(|_| format!("\"{text}\" is not an address: {example}"))
}

/// Reads an [`address`] or `none`.
///
/// # Errors
/// As [`address`].
pub fn address_or_none(text: &str) -> Result<OptionalAddress<SocketAddr>, String> {
    match text {
        "none" => Ok(OptionalAddress::Off),
        _ => address(text)
            .map(OptionalAddress::At)
            .map_err(|error| format!("{error}; or \"none\" to do without")),
    }
}

/// Reads the path of a Unix socket or `none`.
///
/// # Errors
/// A sentence about a path that no Unix socket can have.
pub fn socket_or_none(text: &str) -> Result<OptionalAddress<PathBuf>, String> {
    if text == "none" {
        return Ok(OptionalAddress::Off);
    }
    if text.is_empty() || text.contains('\0') {
        return Err("a socket path is not empty and has no NUL; \"none\" does without".into());
    }
    if text.len() > SOCKET_PATH_BYTES_MAX {
        return Err(format!(
            "the path has {} bytes, and the kernel takes at most {SOCKET_PATH_BYTES_MAX} for a \
             Unix socket: choose a shorter one",
            text.len()
        ));
    }
    Ok(OptionalAddress::At(text.into()))
}

/// Reads a driver's name.
///
/// # Errors
/// A sentence that names the drivers that there are.
pub fn driver(text: &str) -> Result<DriverChoice, String> {
    match text {
        "auto" => Ok(DriverChoice::Auto),
        "uring" => Ok(DriverChoice::Uring),
        "epoll" => Ok(DriverChoice::Epoll),
        _ => {
            Err(format!("\"{text}\" is not a driver: there are \"auto\", \"uring\" and \"epoll\""))
        }
    }
}

/// A driver's name.
pub fn driver_name(driver: DriverChoice) -> &'static str {
    match driver {
        DriverChoice::Auto => "auto",
        DriverChoice::Uring => "uring",
        DriverChoice::Epoll => "epoll",
    }
}

/// Reads what becomes of clients that are too slow.
///
/// # Errors
/// A sentence that names the policies that there are.
pub fn slow(text: &str) -> Result<Slow, String> {
    let policy = Slow::ALL.into_iter().find(|policy| policy.as_str() == text);
    policy.ok_or_else(|| {
        format!(
            "\"{text}\" is not a policy for slow clients: there are \"disconnect\", \"window\" and \
             \"latest\""
        )
    })
}

/// Reads how many threads send: the interest mask of a message is 64 bits wide.
///
/// # Errors
/// A sentence that names the bounds.
pub fn shards(text: &str) -> Result<usize, String> {
    within(text.parse().ok(), 1, 64, "a number of shards")
}

/// Reads how many connections a node may hold: at most a full descriptor table (2^20) a shard.
///
/// # Errors
/// A sentence that names the bounds.
pub fn connections(text: &str) -> Result<usize, String> {
    within(text.parse().ok(), 1, 64 << 20, "a number of connections")
}

/// Reads yes or no.
///
/// # Errors
/// A sentence that names both words.
pub fn switch(text: &str) -> Result<bool, String> {
    match text {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err(format!("\"{text}\" is neither true nor false")),
    }
}

fn within(value: Option<usize>, min: usize, max: usize, what: &str) -> Result<usize, String> {
    match value {
        Some(value) if (min..=max).contains(&value) => Ok(value),
        _ => Err(format!("{what} is a whole number from {min} to {max}")),
    }
}

/// Reads `"16KB"` (16,000 bytes) or `"16KiB"` (16,384 bytes).
///
/// # Errors
/// A sentence with the units that there are.
pub fn bytes(text: &str) -> Result<u64, String> {
    let fault = || {
        format!("\"{text}\" is not a size: write a number and a unit, as in \"16KB\" or \"16KiB\"")
    };
    // The package takes a bare number for bytes; in a string that is more likely a forgotten unit.
    if !text.ends_with(|last: char| last.is_ascii_alphabetic()) {
        return Err(fault());
    }
    text.parse::<ByteSize>().map(|size| size.as_u64()).map_err(|_| fault())
}

/// Reads `"250ms"`, `"5s"`, `"10m"`, `"1h 30m"` as milliseconds.
///
/// # Errors
/// A sentence with the units that there are, or about a time that is too fine or too long.
pub fn millis(text: &str) -> Result<u64, String> {
    let time = humantime::parse_duration(text).map_err(|_| {
        format!(
            "\"{text}\" is not a time: write a number and a unit, as in \"250ms\", \"5s\" or \
             \"10m\""
        )
    })?;
    if time.subsec_nanos() % 1_000_000 != 0 {
        return Err(format!("\"{text}\" is finer than a millisecond"));
    }
    u64::try_from(time.as_millis()).map_err(|_| format!("\"{text}\" is too long a time"))
}

/// Reads a file mode, always in octal.
///
/// # Errors
/// A sentence about what is no mode.
pub fn mode(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let octal = digits.bytes().all(|digit| matches!(digit, b'0'..=b'7'));
    let mode = if octal { u32::from_str_radix(digits, 8).ok() } else { None };
    match mode {
        Some(mode) if mode & !0o666 == 0 && mode & 0o600 == 0o600 => Ok(mode),
        _ => Err(format!(
            "\"{text}\" is not a socket's mode: it is octal, the owner may read and write, and \
             nobody executes it, as in \"0600\" or \"0660\""
        )),
    }
}

/// Writes a size so that [`bytes`] reads the same number.
pub fn bytes_text(bytes: u64) -> String {
    const UNITS: [(&str, u64); 6] = [
        ("GiB", 1 << 30),
        ("GB", 1_000_000_000),
        ("MiB", 1 << 20),
        ("MB", 1_000_000),
        ("KiB", 1 << 10),
        ("KB", 1_000),
    ];
    let unit = UNITS.iter().find(|(_, unit)| bytes >= *unit && bytes.is_multiple_of(*unit));
    unit.map_or(format!("{bytes}B"), |(name, unit)| format!("{}{name}", bytes / unit))
}

/// Writes a time so that [`millis`] reads the same number.
pub fn millis_text(millis: u64) -> String {
    humantime::format_duration(Duration::from_millis(millis)).to_string()
}

/// A name under which clients are answered, as it stands.
///
/// # Errors
/// A sentence about what is no name of a host.
pub fn host(text: &str) -> Result<String, String> {
    Hosts::new(&[text.to_owned()]).map(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_and_times_mean_what_people_mean() {
        assert_eq!(bytes("16KB"), Ok(16_000));
        assert_eq!(bytes("16KiB"), Ok(16_384));
        assert_eq!(bytes("1 MB"), Ok(1_000_000));
        assert_eq!(bytes("7B"), Ok(7));
        assert_eq!(millis("5s"), Ok(5_000));
        assert_eq!(millis("1h 30m"), Ok(5_400_000));
        for text in ["", "16", "-1KB", "KB", "1e3KB", "16 parsecs", "١KB"] {
            assert!(bytes(text).is_err(), "{text}");
        }
        for text in ["", "5", "-5s", "5 parsecs", "1us", "99999999999999999999s"] {
            assert!(millis(text).is_err(), "{text}");
        }
    }

    #[test]
    fn addresses_are_numbers_and_localhost() {
        assert_eq!(address("127.0.0.1:7070"), Ok("127.0.0.1:7070".parse().unwrap()));
        assert_eq!(address("localhost:0"), Ok("127.0.0.1:0".parse().unwrap()));
        assert_eq!(address("[::1]:1"), Ok("[::1]:1".parse().unwrap()));
        for text in ["", "7070", ":7070", "127.0.0.1", "localhost:x", "example.com:80", "::1:80x"] {
            assert!(address(text).is_err(), "{text}");
        }
        assert_eq!(address_or_none("none"), Ok(OptionalAddress::Off));
        assert!(address_or_none("nome").is_err());
    }

    #[test]
    fn socket_paths_fit_the_kernel() {
        assert_eq!(socket_or_none("none"), Ok(OptionalAddress::Off));
        assert_eq!(socket_or_none("/run/f.sock"), Ok(OptionalAddress::At("/run/f.sock".into())));
        assert!(socket_or_none(&"x".repeat(107)).is_ok());
        assert!(socket_or_none(&"x".repeat(108)).is_err());
        assert!(socket_or_none("").is_err());
    }

    #[test]
    fn modes_are_octal_and_keep_the_owner_in() {
        assert_eq!(mode("0600"), Ok(0o600));
        assert_eq!(mode("660"), Ok(0o660));
        assert_eq!(mode("0o666"), Ok(0o666));
        for text in ["", "0", "0400", "0700", "0777", "680", "-600", "+600", "100660"] {
            assert!(mode(text).is_err(), "{text}");
        }
    }

    #[test]
    fn counts_have_bounds() {
        assert_eq!((shards("1"), shards("64")), (Ok(1), Ok(64)));
        for text in ["", "0", "65", "-1", "two"] {
            assert!(shards(text).is_err(), "{text}");
        }
        assert!(connections("0").is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(bytes_ in 0..u64::MAX / 2, ms in 0..u64::MAX / 1_000_000) {
            prop_assert_eq!(bytes(&bytes_text(bytes_)), Ok(bytes_));
            prop_assert_eq!(millis(&millis_text(ms)), Ok(ms));
        }
    }
}
