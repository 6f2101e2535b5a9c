//! What a channel and an event may be called.

use crate::limits::{CHANNEL_NAME_BYTES_MAX, EVENT_NAME_BYTES_MAX};

/// Whether `name` may name a channel: 1 to 255 bytes of UTF-8, no control character, no `*`.
pub fn is_channel_name(name: &str) -> bool {
    (1..=CHANNEL_NAME_BYTES_MAX).contains(&name.len())
        && !name.chars().any(|char| char.is_control() || char == '*')
}

/// Whether `name` may name an event: 1 to 255 bytes, no control character, no space or `:` at
/// either end, and not one of ours (`fanfare.`). Control characters would be an injection into an
/// SSE stream (CVE-2026-33128).
pub fn is_event_name(name: &str) -> bool {
    (1..=EVENT_NAME_BYTES_MAX).contains(&name.len())
        && !name.chars().any(char::is_control)
        && !name.starts_with([' ', ':'])
        && !name.ends_with([' ', ':'])
        && !name.starts_with("fanfare.")
}
