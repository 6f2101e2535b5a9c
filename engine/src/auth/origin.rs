//! The origin check: which pages of which sites a browser may connect from.

/// The origins that are allowed beside the same host and, on a loopback listener, loopback.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    allowed: Vec<String>,
}
