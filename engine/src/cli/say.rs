//! Sentences on standard error.

use std::io::Write;

/// Says a sentence on standard error. Where even that fails there is nobody left to tell.
pub(super) fn say(what: &str) {
    say_all(&format!("fanfare: {what}\n"));
}

/// Says a text on standard error: behind what was logged, and where there is a log it is waited for
/// no more than the log is.
pub(super) fn say_all(text: &str) {
    if !crate::diagnostics::say(text) {
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
}
