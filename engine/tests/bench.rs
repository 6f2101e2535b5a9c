//! The load generator against a node in this process: every mode, both drivers, and a server that
//! misbehaves on purpose, because a tool that finds no fault proves nothing unless it finds one.

mod support;

#[path = "bench/faults.rs"]
mod faults;
#[path = "bench/modes.rs"]
mod modes;
#[path = "bench/refusals.rs"]
mod refusals;
#[path = "bench/stand_in.rs"]
mod stand_in;

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longer than any run here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// What a run came to.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    json: Value,
    out: String,
    err: String,
}

/// `fanfare bench` with these words.
fn bench(words: &str) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanfare"));
    command.arg("bench").args(words.split_whitespace());
    finish(command)
}

fn finish(mut command: Command) -> Ran {
    command.env_remove("FANFARE_URL").env_remove("FANFARE_SOCKET");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary was built");
    let status = wait(&mut child);
    let read = |stream: Option<&mut dyn Read>| {
        let mut text = String::new();
        stream.map(|stream| stream.read_to_string(&mut text));
        text
    };
    let out = read(child.stdout.as_mut().map(|stream| stream as _));
    let err = read(child.stderr.as_mut().map(|stream| stream as _));
    let json = serde_json::from_str(&out).unwrap_or(Value::Null);
    Ran { code: status, json, out, err }
}

/// The exit code; `None` where it had to be killed.
fn wait(child: &mut Child) -> Option<i32> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().expect("the child is ours") {
            return status.code();
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
