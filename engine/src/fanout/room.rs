//! Room for what is rendered next.
//!
//! The budget of what is rendered is kept by dropping what nobody holds, and by ending clients that
//! hold too much. Neither is done in the middle of a batch, and a client has its time: so where
//! there is no room nothing new is rendered, and those who want it wait until there is some again.
//!
//! **What was published just now comes before what was published earlier.** Whoever keeps up wants
//! nothing else; and whoever wants to fill the budget finds more than enough that is older, where
//! of new messages publishers alone can make more. So old ones are rendered within the budget, and
//! what is above it is room for new ones.
//!
//! **Long messages end sooner than short ones do.** Whoever wants to fill the budget does it
//! soonest with long messages, and short ones are what most others wait for.

use super::page::PAGE_BYTES;

/// For what there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoRoom {
    /// For a page of new messages, none of which is longer than one.
    NewPage,
    /// For a new message that is longer than a page.
    NewLong,
    /// For a page of messages that were published earlier.
    Page,
    /// For such a message that is longer than a page.
    Long,
}

impl NoRoom {
    /// All of them: each has less room than the one before.
    pub(crate) const ALL: [Self; 4] = [Self::NewPage, Self::NewLong, Self::Page, Self::Long];

    /// What is wanted where the first message is such a one.
    pub(super) fn of(is_new: bool, is_long: bool) -> Self {
        match (is_new, is_long) {
            (true, false) => Self::NewPage,
            (true, true) => Self::NewLong,
            (false, false) => Self::Page,
            (false, true) => Self::Long,
        }
    }
}

/// Bytes of pages up to which something more is rendered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// In the order of [`NoRoom::ALL`].
    up_to: [usize; 4],
    /// The same for what is kept though nobody was given it, and less than this: whoever looks how
    /// long messages are must not fill the room with them, and find none for the first.
    spare: usize,
}

impl Room {
    /// As much as there may be.
    pub(super) const ANY: Self = Self { up_to: [usize::MAX; 4], spare: usize::MAX };

    /// Within a budget of so many bytes, of which so many are not there for pages, where the
    /// longest page took so many.
    pub(super) fn within(limit: usize, taken: usize, longest: usize) -> Self {
        let rest = limit - taken;
        let page = rest.saturating_sub(PAGE_BYTES);
        let long = page.min(rest.saturating_sub(longest + limit / 32));
        let up_to = [rest + limit / 16, rest + limit / 32, page, long];
        Self { up_to, spare: long.saturating_sub(longest) }
    }

    /// Whether there is some where pages have so many bytes.
    pub(super) fn has(self, wanted: NoRoom, bytes: usize) -> bool {
        bytes <= self.up_to[wanted as usize]
    }

    /// Whether something is kept where pages have so many bytes, though nobody is given it now.
    pub(super) fn has_to_spare(self, bytes: usize) -> bool {
        bytes < self.spare
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever fills what there is for one kind leaves room for those before it, in any budget that
    /// has room for four of the longest messages.
    #[test]
    fn what_one_kind_fills_leaves_room_for_those_before_it() {
        const LONGEST: usize = 1 << 20;
        for limit in [4 * LONGEST, 8 * LONGEST, 100 * LONGEST] {
            for taken in [0, limit / 4, limit / 2] {
                let room = Room::within(limit, taken, LONGEST);
                let fill = |wanted, bytes: usize| {
                    let mut filled = 0;
                    while room.has(wanted, filled) {
                        filled += bytes;
                    }
                    filled
                };
                let (old, old_pages) = (fill(NoRoom::Long, LONGEST), fill(NoRoom::Page, 33_000));
                assert!(old > 0 && old + taken <= limit, "{old} of {limit}");
                assert!(room.has(NoRoom::Page, old) && room.has(NoRoom::NewLong, old_pages));
                let new_pages = fill(NoRoom::NewPage, 33_000);
                assert!(room.has(NoRoom::NewPage, old_pages));
                assert!(new_pages + taken <= limit + limit / 16 + 33_000);
                assert!(!room.has_to_spare(room.up_to[NoRoom::Long as usize]), "{room:?}");
            }
        }
        assert!(Room::within(1_000, 0, 39_000).has(NoRoom::Long, 0), "one has room in any");
    }
}
