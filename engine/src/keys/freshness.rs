//! For how long a key set is taken for what is published.

use std::time::Duration;

/// Without a word from the endpoint.
const USUAL: Duration = Duration::from_secs(10 * 60);
/// However short an endpoint says: tokens of keys that are not known ask before.
const SHORTEST: Duration = Duration::from_secs(60);
/// However long an endpoint says: a key that it has withdrawn is believed for no longer.
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// Until when to ask again, by the `Cache-Control` fields of an answer (RFC 9111, section 5.2.2).
pub(super) fn pause<'f>(fields: impl Iterator<Item = &'f str>) -> Duration {
    let mut said = None;
    for directive in fields.flat_map(|field| field.split(',')) {
        let directive = directive.trim().to_ascii_lowercase();
        if matches!(directive.as_str(), "no-store" | "no-cache") {
            return SHORTEST;
        }
        if let Some(seconds) = directive.strip_prefix("max-age=") {
            said = seconds.trim_matches('"').parse().ok().map(Duration::from_secs).or(said);
        }
    }
    said.map_or(USUAL, |said| said.clamp(SHORTEST, LONGEST))
}

/// Until when to ask again after so many failures in a row: 10 s, and twice as long each time, up
/// to five minutes.
pub(super) fn pause_after(failures: u32) -> Duration {
    Duration::from_secs((10 << failures.saturating_sub(1).min(5)).min(300))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_endpoint_says_is_taken_within_bounds() {
        for (fields, seconds) in [
            (&[][..], 600),
            (&["public"], 600),
            (&["max-age=300"], 300),
            (&["public, MAX-AGE=\"120\" , must-revalidate"], 120),
            (&["max-age=0"], 60),
            (&["max-age=86400"], 3_600),
            (&["max-age=18446744073709551616"], 600),
            (&["max-age=-1"], 600),
            (&["public", "no-store"], 60),
            (&["no-cache, max-age=300"], 60),
        ] {
            let pause = pause(fields.iter().copied());
            assert_eq!(pause.as_secs(), seconds, "{fields:?}");
        }
    }

    #[test]
    fn an_endpoint_that_fails_is_left_alone_for_longer_and_longer() {
        let pauses = [1, 2, 3, 6, 7, u32::MAX].map(|failures| pause_after(failures).as_secs());
        assert_eq!(pauses, [10, 20, 40, 300, 300, 300]);
    }
}
