//! One publisher: its bytes in, publications out; outcomes in, its bytes out. No socket and no
//! clock of its own.

use fanfare_protocol::id::Epoch;
use fanfare_protocol::ingest::client::Hello;
use fanfare_protocol::ingest::server::{BUFFER_BYTES_KEPT, Decoder, Event, Violation};
use fanfare_protocol::ingest::session::{Open, Standing};
use fanfare_protocol::ingest::{ErrorCode, GoodbyeCode, VERSION, VERSION_WITH_SESSIONS, write};
use fanfare_protocol::limits::{IngestLimits, SessionLimits};

use super::IngestConfig;
use super::draft::Draft;
use super::ledger::Results;
use super::sessions::{Asked, Session};
use crate::channel::Tenant;
use crate::clock::Millis;
use crate::sequencer::command::{Publication, Refusal as SequencerRefusal};

/// Bytes of replies that wait for a publisher after which it is not read.
const REPLY_BYTES_MAX: usize = 64 << 10;
/// Bytes of replies that are kept for a publisher that is ended because it reads none.
const LEFT_BYTES_MAX: usize = 128 << 10;
/// From our last byte to the end of the socket; meanwhile what arrives is dropped, so that one who
/// still writes comes to read what we said last.
const LINGER_MS: u64 = 1_000;
/// Bytes of a frame's length, which does not count itself.
const LENGTH_BYTES: usize = 4;

/// Messages that go to the sequencer as one command.
#[derive(Debug)]
pub struct Group {
    /// The number of its session, and its own in that session's ledger.
    pub number: (u64, u64),
    /// The messages, at least one.
    pub publications: Vec<Publication>,
}

/// How far a connection is.
#[derive(Debug, PartialEq, Eq)]
enum Phase {
    /// It is read, as long as it keeps within the window.
    Open,
    /// It is read no more; when all outcomes are written, the farewell follows.
    Settling(Farewell),
    /// Nothing more is written; what is left is sent.
    Flushing,
    /// It has read nothing for too long: what is left is sent until then, as far as there is room;
    /// what arrives is dropped.
    Parting(Millis),
    /// All is sent and our side is shut; what arrives is dropped until then.
    Lingering(Millis),
    /// To be dropped.
    Over,
}

/// What a connection ends with.
#[derive(Debug, PartialEq, Eq)]
enum Farewell {
    /// The publisher has ended: nothing.
    None,
    /// An ERROR frame.
    Error(ErrorCode, u64, &'static str),
    /// A GOODBYE frame.
    Goodbye(GoodbyeCode),
}

/// How long a publisher may let us wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// For the rest of a frame, from its last bytes on.
    pub(super) frame_ms: u64,
    /// For the reading of replies, from the last bytes that it took.
    pub(super) stall_ms: u64,
}

/// The state of one connection.
#[derive(Debug)]
pub struct Publisher {
    decoder: Decoder,
    limits: IngestLimits,
    /// What HELLO tells, or told: the present epoch, unless it has greeted.
    epoch: Epoch,
    /// The epoch with which the node began.
    life: Epoch,
    has_greeted: bool,
    tenant: Tenant,
    session: Session,
    /// The session that it wants, and what came behind that wish.
    wish: Option<(Open, Vec<u8>)>,
    /// Whether it has said that it is done with its session.
    ended: bool,
    /// Whether it will send no more.
    is_mute: bool,
    /// Whether all was sent and our side is shut.
    is_shut: bool,
    /// What it is told; the first `sent` bytes are gone.
    out: Vec<u8>,
    sent: usize,
    phase: Phase,
    /// When it last sent something, or when we began to listen again.
    heard: Millis,
    /// When it last took something, or when there began to be something to take.
    taken: Millis,
    /// Messages refused since the last look, for the metric.
    refused: u64,
    /// Whether it is not read because there is no room for more.
    is_held: bool,
}

impl Publisher {
    /// A publisher that has just connected.
    pub fn new(settings: &IngestConfig, session: Session, now: Millis) -> Self {
        let limits = settings.wire();
        Self {
            decoder: Decoder::new(limits),
            limits,
            epoch: settings.epoch,
            life: settings.life,
            has_greeted: false,
            tenant: settings.tenant.clone(),
            session,
            wish: None,
            ended: false,
            is_mute: false,
            is_shut: false,
            out: Vec::new(),
            sent: 0,
            phase: Phase::Open,
            heard: now,
            taken: now,
            refused: 0,
            is_held: false,
        }
    }

    /// Whether its bytes are wanted: also those of a connection that ends, to be dropped.
    pub fn wants_bytes(&self) -> bool {
        self.drops_bytes() || (!self.is_held && self.keeps_its_bounds())
    }

    /// Whether what arrives is dropped.
    pub(super) fn drops_bytes(&self) -> bool {
        matches!(self.phase, Phase::Parting(_) | Phase::Lingering(_))
    }

    /// Whether it has less under way than it may have for itself, whatever there is room for.
    pub(super) fn keeps_its_bounds(&self) -> bool {
        match self.phase {
            Phase::Open => {
                self.wish.is_none()
                    && self.session.ledger.messages() < self.limits.window as usize
                    && self.out.len() - self.sent <= REPLY_BYTES_MAX
            }
            _ => false,
        }
    }

    /// Whether it may still publish, and owes the rest of a frame.
    pub(super) fn is_mid_frame(&self) -> bool {
        self.phase == Phase::Open && self.decoder.missing_bytes() > 0
    }

    /// Whether it is not read for want of room.
    pub(super) fn is_held(&self) -> bool {
        self.is_held
    }

    /// It is read no more, or again. What it owes it owes only while we listen.
    pub(super) fn hold(&mut self, now: Millis, is_held: bool) {
        if self.is_held && !is_held {
            self.heard = now;
        }
        self.is_held = is_held;
    }

    /// Bytes that the frame still misses that it has begun, as far as that is known.
    pub(super) fn missing_bytes(&self) -> usize {
        self.decoder.missing_bytes()
    }

    /// What it holds, but for outcomes that it has not confirmed, and for what a connection has for
    /// itself, used or not.
    pub(super) fn under_way_bytes(&self) -> usize {
        let begun = self.decoder.buffer_bytes().saturating_sub(BUFFER_BYTES_KEPT);
        let behind = self.wish.as_ref().map_or(0, |(_, behind)| behind.len());
        begun + behind + self.unsent().len() + self.session.ledger.under_way_bytes()
    }

    /// All that it holds.
    pub(super) fn bytes(&self) -> usize {
        let ledger = &self.session.ledger;
        self.under_way_bytes() + ledger.bytes() - ledger.under_way_bytes()
    }

    /// What it is to be sent now.
    pub fn unsent(&self) -> &[u8] {
        &self.out[self.sent..]
    }

    /// Whether there is nothing left to do for it.
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// Whether all is sent and our side is to be shut.
    pub fn is_flushed(&self) -> bool {
        self.is_parting() && self.unsent().is_empty()
    }

    /// Whether what is unsent is all that it is ever told.
    pub(super) fn is_parting(&self) -> bool {
        matches!(self.phase, Phase::Flushing | Phase::Parting(_))
    }

    /// Whether it has let us wait with its replies for too long, as far as we know.
    pub(super) fn is_stalled(&self, now: Millis, patience: Patience) -> bool {
        !self.unsent().is_empty() && now >= self.taken.plus(patience.stall_ms)
    }

    /// Messages refused since the last call.
    pub(super) fn take_refused(&mut self) -> u64 {
        std::mem::take(&mut self.refused)
    }

    /// Bytes of it; appends what is to be published, in order.
    pub fn handle_bytes(&mut self, now: Millis, mut input: &[u8], groups: &mut Vec<Group>) {
        if self.phase != Phase::Open {
            return;
        }
        self.heard = now;
        let mut draft = Draft::default();
        loop {
            match self.decoder.next(&mut input) {
                Ok(None) => break,
                Ok(Some(Event::Preface)) => self.greet(None),
                Ok(Some(Event::Open(open))) => {
                    // What decides knows more than this connection.
                    self.wish = Some((open, input.to_vec()));
                    break;
                }
                Ok(Some(Event::Confirm(sequence))) => {
                    if !self.session.ledger.confirm(sequence) {
                        const TEXT: &str = "the confirmation is ahead of the outcomes";
                        let (code, offset) = (ErrorCode::MALFORMED, self.last_number_at());
                        self.phase = Phase::Settling(Farewell::Error(code, offset, TEXT));
                        break;
                    }
                }
                Ok(Some(Event::End)) => {
                    self.ended = true;
                    self.phase = Phase::Settling(Farewell::None);
                    break;
                }
                Ok(Some(Event::Publish { frame, .. })) => {
                    draft.add(&frame, &self.limits, &self.tenant)
                }
                Ok(Some(Event::Batch { batch, .. })) => {
                    for frame in batch {
                        draft.add(&frame, &self.limits, &self.tenant);
                    }
                }
                Err(violation) => {
                    self.fail(violation);
                    break;
                }
            }
            if draft.slots.len() >= self.limits.batch_messages as usize {
                draft.enter(&mut self.session, groups);
            }
        }
        draft.enter(&mut self.session, groups);
        self.write_outcomes(now);
    }

    fn greet(&mut self, session: Option<Standing>) {
        let version = if session.is_some() { VERSION_WITH_SESSIONS } else { VERSION };
        let (epoch, limits) = (self.epoch, self.limits);
        self.has_greeted = true;
        write::hello(&Hello { version, epoch, limits, session }, &mut self.out);
    }

    /// The session that it waits for, if it does.
    pub(super) fn asks(&self) -> Option<Asked> {
        let (open, _) = self.wish.as_ref().filter(|_| self.phase == Phase::Open)?;
        Some(Asked { open: *open, user: self.session.user })
    }

    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// It has the session that it asked for: the outcomes that it may have missed follow, and what
    /// came behind its wish is read. The nameless session that it had is given back.
    pub(super) fn begin(
        &mut self,
        now: Millis,
        session: Session,
        known: bool,
        limits: SessionLimits,
        groups: &mut Vec<Group>,
    ) -> Session {
        let Some((open, behind)) = self.wish.take() else { return session };
        let before = std::mem::replace(&mut self.session, session);
        let ledger = &mut self.session.ledger;
        ledger.confirm(open.confirmed);
        let taken = ledger.taken();
        // What was confirmed once stays so, also where the publisher does not remember it.
        self.decoder.begin(taken, ledger.confirmed(), limits.unconfirmed);
        self.greet(Some(Standing { known, taken, limits, life: self.life }));
        self.session.ledger.write_again(open.confirmed, self.epoch, &mut self.out);
        self.taken = now;
        self.handle_bytes(now, &behind, groups);
        before
    }

    /// The session that it wanted to take up is not known. It may ask for another one.
    pub(super) fn go_on_without(
        &mut self,
        now: Millis,
        limits: SessionLimits,
        groups: &mut Vec<Group>,
    ) {
        let Some((_, behind)) = self.wish.take() else { return };
        self.greet(Some(Standing { known: false, taken: 0, limits, life: self.life }));
        self.handle_bytes(now, &behind, groups);
    }

    /// Another connection takes its session up: nothing more of this one is taken.
    pub(super) fn hand_over(&mut self, now: Millis) -> Session {
        const TEXT: &str = "another connection has taken this session up";
        let farewell = Farewell::Error(ErrorCode::SUPERSEDED, self.decoder.offset(), TEXT);
        let none = Session::none(self.session.user);
        let session = std::mem::replace(&mut self.session, none);
        match self.phase {
            Phase::Open => {
                self.phase = Phase::Settling(farewell);
                self.write_outcomes(now);
            }
            Phase::Settling(_) => self.write_outcomes(now),
            Phase::Flushing | Phase::Parting(_) | Phase::Lingering(_) | Phase::Over => {}
        }
        session
    }

    /// Its connection is gone: its session, and whether the publisher is done with it.
    pub(super) fn leave(&mut self) -> (Session, bool) {
        let none = Session::none(self.session.user);
        let session = std::mem::replace(&mut self.session, none);
        let is_told = self.is_shut && self.ended;
        (session, is_told)
    }

    /// It will send no more; outcomes may still be read by it.
    pub fn handle_end(&mut self, now: Millis) {
        self.is_mute = true;
        match self.phase {
            Phase::Open => {
                self.phase = Phase::Settling(Farewell::None);
                if let Err(violation) = self.decoder.finish() {
                    self.fail(violation);
                }
                self.write_outcomes(now);
            }
            Phase::Lingering(_) => self.phase = Phase::Over,
            Phase::Settling(_) | Phase::Flushing | Phase::Parting(_) | Phase::Over => {}
        }
    }

    /// Its socket has failed.
    pub fn handle_failure(&mut self) {
        self.phase = Phase::Over;
    }

    /// The sequencer's results for a group.
    pub(super) fn handle_results(&mut self, now: Millis, group: u64, results: Results) {
        self.session.ledger.settle(group, results);
        self.write_outcomes(now);
    }

    /// The sequencer has ended and did not take the group.
    pub(super) fn handle_not_taken(&mut self, now: Millis, group: u64) {
        self.session.ledger.refuse(group, SequencerRefusal::ShuttingDown);
        self.write_outcomes(now);
    }

    /// The sequencer took the group and ended without a word: nobody knows its outcome, so nothing
    /// more may be acknowledged.
    pub(super) fn handle_lost(&mut self, group: u64) {
        if !self.session.ledger.awaits(group) {
            return;
        }
        self.session.ledger.lose();
        if self.is_ending() {
            return;
        }
        const TEXT: &str = "the node ended before it told the outcome of your last messages; \
            they may be published or not";
        write::error(ErrorCode::INTERNAL, self.decoder.offset(), TEXT, &mut self.out);
        self.phase = Phase::Flushing;
    }

    /// So many bytes were taken by the kernel.
    pub fn handle_sent(&mut self, now: Millis, bytes: usize) {
        self.sent += bytes;
        self.taken = now;
        if self.sent == self.out.len() {
            self.out.clear();
            self.out.shrink_to(REPLY_BYTES_MAX);
            self.sent = 0;
            // We listen again: what it owes is owed from now on.
            self.heard = now;
        } else if self.sent > REPLY_BYTES_MAX {
            // One that reads, but is never quite done, must not make this grow.
            let whole = self.begun();
            self.out.drain(..whole);
            self.sent -= whole;
        }
    }

    /// Our side is shut.
    pub(super) fn handle_shut(&mut self, now: Millis) {
        // Of one that is parted from not all outcomes were told.
        self.is_shut = self.phase == Phase::Flushing;
        // Nothing more arrives of one that has ended, so there is nothing to be dropped.
        self.phase = match self.is_mute {
            true => Phase::Over,
            false => Phase::Lingering(now.plus(LINGER_MS)),
        };
    }

    /// Ends the connection with an ERROR frame, after the outcomes of what was published.
    pub(super) fn refuse(&mut self, now: Millis, code: ErrorCode, text: &'static str) {
        self.refuse_at(now, code, self.decoder.offset(), text);
    }

    /// As [`Publisher::refuse`], because of what its wish confirms.
    pub(super) fn refuse_confirmed(&mut self, now: Millis, text: &'static str) {
        self.refuse_at(now, ErrorCode::MALFORMED, self.last_number_at(), text);
    }

    fn refuse_at(&mut self, now: Millis, code: ErrorCode, offset: u64, text: &'static str) {
        if self.phase == Phase::Open {
            self.phase = Phase::Settling(Farewell::Error(code, offset, text));
            self.write_outcomes(now);
        }
    }

    /// Where the number begins with which the last frame ended: OPEN and CONFIRM end with one.
    fn last_number_at(&self) -> u64 {
        self.decoder.offset() - size_of::<u64>() as u64
    }

    /// The node takes its leave: outcomes, then GOODBYE.
    pub(super) fn say_goodbye(&mut self, now: Millis, code: GoodbyeCode) {
        if self.phase == Phase::Open {
            self.phase = Phase::Settling(Farewell::Goodbye(code));
            self.write_outcomes(now);
        }
    }

    /// Another epoch has begun. Who has read which one it was before is told goodbye, so that it
    /// comes back and reads which one it is.
    pub fn begin_epoch(&mut self, now: Millis, epoch: Epoch) {
        if self.has_greeted {
            self.say_goodbye(now, GoodbyeCode::EPOCH);
        } else {
            self.epoch = epoch;
        }
    }

    /// When to call [`Publisher::handle_deadline`], if nothing happens before.
    pub(super) fn deadline(&self, patience: Patience) -> Option<Millis> {
        let stalled = (!self.unsent().is_empty()).then(|| self.taken.plus(patience.stall_ms));
        let owed = match self.phase {
            Phase::Open if self.decoder.is_mid_frame() && self.wants_bytes() => {
                Some(self.heard.plus(patience.frame_ms))
            }
            Phase::Parting(until) | Phase::Lingering(until) => return Some(until),
            _ => None,
        };
        stalled.into_iter().chain(owed).min()
    }

    /// Ends what has let us wait too long, by the time up to which the kernel has told everything.
    /// Whether it still takes nothing is asked before.
    pub(super) fn handle_deadline(&mut self, told: Millis, now: Millis, patience: Patience) {
        match self.phase {
            Phase::Parting(until) | Phase::Lingering(until) if told >= until => {
                self.phase = Phase::Over;
            }
            Phase::Open | Phase::Settling(_) | Phase::Flushing
                if self.is_stalled(told, patience) =>
            {
                self.part(now);
            }
            Phase::Open if self.deadline(patience).is_some_and(|deadline| told >= deadline) => {
                const TEXT: &str = "a frame was begun and its rest did not come in time";
                self.refuse(now, ErrorCode::STALLED, TEXT);
            }
            _ => {}
        }
    }

    /// Ends one that reads nothing: after the frame that it has the beginning of, after the
    /// outcomes that wait too as far as there may be room for them, it is told why.
    fn part(&mut self, now: Millis) {
        const TEXT: &str = "you did not read your replies; read while you write. The outcomes of \
            what you sent last may not have been told";
        tracing::info!("a publisher did not read its replies and is ended");
        if self.phase != Phase::Flushing {
            self.out.truncate(self.frames_until(self.sent + LEFT_BYTES_MAX));
            let (code, offset, text) = match self.phase {
                Phase::Settling(Farewell::Error(code, offset, text)) => (code, offset, text),
                _ => (ErrorCode::NOT_READING, self.decoder.offset(), TEXT),
            };
            write::error(code, offset, text, &mut self.out);
        }
        self.phase = Phase::Parting(now.plus(LINGER_MS));
    }

    /// Where the frame begins that is sent in part, or the first that is not sent.
    fn begun(&self) -> usize {
        let ends = FrameEnds { bytes: &self.out, at: 0 };
        ends.take_while(|end| *end <= self.sent).last().unwrap_or(0)
    }

    /// Where the last frame ends that fits within so many bytes, or the frame that is sent in part.
    fn frames_until(&self, bytes: usize) -> usize {
        let mut last = 0;
        for end in (FrameEnds { bytes: &self.out, at: 0 }) {
            if end > bytes && last >= self.sent {
                break;
            }
            last = end;
        }
        last
    }

    /// Whether nothing more is written to it.
    fn is_ending(&self) -> bool {
        self.is_parting() || matches!(self.phase, Phase::Lingering(_) | Phase::Over)
    }

    fn fail(&mut self, violation: Violation) {
        let Violation { code, offset, .. } = violation;
        self.phase = Phase::Settling(Farewell::Error(code, offset, violation.text()));
    }

    fn write_outcomes(&mut self, now: Millis) {
        if self.is_ending() {
            return;
        }
        let waited = self.unsent().is_empty();
        let was_full = !self.wants_bytes();
        self.refused += self.session.ledger.write(self.epoch, &mut self.out);
        if self.session.ledger.messages() == 0
            && let Phase::Settling(farewell) = &self.phase
        {
            match farewell {
                Farewell::None => {}
                Farewell::Error(code, offset, text) => {
                    write::error(*code, *offset, text, &mut self.out);
                }
                Farewell::Goodbye(code) => {
                    write::goodbye(self.session.ledger.settled(), *code, &mut self.out);
                }
            }
            self.phase = Phase::Flushing;
        }
        if waited {
            self.taken = now;
        }
        if was_full {
            self.heard = now;
        }
    }
}

impl AsMut<Publisher> for Publisher {
    fn as_mut(&mut self) -> &mut Publisher {
        self
    }
}

/// Where each frame ends of replies that begin with a whole one.
struct FrameEnds<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Iterator for FrameEnds<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let length = self.bytes[self.at..].first_chunk::<LENGTH_BYTES>()?;
        self.at += LENGTH_BYTES + u32::from_le_bytes(*length) as usize;
        Some(self.at)
    }
}
