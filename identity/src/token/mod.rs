//! Strict reading of a JSON Web Token in its compact form: what it says, and in one way only.
//!
//! Which key a token was signed by, and so whether any of it counts, is decided in
//! [`keys`](crate::keys).

mod claims;
mod envelope;
pub mod fuzz;
mod grants;
mod header;
mod limits;
mod members;
mod unverified;

pub(crate) use claims::{Claims, issuer_hint};
pub(crate) use envelope::Envelope;
pub(crate) use header::Header;
pub use limits::{GRANTS_MAX, INFO_BYTES_MAX, LEEWAY_S, TOKEN_BYTES_MAX};
pub use unverified::Unverified;
