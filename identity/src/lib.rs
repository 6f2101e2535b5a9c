//! Who may hear and say what. Pure: bytes and times in, verdicts out; the caller owns sockets,
//! files and the clock.
//!
//! A request brings a token, or none. A key set says whose it is, an [`Identity`]; before a command
//! exists, its grants and the rules of the configuration are asked with a [`Right`] and a channel.
#![forbid(unsafe_code)]

mod grants;
mod identity;
mod pattern;
mod right;
mod tenant;

pub use grants::{Grant, Grants};
pub use identity::{Identity, User};
pub use pattern::Pattern;
pub use right::{Right, Rights};
pub use tenant::Tenant;
