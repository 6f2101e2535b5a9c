//! Whom a connection speaks for.

use std::fmt;
use std::sync::Arc;

use crate::grants::Grants;
use crate::tenant::Tenant;

/// What a tenant calls one of its people: the `sub` of a token.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct User(Arc<str>);

impl User {
    /// By this name, which was judged where it entered.
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whom a connection speaks for: made of a token whose signature was good, or of none. Nothing in
/// it is ever taken from what a client merely says. Connections of one token may share it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Whose channels it names: that of the key that signed the token.
    pub tenant: Tenant,
    /// Who it is; `None` is anonymous.
    pub user: Option<User>,
    /// What the token grants, beside what the rules of the configuration do.
    pub grants: Grants,
    /// Channels that the token follows at once, beside those that a request names (`follow`).
    pub follow: Box<[Arc<str>]>,
    /// When it ends (`exp`), in seconds since 1970; `None` never.
    pub expires_s: Option<u64>,
    /// When the token was made (`iat`), in seconds since 1970.
    pub issued_s: Option<u64>,
    /// The token's own name (`jti`), by which it can be revoked.
    pub token_id: Option<Box<str>>,
    /// What others may be told of the user (`info`): one JSON value, as it was written.
    pub info: Option<Box<str>>,
}

impl Identity {
    /// Nobody in particular, within a tenant.
    pub fn anonymous(tenant: Tenant) -> Self {
        Self {
            tenant,
            user: None,
            grants: Grants::default(),
            follow: Box::default(),
            expires_s: None,
            issued_s: None,
            token_id: None,
            info: None,
        }
    }

    /// Whether no token said who this is.
    pub fn is_anonymous(&self) -> bool {
        self.user.is_none() && self.grants.iter().next().is_none()
    }
}
