//! Locked memory, which the rings of all shards share: smaller rings and advice, never a start that
//! fails where smaller rings would do, and never another driver.

use std::process::Command;

use rustix::process::Signal;

use crate::support::process::{Process, alone};

/// What became of a node of these many shards under a limit of so many KiB: its exit code, where it
/// did not start, and what it said.
fn started(limit: u64, shards: u64) -> (Option<i32>, String) {
    let mut command = Command::new("sh");
    // Root is not bound by the limit but for the capability.
    let root = rustix::process::geteuid().is_root();
    let without = if root { "setpriv --bounding-set=-ipc_lock" } else { "" };
    let line = format!("ulimit -l {limit} && exec {without} \"$@\"");
    command.args(["-c", &line, "sh", env!("CARGO_BIN_EXE_fanfare"), "serve"]);
    command.args(["--listen", "127.0.0.1:0", "--api", "none", "--socket", "none"]);
    command.args(["--driver", "uring", "--shards", &shards.to_string()]);
    alone(&mut command);
    let (mut process, is_ready) = Process::begin(&mut command);
    if is_ready {
        process.signal(Signal::TERM);
    }
    let code = process.end();
    (if is_ready { None } else { code }, process.all_said().to_owned())
}

#[test]
fn rings_of_all_shards_fit_into_locked_memory() {
    let (least, said) = started(16, 1);
    if least.is_none() {
        return eprintln!("SKIPPED: this kernel does not count rings as locked memory: {said}");
    }
    // Even the smallest ring takes 24 KiB.
    assert_eq!(least, Some(69), "{said}");
    assert!(said.contains("ulimit -l"), "{said}");
    let (code, said) = started(40, 2);
    assert_eq!(code, Some(69), "one of two has room: {said}");
    assert!(said.contains("ulimit -l") && said.contains("fewer shards"), "{said}");
    // With 96 KiB one of the two took 84 and left the other nothing.
    for (limit, shards) in [(64, 2), (96, 2), (200, 2), (200, 4), (500, 2)] {
        let (code, said) = started(limit, shards);
        assert_eq!(code, None, "{limit} KiB for {shards}: {said}");
        assert!(said.contains("leaves each shard room for a ring of"), "{limit}: {said}");
        assert!(said.contains("ulimit -l") && said.contains("LimitMEMLOCK"), "{limit}: {said}");
    }
}
