//! The message by which a WebSocket client shows a token: `{"token": "..."}`, as its first one or
//! later, to go on when its old one ends.

use fanfare_identity::token::TOKEN_BYTES_MAX;
use serde::Deserialize;

/// What stands around the token, with room for blanks.
const AROUND_BYTES_MAX: usize = 64;
const BYTES_MAX: usize = TOKEN_BYTES_MAX + AROUND_BYTES_MAX;

/// A message of which some is here. It holds no more than one with a token may have.
#[derive(Default)]
pub struct TokenMessage {
    text: Vec<u8>,
    is_too_long: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Object<'a> {
    #[serde(borrow)]
    token: std::borrow::Cow<'a, str>,
}

impl TokenMessage {
    /// Nothing is here.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a piece, of which the `first` begins anew. Whether it may be one still.
    pub fn take(&mut self, first: bool, piece: &[u8]) -> bool {
        if first {
            self.clear();
        }
        self.is_too_long |= self.text.len() + piece.len() > BYTES_MAX;
        if self.is_too_long {
            self.text = Vec::new();
        } else {
            self.text.extend_from_slice(piece);
        }
        !self.is_too_long
    }

    /// The token of a message that is whole, if it has one and nothing else.
    pub fn token(&mut self) -> Option<Vec<u8>> {
        let text = std::mem::take(&mut self.text);
        if self.is_too_long {
            return None;
        }
        let object = serde_json::from_slice::<Object<'_>>(&text).ok()?;
        Some(object.token.into_owned().into_bytes())
    }

    /// Forgets what is here.
    pub fn clear(&mut self) {
        *self = Self::new();
    }

    /// Bytes of memory that it holds.
    pub fn memory(&self) -> usize {
        self.text.capacity()
    }
}

impl std::fmt::Debug for TokenMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenMessage(...)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: &[&str]) -> Option<String> {
        let mut message = TokenMessage::new();
        for (nth, piece) in pieces.iter().enumerate() {
            message.take(nth == 0, piece.as_bytes());
        }
        message.token().map(|token| String::from_utf8(token).unwrap())
    }

    #[test]
    fn a_token_comes_in_any_pieces_and_with_nothing_else() {
        let text = r#" {"token" : "a.b.c"} "#;
        for cut in 0..text.len() {
            assert_eq!(read(&[&text[..cut], &text[cut..]]).as_deref(), Some("a.b.c"));
        }
        for other in [
            "",
            "{}",
            "a.b.c",
            r#""a.b.c""#,
            r#"{"token":1}"#,
            r#"{"token":"a","token":"b"}"#,
            r#"{"token":"a","x":1}"#,
            r#"{"token":"a"}x"#,
            r#"{"Token":"a"}"#,
        ] {
            assert_eq!(read(&[other]), None, "{other}");
        }
    }

    #[test]
    fn it_holds_no_more_than_a_token_needs() {
        let mut message = TokenMessage::new();
        for nth in 0..1_000 {
            message.take(nth == 0, &[b'x'; 1_000]);
            assert!(message.memory() <= 2 * BYTES_MAX);
        }
        assert_eq!(message.token(), None);
        let token = "x".repeat(TOKEN_BYTES_MAX);
        assert_eq!(read(&[&format!("{{\"token\":\"{token}\"}}")]), Some(token));
    }
}
