//! Who a channel is: always the pair (tenant, name), never a joined string.

use std::fmt;
use std::sync::Arc;

/// An isolated customer of one node. Until identity exists there is one: [`Tenant::default`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Tenant(Arc<str>);

impl Tenant {
    /// A tenant by its name.
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// Its name, for metrics and logs.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Tenant {
    fn default() -> Self {
        Self::new("default")
    }
}

/// A channel's full name.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ChannelName {
    /// Whose channel it is.
    pub tenant: Tenant,
    /// Its name within the tenant: see [`fanfare_protocol::names::is_channel_name`].
    pub name: Arc<str>,
}

impl ChannelName {
    /// The pair. `name` has been validated where it entered.
    pub fn new(tenant: Tenant, name: &str) -> Self {
        Self { tenant, name: name.into() }
    }
}

impl fmt::Display for ChannelName {
    /// For people only: tables and logs keep the two apart.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.name, self.tenant.as_str())
    }
}

/// The sequencer's number for one life of a channel record; never used twice, so that a channel
/// that was forgotten and begun again is not mistaken for the old one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct ChannelId(pub u64);
