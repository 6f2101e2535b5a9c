//! Parameters that are ours but for their case or a letter: a client that wrote one would be
//! followed by silence, which is worse than a refusal that says the right name.

/// The one of `known` that `name` was probably meant to be, where it is none of them.
///
/// The rule, for names of at least four letters: letter by letter `name` is the known one, upper
/// and lower case alike; or one letter is missing, or there is one too many, or one is another,
/// or two neighbours have changed places. Brackets at the end, which some encoders of lists
/// append (`channels[]`, `channels[0]`), count for nothing. The nearest one is taken, and among
/// equals the first.
pub fn meant<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    const BYTES_MAX: usize = 64; // far more than any of ours and one letter
    let name = name.split_once('[').filter(|(_, end)| end.ends_with(']')).map_or(name, |(n, _)| n);
    if name.len() > BYTES_MAX {
        return None;
    }
    let chars: Vec<char> = name.chars().map(|char| char.to_ascii_lowercase()).collect();
    let same =
        |known: &&&str| known.chars().map(|char| char.to_ascii_lowercase()).eq(chars.clone());
    let near = |known: &&&str| {
        let known: Vec<char> = known.chars().map(|char| char.to_ascii_lowercase()).collect();
        known.len() >= 4 && is_one_slip(&chars, &known)
    };
    known.iter().find(same).or_else(|| known.iter().find(near)).copied()
}

/// Whether one slip makes `right` of `written`.
fn is_one_slip(written: &[char], right: &[char]) -> bool {
    let agree = written.iter().zip(right).take_while(|(a, b)| a == b).count();
    let (written, right) = (&written[agree..], &right[agree..]);
    match (written, right) {
        ([], []) => false,
        ([_, more @ ..], _) if more == right => true,
        (_, [_, more @ ..]) if more == written => true,
        ([_, more @ ..], [_, rest @ ..]) if more == rest => true,
        ([a, b, more @ ..], [c, d, rest @ ..]) => a == d && b == c && more == rest,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KNOWN: [&str; 4] = ["channels", "channel", "wait", "id"];

    /// The distance by the book: insertions, deletions, substitutions, and neighbours exchanged.
    fn distance(a: &[char], b: &[char]) -> usize {
        let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
        for i in 0..=a.len() {
            for j in 0..=b.len() {
                rows[i][j] = if i == 0 || j == 0 {
                    i + j
                } else {
                    let other = usize::from(a[i - 1] != b[j - 1]);
                    let mut least = (rows[i - 1][j - 1] + other)
                        .min(rows[i - 1][j] + 1)
                        .min(rows[i][j - 1] + 1);
                    if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                        least = least.min(rows[i - 2][j - 2] + 1);
                    }
                    least
                };
            }
        }
        rows[a.len()][b.len()]
    }

    fn expected(name: &str) -> Option<&'static str> {
        let chars: Vec<char> = name.to_ascii_lowercase().chars().collect();
        let far = |known: &str| distance(&chars, &known.chars().collect::<Vec<_>>());
        let exact = KNOWN.into_iter().find(|known| far(known) == 0);
        exact.or_else(|| KNOWN.into_iter().find(|known| known.len() >= 4 && far(known) == 1))
    }

    #[test]
    fn known_slips() {
        for (name, right) in [
            ("Channels", Some("channels")),
            ("CHANNEL", Some("channel")),
            ("chanels", Some("channels")),
            ("channnel", Some("channel")),
            ("channle", Some("channel")),
            ("channels[]", Some("channels")),
            ("channel[0]", Some("channel")),
            ("waits", Some("wait")),
            ("wiat", Some("wait")),
            ("chännels", Some("channels")),
            ("ID", Some("id")),
            ("ids", None),
            ("weight", None),
            ("chan", None),
            ("", None),
            ("[]", None),
            ("t", None),
            ("_", None),
            ("token", None),
            ("access_token", None),
        ] {
            assert_eq!(meant(name, &KNOWN), right, "{name:?}");
        }
        assert_eq!(meant(&"channels".repeat(1_000), &KNOWN), None);
    }

    proptest! {
        #[test]
        fn like_the_distance_by_the_book(name in "[cChanelsitwäd]{0,9}") {
            prop_assert_eq!(meant(&name, &KNOWN), expected(&name));
        }

        #[test]
        fn like_the_distance_by_the_book_near_a_name(
            known in prop::sample::select(&KNOWN[..]),
            slips in prop::collection::vec((0usize..4, 0usize..10, "[a-zA-Zä]"), 0..3),
        ) {
            let mut chars: Vec<char> = known.chars().collect();
            for (kind, at, other) in slips {
                let other = other.chars().next().unwrap();
                match kind {
                    0 => chars.insert(at.min(chars.len()), other),
                    1 if at < chars.len() => drop(chars.remove(at)),
                    2 if at < chars.len() => chars[at] = other,
                    _ if at + 1 < chars.len() => chars.swap(at, at + 1),
                    _ => {}
                }
            }
            let name: String = chars.into_iter().collect();
            prop_assert_eq!(meant(&name, &KNOWN), expected(&name), "{}", name);
        }
    }
}
