//! A configuration that is read again by a node that runs: SIGHUP and `POST /v1/reload`.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use fanfare_identity::keys::{Algorithm, Key};
use fanfare_identity::{API_KEY_RANDOM_BYTES, MadeKey};
use rustix::process::Signal;
use serde_json::Value;

use crate::support::process::{self, Process};
use crate::support::{Client, wait_until};

fn key(seed: u8) -> MadeKey {
    MadeKey::of(&[seed; API_KEY_RANDOM_BYTES])
}

/// A file with these keys, which may do everything.
fn write(path: &Path, keys: &[&MadeKey], more: &str) {
    let keys = keys
        .iter()
        .map(|key| format!("[[api_keys]]\nhash = \"{}\"\nactions = [\"all\"]\n", key.hash));
    std::fs::write(path, keys.chain([more.into()]).collect::<String>()).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// One request with a key, and its answer: the status and what it says.
fn ask(api: SocketAddr, request: &str, key: &MadeKey) -> (u16, String) {
    let mut client = Client::connect(api);
    let key = &key.key;
    let head = format!("{request} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n");
    client.send(format!("{head}Content-Length: 1\r\n\r\nx").as_bytes());
    let (head, body) = client.answer();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body)
}

fn publish(api: SocketAddr, key: &MadeKey) -> u16 {
    ask(api, "POST /v1/channels/a", key).0
}

fn serve(file: &Path) -> (Process, SocketAddr, SocketAddr) {
    let mut command = process::serve();
    command.args(["--listen", "127.0.0.1:0", "--api", "127.0.0.1:0", "--socket", "none"]);
    let process = Process::start(command.args(["--shards", "1", "--config"]).arg(file));
    let (listen, api) = (process.address("listen"), process.address("api"));
    (process, listen, api)
}

/// Keys change over under a client that hears nothing of it.
#[test]
fn keys_change_and_nobody_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("fanfare.toml");
    let (old, new) = (key(1), key(2));
    write(&file, &[&old], "");
    let (mut server, listen, api) = serve(&file);
    let mut client = Client::websocket(listen, "/ws?channels=a");
    assert_eq!((publish(api, &old), publish(api, &new)), (200, 401));

    write(&file, &[&old, &new], "");
    server.signal(Signal::HUP);
    wait_until("the new key holds", || publish(api, &new) == 200);
    assert_eq!(publish(api, &old), 200, "and the old one still does");

    write(&file, &[&new], "");
    let (status, body) = ask(api, "POST /v1/reload", &old);
    assert_eq!((status, body.contains("\"changed\":[\"API keys\"]")), (200, true), "{body}");
    assert_eq!((publish(api, &old), publish(api, &new)), (401, 200));

    client.send_frame(0x89, b"still?");
    while client.frame() != (0x8a, b"still?".to_vec()) {}
    server.signal(Signal::TERM);
    client.send_frame(0x88, &1012u16.to_be_bytes());
    assert_eq!(server.end(), Some(0));
}

/// G7: an invalid file changes nothing, and log, metric and answer say why.
#[test]
fn a_wrong_file_changes_nothing_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("fanfare.toml");
    let (good, other) = (key(1), key(2));
    write(&file, &[&good], "");
    let (mut server, _, api) = serve(&file);
    write(&file, &[&other], "[limits]\npign = '5s'\n");
    let (status, body) = ask(api, "POST /v1/reload", &good);
    let body: Value = serde_json::from_str(&body).unwrap();
    let message = body["message"].as_str().unwrap();
    assert_eq!((status, &body["error"]), (422, &Value::from("bad_configuration")));
    assert!(message.contains("fanfare.toml:5:1") && message.contains("\"ping\""), "{message}");
    server.signal(Signal::HUP);
    let failed = || ask(api, "GET /metrics", &good).1;
    wait_until("both are counted", || failed().contains("config_reload_failed_total 2"));
    assert_eq!((publish(api, &good), publish(api, &other)), (200, 401));
    std::fs::remove_file(&file).unwrap();
    assert_eq!(ask(api, "POST /v1/reload", &good).0, 422, "no file is no configuration");
    server.signal(Signal::TERM);
    assert_eq!(server.end(), Some(0));
    assert!(server.all_said().contains("the one before goes on"), "{}", server.said);
}

/// What a node was made with stays, and whoever takes the last key away by mistake opens nothing.
#[test]
fn what_cannot_change_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("fanfare.toml");
    let one = key(1);
    write(&file, &[&one], "");
    let (mut server, _, api) = serve(&file);
    write(&file, &[], "driver = 'epoll'\n[limits]\nchannels = 999\n");
    for _ in 0..2 {
        let (status, body) = ask(api, "POST /v1/reload", &one);
        let body: Value = serde_json::from_str(&body).unwrap();
        let waits = body["needs_restart"].as_array().unwrap();
        for what in ["driver", "limits", "that the API asks for no key"] {
            assert!(waits.contains(&what.into()), "{what}: {body}");
        }
        assert_eq!((status, body["changed"].as_array().unwrap().len()), (200, 0));
        assert_eq!((publish(api, &key(2)), publish(api, &one)), (401, 200));
    }
    server.signal(Signal::TERM);
    assert_eq!(server.end(), Some(0));
}

/// A stream that was asked for with a token, or without one, and the status of its answer.
fn follow(listen: SocketAddr, channel: &str, token: Option<&str>) -> (Client, u16) {
    let mut client = Client::connect(listen);
    let token = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
    let field = token.unwrap_or_default();
    let head = format!("GET /sse?channels={channel} HTTP/1.1\r\nHost: localhost\r\n{field}\r\n");
    client.send(head.as_bytes());
    let status = client.head().split(' ').nth(1).unwrap().parse().unwrap();
    (client, status)
}

fn secret(nth: u8) -> String {
    format!("secret number {nth} of thirty-two bytes or more")
}

fn token(nth: u8) -> String {
    let key = Key::secret(Algorithm::Hs256, secret(nth).as_bytes()).unwrap();
    key.sign(Some(&nth.to_string()), r#"{"sub":"ann","channels":["room"]}"#).unwrap()
}

/// Keys of tokens and rules change over: who is here by what goes on to hold stays, who is here by
/// what was taken away does not.
#[test]
fn keys_of_tokens_and_rules_change_under_clients() {
    for driver in ["uring", "epoll"] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("fanfare.toml");
        let admin = key(1);
        let keys = |numbers: &[u8]| {
            let keys = numbers.iter().map(|nth| {
                format!("[[tenants.keys]]\nkid = \"{nth}\"\nsecret = \"{}\"\n", secret(*nth))
            });
            let tenant = "[auth]\nrequire_exp = false\n[[tenants]]\nname = \"default\"\n";
            format!("{tenant}{}", keys.collect::<String>())
        };
        let open = "[[channels]]\nmatch = \"news\"\nallow = { anonymous = [\"subscribe\"] }\n";
        write(&file, &[&admin], &format!("{open}{}", keys(&[1])));
        let mut command = process::serve();
        command.args(["--listen", "127.0.0.1:0", "--api", "127.0.0.1:0", "--socket", "none"]);
        command.args(["--shards", "1", "--driver", driver, "--config"]).arg(&file);
        let mut server = Process::start(&mut command);
        let (listen, api) = (server.address("listen"), server.address("api"));
        let (mut ann, status) = follow(listen, "room", Some(&token(1)));
        assert_eq!(status, 200, "{driver}");
        let (mut anybody, status) = follow(listen, "news", None);
        assert_eq!(status, 200);
        assert_eq!(follow(listen, "room", Some(&token(2))).1, 401);
        assert_eq!(follow(listen, "room", None).1, 401);

        write(&file, &[&admin], &keys(&[1, 2]));
        let (status, body) = ask(api, "POST /v1/reload", &admin);
        let told = ["keys of tokens", "who may use which channels"];
        assert!(status == 200 && told.iter().all(|what| body.contains(what)), "{body}");
        wait_until("the new key holds", || follow(listen, "room", Some(&token(2))).1 == 200);
        assert_eq!(follow(listen, "news", None).1, 401, "{driver}");
        anybody.opening();
        let farewell = anybody.block();
        assert!(farewell.contains(r#""code":4401,"reason":"token_needed""#), "{farewell}");
        ann.opening();
        assert_eq!(ask(api, "POST /v1/channels/room", &admin).0, 200);
        assert!(ann.block().contains("data: x"), "{driver}: her stream goes on");
        server.signal(Signal::TERM);
        assert_eq!(server.end(), Some(0));
    }
}
