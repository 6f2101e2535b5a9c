//! The log: for people on a terminal, JSON elsewhere, always on standard error.
//!
//! What the process is asked to print (payloads, configurations) goes to standard output, so the
//! two never mix. No part of the engine hands a token, a key or a query string to the log.

use std::env::{self, VarError};
use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// What is logged where nobody said: the engine's own events, and only warnings of packages.
const DEFAULT_FILTER: &str = "warn,fanfare=info";

/// Variables that may hold the filter; the first that is set counts.
const VARIABLES: [&str; 2] = ["FANFARE_LOG", "RUST_LOG"];

/// Starts logging for the whole process, once. The error is a sentence about a filter that cannot
/// be read.
pub fn start() -> Result<(), String> {
    let filter = filter(|name| env::var(name))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // An error says that logging was started before: an embedder's log stays in place.
    let _ = if std::io::stderr().is_terminal() {
        let colors = env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        log.with_target(false).with_ansi(colors).try_init()
    } else {
        log.json().with_ansi(false).try_init()
    };
    Ok(())
}

fn filter(variable: impl Fn(&str) -> Result<String, VarError>) -> Result<EnvFilter, String> {
    for name in VARIABLES {
        match variable(name) {
            Ok(text) if text.is_empty() => {}
            Ok(text) => {
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
        let what = chosen(Some("fanfare=loud"), None).unwrap_err();
        assert!(what.starts_with("FANFARE_LOG: \"fanfare=loud\" is not a log filter"), "{what}");
    }
}
