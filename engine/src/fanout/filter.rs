//! What one client is not to have of what its channels bring.
//!
//! Most clients are to have everything, and a visit to them looks at no entry: runs are cut only
//! for who has a filter, by [`Ahead`].

use std::collections::BTreeMap;

use fanfare_protocol::limits::ENVELOPE_BYTES_MAX;

use super::entry::LogEntry;
use super::lane::{Renderer, Want};
use super::lanes::Rendition;
use super::log::ChannelLog;
use crate::channel::ChannelId;
use crate::origin::Origin;

/// No frame is longer than so many payloads and [`ENVELOPE_BYTES_MAX`]: where each byte is a line
/// break in an event stream.
const LONGEST_TIMES: usize = 7;

/// What is withheld from a client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    /// Its own name, where a publisher has named it: messages that exclude it pass in silence.
    origin: Option<Origin>,
    /// Frames that are longer are told as a gap.
    frame_bytes_max: Option<u32>,
    /// Of channels that had ephemeral messages when it came: those up to this position were for
    /// those who followed then.
    ephemeral_after: BTreeMap<ChannelId, u64>,
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

    /// Frames that are longer are not for this client.
    pub(super) fn frame_bytes_max(&self) -> Option<u32> {
        self.frame_bytes_max
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
    pub(super) fn begin(&mut self, log: &ChannelLog, next: u64) {
        if log.entries().ephemeral_within(next..log.entries().end()) > 0 {
            let last = log.entries().position(log.entries().end() - 1);
            self.ephemeral_after.insert(log.id, last.unwrap_or_default());
        }
    }

    /// The client follows these channels no more.
    pub(super) fn forget(&mut self, channels: &[ChannelId]) {
        for channel in channels {
            self.ephemeral_after.remove(channel);
        }
    }

    /// How far a run from `next` may go, which is not to pass in silence; beyond about `bytes`
    /// nobody looks.
    pub(super) fn ahead(&self, next: u64, bytes: usize, reads: &mut Reads<'_>) -> Ahead {
        let (mut before, mut length) = (next, 0);
        while length <= bytes {
            match self.fate(before, reads) {
                Some(Fate::Given) => {
                    length += reads.log.entries().get(before).map_or(0, LogEntry::cost)
                }
                Some(Fate::TooLong) if before == next => return Ahead::TooLong,
                _ => break,
            }
            before += 1;
        }
        Ahead::Before(before)
    }

    /// First and last offset of the messages from `next` on and before `before` that are too long,
    /// one after the other and one at least, and the seq after them. Where it takes much rendering
    /// to see that they are, those that come then are another gap.
    pub(super) fn too_long(
        &self,
        next: u64,
        before: u64,
        reads: &mut Reads<'_>,
    ) -> (u64, u64, u64) {
        let mut after = next + 1;
        while after < before
            && !reads.renderer.is_spent()
            && self.fate(after, reads) == Some(Fate::TooLong)
        {
            after += 1;
        }
        let entries = reads.log.entries();
        (entries.offset_at(next), entries.offset_at(after - 1), after)
    }

    fn fate(&self, seq: u64, reads: &mut Reads<'_>) -> Option<Fate> {
        let entry = reads.log.entries().get(seq)?;
        if self.excludes(entry, reads) {
            return Some(Fate::Silent);
        }
        let ephemeral = entry.is_ephemeral();
        Some(match self.is_too_long(seq, reads) {
            false => Fate::Given,
            // No gap is told of what has no offset.
            true if ephemeral => Fate::Silent,
            true => Fate::TooLong,
        })
    }

    /// Whether an entry passes in silence. What history keeps never does for its length, so a
    /// cursor that stands at such a one is found out about without rendering it.
    fn is_silent(&self, seq: u64, reads: &mut Reads<'_>) -> bool {
        let Some(entry) = reads.log.entries().get(seq) else { return false };
        let ephemeral = entry.is_ephemeral();
        self.excludes(entry, reads) || ephemeral && self.is_too_long(seq, reads)
    }

    fn is_too_long(&self, seq: u64, reads: &mut Reads<'_>) -> bool {
        self.frame_bytes_max.is_some_and(|max| reads.is_longer(seq, max as usize))
    }

    /// Whether an entry is not for this client, whatever its length.
    fn excludes(&self, entry: &LogEntry, reads: &Reads<'_>) -> bool {
        let is_own = self.origin.is_some() && entry.except() == self.origin;
        let began = || self.ephemeral_after.get(&reads.log.id);
        let is_old =
            || entry.is_ephemeral() && began().is_some_and(|after| entry.position() <= *after);
        is_own || entry.is_presence() && !reads.rendition.encoding.tells_presence() || is_old()
    }
}

/// A log, as one client reads it.
pub(super) struct Reads<'a> {
    /// Which log.
    pub(super) log: &'a mut ChannelLog,
    /// In which rendition.
    pub(super) rendition: Rendition,
    /// What renders it.
    pub(super) renderer: &'a mut Renderer,
}

impl Reads<'_> {
    /// Moves a cursor past what passes in silence; whatever it then stands at is given or told.
    /// Clients without a filter are given all but what their dialect does not tell.
    pub(super) fn pass(&mut self, next: &mut u64, filter: Option<&Filter>) {
        let Some(filter) = filter else {
            if self.log.entries().has_presence() && !self.rendition.encoding.tells_presence() {
                while self.log.entries().get(*next).is_some_and(LogEntry::is_presence) {
                    *next += 1;
                }
            }
            return;
        };
        while filter.is_silent(*next, self) {
            *next += 1;
        }
    }

    /// Whether the frame of entry `seq`, which the log holds, is longer than this. It is rendered
    /// where the payload does not say so: no encoding makes one shorter. Where keeping it would
    /// leave no room for what is given next, it is rendered for its length alone.
    fn is_longer(&mut self, seq: u64, max: usize) -> bool {
        let Some(entry) = self.log.entries().get(seq) else { return false };
        let bytes = entry.bytes();
        if bytes > max || bytes * LONGEST_TIMES + ENVELOPE_BYTES_MAX <= max {
            return bytes > max;
        }
        let Rendition { encoding, view } = self.rendition;
        let max = max + encoding.framing().separator().len();
        if !self.renderer.has_room_to_spare() {
            return self.renderer.measure(entry, self.log.lanes.view(view), encoding) > max;
        }
        let want = Want { seq, before: seq + 1, bytes: 0, ahead: false };
        let run = self.log.run(want, self.rendition, self.renderer);
        run.is_ok_and(|run| run.is_some_and(|run| run.len() > max))
    }
}
