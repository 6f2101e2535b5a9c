//! One connection as a shard keeps it: small, because there are 100,000.

use fanfare_identity::Identity;
use fanfare_protocol::dialect::Encoding;

use super::link::Link;
use crate::fanout::{Fanout, Settled, Slice, Subscriptions, Withheld, skip_lost};
use crate::limits::Limits;
use crate::session::{Outbox, Session, Spare, took};

/// What a client may hold without being counted among the holders of private memory: a ping, a
/// notice, the end of a short answer. It is less than the page that `doctor` counts for each
/// connection, and those who hold no more come and go by the thousand each second.
const UNCOUNTED_BYTES: usize = 1 << 10;

/// What is true of a connection, whatever its session is at.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flags {
    /// It waits in the receive queue.
    pub(super) reading: bool,
    /// Bytes may wait in the kernel that were not read because reads were paused.
    pub(super) readable: bool,
    /// The peer ended its side or failed; reads go on until they see it.
    pub(super) hangup: bool,
    /// It was told what it was too slow for, and has not caught up since: no log waits for it.
    pub(super) lagging: bool,
    /// It waits in the queue of connections to visit.
    pub(super) queued: bool,
    /// It waits until there is room to render what it is owed: no log waits for it.
    pub(super) wants_room: bool,
    /// A send for it is in the batch.
    pub(super) planned: bool,
    /// Its peer's address is counted.
    pub(super) counted: bool,
    /// In which lists of the shard it stands.
    pub(super) listed: Listed,
}

/// In which lists of its shard a connection stands: a bit for each, since one byte more would make
/// every connection eight bytes longer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Listed(u8);

impl Listed {
    /// Among the holders of private memory, or of pages.
    pub(super) const HOLDER: u8 = 1;
    /// Among the connections of a user.
    pub(super) const OF_USER: u8 = 2;

    /// Whether it stands in this one.
    pub(super) fn has(self, list: u8) -> bool {
        self.0 & list != 0
    }

    /// It stands in this one, or does not.
    pub(super) fn set(&mut self, list: u8, stands: bool) {
        self.0 = if stands { self.0 | list } else { self.0 & !list };
    }
}

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    /// Which life of its place in the table.
    pub(super) generation: u32,
    /// Where it stands in the wheel.
    pub(super) link: Link,
    /// What is true of it.
    pub(super) flags: Flags,
    /// How the messages of what it follows are encoded.
    pub(super) encoding: Encoding,
    /// What it follows.
    pub(super) subscriptions: Subscriptions,
    /// Its client.
    pub(super) session: Session,
}

// An idle client costs this and little else: `docs/OPERATIONS.md` says how much. Whoever makes it
// longer makes 100,000 of them longer; what few connections have belongs into a box.
const _: () = assert!(size_of::<Option<Connection>>() == 112);

impl Connection {
    /// A fresh one, before its first byte.
    pub(super) fn new(generation: u32, session: Session) -> Self {
        Self {
            generation,
            link: Link::NONE,
            flags: Flags::default(),
            encoding: Encoding::ALL[0],
            subscriptions: Subscriptions::None,
            session,
        }
    }

    /// Whom it speaks for, where that is somebody.
    pub(super) fn identity(&self) -> Option<&Identity> {
        self.session.line.identity().map(|identity| &**identity)
    }

    /// Where it goes on that has left the live windows of channels: each gap is told. Returns how
    /// many there were.
    pub(super) fn skip_lost(&mut self, fanout: &mut Fanout) -> u64 {
        let Self { session, subscriptions, encoding, .. } = self;
        skip_lost(subscriptions, &mut fanout.channels, |gap| session.tell_gap(gap, *encoding))
    }

    /// What it gets where messages are too long for it is its own from here on.
    pub(super) fn withhold(&mut self, fanout: &mut Fanout) -> Withheld {
        let out = self.session.line.outbox_mut().get_or_insert_default().writer();
        let Fanout { batch, channels, renderer, .. } = fanout;
        batch.withhold(&mut self.subscriptions, channels, self.encoding, renderer, out)
    }

    /// The parts of pages that it holds: of what is on its way, and of an answer that is gathered.
    pub(super) fn slices(&self) -> impl Iterator<Item = &Slice> {
        let outbox = self.session.line.outbox().into_iter().flat_map(Outbox::slices);
        let gathered = self.session.state.gathered().into_iter();
        outbox.chain(gathered.flat_map(|gathering| &gathering.messages))
    }

    /// Whether it holds any.
    pub(super) fn holds_pages(&self) -> bool {
        self.slices().next().is_some()
    }

    /// A send to it has ended. Returns how many messages of logs went, and how many bytes.
    pub(super) fn settle(&mut self, settled: Settled, spare: &mut Spare) -> (u64, u64) {
        let outbox = self.session.line.outbox_mut();
        match settled {
            Settled::Private(taken) => (0, took(outbox, taken, spare)),
            Settled::Logs { messages, bytes, rest } => {
                if let Some(rest) = rest {
                    outbox.get_or_insert_default().finish_frame(rest);
                }
                (messages, bytes)
            }
        }
    }

    /// Whether its client has ended its side behind polls of which the first waits: that one is
    /// answered now with whatever there is. Each of them would keep a client that may be gone for
    /// as long as it may wait. Behind the last of them other requests may stand.
    pub(super) fn keeps_its_end_waiting(&self, limits: &Limits) -> bool {
        self.flags.hangup && self.session.state.is_waiting_before_another(limits)
    }

    /// Whether the kernel has all of the one answer that goes over it for a session.
    pub(super) fn has_answered(&self) -> bool {
        let is_answered = self.session.state.as_carrying().is_some_and(|it| it.is_answered());
        is_answered && !self.session.line.has_private()
    }

    /// Whether the request that is held for it may end in order: nothing went over it.
    pub(super) fn may_part(&mut self) -> bool {
        self.session.state.as_held().is_some_and(|it| it.may_part())
    }

    /// What its client holds that counts, in bytes.
    pub(super) fn holds(&self) -> usize {
        Some(self.session.memory()).filter(|bytes| *bytes > UNCOUNTED_BYTES).unwrap_or(0)
    }

    /// Whether it takes nothing, has not caught up since it was told of a loss, or waits for room.
    pub(super) fn is_behind(&self) -> bool {
        self.session.line.is_blocked() || self.flags.lagging || self.flags.wants_room
    }

    /// One for tests of what keeps them.
    #[cfg(test)]
    pub(super) fn of_life(generation: u32) -> Self {
        let (now, limits) = (crate::clock::Millis(0), crate::limits::Limits::default());
        Self::new(generation, Session::new(false, now, &limits))
    }
}

/// A number that differs from place to place: neighbours lie far apart (Fibonacci hashing).
pub(super) fn spread(index: u32) -> u16 {
    (index.wrapping_mul(0x9e37_79b9) >> 16) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::spread_ms;

    #[test]
    fn first_pings_of_those_who_came_together_are_spread_evenly() {
        const PERIOD_MS: u64 = 25_000;
        let mut tenths = [0; 10];
        for index in 0..20_000 {
            let first = spread_ms(spread(index), PERIOD_MS);
            assert!((PERIOD_MS / 2 + 1..=PERIOD_MS).contains(&first), "{first}");
            tenths[((PERIOD_MS - first) * 20 / PERIOD_MS) as usize] += 1;
        }
        assert!(tenths.iter().all(|count| (1_950..=2_050).contains(count)), "{tenths:?}");
        assert_eq!(spread_ms(spread(7), 1), 1, "never at once");
    }
}
