//! A stream of events that is open: nothing is read of its client, and one that is silent for long
//! is told that we are there.

use fanfare_protocol::dialect::Encoding;

use super::here::Here;
use super::millis32::Millis32;
use crate::clock::Millis;
use crate::limits::Limits;

/// An open stream.
#[derive(Debug)]
pub(crate) struct Events {
    /// When a silent stream has its next heartbeat.
    heartbeat_due: Millis32,
    /// What makes its patience its own.
    spread: u16,
    /// How what it is told is encoded.
    pub(super) encoding: Encoding,
}

impl Events {
    /// One that begins.
    pub(super) fn new(encoding: Encoding, spread: u16, now: Millis, limits: &Limits) -> Self {
        let patience_ms = spread_ms(spread, limits.heartbeat_ms);
        Self { heartbeat_due: Millis32::after(now, patience_ms), spread, encoding }
    }

    /// When it is to be looked at.
    pub(super) fn due(&self, now: Millis) -> Millis {
        self.heartbeat_due.at(now)
    }

    /// A silent stream has a heartbeat. Messages are heartbeats too: only a silent one needs a
    /// comment (THREATS E8). All have the same message in one moment, so from there, too, each has
    /// a patience of its own.
    pub(super) fn deadline(&mut self, silent_since: Millis, told: Millis, here: &mut Here<'_>) {
        let heartbeat_ms = here.shared.context.limits.heartbeat_ms;
        let patience_ms = spread_ms(self.spread, heartbeat_ms);
        if told.since(silent_since) >= patience_ms {
            self.encoding.framing().heartbeat(here.brief());
            self.heartbeat_due = Millis32::after(here.now, heartbeat_ms);
        } else {
            self.heartbeat_due = Millis32::after(silent_since, patience_ms);
        }
    }

    /// It takes nothing, so it is not told that we are there.
    pub(super) fn heard_nothing(&mut self, now: Millis, limits: &Limits) {
        self.heartbeat_due = Millis32::after(now, limits.heartbeat_ms);
    }
}

/// From its opening to a stream's first ping or heartbeat, and from a message to a stream's next
/// one, where those after it come every `period_ms`: half of that to all of it.
pub(crate) fn spread_ms(spread: u16, period_ms: u64) -> u64 {
    period_ms - ((u64::from(spread) * (period_ms / 2)) >> 16)
}
