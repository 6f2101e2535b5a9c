//! Keys of backends: what each may do, and for which tenant.
//!
//! A key is made by [`MadeKey::of`] (`fanfare api-key`) out of 256 random bits:
//! `ff_<id>_<secret>`. The configuration holds its hash alone, `sha256:<id>:<hex>`, which is of no
//! use to whoever reads it: a plain SHA-256, since nobody guesses 256 bits, and since a slow hash
//! would cost every request what it costs a thief. Such a hash of a word that somebody chose would
//! be guessed in a second, which is why words cannot be hashed here. One plain key, as
//! configurations had it before, may do everything for the tenant that there always is.
//!
//! Several keys of one tenant are for rotation: the new one is added, backends take it, the old one
//! is removed.

use std::collections::HashMap;
use std::fmt;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::tenant::Tenant;

/// Random bytes of a key: those of its id, then those of its secret.
pub const API_KEY_RANDOM_BYTES: usize = ID_BYTES + SECRET_BYTES;
const ID_BYTES: usize = 6;
const SECRET_BYTES: usize = 32;
/// What each key begins with, so that scanners for secrets know one.
const PREFIX: &str = "ff_";
/// What each hash begins with.
const HASH: &str = "sha256:";
/// No key is longer; nothing longer is hashed.
const KEY_BYTES_MAX: usize = 512;

/// A kind of request that a key may be good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Publish to channels.
    Publish,
    /// Read channels: numbers, history, presence, lists.
    Read,
    /// See connections, send to them, close them.
    Connections,
    /// Make tickets, revoke tokens, explain decisions.
    Tokens,
    /// Read the node's metrics, which are of all tenants.
    Metrics,
    /// Have the configuration read again.
    Reload,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Publish, Self::Read, Self::Connections, Self::Tokens, Self::Metrics, Self::Reload];

    /// Its name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Read => "read",
            Self::Connections => "connections",
            Self::Tokens => "tokens",
            Self::Metrics => "metrics",
            Self::Reload => "reload",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of actions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Actions(u8);

impl Actions {
    /// None at all.
    pub const NONE: Self = Self(0);
    /// Every one.
    pub const ALL: Self = Self((1 << Action::ALL.len()) - 1);

    /// These and one more.
    #[must_use]
    pub const fn with(self, action: Action) -> Self {
        Self(self.0 | 1 << action as u8)
    }

    /// Those of both.
    #[must_use]
    pub const fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Whether this action is among them.
    pub const fn has(self, action: Action) -> bool {
        self.0 & 1 << action as u8 != 0
    }

    /// What this word of the configuration names: an action, or `all`.
    ///
    /// # Errors
    /// A sentence with the words that there are.
    pub fn parse(word: &str) -> Result<Self, String> {
        if word == "all" {
            return Ok(Self::ALL);
        }
        let found = Action::ALL.into_iter().find(|action| action.as_str() == word);
        found.map(|action| Self::NONE.with(action)).ok_or_else(|| {
            let words = Action::ALL.map(Action::as_str).join("\", \"");
            format!("\"{word}\" is not an action: there are \"{words}\" and \"all\"")
        })
    }

    /// Their names, or `all`.
    pub fn words(self) -> Vec<&'static str> {
        if self == Self::ALL {
            return vec!["all"];
        }
        Action::ALL.into_iter().filter(|one| self.has(*one)).map(Action::as_str).collect()
    }
}

/// The hash of a key, as the configuration holds it.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKeyHash {
    /// The id that the key itself says, by which logs name it; empty for a key in plain words.
    id: Box<str>,
    digest: [u8; 32],
}

impl ApiKeyHash {
    /// Reads `sha256:<id>:<64 hexadecimal digits>`.
    ///
    /// # Errors
    /// A sentence about what is wrong with it, which never holds it: it may be the key itself.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with(PREFIX) {
            return Err(
                "this is the key itself, which backends send; here stands its hash, which \
                        `fanfare api-key` prints beside it (and make a new one: this one has been \
                        written down)"
                    .into(),
            );
        }
        let parts = text.strip_prefix(HASH).and_then(|rest| rest.split_once(':'));
        let found = parts.and_then(|(id, hex)| Some((is_id(id).then_some(id)?, unhex(hex)?)));
        let (id, digest) = found.ok_or(
            "this is not the hash of a key: it is \"sha256:ID:HEX\", as `fanfare api-key` prints \
             it",
        )?;
        Ok(Self { id: id.into(), digest })
    }

    /// That of a key in plain words.
    pub fn of_plain(key: &str) -> Self {
        Self { id: Box::default(), digest: digest(key.as_bytes()) }
    }

    /// The id of the key; empty for one in plain words.
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl fmt::Display for ApiKeyHash {
    /// As [`ApiKeyHash::parse`] reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{HASH}{}:{}", self.id, hex(&self.digest))
    }
}

impl fmt::Debug for ApiKeyHash {
    /// Without the digest: of a key in plain words it is nearly the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKeyHash({})", self.id)
    }
}

/// A new key: told once, and never kept.
pub struct MadeKey {
    /// What a backend sends.
    pub key: String,
    /// What the configuration holds.
    pub hash: ApiKeyHash,
}

impl MadeKey {
    /// The key of these random bytes, which must be the kernel's.
    pub fn of(random: &[u8; API_KEY_RANDOM_BYTES]) -> Self {
        let (id, secret) = random.split_at(ID_BYTES);
        let id = hex(id);
        let key = format!("{PREFIX}{id}_{}", BASE64_URL_SAFE_NO_PAD.encode(secret));
        let digest = digest(key.as_bytes());
        Self { key, hash: ApiKeyHash { id: id.into(), digest } }
    }
}

/// A key of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// Whose channels a request with it is about.
    pub tenant: Tenant,
    /// What such a request may do.
    pub actions: Actions,
    /// By what it is known again.
    pub hash: ApiKeyHash,
    /// Where it stands: `fanfare.toml:12`.
    pub place: Box<str>,
}

/// All keys of a node.
#[derive(Clone, Debug, Default)]
pub struct ApiKeys {
    by_id: HashMap<Box<str>, Vec<ApiKey>>,
    count: usize,
}

impl ApiKeys {
    /// These.
    pub fn new(keys: impl IntoIterator<Item = ApiKey>) -> Self {
        let mut all = Self::default();
        for key in keys {
            all.by_id.entry(key.hash.id.clone()).or_default().push(key);
            all.count += 1;
        }
        all
    }

    /// Whether there is none, so that nobody is asked for one.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &ApiKey> {
        self.by_id.values().flatten()
    }

    /// The one that was sent. An id is no secret, so it may be looked up; what is secret is
    /// compared in constant time, and by its hash.
    pub fn find(&self, sent: &[u8]) -> Option<&ApiKey> {
        if self.is_empty() || sent.len() > KEY_BYTES_MAX {
            return None;
        }
        let digest = digest(sent);
        let made = id_of(sent).and_then(|id| self.by_id.get(id));
        let plain = self.by_id.get("");
        let mut candidates = made.into_iter().chain(plain).flatten();
        candidates.find(|key| bool::from(key.hash.digest.ct_eq(&digest)))
    }
}

/// The id that a made key says.
fn id_of(sent: &[u8]) -> Option<&str> {
    let rest = std::str::from_utf8(sent).ok()?.strip_prefix(PREFIX)?;
    rest.split_once('_').map(|(id, _)| id).filter(|id| is_id(id))
}

fn is_id(text: &str) -> bool {
    text.len() == 2 * ID_BYTES && text.bytes().all(is_digit)
}

/// Lower case alone: one text for one number.
fn is_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

fn digest(key: &[u8]) -> [u8; 32] {
    Sha256::digest(key).into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes all");
        text
    })
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(is_digit) {
        return None;
    }
    let mut bytes = [0; 32];
    for (nth, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * nth..2 * nth + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(seed: u8) -> MadeKey {
        MadeKey::of(&std::array::from_fn(|nth| seed.wrapping_add(nth as u8)))
    }

    fn key(tenant: &str, hash: ApiKeyHash, actions: Actions) -> ApiKey {
        ApiKey { tenant: Tenant::new(tenant), actions, hash, place: "f:1".into() }
    }

    #[test]
    fn a_made_key_is_found_by_its_hash() {
        let (first, second) = (made(1), made(100));
        assert!(
            first.key.starts_with("ff_010203040506_") && first.key.len() == 59,
            "{}",
            first.key
        );
        let read = ApiKeyHash::parse(&first.hash.to_string()).unwrap();
        assert_eq!(read, first.hash);
        let publish = Actions::NONE.with(Action::Publish);
        let keys = ApiKeys::new([
            key("a", read, publish),
            key("b", second.hash, Actions::ALL),
            key("default", ApiKeyHash::of_plain("0123456789abcdef"), Actions::ALL),
        ]);
        let found = keys.find(first.key.as_bytes()).unwrap();
        assert_eq!((found.tenant.as_str(), found.actions), ("a", publish));
        assert_eq!(keys.find(second.key.as_bytes()).unwrap().tenant.as_str(), "b");
        assert!(keys.find(b"0123456789abcdef").unwrap().tenant.is_default());
        assert_eq!(keys.iter().count(), 3);
    }

    /// That it is SHA-256 of the whole key, by a value that `sha256sum` gives.
    #[test]
    fn the_hash_is_what_sha256sum_prints() {
        let made = MadeKey::of(&[0; API_KEY_RANDOM_BYTES]);
        assert_eq!(made.key, format!("ff_000000000000_{}", "A".repeat(43)));
        assert_eq!(
            made.hash.to_string(),
            "sha256:000000000000:814f3d964ea5cb3c8e7ab1e4d630da266716fe383b51b68084a7214f619017a5"
        );
    }

    #[test]
    fn what_is_nearly_a_key_is_none() {
        let made = made(1);
        let keys = ApiKeys::new([key("a", made.hash.clone(), Actions::ALL)]);
        let mut other_secret = made.key.clone();
        other_secret.replace_range(20..21, if &made.key[20..21] == "A" { "B" } else { "A" });
        let longer = format!("{} ", made.key);
        let huge = "x".repeat(100_000);
        let hash = made.hash.to_string();
        let wrong = ["", "ff_", "ff_010203040506_", &made.key[3..], &longer, &other_secret, &huge];
        for wrong in wrong.into_iter().chain([&*hash, &made.key.to_uppercase()]) {
            assert!(keys.find(wrong.as_bytes()).is_none(), "{wrong}");
        }
        assert!(keys.find(b"ff_\xff\xfe_x").is_none());
        assert!(ApiKeys::default().find(made.key.as_bytes()).is_none());
    }

    #[test]
    fn a_hash_is_written_in_one_way_and_a_key_is_no_hash() {
        let made = made(7);
        let hash = made.hash.to_string();
        let upper = hash.to_uppercase();
        for wrong in ["", "sha256:", &hash[..hash.len() - 1], &upper, "md5:x:y", &hash[7..]] {
            assert!(ApiKeyHash::parse(wrong).is_err(), "{wrong}");
        }
        let what = ApiKeyHash::parse(&made.key).unwrap_err();
        assert!(what.contains("the key itself") && !what.contains(&made.key), "{what}");
    }

    #[test]
    fn nothing_shows_a_digest_or_a_secret() {
        let made = made(7);
        let shown = format!("{:?}", key("a", made.hash.clone(), Actions::ALL));
        let hash = made.hash.to_string();
        let digest = &hash[hash.len() - 64..];
        assert!(!shown.contains(digest) && !shown.contains(&made.key), "{shown}");
    }

    #[test]
    fn actions_have_names_and_bits_of_their_own() {
        for action in Action::ALL {
            let one = Actions::NONE.with(action);
            assert_eq!(Actions::parse(action.as_str()), Ok(one));
            assert_eq!(one.words(), [action.as_str()]);
            assert!(Actions::ALL.has(action) && !Actions::NONE.has(action));
            assert_eq!(Action::ALL.iter().filter(|other| one.has(**other)).count(), 1);
        }
        assert_eq!(Actions::parse("all"), Ok(Actions::ALL));
        assert_eq!(Actions::ALL.words(), ["all"]);
        assert!(Actions::parse("Publish").unwrap_err().contains("\"publish\""));
    }
}
