//! What a poll is answered with: messages of all of its channels by position, where they lie in
//! pages, gathered in turns.

use fanfare_protocol::dialect::Encoding;
use fanfare_protocol::id::Epoch;
use fanfare_protocol::limits::{POLL_BYTES_MAX, POLL_MESSAGES_MAX};
use fanfare_protocol::message::{GapReason, GapView};

use super::channels::FollowedChannels;
use super::filter::{Ahead, Filter, Reads};
use super::lane::{Renderer, Run, Want};
use super::owed::Owed;
use super::page::Slice;
use super::room::NoRoom;
use super::subscription::Subscription;

/// What a step of gathering costs beside what it renders, and a look at a subscription, in bytes of
/// rendering.
const STEP_BYTES: usize = 256;
const LOOK_BYTES: usize = 64;

/// What was gathered for a poll.
#[derive(Debug, Default)]
pub(crate) struct Gathering {
    /// Messages, with what separates them.
    pub(crate) messages: Vec<Slice>,
    /// How many there are.
    pub(crate) count: usize,
    /// Their bytes.
    pub(crate) bytes: usize,
    /// Gaps of what is too long for the client, rendered.
    pub(crate) gaps: Vec<Vec<u8>>,
    /// Their bytes.
    pub(crate) gap_bytes: usize,
    /// The epoch in which it was begun to be gathered.
    pub(crate) epoch: Option<Epoch>,
    /// Position of the last of all these.
    pub(crate) last: Option<u64>,
    /// Whether nothing more is owed.
    pub(crate) is_all: bool,
}

impl Gathering {
    /// Whether nothing was gathered yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0 && self.gaps.is_empty()
    }

    /// Bytes of memory, without those of pages, which are shared.
    pub(crate) fn memory(&self) -> usize {
        let lists = self.messages.capacity() * size_of::<Slice>()
            + self.gaps.capacity() * size_of::<Vec<u8>>();
        size_of::<Self>() + lists + self.gap_bytes
    }

    /// The epoch of what was gathered; of what will be, where nothing was, it is `present`.
    pub(super) fn epoch_or(&mut self, present: Epoch) -> Epoch {
        if self.is_empty() {
            self.epoch = Some(present);
        }
        self.epoch.unwrap_or(present)
    }

    /// Gathers what waits from each cursor on, and moves the cursors past it, until the answer
    /// holds as much as one may, or this turn is over: then it is `false`, and goes on in another.
    /// Where there is no room for what comes next, the answer is what there is: whoever waits is to
    /// hold nothing meanwhile.
    ///
    /// # Errors
    /// Where that would be an answer with nothing in it.
    pub(super) fn gather(
        &mut self,
        (subscriptions, filter): (&mut [Subscription], Option<&Filter>),
        owed: &mut Owed,
        logs: &mut FollowedChannels,
        encoding: Encoding,
        renderer: &mut Renderer,
    ) -> Result<bool, NoRoom> {
        renderer.worked(subscriptions.len() * LOOK_BYTES);
        if !owed.find((subscriptions, filter), logs, encoding, renderer) {
            return Ok(true); // what comes next is lost, and told with the next poll
        }
        while let Some((position, nth)) = owed.pop() {
            let rendition = subscriptions[nth as usize].rendition(encoding);
            let Subscription { channel, next: first, .. } = subscriptions[nth as usize];
            let log = &mut logs.at_mut(channel).log;
            let before = owed.until_others(log, position);
            let mut reads = Reads { log, rendition, renderer };
            let room = self.room();
            let ahead = match filter {
                None => Ahead::Before(u64::MAX),
                Some(filter) => filter.ahead(first, room, &mut reads),
            };
            let after = match (ahead, filter) {
                (Ahead::TooLong, Some(filter)) => self.skip(filter, first, before, &mut reads),
                (Ahead::Before(end), _) => {
                    let before = before.min(end).min(first + self.messages_left());
                    let want = Want { seq: first, before, bytes: room, ahead: false };
                    let run = match reads.log.run(want, rendition, reads.renderer) {
                        Err(no_room) if self.is_empty() => return Err(no_room),
                        run => run.ok().flatten(),
                    };
                    let next = run.and_then(|run| self.push(run, encoding));
                    let told =
                        |next| reads.log.entries().told_within(first..next, encoding) as usize;
                    self.count += next.map_or(0, told);
                    next
                }
                (Ahead::TooLong, None) => None,
            };
            let Some(mut next) = after else { return Ok(true) };
            self.last = reads.log.entries().position(next - 1);
            reads.pass(&mut next, filter);
            subscriptions[nth as usize].next = next;
            owed.push(reads.log.entries().rank(next), nth);
            let parts = (&mut *subscriptions, filter);
            owed.pass_twins(position, parts, logs, encoding, renderer, |_, _| {});
            renderer.worked(STEP_BYTES);
            if renderer.is_spent() && !owed.is_empty() {
                return Ok(false);
            }
        }
        self.is_all = true;
        Ok(true)
    }

    fn room(&self) -> usize {
        POLL_BYTES_MAX.saturating_sub(self.bytes + self.gap_bytes)
    }

    fn messages_left(&self) -> u64 {
        POLL_MESSAGES_MAX.saturating_sub(self.count + self.gaps.len()) as u64
    }

    /// Takes messages, which the caller counts, unless they are too many. One that is longer than
    /// all is given alone.
    fn push(&mut self, run: Run<'_>, encoding: Encoding) -> Option<u64> {
        if !self.is_empty() && run.len() > self.room() {
            return None;
        }
        let next = run.next;
        let mut slice = run.slice();
        if self.messages.is_empty() {
            slice.advance(encoding.framing().separator().len());
        }
        self.bytes += slice.len();
        if !self.messages.last_mut().is_some_and(|last| last.join(&slice)) {
            self.messages.push(slice);
        }
        Some(next)
    }

    /// Takes the gap that is told in place of messages that are too long, unless it is one too
    /// many.
    fn skip(
        &mut self,
        filter: &Filter,
        first: u64,
        before: u64,
        reads: &mut Reads<'_>,
    ) -> Option<u64> {
        let (from, to, after) = filter.too_long(first, before, reads);
        let (channel, bounds) = (&*reads.log.name.name, Some((from, to)));
        let mut notice = Vec::new();
        let view = reads.log.lanes.view(reads.rendition.view);
        let gap = GapView { channel, view, bounds, reason: GapReason::Size };
        reads.rendition.encoding.gap(&gap, &mut notice);
        if !self.is_empty() && (notice.len() > self.room() || self.messages_left() == 0) {
            return None;
        }
        self.gap_bytes += notice.len();
        self.gaps.push(notice);
        Some(after)
    }
}
