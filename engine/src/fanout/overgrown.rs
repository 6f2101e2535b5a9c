//! When logs drop what the live window does not hold.
//!
//! A burst may be longer than the window, and come before anybody had a turn. Who reads as fast as
//! we send must not lose by that, so a log is trimmed only when every member had its visit and
//! nobody is owed anything but the blocked and those who lag. Until then it grows, and where it is
//! two windows too long no more of the ring is read: the ring fills, and publishers wait. That is
//! no circle: a visit never waits for anyone, a client that takes nothing is blocked after its
//! first one, and one that was told a gap and takes a little now and then is not waited for until
//! it has caught up: thousands of such would keep publishers waiting for ever.
//!
//! A log for whose window there is no room in the budget is *tight*. It waits, too, but not for
//! longer than [`TURNS`] of everybody who was queued: of the members of a thousand logs that come
//! and go one is always queued.

use super::channels::{ChannelIndex, FollowedChannel, FollowedChannels};
use super::log::moved_up;
use super::page::Pages;
use super::subscription::Subscriptions;

/// Turns that everybody who was queued has had when a tight log waits no more.
const TURNS: u64 = 4;

/// The members, as a log that is to be trimmed asks for them.
pub(crate) trait Members {
    /// Whether a member is owed something and has its turn soon: a log waits for it.
    fn has_turn(&self, member: u32) -> bool;

    /// Whether a member may be owed something and is not waited for.
    fn is_behind(&self, member: u32) -> bool;

    /// The subscriptions of a member.
    fn subscriptions(&mut self, member: u32) -> &mut Subscriptions;

    /// How many turns members have had so far.
    fn turns(&self) -> u64;

    /// How many are queued for one.
    fn queued(&self) -> usize;
}

/// What went with a trim.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TrimResult {
    /// Bytes of live windows.
    pub(super) loose_bytes: usize,
    /// Ephemeral messages, once for each member that had not had them.
    pub(super) ephemeral: u64,
    /// Whether a log for whose window there is no room was not trimmed yet.
    pub(super) waits: bool,
}

/// Logs that are over their window.
#[derive(Debug, Default)]
pub(super) struct Overgrown {
    channels: Vec<ChannelIndex>,
    /// Whether one of them is far over it.
    far: bool,
    /// How many turns there have been when tight logs wait no more, where some wait.
    patience: Option<u64>,
    /// Reusable memory for the seqs that went with a log's trim.
    dropped: Vec<u64>,
}

impl Overgrown {
    /// Whether a log is so long that it is to be sent from before it gets more.
    pub(super) fn is_far(&self) -> bool {
        self.far
    }

    /// Whether logs for whose windows there is no room wait for their members.
    pub(super) fn has_tight(&self) -> bool {
        self.patience.is_some()
    }

    /// Lets a log be trimmed of all that history does not promise.
    pub(super) fn tighten(&mut self, index: ChannelIndex, channels: &mut FollowedChannels) {
        channels.at_mut(index).log.tighten();
        self.look(index, channels);
    }

    /// Looks at a log that has grown or whose floor has risen.
    pub(super) fn look(&mut self, index: ChannelIndex, channels: &mut FollowedChannels) {
        let channel = channels.at_mut(index);
        if !channel.overgrown && channel.log.is_over() {
            channel.overgrown = true;
            self.channels.push(index);
        }
        self.far |= channel.log.is_far_over();
    }

    /// Trims every log whose members have all had their turn, and tight ones that have waited for
    /// long enough.
    pub(super) fn trim(
        &mut self,
        channels: &mut FollowedChannels,
        pages: &mut Pages,
        members: &mut impl Members,
    ) -> TrimResult {
        let (mut trimmed, mut far) = (TrimResult::default(), false);
        let is_over = self.patience.is_some_and(|turns| members.turns() >= turns);
        let dropped = &mut self.dropped;
        self.channels.retain(|index| {
            let Some(channel) = channels.get_mut(*index) else { return false };
            let waits = !(is_over && channel.log.is_tight())
                && channel.members.iter().any(|member| members.has_turn(*member));
            if channel.queued || waits {
                far |= channel.log.is_far_over();
                trimmed.waits |= channel.log.is_tight();
                return true;
            }
            channel.overgrown = false;
            trimmed.loose_bytes += channel.log.loose_bytes();
            channel.log.trim(dropped, pages);
            trimmed.loose_bytes -= channel.log.loose_bytes();
            trimmed.ephemeral += move_up(*index, channel, dropped, members);
            false
        });
        self.far = far;
        let patience = || members.turns() + TURNS * (members.queued() as u64 + 1);
        let going_on = self.patience.filter(|_| !is_over);
        self.patience = trimmed.waits.then(|| going_on.unwrap_or_else(patience));
        trimmed
    }
}

/// Lets the cursors of those who may be owed some of it move with the entries that they stand at.
/// Returns how many ephemeral messages they lost together.
fn move_up(
    index: ChannelIndex,
    channel: &FollowedChannel,
    dropped: &[u64],
    members: &mut impl Members,
) -> u64 {
    let mut lost = 0;
    for member in channel.members.iter().filter(|_| !dropped.is_empty()) {
        if !members.is_behind(*member) && !members.has_turn(*member) {
            continue; // it has all
        }
        let subscription = members.subscriptions(*member).of(index);
        let (next, missed) = moved_up(subscription.next, dropped);
        subscription.next = next;
        lost += missed;
    }
    lost
}
