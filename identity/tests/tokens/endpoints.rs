//! Keys that endpoints publish: pending tokens, rotation, endpoints that do not answer.

use std::sync::Arc;

use fanfare_identity::Tenant;
use fanfare_identity::keys::{
    ASK_AGAIN_S, Algorithm, EndpointId, GRACE_S, JwkSet, KeyPolicy, KeySet, KeySources, Verdict,
};
use serde_json::{Value, json};

use super::keys::{ec_jwk, jwks, rsa_jwk};
use super::support::*;

fn signed(algorithm: Algorithm, kid: Option<&str>) -> String {
    signed_by(algorithm, kid, "https://id.example")
}

fn signed_by(algorithm: Algorithm, kid: Option<&str>, iss: &str) -> String {
    let mut header = json!({ "alg": algorithm.as_str() });
    if let Some(kid) = kid {
        header["kid"] = kid.into();
    }
    let claims = json!({ "sub": "ada", "exp": NOW_S + 3_600, "iss": iss });
    compact(algorithm, &header.to_string(), &claims.to_string())
}

fn read(set: &Value) -> JwkSet {
    JwkSet::read(set.to_string().as_bytes(), None).unwrap()
}

fn one_endpoint() -> (KeySources, EndpointId) {
    let mut sources = KeySources::default();
    let endpoint = sources.add_endpoint(&policy(), None);
    (sources, endpoint)
}

/// Which endpoint a token waits for.
fn waits_for(set: &KeySet, token: &str, now_s: u64) -> Option<EndpointId> {
    match set.verify(token.as_bytes(), now_s) {
        Verdict::Pending(pending) => Some(pending.endpoint),
        _ => None,
    }
}

#[test]
fn a_token_waits_for_an_endpoint_that_was_not_asked() {
    let (mut sources, endpoint) = one_endpoint();
    let token = signed(Algorithm::Rs256, Some("rsa1"));
    assert_eq!(waits_for(&sources.snapshot(), &token, NOW_S), Some(endpoint));
    sources.answered(endpoint, read(&jwks()), NOW_S);
    assert_eq!(known(&sources.snapshot(), &token).user.unwrap().as_str(), "ada");
}

#[test]
fn j13_what_cannot_be_a_token_waits_for_nothing() {
    let (sources, _) = one_endpoint();
    let set = sources.snapshot();
    let header = r#"{"alg":"RS256","jku":"https://evil.example"}"#;
    for token in [
        compact(Algorithm::Hs256, r#"{"alg":"HS256","kid":"x"}"#, &claims().to_string()),
        compact(Algorithm::Rs256, r#"{"alg":"none"}"#, &claims().to_string()),
        "a.b.c".into(),
        format!("{}.", compact(Algorithm::Rs256, header, "{}").rsplit_once('.').unwrap().0),
    ] {
        refused(&set, token.as_bytes());
    }
}

#[test]
fn j13_whoever_a_token_says_made_it_only_narrows_down_who_is_asked() {
    let mut sources = KeySources::default();
    let of = |issuer: &str| {
        let tenant = Tenant::new(issuer);
        Arc::new(KeyPolicy { issuer: Some(issuer.into()), ..KeyPolicy::new(tenant) })
    };
    let [a, b] = ["a", "b"].map(|issuer| sources.add_endpoint(&of(issuer), None));
    let set = sources.snapshot();
    assert_eq!(waits_for(&set, &signed_by(Algorithm::Es256, None, "a"), NOW_S), Some(a));
    assert_eq!(waits_for(&set, &signed_by(Algorithm::Es256, None, "b"), NOW_S), Some(b));
    refused(&set, signed_by(Algorithm::Es256, None, "https://evil.example").as_bytes());
}

#[test]
fn j12_one_name_at_two_endpoints_is_two_keys() {
    let mut sources = KeySources::default();
    let [a, b] = ["a", "b"].map(|name| {
        let policy = Arc::new(KeyPolicy::new(Tenant::new(name)));
        sources.add_endpoint(&policy, None)
    });
    let mut own = rsa_jwk();
    own["kid"] = "main".into();
    let mut other = ec_jwk("P-256", P256_PUBLIC);
    other["kid"] = "main".into();
    sources.answered(a, read(&json!({ "keys": [own] })), NOW_S);
    sources.answered(b, read(&json!({ "keys": [other] })), NOW_S);
    let set = sources.snapshot();
    assert_eq!(known(&set, &signed(Algorithm::Rs256, Some("main"))).tenant.as_str(), "a");
    assert_eq!(known(&set, &signed(Algorithm::Es256, Some("main"))).tenant.as_str(), "b");
}

#[test]
fn j3_j15_an_unknown_name_asks_once_in_ten_seconds() {
    let (mut sources, endpoint) = one_endpoint();
    sources.answered(endpoint, read(&jwks()), NOW_S);
    let set = sources.snapshot();
    let token = signed(Algorithm::Rs256, Some("rsa2"));
    for later_s in 0..ASK_AGAIN_S {
        assert_eq!(waits_for(&set, &token, NOW_S + later_s), None);
    }
    assert_eq!(refused(&set, token.as_bytes()).code(), "invalid_token");
    assert_eq!(waits_for(&set, &token, NOW_S + ASK_AGAIN_S), Some(endpoint));
    // One whose name is known is not asked about for a signature that is bad.
    let forged = signed(Algorithm::Es256, Some("ec1")).replace("eyJzdWIi", "eyJzdWJi");
    assert_eq!(waits_for(&set, &forged, NOW_S + ASK_AGAIN_S), None);
}

#[test]
fn j15_an_old_key_is_good_until_it_leaves_the_set_and_a_grace_longer() {
    let (mut sources, endpoint) = one_endpoint();
    let both = json!({ "keys": [rsa_jwk(), ec_jwk("P-256", P256_PUBLIC)] });
    let new_alone = json!({ "keys": [ec_jwk("P-256", P256_PUBLIC)] });
    let (old, new) =
        (signed(Algorithm::Rs256, Some("rsa1")), signed(Algorithm::Es256, Some("ec1")));
    sources.answered(endpoint, read(&both), NOW_S);
    let far_s = NOW_S + 1_000;
    sources.answered(endpoint, read(&both), far_s);
    sources.answered(endpoint, read(&new_alone), far_s);
    let is_known = |set: &KeySet, token: &str, now_s| {
        matches!(set.verify(token.as_bytes(), now_s), Verdict::Known(_))
    };
    let set = sources.snapshot();
    assert!(is_known(&set, &old, far_s + GRACE_S) && is_known(&set, &new, far_s + GRACE_S));
    assert!(!is_known(&set, &old, far_s + GRACE_S + 1) && is_known(&set, &new, far_s + 99));
    // A second refresh without it does not lengthen the grace.
    sources.answered(endpoint, read(&new_alone), far_s + 30);
    let set = sources.snapshot();
    assert!(is_known(&set, &old, far_s + GRACE_S));
    assert!(!is_known(&set, &old, far_s + GRACE_S + 1));
    // One that comes back is as good as new.
    sources.answered(endpoint, read(&both), far_s + 40);
    assert!(is_known(&sources.snapshot(), &old, far_s + GRACE_S + 1));
}

#[test]
fn j14_an_endpoint_that_fails_keeps_its_keys() {
    let (mut sources, endpoint) = one_endpoint();
    sources.answered(endpoint, read(&jwks()), NOW_S);
    sources.failed(endpoint, NOW_S + 5);
    let set = sources.snapshot();
    known(&set, &signed(Algorithm::Rs256, Some("rsa1")));
    // A name that it does not have may be of a key that nobody can ask for now.
    let unknown = signed(Algorithm::Rs256, Some("rsa2"));
    let refusal = refused(&set, unknown.as_bytes());
    assert_eq!((refusal.code(), refusal.is_want_of_keys()), ("keys_unavailable", true));
    assert_eq!(waits_for(&set, &unknown, NOW_S + 5 + ASK_AGAIN_S), Some(endpoint));
}

#[test]
fn one_endpoint_after_the_other_is_asked_for_a_name_that_none_has() {
    let mut sources = KeySources::default();
    let endpoints = [0; 3].map(|_| sources.add_endpoint(&policy(), None));
    let rsa_only = sources.add_endpoint(&policy(), Some(Algorithm::Rs256));
    assert_eq!(sources.only_algorithm(rsa_only), Some(Algorithm::Rs256));
    let token = signed(Algorithm::Es256, Some("nobodys"));
    for endpoint in endpoints {
        assert_eq!(waits_for(&sources.snapshot(), &token, NOW_S), Some(endpoint));
        sources.answered(endpoint, read(&jwks()), NOW_S);
    }
    assert_eq!(refused(&sources.snapshot(), token.as_bytes()).code(), "invalid_token");
}

#[test]
fn what_an_endpoint_makes_us_keep_is_bounded() {
    let (mut sources, endpoint) = one_endpoint();
    for round in 0..20u64 {
        let key = |number: u64| {
            let mut jwk = ec_jwk("P-256", P256_PUBLIC);
            jwk["kid"] = format!("{round}-{number}").into();
            jwk
        };
        let keys: Vec<_> = (0..64).map(key).collect();
        sources.answered(endpoint, read(&json!({ "keys": keys })), NOW_S + round);
    }
    let shown = format!("{:?}", sources.snapshot());
    assert_eq!(shown.matches("HeldKey").count(), 128);
}
