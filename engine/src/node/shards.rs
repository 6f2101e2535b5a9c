//! Starts the shards: a listener, a thread and a driver each.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::plan::{Plan, RESERVE};
use super::{spawn, unavailable};
use crate::auth::address::Addresses;
use crate::clock::Clock;
use crate::driver::epoll::Epoll;
use crate::driver::uring::Uring;
use crate::driver::waker::Waker;
use crate::driver::{Config, Driver};
use crate::error::StartError;
use crate::life::Life;
use crate::metrics::Metrics;
use crate::ring::Reader;
use crate::sequencer::command::Entry;
use crate::sequencer::inbox::Inbox;
use crate::session::machine::Machines;
use crate::shard::{Parts, Shard};
use crate::transport::Context;
use crate::vigil::Vigil;

/// What all shards are started with.
pub(super) struct Start {
    pub(super) plan: Plan,
    pub(super) tables: bool,
    /// Entries of each ring.
    pub(super) entries: usize,
    pub(super) context: Arc<Context>,
    pub(super) life: Arc<Life>,
    pub(super) addresses: Arc<Addresses>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) inbox: Inbox,
    pub(super) vigil: Arc<Vigil>,
    pub(super) clock: Clock,
}

impl Start {
    /// Starts one for each listener and reader; returns when every driver stands.
    pub(super) fn spawn(
        &self,
        listeners: Vec<TcpListener>,
        readers: Vec<Reader<Entry>>,
        wakers: &[Arc<Waker>],
        machines: Option<Machines>,
    ) -> Result<Vec<JoinHandle<()>>, StartError> {
        let (said, heard) = sync_channel(readers.len());
        let mut threads = Vec::new();
        for ((ring, listener), waker) in readers.into_iter().zip(listeners).zip(wakers) {
            let name = format!("fanfare-shard-{}", ring.number());
            let config = Config {
                listener,
                waker: Arc::clone(waker),
                capacity: self.plan.capacity,
                want_peers: self.addresses.wanted(self.context.loopback),
                entries: self.entries,
            };
            let parts = Parts {
                ring,
                inbox: self.inbox.clone(),
                context: Arc::clone(&self.context),
                life: Arc::clone(&self.life),
                addresses: Arc::clone(&self.addresses),
                metrics: Arc::clone(&self.metrics),
                machines: machines.clone(),
                connections_max: self.plan.capacity - RESERVE,
            };
            let (clock, tables, said) = (self.clock, self.tables, said.clone());
            let guard = self.vigil.guard(&name, || {});
            threads.push(spawn(&name, guard, move || {
                if tables {
                    run(Uring::new(config), parts, clock, &said);
                } else {
                    run(Epoll::new(config), parts, clock, &said);
                }
            })?);
        }
        for result in heard.iter().take(threads.len()) {
            result.map_err(|error| unavailable("a shard's driver could not be made", &error))?;
        }
        Ok(threads)
    }
}

/// The thread of a shard. A ring belongs to the thread that made it, so the driver is made here.
fn run<D: Driver>(
    driver: std::io::Result<D>,
    parts: Parts,
    clock: Clock,
    said: &SyncSender<std::io::Result<()>>,
) {
    match driver {
        Ok(driver) => {
            let _ = said.send(Ok(()));
            Shard::new(driver, parts, clock.now()).run(clock);
        }
        Err(error) => {
            let _ = said.send(Err(error));
        }
    }
}
