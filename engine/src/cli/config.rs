//! `fanfare config`: what a configuration means before anything is started from it.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgMatches, Args};

use super::exit::{self, Failure};
use super::serve_flags::{Serve, of_file};
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

/// Arguments of `config explain`.
#[derive(Debug, Args)]
pub(super) struct ExplainChannel {
    /// Which channel
    #[arg(value_parser = super::arguments::channel)]
    channel: String,
    /// Whose channel
    #[arg(long, default_value = "default")]
    tenant: String,
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE", env = "FANFARE_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
}

/// Prints what holds for one channel.
pub(super) fn explain(
    arguments: &ExplainChannel,
    matches: &ArgMatches,
) -> Result<ExitCode, Failure> {
    let wrong = |what: String| Failure::new(exit::CONFIG, what);
    let overrides = of_file(&arguments.config, matches).map_err(wrong)?;
    let config = config::load(overrides).map_err(|problems| wrong(problems.to_string()))?;
    let tenant = config.tenant(&arguments.tenant);
    let tenant = tenant.map_err(|what| Failure::new(exit::USAGE, what))?;
    print(&config.explain_channel(&tenant, &arguments.channel))
}

fn print(page: &str) -> Result<ExitCode, Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(page.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => exit::output(&error).map(|()| ExitCode::SUCCESS),
    }
}
