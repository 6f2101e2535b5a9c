//! What every request of the API sees: the node as it was told at its start.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use fanfare_identity::ApiKeys;

use super::caller::Refusals;
use super::inquire::Inquirers;
use super::metrics_page;
use super::reload::ApiChanges;
use crate::api_tls::ApiTls;
use crate::channel::Tenant;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::sequencer::inbox::Inbox;

/// What the control thread is told of the node; fixed at start.
#[derive(Clone, Debug)]
pub struct ControlConfig {
    /// Whose channels a request names that needs no key.
    pub tenant: Tenant,
    /// What the metrics page says of the program and its driver.
    pub build: metrics_page::Build,
    /// The keys of backends, to begin with; with none, no key is asked for.
    pub api_keys: ApiKeys,
    /// What the listener speaks TLS with; plain HTTP without it.
    pub tls: Option<Arc<ApiTls>>,
    /// What the node may use.
    pub limits: Limits,
    /// What this listener may use.
    pub bounds: Bounds,
    /// The random number of this node's origins, by which connections have their ids.
    pub origins_key: u64,
    /// Whether the node serves clients: what `/readyz` says.
    pub ready: Arc<AtomicBool>,
}

/// What the API may use, beside the node's [`Limits`]. Times are milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Connections of backends at once; one more is answered 503.
    pub connections: usize,
    /// From the first byte of a body to its last.
    pub body_ms: u64,
    /// The sequencer's answer.
    pub answer_ms: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { connections: 256, body_ms: 30_000, answer_ms: 10_000 }
    }
}

/// Most bytes of a JSON body: room for one message of the largest size in base 64 (4/3), or
/// escaped, or for a batch of smaller ones.
pub(super) fn json_bytes(limits: &Limits) -> usize {
    limits.message_bytes.saturating_mul(4)
}

/// What every request sees.
pub(super) struct Api {
    pub(super) inbox: Inbox,
    pub(super) metrics: Arc<Metrics>,
    pub(super) config: ControlConfig,
    pub(super) refusals: Refusals,
    /// What changes while it runs.
    pub(super) changes: ApiChanges,
    /// Whether only this machine reaches the listener.
    pub(super) loopback: bool,
    /// Questions for connections and channels that are under way.
    pub(super) inquirers: Inquirers,
}
