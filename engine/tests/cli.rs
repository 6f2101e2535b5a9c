//! The command as a stranger uses it: the built binary, its output, its exit codes.
//!
//! Servers that misbehave on purpose (they refuse, they vanish, they break a stream) are played
//! here, with the protocol crate's other end; what a real one does is in `cli/server.rs`.

#[path = "cli/configuration.rs"]
mod configuration;
#[path = "cli/doctor.rs"]
mod doctor;
#[path = "cli/identity.rs"]
mod identity;
#[path = "cli/publish.rs"]
mod publish;
#[path = "cli/server.rs"]
mod server;
#[path = "cli/tail.rs"]
mod tail;
#[path = "cli/tls.rs"]
mod tls;
#[path = "cli/token.rs"]
mod token;
#[path = "cli/tour.rs"]
mod tour;
#[path = "cli/usage.rs"]
mod usage;

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a run of the command came to.
#[derive(Debug)]
struct Run {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Run {
    /// That it ended with `code` and said all of `words`, wherever.
    #[track_caller]
    fn expect(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:#?}");
        for word in words {
            let said = self.out.contains(word) || self.err.contains(word);
            assert!(said, "{word:?} is missing in {self:#?}");
        }
    }
}

/// The command in a folder of its own, with no word of Fanfare's in its environment.
fn fanfare(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanfare"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("FANFARE_") || name == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    command.env("XDG_RUNTIME_DIR", folder).current_dir(folder);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs to the end, with `input` at standard input.
fn run(command: &mut Command, input: &str) -> Run {
    let mut process = Process::start(command.stdin(Stdio::piped()));
    let mut stdin = process.child.stdin.take().expect("standard input is a pipe");
    let input = input.to_owned();
    // The command may end before it has read all; that is its right.
    let feeder = thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let run = process.end();
    feeder.join().expect("the feeder only writes");
    run
}

/// The exit code of a command whose standard output is on a full disk.
fn code_on_a_full_disk(command: &mut Command) -> Option<i32> {
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut child = command.stdout(full()).stderr(full()).spawn().expect("the binary was built");
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().expect("the child is ours") {
            return status.code();
        }
        if Instant::now() > deadline {
            child.kill().expect("the child is ours");
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// A command that runs. Nothing waits for it without a bound, and it does not outlive its test.
struct Process {
    child: Child,
    out: Receiver<String>,
    err: Receiver<String>,
}

impl Process {
    fn start(command: &mut Command) -> Self {
        let mut child = command.spawn().expect("the binary was built");
        let out = lines(child.stdout.take().expect("standard output is a pipe"));
        let err = lines(child.stderr.take().expect("standard error is a pipe"));
        Self { child, out, err }
    }

    /// The next line of standard output, with its end.
    #[track_caller]
    fn out_line(&self) -> String {
        self.out.recv_timeout(PATIENCE).expect("a line on standard output, in time")
    }

    /// The next line of standard error, with its end.
    #[track_caller]
    fn err_line(&self) -> String {
        self.err.recv_timeout(PATIENCE).expect("a line on standard error, in time")
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the child is ours");
    }

    /// Waits for the end, bounded. The rest of its output; no code where it did not end.
    fn end(mut self) -> Run {
        let deadline = Instant::now() + PATIENCE;
        let code = loop {
            if let Some(status) = self.child.try_wait().expect("the child is ours") {
                break status.code();
            }
            if Instant::now() > deadline {
                self.child.kill().expect("the child is ours");
                break None;
            }
            thread::sleep(Duration::from_millis(5));
        };
        Run { code, out: self.out.iter().collect(), err: self.err.iter().collect() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended
        let _ = self.child.wait();
    }
}

/// Lines as they come, as far as they are text. Dropping the receiver closes the stream with the
/// next line.
fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        while stream.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
            if sender.send(std::mem::take(&mut line)).is_err() {
                return;
            }
        }
    });
    receiver
}
