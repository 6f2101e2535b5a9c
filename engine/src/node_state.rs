//! How a node is: ready, draining, or without its order. All threads see it, and it only ever gets
//! worse.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use crate::clock::Millis;

/// What changes while a node runs and concerns every connection.
#[derive(Debug, Default)]
pub struct NodeState {
    /// When the node will have shut down, once it has begun to.
    end: OnceLock<Millis>,
    /// Whether the sequencer has panicked: the order goes on no more, and has no end entry.
    order_lost: AtomicBool,
    /// Connections that all shards hold together.
    pub connections: AtomicUsize,
    /// Sessions that no request is held for.
    pub detached: AtomicUsize,
}

impl NodeState {
    /// The node begins to shut down, and will have by `end`.
    pub fn drain_until(&self, end: Millis) {
        let _ = self.end.set(end); // the first one counts
    }

    /// Whether the node has begun to shut down.
    pub fn is_draining(&self) -> bool {
        self.end.get().is_some()
    }

    /// When everything has ended, of a node that shuts down.
    pub fn end(&self) -> Option<Millis> {
        self.end.get().copied()
    }

    /// The sequencer has panicked.
    pub fn lose_order(&self) {
        self.order_lost.store(true, Relaxed);
    }

    /// Whether the sequencer has panicked.
    pub fn has_lost_order(&self) -> bool {
        self.order_lost.load(Relaxed)
    }
}
