//! What the operator is told when somebody is refused: once a minute at most, as the metrics have
//! the numbers.

use crate::clock::Millis;

/// From one warning to the next of its kind.
const PAUSE_MS: u64 = 60_000;

/// A warning that is not said again too soon.
#[derive(Debug, Default)]
pub(super) struct Seldom(Option<Millis>);

impl Seldom {
    /// Whether it may be said now; then not again for a while.
    pub(super) fn may(&mut self, now: Millis) -> bool {
        let may = self.0.is_none_or(|again| again <= now);
        if may {
            self.0 = Some(now.plus(PAUSE_MS));
        }
        may
    }
}

/// When each of the limits was last told of.
#[derive(Debug, Default)]
pub(super) struct Warn {
    kept: Seldom,
    followed: Seldom,
    stuck: Seldom,
    failed: Seldom,
}

impl Warn {
    /// A publish was refused.
    pub(super) fn kept(&mut self, now: Millis, limit: usize) {
        if self.kept.may(now) {
            tracing::warn!(
                channels = limit,
                "publishes to new channels are refused: there are limits.channels, and each still \
                 keeps what its rule promises. Raise limits.channels, or let rules keep less long"
            );
        }
    }

    /// The log has no room, and has taken nothing for long.
    pub(super) fn log_stuck(&mut self, now: Millis) {
        if self.stuck.may(now) {
            tracing::warn!(
                "the log takes nothing, so publishes are refused until it does: what it writes to \
                 is slow or stands still"
            );
        }
    }

    /// A publish was refused, or what was published is lost.
    pub(super) fn log_failed(&mut self, now: Millis) {
        if self.failed.may(now) {
            tracing::error!(
                "the log has failed, so nothing can be published any more; clients are served what \
                 was published before. See what the log says, mend it, and start the node again"
            );
        }
    }

    /// A subscribe was refused.
    pub(super) fn followed(&mut self, now: Millis, limit: usize) {
        if self.followed.may(now) {
            tracing::warn!(
                followed_channels = limit,
                "clients are refused: limits.followed_channels are followed already. Raise it, or \
                 limit how many channels one client may follow (limits.channels_per_connection)"
            );
        }
    }
}
