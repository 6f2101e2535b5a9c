//! The command as a stranger uses it: the built binary, its output, its exit codes.
//!
//! Servers that misbehave on purpose (they refuse, they vanish, they break a stream) are played
//! here, with the protocol crate's other end; what a real one does is in `cli/server.rs`.

#[path = "cli/configuration.rs"]
mod configuration;
#[path = "cli/publish.rs"]
mod publish;
#[path = "cli/tail.rs"]
mod tail;
#[path = "cli/usage.rs"]
mod usage;

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

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
    let mut child = command.stdin(Stdio::piped()).spawn().expect("the binary was built");
    let mut stdin = child.stdin.take().expect("standard input is a pipe");
    let input = input.to_owned();
    // The command may end before it has read all; that is its right.
    let feeder = thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let run = finish(child);
    feeder.join().expect("the feeder only writes");
    run
}

/// Waits for the end, bounded, and kills what does not end.
fn finish(mut child: Child) -> Run {
    let read = |stream: Option<Box<dyn Read + Send>>| {
        thread::spawn(move || {
            let mut text = String::new();
            if let Some(mut stream) = stream {
                let _ = stream.read_to_string(&mut text); // as far as it is text
            }
            text
        })
    };
    let out = read(child.stdout.take().map(|stream| Box::new(stream) as _));
    let err = read(child.stderr.take().map(|stream| Box::new(stream) as _));
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait().expect("the child is ours") {
            break Some(status);
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            break None;
        }
        thread::sleep(Duration::from_millis(5));
    };
    let (out, err) = (out.join().expect("reads"), err.join().expect("reads"));
    Run { code: status.and_then(|status| status.code()), out, err }
}
