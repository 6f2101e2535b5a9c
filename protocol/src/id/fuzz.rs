//! What the fuzz target `position` runs and `cargo test` replays: a position has one spelling.

use super::{ID_TEXT_BYTES_MAX, Id};

/// Any bytes.
///
/// # Panics
/// When two texts are one position, or a position does not come back from its text.
pub fn position(bytes: &[u8]) {
    if let Some(id) = Id::parse(bytes) {
        let mut text = Vec::new();
        id.write(&mut text);
        assert_eq!(text, bytes, "a second spelling of {id}");
        assert_eq!(text, id.to_string().as_bytes());
        assert!(text.len() <= ID_TEXT_BYTES_MAX);
        assert_eq!(Id::parse(&text), Some(id));
    }
}
