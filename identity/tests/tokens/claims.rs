//! Claims of tokens whose signatures are good.

use std::sync::Arc;

use fanfare_identity::keys::{Algorithm, KeyPolicy};
use fanfare_identity::{Right, Tenant};
use serde_json::json;

use super::support::*;

#[test]
fn j6_a_token_has_an_end_that_is_a_whole_number() {
    let numbers = [
        "\"9999999999\"",
        "9999999999.0",
        "9999999999.5",
        "1e10",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "9007199254740992",
        "-1",
        "-0",
        "null",
        "[9999999999]",
        "{}",
        "true",
        "1e400",
    ];
    for number in numbers {
        refuses_claims(&format!(r#"{{"sub":"ada","exp":{number}}}"#), "`exp` is not a time");
    }
    for number in ["NaN", "Infinity", "0x7fffffff", "01", "+1", "", "9_9"] {
        refuses_claims(&format!(r#"{{"sub":"ada","exp":{number}}}"#), "not one JSON object");
    }
    refuses_claims(r#"{"sub":"ada"}"#, "it has no end (`exp`)");
    refuses_claims("{}", "it has no end (`exp`)");
    let identity = known(&set(Algorithm::Hs256), &with_claims(&json!({ "exp": (1u64 << 53) - 1 })));
    assert_eq!(identity.expires_s, Some((1 << 53) - 1));
}

#[test]
fn j6_the_end_comes_thirty_seconds_late_and_not_later() {
    let set = set(Algorithm::Hs256);
    let ending = |exp: u64| with_claims(&json!({ "sub": "ada", "exp": exp }));
    known(&set, &ending(NOW_S));
    known(&set, &ending(NOW_S - 29));
    for exp in [NOW_S - 30, NOW_S - 31, 0] {
        let refusal = refused(&set, ending(exp).as_bytes());
        assert_eq!((refusal.code(), refusal.is_expired()), ("token_expired", true), "{exp}");
    }
}

#[test]
fn j6_a_policy_may_do_without_an_end_and_not_with_a_bad_one() {
    let policy = Arc::new(KeyPolicy { require_exp: false, ..KeyPolicy::new(Tenant::default()) });
    let set = set_with(Algorithm::Hs256, &policy);
    assert_eq!(known(&set, &with_claims(&json!({ "sub": "ada" }))).expires_s, None);
    for exp in [json!(null), json!("never"), json!(1.5)] {
        refused(&set, with_claims(&json!({ "sub": "ada", "exp": exp })).as_bytes());
    }
    let old = with_claims(&json!({ "sub": "ada", "exp": NOW_S - 100 }));
    assert!(refused(&set, old.as_bytes()).is_expired());
}

#[test]
fn j7_a_token_begins_thirty_seconds_early_and_not_earlier() {
    let set = set(Algorithm::Hs256);
    for name in ["nbf", "iat"] {
        let with = |value: serde_json::Value| {
            let mut claims = claims();
            claims[name] = value;
            with_claims(&claims)
        };
        known(&set, &with(json!(0)));
        known(&set, &with(json!(NOW_S + 30)));
        let refusal = refused(&set, with(json!(NOW_S + 31)).as_bytes());
        assert!(
            refusal.rule().contains(&format!("`{name}` lies 31 s ahead")),
            "{}",
            refusal.rule()
        );
        let wrong = [json!("1"), json!(1.5), json!(null), json!([]), json!(1u64 << 53), json!(-1)];
        for value in wrong {
            let refusal = refused(&set, with(value).as_bytes());
            assert!(refusal.rule().contains("is not a time"), "{}", refusal.rule());
        }
    }
    let issued = with_claims(&json!({ "sub": "ada", "exp": NOW_S + 9, "iat": NOW_S - 9 }));
    assert_eq!(known(&set, &issued).issued_s, Some(NOW_S - 9));
}

#[test]
fn j8_issuer_and_audience_are_those_of_the_key() {
    let policy = KeyPolicy {
        issuer: Some("https://id.example".into()),
        audiences: ["live".into(), "other".into()].into(),
        ..KeyPolicy::new(Tenant::default())
    };
    let set = set_with(Algorithm::Hs256, &Arc::new(policy));
    let with = |iss: serde_json::Value, aud: serde_json::Value| {
        with_claims(&json!({ "sub": "ada", "exp": NOW_S + 9, "iss": iss, "aud": aud }))
    };
    let issuer = json!("https://id.example");
    for aud in [json!("live"), json!(["x", "live"]), json!(["other", "live"])] {
        known(&set, &with(issuer.clone(), aud));
    }
    for aud in [json!("LIVE"), json!([]), json!(["x"]), json!(""), json!("live "), json!("x,live")]
    {
        let refusal = refused(&set, with(issuer.clone(), aud).as_bytes());
        assert!(refusal.rule().contains("it is for others"), "{}", refusal.rule());
    }
    for aud in [json!(null), json!(1), json!({ "live": 1 }), json!([1]), json!([["live"]])] {
        let refusal = refused(&set, with(issuer.clone(), aud).as_bytes());
        assert!(refusal.rule().contains("`aud` is neither"), "{}", refusal.rule());
    }
    for iss in ["https://id.example/", "http://id.example", "https://id.example.evil", ""] {
        let refusal = refused(&set, with(json!(iss), json!("live")).as_bytes());
        assert!(refusal.rule().contains("its key is another's"), "{}", refusal.rule());
    }
    for iss in [json!(["https://id.example"]), json!(null), json!(1)] {
        let refusal = refused(&set, with(iss, json!("live")).as_bytes());
        assert!(refusal.rule().contains("`iss` is no string"), "{}", refusal.rule());
    }
    let bare = |claims| refused(&set, with_claims(&claims).as_bytes()).rule().to_owned();
    assert!(bare(json!({ "exp": NOW_S + 9, "aud": "live" })).contains("no `iss`"));
    assert!(bare(json!({ "exp": NOW_S + 9, "iss": issuer })).contains("no `aud`"));
}

#[test]
fn j8_who_does_not_ask_takes_any_issuer_and_audience() {
    let any = json!({ "exp": NOW_S + 9, "iss": "https://evil.example", "aud": ["x"] });
    known(&set(Algorithm::Hs256), &with_claims(&any));
    refuses_claims(&format!(r#"{{"exp":{},"aud":7}}"#, NOW_S + 9), "`aud` is neither");
    refuses_claims(&format!(r#"{{"exp":{},"iss":7}}"#, NOW_S + 9), "`iss` is no string");
}

#[test]
fn j8_only_a_token_that_is_good_in_all_else_is_one_that_has_expired() {
    let policy =
        KeyPolicy { audiences: ["live".into()].into(), ..KeyPolicy::new(Tenant::default()) };
    let set = set_with(Algorithm::Hs256, &Arc::new(policy));
    let old = |aud| with_claims(&json!({ "exp": NOW_S - 99, "aud": aud }));
    assert_eq!(refused(&set, old("live").as_bytes()).code(), "token_expired");
    assert_eq!(refused(&set, old("dead").as_bytes()).code(), "invalid_token");
}

#[test]
fn j11_claims_say_each_thing_once() {
    let exp = NOW_S + 9;
    for claims in [
        format!(r#"{{"sub":"a","sub":"b","exp":{exp}}}"#),
        format!(r#"{{"sub":"a","exp":{exp},"exp":{exp}}}"#),
        format!(r#"{{"sub":"a","s\u0075b":"b","exp":{exp}}}"#),
        format!(r#"{{"sub":"a","exp":{exp},"other":1,"other":2}}"#),
    ] {
        refuses_claims(&claims, "one name twice");
    }
    let channels = format!(r#"{{"exp":{exp},"channels":{{"a":["subscribe"],"a":["publish"]}}}}"#);
    refuses_claims(&channels, "one name twice");
}

#[test]
fn names_of_users_and_tokens_are_short_lines() {
    let exp = NOW_S + 9;
    for name in ["sub", "jti"] {
        let long = format!("\"{}\"", "x".repeat(256));
        for value in ["\"\"", &long, r#""a\nb""#, r#""\u0000""#, r#""\u0085""#] {
            let claims = format!(r#"{{"exp":{exp},"{name}":{value}}}"#);
            refuses_claims(&claims, "is not 1 to 255 bytes without control");
        }
        for value in ["null", "7", "[\"a\"]", "{}", r#""\ud800""#] {
            refuses_claims(&format!(r#"{{"exp":{exp},"{name}":{value}}}"#), "is no string");
        }
    }
    let claims = json!({ "exp": exp, "sub": "ä".repeat(127), "jti": "t-1" });
    let identity = known(&set(Algorithm::Hs256), &with_claims(&claims));
    assert_eq!(identity.user.unwrap().as_str(), "ä".repeat(127));
    assert_eq!(identity.token_id.as_deref(), Some("t-1"));
    assert!(known(&set(Algorithm::Hs256), &with_claims(&json!({ "exp": exp }))).user.is_none());
}

#[test]
fn info_stays_as_it_was_written() {
    let exp = NOW_S + 9;
    let written = r#"{ "name" : "Ada",  "n":1.50 }"#;
    let token = with_claims_text(&format!(r#"{{"exp":{exp},"info":{written}}}"#));
    assert_eq!(known(&set(Algorithm::Hs256), &token).info.as_deref(), Some(written));
    let long = format!("\"{}\"", "x".repeat(1_023));
    refuses_claims(&format!(r#"{{"exp":{exp},"info":{long}}}"#), "`info` has more than 1,024");
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    for bad in [deep.as_str(), r#""\ud800""#, "1e999"] {
        refuses_claims(&format!(r#"{{"exp":{exp},"info":{bad}}}"#), "`info` is not JSON");
    }
}

#[test]
fn j19_channels_are_patterns_of_one_exact_grammar() {
    let exp = NOW_S + 9;
    let set = set(Algorithm::Hs256);
    let can = |channels: serde_json::Value, right: Right, channel: &str| {
        let token = with_claims(&json!({ "exp": exp, "channels": channels }));
        known(&set, &token).grants.giving(right, channel).is_some()
    };
    assert!(can(json!(["a:*"]), Right::Subscribe, "a:b"));
    assert!(can(json!(["a:*"]), Right::History, "a:b"));
    assert!(!can(json!(["a:*"]), Right::Publish, "a:b"));
    for other in ["a:b:c", "A:b", "a", "\u{430}:b", "a\u{200b}:b", "a\u{ff1a}b"] {
        assert!(!can(json!(["a:*"]), Right::Subscribe, other), "{other}");
    }
    let rights = json!({ "a:**": ["publish", "presence"], "b": [] });
    assert!(can(rights.clone(), Right::Publish, "a:b:c"));
    assert!(!can(rights.clone(), Right::Subscribe, "a:b:c"));
    assert!(!can(rights, Right::Subscribe, "b"));
    assert!(!can(json!([]), Right::Subscribe, "a"));
    for bad in [
        r#"["a:b*c"]"#,
        r#"["a*"]"#,
        r#"["**:a"]"#,
        r#"[""]"#,
        r#"["a","b:***"]"#,
        r#"["a\n"]"#,
        r#"[7]"#,
        r#"[null]"#,
        r#""a""#,
        "7",
        "null",
        "true",
        r#"{"a":"subscribe"}"#,
        r#"{"a":["Subscribe"]}"#,
        r#"{"a":["read"]}"#,
        r#"{"a":["*"]}"#,
        r#"{"a":null}"#,
        r#"{"a*":["subscribe"]}"#,
        r#"{"a":{"subscribe":true}}"#,
        r#"[["a"]]"#,
    ] {
        refuses_claims(&format!(r#"{{"exp":{exp},"channels":{bad}}}"#), "");
    }
    let many: Vec<_> = (0..257).map(|n| format!("c{n}")).collect();
    refuses_claims(&json!({ "exp": exp, "channels": many }).to_string(), "more than 256");
}

#[test]
fn what_is_followed_is_granted() {
    let exp = NOW_S + 9;
    let channels = json!({ "room:*": ["publish"], "hall": ["subscribe"] });
    let claims = json!({ "exp": exp, "channels": channels, "follow": ["room:1", "hall"] });
    let identity = known(&set(Algorithm::Hs256), &with_claims(&claims));
    assert_eq!(identity.follow.iter().map(|name| &**name).collect::<Vec<_>>(), ["room:1", "hall"]);
    assert!(identity.grants.giving(Right::Subscribe, "room:1").is_some());
    assert!(identity.grants.giving(Right::History, "room:1").is_none());
    assert!(identity.grants.giving(Right::Subscribe, "room:2").is_none());
    assert_eq!(identity.grants.iter().count(), 3);
    let long = format!("[\"{}\"]", "x".repeat(256));
    for bad in [r#"["a:*"]"#, r#"[""]"#, r#""a""#, "{}", "null", r#"["a\u0000"]"#, &long] {
        refuses_claims(&format!(r#"{{"exp":{exp},"follow":{bad}}}"#), "`follow`");
    }
}

#[test]
fn other_claims_are_passed_over() {
    let claims = json!({ "exp": NOW_S + 9, "scope": "x", "channel": 7, "": null, "SUB": [] });
    assert!(known(&set(Algorithm::Hs256), &with_claims(&claims)).user.is_none());
    for claims in ["", "null", "[]", "7", "{}x", "{\"a\":1,}", "\u{feff}{}"] {
        refuses_claims(claims, "claims are not one JSON object");
    }
}
