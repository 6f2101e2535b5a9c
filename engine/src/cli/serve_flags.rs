//! Flags of `serve`, which other commands take as well, and who said each value.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args};

use crate::config::units::{self, OptionalAddress};
use crate::config::{Overrides, Source, Sourced};
use crate::node::DriverChoice;

/// Flags of `serve`.
#[derive(Debug, Args)]
pub(super) struct Serve {
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE", env = "FANFARE_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    /// Where clients connect [default: 127.0.0.1:7070]
    #[arg(long, value_name = "ADDR", env = "FANFARE_LISTEN", hide_env_values = true,
        value_parser = units::address)]
    listen: Option<SocketAddr>,
    /// Where backends publish over HTTP, or "none" [default: 127.0.0.1:7071]
    #[arg(long, value_name = "ADDR", env = "FANFARE_API", hide_env_values = true,
        value_parser = units::address_or_none)]
    api: Option<OptionalAddress<SocketAddr>>,
    /// Where backends of this machine publish, or "none"
    /// [default: $XDG_RUNTIME_DIR/fanfare.sock, else /tmp/fanfare-$UID.sock]
    #[arg(long, value_name = "PATH", env = "FANFARE_SOCKET", hide_env_values = true,
        value_parser = units::socket_or_none)]
    socket: Option<OptionalAddress<PathBuf>>,
    /// auto, uring or epoll: auto takes io_uring where the kernel lets it [default: auto]
    #[arg(long, value_name = "DRIVER", env = "FANFARE_DRIVER", hide_env_values = true,
        value_parser = units::driver)]
    driver: Option<DriverChoice>,
    /// Threads that serve clients, 1 to 64 [default: as many as cores and connections need]
    #[arg(long, value_name = "N", env = "FANFARE_SHARDS", hide_env_values = true,
        value_parser = units::shards)]
    shards: Option<usize>,
    /// Connections of the node [default: what this process can hold]
    #[arg(long, value_name = "N", env = "FANFARE_MAX_CONNECTIONS", hide_env_values = true,
        value_parser = units::connections)]
    max_connections: Option<usize>,
    /// Names under which clients are answered, beside loopback ones: app.example,b.example:8080
    /// [default: every name, but in development mode only loopback ones]
    #[arg(long, value_name = "NAMES", env = "FANFARE_HOSTS", hide_env_values = true,
        value_delimiter = ',', value_parser = units::host)]
    hosts: Option<Vec<String>>,
    /// No development mode (the playground publishes, pages of this machine may connect, only
    /// loopback names are answered), which is on while all listeners are on loopback and there is
    /// no API key: say this behind a proxy
    #[arg(long, value_name = "BOOL", env = "FANFARE_NO_DEV", hide_env_values = true,
        num_args = 0..=1, require_equals = true, default_missing_value = "true",
        value_parser = units::switch)]
    no_dev: Option<bool>,
    /// Start although other machines reach a listener that asks nobody who they are
    #[arg(long)]
    i_understand_insecure: bool,
}

impl Serve {
    /// What was said, and by whom. `matches` are those of the whole command line.
    pub(super) fn overrides(&self, matches: &ArgMatches) -> Result<Overrides, String> {
        let mut matches = matches;
        while let Some((_, deeper)) = matches.subcommand() {
            matches = deeper;
        }
        Ok(Overrides {
            file: said(matches, "config", &self.config),
            listen: said(matches, "listen", &self.listen),
            api: said(matches, "api", &self.api),
            socket: said(matches, "socket", &self.socket),
            driver: said(matches, "driver", &self.driver),
            shards: said(matches, "shards", &self.shards),
            max_connections: said(matches, "max_connections", &self.max_connections),
            api_key: api_key()?,
            hosts: said(matches, "hosts", &self.hosts),
            no_dev: said(matches, "no_dev", &self.no_dev),
            insecure_understood: self.i_understand_insecure,
        })
    }
}

/// What counts for a command that reads the configuration and starts nothing: the file, and the key
/// of the environment. It has no listener that anybody could reach.
pub(super) fn of_file(config: &Option<PathBuf>, matches: &ArgMatches) -> Result<Overrides, String> {
    let mut matches = matches;
    while let Some((_, deeper)) = matches.subcommand() {
        matches = deeper;
    }
    let file = said(matches, "config", config);
    let api_key = api_key()?;
    Ok(Overrides { file, api_key, insecure_understood: true, ..Overrides::default() })
}

fn said<T: Clone>(matches: &ArgMatches, id: &str, value: &Option<T>) -> Option<Sourced<T>> {
    let source = match matches.value_source(id) {
        Some(ValueSource::EnvVariable) => Source::Environment(variable(id).into()),
        _ => Source::Flag(format!("--{}", id.replace('_', "-")).into()),
    };
    value.clone().map(|value| Sourced { value, source })
}

/// The variable of the environment that stands for a flag.
pub(super) fn variable(id: &str) -> String {
    format!("FANFARE_{}", id.to_uppercase())
}

/// The API key of the environment. One that is set but empty is passed on, to be refused: it is
/// most likely a secret that did not arrive, and to go on without would open the API.
fn api_key() -> Result<Option<Sourced<String>>, String> {
    const NAME: &str = "FANFARE_API_KEY";
    match std::env::var(NAME) {
        Ok(value) => Ok(Some(Sourced { value, source: Source::Environment(NAME.into()) })),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => Err(format!("{NAME} is not UTF-8")),
    }
}
