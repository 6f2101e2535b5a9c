//! A visit: everything that one connection is owed, as one send.
//!
//! Three steps, because sends borrow what they send: *plan* decides and moves cursors forward as if
//! all went well, *slice* borrows the bytes, *settle* moves the cursors of the few that did not go
//! whole back. A frame that was begun is finished from the outbox before anything else.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

use super::channels::{Channels, Place};
use super::connection::Connection;
use super::lane::Run;
use super::outbox::Spare;
use super::table::Table;
use crate::driver::{Outgoing, SendOutcome, Token};
use fanfare_protocol::dialect::Encoding;

/// Most bytes of one send, unless one message alone is longer.
const SEND_BYTES_MAX: usize = 64 << 10;
/// Bytes of gathered sends in one batch; beyond it the batch is sent first.
const SCRATCH_BYTES_MAX: usize = 1 << 20;
/// A run of at least this length is sent from its page instead of being gathered.
const DIRECT_BYTES_MIN: usize = 16 << 10;
/// Sends in one batch: RING.md's plateau is 16 to 256.
pub(super) const BATCH: usize = 256;

/// Messages of one subscription that one send carries.
#[derive(Clone, Copy, Debug)]
struct Piece {
    /// Which subscription of the connection.
    follow: u32,
    channel: Place,
    /// Offset of the first message.
    first: u64,
    run: Run,
}

#[derive(Clone, Copy, Debug)]
enum Source {
    Private,
    Direct,
    Gathered { start: usize, end: usize },
}

#[derive(Debug)]
struct Plan {
    token: Token,
    encoding: Encoding,
    source: Source,
    pieces: Range<usize>,
}

/// What a visit found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing is owed.
    Nothing,
    /// A send was planned; when it went whole, nothing more is owed.
    All,
    /// A send was planned, and more is owed after it.
    Part,
    /// A message that is owed is not kept any more, and nothing private waits.
    Lost,
}

/// The planned sends of one batch. Memory is kept from batch to batch.
#[derive(Debug, Default)]
pub(super) struct Batch {
    plans: Vec<Plan>,
    pieces: Vec<Piece>,
    scratch: Vec<u8>,
    owed: BinaryHeap<Reverse<(u64, u32)>>,
}

/// How a planned send ended, after cursors were settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settled {
    /// Whose.
    pub(super) token: Token,
    /// Whether the kernel took any byte.
    pub(super) progress: bool,
    /// The errno that ended the socket, if one did.
    pub(super) failed: Option<i32>,
}

impl Batch {
    /// Whether the batch must be sent before another visit.
    pub(super) fn is_full(&self) -> bool {
        self.plans.len() >= BATCH || self.scratch.len() >= SCRATCH_BYTES_MAX
    }

    /// Whether nothing was planned.
    pub(super) fn is_empty(&self) -> bool {
        self.plans.is_empty()
    }

    /// How many sends were planned.
    pub(super) fn len(&self) -> usize {
        self.plans.len()
    }

    /// Plans what `connection` gets next and moves its cursors past it.
    pub(super) fn visit(
        &mut self,
        token: Token,
        connection: &mut Connection,
        logs: &Channels,
    ) -> Found {
        let encoding = connection.encoding;
        let start = self.pieces.len();
        if connection.has_private() {
            let pieces = start..start;
            self.plans.push(Plan { token, encoding, source: Source::Private, pieces });
            return Found::Part; // what follows is looked at in the next visit
        }
        let follows = connection.follows.as_mut_slice();
        let (source, found) = match follows {
            [] => return Found::Nothing,
            [follow] => {
                let log = &logs.at(follow.channel).log;
                if follow.next < log.first() {
                    return Found::Lost;
                }
                let Some(run) = log
                    .lane(encoding)
                    .and_then(|lane| lane.run(follow.next, u64::MAX, SEND_BYTES_MAX))
                else {
                    return Found::Nothing;
                };
                let (channel, first) = (follow.channel, follow.next);
                self.pieces.push(Piece { follow: 0, channel, first, run });
                follow.next = run.next;
                let found = if run.next < log.end() { Found::Part } else { Found::All };
                (Source::Direct, found)
            }
            follows => {
                self.owed.clear();
                for (nth, follow) in follows.iter().enumerate() {
                    let log = &logs.at(follow.channel).log;
                    if follow.next < log.first() {
                        return Found::Lost;
                    }
                    if let Some(position) = log.position(follow.next) {
                        self.owed.push(Reverse((position, nth as u32)));
                    }
                }
                if self.owed.is_empty() {
                    return Found::Nothing;
                }
                self.gather(follows, logs, encoding, start)
            }
        };
        let pieces = start..self.pieces.len();
        self.plans.push(Plan { token, encoding, source, pieces });
        found
    }

    /// Merges what waits on several channels by position, up to the size of a send.
    fn gather(
        &mut self,
        follows: &mut [super::connection::Follow],
        logs: &Channels,
        encoding: Encoding,
        start: usize,
    ) -> (Source, Found) {
        let from = self.scratch.len();
        while let Some(Reverse((_, nth))) = self.owed.pop() {
            let follow = &mut follows[nth as usize];
            let log = &logs.at(follow.channel).log;
            let lane = log.lane(encoding).expect("a subscription has its lane");
            // As long as no other channel's message comes in between, the run goes on.
            let other = self.owed.peek().map(|Reverse((position, _))| *position);
            let before = other.map_or(u64::MAX, |position| log.after_position(position));
            let room = SEND_BYTES_MAX.saturating_sub(self.scratch.len() - from);
            let run =
                lane.run(follow.next, before, room).expect("the lane holds what the log does");
            let bytes = lane.slice(run);
            let (channel, first) = (follow.channel, follow.next);
            let alone = self.pieces.len() == start;
            if !alone && bytes.len() > room {
                return (Source::Gathered { start: from, end: self.scratch.len() }, Found::Part);
            }
            self.pieces.push(Piece { follow: nth, channel, first, run });
            follow.next = run.next;
            let more = log.position(run.next);
            if alone && bytes.len() >= DIRECT_BYTES_MIN {
                let all = more.is_none() && self.owed.is_empty();
                return (Source::Direct, if all { Found::All } else { Found::Part });
            }
            self.scratch.extend_from_slice(bytes);
            if let Some(position) = more {
                self.owed.push(Reverse((position, nth)));
            }
        }
        (Source::Gathered { start: from, end: self.scratch.len() }, Found::All)
    }

    /// Borrows the bytes of every planned send, in order.
    pub(super) fn slices<'a>(
        &'a self,
        table: &'a Table,
        logs: &'a Channels,
    ) -> impl Iterator<Item = Outgoing<'a>> {
        self.plans.iter().map(move |plan| {
            let bytes = match plan.source {
                Source::Private => {
                    let connection = table.at(plan.token.index).expect("a visit keeps it open");
                    connection.outbox.as_ref().expect("private bytes were seen").front()
                }
                Source::Direct => {
                    let piece = self.pieces[plan.pieces.start];
                    let lane = logs.at(piece.channel).log.lane(plan.encoding);
                    lane.expect("a subscription has its lane").slice(piece.run)
                }
                Source::Gathered { start, end } => &self.scratch[start..end],
            };
            Outgoing { token: plan.token, bytes }
        })
    }

    /// Moves on what private sends took and moves back what did not go whole; `outcomes` says
    /// how each send ended (`None`: whole). Returns messages and bytes that the kernel took.
    pub(super) fn settle(
        &mut self,
        table: &mut Table,
        logs: &Channels,
        spare: &mut Spare,
        outcomes: &[Option<SendOutcome>],
        settled: &mut Vec<Settled>,
    ) -> (u64, u64) {
        let (mut messages, mut bytes) = (0, 0);
        for (nth, plan) in self.plans.iter().enumerate() {
            let connection = table.at_mut(plan.token.index).expect("a visit keeps it open");
            let outcome = outcomes[nth];
            let failed = match outcome {
                Some(SendOutcome::Failed(errno)) => Some(errno),
                _ => None,
            };
            let taken = match outcome {
                None => usize::MAX,
                Some(SendOutcome::Short(count)) => count,
                Some(SendOutcome::Again | SendOutcome::Failed(_)) => 0,
            };
            if let Source::Private = plan.source {
                let outbox = connection.outbox.as_mut().expect("private bytes were seen");
                let count = outbox.front().len().min(taken);
                outbox.advance(count);
                bytes += count as u64;
                spare.take_back(&mut connection.outbox);
            } else {
                let pieces = &self.pieces[plan.pieces.clone()];
                let (sent, count) = keep_sent(connection, logs, plan.encoding, pieces, taken);
                messages += sent;
                bytes += count;
            }
            settled.push(Settled { token: plan.token, progress: taken > 0, failed });
        }
        self.plans.clear();
        self.pieces.clear();
        self.scratch.clear();
        (messages, bytes)
    }
}

/// Of a send that the kernel took `taken` bytes of, keeps what went, finishes the frame that was
/// begun from the outbox, and moves the cursors of the rest back. Returns messages that are the
/// client's now, and bytes.
fn keep_sent(
    connection: &mut Connection,
    logs: &Channels,
    encoding: Encoding,
    pieces: &[Piece],
    taken: usize,
) -> (u64, u64) {
    let (mut left, mut messages, mut bytes) = (taken, 0, 0);
    let mut unsent = pieces.len();
    for (nth, piece) in pieces.iter().enumerate() {
        let length = (piece.run.end - piece.run.start) as usize;
        if left >= length {
            left -= length;
            messages += piece.run.next - piece.first;
            bytes += length as u64;
            continue;
        }
        bytes += left as u64;
        unsent = nth;
        if left > 0 {
            let lane = logs.at(piece.channel).log.lane(encoding).expect("it has its lane");
            let frame = lane.frame_holding(piece.first, left);
            let at = piece.run.start + left as u32;
            let begun = frame.start < at;
            let next = frame.offset + u64::from(begun);
            messages += next - piece.first;
            connection.follows.as_mut_slice()[piece.follow as usize].next = next;
            if begun {
                let page = lane.page(piece.run);
                connection.outbox.get_or_insert_default().finish_frame(page, at, frame.end);
            }
            unsent = nth + 1;
            // A later piece of the same subscription comes after this one.
            for later in pieces[unsent..].iter().rev() {
                if later.follow != piece.follow {
                    connection.follows.as_mut_slice()[later.follow as usize].next = later.first;
                }
            }
            return (messages, bytes);
        }
        break;
    }
    for piece in pieces[unsent..].iter().rev() {
        connection.follows.as_mut_slice()[piece.follow as usize].next = piece.first;
    }
    (messages, bytes)
}
