//! What the operator is told when publishes or clients are refused. The metrics count each refusal,
//! so one line in a minute is enough.

use crate::clock::Millis;
use crate::diagnostics::line_limit::LineLimit;

/// At most one line in a minute.
pub(super) type OncePerMinute = LineLimit<60_000>;

/// When each of the limits was last told of.
#[derive(Debug, Default)]
pub(super) struct Warn {
    kept: OncePerMinute,
    followed: OncePerMinute,
    stuck: OncePerMinute,
    failed: OncePerMinute,
}

impl Warn {
    /// A publish was refused.
    pub(super) fn kept(&mut self, now: Millis, limit: usize) {
        if self.kept.take(now).is_some() {
            tracing::warn!(
                channels = limit,
                "publishes to new channels are refused: there are limits.channels, and each still \
                 keeps what its rule promises. Raise limits.channels, or let rules keep less long"
            );
        }
    }

    /// The log has no room, and has taken nothing for long.
    pub(super) fn log_stuck(&mut self, now: Millis) {
        if self.stuck.take(now).is_some() {
            tracing::warn!(
                "the log takes nothing, so publishes are refused until it does: what it writes to \
                 is slow or stands still"
            );
        }
    }

    /// A publish was refused, or what was published is lost.
    pub(super) fn log_failed(&mut self, now: Millis) {
        if self.failed.take(now).is_some() {
            tracing::error!(
                "the log has failed, so nothing can be published any more; clients are served what \
                 was published before. See what the log says, mend it, and start the node again"
            );
        }
    }

    /// A subscribe was refused.
    pub(super) fn followed(&mut self, now: Millis, limit: usize) {
        if self.followed.take(now).is_some() {
            tracing::warn!(
                followed_channels = limit,
                "clients are refused: limits.followed_channels are followed already. Raise it, or \
                 limit how many channels one client may follow (limits.channels_per_connection)"
            );
        }
    }
}
