//! `config check`, and a `serve` that refuses to start.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use crate::{Run, fanfare, run};

fn folder(toml: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f.toml");
    fs::write(&path, toml).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    folder
}

fn check(toml: &str) -> Run {
    let folder = folder(toml);
    run(fanfare(folder.path()).args(["config", "check", "--config", "f.toml"]), "")
}

#[test]
fn a_good_file_is_shown_with_its_sources() {
    let folder = folder("shards = 3\n[limits]\nping = '30s'\n");
    let mut command = fanfare(folder.path());
    command.args(["config", "check", "--config", "f.toml", "--listen", "127.0.0.1:9"]);
    let shown = run(command.env("FANFARE_API_KEY", "hunter2-0123456789"), "");
    shown.expect(0, &["f.toml:1:10", "f.toml:3:8", "# --listen", "# FANFARE_API_KEY", "\"***\""]);
    assert!(!shown.out.contains("hunter2"), "{shown:#?}");
    assert_eq!(shown.err, "");
}

#[test]
fn every_mistake_has_its_place_and_the_nearest_key() {
    let wrong = check("lisen = '127.0.0.1:1'\nshards = 'two'\n[limits]\npign = '1s'\n");
    wrong.expect(
        78,
        &[
            "f.toml:1:1: \"lisen\" is not a key at the top of the file; did you mean \"listen\"?",
            "f.toml:2:10: shards: this is a whole number, and here stands a string",
            "f.toml:4:1: \"pign\" is not a key in [limits]; did you mean \"ping\"?",
            "3 problems",
        ],
    );
    assert_eq!(wrong.out, "");
    check("shards = 1\nshards = 2\n").expect(78, &["f.toml:2:1: \"shards\" is said twice"]);
    check("[limits]\nping = '5 parsecs'\n").expect(78, &["f.toml:2:8", "a number and a unit"]);
    check("listen = \n").expect(78, &["f.toml:1:", "this is not TOML"]);
    check("[[channels]]\nmatch = 'a*'\n").expect(78, &["f.toml:2:9", "whole segment"]);
}

#[test]
fn serve_refuses_what_check_refuses() {
    let folder = folder("shards = 0\n");
    run(fanfare(folder.path()).args(["--config", "f.toml"]), "").expect(78, &["f.toml:1:10"]);
    run(fanfare(folder.path()).args(["--config", "none.toml"]), "")
        .expect(78, &["--config: cannot read none.toml"]);
    let variable = run(fanfare(folder.path()).env("FANFARE_CONFIG", "f.toml"), "");
    variable.expect(78, &["f.toml:1:10"]);
}

#[test]
fn a_listener_that_others_reach_is_refused() {
    let folder = folder("");
    for flags in [["--listen", "0.0.0.0:0"], ["--api", "0.0.0.0:0"]] {
        let refused = run(fanfare(folder.path()).args(flags), "");
        refused.expect(78, &[flags[0], "the flag --i-understand-insecure (it has no variable)"]);
        let mut check = fanfare(folder.path());
        check.args(["config", "check", "--i-understand-insecure"]).args(flags);
        run(&mut check, "").expect(0, &["development mode: off"]);
    }
}

#[test]
fn secrets_that_others_can_read_are_refused() {
    check("api_key = 'abcdef'\n").expect(78, &["f.toml:1:11", "mode 0644", "chmod 600"]);
    let folder = folder("");
    let empty = run(fanfare(folder.path()).env("FANFARE_API_KEY", ""), "");
    empty.expect(78, &["FANFARE_API_KEY: the API key is empty"]);
    let short = run(fanfare(folder.path()).env("FANFARE_API_KEY", "0123456789abcde"), "");
    short.expect(78, &["FANFARE_API_KEY: the API key has 15 characters", "at least 16"]);
}

#[test]
fn the_default_file_checks() {
    let folder = tempfile::tempdir().unwrap();
    let shown = run(fanfare(folder.path()).args(["config", "show-default"]), "");
    shown.expect(0, &["listen = \"127.0.0.1:7070\"", "[limits]"]);
    check(&shown.out).expect(0, &["ping = \"25s\""]);
}

#[test]
fn a_log_filter_that_cannot_be_read_is_configuration() {
    let folder = folder("");
    let mut command = fanfare(folder.path());
    command.args(["--listen", "127.0.0.1:0", "--api", "none", "--socket", "none"]);
    run(command.env("FANFARE_LOG", "fanfare=loud"), "").expect(78, &["FANFARE_LOG"]);
}

#[test]
fn a_rule_that_an_earlier_one_leaves_nothing_is_said() {
    let behind_all = check("[[channels]]\nmatch = '**'\n[[channels]]\nmatch = 'room:*'\n");
    behind_all.expect(0, &["warning: the rule of the channels \"room:*\" never counts", "\"**\""]);
    assert_eq!(behind_all.err.lines().count(), 1, "{behind_all:#?}");
    let in_order = check("[[channels]]\nmatch = 'room:*'\n[[channels]]\nmatch = '**'\n");
    assert_eq!(in_order.err, "", "what stands behind \"**\" by default is nobody's rule");
}

#[test]
fn what_cannot_hold_the_largest_message_is_said() {
    assert_eq!(check("").err, "");
    assert_eq!(check("history = { count = 0 }\n").err, "", "nothing is meant to be kept");
    let raised = check("[limits]\nmessage_bytes = '8MiB'\n");
    raised.expect(0, &["warning: history = { bytes = \"1MiB\" } of the channels \"**\"", "8MiB"]);
    let rule = "[[channels]]\nmatch = 'room:*'\nhistory = { bytes = '500KB' }\n";
    let small = check(rule);
    small.expect(0, &["warning: history = { bytes = \"500KB\" } of the channels \"room:*\""]);
    assert_eq!(small.err.lines().count(), 1, "{small:#?}");
    let window = check("history = { count = 0, bytes = '1KiB' }\nwindow = { bytes = '2KiB' }\n");
    window.expect(0, &["warning: window = { bytes = \"2KiB\" } of the channels \"**\""]);
}
