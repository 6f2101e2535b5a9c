//! Long-poll: one answer with whatever there is.

use fanfare_protocol::dialect::{Rendition, plain};
use fanfare_protocol::http::response::{self, NO_STORE};
use fanfare_protocol::http::{Ending, HttpDate};
use fanfare_protocol::id::{Epoch, Id};
use fanfare_protocol::limits::{POLL_BYTES_MAX, POLL_MESSAGES_MAX};
use fanfare_protocol::message::GapView;
use fanfare_protocol::poll;

use super::request::Ask;
use super::websocket::gaps;
use crate::sequencer::command::Subscribed;

/// A poll whose subscriptions stand and that was not answered yet.
#[derive(Debug)]
pub struct Poll {
    origin: Option<Box<str>>,
    /// Where delivery begins.
    begin: u64,
    /// Its gap notices, rendered.
    gaps: Vec<Vec<u8>>,
}

/// A whole answer, with its head.
#[derive(Debug)]
pub struct Answered {
    /// What goes to the client.
    pub bytes: Vec<u8>,
    /// How many messages are in it.
    pub messages: u64,
}

/// A message that waits for a poll: its position and its rendered item.
pub type Item<'a> = (u64, &'a [u8]);

impl Poll {
    /// What has to be remembered until the answer.
    pub fn new(ask: Ask, reply: &Subscribed) -> Self {
        let mut poll = Self { origin: ask.origin, begin: reply.begin, gaps: Vec::new() };
        for gap in gaps(reply) {
            poll.missed(&gap);
        }
        poll
    }

    /// The answer will tell this gap, after those that are known.
    pub fn missed(&mut self, gap: &GapView<'_>) {
        let mut item = Vec::new();
        plain::gap(gap, Rendition::PollItem, &mut item);
        self.gaps.push(item);
    }

    /// The answer: as many of `items`, in the order of their positions, as it may hold. Its id is
    /// that of the last; with none, `position`, up to which there was nothing for this client.
    pub fn answer<'a>(
        &self,
        items: impl Iterator<Item = Item<'a>>,
        epoch: Epoch,
        position: u64,
        date: HttpDate,
        ending: Ending,
    ) -> Answered {
        let mut taken: Vec<&[u8]> = Vec::new();
        let mut bytes = 0;
        let mut last = position.max(self.begin);
        for (position, item) in items.take(POLL_MESSAGES_MAX) {
            bytes += item.len();
            if bytes > POLL_BYTES_MAX && !taken.is_empty() {
                break; // one that is longer than all is given alone
            }
            taken.push(item);
            last = position;
        }
        let gaps: Vec<&[u8]> = self.gaps.iter().map(Vec::as_slice).collect();
        let answer = poll::Poll { id: Id { epoch, position: last }, messages: &taken, gaps: &gaps };
        let cors = self.origin.as_deref().map(response::cors);
        let mut fields = vec![NO_STORE];
        fields.extend(cors.iter().flat_map(|cors| cors.iter()));
        let mut out = Vec::new();
        answer.write_answer(&mut out, date, ending, &fields, false);
        Answered { bytes: out, messages: taken.len() as u64 }
    }
}
