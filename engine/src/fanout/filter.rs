//! What one client is not to have of what its channels bring.
//!
//! Most clients are to have everything, and a visit to them looks at no entry: runs are cut only
//! for who has a filter, by [`Ahead`].

use fanfare_protocol::dialect::Encoding;

use super::log::Log;
use crate::channel::ChannelId;
use crate::message::Message;
use crate::origin::Origin;

/// What is withheld from a client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    /// Its own name, where a publisher has named it: messages that exclude it pass in silence.
    origin: Option<Origin>,
    /// Frames that are longer are told as a gap.
    frame_bytes_max: Option<u32>,
    /// Of channels that had ephemeral messages when it came: those up to this position were for
    /// those who followed then.
    ephemeral_after: Vec<(ChannelId, u64)>,
}

/// How far the entries of a log are a client's, from its cursor on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ahead {
    /// All of them before this seq.
    Before(u64),
    /// The first one is too long for it.
    TooLong,
}

/// What becomes of one entry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Given,
    Silent,
    TooLong,
}

impl Filter {
    /// What is still withheld when the client follows other channels.
    pub(super) fn name_alone(&self) -> Self {
        Self { origin: self.origin, ..Self::default() }
    }

    /// The same of a client that takes frames of so many bytes, where it says so.
    pub(crate) fn with_frames_up_to(self, frame_bytes_max: Option<u32>) -> Self {
        Self { frame_bytes_max: frame_bytes_max.or(self.frame_bytes_max), ..self }
    }

    /// Whether anything may be withheld.
    pub(super) fn is_any(&self) -> bool {
        *self != Self::default()
    }

    /// The client is called this, and messages may be published that exclude it.
    pub(super) fn name(&mut self, origin: Origin) {
        self.origin = Some(origin);
    }

    /// The client follows a log from `next` on: what is ephemeral there was said before it came.
    pub(super) fn begin(&mut self, log: &Log, next: u64) {
        if log.ephemeral_within(next..log.end()) > 0 {
            let last = log.position(log.end() - 1);
            self.forget(&[log.id]);
            self.ephemeral_after.push((log.id, last.unwrap_or_default()));
        }
    }

    /// The client follows these channels no more.
    pub(super) fn forget(&mut self, channels: &[ChannelId]) {
        self.ephemeral_after.retain(|(channel, _)| !channels.contains(channel));
    }

    /// Moves a cursor past what passes in silence; whatever it then stands at is given or told.
    pub(super) fn pass(&self, next: &mut u64, log: &Log, encoding: Encoding) {
        while self.fate(*next, log, encoding) == Some(Fate::Silent) {
            *next += 1;
        }
    }

    /// How far a run from `next` may go, which is not to pass in silence; beyond about `bytes`
    /// nobody looks.
    pub(super) fn ahead(&self, next: u64, log: &Log, encoding: Encoding, bytes: usize) -> Ahead {
        let (mut before, mut length) = (next, 0);
        while length <= bytes {
            match self.fate(before, log, encoding) {
                Some(Fate::Given) => length += log.frame_bytes(before, encoding),
                Some(Fate::TooLong) if before == next => return Ahead::TooLong,
                _ => break,
            }
            before += 1;
        }
        Ahead::Before(before)
    }

    /// First and last offset of the messages from `next` on and before `before` that are too long,
    /// one after the other and one at least, and the seq after them.
    pub(super) fn too_long(
        &self,
        next: u64,
        before: u64,
        log: &Log,
        encoding: Encoding,
    ) -> (u64, u64, u64) {
        let is_too_long = |seq: &u64| self.fate(*seq, log, encoding) == Some(Fate::TooLong);
        let last = (next..log.end().min(before)).take_while(is_too_long).last().unwrap_or(next);
        let offset = |seq: u64| log.offset_at(seq).expect("it is held");
        (offset(next), offset(last), last + 1)
    }

    fn fate(&self, seq: u64, log: &Log, encoding: Encoding) -> Option<Fate> {
        let entry: &Message = log.entry(seq)?;
        let is_own = self.origin.is_some() && entry.except == self.origin;
        let is_old = entry.ephemeral && {
            let mut began = self.ephemeral_after.iter();
            began.any(|(channel, after)| *channel == log.id && entry.position <= *after)
        };
        let is_long = || {
            let max = self.frame_bytes_max;
            max.is_some_and(|max| log.frame_bytes(seq, encoding) > max as usize)
        };
        Some(match entry.ephemeral {
            _ if is_own || is_old => Fate::Silent,
            _ if !is_long() => Fate::Given,
            // No gap is told of what has no offset.
            true => Fate::Silent,
            false => Fate::TooLong,
        })
    }
}
