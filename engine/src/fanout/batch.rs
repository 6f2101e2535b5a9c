//! A batch of sends: everything that each of some members is owed, as one send for each.
//!
//! Three steps, because sends borrow what they send: *visit* decides and moves cursors forward as
//! if all went well, *sends* borrows the bytes, *settle* moves the cursors of the few that did not
//! go whole back. A frame that was begun is the caller's to finish before anything else.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;
use std::rc::Rc;

use fanfare_protocol::dialect::Encoding;
use fanfare_protocol::message::{GapReason, GapView};

use super::channels::{ChannelIndex, Channels};
use super::filter::{Ahead, Filter};
use super::lane::{Page, Run};
use super::log::Log;
use super::subscription::Subscription;

/// Most bytes of one send, unless one message alone is longer.
const SEND_BYTES_MAX: usize = 64 << 10;
/// Bytes of gathered sends in one batch; beyond it the batch is sent first.
const GATHERED_BYTES_MAX: usize = 1 << 20;
/// A run of at least this length is sent from its page instead of being gathered.
const DIRECT_BYTES_MIN: usize = 16 << 10;
/// Sends in one batch. From 16 on a send costs the same (`cargo bench -p fanfare --bench batches`).
pub(crate) const BATCH_SENDS_MAX: usize = 256;

/// Most bytes that are written for one member alone where messages are too long for it, unless one
/// message alone is longer.
const WITHHELD_BYTES: usize = 16 << 10;

/// Messages of one subscription that one send carries.
#[derive(Clone, Copy, Debug)]
struct Piece {
    /// Which subscription of the member.
    subscription: u32,
    channel: ChannelIndex,
    /// Seq of the first message.
    first: u64,
    run: Run,
}

/// A subscription that passed what a piece gave: the first message of the piece stands in its
/// channel too, as entry `seq`.
#[derive(Clone, Copy, Debug)]
struct Passed {
    piece: usize,
    subscription: u32,
    seq: u64,
}

/// Where the bytes of a send lie.
#[derive(Clone, Copy, Debug)]
enum Source {
    /// In the page of its only piece.
    Direct,
    /// Copied together.
    Gathered { start: usize, end: usize },
}

/// One planned send.
#[derive(Debug)]
struct Plan {
    member: u32,
    /// `None` where the bytes are the caller's.
    logs: Option<FromLogs>,
}

/// A send of what logs hold.
#[derive(Debug)]
struct FromLogs {
    encoding: Encoding,
    source: Source,
    pieces: Range<usize>,
}

/// What a visit found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing is owed.
    Nothing,
    /// A send was planned; when it went whole, nothing more is owed.
    All,
    /// A send was planned, and more is owed after it.
    Part,
    /// A message that is owed is not kept any more.
    Lost,
    /// What is owed first is longer than the client takes.
    TooLong,
}

/// What became of a planned send.
#[derive(Debug)]
pub(crate) enum Settled {
    /// It was of bytes that the caller has.
    Private,
    /// It was of logs.
    Logs {
        /// Messages that are the client's now.
        messages: u64,
        /// Bytes that were taken.
        bytes: u64,
        /// What is to be sent before anything else: the rest of a frame that was begun.
        rest: Option<Rest>,
    },
}

/// The rest of a frame that was begun: bytes `start..end` of `page`.
#[derive(Debug)]
pub(crate) struct Rest {
    /// Where it lies. Nobody writes to a page that is held.
    pub(crate) page: Rc<Page>,
    /// First byte that was not taken.
    pub(crate) start: u32,
    /// Byte after the frame's last.
    pub(crate) end: u32,
}

/// What was written for one member alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Withheld {
    /// Gaps that were told.
    pub(crate) gaps: u64,
    /// Messages that were given between them.
    pub(crate) messages: u64,
}

/// The planned sends of one batch. Memory is kept from batch to batch.
#[derive(Debug, Default)]
pub(super) struct Batch {
    plans: Vec<Plan>,
    pieces: Vec<Piece>,
    /// In the order of their pieces; of messages in one channel there are none.
    passed: Vec<Passed>,
    gathered: Vec<u8>,
    /// Position, which of the publication's channels, subscription: of those at one position the
    /// first channel comes first.
    owed: BinaryHeap<Reverse<(u64, u8, u32)>>,
}

impl Batch {
    /// Whether the batch must be sent before another visit.
    pub(super) fn is_full(&self) -> bool {
        self.plans.len() >= BATCH_SENDS_MAX || self.gathered.len() >= GATHERED_BYTES_MAX
    }

    /// How many sends are planned.
    pub(super) fn len(&self) -> usize {
        self.plans.len()
    }

    /// To whom the planned send `nth` goes.
    pub(super) fn member(&self, nth: usize) -> u32 {
        self.plans[nth].member
    }

    /// Plans a send of bytes that the caller has.
    pub(super) fn plan_private(&mut self, member: u32) {
        self.plans.push(Plan { member, logs: None });
    }

    /// Plans what a member gets next and moves its cursors past it.
    pub(super) fn visit(
        &mut self,
        member: u32,
        encoding: Encoding,
        (subscriptions, filter): (&mut [Subscription], Option<&Filter>),
        logs: &Channels,
    ) -> Found {
        let start = self.pieces.len();
        let (source, found) = match subscriptions {
            [] => return Found::Nothing,
            [subscription] => {
                let log = &logs.at(subscription.channel).log;
                if subscription.next < log.first() {
                    return Found::Lost;
                }
                let before = match filter {
                    None => u64::MAX,
                    Some(filter) => {
                        filter.pass(&mut subscription.next, log, encoding);
                        match filter.ahead(subscription.next, log, encoding, SEND_BYTES_MAX) {
                            Ahead::Before(before) => before,
                            Ahead::TooLong => return Found::TooLong,
                        }
                    }
                };
                let lane = log.lane(encoding);
                let run = lane.and_then(|lane| lane.run(subscription.next, before, SEND_BYTES_MAX));
                let Some(run) = run else { return Found::Nothing };
                let (channel, first) = (subscription.channel, subscription.next);
                self.pieces.push(Piece { subscription: 0, channel, first, run });
                subscription.next = run.next;
                let found = if run.next < log.end() { Found::Part } else { Found::All };
                (Source::Direct, found)
            }
            subscriptions => {
                if !self.find_owed((subscriptions, filter), logs, encoding) {
                    return Found::Lost;
                }
                if self.owed.is_empty() {
                    return Found::Nothing;
                }
                let gathered = self.gather((subscriptions, filter), logs, encoding, start);
                let Some(gathered) = gathered else { return Found::TooLong };
                gathered
            }
        };
        let pieces = start..self.pieces.len();
        self.plans.push(Plan { member, logs: Some(FromLogs { encoding, source, pieces }) });
        found
    }

    /// Finds what is owed first on each channel, past what passes in silence. `false` where it is
    /// not kept any more.
    fn find_owed(
        &mut self,
        (subscriptions, filter): (&mut [Subscription], Option<&Filter>),
        logs: &Channels,
        encoding: Encoding,
    ) -> bool {
        self.owed.clear();
        for (nth, subscription) in subscriptions.iter_mut().enumerate() {
            let log = &logs.at(subscription.channel).log;
            if subscription.next < log.first() {
                return false;
            }
            if let Some(filter) = filter {
                filter.pass(&mut subscription.next, log, encoding);
            }
            self.push(log.rank(subscription.next), nth as u32);
        }
        true
    }

    /// A subscription goes on there, if anywhere.
    fn push(&mut self, rank: Option<(u64, u8)>, nth: u32) {
        self.owed.extend(rank.map(|(position, channel)| Reverse((position, channel, nth))));
    }

    /// How far a run of this log that begins at `position` may go before another channel's message
    /// comes. Where its first message stands elsewhere too it is a run of its own.
    fn until_others(&self, log: &Log, position: u64) -> u64 {
        let other = self.owed.peek().map(|Reverse((other, ..))| *other);
        other.map_or(u64::MAX, |other| log.at_or_after(other.max(position + 1)))
    }

    /// Moves cursors past what stands at `position` in other channels as well. It was given with
    /// the first, or told as a gap of that.
    fn pass_twins(
        &mut self,
        position: u64,
        (subscriptions, filter): (&mut [Subscription], Option<&Filter>),
        logs: &Channels,
        encoding: Encoding,
        mut note: impl FnMut(&mut Vec<Passed>, u32, u64),
    ) {
        while let Some(Reverse((other, _, nth))) = self.owed.peek().copied()
            && other == position
        {
            self.owed.pop();
            let Subscription { channel, next, .. } = &mut subscriptions[nth as usize];
            let log = &logs.at(*channel).log;
            note(&mut self.passed, nth, *next);
            *next += 1;
            if let Some(filter) = filter {
                filter.pass(next, log, encoding);
            }
            self.push(log.rank(*next), nth);
        }
    }

    /// Merges what waits on several channels by position, up to the size of a send. `None` where
    /// what comes first is longer than the client takes.
    fn gather(
        &mut self,
        (subscriptions, filter): (&mut [Subscription], Option<&Filter>),
        logs: &Channels,
        encoding: Encoding,
        start: usize,
    ) -> Option<(Source, Found)> {
        let from = self.gathered.len();
        while let Some(Reverse((position, _, nth))) = self.owed.pop() {
            let subscription = &mut subscriptions[nth as usize];
            let log = &logs.at(subscription.channel).log;
            let lane = log.lane(encoding).expect("a subscription has its lane");
            let mut before = self.until_others(log, position);
            let room = SEND_BYTES_MAX.saturating_sub(self.gathered.len() - from);
            let alone = self.pieces.len() == start;
            if let Some(filter) = filter {
                match filter.ahead(subscription.next, log, encoding, room) {
                    Ahead::Before(end) => before = before.min(end),
                    Ahead::TooLong if alone => return None,
                    Ahead::TooLong => {
                        let source = Source::Gathered { start: from, end: self.gathered.len() };
                        return Some((source, Found::Part));
                    }
                }
            }
            let run = lane.run(subscription.next, before, room);
            let run = run.expect("the lane holds what the log does");
            let bytes = lane.slice(run);
            let (channel, first) = (subscription.channel, subscription.next);
            if !alone && bytes.len() > room {
                let source = Source::Gathered { start: from, end: self.gathered.len() };
                return Some((source, Found::Part));
            }
            self.pieces.push(Piece { subscription: nth, channel, first, run });
            subscription.next = run.next;
            if let Some(filter) = filter {
                filter.pass(&mut subscription.next, log, encoding);
            }
            self.push(log.rank(subscription.next), nth);
            let piece = self.pieces.len() - 1;
            let note = |passed: &mut Vec<Passed>, subscription, seq| {
                passed.push(Passed { piece, subscription, seq });
            };
            self.pass_twins(position, (subscriptions, filter), logs, encoding, note);
            if alone && bytes.len() >= DIRECT_BYTES_MIN {
                let found = if self.owed.is_empty() { Found::All } else { Found::Part };
                return Some((Source::Direct, found));
            }
            self.gathered.extend_from_slice(bytes);
        }
        Some((Source::Gathered { start: from, end: self.gathered.len() }, Found::All))
    }

    /// Where what is owed first is too long for a member: writes to `out` the notice of that, what
    /// comes after it, the next such notice, and so on, in the order of positions, and moves the
    /// cursors past it. A send for each notice would be as many as there are messages, where every
    /// other one is too long.
    pub(super) fn withhold(
        &mut self,
        (subscriptions, filter): (&mut [Subscription], Option<&Filter>),
        logs: &Channels,
        encoding: Encoding,
        out: &mut Vec<u8>,
    ) -> Withheld {
        let (mut withheld, begun) = (Withheld::default(), out.len());
        let Some(filter) = filter else { return withheld };
        if !self.find_owed((subscriptions, Some(filter)), logs, encoding) {
            return withheld;
        }
        while let room @ 1.. = WITHHELD_BYTES.saturating_sub(out.len() - begun)
            && let Some(Reverse((position, _, nth))) = self.owed.pop()
        {
            let next = &mut subscriptions[nth as usize].next;
            let log = &logs.at(subscriptions[nth as usize].channel).log;
            let before = self.until_others(log, position);
            match filter.ahead(*next, log, encoding, room) {
                Ahead::TooLong => {
                    let (from, to, after) = filter.too_long(*next, before, log, encoding);
                    let (channel, bounds) = (&*log.name.name, Some((from, to)));
                    let gap = GapView { channel, bounds, reason: GapReason::Size };
                    encoding.gap(&gap, out);
                    withheld.gaps += 1;
                    *next = after;
                }
                Ahead::Before(end) => {
                    let lane = log.lane(encoding).expect("a subscription has its lane");
                    let run = lane.run(*next, before.min(end), room);
                    let run = run.expect("the lane holds what the log does");
                    out.extend_from_slice(lane.slice(run));
                    withheld.messages += run.next - *next;
                    *next = run.next;
                }
            }
            filter.pass(next, log, encoding);
            self.push(log.rank(*next), nth);
            // What is written here is the client's, so nothing of it is moved back.
            let parts = (&mut *subscriptions, Some(filter));
            self.pass_twins(position, parts, logs, encoding, |_, _, _| {});
        }
        withheld
    }

    /// The planned sends in their order: to whom, and which bytes; `None` where the caller has
    /// them.
    pub(super) fn sends<'a>(
        &'a self,
        logs: &'a Channels,
    ) -> impl Iterator<Item = (u32, Option<&'a [u8]>)> {
        self.plans.iter().map(move |plan| {
            let bytes = plan.logs.as_ref().map(|send| match send.source {
                Source::Direct => {
                    let piece = self.pieces[send.pieces.start];
                    let lane = logs.at(piece.channel).log.lane(send.encoding);
                    lane.expect("a subscription has its lane").slice(piece.run)
                }
                Source::Gathered { start, end } => &self.gathered[start..end],
            });
            (plan.member, bytes)
        })
    }

    /// Of the planned send `nth` the first `taken` bytes went: moves the cursors of the rest back.
    pub(super) fn settle(
        &self,
        nth: usize,
        taken: usize,
        subscriptions: &mut [Subscription],
        logs: &Channels,
    ) -> Settled {
        let Some(send) = &self.plans[nth].logs else { return Settled::Private };
        let pieces = &self.pieces[send.pieces.clone()];
        let (settled, whole) = keep_sent(subscriptions, logs, send.encoding, pieces, taken);
        if !self.passed.is_empty() {
            self.pass_back(send.pieces.start + whole..send.pieces.end, subscriptions);
        }
        settled
    }

    /// Of pieces that did not go, moves those back who passed what they gave.
    fn pass_back(&self, pieces: Range<usize>, subscriptions: &mut [Subscription]) {
        let from = self.passed.partition_point(|passed| passed.piece < pieces.start);
        let passed = self.passed[from..].iter().take_while(|passed| passed.piece < pieces.end);
        for Passed { subscription, seq, .. } in passed {
            let next = &mut subscriptions[*subscription as usize].next;
            *next = (*next).min(*seq);
        }
    }

    /// Forgets what was planned.
    pub(super) fn clear(&mut self) {
        self.plans.clear();
        self.pieces.clear();
        self.passed.clear();
        self.gathered.clear();
    }
}

/// Of a send of which `taken` bytes went, keeps what did and moves the cursors of the rest back. A
/// frame that was begun counts as the client's: its rest goes before anything else. Says too of how
/// many pieces at least the first message is the client's.
fn keep_sent(
    subscriptions: &mut [Subscription],
    logs: &Channels,
    encoding: Encoding,
    pieces: &[Piece],
    taken: usize,
) -> (Settled, usize) {
    let (mut left, mut messages, mut bytes, mut rest) = (taken, 0, 0, None);
    let mut whole = 0;
    for piece in pieces {
        let length = (piece.run.end - piece.run.start) as usize;
        if left < length {
            break;
        }
        left -= length;
        messages += piece.run.next - piece.first;
        bytes += length as u64;
        whole += 1;
    }
    // From the last to the first, since a subscription may have several.
    for piece in pieces[whole..].iter().rev() {
        subscriptions[piece.subscription as usize].next = piece.first;
    }
    if let Some(piece) = pieces.get(whole).filter(|_| left > 0) {
        bytes += left as u64;
        let lane = logs.at(piece.channel).log.lane(encoding).expect("it has its lane");
        let frame = lane.frame_holding(piece.first, left);
        let at = piece.run.start + left as u32;
        let begun = frame.start < at;
        let next = frame.seq + u64::from(begun);
        messages += next - piece.first;
        subscriptions[piece.subscription as usize].next = next;
        rest = begun.then(|| Rest {
            page: Rc::clone(lane.page(piece.run)),
            start: at,
            end: frame.end,
        });
        // Some byte of its first message went.
        whole += 1;
    }
    (Settled::Logs { messages, bytes, rest }, whole)
}
