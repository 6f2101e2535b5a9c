//! `fanfare config`: what a configuration means before anything is started from it.

use std::io::Write;
use std::process::ExitCode;

use clap::ArgMatches;

use super::exit::{self, Failure};
use super::serve_flags::Serve;
use crate::config;

/// Prints what would be used, or everything that is wrong with it.
pub(super) fn check(arguments: &Serve, matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let config = super::serve::load(arguments, matches)?;
    for warning in config.warnings() {
        eprintln!("warning: {warning}");
    }
    print(&config.effective_toml())
}

/// Prints a commented file with every key and its default.
pub(super) fn show_default() -> Result<ExitCode, Failure> {
    print(&config::default_toml())
}

fn print(page: &str) -> Result<ExitCode, Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(page.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => exit::output(&error).map(|()| ExitCode::SUCCESS),
    }
}
