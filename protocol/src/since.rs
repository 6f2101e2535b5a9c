//! Where a client wants to begin, and how a newcomer writes it in a parameter: an id, the start, a
//! time.

use crate::id::{Id, LifeId};

/// A place to begin at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// With what is published next.
    Now,
    /// `4k7m2x9d-1042`: after this place.
    After(Id),
    /// After this offset of a channel, in that life of it: 0 is before its first message. Dialects
    /// say so whose clients keep a place for each channel; a parameter cannot.
    Offset(u64, LifeId),
    /// After a place that the client had and that cannot be read: a gap, then as [`Since::Now`].
    Unreadable,
    /// With the last so many messages, or as many of them as are kept.
    Last(u64),
    /// `earliest`: with the oldest that is kept.
    Earliest,
    /// `10m`: with what is so many milliseconds old or younger.
    Ago(u64),
    /// `@1764180000`: with what is of this time or later, in milliseconds since 1970.
    At(u64),
}

/// Units of a duration, in milliseconds.
const UNITS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

impl Since {
    /// Reads one that is written in one word; `None` where it is none of them. What is longer than
    /// there is time saturates.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "earliest" {
            return Some(Self::Earliest);
        }
        if let Some(seconds) = text.strip_prefix('@') {
            return unix_ms(seconds).map(Self::At);
        }
        let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
        match UNITS.iter().find(|(name, _)| *name == unit) {
            Some((_, ms)) => Some(Self::Ago(whole(number)?.saturating_mul(*ms))),
            None => Id::parse(text.as_bytes()).map(Self::After),
        }
    }
}

/// Seconds with up to nine decimals, as clocks give them, of which three count.
fn unix_ms(text: &str) -> Option<u64> {
    let (seconds, decimals) = text.split_once('.').map_or((text, None), |(s, d)| (s, Some(d)));
    let ms = match decimals {
        None => 0,
        Some(decimals) => {
            let digits = whole(decimals).filter(|_| decimals.len() <= 9)?;
            digits * 1_000 / 10_u64.pow(decimals.len() as u32)
        }
    };
    Some(whole(seconds)?.saturating_mul(1_000).saturating_add(ms))
}

/// Digits alone, at least one.
fn whole(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Epoch;

    #[test]
    fn what_is_read() {
        let id = Id { epoch: Epoch::from_random(1), position: 42 };
        let letters = Id::parse(b"earliest-7").unwrap_or(id);
        for (text, since) in [
            ("00000001-42", Since::After(id)),
            ("earliest", Since::Earliest),
            ("10m", Since::Ago(600_000)),
            ("0s", Since::Ago(0)),
            ("250ms", Since::Ago(250)),
            ("2h", Since::Ago(7_200_000)),
            ("1d", Since::Ago(86_400_000)),
            ("99999999999999999999d", Since::Ago(u64::MAX)),
            ("@0", Since::At(0)),
            ("@1764180000", Since::At(1_764_180_000_000)),
            ("@1764180000.25", Since::At(1_764_180_000_250)),
            ("@1764180000.123456789", Since::At(1_764_180_000_123)),
            ("@99999999999999999999", Since::At(u64::MAX)),
        ] {
            assert_eq!(Since::parse(text), Some(since), "{text}");
        }
        // An epoch may be of digits and of letters that are units.
        for text in [id.to_string(), letters.to_string(), "10000000-1".into(), "1d000000-1".into()]
        {
            let parsed = Since::parse(&text).map(|since| matches!(since, Since::After(_)));
            assert_eq!(parsed, Some(true), "{text}");
        }
    }

    #[test]
    fn what_is_not_read() {
        for text in [
            "",
            "7",
            "m",
            "10 m",
            "-10m",
            "+10m",
            "1.5h",
            "10M",
            "10min",
            "10m ",
            "@",
            "@-1",
            "@1.",
            "@.5",
            "@1e9",
            "@1.1234567890",
            "@1764180000s",
            "Earliest",
            "latest",
            "yesterday",
            "10m5s",
            "00000001-",
        ] {
            assert_eq!(Since::parse(text), None, "{text}");
        }
    }
}
