//! The whole configuration: flags, environment, one TOML file, and defaults, in this precedence.
//!
//! [`load`] gives a [`Config`], or every problem that it found, each with its place and a sentence
//! that says what to do. Nothing is started from a configuration that has a problem, and nothing
//! is corrected in silence.

mod channels;
mod document;
mod explain;
mod file;
mod keys;
mod limits;
pub(crate) mod meant;
mod proxies;
mod read;
pub(crate) mod secret;
mod show;
mod shown;
mod source;
mod tenants;
mod tls;
pub mod units;
mod warnings;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::admission::host::Hosts;
use crate::admission::origin::Origins;
use crate::channel::Tenant;
use crate::error::StartError;
use crate::node::{DriverChoice, Settings};
use crate::rule::{Access, Rule, Rules};
use channels::RuleDraft;
use file::File;
use secret::SmallFile;
pub use show::default_toml;
pub use source::{Problem, Source, Sourced};
use tenants::SettledTenants;
use units::OptionalAddress;

/// Where clients connect unless something else is said.
pub const DEFAULT_LISTEN: SocketAddr = loopback(7070);
/// Where backends publish over HTTP unless something else is said.
pub const DEFAULT_API: SocketAddr = loopback(7071);
const DEFAULT_SOCKET_MODE: u32 = 0o600;

const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), port)
}

/// The Unix socket where nobody named one: `$XDG_RUNTIME_DIR/fanfare.sock`, which only its user
/// reaches, else `/tmp/fanfare-$UID.sock`.
pub fn default_socket() -> PathBuf {
    // The XDG specification: a relative path there is to be ignored.
    match std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from) {
        Some(folder) if folder.is_absolute() => folder.join("fanfare.sock"),
        _ => format!("/tmp/fanfare-{}.sock", rustix::process::getuid().as_raw()).into(),
    }
}

/// What flags and environment said. `None` where they were silent.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// The configuration file.
    pub file: Option<Sourced<PathBuf>>,
    /// See [`Settings::listen`].
    pub listen: Option<Sourced<SocketAddr>>,
    /// See [`Settings::api`].
    pub api: Option<Sourced<OptionalAddress<SocketAddr>>>,
    /// See [`Settings::socket`].
    pub socket: Option<Sourced<OptionalAddress<PathBuf>>>,
    /// See [`Settings::driver`].
    pub driver: Option<Sourced<DriverChoice>>,
    /// See [`Settings::shards`].
    pub shards: Option<Sourced<usize>>,
    /// See [`crate::limits::Limits::connections`].
    pub max_connections: Option<Sourced<usize>>,
    /// See [`Settings::api_key`]; never a flag, because everyone sees flags (`ps`).
    pub api_key: Option<Sourced<String>>,
    /// See [`Settings::hosts`].
    pub hosts: Option<Sourced<Vec<String>>>,
    /// No development mode, although every listener is on loopback and there is no API key.
    pub no_dev: Option<Sourced<bool>>,
    /// The operator accepts listeners that anyone may use.
    pub insecure_understood: bool,
}

/// A configuration without problems.
#[derive(Clone, Debug)]
pub struct Config {
    /// What a node is started with.
    pub settings: Settings,
    /// Who said what, by the path of the key; what is not here is a default.
    sources: BTreeMap<String, Source>,
    origins: Vec<String>,
    hosts: Vec<String>,
    trusted_proxies: Vec<String>,
    no_dev: bool,
    insecure_understood: bool,
}

/// Everything that is wrong with a configuration; never empty.
#[derive(Debug)]
pub struct Problems(pub Vec<Problem>);

impl std::fmt::Display for Problems {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for problem in &self.0 {
            writeln!(f, "{problem}")?;
        }
        match self.0.len() {
            1 => f.write_str("1 problem in the configuration"),
            count => write!(f, "{count} problems in the configuration"),
        }
    }
}

impl From<Problems> for StartError {
    fn from(problems: Problems) -> Self {
        Self::Config(problems.to_string())
    }
}

/// The configuration that flags, environment, file and defaults make together.
///
/// # Errors
/// All problems at once, each with the place where it was found.
pub fn load(overrides: Overrides) -> Result<Config, Problems> {
    let mut problems = Vec::new();
    let file = read_file(overrides.file.as_ref(), &mut problems);
    let config = Draft::merge(overrides, file, &mut problems).settle(&mut problems);
    if problems.is_empty() { Ok(config) } else { Err(Problems(problems)) }
}

/// The configuration that one text makes, as if it were the file, with nobody who says otherwise:
/// for a node inside of another process. Such a node opens only what it is asked to: no API and no
/// socket that are not named, and no listener of which nobody said where. `name` stands for the
/// file in problems.
///
/// # Errors
/// As [`load`].
pub fn load_text(name: &str, text: &str) -> Result<Config, Problems> {
    let (mut file, mut problems) = file::read(name, text);
    if file.listen.is_none() && problems.is_empty() {
        let what = "it does not say where clients connect, and a node inside of another program \
                    opens only what it is asked to: write listen = \"127.0.0.1:7070\", for example";
        problems.push(Problem::new(document::source_at(name, text, 0), what));
    }
    file.api.get_or_insert_with(|| Sourced::default(OptionalAddress::Off));
    file.socket.get_or_insert_with(|| Sourced::default(OptionalAddress::Off));
    let config = Draft::merge(Overrides::default(), file, &mut problems).settle(&mut problems);
    if problems.is_empty() { Ok(config) } else { Err(Problems(problems)) }
}

fn read_file(path: Option<&Sourced<PathBuf>>, problems: &mut Vec<Problem>) -> File {
    let Some(Sourced { value: path, source }) = path else { return File::default() };
    let name = path.display().to_string();
    let text = match SmallFile::read(path) {
        Ok(file) => file,
        Err(what) => {
            problems.push(Problem::new(source.clone(), what));
            return File::default();
        }
    };
    let file = match std::str::from_utf8(&text.bytes) {
        Ok(utf8) => {
            let (file, found) = file::read(&name, utf8);
            problems.extend(found);
            file
        }
        Err(error) => {
            let before = String::from_utf8_lossy(&text.bytes[..error.valid_up_to()]);
            let at = document::source_at(&name, &before, before.len());
            problems.push(Problem::new(at, "this is not UTF-8, as TOML must be"));
            File::default()
        }
    };
    let api_key = file.api_key.as_ref().map(|key| &key.source);
    if let Some(secret) = api_key.or_else(|| file.tenants.inline_secret())
        && let Err(what) = text.check_private(path)
    {
        problems.push(Problem::new(secret.clone(), what));
    }
    file
}

/// The merged sources, before they are judged together.
struct Draft {
    listen: Sourced<SocketAddr>,
    api: Sourced<OptionalAddress<SocketAddr>>,
    socket: Sourced<OptionalAddress<PathBuf>>,
    socket_mode: Sourced<u32>,
    driver: Sourced<DriverChoice>,
    shards: Option<Sourced<usize>>,
    max_connections: Option<Sourced<usize>>,
    api_key: Option<Sourced<String>>,
    hosts: Sourced<Vec<String>>,
    no_dev: Sourced<bool>,
    insecure_understood: bool,
    /// Where files are that the configuration names.
    folder: PathBuf,
    file: File,
}

impl Draft {
    fn merge(overrides: Overrides, mut file: File, problems: &mut Vec<Problem>) -> Self {
        fn or<T>(
            first: Option<Sourced<T>>,
            second: &mut Option<Sourced<T>>,
            default: T,
        ) -> Sourced<T> {
            first.or(second.take()).unwrap_or_else(|| Sourced::default(default))
        }
        // Beside the file that names them, wherever the process was started.
        let folder = overrides.file.as_ref().and_then(|file| file.value.parent());
        let folder = folder.unwrap_or(Path::new("")).to_owned();
        let api_key = api_key(overrides.api_key, &folder, &mut file, problems);
        Self {
            listen: or(overrides.listen, &mut file.listen, DEFAULT_LISTEN),
            api: or(overrides.api, &mut file.api, OptionalAddress::At(DEFAULT_API)),
            socket: or(overrides.socket, &mut file.socket, OptionalAddress::At(default_socket())),
            socket_mode: or(None, &mut file.socket_mode, DEFAULT_SOCKET_MODE),
            driver: or(overrides.driver, &mut file.driver, DriverChoice::Auto),
            shards: overrides.shards.or(file.shards.take()),
            max_connections: overrides.max_connections.or(file.max_connections.take()),
            api_key,
            hosts: or(overrides.hosts, &mut file.hosts, Vec::new()),
            no_dev: or(overrides.no_dev, &mut file.no_dev, false),
            insecure_understood: overrides.insecure_understood
                || file.i_understand_insecure.as_ref().is_some_and(|said| said.value),
            folder,
            file,
        }
    }

    /// Judges what only shows when everything is known, and makes the settings.
    fn settle(mut self, problems: &mut Vec<Problem>) -> Config {
        problems.extend(limits::check(&self.file.limits));
        problems.extend(self.addresses_clash());
        problems.extend(self.socket_unreachable());
        problems.extend(self.key_unusable());
        problems.extend(self.cookies_for_anybody());
        problems.extend(self.file.proxies.problems());
        let has_api = self.api_place().is_some();
        let tls = self.file.api_tls.as_ref();
        problems.extend(tls.and_then(|tls| tls.problem(&self.folder, has_api)));
        let exposed = self.exposed();
        let insecure = !exposed.is_empty();
        if !self.insecure_understood {
            problems.extend(exposed);
        }
        let judges = self.judges_clients();
        let tenants = std::mem::take(&mut self.file.tenants);
        let mut tenants = tenants.settle(&Tenant::default(), &self.folder, problems);
        tenants.tenancy.on = judges;
        self.into_config(insecure, tenants)
    }

    fn api_place(&self) -> Option<SocketAddr> {
        self.api.value.clone().place()
    }

    fn all_loopback(&self) -> bool {
        is_loopback(self.listen.value) && self.api_place().is_none_or(is_loopback)
    }

    /// Whether the configuration says who may do what, or by what that is known.
    fn judges_clients(&self) -> bool {
        let allows = self.file.channels.iter().any(|rule| rule.allow.is_some());
        allows || self.file.tenants.judges_clients()
    }

    fn has_api_key(&self) -> bool {
        self.api_key.is_some() || self.file.tenants.has_api_keys()
    }

    /// A browser sends its cookies along whatever page asks, so that every page would speak for
    /// the user (THREATS G3).
    fn cookies_for_anybody(&self) -> Option<Problem> {
        let origins = self.file.origins.as_ref()?;
        let any = origins.value.iter().any(|origin| origin == "*");
        (any && self.file.tenants.cookie().is_some()).then(|| {
            let what = "origins: \"*\" lets every page in, and [auth.cookie] has a browser speak \
                        for its user on each: list the pages that may, or do without the cookie";
            Problem::new(origins.source.clone(), what)
        })
    }

    fn addresses_clash(&self) -> Option<Problem> {
        let (listen, api) = (self.listen.value, self.api_place()?);
        (listen == api && listen.port() != 0).then(|| {
            let what = format!(
                "clients and the API cannot both have {api}: give one of them another port"
            );
            Problem::new(later(&self.listen.source, &self.api.source), what)
        })
    }

    /// Users who are let in by their uid need a mode that lets them reach the socket at all.
    fn socket_unreachable(&self) -> Option<Problem> {
        let users = self.file.socket_users.as_ref()?;
        let mode = self.socket_mode.value;
        (!users.value.is_empty() && mode & 0o066 == 0).then(|| {
            let what = format!(
                "socket_users names other users, but socket_mode = \"{mode:04o}\" lets only the \
                 owner connect: use \"0660\" for the group or \"0666\" (the list still decides)"
            );
            Problem::new(users.source.clone(), what)
        })
    }

    fn key_unusable(&self) -> Option<Problem> {
        let key = self.api_key.as_ref()?;
        let what = secret::check_key(&key.value).err()?;
        Some(Problem::new(key.source.clone(), what))
    }

    /// Every listener that other machines reach and that asks nobody who they are.
    fn exposed(&self) -> Vec<Problem> {
        const ACCEPT: &str = "or accept it with the flag --i-understand-insecure (it has no \
                              variable), in a configuration i_understand_insecure = true";
        let mut problems = Vec::new();
        if !is_loopback(self.listen.value) && !self.judges_clients() {
            let what = format!(
                "listen is {}, which other machines can reach, and nothing says who may follow \
                 what, so that anyone there follows every channel: add [auth] (docs/AUTH.md), \
                 listen on 127.0.0.1 behind a proxy that checks, {ACCEPT}",
                self.listen.value
            );
            problems.push(Problem::new(self.listen.source.clone(), what));
        }
        match self.api_place() {
            Some(api) if !is_loopback(api) && !self.has_api_key() => {
                let what = format!(
                    "api is {api}, which other machines can reach, and there is no API key, so \
                     that anyone there publishes: set FANFARE_API_KEY, use 127.0.0.1, {ACCEPT}"
                );
                problems.push(Problem::new(self.api.source.clone(), what));
            }
            _ => {}
        }
        problems
    }

    fn into_config(self, insecure: bool, tenants: SettledTenants) -> Config {
        let SettledTenants { tenancy, rules: own } = tenants;
        let has_key = self.api_key.is_some() || !tenancy.api_keys.is_empty();
        let dev = self.all_loopback() && !self.no_dev.value && !tenancy.on && !has_key;
        let sources = self.sources();
        let mut limits = self.file.limits.limits;
        let connections_asked = self.max_connections.is_some();
        if let Some(asked) = self.max_connections {
            limits.connections = asked.value;
        }
        let (history, window) = (self.file.history.value, self.file.window.value);
        let slow = self.file.slow;
        let unsaid = if tenancy.on { Access::CLOSED } else { Access::OPEN };
        let rest = Rule { history, window, slow, access: unsaid, ..Rule::default() };
        let settle = |rules: Vec<RuleDraft>| -> Vec<Rule> {
            rules.into_iter().map(|rule| rule.settle(unsaid)).collect()
        };
        let rules = own
            .into_iter()
            .fold(Rules::closed_by(settle(self.file.channels), rest), |rules, (tenant, own)| {
                rules.with_own(tenant, settle(own))
            });
        let origins = self.file.origins.map_or_else(Vec::new, |said| said.value);
        let proxies = self.file.proxies;
        let settings = Settings {
            listen: self.listen.value,
            api: self.api.value.place(),
            socket: self.socket.value.place(),
            socket_users: self.file.socket_users.map_or_else(Vec::new, |said| said.value),
            socket_mode: self.socket_mode.value,
            driver: self.driver.value,
            shards: self.shards.map(|said| said.value),
            limits,
            connections_asked,
            tenant: Tenant::default(),
            rules,
            origins: Origins::new(&origins).unwrap_or_default(),
            hosts: Hosts::new(&self.hosts.value).unwrap_or_default(),
            proxies: proxies.proxies(),
            api_tls: self.file.api_tls.map(|tls| tls.files(&self.folder)),
            api_key: self.api_key.map(|said| said.value.into()),
            tenancy,
            dev,
            insecure,
        };
        Config {
            settings,
            sources,
            origins,
            hosts: self.hosts.value,
            trusted_proxies: proxies.list(),
            no_dev: self.no_dev.value,
            insecure_understood: self.insecure_understood,
        }
    }

    fn sources(&self) -> BTreeMap<String, Source> {
        fn of<T>(said: Option<&Sourced<T>>) -> Option<Source> {
            said.map(|said| said.source.clone()).filter(|source| *source != Source::Default)
        }
        let said = [
            ("listen", of(Some(&self.listen))),
            ("api", of(Some(&self.api))),
            ("socket", of(Some(&self.socket))),
            ("socket_mode", of(Some(&self.socket_mode))),
            ("socket_users", of(self.file.socket_users.as_ref())),
            ("driver", of(Some(&self.driver))),
            ("shards", of(self.shards.as_ref())),
            ("max_connections", of(self.max_connections.as_ref())),
            ("origins", of(self.file.origins.as_ref())),
            ("api_key", of(self.api_key.as_ref())),
            ("hosts", of(Some(&self.hosts))),
            ("trusted_proxies", of(self.file.proxies.trusted.as_ref())),
            ("proxy_header", of(self.file.proxies.field.as_ref())),
            ("proxy_protocol", of(self.file.proxies.protocol.as_ref())),
            ("api_tls", of(self.file.api_tls.as_ref().map(|tls| &tls.certificate))),
            ("no_dev", of(Some(&self.no_dev))),
            ("i_understand_insecure", of(self.file.i_understand_insecure.as_ref())),
        ];
        let limits = self.file.limits.sources.iter();
        let limits = limits.map(|(key, source)| (format!("limits.{key}"), source.clone()));
        let said = said.into_iter().filter_map(|(key, source)| Some((key.to_owned(), source?)));
        said.chain(limits).collect()
    }
}

/// The API key, from the environment, or from the file, or from the file that the file names.
fn api_key(
    environment: Option<Sourced<String>>,
    folder: &Path,
    file: &mut File,
    problems: &mut Vec<Problem>,
) -> Option<Sourced<String>> {
    let (inline, named) = (file.api_key.take(), file.api_key_file.take());
    if let (Some(_), Some(named)) = (&inline, &named) {
        let what = "api_key and api_key_file are both there: remove one of the two";
        problems.push(Problem::new(named.source.clone(), what));
    }
    if environment.is_some() || inline.is_some() {
        return environment.or(inline);
    }
    let Sourced { value: path, source } = named?;
    match secret::key_of_file(&folder.join(path)) {
        Ok(value) => Some(Sourced { value, source }),
        Err(what) => {
            problems.push(Problem::new(source, format!("api_key_file: {what}")));
            None
        }
    }
}

fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// The source to blame for two values that do not go together: the one that somebody said.
fn later(first: &Source, second: &Source) -> Source {
    if *second == Source::Default { first.clone() } else { second.clone() }
}

#[cfg(test)]
mod tenancy_tests;
#[cfg(test)]
mod tests;
