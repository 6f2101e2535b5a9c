//! Makes tokens, good and bad ones, by keys of every kind. What signs here is ring's other half:
//! tokens of other libraries are in `engine/tests`.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use fanfare_identity::keys::{Algorithm, Key, KeyPolicy, KeySet, KeySources, Verdict};
use fanfare_identity::{Identity, Tenant, TokenRefusal};
use ring::rand::SystemRandom;
use ring::{hmac, signature};
use serde_json::{Value, json};

/// When tests take place, in seconds since 1970.
pub const NOW_S: u64 = 1_800_000_000;
pub const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

pub const RSA_PUBLIC: &str = include_str!("../keys/rsa.pub.pem");
pub const P256_PUBLIC: &str = include_str!("../keys/p256.pub.pem");
pub const P384_PUBLIC: &str = include_str!("../keys/p384.pub.pem");
pub const ED25519_PUBLIC: &str = include_str!("../keys/ed25519.pub.pem");

/// The header that a token of this algorithm has, whose key is called `k1`.
pub fn header(algorithm: Algorithm) -> Value {
    json!({ "alg": algorithm.as_str(), "typ": "JWT", "kid": "k1" })
}

/// Claims that are good for an hour.
pub fn claims() -> Value {
    json!({ "sub": "ada", "exp": NOW_S + 3_600, "channels": ["room:*"] })
}

/// A good token.
pub fn token(algorithm: Algorithm) -> String {
    compact(algorithm, &header(algorithm).to_string(), &claims().to_string())
}

/// A token of this header and these claims, whatever they say, signed by our key for `algorithm`.
pub fn compact(algorithm: Algorithm, header: &str, claims: &str) -> String {
    let signed = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
    let signature = sign(algorithm, signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// Claims, signed by HS256.
pub fn with_claims(claims: &Value) -> String {
    with_claims_text(&claims.to_string())
}

/// The same, as text.
pub fn with_claims_text(claims: &str) -> String {
    compact(Algorithm::Hs256, &header(Algorithm::Hs256).to_string(), claims)
}

/// A header, signed by HS256 over good claims.
pub fn with_header(header: &str) -> String {
    compact(Algorithm::Hs256, header, &claims().to_string())
}

/// The signature of our key for `algorithm`.
pub fn sign(algorithm: Algorithm, message: &[u8]) -> Vec<u8> {
    let rsa = |padding: &'static dyn signature::RsaEncoding| {
        let key = signature::RsaKeyPair::from_pkcs8(&der(include_str!("../keys/rsa.pem"))).unwrap();
        let mut signature = vec![0; key.public().modulus_len()];
        key.sign(padding, &SystemRandom::new(), message, &mut signature).unwrap();
        signature
    };
    let ecdsa = |curve, pem| {
        let random = SystemRandom::new();
        let key = signature::EcdsaKeyPair::from_pkcs8(curve, &der(pem), &random).unwrap();
        key.sign(&random, message).unwrap().as_ref().to_vec()
    };
    match algorithm {
        Algorithm::Hs256 => hmac_of(hmac::HMAC_SHA256, SECRET, message),
        Algorithm::Hs384 => hmac_of(hmac::HMAC_SHA384, SECRET, message),
        Algorithm::Hs512 => hmac_of(hmac::HMAC_SHA512, SECRET, message),
        Algorithm::Rs256 => rsa(&signature::RSA_PKCS1_SHA256),
        Algorithm::Rs384 => rsa(&signature::RSA_PKCS1_SHA384),
        Algorithm::Rs512 => rsa(&signature::RSA_PKCS1_SHA512),
        Algorithm::Ps256 => rsa(&signature::RSA_PSS_SHA256),
        Algorithm::Ps384 => rsa(&signature::RSA_PSS_SHA384),
        Algorithm::Ps512 => rsa(&signature::RSA_PSS_SHA512),
        Algorithm::Es256 => {
            ecdsa(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, include_str!("../keys/p256.pem"))
        }
        Algorithm::Es384 => {
            ecdsa(&signature::ECDSA_P384_SHA384_FIXED_SIGNING, include_str!("../keys/p384.pem"))
        }
        Algorithm::EdDsa => {
            let der = der(include_str!("../keys/ed25519.pem"));
            let key = signature::Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).unwrap();
            key.sign(message).as_ref().to_vec()
        }
    }
}

/// An HMAC by any bytes as its key.
pub fn hmac_of(hash: hmac::Algorithm, key: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hash, key), message).as_ref().to_vec()
}

/// What a PEM file has between its lines.
pub fn der(pem: &str) -> Vec<u8> {
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    STANDARD.decode(body).unwrap()
}

/// Our key for an algorithm, as the configuration would give it.
pub fn key(algorithm: Algorithm) -> Key {
    let pem = match algorithm {
        algorithm if algorithm.is_symmetric() => return Key::secret(algorithm, SECRET).unwrap(),
        Algorithm::Es256 => P256_PUBLIC,
        Algorithm::Es384 => P384_PUBLIC,
        Algorithm::EdDsa => ED25519_PUBLIC,
        _ => RSA_PUBLIC,
    };
    Key::pem(algorithm, pem.as_bytes()).unwrap()
}

/// A policy that asks for nothing but an end.
pub fn policy() -> Arc<KeyPolicy> {
    Arc::new(KeyPolicy::new(Tenant::new("acme")))
}

/// A set with one key, called `k1`.
pub fn set(algorithm: Algorithm) -> KeySet {
    set_with(algorithm, &policy())
}

/// The same by another policy.
pub fn set_with(algorithm: Algorithm, policy: &Arc<KeyPolicy>) -> KeySet {
    let mut sources = KeySources::default();
    sources.add_key(policy, Some("k1"), key(algorithm)).unwrap();
    sources.snapshot()
}

/// Whom a token makes its bearer.
#[track_caller]
pub fn known(set: &KeySet, token: &str) -> Identity {
    match set.verify(token.as_bytes(), NOW_S) {
        Verdict::Known(identity) => *identity,
        other => panic!("{other:?}"),
    }
}

/// Why a token is refused.
#[track_caller]
pub fn refused(set: &KeySet, token: &[u8]) -> TokenRefusal {
    match set.verify(token, NOW_S) {
        Verdict::Refused(refusal) => refusal,
        other => panic!("{other:?} of {}", String::from_utf8_lossy(token)),
    }
}

/// That a token with these claims, signed well, is refused by a rule that says `words`.
#[track_caller]
pub fn refuses_claims(claims: &str, words: &str) {
    let refusal = refused(&set(Algorithm::Hs256), with_claims_text(claims).as_bytes());
    assert_eq!(refusal.code(), "invalid_token", "{claims}");
    assert!(refusal.rule().contains(words), "{claims}: {}", refusal.rule());
}
