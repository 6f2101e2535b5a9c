//! What both ways to a node are asked with, and what they tell: settings, failures, numbers.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use fanfare_protocol::limits::IngestLimits;

use crate::code::{self, Code};

/// What a publisher may hold and how long it tries.
#[derive(Clone, Debug)]
pub struct PublisherSettings {
    /// Messages without an outcome.
    pub queue_messages: usize,
    /// Their bytes.
    pub queue_bytes: usize,
    /// After this long a message that was sent, and whose connection was lost and not made again,
    /// is told *unknown*. Longer than the server keeps a session without a connection
    /// (`limits.publisher_session_age`, 5 minutes unless it says otherwise) it is of no use.
    pub unknown_ms: u64,
    /// How long `open` waits for the server; 0 for not at all.
    pub connect_ms: u64,
}

impl Default for PublisherSettings {
    fn default() -> Self {
        Self { queue_messages: 65_536, queue_bytes: 64 << 20, unknown_ms: 240_000, connect_ms: 0 }
    }
}

/// Why something could not be opened: for programs and for people.
#[derive(Debug)]
pub struct Failure {
    /// The result.
    pub code: Code,
    /// What happened, why, and what to do.
    pub text: String,
}

/// What a publisher counts, from its opening on.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) published: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) unknown: AtomicU64,
    pub(crate) duplicates: AtomicU64,
    pub(crate) resent: AtomicU64,
    pub(crate) connects: AtomicU64,
}

impl Counters {
    pub(crate) fn count(&self, outcome: &crate::outcome::Outcome) {
        let counter = match outcome {
            Ok(place) => {
                self.duplicates.fetch_add(u64::from(place.duplicate), Relaxed);
                &self.published
            }
            Err(code::FANFARE_E_UNKNOWN) => &self.unknown,
            Err(_) => &self.refused,
        };
        counter.fetch_add(1, Relaxed);
    }
}

/// A publisher's numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Messages without an outcome.
    pub pending: u64,
    /// Messages that have their place.
    pub published: u64,
    /// Messages that were refused, or not taken by a node that ended.
    pub refused: u64,
    /// Messages of which nobody knows.
    pub unknown: u64,
    /// Messages whose place was given to an earlier sending.
    pub duplicates: u64,
    /// Messages that were sent again on another connection.
    pub resent: u64,
    /// Connections that were made.
    pub connects: u64,
    /// The life of the node that was heard of last; 0 before.
    pub epoch: u64,
    /// Whether there is a node at the other end now.
    pub connected: bool,
    /// Why the last connection ended or was not made.
    pub last_error: Code,
    /// Port where clients connect to the embedded node; 0 where there is none.
    pub listen_port: u16,
    /// Port of the embedded node's HTTP API; 0 where there is none.
    pub api_port: u16,
}

/// Shape limits only: the longest that a length field can say. The node's own come from it.
pub(crate) const SHAPE: IngestLimits = IngestLimits {
    frame_bytes: u32::MAX,
    message_bytes: u32::MAX - (1 << 20),
    batch_messages: u32::MAX,
    window: u32::MAX,
    channels: u32::MAX,
};
