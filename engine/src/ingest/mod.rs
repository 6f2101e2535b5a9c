//! Publishers on the Unix socket: one thread with ordinary descriptors, because they are few and
//! what they say matters more than how many they are.
//!
//! Backpressure is the socket itself: while the sequencer's inbox is full this thread waits for it,
//! and who has as much under way as there is room for ([`crate::in_flight`]) is not read; then
//! publishers wait in their own `write`. Answers come back through a queue and a waker, so that the
//! sequencer never waits for a publisher.
//!
//! Everything that is decided is decided in `publishers`, without a socket, a clock or a thread:
//! bytes, outcomes and times in; messages, bytes and deadlines out. `thread` reads and writes.

/// The thread's name.
pub const THREAD: &str = "fanfare-ingest";

mod draft;
mod ledger;
mod publisher;
mod publishers;
mod session;
mod sessions;
pub mod socket;
mod thread;

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use fanfare_protocol::id::Epoch;
use fanfare_protocol::limits::{IngestLimits, SessionLimits};

use crate::channel::Tenant;
use crate::clock::Clock;
use crate::error::StartError;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::sequencer::inbox::Inbox;
use crate::vigil::Guard;
pub use draft::{publication, publication_after};
use publisher::Patience;

/// What the thread runs, without sockets, clock and threads: for models and simulations of it.
pub mod machine {
    pub use super::draft::Group;
    pub use super::ledger::{GroupEnd, Results};
    pub use super::publisher::Publisher;
    pub use super::publishers::{Admission, Key, Publishers};
    pub use super::session::Session;
    pub use super::sessions::{Counts, Sessions};
}

/// What an outcome takes that was not confirmed, with the text of a refusal.
const KEPT_BYTES: usize = 256;

/// What the socket is started with.
#[derive(Clone, Debug)]
pub struct IngestConfig {
    /// The socket's file.
    pub path: PathBuf,
    /// Its mode, exactly.
    pub mode: u32,
    /// Peers beside root and our own user, by uid.
    pub users: Vec<u32>,
    /// What the node may use.
    pub limits: Limits,
    /// The node's present epoch, for HELLO.
    pub epoch: Epoch,
    /// The epoch with which the node began, by which publishers know it again.
    pub life: Epoch,
    /// Whose channels publishers here write to.
    pub tenant: Tenant,
}

impl IngestConfig {
    /// What a publisher may send. The window has room for one batch, so that a batch never waits
    /// for itself.
    fn wire(&self) -> IngestLimits {
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let batch_messages = number(self.limits.batch_messages);
        IngestLimits {
            frame_bytes: number(self.limits.publish_frame_bytes()),
            message_bytes: number(self.limits.message_bytes),
            batch_messages,
            window: batch_messages,
            channels: number(self.limits.channels_per_message),
        }
    }

    /// How many sessions are kept, for how long, and what each may keep.
    pub fn sessions(&self) -> SessionLimits {
        let number = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        let window = self.wire().window;
        let each = self.limits.all_in_flight() / self.limits.publishers.max(1);
        SessionLimits {
            // What is under way, and some times as much as lies between two confirmations; but no
            // more than has room when all publishers let it come to that.
            unconfirmed: window
                .saturating_mul(8)
                .min(number((each / KEPT_BYTES) as u64))
                .max(window),
            sessions: number(self.limits.publisher_sessions as u64),
            age_s: number(self.limits.publisher_session_age_ms / 1_000),
        }
    }

    /// Bytes that sessions without a connection may hold, of those that may be in flight.
    pub fn kept_bytes(&self) -> usize {
        self.limits.all_in_flight() / 4
    }

    /// How long a publisher may let us wait: a frame is to go on as fast as a request head ends.
    fn patience(&self) -> Patience {
        Patience { frame_ms: self.limits.head_ms, stall_ms: self.limits.publisher_stall_ms }
    }
}

/// The running thread.
#[derive(Debug)]
pub struct Handle {
    bell: Arc<thread::Bell>,
    thread: JoinHandle<()>,
    patience: Duration,
}

impl Handle {
    /// Accepts and reads no more, tells every publisher the outcomes of what it sent and GOODBYE,
    /// and removes the socket's file: within a quarter of [`Limits::shutdown_ms`]. The sequencer
    /// must still answer meanwhile.
    pub fn begin_to_stop(&self) {
        self.bell.stop(self.patience);
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
    let (ingest, bell) =
        thread::Ingest::new(settings, bound, &inbox, metrics, clock).map_err(failed)?;
    let thread = std::thread::Builder::new()
        .name(THREAD.into())
        .spawn(move || guard.watch(|| ingest.run()))
        .map_err(failed)?;
    Ok(Handle { bell, thread, patience })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The protocol's defaults are what `docs/PROTOCOLS.md` shows.
    #[test]
    fn a_server_that_nobody_has_configured_says_what_the_page_shows() {
        let settings = IngestConfig {
            path: PathBuf::new(),
            mode: 0,
            users: Vec::new(),
            limits: Limits::default(),
            epoch: Epoch::from_random(1),
            life: Epoch::from_random(1),
            tenant: Tenant::default(),
        };
        assert_eq!(settings.wire(), IngestLimits::DEFAULT);
        assert_eq!(settings.sessions(), SessionLimits::DEFAULT);
    }
}
