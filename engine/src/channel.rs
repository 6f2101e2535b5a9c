//! Who a channel is: always the pair (tenant, name), never a joined string.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// The name of the tenant that there always is.
const DEFAULT: &str = "default";

/// An isolated customer of one node. Until identity exists there is one: [`Tenant::default`].
///
/// `None` is that one, and nothing else is: every message names its tenant, and the threads between
/// which messages pass would take turns in counting one name's owners.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Tenant(Option<Arc<str>>);

impl Tenant {
    /// A tenant by its name.
    pub fn new(name: &str) -> Self {
        Self((name != DEFAULT).then(|| name.into()))
    }

    /// Its name, for metrics and logs.
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or(DEFAULT)
    }

    /// The tenant of this name in records.
    pub fn of_records(name: &str) -> Self {
        if name.is_empty() { Self::default() } else { Self::new(name) }
    }

    /// Its name in records and digests: that of the tenant that there always is, is empty.
    pub fn in_records(&self) -> &str {
        self.0.as_deref().unwrap_or("")
    }
}

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
        if let Some(tenant) = &self.tenant.0 {
            tenant.hash(state);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_is_its_name() {
        assert_eq!(Tenant::new("default"), Tenant::default());
        assert_eq!(Tenant::default().as_str(), "default");
        assert_eq!(Tenant::new("other").as_str(), "other");
        assert_ne!(Tenant::new("other"), Tenant::default());
        assert_ne!(Tenant::new(""), Tenant::default());
    }
}
