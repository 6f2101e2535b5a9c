//! `api-key`, `explain` and `config explain`: who may do what, asked of a configuration.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::{SystemTime, UNIX_EPOCH};

use fanfare_identity::ApiKeys;
use fanfare_identity::keys::{Algorithm, Key};
use tempfile::TempDir;

use crate::{Run, fanfare, run};

const SECRET: &[u8] = b"a secret of more than thirty-two bytes";

/// A folder with a configuration of two tenants and its secret.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    };
    write("secret", SECRET);
    let toml = "[[channels]]\nmatch = 'user:{user}'\nallow = { user = ['subscribe'] }\n\
                [[tenants]]\nname = 'acme'\nkeys = [{ secret_file = 'secret', kid = 'k' }]\n\
                [[tenants.channels]]\nmatch = 'news'\nallow = { anonymous = ['subscribe'] }\n\
                history = { count = 5 }\n\
                [[tenants]]\nname = 'beta'\n[[tenants.keys]]\njwks_url = 'https://id.example/k'\n";
    write("f.toml", toml.as_bytes());
    folder
}

fn token(claims: &str) -> String {
    let key = Key::secret(Algorithm::Hs256, SECRET).unwrap();
    key.sign(Some("k"), claims).expect("it has a secret")
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn explain(folder: &TempDir, words: &[&str], input: &str) -> Run {
    let mut command = fanfare(folder.path());
    run(command.args(["explain", "--config", "f.toml"]).args(words), input)
}

#[test]
fn a_made_key_is_the_one_that_its_hash_is_of() {
    let folder = tempfile::tempdir().unwrap();
    let make = |words: &[&str]| run(fanfare(folder.path()).arg("api-key").args(words), "");
    let made = make(&["--json", "--actions", "publish,read"]);
    let made: serde_json::Value = serde_json::from_str(&made.out).unwrap();
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    assert_eq!(made["actions"], serde_json::json!(["publish", "read"]));
    // What it prints is what the configuration takes, and what the gate finds by the key.
    let toml = format!("[[api_keys]]\nhash = '{}'\nactions = ['publish']\n", text("hash"));
    let config = fanfare::config::load_text("f", &format!("listen = '127.0.0.1:1'\n{toml}"));
    let keys: ApiKeys = config.unwrap().settings.backends();
    assert!(keys.find(text("key").as_bytes()).is_some());

    let shown = make(&[]);
    shown.expect(0, &["ff_", "[[api_keys]]", "sha256:", "actions = [\"all\"]"]);
    assert_ne!(shown.out, make(&[]).out, "no two are alike");
    make(&["--actions", "write"]).expect(64, &["\"write\" is not an action", "\"publish\""]);
    make(&["mine"]).expect(64, &["mine"]);
}

#[test]
fn a_token_is_explained_step_by_step() {
    let folder = folder();
    let exp = now_s() + 600;
    let token = token(&format!(r#"{{"sub":"ann","exp":{exp},"channels":["room:*"]}}"#));
    let ask = |channel: &str, action: &str| {
        let words = ["--channel", channel, "--action", action, "--token", &token];
        let run = explain(&folder, &words, "");
        assert!(!run.out.contains(&token[..20]) && !run.err.contains(&token[..20]), "{run:?}");
        run
    };
    let who = "identity: the user \"ann\" of the tenant \"acme\"";
    let granted =
        ["allowed: subscribe \"room:1\"", "the token's grant of \"room:*\" gives it", who];
    ask("room:1", "subscribe").expect(0, &granted);
    ask("room:1", "publish").expect(1, &["refused: publish", "does not give publish"]);
    ask("user:ann", "subscribe").expect(0, &["\"user:{user}\" (f.toml:1)", "which this is"]);
    ask("user:bob", "subscribe").expect(1, &["allows it to others alone", "which this is not"]);
    ask("news", "subscribe").expect(0, &["(f.toml:7)"]);
    let piped = explain(&folder, &["--channel", "room:1", "--token", "-"], &format!("{token}\n"));
    piped.expect(0, &granted);
}

#[test]
fn a_token_that_is_none_is_refused_with_the_reason() {
    let folder = folder();
    let ask = |token: &str| explain(&folder, &["--channel", "a", "--token", token], "");
    let exp = now_s() - 3_600;
    ask(&token(&format!(r#"{{"exp":{exp}}}"#))).expect(1, &["refused: token_expired"]);
    let exp = now_s() + 600;
    let good = token(&format!(r#"{{"exp":{exp}}}"#));
    ask(&format!("{}AAAA", &good[..good.len() - 4])).expect(1, &["refused: invalid_token"]);
    ask("nonsense").expect(1, &["refused: invalid_token"]);
    ask("").expect(1, &["refused: invalid_token"]);
    // A key that only the endpoint has.
    let elsewhere = "eyJhbGciOiJFUzI1NiIsImtpZCI6IngifQ.e30.AAAA";
    ask(elsewhere).expect(69, &["https://id.example/k", "ask the running server"]);
    let empty = tempfile::tempdir().unwrap();
    run(fanfare(empty.path()).args(["explain", "--channel", "a", "--token", "x"]), "")
        .expect(78, &["has no key for tokens", "--config"]);
}

#[test]
fn whoever_has_no_token_is_explained_too() {
    let folder = folder();
    let acme = ["--channel", "news", "--tenant", "acme"];
    explain(&folder, &acme, "").expect(0, &["identity: anonymous of the tenant \"acme\""]);
    explain(&folder, &["--channel", "news"], "").expect(1, &["refused: subscribe", "to nobody"]);
    explain(&folder, &["--channel", "news", "--tenant", "acm"], "")
        .expect(64, &["no tenant \"acm\"", "did you mean \"acme\"?"]);
    explain(&folder, &["--channel", "a*"], "").expect(64, &["--channel"]);
    explain(&folder, &["--channel", "a", "--action", "read"], "").expect(64, &["\"history\""]);
    explain(&folder, &[], "").expect(64, &["--channel"]);
    let open = tempfile::tempdir().unwrap();
    run(fanfare(open.path()).args(["explain", "--channel", "a"]), "")
        .expect(0, &["nothing in the configuration asks who clients are"]);
}

#[test]
fn the_rule_of_a_channel_is_told_with_its_place() {
    let folder = folder();
    let ask = |words: &[&str]| {
        let mut command = fanfare(folder.path());
        run(command.args(["config", "explain", "--config", "f.toml"]).args(words), "")
    };
    ask(&["news", "--tenant", "acme"])
        .expect(0, &["\"news\" at f.toml:7, of this tenant", "count = 5", "may subscribe"]);
    ask(&["news"]).expect(0, &["no rule matches", "count = 1000", "may nothing"]);
    ask(&["user:ann", "--tenant", "beta"])
        .expect(0, &["f.toml:1, of all tenants", "where {user} is their name"]);
    ask(&["news", "--tenant", "gamma"]).expect(64, &["there is no tenant \"gamma\""]);
    ask(&[]).expect(64, &["<CHANNEL>"]);
    let open = tempfile::tempdir().unwrap();
    run(fanfare(open.path()).args(["config", "explain", "a"]), "")
        .expect(0, &["asks who they are"]);
}
