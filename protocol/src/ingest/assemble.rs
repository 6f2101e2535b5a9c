//! Whole frames out of a stream that arrives in pieces.
//!
//! A frame that lies whole in the input is lent from there. Else its pieces are collected, in a
//! buffer that never has more than twice the room of what has arrived (CVE-2022-35922).

/// Bytes of the length field.
pub(super) const LENGTH_BYTES: usize = 4;
/// What a buffer keeps for the next frame; more is given back.
pub const BUFFER_BYTES_KEPT: usize = 16 << 10;

/// Collects frames of one direction of one connection.
#[derive(Debug)]
pub(super) struct Assembler {
    /// The beginning of a frame; or, when `lent`, a whole one that was given out.
    buffer: Vec<u8>,
    lent: bool,
    /// Bytes taken from the stream so far.
    pub(super) taken: u64,
    frame_bytes_max: u32,
    is_known: fn(u8) -> bool,
    /// Whether a frame of unknown type is a fault, or is passed over.
    refuse_unknown: bool,
}

/// A whole frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a> {
    /// Place in the stream of the byte after its type.
    pub(super) at: u64,
    pub(super) number: u8,
    /// What follows the type.
    pub(super) body: &'a [u8],
}

/// Why no frame can come of it, and where the field that says so begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    LengthZero(u64),
    LengthOverLimit(u64),
    UnknownType(u64),
}

impl Assembler {
    /// For a stream of which `taken` bytes were read elsewhere; an unknown type is a fault.
    pub(super) fn strict(taken: u64, frame_bytes_max: u32, is_known: fn(u8) -> bool) -> Self {
        let buffer = Vec::new();
        Self { buffer, lent: false, taken, frame_bytes_max, is_known, refuse_unknown: true }
    }

    /// As [`Assembler::strict`], but frames of unknown type are passed over.
    pub(super) fn lenient(taken: u64, frame_bytes_max: u32, is_known: fn(u8) -> bool) -> Self {
        Self { refuse_unknown: false, ..Self::strict(taken, frame_bytes_max, is_known) }
    }

    /// Whether a frame was begun and not finished.
    pub(super) fn is_mid_frame(&self) -> bool {
        !self.lent && !self.buffer.is_empty()
    }

    /// Bytes that the buffer has room for.
    pub(super) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    /// The same when so many bytes more have come of the begun frame, which has as many.
    pub(super) fn capacity_with(&self, more: usize) -> usize {
        let len = self.buffer.len() + more;
        match self.total(&self.buffer, 0) {
            Ok(Some(total)) if len > self.capacity() => room_for(len, total),
            _ => self.capacity(),
        }
    }

    /// Bytes that the begun frame still misses; 0 where none is begun, or its length has not come.
    pub(super) fn missing(&self) -> usize {
        if !self.is_mid_frame() {
            return 0;
        }
        match self.total(&self.buffer, 0) {
            Ok(Some(total)) => total - self.buffer.len(),
            Ok(None) | Err(_) => 0,
        }
    }

    /// Takes from the front of `input` up to the end of a frame; `None` when the input is used up.
    pub(super) fn next<'e, 'i: 'e>(
        &'e mut self,
        input: &mut &'i [u8],
    ) -> Result<Option<Frame<'e>>, Broken> {
        loop {
            if self.lent {
                self.lent = false;
                self.buffer.clear();
                self.buffer.shrink_to(BUFFER_BYTES_KEPT);
            }
            if self.buffer.is_empty()
                && let Some(total) = self.total(input, self.taken)?
                && let Some((whole, rest)) = input.split_at_checked(total)
            {
                *input = rest;
                let frame = Frame::of(whole, self.taken);
                self.taken += total as u64;
                if (self.is_known)(frame.number) {
                    return Ok(Some(frame));
                }
                continue;
            }
            if !self.gather(input)? {
                return Ok(None);
            }
            self.lent = true;
            let start = self.taken - self.buffer.len() as u64;
            if (self.is_known)(self.buffer[LENGTH_BYTES]) {
                return Ok(Some(Frame::of(&self.buffer, start)));
            }
        }
    }

    /// Moves bytes from `input` to the buffer until that holds a whole frame; whether it does.
    fn gather(&mut self, input: &mut &[u8]) -> Result<bool, Broken> {
        let start = self.taken - self.buffer.len() as u64;
        loop {
            let wanted = match self.total(&self.buffer, start)? {
                Some(total) if total == self.buffer.len() => return Ok(true),
                Some(total) => total,
                // The length first, then the type: each is judged as soon as it is there.
                None => (self.buffer.len() + 1).max(LENGTH_BYTES),
            };
            let missing = wanted - self.buffer.len();
            let (piece, rest) = input.split_at(missing.min(input.len()));
            if piece.is_empty() {
                return Ok(false);
            }
            self.collect(piece, wanted);
            *input = rest;
        }
    }

    /// Length of the frame that begins with `head`, its length field included, once the type is
    /// there too and both are good.
    fn total(&self, head: &[u8], start: u64) -> Result<Option<usize>, Broken> {
        let Some((length, rest)) = head.split_first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*length);
        if length == 0 {
            return Err(Broken::LengthZero(start));
        }
        if length > self.frame_bytes_max {
            return Err(Broken::LengthOverLimit(start));
        }
        match rest.first() {
            None => Ok(None),
            Some(number) if self.refuse_unknown && !(self.is_known)(*number) => {
                Err(Broken::UnknownType(start + LENGTH_BYTES as u64))
            }
            Some(_) => Ok(Some(LENGTH_BYTES + length as usize)),
        }
    }

    fn collect(&mut self, piece: &[u8], wanted: usize) {
        let len = self.buffer.len() + piece.len();
        if len > self.buffer.capacity() {
            self.buffer.reserve_exact(room_for(len, wanted) - self.buffer.len());
        }
        self.buffer.extend_from_slice(piece);
        self.taken += piece.len() as u64;
    }
}

/// The room that is made for a frame that is `wanted` bytes long when so many of it have come.
fn room_for(len: usize, wanted: usize) -> usize {
    (2 * len).min(wanted.max(64))
}

impl<'a> Frame<'a> {
    fn of(bytes: &'a [u8], start: u64) -> Self {
        let number = bytes[LENGTH_BYTES];
        Self { at: start + LENGTH_BYTES as u64 + 1, number, body: &bytes[LENGTH_BYTES + 1..] }
    }
}
