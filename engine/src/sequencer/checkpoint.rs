//! A checkpoint is written while the order goes on, and says what the order knew when it was begun.
//!
//! Nothing stands still for it and nothing is copied for it but the table of times. It is written
//! in pieces, channel by channel along their table; and a channel that is about to change before
//! its turn came is written first, as it was. So each channel is written once, in its state at the
//! beginning, and a publish pays at most for the few channels that it changes. New lives are not
//! written at all: they are in the log behind the checkpoint.
//!
//! Keys come and go at the ends of one queue, so the same holds of them: those that are forgotten
//! before their turn are set aside (`Keys::begin_saving`).
//!
//! **Messages are not in it**: it says where in the log those stand that a channel keeps, and those
//! that it has trimmed, as far as that is remembered. A journal writes each message once.

use fanfare_protocol::message::GapReason;
use fanfare_protocol::record::checkpoint::{
    self, LifeItem, POSITIONS_MAX, Positions, Time, Writer,
};
use fanfare_protocol::record::{Header, Item, Secret};

use super::applied::Applied;
use super::channel::Channel;
use super::keys::Keys;
use crate::log::RECORD_ITEMS;

/// Messages whose positions are one unit of work: each is a look at the message.
const POSITIONS_PER_UNIT: usize = 16;

/// What the keeper of the log adds to a checkpoint's records.
#[derive(Clone, Copy, Debug, Default)]
pub struct CheckpointMark {
    /// A number that no other checkpoint has: pieces of two are told apart by it.
    pub incarnation: u64,
    /// The rolling hash of the log's bytes up to what was applied last.
    pub chain: u32,
}

/// How far a checkpoint came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// There is more to come.
    More,
    /// It is whole.
    Whole,
    /// There is none: it was whole before, or was given up because another epoch began.
    None,
}

/// A checkpoint under way.
pub(super) struct Checkpoint {
    /// Which one it is: channels that stand in it, or began after it was, have its number.
    number: u32,
    records: Writer,
    times: std::vec::IntoIter<Time>,
    /// The place of the table whose turn it is.
    next: usize,
    /// How many places there were when it was begun.
    places: usize,
}

impl Checkpoint {
    /// A checkpoint of what was applied. Digests of keys are made under `secret`; the table has so
    /// many `places`.
    pub(super) fn new(
        (number, places): (u32, usize),
        mark: CheckpointMark,
        applied: &Applied,
        secret: Secret,
    ) -> Self {
        let header = Header {
            epoch: applied.epoch,
            incarnation: mark.incarnation,
            number: 0,
            seen: applied.position / RECORD_ITEMS,
            chain: mark.chain,
            state: applied.state as u32,
        };
        let mut records = Writer::new(header);
        records.item(&Item::Begin(checkpoint::Begin {
            position: applied.position,
            at: applied.at.0,
            watermark: applied.watermark,
            state: applied.state,
            secret,
            epoch_began: applied.times.epoch_began().map(|at| at.0),
        }));
        let times: Vec<Time> = applied.times.saved().collect();
        Self { number, records, times: times.into_iter(), next: 0, places }
    }

    /// Writes the next of the times; `false` where none is left.
    pub(super) fn write_time(&mut self) -> bool {
        let time = self.times.next();
        time.inspect(|time| self.records.item(&Item::Time(*time))).is_some()
    }

    /// The place of the table whose turn it is, while there is one.
    pub(super) fn next_place(&mut self) -> Option<usize> {
        let place = self.next;
        self.next += usize::from(place < self.places);
        (place < self.places).then_some(place)
    }

    /// Writes the next of the keys; `false` where none is left.
    pub(super) fn write_key(&mut self, keys: &mut Keys) -> bool {
        keys.save_next(|key| self.records.item(&Item::Key(*key)))
    }

    /// Appends the records that are whole to `out`.
    pub(super) fn take(&mut self, out: &mut Vec<u8>) {
        self.records.take(out);
    }

    /// All was written: appends what is left to `out`.
    pub(super) fn end(self, out: &mut Vec<u8>) {
        self.records.end(out);
    }

    /// Writes a channel, unless it has been; says how much work that was.
    pub(super) fn save(&mut self, channel: &mut Channel) -> usize {
        if std::mem::replace(&mut channel.saved, self.number) == self.number || !channel.has_life()
        {
            return 1;
        }
        let life = &channel.life;
        self.records.item(&Item::Life(LifeItem {
            offset: life.offset,
            position: life.position,
            used: life.used.0,
            used_at: life.used_at,
            used_nth: channel.used_nth,
            began: life.began,
            unknown_before: life.unknown_before,
            floor: channel.floor(),
            forgotten: channel.trimmed.forgotten(),
            expired: channel.trimmed.reason() == GapReason::Expired,
            tenant: channel.name.tenant.in_records(),
            name: &channel.name.name,
        }));
        for positions in channel.trimmed.saved() {
            self.records.item(&Item::Positions(positions));
        }
        let (mut deltas, mut left) = (Vec::new(), channel.history.positions());
        let mut offset = channel.floor();
        while let Some(first) = left.next() {
            deltas.clear();
            let (mut count, mut last) = (1, first);
            for position in left.by_ref().take(usize::from(POSITIONS_MAX) - 1) {
                checkpoint::push_delta(position - last, &mut deltas);
                (count, last) = (count + 1, position);
            }
            let deltas = &deltas;
            self.records.item(&Item::Positions(Positions {
                offset,
                first,
                begun: 0,
                count,
                deltas,
            }));
            offset += u64::from(count);
        }
        1 + channel.trimmed.blocks() + channel.history.len() / POSITIONS_PER_UNIT
    }
}
