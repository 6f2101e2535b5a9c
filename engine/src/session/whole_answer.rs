//! The answer to a request that was held for a session until there was something to tell.

use fanfare_protocol::http::response;
use fanfare_protocol::http::{Answer, Ending, HttpDate, Status};

use super::outbox::Outbox;
use crate::fanout::{Gathering, Slice};
use crate::transport::door::Once;

/// What is told with it.
#[derive(Debug)]
pub(crate) struct WholeAnswer {
    pub(super) once: Once,
    /// What stands before each frame, but for the first.
    pub(super) separator: &'static [u8],
    /// What was written for the client alone, before anything was gathered.
    pub(super) own: Vec<u8>,
    /// Messages, and what is said in place of those that are too long.
    pub(super) gathering: Box<Gathering>,
    /// What was written for the client alone since.
    pub(super) last: Vec<u8>,
}

impl WholeAnswer {
    /// That there is nothing.
    pub(super) fn of_nothing(once: Once) -> Self {
        let (own, last) = (Vec::new(), Vec::new());
        Self { once, separator: b"", own, gathering: Box::default(), last }
    }

    /// The parts of pages that it holds.
    pub(crate) fn slices(&self) -> impl Iterator<Item = &Slice> {
        self.gathering.messages.iter()
    }

    /// Writes it for a page of the origin `reader`.
    pub(super) fn write(
        mut self,
        reader: Option<&str>,
        ending: Ending,
        date: HttpDate,
        outbox: &mut Outbox,
    ) {
        let Once { content_type, before, behind, nothing, .. } = self.once;
        let gaps = std::mem::take(&mut self.gathering.gaps).into_iter();
        let mut last: Vec<u8> = gaps.flat_map(|gap| [self.separator, &gap].concat()).collect();
        last.append(&mut self.last);
        let has_messages = self.gathering.bytes > 0;
        // Messages come without what separates the first of them from nothing.
        let between = if has_messages && !self.own.is_empty() { self.separator } else { b"" };
        let of_last = if has_messages || !self.own.is_empty() { 0 } else { self.separator.len() };
        let own = self.own.get(self.separator.len()..).unwrap_or_default();
        let last = last.get(of_last..).unwrap_or_default();
        let told_bytes = own.len() + between.len() + self.gathering.bytes + last.len();
        let (before, behind) = if told_bytes > 0 { (before, behind) } else { (nothing, "") };

        let fields = response::unstored(reader);
        let status = Status::Ok;
        let head = Answer { date, status, content_type, ending, fields: &fields, head_only: false };
        head.write_head(outbox.writer(), before.len() + told_bytes + behind.len());
        for part in [before.as_bytes(), own, between] {
            outbox.writer().extend_from_slice(part);
        }
        outbox.take_messages(&mut self.gathering);
        for part in [last, behind.as_bytes()] {
            outbox.writer().extend_from_slice(part);
        }
    }
}
