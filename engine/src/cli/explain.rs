//! `fanfare explain`: may whoever has this token do that with a channel, and what decides it?

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgMatches, Args};
use fanfare_identity::keys::Verdict;
use fanfare_identity::token::TOKEN_BYTES_MAX;
use fanfare_identity::{Identity, Right, explain};

use super::exit::{self, Failure};
use super::serve_flags::of_file;
use crate::clock;
use crate::config::{self, Config};
use crate::keys::KeyPlan;

pub(super) const AFTER_HELP: &str = "\
It reads the configuration as serve would, checks the token by its keys, and says step by step what
its grants and the channel's rule come to. It asks no server: what was revoked is not known here,
and neither are keys at a jwks_url.

Examples:
  fanfare explain --config fanfare.toml --channel room:1 --token eyJhbGciOi…
  echo \"$TOKEN\" | fanfare explain --channel room:1 --action publish --token -
  fanfare explain --channel room:1                 whoever comes without a token

Exit codes:
  0 allowed   1 refused   64 wrong flags   69 the key is not known here   78 the configuration is
  wrong";

/// Whether it is refused.
const REFUSED: u8 = 1;

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub(super) struct Explain {
    /// Which channel
    #[arg(long, value_parser = super::arguments::channel)]
    channel: String,
    /// The token, or "-" to read it from standard input, as everyone sees arguments (ps);
    /// without one it is about whoever has none
    #[arg(long)]
    token: Option<String>,
    /// What is to be done with the channel: subscribe, publish, presence or history
    #[arg(long, value_name = "RIGHT", default_value = "subscribe", value_parser = right)]
    action: Right,
    /// Whose channels, for whoever has no token [default: default]
    #[arg(long, conflicts_with = "token")]
    tenant: Option<String>,
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE", env = "FANFARE_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
}

fn right(text: &str) -> Result<Right, String> {
    Right::parse(text).ok_or_else(|| {
        let words = Right::ALL.map(Right::as_str).join("\", \"");
        format!("there are \"{words}\"")
    })
}

/// Explains and says by its code what it came to.
pub(super) fn run(arguments: &Explain, matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let wrong = |what: String| Failure::new(exit::CONFIG, what);
    let config = of_file(&arguments.config, matches).map_err(wrong)?;
    let config = config::load(config).map_err(|problems| wrong(problems.to_string()))?;
    let identity = match &arguments.token {
        Some(token) => match identify(&config, &given(token)?)? {
            Ok(identity) => identity,
            Err(refused) => return say(&format!("refused: {refused}\n"), false),
        },
        None => {
            let name = arguments.tenant.as_deref().unwrap_or("default");
            Identity::anonymous(
                config.tenant(name).map_err(|what| Failure::new(exit::USAGE, what))?,
            )
        }
    };
    let (channel, right) = (&*arguments.channel, arguments.action);
    let (_, rule) = config.settings.rules.of(&identity.tenant, channel);
    let found = explain(&identity, Some(rule.access()), right, channel);
    let mut page = found.lines.join("\n");
    page.push('\n');
    if !config.settings.tenancy.on {
        page.push_str(
            "nothing in the configuration asks who clients are (no [auth], tenant or allow): \
             everybody listens, and publishes at most from the playground\n",
        );
    }
    say(&page, found.allowed)
}

/// The token of the flag, or of standard input.
fn given(token: &str) -> Result<Vec<u8>, Failure> {
    if token != "-" {
        return Ok(token.into());
    }
    let mut text = Vec::new();
    let most = 2 * TOKEN_BYTES_MAX as u64;
    std::io::stdin().take(most).read_to_end(&mut text).map_err(|error| {
        Failure::new(exit::IO, format!("cannot read the token from standard input: {error}"))
    })?;
    Ok(text.trim_ascii().to_vec())
}

/// Whose the token is, or why it is refused.
fn identify(config: &Config, token: &[u8]) -> Result<Result<Identity, String>, Failure> {
    let tenancy = &config.settings.tenancy;
    let plan = KeyPlan::of(tenancy).map_err(|what| Failure::new(exit::CONFIG, what))?;
    let keys = plan.sources.snapshot();
    if keys.is_empty() {
        let what = "the configuration has no key for tokens, so that no token could be checked: \
                    add [auth], or name the file with --config";
        return Err(Failure::new(exit::CONFIG, what));
    }
    match keys.verify(token, clock::unix_seconds()) {
        Verdict::Known(identity) => Ok(Ok(*identity)),
        Verdict::Refused(refusal) => Ok(Err(format!("{}: {}", refusal.code(), refusal.rule()))),
        Verdict::Pending(pending) => {
            let asked = plan.endpoints.iter().find(|one| one.id == pending.endpoint);
            let url = asked.map_or("its jwks_url".into(), |one| one.address.to_string());
            let what = format!(
                "no key that the configuration holds has signed this token; one at {url} may have, \
                 and explain fetches none: ask the running server"
            );
            Err(Failure::new(exit::UNAVAILABLE, what))
        }
    }
}

fn say(page: &str, allowed: bool) -> Result<ExitCode, Failure> {
    let mut out = std::io::stdout().lock();
    let said = out.write_all(page.as_bytes()).and_then(|()| out.flush());
    said.or_else(|error| exit::output(&error))?;
    Ok(if allowed { ExitCode::SUCCESS } else { ExitCode::from(REFUSED) })
}
