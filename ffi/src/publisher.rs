//! A publisher: one set of calls, two ways to a node.
//!
//! Nothing here waits unless it says so. What is offered is taken, whole, or the queue is full and
//! nothing was; what was taken has one [`Outcome`](crate::outcome::Outcome) for whoever hears it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use fanfare_protocol::ingest::PublishFrame;
use fanfare_protocol::limits::IngestLimits;

use crate::code::{self, Code, FANFARE_E_INVAL};
use crate::connected::Connected;
use crate::embedded::Embedded;
use crate::outcome::{Done, Flushed};

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

/// A way to a node.
pub struct Publisher(Way);

enum Way {
    Connected(Connected),
    Embedded(Embedded),
}

impl Publisher {
    /// Opens `unix:/path` or `embedded:` with the text of a configuration file.
    ///
    /// # Errors
    /// INVAL for another URL; for `embedded:` CONFIG and UNAVAILABLE; for `unix:`, when it is to
    /// wait, UNAVAILABLE, FORBIDDEN, VERSION, or minus a code of the server's ERROR.
    pub fn open(url: &str, settings: PublisherSettings) -> Result<Self, Failure> {
        let way = if let Some(path) = url.strip_prefix("unix:") {
            if !path.starts_with('/') {
                return Err(bad_url("a socket's path is absolute: unix:/run/fanfare.sock"));
            }
            Way::Connected(Connected::open(PathBuf::from(path), settings)?)
        } else if let Some(configuration) = url.strip_prefix("embedded:") {
            Way::Embedded(Embedded::open(configuration, settings)?)
        } else {
            return Err(bad_url("this is neither unix:/path nor embedded: with a configuration"));
        };
        Ok(Self(way))
    }

    /// Offers one message.
    ///
    /// # Errors
    /// AGAIN where there is no room, PIPE after the end, and what is wrong with the message. Then
    /// `done` hears nothing.
    pub fn offer(&self, message: &PublishFrame<'_>, done: Done) -> Result<(), Code> {
        match &self.0 {
            Way::Connected(connected) => connected.offer(std::slice::from_ref(message), vec![done]),
            Way::Embedded(embedded) => embedded.offer_one(message, done),
        }
    }

    /// Offers several messages, one after the other with nothing of this publisher between them:
    /// all or none. One that is refused later does not take the others with it.
    ///
    /// # Errors
    /// As [`Publisher::offer`]; what is wrong with the first message that is wrong.
    ///
    /// # Panics
    /// When there are not as many `done` as messages.
    pub fn offer_batch(&self, messages: &[PublishFrame<'_>], done: Vec<Done>) -> Result<(), Code> {
        assert_eq!(messages.len(), done.len(), "somebody, or nobody, hears each outcome");
        match &self.0 {
            Way::Connected(connected) => connected.offer(messages, done),
            Way::Embedded(embedded) => embedded.offer(messages, done),
        }
    }

    /// Waits until every message that was taken before has its outcome and callbacks have
    /// returned.
    ///
    /// # Errors
    /// TIMEOUT, or PIPE where the publisher is closed meanwhile.
    pub fn flush(&self, patience: Duration) -> Result<(), Code> {
        match &self.0 {
            Way::Connected(connected) => connected.flush(patience),
            Way::Embedded(embedded) => embedded.flush(patience),
        }
    }

    /// As [`Publisher::flush`], without waiting: `done` hears it, exactly once, where it is taken.
    ///
    /// # Errors
    /// AGAIN where there is no room for the question, PIPE after the end. Then `done` hears
    /// nothing.
    pub fn flush_then(&self, done: Flushed) -> Result<(), Code> {
        match &self.0 {
            Way::Connected(connected) => connected.flush_then(done),
            Way::Embedded(embedded) => embedded.flush_then(done),
        }
    }

    /// Its numbers.
    pub fn stats(&self) -> Stats {
        match &self.0 {
            Way::Connected(connected) => connected.stats(),
            Way::Embedded(embedded) => embedded.stats(),
        }
    }

    /// Ends it: what was not sent is told PIPE, what was sent and has no outcome UNKNOWN; an
    /// embedded node is stopped. When this returns no callback runs and none will.
    pub fn close(&self) {
        match &self.0 {
            Way::Connected(connected) => connected.close(),
            Way::Embedded(embedded) => embedded.close(),
        }
    }
}

/// Shape limits only: the longest that a length field can say. The node's own come from it.
pub(crate) const SHAPE: IngestLimits = IngestLimits {
    frame_bytes: u32::MAX,
    message_bytes: u32::MAX - (1 << 20),
    batch_messages: u32::MAX,
    window: u32::MAX,
};

fn bad_url(text: &str) -> Failure {
    Failure { code: FANFARE_E_INVAL, text: text.into() }
}
