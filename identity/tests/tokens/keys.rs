//! Keys as the configuration gives them, and which of them a token can be signed by.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fanfare_identity::Tenant;
use fanfare_identity::keys::{Algorithm, JwkSet, Key, KeyPolicy, KeySources};
use serde_json::{Value, json};

use super::support::*;

/// The public keys of the tests as a provider would publish them.
pub fn jwks() -> Value {
    json!({ "keys": [rsa_jwk(), ec_jwk("P-256", P256_PUBLIC), ed_jwk()] })
}

/// A point stands at the end of its SPKI.
pub fn ec_jwk(curve: &str, pem: &str) -> Value {
    let der = der(pem);
    let width = if curve == "P-256" { 32 } else { 48 };
    let (x, y) = der[der.len() - 2 * width..].split_at(width);
    let [x, y] = [x, y].map(|number| URL_SAFE_NO_PAD.encode(number));
    json!({ "kty": "EC", "crv": curve, "x": x, "y": y, "kid": "ec1" })
}

pub fn ed_jwk() -> Value {
    let der = der(ED25519_PUBLIC);
    let x = URL_SAFE_NO_PAD.encode(&der[der.len() - 32..]);
    json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": "ed1" })
}

/// A modulus of 256 bytes stands 5 bytes before the end: its exponent is 65537.
pub fn rsa_jwk() -> Value {
    let der = der(RSA_PUBLIC);
    let n = URL_SAFE_NO_PAD.encode(&der[der.len() - 261..der.len() - 5]);
    json!({ "kty": "RSA", "n": n, "e": "AQAB", "kid": "rsa1", "use": "sig" })
}

fn named(algorithm: Algorithm, kid: Option<&str>) -> String {
    let mut header = json!({ "alg": algorithm.as_str() });
    if let Some(kid) = kid {
        header["kid"] = kid.into();
    }
    compact(algorithm, &header.to_string(), &claims().to_string())
}

#[test]
fn j9_signatures_have_the_one_form_of_their_algorithm() {
    for (algorithm, bytes) in [(Algorithm::Es256, 64), (Algorithm::Es384, 96)] {
        let good = token(algorithm);
        let (signed, signature) = good.rsplit_once('.').unwrap();
        let raw = URL_SAFE_NO_PAD.decode(signature).unwrap();
        assert_eq!(raw.len(), bytes);
        let longer = [&raw[..], &[0]].concat();
        let empty_halves = vec![0; bytes];
        let mut half_zero = raw.clone();
        half_zero[..bytes / 2].fill(0);
        let all_ones = vec![0xff; bytes];
        let der = asn1(&raw);
        for forged in
            [&raw[1..], &raw[..bytes - 1], &longer, &empty_halves, &half_zero, &all_ones, &der]
        {
            let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(forged));
            refused(&set(algorithm), token.as_bytes());
        }
    }
}

/// r and s as other protocols write them.
fn asn1(raw: &[u8]) -> Vec<u8> {
    let integer = |half: &[u8]| {
        let mut bytes = half.to_vec();
        if bytes[0] >= 0x80 {
            bytes.insert(0, 0);
        }
        [&[2, bytes.len() as u8], &bytes[..]].concat()
    };
    let (r, s) = raw.split_at(raw.len() / 2);
    let both = [integer(r), integer(s)].concat();
    [&[0x30, both.len() as u8], &both[..]].concat()
}

#[test]
fn j9_the_second_half_of_an_ed25519_signature_is_below_the_order() {
    let good = token(Algorithm::EdDsa);
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let mut raw = URL_SAFE_NO_PAD.decode(signature).unwrap();
    // The order of the group, little-endian (RFC 8032, section 5.1): s and s + order sign alike.
    let order = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10u8,
    ];
    let mut carry = 0u16;
    for (byte, more) in raw[32..].iter_mut().zip(order) {
        carry += u16::from(*byte) + u16::from(more);
        *byte = carry as u8;
        carry >>= 8;
    }
    let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(raw));
    refused(&set(Algorithm::EdDsa), token.as_bytes());
}

#[test]
fn j9_keys_that_are_too_short_or_none_are_refused() {
    let short = Key::pem(Algorithm::Rs256, include_bytes!("../keys/rsa1024.pub.pem")).unwrap_err();
    assert_eq!(short, "the RSA key has 1024 bits: 2,048 to 8,192 are taken");
    let of_one = |change: fn(&mut Value)| {
        let mut jwk = rsa_jwk();
        change(&mut jwk);
        JwkSet::read(json!({ "keys": [jwk] }).to_string().as_bytes(), None)
    };
    assert_eq!(of_one(|_| ()).unwrap().len(), 1);
    for exponent in ["AQ", "Ag", "", "AAAB", "AQAAAAAAAAAB"] {
        let jwk = |jwk: &mut Value| jwk["e"] = exponent.into();
        let mut with = rsa_jwk();
        jwk(&mut with);
        let set = json!({ "keys": [with] }).to_string();
        assert!(JwkSet::read(set.as_bytes(), None).is_err(), "{exponent}");
    }
    assert!(of_one(|jwk| jwk["n"] = "AQAB".into()).is_err());
}

#[test]
fn j20_a_secret_cannot_be_guessed() {
    for secret in ["", "tiger", &"x".repeat(31)] {
        let refusal = Key::secret(Algorithm::Hs256, secret.as_bytes()).unwrap_err();
        assert!(refusal.contains("could be guessed") && refusal.contains("openssl rand"));
        assert!(secret.is_empty() || !refusal.contains(secret));
    }
    Key::secret(Algorithm::Hs512, &[7; 32]).unwrap();
    for algorithm in Algorithm::ALL.into_iter().filter(|algorithm| !algorithm.is_symmetric()) {
        assert!(Key::secret(algorithm, SECRET).unwrap_err().contains("public key"));
    }
}

#[test]
fn a_public_key_is_read_from_each_form_of_pem() {
    let forms =
        [include_str!("../keys/rsa.pkcs1.pem"), include_str!("../keys/rsa.cert.pem"), RSA_PUBLIC];
    for pem in forms {
        let mut sources = KeySources::default();
        let key = Key::pem(Algorithm::Rs256, pem.as_bytes()).unwrap();
        sources.add_key(&policy(), None, key).unwrap();
        known(&sources.snapshot(), &token(Algorithm::Rs256));
    }
    for pem in [include_str!("../keys/rsa.pem"), include_str!("../keys/p256.pem")] {
        for algorithm in [Algorithm::Rs256, Algorithm::Es256] {
            assert!(Key::pem(algorithm, pem.as_bytes()).unwrap_err().contains("a private key"));
        }
    }
    let wrong = [
        (Algorithm::Es256, RSA_PUBLIC),
        (Algorithm::Rs256, P256_PUBLIC),
        (Algorithm::Es384, P256_PUBLIC),
        (Algorithm::EdDsa, P256_PUBLIC),
        (Algorithm::Es256, ED25519_PUBLIC),
        (Algorithm::Es256, include_str!("../keys/k256.pub.pem")),
        (Algorithm::Hs256, RSA_PUBLIC),
        (Algorithm::Rs256, ""),
        (Algorithm::Rs256, "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"),
    ];
    for (algorithm, pem) in wrong {
        assert!(Key::pem(algorithm, pem.as_bytes()).is_err(), "{algorithm} {pem}");
    }
}

#[test]
fn a_set_of_keys_is_read_for_what_it_is_of_use() {
    let read = |keys: Value, only| {
        JwkSet::read(json!({ "keys": keys }).to_string().as_bytes(), only)
            .map(|set| (set.len(), set.passed_over()))
    };
    assert_eq!(read(jwks()["keys"].clone(), None), Ok((3, 0)));
    assert_eq!(read(jwks()["keys"].clone(), Some(Algorithm::Es256)), Ok((1, 2)));
    assert_eq!(read(jwks()["keys"].clone(), Some(Algorithm::Ps256)), Ok((1, 2)));
    assert!(
        read(jwks()["keys"].clone(), Some(Algorithm::Es384)).unwrap_err().contains("for ES384")
    );
    let with = |name: &str, value: Value| {
        let mut jwk = rsa_jwk();
        jwk[name] = value;
        read(json!([jwk]), None).is_ok()
    };
    assert!(with("alg", json!("RS512")) && with("alg", json!("PS256")));
    for alg in ["ES256", "HS256", "RSA-OAEP", "none", "XY1"] {
        assert!(!with("alg", json!(alg)), "{alg}");
    }
    assert!(with("key_ops", json!(["verify"])) && !with("key_ops", json!(["encrypt"])));
    assert!(!with("use", json!("enc")) && !with("key_ops", json!([])) && !with("kid", json!(7)));
    assert!(!with("kty", json!("XYZ")) && !with("n", json!("%")));
    let secret = json!({ "kty": "oct", "k": URL_SAFE_NO_PAD.encode(SECRET), "alg": "HS256" });
    assert!(read(json!([secret]), None).is_err(), "what is published is no secret");
    assert_eq!(read(json!([secret, 7, null, {}, rsa_jwk()]), None), Ok((1, 4)));
    let many = |count| Value::Array(vec![ed_jwk(); count]);
    assert_eq!(read(many(64), None), Ok((64, 0)));
    assert!(read(many(65), None).unwrap_err().contains("64 are taken"));
    for bad in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[]}"#, "<html>", r#"{"keys":[1]}"#] {
        assert!(JwkSet::read(bad.as_bytes(), None).is_err(), "{bad}");
    }
    let large = format!(r#"{{"keys":[{}],"x":"{}"}}"#, rsa_jwk(), "x".repeat(256 * 1024));
    assert!(JwkSet::read(large.as_bytes(), None).unwrap_err().contains("at most 256 KiB"));
}

#[test]
fn every_key_of_a_set_checks_its_tokens() {
    let mut sources = KeySources::default();
    let set = JwkSet::read(jwks().to_string().as_bytes(), None).unwrap();
    sources.add_set(&policy(), set).unwrap();
    let set = sources.snapshot();
    let keys = [(Algorithm::Rs256, "rsa1"), (Algorithm::Es256, "ec1"), (Algorithm::EdDsa, "ed1")];
    for (algorithm, kid) in keys {
        known(&set, &named(algorithm, Some(kid)));
        known(&set, &named(algorithm, None));
        refused(&set, named(algorithm, Some("other")).as_bytes());
    }
    refused(&set, named(Algorithm::Ps256, Some("rsa1")).as_bytes());
}

#[test]
fn j12_a_key_of_one_tenant_signs_for_no_other() {
    let mut sources = KeySources::default();
    let mut policies = Vec::new();
    for (tenant, secret) in [("a", [1; 32]), ("b", [2; 32])] {
        let policy = KeyPolicy {
            issuer: Some(format!("https://{tenant}.example").into()),
            ..KeyPolicy::new(Tenant::new(tenant))
        };
        let policy = Arc::new(policy);
        let key = Key::secret(Algorithm::Hs256, &secret).unwrap();
        sources.add_key(&policy, Some("main"), key).unwrap();
        policies.push(policy);
    }
    let set = sources.snapshot();
    let sign = |secret: u8, iss: &str| {
        let claims = json!({ "sub": "eve", "exp": NOW_S + 9, "iss": iss, "tenant": "b" });
        let key = Key::secret(Algorithm::Hs256, &[secret; 32]).unwrap();
        key.sign(Some("main"), &claims.to_string()).unwrap()
    };
    assert_eq!(known(&set, &sign(1, "https://a.example")).tenant.as_str(), "a");
    assert_eq!(known(&set, &sign(2, "https://b.example")).tenant.as_str(), "b");
    let refusal = refused(&set, sign(1, "https://b.example").as_bytes());
    assert!(refusal.rule().contains("its key is another's"), "{}", refusal.rule());
}

#[test]
fn j12_tenants_with_one_key_are_refused_unless_issuers_part_them() {
    let key = || Key::secret(Algorithm::Hs256, SECRET).unwrap();
    let of = |tenant: &str, issuer: Option<&str>| {
        let issuer = issuer.map(Box::from);
        Arc::new(KeyPolicy { issuer, ..KeyPolicy::new(Tenant::new(tenant)) })
    };
    let mut sources = KeySources::default();
    sources.add_key(&of("a", Some("x")), Some("1"), key()).unwrap();
    sources.add_key(&of("a", None), Some("2"), key()).unwrap();
    for issuer in [None, Some("x"), Some("y")] {
        let refusal = sources.add_key(&of("b", issuer), Some("3"), key()).unwrap_err();
        assert!(refusal.contains("\"a\"") && refusal.contains("\"b\""), "{refusal}");
    }
    let mut sources = KeySources::default();
    sources.add_key(&of("a", Some("x")), Some("1"), key()).unwrap();
    sources.add_key(&of("b", Some("y")), Some("1"), key()).unwrap();
}

#[test]
fn of_many_keys_a_token_finds_its_own_by_name_or_issuer() {
    let mut sources = KeySources::default();
    for number in 0..100u8 {
        let policy = KeyPolicy {
            issuer: Some(format!("i{number}").into()),
            ..KeyPolicy::new(Tenant::new(&format!("t{number}")))
        };
        let key = Key::secret(Algorithm::Hs256, &[number; 32]).unwrap();
        let kid = (number >= 50).then(|| format!("k{number}"));
        sources.add_key(&Arc::new(policy), kid.as_deref(), key).unwrap();
    }
    let set = sources.snapshot();
    let sign = |number: u8, kid: Option<&str>, claims: Value| {
        let key = Key::secret(Algorithm::Hs256, &[number; 32]).unwrap();
        key.sign(kid, &claims.to_string()).unwrap()
    };
    for number in [0, 49, 50, 99] {
        let claims = json!({ "exp": NOW_S + 9, "iss": format!("i{number}") });
        let identity = known(&set, &sign(number, None, claims));
        assert_eq!(identity.tenant.as_str(), format!("t{number}"));
    }
    let claims = json!({ "exp": NOW_S + 9, "iss": "i77" });
    known(&set, &sign(77, Some("k77"), claims.clone()));
    refused(&set, sign(78, Some("k77"), claims).as_bytes());
}

#[test]
fn where_more_keys_could_be_meant_than_are_tried_it_is_said() {
    let mut sources = KeySources::default();
    for number in 0..9 {
        let key = Key::secret(Algorithm::Hs256, &[number; 32]).unwrap();
        sources.add_key(&policy(), None, key).unwrap();
    }
    let stranger = Key::secret(Algorithm::Hs256, &[99; 32]).unwrap();
    let token = stranger.sign(None, &claims().to_string()).unwrap();
    let refusal = refused(&sources.snapshot(), token.as_bytes());
    assert!(refusal.rule().contains("9 keys for HS256 could be meant"), "{}", refusal.rule());
}

#[test]
fn nothing_shows_a_key() {
    let shown = format!("{:?} {:?}", key(Algorithm::Hs256), set(Algorithm::Hs256));
    assert!(!shown.contains("0123456789abcdef") && !shown.contains("48, 49, 50"), "{shown}");
    let shown = format!("{:?}", key(Algorithm::Es256));
    assert_eq!(shown, "Key { algorithm: Es256, .. }");
}
