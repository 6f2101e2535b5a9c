//! The body of the fuzz target `token`: nobody but the holder of a key makes a token that is
//! believed, and whatever a holder signs is either refused with one short line or is within bounds.
//!
//! `cargo test` replays `fuzz/corpus/token` through it.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{GRANTS_MAX, INFO_BYTES_MAX, TOKEN_BYTES_MAX};
use crate::keys::{Algorithm, JwkSet, Key, KeyPolicy, KeySet, KeySources, Verdict};
use crate::tenant::Tenant;

const NOW_S: u64 = 1_800_000_000;
const SECRET: &[u8] = b"a secret that no input of the fuzzer can know: 0123456789abcdef";

/// Judges `data` as a token, as the claims of one that is signed well, as the header of one, and as
/// a set of keys; panics where it matters. The first byte chooses.
pub fn token(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    let key = || Key::secret(Algorithm::Hs256, SECRET).expect("it is long enough");
    match kind % 4 {
        0 => assert!(!is_known(&set(key()), data), "nobody has signed it"),
        1 => {
            let Ok(claims) = std::str::from_utf8(data) else { return };
            let token = key().sign(Some("k"), claims).expect("it is a secret");
            is_known(&set(key()), token.as_bytes());
        }
        2 => {
            let parts = [data, br#"{"exp":1900000000}"#].map(|part| URL_SAFE_NO_PAD.encode(part));
            let token = format!("{}.{}", parts.join("."), URL_SAFE_NO_PAD.encode([0; 32]));
            assert!(!is_known(&set(key()), token.as_bytes()), "the signature is of zeros");
        }
        _ => {
            let Ok(keys) = JwkSet::read(data, None) else { return };
            assert!(!keys.is_empty(), "a set without keys is refused");
            let mut sources = KeySources::default();
            sources.add_set(&policy(), keys).expect("there is one tenant");
            is_known(&sources.snapshot(), b"eyJhbGciOiJFUzI1NiJ9.e30.AAAA");
        }
    }
}

fn policy() -> Arc<KeyPolicy> {
    Arc::new(KeyPolicy::new(Tenant::new("acme")))
}

fn set(key: Key) -> KeySet {
    let mut sources = KeySources::default();
    sources.add_key(&policy(), Some("k"), key).expect("there is one tenant");
    sources.snapshot()
}

/// Whether a token is believed; its bearer is within bounds then, and else the reason is.
fn is_known(set: &KeySet, token: &[u8]) -> bool {
    match set.verify(token, NOW_S) {
        Verdict::Known(identity) => {
            let named = identity.user.iter().map(|user| user.as_str());
            for name in named.chain(identity.token_id.as_deref()) {
                assert!((1..=255).contains(&name.len()) && !name.chars().any(char::is_control));
            }
            assert!(identity.expires_s.is_some_and(|end_s| end_s + 30 > NOW_S));
            assert!(identity.grants.iter().count() <= 2 * GRANTS_MAX);
            assert!(identity.follow.len() <= GRANTS_MAX);
            assert!(identity.info.is_none_or(|info| info.len() <= INFO_BYTES_MAX));
            assert!(token.len() <= TOKEN_BYTES_MAX);
            true
        }
        Verdict::Refused(refusal) => {
            let rule = refusal.rule();
            assert!(rule.len() < 300 && !rule.chars().any(char::is_control), "{rule}");
            false
        }
        Verdict::Pending(_) => panic!("there is no endpoint"),
    }
}
