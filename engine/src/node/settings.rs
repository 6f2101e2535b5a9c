//! What a node is started with.

use std::net::SocketAddr;
use std::path::PathBuf;

use fanfare_identity::ApiKeys;

use crate::admission::forwarded::TrustedProxies;
use crate::admission::host::Hosts;
use crate::admission::origin::Origins;
use crate::api_tls::TlsFiles;
use crate::channel::Tenant;
use crate::limits::Limits;
use crate::rule::Rules;
use crate::tenancy::{PlainApiKey, Tenancy};

/// Which driver the shards use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum DriverChoice {
    /// `uring` where it works, else `epoll`, said loudly.
    #[default]
    Auto,
    /// `uring` or no start (exit 69).
    Uring,
    /// `epoll`.
    Epoll,
}

/// Everything a node is started with. Made by [`crate::config`], by tests, and by embedders.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Clients: WebSocket, SSE, long-poll. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Backends: the HTTP API. `None` for none.
    pub api: Option<SocketAddr>,
    /// Backends: the Unix socket. `None` for none.
    pub socket: Option<PathBuf>,
    /// Peers of the Unix socket beside root and our own user, by uid.
    pub socket_users: Vec<u32>,
    /// File mode of the Unix socket.
    pub socket_mode: u32,
    /// Which driver.
    pub driver: DriverChoice,
    /// How many shards; `None` for as many as cores and connections need.
    pub shards: Option<usize>,
    /// What the node may use.
    pub limits: Limits,
    /// Whether `limits.connections` was asked for, so that less is no start instead of a lower
    /// default.
    pub connections_asked: bool,
    /// Whose channels publishers and clients name, until identity exists.
    pub tenant: Tenant,
    /// Channel rules.
    pub rules: Rules,
    /// Pages that may connect.
    pub origins: Origins,
    /// Names under which clients are answered, beside loopback ones. With none listed it is
    /// loopback names alone in development mode, and every name otherwise.
    pub hosts: Hosts,
    /// Proxies that are believed when they say for whom they ask.
    pub proxies: TrustedProxies,
    /// What the API speaks TLS with; plain HTTP without it.
    pub api_tls: Option<TlsFiles>,
    /// The API's bearer key, when one is required.
    pub api_key: Option<PlainApiKey>,
    /// Tenants, the keys of their tokens and of their backends.
    pub tenancy: Tenancy,
    /// Development mode, for this machine alone: the playground publishes, and pages of this
    /// machine may connect. Whoever says who may do what ends it, whatever stands here.
    pub dev: bool,
    /// A listener that other machines reach asks nobody who they are, and the operator said so
    /// knowingly: warned of again and again, and told by a metric.
    pub insecure: bool,
}

impl Settings {
    /// Whether a node with these settings is in development mode. Who has given it a key means it
    /// for more than this machine.
    pub fn development(&self) -> bool {
        let has_key = self.api_key.is_some() || !self.tenancy.api_keys.is_empty();
        self.dev && !has_key && !self.tenancy.on
    }

    /// The keys of backends, of all tenants.
    pub fn backends(&self) -> ApiKeys {
        let plain = self.api_key.as_ref().map(|key| key.hashed(self.tenant.clone()));
        ApiKeys::new(self.tenancy.api_keys.iter().cloned().chain(plain))
    }

    /// Everything on loopback and free ports, no Unix socket: what a test or an embedder begins
    /// with.
    pub fn on_loopback() -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            listen: any,
            api: Some(any),
            socket: None,
            socket_users: Vec::new(),
            socket_mode: 0o600,
            driver: DriverChoice::Auto,
            shards: None,
            limits: Limits::default(),
            connections_asked: false,
            tenant: Tenant::default(),
            rules: Rules::default(),
            origins: Origins::default(),
            hosts: Hosts::default(),
            proxies: TrustedProxies::default(),
            api_tls: None,
            api_key: None,
            tenancy: Tenancy::default(),
            dev: true,
            insecure: false,
        }
    }
}
