//! The configuration as a whole: precedence, exposure, secrets, and what is shown.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;

/// A folder with a configuration file of this text, and what names it.
fn file(toml: &str) -> (TempDir, Overrides) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fanfare.toml");
    fs::write(&path, toml).unwrap();
    let file = Some(flag("--config", path));
    (folder, Overrides { file, ..Overrides::default() })
}

fn flag<T>(name: &str, value: T) -> Sourced<T> {
    Sourced { value, source: Source::Flag(name.into()) }
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// The sentences of what is wrong, without the folder of the test.
fn complaints(folder: &TempDir, overrides: Overrides) -> Vec<String> {
    let Problems(problems) = load(overrides).expect_err("the configuration is wrong");
    let folder = format!("{}/", folder.path().display());
    problems.iter().map(|problem| problem.to_string().replace(&folder, "")).collect()
}

#[test]
fn without_a_word_it_is_the_documented_defaults() {
    let settings = load(Overrides::default()).unwrap().settings;
    assert_eq!(settings.listen, address("127.0.0.1:7070"));
    assert_eq!(settings.api, Some(address("127.0.0.1:7071")));
    assert_eq!(settings.socket, Some(default_socket()));
    assert_eq!(settings.socket_mode, 0o600);
    assert_eq!(settings.driver, DriverChoice::Auto);
    assert_eq!((settings.shards, settings.connections_asked), (None, false));
    assert_eq!(settings.api_key, None);
    assert!(settings.dev && !settings.insecure);
    let (_, rule) = settings.rules.of(&Tenant::default(), "any");
    assert_eq!((rule.history.count, rule.history.bytes), (1_000, 1 << 20));
    assert_eq!((rule.history.age_ms, rule.window.count), (600_000, 1_024));
}

#[test]
fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
    let (_folder, mut overrides) = file("listen = '127.0.0.1:1'\nshards = 3\napi = 'none'\n");
    overrides.listen = Some(flag("--listen", address("127.0.0.1:2")));
    let settings = load(overrides).unwrap().settings;
    assert_eq!(settings.listen, address("127.0.0.1:2"));
    assert_eq!((settings.shards, settings.api), (Some(3), None));
    assert_eq!(settings.socket, Some(default_socket()));
}

#[test]
fn asked_connections_are_told_from_the_default() {
    let (_folder, overrides) = file("max_connections = 5\n");
    let settings = load(overrides).unwrap().settings;
    assert_eq!((settings.limits.connections, settings.connections_asked), (5, true));
}

#[test]
fn a_missing_or_broken_file_is_told_with_who_named_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = Some(flag("--config", folder.path().join("absent.toml")));
    let found = complaints(&folder, Overrides { file, ..Overrides::default() });
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("--config: cannot read absent.toml: No such file"), "{found:?}");

    let (folder, overrides) = self::file("");
    fs::write(&overrides.file.as_ref().unwrap().value, b"# fine\nab\xff").unwrap();
    let found = complaints(&folder, overrides);
    assert_eq!(found, ["fanfare.toml:2:3: this is not UTF-8, as TOML must be"]);
}

#[test]
fn listeners_that_others_reach_need_identity_or_a_word() {
    for (listen, api, key, problems) in [
        ("127.0.0.1:1", "127.0.0.1:2", false, 0),
        ("[::1]:1", "[::ffff:127.0.0.1]:2", false, 0),
        ("0.0.0.0:1", "127.0.0.1:2", false, 1),
        ("[::]:1", "192.0.2.1:2", false, 2),
        ("127.0.0.1:1", "192.0.2.1:2", false, 1),
        ("127.0.0.1:1", "192.0.2.1:2", true, 0),
    ] {
        let mut overrides = Overrides {
            listen: Some(flag("--listen", address(listen))),
            api: Some(flag("--api", OptionalAddress::At(address(api)))),
            api_key: key.then(|| flag("FANFARE_API_KEY", "0123456789abcdef".into())),
            ..Overrides::default()
        };
        let found = load(overrides.clone()).map_or_else(|problems| problems.0, |_| Vec::new());
        assert_eq!(found.len(), problems, "{listen} {api}: {found:?}");
        assert!(found.iter().all(|found| found.what.contains("--i-understand-insecure")));
        overrides.insecure_understood = true;
        let settings = load(overrides).unwrap().settings;
        assert_eq!(settings.insecure, problems > 0, "{listen} {api}");
        let loopback = problems == 0 && !key;
        assert_eq!(settings.dev, loopback, "{listen} {api}");
    }
}

/// A node inside of another program has no command line: the word stands in its text.
#[test]
fn a_node_inside_of_a_program_opens_what_its_text_names() {
    let settings = load_text("text", "listen = '127.0.0.1:0'").unwrap().settings;
    assert_eq!((settings.api, settings.socket), (None, None));
    let named = "listen = '127.0.0.1:0'\napi = '127.0.0.1:0'\nsocket = '/tmp/s'";
    let settings = load_text("text", named).unwrap().settings;
    assert!(settings.api.is_some() && settings.socket.is_some());
    for (text, what) in [
        ("", "it does not say where clients connect"),
        ("listen = '0.0.0.0:1'", "i_understand_insecure = true"),
        ("listen = '0.0.0.0:1'\ni_understand_insecure = false", "i_understand_insecure = true"),
    ] {
        let problems = load_text("text", text).unwrap_err().0;
        assert!(problems.len() == 1 && problems[0].what.contains(what), "{problems:?}");
    }
    let text = "listen = '0.0.0.0:1'\ni_understand_insecure = true";
    let config = load_text("text", text).unwrap();
    assert!(config.settings.insecure);
    let (_folder, overrides) = file(&config.effective_toml());
    assert!(load(overrides).unwrap().settings.insecure, "shown as it counts");
}

#[test]
fn development_mode_can_be_ended() {
    let (_folder, mut overrides) = file("no_dev = true\n");
    assert!(!load(overrides.clone()).unwrap().settings.dev);
    overrides.no_dev = Some(flag("FANFARE_NO_DEV", false));
    assert!(load(overrides.clone()).unwrap().settings.dev, "the environment wins over the file");
    overrides.api_key = Some(flag("FANFARE_API_KEY", "0123456789abcdef".into()));
    assert!(!load(overrides).unwrap().settings.dev, "who has a key means more than this machine");
}

#[test]
fn hosts_are_read_from_the_file_and_from_flags() {
    let (_folder, mut overrides) = file("hosts = ['app.example']\n");
    let hosts = load(overrides.clone()).unwrap().settings.hosts;
    assert!(hosts.answers(Some("app.example"), true) && !hosts.answers(Some("b.example"), true));
    overrides.hosts = Some(flag("--hosts", vec!["b.example".into()]));
    let config = load(overrides).unwrap();
    assert!(config.settings.hosts.answers(Some("b.example"), true));
    assert!(!config.settings.hosts.answers(Some("app.example"), true), "a flag wins");
    let shown = config.effective_toml();
    let line = shown.lines().find(|line| line.starts_with("hosts")).unwrap();
    assert!(line.starts_with("hosts = [\"b.example\"]") && line.ends_with("# --hosts"), "{line}");
}

#[test]
fn a_short_key_is_refused_wherever_it_stands() {
    let (folder, overrides) = file("api_key = '0123456789abcde'\n");
    fs::set_permissions(folder.path().join("fanfare.toml"), Permissions::from_mode(0o600)).unwrap();
    let found = complaints(&folder, overrides);
    assert!(found[0].starts_with("fanfare.toml:1:11: the API key has 15 characters"), "{found:?}");
    assert!(!found[0].contains("0123456789abcde"), "{found:?}");
}

#[test]
fn secrets_are_read_only_from_private_files() {
    let (folder, overrides) = file("api_key = 'k-inline-0123456789'\n");
    let path = folder.path().join("fanfare.toml");
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    let found = complaints(&folder, overrides.clone());
    assert!(found[0].starts_with("fanfare.toml:1:11: "), "{found:?}");
    assert!(found[0].contains("mode 0644") && found[0].contains("chmod 600"), "{found:?}");
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    assert_eq!(load(overrides).unwrap().settings.api_key, Some("k-inline-0123456789".into()));

    let (folder, mut overrides) = file("api_key_file = 'key'\n");
    let path = folder.path().join("key");
    fs::write(&path, "k-beside-0123456789\n").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
    let found = complaints(&folder, overrides.clone());
    assert!(found[0].starts_with("fanfare.toml:1:16: api_key_file: key holds"), "{found:?}");
    fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
    let settings = load(overrides.clone()).unwrap().settings;
    assert_eq!(settings.api_key, Some("k-beside-0123456789".into()));

    overrides.api_key = Some(flag("FANFARE_API_KEY", "k-environment-0123456789".into()));
    let settings = load(overrides).unwrap().settings;
    assert_eq!(settings.api_key, Some("k-environment-0123456789".into()));
}

#[test]
fn two_keys_and_empty_keys_are_refused() {
    let (folder, overrides) = file("api_key = 'a'\napi_key_file = 'b'\n");
    fs::set_permissions(folder.path().join("fanfare.toml"), Permissions::from_mode(0o600)).unwrap();
    assert!(complaints(&folder, overrides)[0].contains("both there"));
    let source = Source::Environment("FANFARE_API_KEY".into());
    let api_key = Some(Sourced { value: String::new(), source });
    let found = complaints(&folder, Overrides { api_key, ..Overrides::default() });
    assert!(found[0].starts_with("FANFARE_API_KEY: the API key is empty"), "{found:?}");
}

#[test]
fn values_that_do_not_go_together_are_refused() {
    let (folder, overrides) = file("listen = '127.0.0.1:5'\napi = '127.0.0.1:5'\n");
    let found = complaints(&folder, overrides);
    assert!(found[0].starts_with("fanfare.toml:2:7: clients and the API"), "{found:?}");

    let (folder, overrides) = file("socket_users = [33]\n");
    let found = complaints(&folder, overrides);
    assert!(found[0].starts_with("fanfare.toml:1:16: socket_users"), "{found:?}");

    let (folder, overrides) = file("[limits]\npong = '1m'\nring_entries = 100\n");
    let found = complaints(&folder, overrides);
    assert!(found[0].starts_with("fanfare.toml:3:16: ring_entries: 100 is not"), "{found:?}");
    assert!(found[1].starts_with("fanfare.toml:2:8: [limits] pong = \"1m\""), "{found:?}");
}

#[test]
fn what_is_shown_names_its_sources_and_hides_the_key() {
    let toml = "origins = ['https://a.example']\n[limits]\nping = '30s'\n\
                [[channels]]\nmatch = 'r:*'\nhistory = { count = 5 }\n";
    let (_folder, mut overrides) = file(toml);
    overrides.shards = Some(flag("--shards", 2));
    overrides.api_key = Some(flag("FANFARE_API_KEY", "hunter2-0123456789".into()));
    let shown = load(overrides).unwrap().effective_toml();
    assert!(!shown.contains("hunter2"), "{shown}");
    let line = |start: &str| {
        let line = shown.lines().find(|line| line.starts_with(start));
        line.unwrap_or_else(|| panic!("no {start} in\n{shown}"))
    };
    assert!(line("api_key").contains("\"***\"") && line("api_key").contains("# FANFARE_API_KEY"));
    assert!(line("shards = 2").ends_with("# --shards"));
    assert!(line("listen").ends_with("# default"));
    assert!(line("ping = \"30s\"").ends_with("fanfare.toml:3:8"));
    assert!(line("match").ends_with("\"r:*\""));
    assert!(line("# development mode").ends_with("off"), "there is an API key");
}

#[test]
fn what_is_shown_can_be_read_back() {
    let toml = "shards = 3\nno_dev = true\nhosts = ['app.example']\n\
                socket_mode = '0660'\nhistory = { count = 9 }\n\
                slow = 'window'\n\
                [[channels]]\nmatch = 'r:*'\nwindow = { count = 5 }\nslow = 'latest'\n\
                [limits]\nping = '30s'\n";
    let (_folder, overrides) = file(toml);
    let first = load(overrides).unwrap();
    let (_folder, again) = file(&first.effective_toml());
    let again = load(again).unwrap();
    assert_eq!(without_places(&again.settings), without_places(&first.settings));
}

/// Settings as text, less where their rules stand.
fn without_places(settings: &Settings) -> String {
    let text = format!("{settings:?}");
    let mut parts = text.split("place: \"");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once('"').map_or("", |(_, rest)| rest))
}

#[test]
fn the_commented_defaults_are_the_defaults() {
    let (_folder, overrides) = file(&default_toml());
    let written = load(overrides).unwrap().settings;
    let built_in = load(Overrides::default()).unwrap().settings;
    assert_eq!(format!("{written:?}"), format!("{built_in:?}"));
}
