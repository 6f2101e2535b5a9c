//! What is true for every connection of the public listener, for as long as the configuration stays
//! as it is. Nothing in it changes: who has it has all of it, of one moment. A shard can be
//! given another one in its place.

use std::sync::Arc;

use fanfare_identity::Identity;

use crate::admission::forwarded::TrustedProxies;
use crate::admission::host::Hosts;
use crate::admission::origin::Origins;
use crate::authority::Authority;
use crate::channel::Tenant;
use crate::clock::Wall;
use crate::limits::Limits;

/// What clients are served by.
#[derive(Clone, Debug)]
pub struct Context {
    /// What may be used. What bounds one client or one request counts from the moment at which a
    /// shard is given another context. What sizes the parts of a node counts as it was when the
    /// node was made, because those are made once: all that the order bounds (channels that are
    /// kept and followed, history, keys), the ring, the inbox, the budgets of memory, and what the
    /// ways in for backends take.
    pub limits: Limits,
    /// Pages that may connect.
    pub origins: Origins,
    /// Names under which clients are answered.
    pub hosts: Hosts,
    /// Proxies that are believed when they say for whom they ask.
    pub proxies: TrustedProxies,
    /// Whether the public listener is on a loopback address.
    pub loopback: bool,
    /// Development mode: this machine alone is served, so pages of it may connect and the
    /// playground may publish. Not for a request that a proxy passed on.
    pub dev: bool,
    /// The time of day, for the `Date` of answers.
    pub wall: Wall,
    /// Whose channels clients name who have shown no token.
    pub tenant: Tenant,
    /// Who decides who may do what; `None` where nobody is asked.
    pub authority: Option<Arc<Authority>>,
    /// A random number of this node, by which connections have names unlike any other node's:
    /// [`crate::origin`].
    pub origins_key: u64,
}

impl Context {
    /// One in which no page of another origin may connect, others reach the listener, and nobody
    /// may publish from the playground.
    pub fn new(limits: Limits, tenant: Tenant) -> Self {
        Self {
            limits,
            origins: Origins::default(),
            hosts: Hosts::default(),
            proxies: TrustedProxies::default(),
            loopback: false,
            dev: false,
            wall: Wall::Since(0),
            tenant,
            authority: None,
            origins_key: 0,
        }
    }

    /// Whose channels a client names that speaks for `identity`: the one place where a connection
    /// is given its tenant.
    pub fn tenant_of(&self, identity: Option<&Identity>) -> Tenant {
        identity.map_or(&self.tenant, |identity| &identity.tenant).clone()
    }
}
