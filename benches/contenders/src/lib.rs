//! What the contenders that are written in Rust share, so that they differ only in what is
//! compared: how a server is started ([`start`]), request heads and the handshake ([`head`]),
//! frames ([`frame`]), publishing by a thread of its own ([`publish`]), and the log that a runtime
//! without a broadcast channel fans out from ([`fanout`]).
//!
//! Independent of Fanfare's own packages: a rival that is fast owes nothing to it.

pub mod fanout;
pub mod frame;
pub mod head;
pub mod publish;
pub mod start;
