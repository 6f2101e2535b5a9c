//! Room for what is rendered next.
//!
//! The budget of what is rendered is kept by dropping what nobody holds, and by ending clients that
//! hold too much. Neither is done in the middle of a batch, and a client has its time: so above the
//! budget and a little nothing new is rendered, and those who want it wait until there is room
//! again.
//!
//! Long messages end sooner than short ones do. Whoever wants to fill the budget does it soonest
//! with long messages, and short ones are what most others wait for: a part of what is above the
//! budget is theirs alone.

/// For what there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoRoom {
    /// For a page of messages, none of which is longer than one.
    Page,
    /// For a message that is longer than a page.
    Long,
}

/// Bytes of pages up to which something more is rendered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    page: usize,
    long: usize,
    /// The same for what is kept though nobody was given it: whoever looks how long messages are
    /// must not fill the room with the answers, and find none for the first of them.
    spare: usize,
}

impl Room {
    /// As much as there may be.
    pub(super) const ANY: Self = Self { page: usize::MAX, long: usize::MAX, spare: usize::MAX };

    /// Within a budget of so many bytes, of which so many are not there for pages, where the
    /// longest page took so many.
    pub(super) fn within(limit: usize, taken: usize, longest: usize) -> Self {
        Self {
            page: limit + limit / 16 - taken,
            long: limit + limit / 32 - taken,
            spare: (limit - taken).saturating_sub(longest),
        }
    }

    /// Whether something is kept where pages have so many bytes, though nobody is given it now.
    pub(super) fn has_to_spare(self, bytes: usize) -> bool {
        bytes <= self.spare
    }

    /// Whether there is some where pages have so many bytes.
    pub(super) fn has(self, wanted: NoRoom, bytes: usize) -> bool {
        match wanted {
            NoRoom::Page => bytes <= self.page,
            NoRoom::Long => bytes <= self.long,
        }
    }
}
