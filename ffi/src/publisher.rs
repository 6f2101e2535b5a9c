//! A publisher: one set of calls, two ways to a node.
//!
//! Nothing here waits unless it says so. What is offered is taken, whole, or the queue is full and
//! nothing was; what was taken has one [`Outcome`](crate::outcome::Outcome) for whoever hears it.

use std::path::PathBuf;
use std::time::Duration;

use fanfare_protocol::ingest::PublishFrame;

use crate::code::{Code, FANFARE_E_INVAL};
use crate::connected::Connected;
use crate::embedded::Embedded;
use crate::outcome::{Done, Flushed};
pub use crate::terms::{Failure, PublisherSettings, Stats};

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

fn bad_url(text: &str) -> Failure {
    Failure { code: FANFARE_E_INVAL, text: text.into() }
}
