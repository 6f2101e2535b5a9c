//! How one socket is watched for room to send.
//!
//! **What the kernel does.** It adds the end of the peer's side (`POLLRDHUP`) to whatever a poll
//! asks for, so a poll of a half-closed socket for room ends at once, room or none. Who takes that
//! for room and asks again whenever a send finds none goes round as fast as it can, for as long as
//! such a client likes.
//!
//! **The idea.** A watch is a poll that ends by itself, which costs nothing where the peer is
//! there. One that ended without room is followed by a multishot. That one is edge-triggered: it
//! tells the end once, and then nothing before the kernel wakes it, which it does for room
//! (measured on Linux 6.18; `contract::sending` watches over it). Having told of room it is
//! cancelled.
//!
//! **The price.** Until the kernel has told the end of a cancelled multishot, which has the tag of
//! the next watch, that next watch waits: never are two armed on one socket, because closing
//! cancels one, and an armed operation holds the file.

/// How a socket is watched for room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Watch {
    /// Not at all.
    #[default]
    None,
    /// By a poll that ends by itself.
    Once,
    /// By a multishot, since the peer has ended its side.
    Edges,
    /// The multishot has told of room and is cancelled; `again` where room was asked for since.
    Ending { again: bool },
}

/// What is to be done for a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WatchStep {
    /// Nothing.
    Rest,
    /// Arm the poll that ends by itself.
    ArmOnce,
    /// Arm the multishot.
    ArmEdges,
    /// Tell of room.
    Tell,
    /// Tell of room, and cancel the multishot.
    TellAndCancel,
}

/// Room, or a failure: then a send says which.
const ROOM: i32 = (libc::POLLOUT | libc::POLLERR | libc::POLLHUP | libc::POLLNVAL) as i32;

impl Watch {
    /// Somebody wants to be told of room.
    pub(super) fn ask(&mut self) -> WatchStep {
        match self {
            Self::None => {
                *self = Self::Once;
                WatchStep::ArmOnce
            }
            Self::Once | Self::Edges => WatchStep::Rest,
            Self::Ending { again } => {
                *again = true;
                WatchStep::Rest
            }
        }
    }

    /// A completion of what is armed, which stays armed where `more`.
    pub(super) fn take(&mut self, result: i32, more: bool) -> WatchStep {
        // A poll that could not be armed must not be waited for.
        let room = result < 0 || result & ROOM != 0;
        let step;
        (*self, step) = match *self {
            Self::Once | Self::Edges if room && more => {
                (Self::Ending { again: false }, WatchStep::TellAndCancel)
            }
            Self::Once | Self::Edges if room => (Self::None, WatchStep::Tell),
            Self::Edges if more => (Self::Edges, WatchStep::Rest),
            // A multishot ends where the completion queue overflows.
            Self::Once | Self::Edges => (Self::Edges, WatchStep::ArmEdges),
            // What the cancelled one saw was told, or is seen by the next one when it is armed.
            Self::Ending { .. } if more => (*self, WatchStep::Rest),
            Self::Ending { again: true } => (Self::Once, WatchStep::ArmOnce),
            Self::Ending { again: false } | Self::None => (Self::None, WatchStep::Rest),
        };
        step
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUT: i32 = libc::POLLOUT as i32;
    const END: i32 = libc::POLLRDHUP as i32;

    #[test]
    fn room_ends_a_watch_and_so_does_a_failure() {
        for result in [OUT, OUT | END, i32::from(libc::POLLHUP), -libc::ENOMEM] {
            let mut watch = Watch::default();
            assert_eq!((watch.ask(), watch.ask()), (WatchStep::ArmOnce, WatchStep::Rest));
            assert_eq!(
                (watch.take(result, false), watch),
                (WatchStep::Tell, Watch::None),
                "{result}"
            );
        }
    }

    #[test]
    fn the_end_of_the_peers_side_is_no_room() {
        let mut watch = Watch::Once;
        assert_eq!(watch.take(END, false), WatchStep::ArmEdges);
        assert_eq!((watch.take(END, true), watch.ask()), (WatchStep::Rest, WatchStep::Rest));
        assert_eq!(watch.take(END, false), WatchStep::ArmEdges, "the completion queue overflowed");
        assert_eq!(watch.take(OUT, true), WatchStep::TellAndCancel);
    }

    #[test]
    fn never_are_two_armed() {
        let mut watch = Watch::Edges;
        assert_eq!(watch.take(OUT, true), WatchStep::TellAndCancel);
        assert_eq!((watch.take(OUT, true), watch.ask()), (WatchStep::Rest, WatchStep::Rest));
        assert_eq!(watch.take(OUT, true), WatchStep::Rest, "it is not told for the next watch");
        assert_eq!(watch.take(-libc::ECANCELED, false), WatchStep::ArmOnce);
        assert_eq!((watch.take(OUT, false), watch), (WatchStep::Tell, Watch::None));

        let mut watch = Watch::Ending { again: false };
        assert_eq!((watch.take(-libc::ECANCELED, false), watch), (WatchStep::Rest, Watch::None));
        assert_eq!(watch.ask(), WatchStep::ArmOnce);
    }
}
