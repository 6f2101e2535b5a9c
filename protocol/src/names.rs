//! What a channel and an event may be called, and what a connection is.

use std::num::NonZeroU64;

use crate::limits::{CHANNEL_NAME_BYTES_MAX, EVENT_NAME_BYTES_MAX, VIEW_BYTES_MAX};

/// Whether `name` may name a channel: 1 to 255 bytes of UTF-8, no control character, no `*`.
pub fn is_channel_name(name: &str) -> bool {
    (1..=CHANNEL_NAME_BYTES_MAX).contains(&name.len()) && !has_control_or(name, b'*')
}

/// Whether `view` may be a view of a channel ([`crate::dialect::Codec`]): 1 to 1,024 bytes without
/// control characters, so that a codec escapes two of its characters and no more.
pub fn is_view(view: &str) -> bool {
    (1..=VIEW_BYTES_MAX).contains(&view.len()) && !has_control(view)
}

/// Whether `name` may name an event: 1 to 255 bytes, no control character, no space or `:` at
/// either end, not one of ours (`fanfare.`), and neither `open` nor `error`. Control characters
/// would be an injection into an SSE stream (CVE-2026-33128).
///
/// `open` and `error` are what an `EventSource` itself tells its page: a message of that name runs
/// `onopen` or `onerror`, where a page counts reconnects or gives up, and in Node's `EventEmitter`
/// an `error` that nobody listens for ends the process. Names are compared as they are written, in
/// browsers too, so that `Error` is as good as any. `message` is what an event without a name is
/// called, and does what its publisher expects.
pub fn is_event_name(name: &str) -> bool {
    (1..=EVENT_NAME_BYTES_MAX).contains(&name.len())
        && !has_control(name)
        && !name.starts_with([' ', ':'])
        && !name.ends_with([' ', ':'])
        && !name.starts_with("fanfare.")
        && !matches!(name, "open" | "error")
}

/// The number that an origin is written as: sixteen hexadecimal digits, not all of them 0.
pub fn origin_number(text: &[u8]) -> Option<NonZeroU64> {
    let text = std::str::from_utf8(text).ok()?;
    let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = digits.then(|| u64::from_str_radix(text, 16).ok())??;
    NonZeroU64::new(number)
}

fn has_control(name: &str) -> bool {
    has_control_or(name, 0)
}

/// Whether there is a control character in it, or this ASCII character. Nearly all names are ASCII,
/// and every published message has one: without an end in the middle the loop takes sixteen bytes
/// at once.
fn has_control_or(name: &str, other: u8) -> bool {
    if name.is_ascii() {
        name.bytes().fold(false, |found, byte| found | byte.is_ascii_control() | (byte == other))
    } else {
        name.chars().any(|char| char.is_control() || char == char::from(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_control_character_is_found_among_ascii_and_others() {
        for char in '\0'..='\u{17f}' {
            for name in [format!("ab{char}"), format!("{char}cd"), format!("é{char}x")] {
                assert_eq!(has_control(&name), char.is_control(), "{name:?}");
                let is_name = !char.is_control() && char != '*';
                assert_eq!(is_channel_name(&name), is_name, "{name:?}");
            }
        }
    }

    #[test]
    fn names_that_an_event_source_has_itself_are_no_events() {
        for name in ["open", "error", "fanfare.open", "fanfare.", " a", "a:", "a ", ":a"] {
            assert!(!is_event_name(name), "{name:?}");
        }
        for name in ["message", "Open", "ERROR", "opened", "errors", "on error", "close", "fanfare"]
        {
            assert!(is_event_name(name), "{name:?}");
        }
    }

    #[test]
    fn an_origin_is_sixteen_digits() {
        let number = |text: &str| origin_number(text.as_bytes()).map(NonZeroU64::get);
        assert_eq!(number("3f9c0a51b7e2d846"), Some(0x3f9c_0a51_b7e2_d846));
        assert_eq!(number("00000000000000A1"), Some(0xa1));
        for bad in
            ["", "0000000000000000", "3f9c0a51b7e2d84", "+f9c0a51b7e2d846", "3f9c0a51b7e2d84é"]
        {
            assert_eq!(number(bad), None, "{bad}");
        }
    }

    #[test]
    fn lengths_are_bytes() {
        assert!(!is_channel_name("") && !is_event_name(""));
        assert!(is_channel_name(&"é".repeat(127)) && !is_channel_name(&"é".repeat(128)));
    }
}
