//! What the tokens of a key have to say, and whose they are.

use crate::tenant::Tenant;

/// What a key is configured for, beside its algorithm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPolicy {
    /// Whose tokens it signs: a token has its tenant from here, and from nowhere else.
    pub tenant: Tenant,
    /// What `iss` has to be, byte by byte; `None` where it does not matter.
    pub issuer: Option<Box<str>>,
    /// One of these has to be in `aud`; none where it does not matter.
    pub audiences: Box<[Box<str>]>,
    /// Whether a token needs an end (`exp`).
    pub require_exp: bool,
}

impl KeyPolicy {
    /// Tokens of this tenant that end, whoever made them and for whom.
    pub fn new(tenant: Tenant) -> Self {
        Self { tenant, issuer: None, audiences: Box::default(), require_exp: true }
    }

    /// Whether there can be a token that both take. Audiences keep nobody apart: a token may be for
    /// several.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        match (&self.issuer, &other.issuer) {
            (Some(own), Some(other)) => own == other,
            _ => true,
        }
    }
}
