//! WebSocket (RFC 6455): frames of a client as events, frames of ours as bytes.
//!
//! [`Receiver`] is a machine without I/O. The caller reads into a buffer of its own and pulls:
//!
//! ```
//! use fanfare_protocol::limits::WsLimits;
//! use fanfare_protocol::ws::{Event, Receiver, Role};
//!
//! let mut receiver = Receiver::new(Role::Server);
//! let mut scratch = *b"\x89\x82\0\0\0\0hi"; // a ping, masked with zeros
//! let mut input = &mut scratch[..];
//! while let Some(event) = receiver.next(&mut input, &WsLimits::DEFAULT)? {
//!     assert_eq!(event, Event::Ping(b"hi"));
//! }
//! assert!(receiver.is_idle(), "so it may be dropped until the client speaks again");
//! # Ok::<(), fanfare_protocol::ws::Violation>(())
//! ```
//!
//! Payloads are unmasked where they lie and lent to the caller; nothing is allocated, and only the
//! payload of a control frame that came in pieces is copied.

pub mod close;
pub mod close_code;
pub mod frame;
pub mod fuzz;
pub mod handshake;
pub mod header;
pub mod mask;
mod oracle;
pub mod receive;
pub mod send;
#[cfg(test)]
mod tests;
pub mod utf8;
pub mod violation;

pub use close_code::CloseCode;
pub use frame::Opcode;
pub use receive::{DataKind, Event, Receiver, Role};
pub use violation::Violation;
