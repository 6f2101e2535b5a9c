//! Whose a channel, a key and a connection are.

use std::sync::Arc;

/// The name of the tenant that there always is.
const DEFAULT: &str = "default";

/// An isolated customer of one node. There is always one, [`Tenant::default`], which is all that a
/// node without tenants in its configuration has.
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

    /// Whether it is the one that there always is.
    #[inline]
    pub fn is_default(&self) -> bool {
        self.0.is_none()
    }
}

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
