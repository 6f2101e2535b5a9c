//! What is rendered, and what logs hold beyond history, stays within a budget.
//!
//! **Pages.** Over it pages that nobody was given anything of for a while are dropped, and rendered
//! again when somebody asks. A clock goes round the channels (second chance): a page that was used
//! since the hand last came by stays, and is asked again in the next round; one that was not goes.
//! A page that a client holds stays, because dropping it would free nothing and take it from all
//! others. Where those that clients hold are too much alone, the caller ends clients.
//!
//! **Live windows** may have half of it. Over that a hand goes on from window to window, and those
//! that are no smaller than the others lose all that history does not promise, as soon as their
//! members have had their turns: those who keep up lose nothing, and who lags hears its gap. While
//! they are far over it no more of the order is read.

use super::channels::{ChannelIndex, FollowedChannels};
use super::overgrown::Overgrown;
use super::page::Pages;
use super::room::{NoRoom, Room};

/// Channels that are looked at before a batch, for each of both.
const LOOKS: usize = 256;

/// The hands of the clock.
#[derive(Debug)]
pub(crate) struct Eviction {
    /// Bytes that there may be.
    limit: usize,
    page_hand: ChannelIndex,
    evicted: u64,
    window_hand: ChannelIndex,
    /// Bytes of windows that are still to go before more are chosen.
    chosen: usize,
}

impl Eviction {
    /// Keeps all within `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, page_hand: 0, evicted: 0, window_hand: 0, chosen: 0 }
    }

    /// Pages that were dropped so far.
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Drops pages while there are too many bytes beside those of live windows, for a bounded time:
    /// twice round at most. Where somebody waits for room, all that the hand finds and that nobody
    /// holds goes, used or not, until there is some.
    pub(super) fn evict(
        &mut self,
        waits_for: Option<NoRoom>,
        windows: usize,
        channels: &mut FollowedChannels,
        pages: &Pages,
    ) {
        for _ in 0..LOOKS.min(2 * channels.places() as usize) {
            if !self.is_too_much(pages.bytes(), waits_for, windows, pages) {
                return;
            }
            self.page_hand = next(self.page_hand, channels);
            if let Some(channel) = channels.get_mut(self.page_hand) {
                channel.log.lanes.evict(|page| {
                    let goes = (!page.take_used() || waits_for.is_some()) && !page.is_held();
                    self.evicted += u64::from(goes);
                    goes
                });
            }
        }
    }

    /// Chooses live windows to be trimmed while they are too many bytes, for a bounded time.
    pub(super) fn tighten(
        &mut self,
        windows: usize,
        channels: &mut FollowedChannels,
        overgrown: &mut Overgrown,
    ) {
        if overgrown.has_tight() {
            return; // what was chosen goes first
        }
        let mean = windows / channels.len().max(1);
        for _ in 0..LOOKS {
            if windows.saturating_sub(self.chosen) <= self.limit / 2 {
                return;
            }
            self.window_hand = next(self.window_hand, channels);
            let Some(channel) = channels.get_mut(self.window_hand) else { continue };
            let bytes = channel.log.loose_bytes();
            if bytes > 0 && bytes >= mean && !channel.log.is_tight() {
                self.chosen += bytes;
                overgrown.tighten(self.window_hand, channels);
            }
        }
    }

    /// Whether live windows are so far over their half that no more of the order is to be read
    /// before some have gone: those that are chosen go in bounded time, whoever follows them.
    pub(super) fn is_far_over(&self, windows: usize) -> bool {
        windows > self.limit / 2 + self.limit / 16
    }

    /// Bytes of windows as they count beside pages: what is over their half is for them alone to
    /// give.
    fn counted(&self, windows: usize) -> usize {
        windows.min(self.limit / 2)
    }

    /// Logs were trimmed; `waits` says that some that were chosen wait for their members.
    pub(super) fn trimmed(&mut self, waits: bool) {
        if !waits {
            self.chosen = 0;
        }
    }

    /// Whether what clients hold is too much alone, or leaves no room to whoever waits for it.
    pub(super) fn is_stuck(
        &self,
        waits_for: Option<NoRoom>,
        windows: usize,
        pages: &Pages,
    ) -> bool {
        self.is_too_much(pages.held_bytes(), waits_for, windows, pages)
    }

    fn is_too_much(
        &self,
        bytes: usize,
        waits_for: Option<NoRoom>,
        windows: usize,
        pages: &Pages,
    ) -> bool {
        bytes + self.counted(windows) > self.limit
            || waits_for.is_some_and(|wanted| !self.room(windows, pages).has(wanted, bytes))
    }

    /// Whether it is more than was rendered where there was room for it, so that live windows have
    /// grown into that since.
    pub(super) fn is_pressed(&self, windows: usize, pages: &Pages) -> bool {
        let held = pages.held_bytes().saturating_sub(pages.longest());
        held + self.counted(windows) > self.limit + self.limit / 16
    }

    /// How much may be rendered beside windows of so many bytes.
    pub(super) fn room(&self, windows: usize, pages: &Pages) -> Room {
        Room::within(self.limit, self.counted(windows), pages.longest())
    }
}

fn next(hand: ChannelIndex, channels: &FollowedChannels) -> ChannelIndex {
    if hand + 1 < channels.places() { hand + 1 } else { 0 }
}
