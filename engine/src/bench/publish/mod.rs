//! The publisher of a run: one stream of stamped messages, over HTTP or Fanfare's Unix socket.

mod http;
mod socket;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::plan::Way;
use super::stamp::Stamp;
use super::worker::Shared;

/// How messages go out. An error is a sentence; nothing can be published after it.
trait Outlet: Send {
    /// Publishes a payload as the message with this sequence. May return before the server has it.
    fn send(&mut self, sequence: u32, payload: &[u8]) -> Result<(), String>;

    /// Sees to it that what was sent is under way.
    fn flush(&mut self) -> Result<(), String>;
}

/// Publishes one stream.
pub struct Publisher {
    shared: Arc<Shared>,
    outlet: Box<dyn Outlet>,
    stream: u8,
    last: Arc<AtomicU32>,
    payload: Vec<u8>,
}

impl Publisher {
    /// Connects.
    ///
    /// # Errors
    /// A sentence: there is nobody to publish to.
    pub fn open(shared: &Arc<Shared>, way: &Way, stream: u8) -> Result<Self, String> {
        let channel = shared.plan.channel_of(stream);
        let outlet: Box<dyn Outlet> = match way {
            Way::Socket(path) => {
                Box::new(socket::Socket::open(path, channel, Arc::clone(shared), stream)?)
            }
            Way::Http(url) => {
                Box::new(http::Http::open(url, &channel, Arc::clone(shared), stream)?)
            }
        };
        Ok(Self {
            shared: Arc::clone(shared),
            outlet,
            stream,
            last: Arc::default(),
            payload: Vec::new(),
        })
    }

    /// The sequence of the last message; 0 before the first.
    pub fn last(&self) -> u32 {
        self.last.load(Relaxed)
    }

    /// The same number, for those who watch while this publishes.
    pub fn watch_last(&self) -> Arc<AtomicU32> {
        Arc::clone(&self.last)
    }

    /// Publishes `count` messages that were meant to go out at `nanos`.
    ///
    /// # Errors
    /// A sentence: the server refused, or is gone.
    pub fn publish(&mut self, count: u32, nanos: u64) -> Result<(), String> {
        for _ in 0..count {
            let sequence = self.last() + 1;
            let run = self.shared.run;
            let stamp = Stamp { run, stream: self.stream, sequence, nanos };
            stamp.write(self.shared.plan.size, &mut self.payload);
            self.outlet.send(sequence, &self.payload)?;
            self.last.store(sequence, Relaxed);
        }
        self.outlet.flush()
    }

    /// Publishes one message now.
    ///
    /// # Errors
    /// As [`Self::publish`].
    pub fn publish_now(&mut self) -> Result<(), String> {
        self.publish(1, self.shared.clock.nanos())
    }
}
