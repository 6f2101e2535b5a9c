//! What comes before the claims: parts, alphabet, header.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use fanfare_identity::keys::Algorithm;
use fanfare_identity::token::TOKEN_BYTES_MAX;
use serde_json::json;

use super::support::*;

/// That a token with this header, signed well, is refused by a rule that says `words`.
#[track_caller]
fn refuses_header(header: &str, words: &str) {
    let refusal = refused(&set(Algorithm::Hs256), with_header(header).as_bytes());
    assert_eq!(refusal.code(), "invalid_token", "{header}");
    assert!(refusal.rule().contains(words), "{header}: {}", refusal.rule());
}

#[test]
fn good_tokens_of_every_algorithm_are_believed() {
    for algorithm in Algorithm::ALL {
        let identity = known(&set(algorithm), &token(algorithm));
        assert_eq!(identity.user.unwrap().as_str(), "ada", "{algorithm}");
        assert_eq!(identity.tenant.as_str(), "acme");
        assert_eq!(identity.expires_s, Some(NOW_S + 3_600));
    }
}

#[test]
fn j1_a_token_without_a_signature_is_refused() {
    for alg in [json!("none"), json!("None"), json!("nOnE"), json!(""), json!(7), json!(null)] {
        let header = json!({ "alg": alg, "kid": "k1" }).to_string();
        for token in [with_header(&header), unsigned(&header)] {
            refused(&set(Algorithm::Hs256), token.as_bytes());
        }
    }
    refuses_header(r#"{"kid":"k1"}"#, "names no algorithm");
    let token = unsigned(&header(Algorithm::Hs256).to_string());
    assert!(refused(&set(Algorithm::Hs256), token.as_bytes()).rule().contains("not signed"));
}

fn unsigned(header: &str) -> String {
    let parts = [header.to_owned(), claims().to_string()];
    format!("{}.", parts.map(|part| URL_SAFE_NO_PAD.encode(part)).join("."))
}

#[test]
fn j2_a_public_key_is_no_secret() {
    let keys = [
        (Algorithm::Rs256, RSA_PUBLIC),
        (Algorithm::Es256, P256_PUBLIC),
        (Algorithm::EdDsa, ED25519_PUBLIC),
    ];
    for (algorithm, pem) in keys {
        let header = json!({ "alg": "HS256", "kid": "k1" }).to_string();
        let signed = [header, claims().to_string()].map(|p| URL_SAFE_NO_PAD.encode(p)).join(".");
        for secret in [pem.as_bytes(), pem.trim().as_bytes(), &der(pem)] {
            let tag = hmac_of(ring::hmac::HMAC_SHA256, secret, signed.as_bytes());
            let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag));
            let refusal = refused(&set(algorithm), token.as_bytes());
            assert!(refusal.rule().contains("no key here is for HS256"), "{}", refusal.rule());
        }
    }
}

#[test]
fn j2_one_algorithm_of_a_key_is_not_another() {
    for signed_by in Algorithm::ALL {
        for said in Algorithm::ALL.into_iter().filter(|said| *said != signed_by) {
            let token = compact(signed_by, &header(said).to_string(), &claims().to_string());
            refused(&set(signed_by), token.as_bytes());
            refused(&set(said), token.as_bytes());
        }
    }
}

#[test]
fn j3_a_key_is_only_compared_with_what_a_token_calls_it() {
    for kid in ["k2", "K1", "k1 ", "", "../../etc/passwd", "' OR 1=1 --", "k1\0", "\u{43a}1"] {
        let header = json!({ "alg": "HS256", "kid": kid }).to_string();
        refuses_header(&header, "no key here is for HS256");
    }
    for kid in [json!(1), json!(null), json!(["k1"]), json!({ "k1": 1 })] {
        let header = json!({ "alg": "HS256", "kid": kid }).to_string();
        refuses_header(&header, "`kid` that is no string");
    }
    let header = json!({ "alg": "HS256", "kid": "k".repeat(300) }).to_string();
    refuses_header(&header, "more than 255 bytes");
    let header = json!({ "alg": "HS256", "kid": "k".repeat(10 * 1024) }).to_string();
    refuses_header(&header, "at most 8,192 bytes");
}

#[test]
fn j3_what_a_log_shows_of_a_kid_is_one_short_line() {
    let header = json!({ "alg": "HS256", "kid": "\r\nforged: line\u{1b}[2J".repeat(10) });
    let refusal = refused(&set(Algorithm::Hs256), with_header(&header.to_string()).as_bytes());
    assert!(refusal.rule().len() < 200 && !refusal.rule().chars().any(char::is_control));
}

#[test]
fn j4_keys_that_a_token_brings_along_are_not_used() {
    let jwk = json!({ "kty": "oct", "k": URL_SAFE_NO_PAD.encode(b"x".repeat(32)), "alg": "HS256" });
    let brought = json!({
        "alg": "HS256", "kid": "k1", "jwk": jwk, "jku": "https://evil.example/jwks.json",
        "x5u": "https://evil.example/cert.pem", "x5c": ["MIIB"], "x5t": "AAAA",
    });
    let signed = [brought.to_string(), claims().to_string()];
    let signed = signed.map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
    let tag = hmac_of(ring::hmac::HMAC_SHA256, &b"x".repeat(32), signed.as_bytes());
    let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag));
    refused(&set(Algorithm::Hs256), token.as_bytes());
    // By the right key it is as good as without them.
    known(&set(Algorithm::Hs256), &with_header(&brought.to_string()));
}

#[test]
fn j5_j17_what_asks_for_more_than_a_signature_is_refused() {
    let cases = [
        (json!({ "crit": ["exp"] }), "`crit`"),
        (json!({ "crit": [] }), "`crit`"),
        (json!({ "crit": ["b64"], "b64": false }), "`"),
        (json!({ "b64": false }), "`b64`"),
        (json!({ "b64": true }), "`b64`"),
        (json!({ "zip": "DEF" }), "`zip`"),
        (json!({ "enc": "A256GCM" }), "`enc`"),
        (json!({ "cty": "JWT" }), "`cty`"),
        (json!({ "cty": "application/jwt" }), "`cty`"),
        (json!({ "cty": 1 }), "`cty`"),
    ];
    for (more, words) in cases {
        let mut header = header(Algorithm::Hs256);
        header.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        refuses_header(&header.to_string(), words);
    }
    let refusal = refused(&set(Algorithm::Hs256), b"eyJhbGciOiJkaXIifQ..aXY.Y2lwaGVy.dGFn");
    assert!(refusal.rule().contains("JWE"), "{}", refusal.rule());
    let nested =
        compact(Algorithm::Hs256, &header(Algorithm::Hs256).to_string(), &token(Algorithm::Hs256));
    assert!(refused(&set(Algorithm::Hs256), nested.as_bytes()).rule().contains("claims are not"));
}

#[test]
fn j10_length_and_dots_are_judged_first() {
    let set = set(Algorithm::Hs256);
    for token in [vec![b'a'; 1 << 20], vec![b'.'; 1_000_000], vec![b'a'; TOKEN_BYTES_MAX + 1]] {
        assert_eq!(refused(&set, &token).rule(), "a token has at most 8,192 bytes");
    }
    for token in ["", ".", "a.b", "a.b.c.d", "a.b.c.d.e.f", &".".repeat(TOKEN_BYTES_MAX)] {
        assert!(refused(&set, token.as_bytes()).rule().contains("three parts"), "{token}");
    }
    for token in ["..", "a..", ".a.", "..a", "a.b.c"] {
        refused(&set, token.as_bytes());
    }
}

#[test]
fn j10_every_part_has_one_spelling() {
    let set = set(Algorithm::Hs256);
    let good = token(Algorithm::Hs256);
    known(&set, &good);
    let parts: Vec<_> = good.split('.').map(str::to_owned).collect();
    for place in 0..3 {
        let bytes = URL_SAFE_NO_PAD.decode(&parts[place]).unwrap();
        let mut spellings: Vec<String> = ["=", "==", "\n", " ", "\t", "\0", "%3D", "é"]
            .iter()
            .flat_map(|more| [format!("{}{more}", parts[place]), format!("{more}{}", parts[place])])
            .collect();
        spellings.push(format!("{}\n{}", &parts[place][..8], &parts[place][8..]));
        spellings.extend([STANDARD.encode(&bytes), URL_SAFE.encode(&bytes)]);
        for spelling in spellings.into_iter().filter(|spelling| *spelling != parts[place]) {
            let mut parts = parts.clone();
            parts[place] = spelling;
            refused(&set, parts.join(".").as_bytes());
        }
    }
    refused(&set, format!("\u{feff}{good}").as_bytes());
    refused(&set, format!("Bearer {good}").as_bytes());
}

#[test]
fn j10_bits_that_say_nothing_are_zero() {
    // 32 bytes leave two bits over in the last of 43 characters, so four spellings decode alike.
    let set = set(Algorithm::Hs256);
    let good = token(Algorithm::Hs256);
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = *good.as_bytes().last().unwrap();
    let value = alphabet.iter().position(|letter| *letter == last).unwrap();
    assert_eq!(value % 4, 0, "two bits are left over");
    for more in 1..4 {
        let mut other = good.clone().into_bytes();
        *other.last_mut().unwrap() = alphabet[value + more];
        assert!(refused(&set, &other).rule().contains("base64url"));
    }
}

#[test]
fn j11_a_header_says_each_thing_once() {
    for header in [
        r#"{"alg":"HS256","kid":"k1","kid":"k1"}"#,
        r#"{"alg":"none","alg":"HS256","kid":"k1"}"#,
        r#"{"alg":"HS256","kid":"k1","\u0061lg":"none"}"#,
        r#"{"alg":"HS256","kid":"k1","x":1,"x":1}"#,
    ] {
        refuses_header(header, "one name twice");
    }
    for header in ["", "null", "[]", "{}{}", r#"{"alg":"HS256","kid":"k1"} x"#, "\"HS256\""] {
        refuses_header(header, "not one JSON object");
    }
}
