//! Publishers on the Unix socket: one thread with ordinary descriptors, because they are few and
//! what they say matters more than how many they are.
//!
//! Backpressure is the socket itself: while the sequencer's inbox is full this thread waits for it,
//! nobody is read, and publishers wait in their own `write`. Answers come back through a queue and
//! a waker, so that the sequencer never waits for a publisher.

pub mod kind;
mod ledger;
mod publisher;
mod socket;
mod thread;

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use fanfare_protocol::id::Epoch;
use fanfare_protocol::limits::IngestLimits;

use crate::clock::Clock;
use crate::error::StartError;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::sequencer::inbox::Inbox;

/// What the socket is started with.
#[derive(Clone, Debug)]
pub struct IngestSettings {
    /// The socket's file.
    pub path: PathBuf,
    /// Its mode, exactly.
    pub mode: u32,
    /// Peers beside root and our own user, by uid.
    pub users: Vec<u32>,
    /// What a publisher may send.
    pub wire: IngestLimits,
    /// Publishers at once.
    pub publishers: usize,
    /// For the rest of a frame, and for the preface, in milliseconds.
    pub frame_ms: u64,
    /// For a publisher to read its replies, in milliseconds.
    pub stall_ms: u64,
}

impl IngestSettings {
    /// Settings for a node with these limits: at `path`, for our own user and root.
    pub fn new(path: PathBuf, limits: &Limits) -> Self {
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let batch_messages = number(limits.batch_messages);
        let wire = IngestLimits {
            // A message of the largest size with its names, or a batch of small ones.
            frame_bytes: number(limits.message_bytes).saturating_add(1 << 20),
            message_bytes: number(limits.message_bytes),
            batch_messages,
            window: batch_messages.max(IngestLimits::DEFAULT.window),
        };
        Self {
            path,
            mode: 0o600,
            users: Vec::new(),
            wire,
            publishers: limits.publishers,
            frame_ms: 5_000,
            stall_ms: limits.stall_ms,
        }
    }
}

/// The running thread.
#[derive(Debug)]
pub struct IngestHandle {
    bell: Arc<thread::Bell>,
    thread: JoinHandle<()>,
}

impl IngestHandle {
    /// Accepts and reads no more, tells every publisher the outcomes of what it sent and GOODBYE,
    /// for `patience` at most, removes the socket's file, and joins the thread. The sequencer must
    /// still answer meanwhile.
    pub fn stop(self, patience: Duration) {
        self.bell.stop(patience);
        if self.thread.join().is_err() {
            tracing::error!("the publishers' thread panicked: this is a bug in Fanfare");
        }
    }
}

/// Binds the socket and starts the thread.
pub fn spawn(
    settings: IngestSettings,
    inbox: Inbox,
    metrics: Arc<Metrics>,
    epoch: Epoch,
    clock: Clock,
) -> Result<IngestHandle, StartError> {
    let bound = socket::bind(&settings.path, settings.mode)?;
    let failed = |error: std::io::Error| {
        StartError::Unavailable(format!(
            "the thread for the Unix socket could not be started: {error}. The machine lacks \
             threads or descriptors"
        ))
    };
    let (ingest, bell) =
        thread::Ingest::new(settings, bound, inbox, metrics, epoch, clock).map_err(failed)?;
    let thread = std::thread::Builder::new()
        .name("fanfare-ingest".into())
        .spawn(move || ingest.run())
        .map_err(failed)?;
    Ok(IngestHandle { bell, thread })
}
