//! How a client takes what it is sent, as far as the kernel tells, and whether it came too many.

use super::millis32::Millis32;
use crate::clock::Millis;

/// How often a client whose buffer is full is looked at: has it left the live window?
const CHECK_MS: u64 = 1_000;

/// What sends have found.
#[derive(Debug)]
pub(super) struct Flow {
    /// Last time that the kernel took bytes for it.
    progress: Millis32,
    /// Since when bytes wait that the kernel does not take; never while it takes all.
    waits_since: Millis32,
    /// When it began to wait or was last looked at while it did.
    checked: Millis32,
    /// The kernel's buffer was full; a watch for room is armed.
    blocked: bool,
    /// It came when there was no room for one more: it is told so when its request is known. (Here
    /// it takes no memory, and anywhere else eight bytes of each connection.)
    over_limit: bool,
}

impl Flow {
    /// Nothing was sent yet.
    pub(super) fn new(now: Millis) -> Self {
        let (waits_since, checked) = (Millis32::NEVER, Millis32::NEVER);
        Self {
            progress: Millis32::of(now),
            waits_since,
            checked,
            blocked: false,
            over_limit: false,
        }
    }

    /// The same of a client that came when there was no room.
    pub(super) fn over_limit(now: Millis) -> Self {
        Self { over_limit: true, ..Self::new(now) }
    }

    /// Whether it came when there was no room.
    pub(super) fn is_over_limit(&self) -> bool {
        self.over_limit
    }

    /// A send went whole.
    pub(super) fn took_all(&mut self, now: Millis) {
        self.progress = Millis32::of(now);
        self.waits_since = Millis32::NEVER;
    }

    /// A send did not go whole; `some` of it did. Says whether the client may stay: not when it has
    /// taken nothing for `stall_ms`. (Timers judge blocked clients. But a client of which the
    /// kernel announces room again and again, where there is none, never is blocked when a timer
    /// looks.)
    #[must_use]
    pub(super) fn took_part(&mut self, some: bool, stall_ms: u64, now: Millis) -> bool {
        if some {
            self.progress = Millis32::of(now);
        }
        if some || self.waits_since == Millis32::NEVER {
            self.waits_since = Millis32::of(now);
            self.checked = self.waits_since;
        } else if now.since(self.waits_since.at(now)) >= stall_ms {
            return false;
        }
        self.blocked = true;
        true
    }

    /// There is no room until somebody says so.
    pub(super) fn block(&mut self) {
        self.blocked = true;
    }

    /// There is room again.
    pub(super) fn has_room(&mut self) {
        self.blocked = false;
    }

    /// Whether there is no room, and a watch for it.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// It was looked at.
    pub(super) fn look(&mut self, now: Millis) {
        self.checked = Millis32::of(now);
    }

    /// When it is to be looked at next, while it is blocked.
    pub(super) fn next_look(&self, now: Millis) -> Option<Millis> {
        self.blocked.then(|| self.checked.at(now).plus(CHECK_MS))
    }

    /// Whether it is blocked and nothing was taken of what waits, for as long as this.
    pub(super) fn has_stalled(&self, stall_ms: u64, now: Millis) -> bool {
        self.blocked && now.since(self.waits_since.at(now)) >= stall_ms
    }

    /// When bytes were last taken.
    pub(super) fn progress(&self, now: Millis) -> Millis {
        self.progress.at(now)
    }
}
