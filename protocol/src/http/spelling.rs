//! Parameters that are ours but for their case or a letter: a client that wrote one would be
//! followed by silence, which is worse than a refusal that says the right name.

/// The one of `known`, which are ASCII, that `name` was probably meant to be, where it is none of
/// them.
///
/// The rule, for names of at least four letters: letter by letter `name` is the known one, upper
/// and lower case alike; or one letter is missing, or there is one too many, or one is another,
/// or two neighbours have changed places. Brackets at the end, which some encoders of lists
/// append (`channels[]`, `channels[0]`), count for nothing. The nearest one is taken, and among
/// equals the first.
///
/// A body may bring names by the hundred, so nothing is allocated, and one of a length that no slip
/// explains is not looked into.
pub fn meant<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    let name = without_brackets(name);
    let mut near = None;
    for right in known.iter().copied().filter(|right| fits(name.len(), right.len())) {
        debug_assert!(right.is_ascii(), "{right} is compared by bytes");
        if is_same_but_for_case(name, right) {
            return Some(right);
        }
        if near.is_none() && right.len() >= SLIPS_FROM && is_one_slip(name, right) {
            near = Some(right);
        }
    }
    near
}

/// Whether `name` is the known one letter by letter, upper and lower case alike.
pub fn is_same_but_for_case(name: &str, known: &str) -> bool {
    without_brackets(name).eq_ignore_ascii_case(known)
}

/// A known name of fewer letters has too many neighbours.
const SLIPS_FROM: usize = 4;

/// Whether a name of `written` bytes can be one slip from an ASCII name of `right`: the one letter
/// that is wrong may have four bytes.
fn fits(written: usize, right: usize) -> bool {
    written + 1 >= right && written <= right + 4
}

fn without_brackets(name: &str) -> &str {
    match name.strip_suffix(']').and_then(|open| open.split_once('[')) {
        Some((name, _)) => name,
        None => name,
    }
}

/// Whether one slip makes the ASCII name `right` of `written`.
fn is_one_slip(written: &str, right: &str) -> bool {
    let same = |(a, b): &(u8, u8)| a.eq_ignore_ascii_case(b);
    let agree = written.bytes().zip(right.bytes()).take_while(same).count();
    // What agrees is ASCII, so a letter begins here in both.
    let (written, right) = (&written[agree..], &right[agree..]);
    let letter = written.chars().next().map_or(0, char::len_utf8);
    let rest = |text: &str, from: usize, of: &str, at: usize| {
        let both = text.as_bytes().get(from..).zip(of.as_bytes().get(at..));
        both.is_some_and(|(a, b)| a.eq_ignore_ascii_case(b))
    };
    let one_more = letter > 0 && rest(written, letter, right, 0);
    let one_less = rest(written, 0, right, 1);
    let another = letter > 0 && rest(written, letter, right, 1);
    one_more || one_less || another || (is_swapped(written, right) && rest(written, 2, right, 2))
}

/// Whether both begin with the same two letters, each in the other's place.
fn is_swapped(written: &str, right: &str) -> bool {
    match (written.as_bytes(), right.as_bytes()) {
        ([a, b, ..], [c, d, ..]) => a.eq_ignore_ascii_case(d) && b.eq_ignore_ascii_case(c),
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
            ("wa😀t", Some("wait")),
            ("wai😀t", Some("wait")),
            ("😀wait", Some("wait")),
            ("wait😀", Some("wait")),
            ("w😀i", None),
            ("wait[", Some("wait")),
            ("[wait]", None),
            ("channels[a][b]", Some("channels")),
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
