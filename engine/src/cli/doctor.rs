//! `fanfare doctor`: will this machine hold what `serve` would start with the same flags?

use std::io::Write;
use std::process::ExitCode;

use clap::{ArgMatches, Args};

use super::exit::{self, Failure};
use super::serve_flags::Serve;
use crate::doctor::{self, collect, report};

pub(super) const AFTER_HELP: &str = "\
It takes the flags, the environment and the file of serve, tries io_uring and the addresses, and
says for each thing what is, whether it holds, and what to change. It changes nothing itself.

Examples:
  fanfare doctor --max-connections 100000
  fanfare doctor --config /etc/fanfare.toml --json
  fanfare doctor --listen 127.0.0.1:0 --api none --socket none     beside a node that runs

Limits differ between a shell, a unit and a container, so ask where the node will run:
  systemd-run --pty -p LimitNOFILE=1048576 fanfare doctor --max-connections 100000

Exit codes:
  0 it holds   64 wrong flags   69 it will not hold: see what fails
  78 the configuration is wrong";

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub(super) struct Doctor {
    #[command(flatten)]
    serve: Serve,
    /// Print one object of JSON
    #[arg(long)]
    json: bool,
}

/// Examines the machine and says what it found.
pub(super) fn run(arguments: &Doctor, matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let settings = super::serve::load(&arguments.serve, matches)?.settings;
    // As serve does, so that the limits are those that a node would have.
    super::serve::raise_descriptor_limit();
    let found = doctor::judge(&settings, &collect::collect(&settings));
    let text = match arguments.json {
        true => format!("{}\n", report::json(&found)),
        false => report::table(&found),
    };
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .or_else(|error| exit::output(&error))?;
    Ok(if found.holds() { ExitCode::SUCCESS } else { ExitCode::from(exit::UNAVAILABLE) })
}
