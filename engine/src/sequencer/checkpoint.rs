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
//! **Messages are not in it**: of those that a channel keeps it says where they stand in the log,
//! and of those that are kept no more likewise, as far as that is remembered. A journal writes each
//! message once.

use fanfare_protocol::message::GapReason;
use fanfare_protocol::record::checkpoint::{self, Life, POSITIONS_MAX, Positions, Time, Writer};
use fanfare_protocol::record::{Header, Item};

use super::channel::Channel;
use super::keys::Keys;
use super::order::Order;
use super::table::Channels;
use super::times::Times;
use crate::log::RECORD_ITEMS;

/// Messages whose positions are one unit of work: each is a look at the message.
const POSITIONS_PER_UNIT: usize = 16;

/// What the keeper of the log adds to a checkpoint's records.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mark {
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
    fn new(number: u32, mark: Mark, order: &Order, times: &Times) -> Self {
        let header = Header {
            epoch: order.epoch,
            incarnation: mark.incarnation,
            number: 0,
            seen: order.position / RECORD_ITEMS,
            chain: mark.chain,
            state: order.state as u32,
        };
        let mut records = Writer::new(header);
        records.item(&Item::Begin(checkpoint::Begin {
            position: order.position,
            at: order.at.0,
            watermark: order.lives.watermark,
            state: order.state,
            secret: order.keys.secret(),
            epoch_began: times.epoch_began().map(|at| at.0),
        }));
        let times: Vec<Time> = times.saved().collect();
        let (times, places) = (times.into_iter(), order.channels.places());
        Self { number, records, times, next: 0, places }
    }

    /// Writes a channel, unless it has been; says how much work that was.
    fn save(&mut self, channel: &mut Channel) -> usize {
        if std::mem::replace(&mut channel.saved, self.number) == self.number || !channel.has_life()
        {
            return 1;
        }
        let life = &channel.life;
        self.records.item(&Item::Life(Life {
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

    /// Writes on, about so many units; whether there is more to write.
    fn write(&mut self, mut units: usize, channels: &mut Channels, keys: &mut Keys) -> bool {
        while units > 0 {
            units -= 1;
            if let Some(time) = self.times.next() {
                self.records.item(&Item::Time(time));
            } else if self.next < self.places {
                if let Some(channel) = channels.at_mut(self.next) {
                    units = units.saturating_sub(self.save(channel) - 1);
                }
                self.next += 1;
            } else if !keys.save_next(|key| self.records.item(&Item::Key(*key))) {
                return false;
            }
        }
        true
    }
}

impl Order {
    /// Begins a checkpoint of what is known now. One that is being written is given up.
    pub(super) fn begin_checkpoint(&mut self, mark: Mark, times: &Times) {
        self.checkpoints = self.checkpoints.wrapping_add(1).max(1);
        self.keys.begin_saving();
        let checkpoint = Checkpoint::new(self.checkpoints, mark, self, times);
        self.checkpoint = Some(Box::new(checkpoint));
    }

    /// Writes on at the checkpoint that was begun, about so many units of work, and appends whole
    /// records to `out`.
    pub(super) fn write_checkpoint(&mut self, units: usize, out: &mut Vec<u8>) -> Written {
        let Some(checkpoint) = &mut self.checkpoint else { return Written::None };
        if checkpoint.write(units, &mut self.channels, &mut self.keys) {
            checkpoint.records.take(out);
            return Written::More;
        }
        if let Some(checkpoint) = self.checkpoint.take() {
            checkpoint.records.end(out);
        }
        Written::Whole
    }

    /// A channel is about to change, or to begin its life: the checkpoint that is being written
    /// gets it as it is.
    pub(super) fn save(&mut self, id: crate::channel::ChannelId) {
        if let Some(checkpoint) = &mut self.checkpoint {
            checkpoint.save(self.channels.living(id));
        }
    }
}
