//! What becomes of the data frames that clients send.
//!
//! The plain dialect has no commands: what a client sends has been checked and counted by the time
//! it comes here, and [`Dropped`] drops it. A dialect with commands, or an echo, does more.

use fanfare_protocol::ws::DataKind;

use crate::driver::Token;

/// Hears what clients of one shard send. Runs on the shard's thread and must not wait.
pub trait ClientMessages {
    /// A piece of a message; an empty message is one empty piece. Whole frames that are appended to
    /// `private` go to this client before anything else.
    fn piece(&mut self, from: Token, piece: Piece<'_>, private: &mut Vec<u8>);

    /// This connection has ended; its token comes no more.
    fn ended(&mut self, token: Token);
}

/// A piece of a client's message.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// What the whole message is.
    pub kind: DataKind,
    /// Whether it is the message's last piece.
    pub last: bool,
    /// Its bytes; of text checked as UTF-8, though a piece may end inside a code point.
    pub bytes: &'a [u8],
}

/// Drops everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dropped;

impl ClientMessages for Dropped {
    fn piece(&mut self, _: Token, _: Piece<'_>, _: &mut Vec<u8>) {}
    fn ended(&mut self, _: Token) {}
}
