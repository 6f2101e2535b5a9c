//! The publish protocol of the Unix socket: length-prefixed binary frames, little-endian.
//!
//! `docs/PROTOCOLS.md` is the specification; this is one implementation of both ends. The idea:
//!
//! * **Nobody waits.** A publisher writes messages one after the other. The n-th message of a
//!   connection has the number n, which is not sent: on an ordered stream both ends count alike,
//!   and what is not sent cannot disagree.
//! * **Every message has one outcome.** It is answered (when it asked), or refused by number, or
//!   covered by a cumulative acknowledgement. An acknowledgement never runs ahead of a refusal.
//! * **A session outlives its connection** (version 2). Messages are counted by session, the server
//!   says how many it took, and tells outcomes until they are confirmed: so only what is missing is
//!   sent again, whatever broke.
//! * **It can grow.** Optional fields of a message are typed and skipped when unknown, unless their
//!   number says that they must not be; frames of the server may grow at their end.
//!
//! Bytes in, frames out: no socket, no clock. A frame that arrives whole is borrowed from the
//! caller's buffer, and memory grows with the bytes that came, never by a length that was declared.

mod also;
mod assemble;
pub mod client;
pub mod code;
pub mod fuzz;
mod numbers;
pub mod publish;
pub mod server;
pub mod session;
#[cfg(test)]
mod session_tests;
#[cfg(test)]
mod tests;
pub mod write;

pub use also::{ChannelNames, ChannelReceipts};
pub use code::{ErrorCode, GoodbyeCode, RefusalCode};
pub use numbers::{MAGIC, VERSION, VERSION_WITH_SESSIONS, VERSIONS};
pub use publish::{DeclaredKind, PublishFrame, Refusal};
pub use session::SessionId;

pub use crate::message::ChannelReceipt;
