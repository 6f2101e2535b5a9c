//! Exit codes, as sysexits.h numbers them. A code that was given out keeps its meaning.

use std::process::ExitCode;

/// A wrong flag, argument or command: `EX_USAGE`.
pub(super) const USAGE: u8 = 64;
/// The input was refused: `EX_DATAERR`.
pub(super) const DATA: u8 = 65;
/// What is needed is not there now, such as a server: `EX_UNAVAILABLE`.
pub(super) const UNAVAILABLE: u8 = 69;
/// A standard stream failed: `EX_IOERR`.
pub(super) const IO: u8 = 74;
/// The server does not let this user in: `EX_NOPERM`.
pub(super) const NO_PERMISSION: u8 = 77;
/// A bug of ours: what Rust gives a panic of the main thread.
pub(super) const BUG: u8 = 101;
/// The configuration is wrong: `EX_CONFIG`.
pub(super) const CONFIG: u8 = 78;

/// How a command fails: its exit code and a sentence for people.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) code: u8,
    pub(super) what: String,
}

impl Failure {
    pub(super) fn new(code: u8, what: impl Into<String>) -> Self {
        Self { code, what: what.into() }
    }

    /// Says it on standard error and gives the code.
    pub(super) fn tell(self) -> ExitCode {
        super::say::say(&self.what);
        ExitCode::from(self.code)
    }
}

/// A failed write to standard output. A reader that has seen enough (`| head`) is no failure.
pub(super) fn output(error: &std::io::Error) -> Result<(), Failure> {
    if error.kind() == std::io::ErrorKind::BrokenPipe {
        return Ok(());
    }
    Err(Failure::new(IO, format!("cannot write to standard output: {error}")))
}
