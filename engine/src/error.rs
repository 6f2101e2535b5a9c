//! What may go wrong at start, by blame, with the exit code that says so (sysexits.h).

use std::fmt;

/// Why a node did not start. The message says what happened, why, and what to do.
#[derive(Debug)]
pub enum StartError {
    /// The configuration asks for what cannot be: exit code 78 (`EX_CONFIG`).
    Config(String),
    /// The machine does not give what is needed now: exit code 69 (`EX_UNAVAILABLE`).
    Unavailable(String),
}

impl StartError {
    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) => 78,
            Self::Unavailable(_) => 69,
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(message) | Self::Unavailable(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for StartError {}
