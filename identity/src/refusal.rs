//! Why a token was not believed: a word for the client, a sentence for the log and the admin.

use std::borrow::Cow;

/// Words of a token are shown up to here.
const SHOWN_BYTES_MAX: usize = 64;

/// A token that was not believed. Nothing of it is repeated but its `alg`, `kid` and `iss`, escaped
/// and cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRefusal {
    code: Code,
    rule: Cow<'static, str>,
}

/// What the client is told: whether a new token helps, or waiting, or neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Code {
    Invalid,
    Expired,
    NoKeys,
}

impl TokenRefusal {
    /// A token that will never be good.
    pub(crate) fn invalid(rule: impl Into<Cow<'static, str>>) -> Self {
        Self { code: Code::Invalid, rule: rule.into() }
    }

    /// One that was good until its `exp`.
    pub(crate) fn expired(rule: impl Into<Cow<'static, str>>) -> Self {
        Self { code: Code::Expired, rule: rule.into() }
    }

    /// One that may be good: an endpoint that could have its key cannot be asked.
    pub(crate) fn no_keys(rule: impl Into<Cow<'static, str>>) -> Self {
        Self { code: Code::NoKeys, rule: rule.into() }
    }

    /// A stable word for the client: `token_expired`, `invalid_token`, or `keys_unavailable` where
    /// the same token may be good later because the endpoint of its keys does not answer now.
    pub fn code(&self) -> &'static str {
        match self.code {
            Code::Invalid => "invalid_token",
            Code::Expired => "token_expired",
            Code::NoKeys => "keys_unavailable",
        }
    }

    /// Whether a new token of the same kind would do.
    pub fn is_expired(&self) -> bool {
        self.code == Code::Expired
    }

    /// Whether the same token may be good later.
    pub fn is_want_of_keys(&self) -> bool {
        self.code == Code::NoKeys
    }

    /// What was wrong with it, for the log and the admin.
    pub fn rule(&self) -> &str {
        &self.rule
    }
}

/// A stranger's word as a log may show it: in quotes, escaped, cut.
pub(crate) fn quoted(word: &str) -> String {
    let mut shown = String::from("\"");
    for char in word.chars() {
        let escaped = char.escape_debug();
        if shown.len() + escaped.len() > SHOWN_BYTES_MAX {
            shown.push_str("\"...");
            return shown;
        }
        shown.extend(escaped);
    }
    shown.push('"');
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strangers_word_is_one_short_line() {
        assert_eq!(quoted("main"), "\"main\"");
        assert_eq!(quoted("a\r\n\0\u{1b}[31m\"b"), r#""a\r\n\0\u{1b}[31m\"b""#);
        for word in ["x".repeat(10_000), "\u{202e}".repeat(99), "é\0".repeat(64)] {
            let shown = quoted(&word);
            assert!(shown.len() < SHOWN_BYTES_MAX + 8, "{shown}");
            assert!(!shown.chars().any(char::is_control), "{shown}");
        }
    }

    #[test]
    fn each_code_says_what_helps() {
        let codes =
            [TokenRefusal::invalid("x"), TokenRefusal::expired("x"), TokenRefusal::no_keys("x")];
        assert_eq!(
            codes.map(|refusal| (refusal.code(), refusal.is_expired(), refusal.is_want_of_keys())),
            [
                ("invalid_token", false, false),
                ("token_expired", true, false),
                ("keys_unavailable", false, true)
            ]
        );
    }
}
