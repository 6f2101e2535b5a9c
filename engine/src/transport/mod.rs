//! Transports: what a request asks for, and what is said to it. Pure: bytes in, bytes and decisions
//! out; [`crate::shard`] owns the connections.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use fanfare_protocol::id::Epoch;

use crate::auth::host::Hosts;
use crate::auth::origin::Origins;
use crate::channel::Tenant;
use crate::clock::{Millis, Wall};
use crate::limits::Limits;

pub mod ask;
pub mod event_stream;
pub mod follow;
pub mod input;
pub mod long_poll;
mod playground;
pub mod publish;
pub mod request;
pub mod websocket;

/// What is true for every connection of the public listener.
#[derive(Debug)]
pub struct Facts {
    /// The identity of this node's order.
    pub epoch: Epoch,
    /// What may be used.
    pub limits: Limits,
    /// Pages that may connect.
    pub origins: Origins,
    /// Names under which clients are answered.
    pub hosts: Hosts,
    /// Whether the public listener is on a loopback address.
    pub loopback: bool,
    /// Development mode: this machine alone is served, so pages of it may connect and the
    /// playground may publish. Not for a request that a proxy passed on.
    pub dev: bool,
    /// The time of day, for the `Date` of answers.
    pub wall: Wall,
    /// Whose channels clients name, until identity exists.
    pub tenant: Tenant,
    /// When the node will have shut down, once it has begun to.
    pub end: OnceLock<Millis>,
    /// Whether the sequencer has panicked: the order goes on no more, and has no end entry.
    pub order_lost: Arc<AtomicBool>,
    /// Connections that all shards hold together.
    pub open: AtomicUsize,
}

impl Facts {
    /// Those of a node that has just begun: no page of another origin may connect, others reach the
    /// listener, and nobody may publish from the playground.
    pub fn new(epoch: Epoch, limits: Limits) -> Self {
        Self {
            epoch,
            limits,
            origins: Origins::default(),
            hosts: Hosts::default(),
            loopback: false,
            dev: false,
            wall: Wall::Since(0),
            tenant: Tenant::default(),
            end: OnceLock::new(),
            order_lost: Arc::default(),
            open: AtomicUsize::new(0),
        }
    }

    /// Whether the sequencer has panicked.
    pub fn order_lost(&self) -> bool {
        self.order_lost.load(Relaxed)
    }

    /// Whether the node has begun to shut down.
    pub fn draining(&self) -> bool {
        self.end.get().is_some()
    }

    /// The node begins to shut down, and will have by `end`.
    pub fn drain_until(&self, end: Millis) {
        let _ = self.end.set(end); // the first one counts
    }

    /// When everything has ended, of a node that shuts down.
    pub fn end(&self) -> Option<Millis> {
        self.end.get().copied()
    }
}
