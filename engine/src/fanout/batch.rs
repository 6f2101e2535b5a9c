//! A batch of sends: everything that each of some members is owed, as one send for each.
//!
//! Three steps, because sends borrow what they send: *visit* decides, renders what is missing, and
//! moves cursors forward as
//! if all went well, *sends* borrows the bytes, *settle* moves the cursors of the few that did not
//! go whole back. A frame that was begun is the caller's to finish before anything else.

use std::ops::Range;

use fanfare_protocol::dialect::Encoding;
use fanfare_protocol::message::{GapReason, GapView};

use super::channels::{ChannelIndex, FollowedChannels};
use super::filter::{Ahead, Filter, Reads};
use super::lane::{Renderer, Want};
use super::owed::Owed;
use super::page::Slice;
use super::room::NoRoom;
use super::subscription::{Subscription, Subscriptions};

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
    /// How many bytes they are.
    bytes: u32,
    /// Seq of the first message.
    first: u64,
    /// Seq after the last.
    next: u64,
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
#[derive(Debug)]
enum Source {
    /// Where the caller has them.
    Private,
    /// In a page, which is held: what else is rendered in this batch leaves it where it is.
    Direct(Slice),
    /// Copied together.
    Gathered { start: usize, end: usize },
}

/// One planned send.
#[derive(Debug)]
struct Plan {
    member: u32,
    source: Source,
    /// What it carries of logs, and in which encoding; `None` where the bytes are the caller's.
    logs: Option<(Encoding, Range<usize>)>,
}

/// What a visit found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VisitResult {
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
    /// What is owed first is not rendered, and there is no room for that.
    NoRoom(NoRoom),
}

/// What became of a planned send.
#[derive(Debug)]
pub(crate) enum Settled {
    /// It was of bytes that the caller has, and so many of them went.
    Private(usize),
    /// It was of logs.
    Logs {
        /// Messages that are the client's now.
        messages: u64,
        /// Bytes that were taken.
        bytes: u64,
        /// What is to be sent before anything else: the rest of a frame that was begun.
        rest: Option<Slice>,
    },
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
pub(crate) struct Batch {
    plans: Vec<Plan>,
    pieces: Vec<Piece>,
    /// In the order of their pieces; of messages in one channel there are none.
    passed: Vec<Passed>,
    gathered: Vec<u8>,
    pub(super) owed: Owed,
}

impl Batch {
    /// Whether the batch must be sent before another visit.
    pub(super) fn is_full(&self) -> bool {
        self.plans.len() >= BATCH_SENDS_MAX || self.gathered.len() >= GATHERED_BYTES_MAX
    }

    /// Whether those who are visited for reasons of their own have had their half of it.
    pub(super) fn is_half_full(&self) -> bool {
        self.plans.len() >= BATCH_SENDS_MAX / 2 || self.gathered.len() >= GATHERED_BYTES_MAX / 2
    }

    /// How many sends are planned.
    pub(crate) fn len(&self) -> usize {
        self.plans.len()
    }

    /// To whom the planned send `nth` goes.
    pub(crate) fn member(&self, nth: usize) -> u32 {
        self.plans[nth].member
    }

    /// Plans a send of bytes that the caller has.
    pub(crate) fn plan_private(&mut self, member: u32) {
        self.plans.push(Plan { member, source: Source::Private, logs: None });
    }

    /// Plans a send of bytes that the caller has in pieces: `copy` puts them together.
    pub(crate) fn plan_copied(&mut self, member: u32, copy: impl FnOnce(&mut Vec<u8>, usize)) {
        let start = self.gathered.len();
        copy(&mut self.gathered, SEND_BYTES_MAX);
        let source = Source::Gathered { start, end: self.gathered.len() };
        self.plans.push(Plan { member, source, logs: None });
    }

    /// Plans what a member gets next and moves its cursors past it.
    pub(crate) fn visit(
        &mut self,
        member: u32,
        encoding: Encoding,
        subscriptions: &mut Subscriptions,
        logs: &mut FollowedChannels,
        renderer: &mut Renderer,
    ) -> VisitResult {
        let start = self.pieces.len();
        let (subscriptions, filter) = subscriptions.parts();
        let (source, found) = match subscriptions {
            [] => return VisitResult::Nothing,
            [subscription] => {
                let rendition = subscription.rendition(encoding);
                let log = &mut logs.at_mut(subscription.channel).log;
                if subscription.next < log.entries().first() {
                    return VisitResult::Lost;
                }
                let reads = &mut Reads { log, rendition, renderer };
                reads.pass(&mut subscription.next, filter);
                let before = match filter {
                    None => u64::MAX,
                    Some(filter) => match filter.ahead(subscription.next, SEND_BYTES_MAX, reads) {
                        Ahead::Before(before) => before,
                        Ahead::TooLong => return VisitResult::TooLong,
                    },
                };
                let seq = subscription.next;
                let want = Want { seq, before, bytes: SEND_BYTES_MAX, ahead: true };
                let end = log.entries().end();
                let run = match log.run(want, rendition, renderer) {
                    Ok(Some(run)) => run,
                    Ok(None) => return VisitResult::Nothing,
                    Err(no_room) => return VisitResult::NoRoom(no_room),
                };
                let (channel, bytes) = (subscription.channel, run.len() as u32);
                let piece = Piece { subscription: 0, channel, bytes, first: seq, next: run.next };
                self.pieces.push(piece);
                subscription.next = run.next;
                let found = if run.next < end { VisitResult::Part } else { VisitResult::All };
                (Source::Direct(run.slice()), found)
            }
            subscriptions => {
                if !self.owed.find((subscriptions, filter), logs, encoding, renderer) {
                    return VisitResult::Lost;
                }
                if self.owed.is_empty() {
                    return VisitResult::Nothing;
                }
                match self.gather((subscriptions, filter), logs, encoding, renderer) {
                    Ok(gathered) => gathered,
                    Err(found) => return found,
                }
            }
        };
        let pieces = start..self.pieces.len();
        self.plans.push(Plan { member, source, logs: Some((encoding, pieces)) });
        found
    }

    /// Merges what waits on several channels by position, up to the size of a send.
    ///
    /// # Errors
    /// What was found instead, where nothing can be given of what comes first: it is longer than
    /// the client takes, or there is no room for it.
    fn gather(
        &mut self,
        (subscriptions, filter): (&mut [Subscription], Option<&Filter>),
        logs: &mut FollowedChannels,
        encoding: Encoding,
        renderer: &mut Renderer,
    ) -> Result<(Source, VisitResult), VisitResult> {
        let (start, from) = (self.pieces.len(), self.gathered.len());
        let gathered = |end: usize| Source::Gathered { start: from, end };
        while let Some((position, nth)) = self.owed.pop() {
            let subscription = &mut subscriptions[nth as usize];
            let rendition = subscription.rendition(encoding);
            let log = &mut logs.at_mut(subscription.channel).log;
            let mut before = self.owed.until_others(log, position);
            let room = SEND_BYTES_MAX.saturating_sub(self.gathered.len() - from);
            let alone = self.pieces.len() == start;
            if let Some(filter) = filter {
                let reads = &mut Reads { log, rendition, renderer };
                match filter.ahead(subscription.next, room, reads) {
                    Ahead::Before(end) => before = before.min(end),
                    Ahead::TooLong if alone => return Err(VisitResult::TooLong),
                    Ahead::TooLong => {
                        return Ok((gathered(self.gathered.len()), VisitResult::Part));
                    }
                }
            }
            let (channel, first) = (subscription.channel, subscription.next);
            let want = Want { seq: first, before, bytes: room, ahead: false };
            let run = match log.run(want, rendition, renderer) {
                Ok(run) => run.expect("it is owed"),
                Err(no_room) if alone => return Err(VisitResult::NoRoom(no_room)),
                Err(_) => return Ok((gathered(self.gathered.len()), VisitResult::Part)),
            };
            if !alone && run.len() > room {
                return Ok((gathered(self.gathered.len()), VisitResult::Part));
            }
            let (bytes, next) = (run.len() as u32, run.next);
            let direct = (alone && run.len() >= DIRECT_BYTES_MIN).then(|| run.slice());
            if direct.is_none() {
                self.gathered.extend_from_slice(run.bytes());
            }
            self.pieces.push(Piece { subscription: nth, channel, bytes, first, next });
            subscription.next = next;
            Reads { log, rendition, renderer }.pass(&mut subscription.next, filter);
            self.owed.push(log.entries().rank(subscription.next), nth);
            let piece = self.pieces.len() - 1;
            let note = |subscription, seq| self.passed.push(Passed { piece, subscription, seq });
            let parts = (&mut *subscriptions, filter);
            self.owed.pass_twins(position, parts, logs, encoding, renderer, note);
            if let Some(slice) = direct {
                let found = if self.owed.is_empty() { VisitResult::All } else { VisitResult::Part };
                return Ok((Source::Direct(slice), found));
            }
        }
        Ok((gathered(self.gathered.len()), VisitResult::All))
    }

    /// Where what is owed first is too long for a member: writes to `out` the notice of that, what
    /// comes after it, the next such notice, and so on, in the order of positions, and moves the
    /// cursors past it. A send for each notice would be as many as there are messages, where every
    /// other one is too long. It ends before what there is no room for, which is not the first.
    pub(crate) fn withhold(
        &mut self,
        subscriptions: &mut Subscriptions,
        logs: &mut FollowedChannels,
        encoding: Encoding,
        renderer: &mut Renderer,
        out: &mut Vec<u8>,
    ) -> Withheld {
        let (mut withheld, begun) = (Withheld::default(), out.len());
        let (subscriptions, filter) = subscriptions.parts();
        let Some(filter) = filter else { return withheld };
        if !self.owed.find((subscriptions, Some(filter)), logs, encoding, renderer) {
            return withheld;
        }
        while let room @ 1.. = WITHHELD_BYTES.saturating_sub(out.len() - begun)
            && let Some((position, nth)) = self.owed.pop()
        {
            let rendition = subscriptions[nth as usize].rendition(encoding);
            let Subscription { channel, next: first, .. } = subscriptions[nth as usize];
            let log = &mut logs.at_mut(channel).log;
            let before = self.owed.until_others(log, position);
            let mut reads = Reads { log, rendition, renderer };
            let mut next = match filter.ahead(first, room, &mut reads) {
                Ahead::TooLong => {
                    let (from, to, after) = filter.too_long(first, before, &mut reads);
                    let (channel, bounds) = (&*reads.log.name.name, Some((from, to)));
                    let view = reads.log.lanes.view(rendition.view);
                    let gap = GapView { channel, view, bounds, reason: GapReason::Size };
                    encoding.gap(&gap, out);
                    withheld.gaps += 1;
                    after
                }
                Ahead::Before(end) => {
                    let before = before.min(end);
                    let want = Want { seq: first, before, bytes: room, ahead: false };
                    let Ok(run) = reads.log.run(want, rendition, reads.renderer) else { break };
                    let run = run.expect("it is owed");
                    out.extend_from_slice(run.bytes());
                    let next = run.next;
                    withheld.messages += reads.log.entries().told_within(first..next, encoding);
                    next
                }
            };
            reads.pass(&mut next, Some(filter));
            subscriptions[nth as usize].next = next;
            self.owed.push(reads.log.entries().rank(next), nth);
            // What is written here is the client's, so nothing of it is moved back.
            let parts = (&mut *subscriptions, Some(filter));
            self.owed.pass_twins(position, parts, logs, encoding, renderer, |_, _| {});
        }
        withheld
    }

    /// The planned sends in their order: to whom, and which bytes; `None` where the caller has
    /// them.
    pub(crate) fn sends(&self) -> impl Iterator<Item = (u32, Option<&[u8]>)> {
        self.plans.iter().map(|plan| {
            let bytes = match &plan.source {
                Source::Private => None,
                Source::Direct(slice) => Some(slice.bytes()),
                Source::Gathered { start, end } => Some(&self.gathered[*start..*end]),
            };
            (plan.member, bytes)
        })
    }

    /// The planned send `nth` has ended and the first `taken` bytes of it are sent, `usize::MAX`
    /// where all are: moves the cursors of what was not back.
    pub(crate) fn settle(
        &self,
        nth: usize,
        taken: usize,
        subscriptions: &mut Subscriptions,
        logs: &FollowedChannels,
    ) -> Settled {
        let subscriptions = subscriptions.as_mut_slice();
        let Plan { source, logs: carried, .. } = &self.plans[nth];
        match (carried, source) {
            (Some((encoding, pieces)), _) => {
                let its = &self.pieces[pieces.clone()];
                let (settled, whole) = keep_sent(subscriptions, logs, *encoding, its, taken);
                if !self.passed.is_empty() {
                    self.pass_back(pieces.start + whole..pieces.end, subscriptions);
                }
                settled
            }
            (None, Source::Gathered { start, end }) => Settled::Private(taken.min(end - start)),
            (None, _) => Settled::Private(taken),
        }
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

    /// Everything that was planned is settled.
    pub(crate) fn clear(&mut self) {
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
    logs: &FollowedChannels,
    encoding: Encoding,
    pieces: &[Piece],
    taken: usize,
) -> (Settled, usize) {
    let (mut left, mut messages, mut bytes, mut rest) = (taken, 0, 0, None);
    let mut whole = 0;
    for piece in pieces {
        let length = piece.bytes as usize;
        if left < length {
            break;
        }
        left -= length;
        messages +=
            logs.at(piece.channel).log.entries().told_within(piece.first..piece.next, encoding);
        bytes += length as u64;
        whole += 1;
    }
    // From the last to the first, since a subscription may have several.
    for piece in pieces[whole..].iter().rev() {
        subscriptions[piece.subscription as usize].next = piece.first;
    }
    if let Some(piece) = pieces.get(whole).filter(|_| left > 0) {
        bytes += left as u64;
        let rendition = subscriptions[piece.subscription as usize].rendition(encoding);
        let page = logs.at(piece.channel).log.lanes.page_of(piece.first, rendition);
        let page = page.expect("nothing that is planned is dropped before it is settled");
        let at = page.start_of(piece.first) + left as u32;
        let seq = page.seq_at(at);
        let begun = page.start_of(seq) < at;
        let next = seq + u64::from(begun);
        messages += logs.at(piece.channel).log.entries().told_within(piece.first..next, encoding);
        subscriptions[piece.subscription as usize].next = next;
        rest = begun.then(|| Slice::new(page, at, page.end_of(seq)));
        // Some byte of its first message went.
        whole += 1;
    }
    (Settled::Logs { messages, bytes, rest }, whole)
}
