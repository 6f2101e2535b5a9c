//! Sets of public keys as identity providers publish them (RFC 7517).

use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse,
};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::algorithm::{Algorithm, Family};
use super::key::Key;

/// Bytes of a set.
pub const SET_BYTES_MAX: usize = 256 * 1024;
/// Keys of a set that could check a signature.
pub const SET_KEYS_MAX: usize = 64;

/// The keys of one set that can check signatures. Others (of unknown kinds, for encryption, secret
/// ones, too weak ones) are passed over: a provider may have them for others.
#[derive(Debug)]
pub struct JwkSet {
    pub(super) keys: Vec<NamedKey>,
    passed_over: usize,
}

/// A key and what tokens call it.
#[derive(Debug)]
pub(super) struct NamedKey {
    pub kid: Option<Box<str>>,
    pub key: Key,
}

impl JwkSet {
    /// Reads a set. `only` is the one algorithm that its keys are used for, if the configuration
    /// says one; else a key is for its `alg`, or that of its curve, and an RSA key that does not
    /// say is for RS256.
    ///
    /// # Errors
    /// A sentence: it is too large, no set, or has no key for any signature.
    pub fn read(json: &[u8], only: Option<Algorithm>) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Set<'j> {
            #[serde(borrow)]
            keys: Vec<&'j RawValue>,
        }
        if json.len() > SET_BYTES_MAX {
            return Err("a key set has at most 256 KiB".into());
        }
        let set: Set<'_> = serde_json::from_slice(json)
            .map_err(|_| "this is no key set: {\"keys\": [...]} in JSON is expected")?;
        let keys: Vec<_> = set.keys.iter().filter_map(|jwk| named_key(jwk.get(), only)).collect();
        if keys.len() > SET_KEYS_MAX {
            return Err(format!("the key set has {} keys: 64 are taken", keys.len()));
        }
        let passed_over = set.keys.len() - keys.len();
        if keys.is_empty() {
            let for_what = only.map_or("a signature".into(), |only| format!("{only}"));
            return Err(format!(
                "the key set has no key for {for_what} ({passed_over} of other kinds, uses or \
                 strengths)"
            ));
        }
        Ok(Self { keys, passed_over })
    }

    /// How many keys it has that are of use here.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Never: a set without a key is refused.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// How many keys were passed over.
    pub fn passed_over(&self) -> usize {
        self.passed_over
    }
}

/// The key that a member of a set is, if it is one that checks signatures.
fn named_key(json: &str, only: Option<Algorithm>) -> Option<NamedKey> {
    let jwk: Jwk = serde_json::from_str(json).ok()?;
    let common = &jwk.common;
    let signs = common.public_key_use.as_ref().is_none_or(|is| *is == PublicKeyUse::Signature);
    let operations = common.key_operations.as_ref();
    let verifies = operations.is_none_or(|all| all.contains(&KeyOperations::Verify));
    if !signs || !verifies {
        return None;
    }
    let algorithm = algorithm_of(&jwk, only)?;
    let key = Key::public(algorithm, &DecodingKey::from_jwk(&jwk).ok()?).ok()?;
    Some(NamedKey { kid: jwk.common.key_id.as_deref().map(Box::from), key })
}

/// What a key of a set is for.
fn algorithm_of(jwk: &Jwk, only: Option<Algorithm>) -> Option<Algorithm> {
    let family = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Family::Rsa,
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => Family::P256,
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P384 => Family::P384,
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            Family::Ed25519
        }
        // A secret (`oct`) that is published is none.
        _ => return None,
    };
    let algorithm = match (said(jwk)?, only) {
        (Some(said), _) => said,
        (None, Some(only)) => only,
        (None, None) => match family {
            Family::Rsa => Algorithm::Rs256,
            Family::P256 => Algorithm::Es256,
            Family::P384 => Algorithm::Es384,
            Family::Ed25519 => Algorithm::EdDsa,
            Family::Hmac => return None,
        },
    };
    (algorithm.family() == family && only.is_none_or(|only| only == algorithm)).then_some(algorithm)
}

/// The algorithm that a key names, if any: `None` where it names one that there is not here.
fn said(jwk: &Jwk) -> Option<Option<Algorithm>> {
    match jwk.common.key_algorithm {
        None => Some(None),
        Some(KeyAlgorithm::UNKNOWN_ALGORITHM) => None,
        Some(other) => Algorithm::parse(&format!("{other:?}")).map(Some),
    }
}
