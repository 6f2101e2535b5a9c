//! How a log that works elsewhere wakes the order, which may be asleep.

use crossbeam_channel::{Receiver, Sender, bounded};

/// Wakes whoever sleeps over a log. Ringing is cheap, and rung twice it wakes once.
#[derive(Clone, Debug)]
pub struct Bell(Sender<()>);

impl Bell {
    /// One, and where it is heard.
    pub(crate) fn new() -> (Self, Receiver<()>) {
        let (ring, hear) = bounded(1);
        (Self(ring), hear)
    }

    /// There may be something new: whoever sleeps looks again, and whoever does not will before it
    /// sleeps.
    pub fn ring(&self) {
        // Where it is full it was rung before, and nobody has looked since.
        let _ = self.0.try_send(());
    }
}
