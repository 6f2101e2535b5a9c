//! What the tests from C share: the compiler, the library under its installed name, programs.
#![allow(dead_code)] // each test binary uses its part

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

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

/// Waits for a program, which is killed when it does not end in time.
pub fn finish(mut child: Child, patience: Duration) -> Output {
    let end = Instant::now() + patience;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > end {
            child.kill().unwrap();
            let output = child.wait_with_output().unwrap();
            panic!("it hangs; it said {}", String::from_utf8_lossy(&output.stderr));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().unwrap()
}
