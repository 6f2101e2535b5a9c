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
pub use publish::{DeclaredKind, PublishFrame, Refusal};
pub use session::SessionId;

pub use crate::message::ChannelReceipt;

/// What a publisher sends first, before its version.
pub const MAGIC: [u8; 7] = *b"FANFARE";
/// The version in which what is known of a publisher ends with its connection.
pub const VERSION: u8 = 1;
/// The version in which a session outlives its connections.
pub const VERSION_WITH_SESSIONS: u8 = 2;
/// The versions that are spoken here, lowest and highest.
pub const VERSIONS: (u8, u8) = (VERSION, VERSION_WITH_SESSIONS);

/// Numbers of frames. Those of the server have the top bit. A number is retired, never reused.
pub(crate) mod frame_type {
    pub(crate) const PUBLISH: u8 = 0x01;
    pub(crate) const BATCH: u8 = 0x02;
    pub(crate) const OPEN: u8 = 0x03;
    pub(crate) const CONFIRM: u8 = 0x04;
    pub(crate) const END: u8 = 0x05;
    pub(crate) const HELLO: u8 = 0x81;
    pub(crate) const ANSWER: u8 = 0x82;
    pub(crate) const REFUSED: u8 = 0x83;
    pub(crate) const ACK: u8 = 0x84;
    pub(crate) const ERROR: u8 = 0x85;
    pub(crate) const GOODBYE: u8 = 0x86;
}

/// Numbers of a message's optional fields: below 128 a receiver that does not know one skips it,
/// from 128 it refuses the message. A number is retired, never reused.
pub(crate) mod field {
    pub(crate) const EVENT: u8 = 1;
    pub(crate) const IDEMPOTENCY_KEY: u8 = 2;
    pub(crate) const EPHEMERAL: u8 = 3;
    pub(crate) const EXCEPT: u8 = 4;
    pub(crate) const FIRST_REQUIRED: u8 = 128;
    pub(crate) const ALSO: u8 = 128;
}
