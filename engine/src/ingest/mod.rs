//! Publishers on the Unix socket: one thread with ordinary descriptors, because they are few and
//! what they say matters more than how many they are.
//!
//! Backpressure is the socket itself: while the sequencer's inbox is full this thread waits for it,
//! and a publisher with as much under way as there is room for ([`crate::in_flight`]) is not read;
//! then it waits in its own `write`. Answers come back through a queue and a waker, so that the
//! sequencer never waits for a publisher.
//!
//! Everything that is decided is decided in `publishers`, without a socket, a clock or a thread:
//! bytes, outcomes and times in; messages, bytes and deadlines out. `thread` reads and writes.

/// The thread's name.
pub const THREAD: &str = "fanfare-ingest";

mod config;
mod draft;
mod ledger;
mod publisher;
mod publishers;
mod session;
mod sessions;
mod slots;
pub mod socket;
mod thread;

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::clock::Clock;
use crate::error::StartError;
use crate::metrics::Metrics;
use crate::sequencer::inbox::Inbox;
use crate::vigil::Guard;
pub use config::{IngestConfig, Peer};
pub use draft::publication;

/// What the thread runs, without sockets, clock and threads: for models and simulations of it.
pub mod machine {
    pub use super::draft::Group;
    pub use super::ledger::{GroupEnd, GroupResults};
    pub use super::publisher::Publisher;
    pub use super::publishers::{Admission, Key, Publishers};
    pub use super::session::PublisherSession;
    pub use super::sessions::{Counts, Sessions};
}

/// The running thread.
#[derive(Debug)]
pub struct Handle {
    notices: Arc<thread::NoticeSender>,
    thread: JoinHandle<()>,
    patience: Duration,
}

impl Handle {
    /// Accepts and reads no more, tells every publisher the outcomes of what it sent and GOODBYE,
    /// and removes the socket's file: within a quarter of `limits.shutdown`. The sequencer
    /// must still answer meanwhile.
    pub fn begin_to_stop(&self) {
        self.notices.stop(self.patience);
    }

    /// As [`Handle::begin_to_stop`], and joins the thread.
    pub fn stop(self) {
        self.begin_to_stop();
        if self.thread.join().is_err() {
            tracing::error!("the publishers' thread panicked: this is a bug in Fanfare");
        }
    }
}

/// Binds the socket and starts the thread, under `guard`.
///
/// # Errors
/// [`StartError::Config`] for a path that cannot or must not be used, [`StartError::Unavailable`]
/// where another process listens or the machine does not give what is needed.
pub fn spawn(
    settings: IngestConfig,
    inbox: Inbox,
    metrics: Arc<Metrics>,
    clock: Clock,
    guard: Guard,
) -> Result<Handle, StartError> {
    let bound = socket::bind(&settings.path, settings.mode)?;
    let failed = |error: std::io::Error| {
        StartError::Unavailable(format!(
            "the thread for the Unix socket could not be started: {error}. The machine lacks \
             threads or descriptors"
        ))
    };
    let patience = Duration::from_millis(settings.limits.shutdown_ms / 4);
    let (ingest, notices) =
        thread::Ingest::new(settings, bound, &inbox, metrics, clock).map_err(failed)?;
    let thread = std::thread::Builder::new()
        .name(THREAD.into())
        .spawn(move || guard.watch(|| ingest.run()))
        .map_err(failed)?;
    Ok(Handle { notices, thread, patience })
}
