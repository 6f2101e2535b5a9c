//! Keys of tenants, where they come from, and which of them a token was signed by.
//!
//! [`KeySources`] is what the configuration names and endpoints have given; [`KeySet`] is what it
//! amounts to at one moment, and judges tokens by [`KeySet::verify`]. A key knows the one algorithm
//! that it is for, and its policy says whose its tokens are.

mod algorithm;
mod jwk_set;
mod key;
mod policy;
mod set;
mod sources;

pub use algorithm::Algorithm;
pub use jwk_set::{JwkSet, SET_BYTES_MAX, SET_KEYS_MAX};
pub use key::{Key, SECRET_BYTES_MIN};
pub use policy::KeyPolicy;
pub use set::{ASK_AGAIN_S, KeySet, PendingKey, TRIED_MAX, Verdict};
pub use sources::{EndpointId, GRACE_S, KeySources};
