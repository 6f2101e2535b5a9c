//! The log: for people on a terminal, JSON elsewhere, always on standard error.
//!
//! What the process is asked to print (payloads, configurations) goes to standard output, so the
//! two never mix. No part of the engine hands a token, a key or a query string to the log.
//!
//! The log is for those who read it. Where nobody can (the reader of the pipe has gone, the disk is
//! full, the pipe is full and nobody empties it) its lines are dropped and counted, and the node
//! serves on.

pub(crate) mod line_limit;
mod lines;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::env::{self, VarError};
use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::panic::{self, PanicHookInfo};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use lines::Lines;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// What is logged where nobody said: the engine's own events, and only warnings of packages.
const DEFAULT_FILTER: &str = "warn,fanfare=info";

/// Variables that may hold the filter; the first that is set counts.
const VARIABLES: [&str; 2] = ["FANFARE_LOG", "RUST_LOG"];

/// What is said last is waited for so long at most.
const FLUSH_PATIENCE: Duration = Duration::from_millis(500);

/// Of the whole process, as standard error is.
static LINES: OnceLock<Lines> = OnceLock::new();

/// Starts logging for the whole process, once.
///
/// # Errors
/// A sentence about a filter that cannot be read, or about a machine that has no thread left.
pub fn start() -> Result<(), String> {
    let filter = filter(|name| env::var(name))?;
    let lines = lines().map_err(|error| format!("the log cannot be started: {error}"))?;
    // Without `log_internal_errors` a write that fails would be told on the very same stream, with
    // a panic where that fails too.
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .log_internal_errors(false)
        .with_writer(|| lines.clone());
    // An error says that logging was started before: an embedder's log stays in place.
    let _ = if io::stderr().is_terminal() {
        let colors = env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        log.with_target(false).with_ansi(colors).try_init()
    } else {
        log.json().with_ansi(false).try_init()
    };
    panic::set_hook(Box::new(|panic| lines.leave(panic_text(panic).as_bytes())));
    Ok(())
}

/// The lines of this process. Standard error is taken as a descriptor of our own, so that a write
/// that blocks holds no lock of the library's.
fn lines() -> io::Result<&'static Lines> {
    if LINES.get().is_none() {
        let stream = File::from(io::stderr().as_fd().try_clone_to_owned()?);
        let lines = Lines::start(stream, |lines| {
            tracing::warn!(lines, "lines of the log were dropped: it could not be written");
        })?;
        let _ = LINES.set(lines);
    }
    Ok(LINES.get().expect("set above"))
}

/// What a panic says by itself, which must not wait for the stream either: the thread that panics
/// is waited for.
fn panic_text(panic: &PanicHookInfo<'_>) -> String {
    let thread = thread::current();
    let name = thread.name().unwrap_or("<unnamed>");
    let backtrace = Backtrace::capture();
    let backtrace = match backtrace.status() {
        BacktraceStatus::Captured => format!("{backtrace}\n"),
        _ => String::new(),
    };
    format!("\nthread '{name}' {panic}\n{backtrace}")
}

/// Says something to people beside the log, in order with it. Whether there is a log: if not, it
/// was not said.
pub fn say(text: &str) -> bool {
    LINES.get().map(|lines| lines.leave(text.as_bytes())).is_some()
}

/// Waits a moment for what was said and logged, before the process ends.
pub fn flush() {
    if let Some(lines) = LINES.get() {
        lines.flush(FLUSH_PATIENCE);
    }
}

/// Lines that were dropped, because they could not be written or too many waited.
pub fn dropped() -> u64 {
    LINES.get().map_or(0, Lines::dropped)
}

fn filter(variable: impl Fn(&str) -> Result<String, VarError>) -> Result<EnvFilter, String> {
    for name in VARIABLES {
        match variable(name) {
            Ok(text) if text.is_empty() => {}
            Ok(text) => {
                if let Some(word) = unknown_level(&text) {
                    return Err(format!(
                        "{name}: \"{word}\" is no level: write error, warn, info, debug, trace or \
                         off, or a level for a part, as in \"warn,fanfare=debug\""
                    ));
                }
                return EnvFilter::try_new(&text).map_err(|error| {
                    format!(
                        "{name}: \"{text}\" is not a log filter ({error}): write a level, as in \
                         \"debug\", or a level for a part, as in \"warn,fanfare=debug\""
                    )
                });
            }
            Err(VarError::NotPresent) => {}
            Err(VarError::NotUnicode(_)) => return Err(format!("{name} is not UTF-8")),
        }
    }
    Ok(EnvFilter::new(DEFAULT_FILTER))
}

/// A word that stands alone and is no level. The filter's own grammar takes it for the name of a
/// part, so that a level with a slip of the pen would silence everything.
fn unknown_level(text: &str) -> Option<&str> {
    let words = text.split(',').map(str::trim);
    let mut alone = words.filter(|word| !word.is_empty() && !word.contains(['=', '[', ':']));
    alone.find(|word| word.parse::<LevelFilter>().is_err() && !word.starts_with("fanfare"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(fanfare: Option<&str>, rust: Option<&str>) -> Result<String, String> {
        let variable = |name: &str| {
            let value = if name == "FANFARE_LOG" { fanfare } else { rust };
            value.map(str::to_owned).ok_or(VarError::NotPresent)
        };
        filter(variable).map(|filter| filter.to_string())
    }

    #[test]
    fn the_first_variable_that_is_set_counts() {
        assert_eq!(chosen(None, None).unwrap(), "fanfare=info,warn");
        assert_eq!(chosen(None, Some("debug")).unwrap(), "debug");
        assert_eq!(chosen(Some("error"), Some("debug")).unwrap(), "error");
        assert_eq!(chosen(Some(""), Some("debug")).unwrap(), "debug");
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_told() {
        for slip in ["inof", "warn,debgu", "warn, inof ,fanfare=debug"] {
            let what = chosen(Some(slip), None).unwrap_err();
            assert!(what.starts_with("FANFARE_LOG: \"") && what.contains("is no level"), "{what}");
        }
        for good in ["off", "WARN", "fanfare", "warn,fanfare=debug", "tokio::net=info"] {
            chosen(Some(good), None).unwrap();
        }
        let what = chosen(Some("fanfare=loud"), None).unwrap_err();
        assert!(what.starts_with("FANFARE_LOG: \"fanfare=loud\" is not a log filter"), "{what}");
    }
}
