//! When logs drop what the live window does not hold.
//!
//! A burst may be longer than the window, and come before anybody had a turn. Who reads as fast as
//! we send must not lose by that, so a log is trimmed only when every member had its visit and
//! nobody is owed anything but the blocked and those who lag. Until then it grows, and where it is
//! two windows too long no more of the ring is read: the ring fills, and publishers wait. That is
//! no circle: a visit never waits for anyone, a client that takes nothing is blocked after its
//! first one, and one that was told a gap and takes a little now and then is not waited for until
//! it has caught up: thousands of such would keep publishers waiting for ever.

use super::channels::Place;
use super::log::Log;
use super::messages::ClientMessages;
use super::sessions::Sessions;

/// Logs that are over their window.
#[derive(Debug, Default)]
pub(super) struct Overgrown {
    places: Vec<Place>,
    /// Whether one of them is far over it.
    far: bool,
}

impl<M: ClientMessages> Sessions<M> {
    /// Whether no more of the ring is to be read for now.
    pub(super) fn holds_back(&self) -> bool {
        self.overgrown.far
    }

    /// Looks at a log that has grown or whose floor has risen.
    pub(super) fn note_growth(&mut self, place: Place) {
        let channel = self.channels.at_mut(place);
        if !channel.overgrown && channel.log.is_over() {
            channel.overgrown = true;
            self.overgrown.places.push(place);
        }
        self.overgrown.far |= channel.log.is_far_over();
    }

    /// Trims every log whose members have all had their turn. Whatever keeps one from it is work
    /// that is under way, so the next tick comes soon.
    pub(super) fn trim_logs(&mut self) {
        if self.overgrown.places.is_empty() || self.has_visits() {
            return;
        }
        self.overgrown.far = false;
        let mut places = std::mem::take(&mut self.overgrown.places);
        places.retain(|place| !self.trim_log(*place));
        self.overgrown.places = places;
    }

    /// Whether a log was trimmed, or is gone.
    fn trim_log(&mut self, place: Place) -> bool {
        let Some(channel) = self.channels.get_mut(place) else { return true };
        let has_turn = |index: &u32| {
            let connection = self.table.at(*index).expect("a member is open");
            let flags = connection.flags;
            flags.queued && !flags.blocked && !flags.lagging
        };
        if channel.queued || channel.members.iter().any(has_turn) {
            self.overgrown.far |= channel.log.is_far_over();
            return false;
        }
        channel.overgrown = false;
        self.keep_log_bytes(place, Log::trim);
        true
    }
}
