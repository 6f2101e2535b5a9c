//! The threads of a server: the order's, and one for each shard.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::driver_choice::Chosen;
use crate::admission::peers::wants_peers;
use crate::clock::Clock;
use crate::driver::epoll::Epoll;
use crate::driver::uring::Uring;
use crate::driver::{Driver, DriverConfig, choose};
use crate::error::StartError;
use crate::log::Log;
use crate::node_state::NodeState;
use crate::os::waker::Waker;
use crate::ring::Writer;
use crate::sequencer::command::Entry;
use crate::sequencer::inbox::{Commands, refuse_until_shutdown};
use crate::sequencer::{Sequencer, Ticket};
use crate::shard::{Shard, ShardParts};
use crate::vigil::{Guard, Vigil};

/// The name of the sequencer's thread.
const SEQUENCER: &str = "fanfare-sequencer";

/// What all threads are started with.
pub(super) struct Threads {
    pub(super) wakers: Vec<Arc<Waker>>,
    pub(super) life: Arc<NodeState>,
    pub(super) vigil: Arc<Vigil>,
    pub(super) clock: Clock,
}

impl Threads {
    /// Starts the one order of the node. Should it be lost, shards are told, and what stands in
    /// `commands` is refused in its place.
    pub(super) fn start_order<L: Log<Ticket> + Send + 'static>(
        &self,
        sequencer: Sequencer<Writer<Entry>, L>,
        commands: Commands,
    ) -> Result<JoinHandle<()>, StartError> {
        let (life, sleepers) = (Arc::clone(&self.life), self.wakers.clone());
        let guard = self.vigil.guard(SEQUENCER, move || {
            life.lose_order();
            sleepers.iter().for_each(|waker| waker.wake());
            refuse_until_shutdown(&commands);
        });
        let clock = self.clock;
        spawn(SEQUENCER, guard.with_short_slices(), move || sequencer.run(clock))
    }

    /// Starts a shard for each listener; returns when every driver stands.
    pub(super) fn start_shards(
        &self,
        shards: Vec<ShardParts>,
        listeners: Vec<TcpListener>,
        chosen: &Chosen,
        capacity: usize,
    ) -> Result<Vec<JoinHandle<()>>, StartError> {
        let (said, heard) = sync_channel(shards.len());
        let mut threads = Vec::new();
        for ((parts, listener), waker) in shards.into_iter().zip(listeners).zip(&self.wakers) {
            let context = parts.contexts.context();
            let name = format!("fanfare-shard-{}", parts.ring.number());
            let config = DriverConfig {
                listener,
                waker: Arc::clone(waker),
                capacity,
                want_peers: wants_peers(&context.limits, &context.proxies, context.loopback),
                entries: chosen.entries,
            };
            let (clock, tables, said) = (self.clock, chosen.tables, said.clone());
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
    parts: ShardParts,
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

/// A call of the system that failed, and what to do.
pub(super) fn unavailable(what: &str, error: &std::io::Error) -> StartError {
    let advice = error.raw_os_error().and_then(choose::advice);
    let advice = advice.map_or_else(String::new, |advice| format!(". {advice}"));
    StartError::Unavailable(format!("{what}: {error}{advice}"))
}

fn spawn(
    name: &str,
    guard: Guard,
    run: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, StartError> {
    std::thread::Builder::new()
        .name(name.into())
        .spawn(move || guard.watch(run))
        .map_err(|error| unavailable("a thread could not be started", &error))
}
