//! What a publisher sends: the frame that it is in the middle of, the session that it asks for, and
//! since when it owes us something.

use fanfare_protocol::ingest::server::{BUFFER_BYTES_KEPT, Decoder, Event, Violation};
use fanfare_protocol::ingest::session::Open;
use fanfare_protocol::limits::{IngestLimits, SessionLimits};

use crate::clock::Millis;
use crate::ingest::ledger::Ledger;

/// One connection's bytes, as far as they have come.
#[derive(Debug)]
pub(in crate::ingest) struct Incoming {
    decoder: Decoder,
    /// The session that it wants, and what came behind that wish.
    wish: Option<(Open, Vec<u8>)>,
    /// When it last sent something, or when we began to listen again.
    heard: Millis,
    /// Whether it is not read because there is no room for more.
    is_held: bool,
}

impl Incoming {
    /// Before the first byte.
    pub(super) fn new(limits: IngestLimits, now: Millis) -> Self {
        Self { decoder: Decoder::new(limits), wish: None, heard: now, is_held: false }
    }

    /// Takes from the front of `input` up to the next event; `None` when the input is used up.
    ///
    /// # Errors
    /// What the publisher must be told. All input after it is dropped.
    pub(super) fn next<'e, 'i: 'e>(
        &'e mut self,
        input: &mut &'i [u8],
    ) -> Result<Option<Event<'e>>, Violation> {
        self.decoder.next(input)
    }

    /// It will send no more: fine between two frames, and before the first byte.
    ///
    /// # Errors
    /// What the publisher must be told of a frame that has no end.
    pub(super) fn finish(&self) -> Result<(), Violation> {
        self.decoder.finish()
    }

    /// Something came, or we listen again: what it owes it owes from now on.
    pub(super) fn heard(&mut self, now: Millis) {
        self.heard = now;
    }

    /// It asks for a session. What decides knows more than this connection, so what came behind
    /// the wish waits.
    pub(super) fn ask(&mut self, open: Open, behind: &[u8]) {
        self.wish = Some((open, behind.to_vec()));
    }

    /// The session that it asks for.
    pub(super) fn wish(&self) -> Option<Open> {
        self.wish.as_ref().map(|(open, _)| *open)
    }

    /// The wish is decided; what came behind it is to be read.
    pub(super) fn take_wish(&mut self) -> Option<(Open, Vec<u8>)> {
        self.wish.take()
    }

    /// The session with this ledger is open: what follows are its messages.
    pub(super) fn begin(&mut self, ledger: &Ledger, limits: SessionLimits) {
        // What was confirmed once stays so, also where the publisher does not remember it.
        self.decoder.begin(ledger.taken(), ledger.confirmed(), limits.unconfirmed);
    }

    /// Whether it is not read for want of room.
    pub(in crate::ingest) fn is_held(&self) -> bool {
        self.is_held
    }

    /// It is read no more, or again. What it owes it owes only while we listen.
    pub(in crate::ingest) fn hold(&mut self, now: Millis, is_held: bool) {
        if self.is_held && !is_held {
            self.heard = now;
        }
        self.is_held = is_held;
    }

    /// By how much more is held when so many bytes have come of the frame that it has begun.
    pub(in crate::ingest) fn growth(&self, more: usize) -> usize {
        self.decoder.buffer_bytes_with(more) - self.decoder.buffer_bytes()
    }

    /// Bytes that the frame still misses that it has begun, as far as that is known.
    pub(in crate::ingest) fn missing_bytes(&self) -> usize {
        self.decoder.missing_bytes()
    }

    /// What is held of a frame and behind a wish, but for what a connection has for itself, used or
    /// not.
    pub(super) fn bytes(&self) -> usize {
        let begun = self.decoder.buffer_bytes().saturating_sub(BUFFER_BYTES_KEPT);
        begun + self.wish.as_ref().map_or(0, |(_, behind)| behind.len())
    }

    /// Bytes that were taken of it so far.
    pub(super) fn offset(&self) -> u64 {
        self.decoder.offset()
    }

    /// Where the number begins with which the last frame ended: OPEN and CONFIRM end with one.
    pub(super) fn last_number_at(&self) -> u64 {
        self.offset() - size_of::<u64>() as u64
    }

    /// When it has let us wait for so long with the rest of a frame, or with its first bytes.
    pub(super) fn late_at(&self, frame_ms: u64) -> Option<Millis> {
        self.decoder.is_mid_frame().then(|| self.heard.plus(frame_ms))
    }
}
