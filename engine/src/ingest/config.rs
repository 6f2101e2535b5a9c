//! What publishers on the socket may use.

use std::path::PathBuf;

use fanfare_protocol::id::Epoch;
use fanfare_protocol::limits::{IngestLimits, SessionLimits};

use crate::channel::Tenant;
use crate::limits::Limits;

/// How long a publisher may let us wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// For the rest of a frame, from its last bytes on.
    pub(super) frame_ms: u64,
    /// For the reading of replies, from the last bytes that it took.
    pub(super) stall_ms: u64,
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
    pub(super) fn wire(&self) -> IngestLimits {
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
    pub(super) fn patience(&self) -> Patience {
        Patience { frame_ms: self.limits.head_ms, stall_ms: self.limits.publisher_stall_ms }
    }
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
