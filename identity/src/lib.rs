//! Who may hear and say what. Pure: bytes and times in, verdicts out; the caller owns sockets,
//! files and the clock.
//!
//! A request brings a token, or none. A key set says whose it is, an [`Identity`]; before a command
//! exists, its grants and the rules of the configuration are asked with a [`Right`] and a channel.
#![forbid(unsafe_code)]

mod access;
mod api_key;
mod explain;
mod grants;
mod identity;
pub mod keys;
mod pattern;
mod refusal;
mod revocation;
mod right;
mod tenant;
mod ticket;
pub mod token;

pub use access::{Access, Decision, RuleAccess, Why, decide};
pub use api_key::{API_KEY_RANDOM_BYTES, Action, Actions, ApiKey, ApiKeyHash, ApiKeys, MadeKey};
pub use explain::{Explanation, explain};
pub use grants::{Grant, Grants};
pub use identity::{Identity, User};
pub use pattern::Pattern;
pub use refusal::TokenRefusal;
pub use revocation::{Revocation, Revocations, RevocationsFull, Revoke, Revoked};
pub use right::{Right, Rights};
pub use tenant::Tenant;
pub use ticket::{TICKET_LIFE_MS, TICKET_RANDOM_BYTES, Ticket, Tickets, TicketsFull};
