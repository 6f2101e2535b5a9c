//! For how long a connection speaks for whom it has shown a token of.

use std::sync::Arc;

use fanfare_identity::Identity;

/// What a token made of a connection.
#[derive(Debug)]
pub(crate) struct Tenure {
    identity: Arc<Identity>,
}

impl Tenure {
    /// One that begins.
    pub(super) fn new(identity: Arc<Identity>) -> Self {
        Self { identity }
    }

    /// Whom it speaks for.
    pub(super) fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }
}
