//! `fanfare api-key`: a new key for a backend, shown once, and its hash for the configuration.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use fanfare_identity::{API_KEY_RANDOM_BYTES, Actions, MadeKey};

use super::exit::{self, Failure};

pub(super) const AFTER_HELP: &str = "\
The key is made of 256 random bits and kept nowhere: give it to the backend, and put the lines
below it into the configuration, which cannot be turned back into the key. In [[tenants]] the table
is [[tenants.api_keys]], and the key is that tenant's.

To exchange a key, add a second one, let backends take it, and remove the first.

Examples:
  fanfare api-key --actions publish,read
  fanfare api-key --json | jq -r .key

Actions:
  publish       publish to channels
  read          numbers, history, presence and lists of channels
  connections   see, address and close connections
  tokens        make tickets, revoke tokens, explain decisions
  metrics       /metrics, which is of all tenants
  reload        have the configuration read again
  all           everything

Exit codes:
  0 done   64 wrong flags";

/// Arguments of `api-key`.
#[derive(Debug, Args)]
pub(super) struct ApiKey {
    /// What the key may do, with commas: publish,read [default: all]
    #[arg(long, value_name = "ACTIONS", value_delimiter = ',', value_parser = action)]
    actions: Vec<Actions>,
    /// Print one object of JSON: key, hash, actions
    #[arg(long)]
    json: bool,
}

fn action(text: &str) -> Result<Actions, String> {
    Actions::parse(text)
}

/// Makes a key and prints it.
pub(super) fn run(arguments: &ApiKey) -> Result<ExitCode, Failure> {
    let mut random = [0; API_KEY_RANDOM_BYTES];
    getrandom::fill(&mut random).map_err(|error| {
        let what = format!("the kernel gives no random numbers: {error}");
        Failure::new(exit::UNAVAILABLE, what)
    })?;
    let MadeKey { key, hash } = MadeKey::of(&random);
    let hash = hash.to_string();
    let actions = match &arguments.actions[..] {
        [] => Actions::ALL,
        some => some.iter().copied().fold(Actions::NONE, Actions::and),
    };
    let actions = actions.words();
    let page = if arguments.json {
        let object = serde_json::json!({ "key": key, "hash": hash, "actions": actions });
        format!("{object}\n")
    } else {
        let actions = actions.join("\", \"");
        format!(
            "# for the backend, which sends it as \"Authorization: Bearer KEY\"; it is not shown \
             again\n{key}\n\n\
             # for the configuration\n[[api_keys]]\nhash = \"{hash}\"\nactions = [\"{actions}\"]\n"
        )
    };
    let mut out = std::io::stdout().lock();
    let said = out.write_all(page.as_bytes()).and_then(|()| out.flush());
    said.or_else(|error| exit::output(&error))?;
    Ok(ExitCode::SUCCESS)
}
