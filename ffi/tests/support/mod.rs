//! What the tests share: the compiler, the library under its installed name, programs, and what a
//! node keeps.
#![allow(dead_code)] // each test binary uses its part

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fanfare::channel::{ChannelName, Tenant};
use fanfare::node::Server;
use fanfare::sequencer::command::{Command as OrderCommand, HistoryQuery};

/// All that a channel keeps: each message's offset and payload, and nothing is missing before them.
pub fn history(node: &Server, channel: &str) -> Vec<(u64, Vec<u8>)> {
    let (tell, hear) = mpsc::channel();
    let query = HistoryQuery {
        channel: ChannelName::new(Tenant::default(), channel),
        since: None,
        limit: usize::MAX,
        answer: Box::new(move |page| tell.send(page).unwrap()),
    };
    assert!(node.inbox().send(OrderCommand::History(Box::new(query))).is_ok());
    let page = hear.recv_timeout(Duration::from_secs(120)).unwrap();
    assert_eq!(page.gap, None);
    page.messages.iter().map(|message| (message.offset, message.data.to_vec())).collect()
}

/// The C or C++ compiler, where this machine has one; the lack of it is said.
pub fn compiler(name: &str) -> Option<String> {
    let found = Command::new(name).arg("--version").output().is_ok();
    if !found {
        eprintln!("SKIPPED: this machine has no `{name}`");
    }
    found.then(|| name.to_string())
}

/// A folder with `libfanfare.so.0` and `libfanfare.so` in it, as it would be installed.
pub fn library(folder: &Path) {
    // A test lies beside what it was built with.
    let tests = std::env::current_exe().unwrap();
    let built = tests.parent().unwrap().join("libfanfare_ffi.so");
    assert!(built.exists(), "{} was not built", built.display());
    for name in ["libfanfare.so.0", "libfanfare.so"] {
        let _ = std::os::unix::fs::symlink(&built, folder.join(name));
    }
}

/// Compiles `tests/c/NAME.c` against the shared library; `None` where there is no compiler.
pub fn compile(folder: &Path, name: &str, flags: &[&str]) -> Option<PathBuf> {
    let compiler = compiler("cc")?;
    library(folder);
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = folder.join(name);
    let mut command = Command::new(compiler);
    command.args(["-std=c11", "-D_GNU_SOURCE", "-g", "-O1", "-Wall", "-Wextra", "-Werror"]);
    command.args(flags).arg("-I").arg(top.join("include")).arg("-I").arg(top.join("tests/c"));
    command.arg(top.join(format!("tests/c/{name}.c"))).arg("-o").arg(&program);
    command.arg("-L").arg(folder).args(["-lfanfare", "-lpthread"]);
    command.arg(format!("-Wl,-rpath,{}", folder.display()));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(program)
}

/// Runs a program to its end, which must come in time and be a success.
pub fn run(command: &mut Command, patience: Duration) -> Output {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let output = finish(child, patience);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Waits for a program, which is killed when it does not end in time. What it says is read
/// meanwhile: a program that fills a pipe would wait for its reader.
pub fn finish(mut child: Child, patience: Duration) -> Output {
    let (stdout, stderr) = (child.stdout.take().map(read), child.stderr.take().map(read));
    let said =
        |reader: Option<JoinHandle<Vec<u8>>>| reader.map_or(Vec::new(), |it| it.join().unwrap());
    let end = Instant::now() + patience;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Output { status, stdout: said(stdout), stderr: said(stderr) };
        }
        if Instant::now() > end {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("it hangs; it said {}", String::from_utf8_lossy(&said(stderr)));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn read(mut pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).unwrap();
        bytes
    })
}
