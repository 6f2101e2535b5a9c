//! `fanfare token` and `fanfare token check`: one makes what the other believes.

use std::fs;
use std::path::Path;

use crate::{Run, fanfare, run};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("secret"), format!("{SECRET}\n")).unwrap();
    folder
}

fn words(folder: &Path, line: &str, input: &str) -> Run {
    run(fanfare(folder).args(line.split_whitespace()), input)
}

fn made(folder: &Path, flags: &str) -> String {
    let made = words(folder, &format!("token --secret-file secret {flags}"), "");
    made.expect(0, &[]);
    made.out.trim().to_owned()
}

#[test]
fn what_is_made_is_believed_and_explained() {
    let folder = folder();
    let flags = "--sub ada --channel room:*,hall --publish hall --follow hall --kid k1 --jti t-1 \
                 --issuer https://id.example --audience live --info {\"name\":\"Ada\"} --ttl 5m";
    let token = made(folder.path(), flags);
    let check = "token check --secret-file secret --issuer https://id.example --audience live -";
    let good = words(folder.path(), check, &format!("{token}\n"));
    good.expect(
        0,
        &[
            "\"kid\":\"k1\"",
            "\"jti\":\"t-1\"",
            "It is good. Its bearer is the user \"ada\"",
            "room:*  subscribe, presence, history",
            "hall  subscribe, publish, presence, history",
            "hall  is followed at once",
            "It ends in",
        ],
    );
    assert!(!good.out.contains(SECRET) && !good.err.contains(SECRET));
    let by_flag = format!("token check --secret {SECRET} {token}");
    words(folder.path(), &by_flag, "").expect(0, &["It is good"]);
}

#[test]
fn a_token_that_is_refused_is_shown_with_the_rule() {
    let folder = folder();
    let token = made(folder.path(), "--sub ada --ttl 1s");
    fs::write(folder.path().join("other"), "x".repeat(32)).unwrap();
    let check = |flags: &str, token: &str| {
        words(folder.path(), &format!("token check {flags} {token}"), "")
    };
    let refused = check("--secret-file other", &token);
    refused.expect(65, &["\"sub\":\"ada\"", "It is refused (invalid_token): the signature is not"]);
    check("--secret-file secret --alg HS512", &token).expect(65, &["no key here is for HS256"]);
    check("--secret-file secret --issuer x", &token).expect(65, &["has no `iss`"]);
    check("--secret-file secret", "a.b").expect(65, &["three parts"]);
    check("--secret-file secret", &format!("{token}=")).expect(65, &["not in base64url"]);
}

#[test]
fn keys_that_are_none_are_configuration() {
    let folder = folder();
    fs::write(folder.path().join("short"), "hush-hush").unwrap();
    let short = words(folder.path(), "token --secret-file short", "");
    short.expect(78, &["has 9 bytes and could be guessed"]);
    assert!(!short.err.contains("hush"));
    for (line, code, said) in [
        ("token", 78, "--secret-file"),
        ("token check x", 78, "without a key"),
        ("token --secret-file none", 78, "cannot read none"),
        ("token --secret-file /dev/zero", 78, "not a small file"),
        ("token --secret-file secret --alg RS256", 78, "public key"),
        ("token check --public-key-file secret x", 78, "give --alg"),
        ("token check --public-key-file secret --alg ES256 x", 78, "no public key for ES256"),
        ("token check --jwks-url http://id.example/k x", 78, "Use https"),
        ("token --secret-file secret --channel a*", 64, "a*"),
        ("token --secret-file secret --ttl 1y", 64, "from 1s to 90d"),
        ("token --secret-file secret --alg none", 64, "there are HS256"),
        ("token --secret-file secret --info x", 64, "this is no JSON"),
        ("token check", 64, "TOKEN"),
        ("token --help", 0, "Real ones are made by your"),
    ] {
        words(folder.path(), line, "").expect(code, &[said]);
    }
    let unreachable = "token check --jwks-url http://127.0.0.1:1/k --alg ES256 -";
    let token = "eyJhbGciOiJFUzI1NiJ9.e30.AAAA";
    words(folder.path(), unreachable, token).expect(69, &["keys_unavailable", "cannot be reached"]);
}

#[test]
fn a_configuration_makes_tokens_of_its_tenants_and_believes_them() {
    let folder = folder();
    let toml = format!(
        "[[tenants]]\nname = 'acme'\n[[tenants.keys]]\nkid = 'k1'\nalg = 'HS512'\n\
         secret = '{SECRET}'\nissuer = 'https://id.acme.example'\naudience = ['live', 'x']\n\
         [[tenants]]\nname = 'other'\n[[tenants.keys]]\nkid = 'k1'\nsecret = '{}'\n",
        "x".repeat(32)
    );
    let file = folder.path().join("fanfare.toml");
    fs::write(&file, toml).unwrap();
    fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    for tenant in ["acme", "other"] {
        let line = format!("token --config fanfare.toml --tenant {tenant} --sub ada");
        let made = words(folder.path(), &line, "");
        made.expect(0, &[]);
        let check = words(folder.path(), "token check --config fanfare.toml -", &made.out);
        check.expect(0, &["\"kid\":\"k1\"", &format!("of the tenant \"{tenant}\"")]);
        let own = words(folder.path(), "token check --secret-file secret --alg HS512 -", &made.out);
        assert_eq!(own.code, Some(if tenant == "acme" { 0 } else { 65 }), "{own:?}");
    }
    for (line, said) in [
        ("token --config fanfare.toml", "no such secret of the tenant \"default\""),
        ("token --config fanfare.toml --tenant acme --kid k2", "no such secret"),
        ("token --config none.toml", "none.toml"),
    ] {
        words(folder.path(), line, "").expect(78, &[said]);
    }
}

#[test]
fn what_a_stranger_wrote_moves_no_cursor() {
    let folder = folder();
    // {"alg":"HS256","x":"<U+009B>31m<U+202E>"}
    let token = "eyJhbGciOiJIUzI1NiIsIngiOiLCmzMxbeKAriJ9.e30.AAAA";
    let shown = words(folder.path(), "token check --secret-file secret -", token);
    shown.expect(65, &["\\u{9b}31m\\u{202e}"]);
}
