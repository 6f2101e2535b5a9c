//! What one shard sends to another: what a client says to a session, what became of that, and a
//! socket that is to be held there.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use fanfare_identity::Identity;

use crate::admission::peers::Admitted;
use crate::driver::{Detached, Token};
use crate::node_state::NodeState;
use crate::sequencer::command::Requester;
use crate::session::{BringResult, Unheld};
use crate::transport::door::HoldRequest;
use crate::transport::input::BroughtMessage;

/// What is on its way between two shards.
#[derive(Debug)]
pub(super) enum Parcel {
    /// What a client says, for its session; the answer goes to this requester.
    Bring(Requester, BroughtMessage),
    /// A new token's identity, for this connection; the answer goes to this requester.
    Refresh(Requester, Token, Arc<Identity>),
    /// The answer: what became of it.
    Told(Requester, BringResult),
    /// A request that is to be held, with its socket.
    Hold(Box<Moving>),
}

/// A socket on its way to another shard. Where nobody takes it in (the order or the shard has
/// ended, or there is no place), dropping it tells its client so, as far as the kernel takes that
/// at once, and closes it.
#[derive(Debug)]
pub(super) struct Moving {
    socket: Option<Detached>,
    /// The request that is to be held.
    pub(super) request: Box<HoldRequest>,
    /// What is left of its exchange; taken with the socket.
    pub(super) unheld: Option<Unheld>,
    /// How it is counted.
    pub(super) peer: Option<Admitted>,
    /// The answer that its client gets where nobody takes it in.
    last_words: Vec<u8>,
    /// Counts it as a connection while it is on its way.
    life: Arc<NodeState>,
}

impl Moving {
    /// One that leaves its shard.
    pub(super) fn new(
        socket: Detached,
        request: Box<HoldRequest>,
        unheld: Unheld,
        peer: Option<Admitted>,
        last_words: Vec<u8>,
        life: Arc<NodeState>,
    ) -> Self {
        Self { socket: Some(socket), request, unheld: Some(unheld), peer, last_words, life }
    }

    /// The socket, for a driver that may take it in.
    pub(super) fn take_socket(&mut self) -> Option<Detached> {
        self.socket.take()
    }

    /// Puts the socket back, because the driver did not take it in.
    pub(super) fn put_back(&mut self, socket: Detached) {
        self.socket = Some(socket);
    }

    /// Bytes that it holds, beside itself.
    pub(super) fn memory(&self) -> usize {
        let early = self.unheld.as_ref().map_or(0, Unheld::memory);
        size_of::<Self>() + self.last_words.len() + early
    }
}

impl Drop for Moving {
    fn drop(&mut self) {
        if let Some(socket) = self.socket.take() {
            socket.say(&self.last_words);
            self.life.connections.fetch_sub(1, Relaxed);
        }
    }
}
