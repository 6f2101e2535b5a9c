//! The library from C: every call, under AddressSanitizer and valgrind, at random, after forks and
//! under signals (THREATS C1 to C8). Needs a C compiler; without one each test says so.

mod support;

use std::process::Command;
use std::time::Duration;

/// Longest that a program may take: a hang, not a measure.
const PATIENCE: Duration = Duration::from_secs(600);

#[test]
fn every_call_under_address_sanitizer() {
    let folder = tempfile::tempdir().unwrap();
    let flags = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"];
    let Some(program) = support::compile(folder.path(), "every", &flags) else { return };
    let output = support::run(Command::new(program).arg(folder.path().join("s")), PATIENCE);
    assert_eq!(output.stdout, b"done\n");
}

#[test]
fn every_call_under_valgrind() {
    if support::compiler("valgrind").is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let Some(program) = support::compile(folder.path(), "every", &[]) else { return };
    let mut command = Command::new("valgrind");
    command.args(["--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=definite"]);
    command.arg(program).arg(folder.path().join("s"));
    let output = support::run(&mut command, PATIENCE);
    assert_eq!(output.stdout, b"done\n");
}

/// One million sequences; `FANFARE_SEED` plays another million.
#[test]
fn a_million_random_sequences() {
    let folder = tempfile::tempdir().unwrap();
    let flags = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"];
    let Some(program) = support::compile(folder.path(), "random", &flags) else { return };
    let seed = std::env::var("FANFARE_SEED").unwrap_or_else(|_| "1".into());
    eprintln!("FANFARE_SEED={seed} cargo test -p fanfare-ffi --test from_c random");
    let mut command = Command::new(program);
    command.args(["1000000", &seed]).arg(folder.path().join("s"));
    let output = support::run(&mut command, PATIENCE);
    eprintln!("{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn a_fork_is_told_and_hangs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let Some(program) = support::compile(folder.path(), "fork", &[]) else { return };
    let output = support::run(Command::new(program).arg(folder.path().join("s")), PATIENCE);
    assert!(output.stdout.ends_with(b"done\n"));
}

#[test]
fn signals_are_the_programs() {
    let folder = tempfile::tempdir().unwrap();
    let Some(program) = support::compile(folder.path(), "signals", &[]) else { return };
    let output = support::run(Command::new(program).arg(folder.path().join("s")), PATIENCE);
    assert_eq!(output.stdout, b"done\n");
}
