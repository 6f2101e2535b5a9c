//! 10,000 tokens that are nearly good: none is believed.
//!
//! Each is a good one with one change, of a class by turns and otherwise by chance. A change that
//! gives the same bytes again is no change and does not count.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use fanfare_identity::keys::{Algorithm, KeySet, Verdict};
use serde_json::{Value, json};

use super::support::*;

const MUTANTS: usize = 10_000;

/// A seeded sequence (splitmix64), so that a failure is one again.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) % end as u64) as usize
    }
}

type Class = fn(&str, &mut Chance) -> Vec<u8>;

const CLASSES: [Class; 13] = [
    flip_bit,
    set_byte,
    swap_bytes,
    remove_byte,
    insert_byte,
    cut,
    repeat,
    swap_parts,
    edit_header,
    edit_claims,
    flip_decoded,
    spell_otherwise,
    forge_signature,
];

#[test]
fn j1_to_j11_no_mutant_is_believed() {
    let mut chance = Chance(42);
    let sets = Algorithm::ALL.map(set);
    let tokens = Algorithm::ALL.map(token);
    let (mut tried, mut of_class) = (0, [0; CLASSES.len()]);
    for number in 0.. {
        let (place, class) = (number % tokens.len(), chance.below(CLASSES.len()));
        let mutant = CLASSES[class](&tokens[place], &mut chance);
        if mutant == tokens[place].as_bytes() {
            continue;
        }
        is_refused(&sets, &mutant);
        (tried, of_class[class]) = (tried + 1, of_class[class] + 1);
        if tried == MUTANTS {
            break;
        }
    }
    assert!(of_class.iter().all(|count| *count > MUTANTS / 50), "{of_class:?}");
}

/// By the set whose key signed the original, and by all others.
fn is_refused(sets: &[KeySet], mutant: &[u8]) {
    for set in sets {
        let verdict = set.verify(mutant, NOW_S);
        let shown = String::from_utf8_lossy(mutant);
        assert!(matches!(verdict, Verdict::Refused(_)), "{verdict:?} of {shown}");
    }
}

fn flip_bit(token: &str, chance: &mut Chance) -> Vec<u8> {
    let mut bytes = token.as_bytes().to_vec();
    let place = chance.below(bytes.len());
    bytes[place] ^= 1 << chance.below(8);
    bytes
}

fn set_byte(token: &str, chance: &mut Chance) -> Vec<u8> {
    let mut bytes = token.as_bytes().to_vec();
    let place = chance.below(bytes.len());
    bytes[place] = chance.below(256) as u8;
    bytes
}

fn swap_bytes(token: &str, chance: &mut Chance) -> Vec<u8> {
    let mut bytes = token.as_bytes().to_vec();
    let (one, other) = (chance.below(bytes.len()), chance.below(bytes.len()));
    bytes.swap(one, other);
    bytes
}

fn remove_byte(token: &str, chance: &mut Chance) -> Vec<u8> {
    let mut bytes = token.as_bytes().to_vec();
    bytes.remove(chance.below(bytes.len()));
    bytes
}

fn insert_byte(token: &str, chance: &mut Chance) -> Vec<u8> {
    let mut bytes = token.as_bytes().to_vec();
    let byte = b"Aa0-_.=+/ \n\0%"[chance.below(13)];
    bytes.insert(chance.below(token.len() + 1), byte);
    bytes
}

fn cut(token: &str, chance: &mut Chance) -> Vec<u8> {
    token.as_bytes()[..chance.below(token.len())].to_vec()
}

fn repeat(token: &str, chance: &mut Chance) -> Vec<u8> {
    let start = chance.below(token.len());
    let end = start + 1 + chance.below(token.len() - start);
    [&token[..end], &token[start..]].concat().into_bytes()
}

/// Parts in another order, twice, or of another good token.
fn swap_parts(token: &str, chance: &mut Chance) -> Vec<u8> {
    let mut parts: Vec<&str> = token.split('.').collect();
    let other = super::support::token(Algorithm::ALL[chance.below(Algorithm::ALL.len())]);
    let others: Vec<&str> = other.split('.').collect();
    match chance.below(3) {
        0 => parts.swap(chance.below(3), chance.below(3)),
        1 => {
            let (to, from) = (chance.below(3), chance.below(3));
            parts[to] = parts[from];
        }
        _ => {
            // A good token of another key in one piece is no mutant.
            let place = chance.below(2);
            parts[place] = others[place];
            parts[2] = others[2];
            if parts == others {
                parts[2] = "AAAA";
            }
        }
    }
    parts.join(".").into_bytes()
}

fn edit_header(token: &str, chance: &mut Chance) -> Vec<u8> {
    let algorithms = ["none", "None", "HS256", "HS384", "RS256", "PS256", "ES256", "EdDSA", ""];
    let values = [json!(null), json!(1), json!([]), json!("k2"), json!(true), json!("k1\0")];
    edit(token, 0, |header| match chance.below(3) {
        0 => header["alg"] = algorithms[chance.below(algorithms.len())].into(),
        1 => header["kid"] = values[chance.below(values.len())].clone(),
        _ => {
            let name = ["crit", "zip", "jku", "jwk", "x5u", "enc", "typ"][chance.below(7)];
            header[name] = values[chance.below(values.len())].clone();
        }
    })
}

fn edit_claims(token: &str, chance: &mut Chance) -> Vec<u8> {
    let names = ["sub", "exp", "channels", "aud", "iss", "nbf", "iat", "follow", "info", "x"];
    let values = [json!("root"), json!(NOW_S + 9_999), json!(["**"]), json!(null), json!(0)];
    edit(token, 1, |claims| {
        claims[names[chance.below(names.len())]] = values[chance.below(values.len())].clone();
    })
}

/// One part as JSON, changed, under the old signature.
fn edit(token: &str, part: usize, change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    let mut json = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(&parts[part]).unwrap()).unwrap();
    change(&mut json);
    parts[part] = URL_SAFE_NO_PAD.encode(json.to_string());
    parts.join(".").into_bytes()
}

/// One bit of what a part says, in base64url again.
fn flip_decoded(token: &str, chance: &mut Chance) -> Vec<u8> {
    let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    let part = chance.below(3);
    let mut bytes = URL_SAFE_NO_PAD.decode(&parts[part]).unwrap();
    let place = chance.below(bytes.len());
    bytes[place] ^= 1 << chance.below(8);
    parts[part] = URL_SAFE_NO_PAD.encode(bytes);
    parts.join(".").into_bytes()
}

/// The same bytes in another base64, or with white space.
fn spell_otherwise(token: &str, chance: &mut Chance) -> Vec<u8> {
    let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    let part = chance.below(3);
    let bytes = URL_SAFE_NO_PAD.decode(&parts[part]).unwrap();
    parts[part] = match chance.below(4) {
        0 => STANDARD.encode(bytes),
        1 => URL_SAFE.encode(bytes),
        2 => format!("{}\n", parts[part]),
        _ => format!(" {}", parts[part]),
    };
    parts.join(".").into_bytes()
}

/// A signature of the right length by nobody, or by a key that everybody knows.
fn forge_signature(token: &str, chance: &mut Chance) -> Vec<u8> {
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let length = URL_SAFE_NO_PAD.decode(signature).unwrap().len();
    let forged = match chance.below(4) {
        0 => vec![0; length],
        1 => vec![0xff; length],
        2 => (0..length).map(|_| chance.below(256) as u8).collect(),
        _ => {
            let secret = [RSA_PUBLIC, P256_PUBLIC, ED25519_PUBLIC, ""][chance.below(4)];
            hmac_of(ring::hmac::HMAC_SHA256, secret.as_bytes(), signed.as_bytes())
        }
    };
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(forged)).into_bytes()
}
