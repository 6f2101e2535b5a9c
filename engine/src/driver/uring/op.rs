//! Operations that outlive the call that asks for them. Receives and sends are not among them: see
//! [`super`].

use crate::driver::{Close, Token};

/// An operation that waits to be submitted. Turned into entries only then, so that a chain of
/// entries is never cut by the end of a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    /// Arms the waker.
    WatchWaker,
    /// Arms a socket for what arrives.
    WatchReadable(Token),
    /// Arms a socket once for room to send.
    WatchWritable(Token),
    /// Arms a half-closed socket for room to send, until it is cancelled ([`super::room`]).
    WatchEdges(Token),
    /// Ends that.
    CancelEdges(Token),
    /// Arms a lane of accepting.
    Accept { lane: u8 },
    /// Ends a lane.
    CancelAccept { lane: u8 },
    /// Makes the socket of a lane of dialing.
    Socket { lane: u16 },
    /// Binds and connects it.
    Connect { lane: u16 },
    /// Closes a socket: with the watches that it has, and is told when its slot is free.
    Close { token: Token, watched: bool, how: Close },
    /// Lets go of a socket that is a descriptor of the process too: ends its watches and frees its
    /// slot, which is told.
    Leave { token: Token, watched: bool },
    /// Closes a slot that was never watched.
    Drop { slot: u32 },
}

/// Entries of the longest operation.
pub(super) const ENTRIES_MAX: usize = 4;
