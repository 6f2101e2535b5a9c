//! Who a channel is: always the pair (tenant, name), never a joined string.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

pub use fanfare_identity::Tenant;

/// A channel's full name.
#[derive(Clone, PartialEq, Eq, Debug)]
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

impl Hash for ChannelName {
    /// Each published message is hashed, and a hasher is slow at many small writes: so a channel of
    /// the tenant that there always is is its name and the end of it.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
        if !self.tenant.is_default() {
            self.tenant.hash(state);
        }
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
