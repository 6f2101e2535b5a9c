//! `fanfare doctor`: what it says of this machine, and that `serve` agrees.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::{Run, fanfare, run};

/// Addresses that are free whatever else runs here.
const FREE: [&str; 6] = ["--listen", "127.0.0.1:0", "--api", "127.0.0.1:0", "--socket", "f.sock"];

fn doctor(flags: &[&str]) -> Run {
    let folder = tempfile::tempdir().unwrap();
    run(fanfare(folder.path()).arg("doctor").args(FREE).args(flags), "")
}

fn finding(json: &Value, check: &str) -> Value {
    let findings = json["findings"].as_array().unwrap();
    findings.iter().find(|finding| finding["check"] == check).unwrap_or(&Value::Null).clone()
}

/// The command under an open files limit of its own, hard and soft.
fn under(limit: usize, folder: &Path, words: &[&str]) -> Command {
    let fanfare = fanfare(folder);
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n \"$0\" && exec \"$@\"", &limit.to_string()]);
    command.arg(fanfare.get_program()).args(words).current_dir(folder);
    for (name, value) in fanfare.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    command
}

#[test]
fn a_few_connections_hold_here() {
    let words = ["hold 1,000 connections", "kernel", "open files", "It holds."];
    doctor(&["--max-connections", "1000"]).expect(0, &words);
    let json = doctor(&["--max-connections", "1000", "--json"]);
    json.expect(0, &[]);
    let json: Value = serde_json::from_str(&json.out).expect("one object");
    assert_eq!((&json["holds"], &json["connections"]), (&true.into(), &1_000.into()));
    assert_eq!(finding(&json, "Unix socket")["verdict"], "holds");
    assert!(json["shards"].as_u64().is_some_and(|shards| shards >= 1), "{json}");
}

#[test]
fn two_million_under_a_low_limit_fail_and_the_command_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut flags = vec!["doctor", "--max-connections", "2000000"];
    flags.extend(FREE);
    let run = run(&mut under(1_000, folder.path(), &flags), "");
    // With io_uring 64 shards share them, with epoll one process has them all.
    let limit = if uring_works() { "31314" } else { "20" };
    let commands = [format!("LimitNOFILE={limit}"), format!("ulimit -n {limit}")];
    run.expect(69, &["IT WILL NOT HOLD", "FAILS", &commands[0], &commands[1]]);
}

#[test]
fn a_low_limit_is_judged_as_serve_would_judge_it() {
    let folder = tempfile::tempdir().unwrap();
    for (flags, holds) in [
        (["--max-connections", "1000000"], false),
        (["--driver", "epoll"], false),
        (["--driver", "auto"], uring_works()),
    ] {
        let mut words = vec!["doctor"];
        words.extend(FREE.iter().chain(&flags));
        let judged = run(&mut under(300, folder.path(), &words), "");
        judged.expect(if holds { 0 } else { 69 }, &["LimitNOFILE="]);
        if !holds {
            let mut words = vec!["serve"];
            words.extend(FREE.iter().chain(&flags));
            run(&mut under(300, folder.path(), &words), "").expect(78, &["open files limit"]);
        }
    }
}

fn uring_works() -> bool {
    let json: Value = serde_json::from_str(&doctor(&["--json"]).out).expect("one object");
    json["driver"] == "uring"
}

#[test]
fn a_taken_address_fails_and_is_named() {
    let owner = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = owner.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let mut command = fanfare(folder.path());
    command.args(["doctor", "--listen", &address, "--api", "none", "--socket", "no/such/f.sock"]);
    run(&mut command, "").expect(69, &[&address, "ss -ltnp", "no/such", "2 things fail"]);
}

#[test]
fn the_configuration_is_that_of_serve() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("f.toml"), "max_connections = 1234\n").unwrap();
    let mut command = fanfare(folder.path());
    command.args(["doctor", "--config", "f.toml"]).args(FREE);
    run(&mut command, "").expect(0, &["hold 1,234 connections"]);
    let mut command = fanfare(folder.path());
    command.arg("doctor").args(FREE).env("FANFARE_MAX_CONNECTIONS", "4321");
    run(&mut command, "").expect(0, &["hold 4,321 connections"]);
    doctor(&["--listen", "0.0.0.0:0"]).expect(64, &["--listen"]);
    let mut command = fanfare(folder.path());
    command.args(["doctor", "--listen", "0.0.0.0:0"]);
    run(&mut command, "").expect(78, &["--i-understand-insecure"]);
    doctor(&["--max-connections", "many"]).expect(64, &["--max-connections"]);
    doctor(&["--help"]).expect(0, &["Exit codes", "69", "--max-connections", "systemd-run"]);
}
