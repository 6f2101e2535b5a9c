//! `fanfare token`: makes tokens for development, and explains them.

mod check;
mod given;
mod make;

use std::process::ExitCode;

use clap::{ArgMatches, Args, Subcommand};

use super::exit::Failure;

/// What `--help` says after the flags.
pub(super) const AFTER_HELP: &str = "\
Examples:
  openssl rand -hex 32 > secret && chmod 600 secret
  fanfare token --secret-file secret --sub ada --channel 'room:*' --publish chat
  fanfare token check --secret-file secret TOKEN
  fanfare token --config fanfare.toml --sub ada --follow user:ada
  fanfare token check --public-key-file public.pem --alg ES256 - < token

A token is made with a secret (HS256, HS384, HS512) and ends after --ttl. Real ones are made by your
backend, with a JWT library of its language; what they may say is in docs/TOKENS.md.

`token check` prints what the token says and then whether it is believed, and if not, the rule that
refuses it: what the server's log would say, too.

Exit codes:
  0 made, or good   64 wrong flags   65 the token is refused   69 keys cannot be fetched
  78 no key was given, or one that is none, or the configuration is wrong";

/// Arguments of `token`.
#[derive(Debug, Args)]
pub(super) struct TokenCommand {
    #[command(subcommand)]
    command: Option<TokenSubcommand>,
    #[command(flatten)]
    make: make::Make,
}

/// What else can be done with tokens.
#[derive(Debug, Subcommand)]
enum TokenSubcommand {
    /// Say what a token says, and whether and why it is believed or not (exit 65)
    Check(check::Check),
}

/// Makes a token, or explains one.
pub(super) fn run(arguments: &TokenCommand, matches: &ArgMatches) -> Result<ExitCode, Failure> {
    match &arguments.command {
        Some(TokenSubcommand::Check(check)) => check.run(matches),
        None => arguments.make.run(matches),
    }
}
