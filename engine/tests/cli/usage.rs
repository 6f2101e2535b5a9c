//! Help, mistakes on the command line, and no server.

use crate::{code_on_a_full_disk, fanfare, run};

fn words(line: &str) -> crate::Run {
    let folder = tempfile::tempdir().unwrap();
    run(fanfare(folder.path()).args(line.split_whitespace()), "")
}

#[test]
fn help_shows_the_way() {
    words("--help").expect(
        0,
        &[
            "fanfare publish demo '{\"hello\":\"world\"}'",
            "fanfare tail demo",
            "serve",
            "Every flag of serve but --i-understand-insecure has a variable",
            "FANFARE_API_KEY",
            "FANFARE_LOG",
            "Exit codes",
            "78",
            "101 a bug",
        ],
    );
    let serve = ["--listen", "FANFARE_LISTEN", "--i-understand-insecure", "SIGTERM"];
    words("serve --help").expect(0, &serve);
    words("publish --help").expect(0, &["--event", "--kind", "Exit codes"]);
    words("tail --help").expect(0, &["--since", "--url", "FANFARE_URL"]);
    words("config check --help").expect(0, &["--config"]);
    words("--version").expect(0, &["fanfare 0."]);
}

/// What was asked for could not be printed; what nobody asked for must not matter.
#[test]
fn output_that_cannot_be_written_is_said_by_the_code() {
    let folder = tempfile::tempdir().unwrap();
    let code =
        |line: &str| code_on_a_full_disk(fanfare(folder.path()).args(line.split_whitespace()));
    for line in ["--help", "serve --help", "--version", "config show-default", "config check"] {
        assert_eq!(code(line), Some(74), "{line}");
    }
    assert_eq!(code("doctor --listen 127.0.0.1:0 --api none --socket none"), Some(74));
    assert_eq!(code("--lisen 127.0.0.1:0"), Some(64));
    assert_eq!(code("publish demo hi"), Some(69));
}

#[test]
fn wrong_words_are_usage() {
    words("--lisen 127.0.0.1:0").expect(64, &["--lisen", "--listen"]);
    words("pubish demo hi").expect(64, &["pubish", "publish"]);
    words("--shards 65").expect(64, &["from 1 to 64"]);
    words("--listen here").expect(64, &["IP:PORT"]);
    words("publish").expect(64, &["CHANNEL"]);
    words("tail demo --since yesterday").expect(64, &["an id that Fanfare gave", "10m"]);
    words("tail demo --last x").expect(64, &["--last", "how many messages, as in \"20\""]);
    words("tail demo --last 5 --since 10m").expect(64, &["cannot be used with"]);
    words("tail demo --url localhost:7070").expect(64, &["begins with http://"]);
}

#[test]
fn the_environment_is_blamed_where_it_is_to_blame() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = fanfare(folder.path());
    let blamed = run(command.env("FANFARE_SHARDS", "many"), "");
    blamed.expect(78, &["FANFARE_SHARDS in the environment", "from 1 to 64"]);
    let flag = run(command.args(["--shards", "0"]), "");
    flag.expect(64, &["--shards"]);
}

#[test]
fn without_a_server_it_says_where_it_looked_and_how_to_start_one() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("fanfare.sock").display().to_string();
    let publish = run(fanfare(folder.path()).args(["publish", "demo", "hi"]), "");
    publish.expect(69, &[&socket, "start one with `fanfare`", "FANFARE_SOCKET"]);

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let tail = run(fanfare(folder.path()).args(["tail", "demo", "--url", &url]), "");
    let where_it_looked = format!("no Fanfare answers at {url} (Connection refused");
    tail.expect(69, &[&where_it_looked, "start one with `fanfare`", "FANFARE_URL"]);
    let bench =
        run(fanfare(folder.path()).args(["bench", "idle", "--socket", "none", "--url", &url]), "");
    bench.expect(69, &["no server answers at", &url, "start one with `fanfare`"]);
}

#[test]
fn a_variable_that_is_nearly_right_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = fanfare(folder.path());
    command.env("FANFARE_LISTNE", "127.0.0.1:5").env("FANFARE_SERVICE_PORT", "5");
    let check = run(command.args(["config", "check"]), "");
    check.expect(0, &["warning: FANFARE_LISTNE", "did you mean FANFARE_LISTEN?"]);
    assert!(!check.err.contains("SERVICE"), "{check:#?}");
}
