//! Keys of backends: whose channels each is about, what it may do, and what others are told.

use fanfare::channel::Tenant;
use fanfare_identity::{API_KEY_RANDOM_BYTES, Actions, ApiKey, MadeKey};

use crate::client::{Node, Wishes};

/// A key of a tenant, and the field that sends it.
fn key(tenant: &str, actions: &[&str], seed: u8) -> (ApiKey, String) {
    let made = MadeKey::of(&[seed; API_KEY_RANDOM_BYTES]);
    let actions = actions.iter().map(|word| Actions::parse(word).unwrap());
    let actions = actions.fold(Actions::NONE, Actions::and);
    let place = "f.toml:1".into();
    let key = ApiKey { tenant: Tenant::new(tenant), actions, hash: made.hash, place };
    (key, format!("Authorization: Bearer {}\r\n", made.key))
}

fn node(keys: Vec<ApiKey>) -> Node {
    Node::with(Wishes { api_keys: keys, ..Wishes::default() })
}

fn get(node: &Node, path: &str, fields: &str) -> (u16, String) {
    let answer = node.ask(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n"));
    (answer.status, answer.body)
}

/// One name, two tenants, three channels: nothing that a request says changes whose it is.
#[test]
fn a_key_says_whose_channels_a_request_is_about() {
    let (acme, acme_field) = key("acme", &["all"], 1);
    let (beta, beta_field) = key("beta", &["publish", "read"], 2);
    let node = node(vec![acme, beta]);
    for (field, body) in [(&acme_field, "of acme"), (&beta_field, "of beta")] {
        assert_eq!(node.post("/v1/channels/room", field, body).status, 200);
        let json = format!("{field}Content-Type: application/json\r\n");
        let tenants = r#"{"channel":"room","data":1,"tenant":"acme"}"#;
        assert_eq!(node.post("/v1/publish", &json, tenants).status, 422, "no such word");
        let one = r#"{"channels":["room","hall"],"data":1}"#;
        assert_eq!(node.post("/v1/publish", &json, one).status, 200);
        let path = "/v1/channels/room?tenant=acme";
        assert_eq!(node.post(path, &format!("{field}X-Tenant: acme\r\n"), "x").status, 200);
    }
    let published = node.sequencer.published.lock().unwrap();
    let tenants: Vec<_> = published.iter().map(|one| one.channel.tenant.as_str()).collect();
    assert_eq!(tenants, ["acme", "acme", "acme", "beta", "beta", "beta"]);
    assert!(published[1].also.iter().all(|also| also.tenant.as_str() == "acme"));
    drop(published);
    let (status, body) = get(&node, "/v1/channels/room", &beta_field);
    assert!(status == 200 && body.contains("\"offset\":3"), "its own three alone: {body}");
}

#[test]
fn a_key_does_what_its_actions_say_and_nothing_else() {
    let actions = ["publish", "read", "connections", "tokens", "metrics", "reload"];
    let keys: Vec<_> =
        (1..).zip(actions).map(|(seed, action)| key("acme", &[action], seed)).collect();
    let node = node(keys.iter().map(|(key, _)| key.clone()).collect());
    let requests = [
        ("publish", "POST /v1/channels/a"),
        ("publish", "POST /v1/publish"),
        ("read", "GET /v1/channels/a"),
        ("read", "GET /v1/channels/a/history"),
        ("connections", "DELETE /v1/connections/1"),
        ("connections", "GET /v1/users/ann"),
        ("tokens", "POST /v1/tickets"),
        ("metrics", "GET /metrics"),
        ("reload", "POST /v1/reload"),
    ];
    for (needed, request) in requests {
        for (nth, has) in actions.iter().enumerate() {
            let field = &keys[nth].1;
            let head = "Host: localhost\r\nContent-Length: 1\r\n";
            let answer = node.ask(format!("{request} HTTP/1.1\r\n{head}{field}\r\nx"));
            let forbidden = answer.status == 403;
            assert_eq!(forbidden, needed != *has, "{request} with {has}: {answer:?}");
            if forbidden {
                assert!(
                    answer.error() == "forbidden" && answer.body.contains(needed),
                    "{answer:?}"
                );
                assert!(!answer.body.contains("f.toml"), "where a key stands is the operator's");
            }
        }
    }
}

/// P18: who may not is told the same of a channel that is there and of one that is not.
#[test]
fn what_is_there_is_told_to_nobody_who_may_not() {
    let (publisher, publishes) = key("acme", &["publish"], 1);
    let (reader, reads) = key("acme", &["read"], 2);
    let node = node(vec![publisher, reader]);
    assert_eq!(node.post("/v1/channels/there", &publishes, "x").status, 200);
    assert_eq!(
        get(&node, "/v1/channels/there/history", &publishes),
        get(&node, "/v1/channels/absent/history", &publishes)
    );
    let post = |path| node.post(path, &reads, "x");
    let (there, absent) = (post("/v1/channels/there"), post("/v1/channels/absent"));
    assert_eq!((there.status, &there.body), (403, &absent.body));
    assert_eq!(node.sequencer.count(), 1);
}

#[test]
fn old_and_new_keys_hold_side_by_side() {
    let (old, old_field) = key("acme", &["publish"], 1);
    let (new, new_field) = key("acme", &["publish"], 2);
    let node = node(vec![old, new]);
    for field in [&old_field, &new_field] {
        assert_eq!(node.post("/v1/channels/a", field, "x").status, 200);
    }
    let (_, other) = key("acme", &["publish"], 3);
    let refused = node.post("/v1/channels/a", &other, "x");
    assert_eq!((refused.status, &*refused.error()), (401, "unauthorized"));
    let hash = old_field.replace("Bearer ff_", "Bearer sha256:");
    assert_eq!(node.post("/v1/channels/a", &hash, "x").status, 401, "a hash is no key");
    let long = format!("Authorization: Bearer {}\r\n", "x".repeat(8_000));
    assert_eq!(node.post("/v1/channels/a", &long, "x").status, 401);
}

#[test]
fn who_has_no_key_is_not_told_which_paths_there_are() {
    let (one, field) = key("acme", &["publish"], 1);
    let node = node(vec![one]);
    for path in ["/v1/channels/a", "/nowhere", "/v1/connections/1", "/metrics"] {
        assert_eq!(get(&node, path, "").0, 401, "{path}");
    }
    assert_eq!(get(&node, "/nowhere", &field).0, 404);
    assert_eq!(get(&node, "/healthz", "").0, 200);
}
