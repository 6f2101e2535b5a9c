//! The publisher of a run: one stream of messages with probes, over HTTP or Fanfare's Unix socket.

mod http;
mod outlet;
mod socket;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use self::outlet::Outlet;
use super::plan::Way;
use super::probe::Probe;
use super::shared::Shared;

/// Publishes one stream.
pub struct Publisher {
    shared: Arc<Shared>,
    outlet: Box<dyn Outlet>,
    stream: u8,
    last: Arc<AtomicU32>,
    payload: Vec<u8>,
    channel: String,
    /// Where each client has a channel of its own a message goes to one after the other: how many
    /// they are, and whose turn is next.
    receivers: u32,
    next: u32,
}

impl Publisher {
    /// Connects.
    ///
    /// # Errors
    /// A sentence: there is nobody to publish to.
    pub fn open(shared: &Arc<Shared>, way: &Way, stream: u8) -> Result<Self, String> {
        let outlet: Box<dyn Outlet> = match way {
            Way::Socket(path) => Box::new(socket::Socket::open(path, Arc::clone(shared), stream)?),
            Way::Http(url) => Box::new(http::Http::open(url, Arc::clone(shared), stream)?),
        };
        Ok(Self {
            shared: Arc::clone(shared),
            outlet,
            stream,
            last: Arc::default(),
            payload: Vec::new(),
            channel: shared.plan.channel_of(stream, 0),
            receivers: if stream == 0 { shared.plan.publications() } else { 1 },
            next: 0,
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

    /// Publishes `count` messages to everyone that were meant to go out at `nanos`.
    ///
    /// # Errors
    /// A sentence: the server refused, or is gone.
    pub fn publish(&mut self, count: u32, nanos: u64) -> Result<(), String> {
        for _ in 0..count {
            for _ in 0..self.receivers {
                self.send_next(nanos)?;
            }
        }
        self.outlet.flush()
    }

    /// Publishes `count` messages to as many clients, one after the other, that each have a channel
    /// of their own.
    ///
    /// # Errors
    /// As [`Self::publish`].
    pub fn publish_each(&mut self, count: u32, nanos: u64) -> Result<(), String> {
        (0..count).try_for_each(|_| self.send_next(nanos))?;
        self.outlet.flush()
    }

    /// How many more there are to whom the last message has not gone.
    pub fn left(&self) -> u32 {
        (self.receivers - self.next) % self.receivers
    }

    /// Publishes one message to each of so many channels that nobody follows.
    ///
    /// # Errors
    /// As [`Self::publish`].
    pub fn fill(&mut self, channels: u32) -> Result<(), String> {
        let payload = vec![b'x'; self.shared.plan.size];
        for nth in 0..channels {
            let channel = format!("{}-filled-{nth}", self.shared.plan.channel);
            self.outlet.send(&channel, 0, &payload)?;
        }
        self.outlet.flush()
    }

    fn send_next(&mut self, nanos: u64) -> Result<(), String> {
        let sequence = if self.next == 0 { self.last() + 1 } else { self.last() };
        // A client takes nobody else's for its own.
        let run = self.shared.run.wrapping_add(self.next);
        let probe = Probe { run, stream: self.stream, sequence, nanos };
        probe.write(self.shared.plan.size, &mut self.payload);
        if self.receivers > 1 {
            self.channel = self.shared.plan.channel_of(self.stream, self.next);
        }
        self.outlet.send(&self.channel, sequence, &self.payload)?;
        self.last.store(sequence, Relaxed);
        self.next = (self.next + 1) % self.receivers;
        Ok(())
    }

    /// Publishes one message now.
    ///
    /// # Errors
    /// As [`Self::publish`].
    pub fn publish_now(&mut self) -> Result<(), String> {
        self.publish(1, self.shared.clock.nanos())
    }
}
