//! When logs drop what the live window does not hold.
//!
//! A burst may be longer than the window, and come before anybody had a turn. Who reads as fast as
//! we send must not lose by that, so a log is trimmed only when every member had its visit and
//! nobody is owed anything but the blocked and those who lag. Until then it grows, and where it is
//! two windows too long no more of the ring is read: the ring fills, and publishers wait. That is
//! no circle: a visit never waits for anyone, a client that takes nothing is blocked after its
//! first one, and one that was told a gap and takes a little now and then is not waited for until
//! it has caught up: thousands of such would keep publishers waiting for ever.

use super::channels::{ChannelIndex, Channels};
use super::lane::Scratch;

/// Logs that are over their window.
#[derive(Debug, Default)]
pub(super) struct Overgrown {
    channels: Vec<ChannelIndex>,
    /// Whether one of them is far over it.
    far: bool,
}

impl Overgrown {
    /// Whether a log is so long that it is to be sent from before it gets more.
    pub(super) fn is_far(&self) -> bool {
        self.far
    }

    /// Looks at a log that has grown or whose floor has risen.
    pub(super) fn look(&mut self, index: ChannelIndex, channels: &mut Channels) {
        let channel = channels.at_mut(index);
        if !channel.overgrown && channel.log.is_over() {
            channel.overgrown = true;
            self.channels.push(index);
        }
        self.far |= channel.log.is_far_over();
    }

    /// Trims every log whose members have all had their turn; `has_turn` says of one whether it has
    /// not. Returns how many rendered bytes went.
    pub(super) fn trim(
        &mut self,
        channels: &mut Channels,
        scratch: &mut Scratch,
        has_turn: impl Fn(u32) -> bool,
    ) -> usize {
        let (mut freed, mut far) = (0, false);
        self.channels.retain(|index| {
            let Some(channel) = channels.get_mut(*index) else { return false };
            if channel.queued || channel.members.iter().any(|member| has_turn(*member)) {
                far |= channel.log.is_far_over();
                return true;
            }
            channel.overgrown = false;
            let before = channel.log.rendered_bytes();
            channel.log.trim(scratch);
            freed += before - channel.log.rendered_bytes();
            false
        });
        self.far = far;
        freed
    }
}
