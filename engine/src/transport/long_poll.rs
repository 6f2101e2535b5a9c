//! Long-poll: one answer with whatever there is.

use fanfare_protocol::dialect::Encoding;
use fanfare_protocol::http::response::{self, NO_STORE};
use fanfare_protocol::http::{ContentType, Ending, HttpDate};
use fanfare_protocol::id::Id;
use fanfare_protocol::limits::{POLL_BYTES_MAX, POLL_MESSAGES_MAX};
use fanfare_protocol::message::GapView;
use fanfare_protocol::poll;

use super::follow_request::FollowRequest;
use crate::sequencer::command::Subscribed;

/// A poll whose subscriptions stand and that was not answered yet.
#[derive(Debug)]
pub struct Poll {
    origin: Option<Box<str>>,
    encoding: Encoding,
    /// Where delivery begins.
    begin: u64,
    /// Where the order was when it began: gaps that were known then lie at or before this.
    present: u64,
    /// Whether the head of the answer went out before the answer is known.
    begun: bool,
    /// Its gap notices, rendered, and the position of the first message that each is about, where
    /// it is known.
    gaps: Vec<(Vec<u8>, Option<u64>)>,
}

/// A whole answer, with its head.
#[derive(Debug)]
pub struct Answered {
    /// What goes to the client.
    pub bytes: Vec<u8>,
    /// How many messages are in it.
    pub messages: u64,
    /// How many gaps are told in it of messages that were too long.
    pub gaps: u64,
}

/// What waits for a poll: the position of a message and its rendered item, or the gap that is told
/// in its place where it is too long.
pub type Item<'a> = (u64, Result<&'a [u8], GapView<'a>>);

impl Poll {
    /// What has to be remembered until the answer.
    pub fn new(request: FollowRequest, reply: &Subscribed) -> Self {
        let Subscribed { begin, present, .. } = *reply;
        let FollowRequest { origin, encoding, .. } = request;
        let gaps = Vec::new();
        let mut poll = Self { origin, encoding, begin, present, begun: false, gaps };
        for (gap, begins) in super::opening::gaps(reply) {
            poll.push(&gap, begins);
        }
        poll
    }

    /// Writes the head of the answer, whose body is then ended by the connection: how long it will
    /// be is not known yet.
    pub fn begin(&mut self, date: HttpDate, out: &mut Vec<u8>) {
        let cors = self.origin.as_deref().map(response::cors);
        let fields = cors.as_ref().map_or(&[][..], |fields| fields);
        response::head_of_unknown_length(out, date, ContentType::Json, Ending::Close, fields);
        self.begun = true;
    }

    /// Whether [`Poll::begin`] wrote the head.
    pub fn is_begun(&self) -> bool {
        self.begun
    }

    /// The answer will tell this gap, after those that are known.
    pub fn missed(&mut self, gap: &GapView<'_>) {
        self.push(gap, None);
    }

    fn push(&mut self, gap: &GapView<'_>, begins: Option<u64>) {
        let mut item = Vec::new();
        self.encoding.gap(gap, &mut item);
        self.gaps.push((item, begins));
    }

    /// The answer: as many of `items`, in the order of their positions, as it may hold. Its id is
    /// that of the last; with none, `reached`, up to which there was nothing for this client.
    ///
    /// Whatever lies at or before the id was told, and a gap is told once: where all there is has
    /// room, the id is the present, since a gap may lie behind the last message; where more
    /// follows, a gap that begins behind the last message is left to the next poll, which finds it
    /// again.
    pub fn answer<'a>(
        &self,
        items: impl Iterator<Item = Item<'a>>,
        reached: Id,
        date: HttpDate,
        ending: Ending,
    ) -> Answered {
        let mut taken: Vec<&[u8]> = Vec::new();
        let mut too_long: Vec<Vec<u8>> = Vec::new();
        let mut bytes = 0;
        let nothing_until = reached.position.max(self.begin);
        let mut last = nothing_until;
        let mut all = true;
        for (position, item) in items {
            let item = item.map_err(|gap| {
                let mut notice = Vec::new();
                self.encoding.gap(&gap, &mut notice);
                notice
            });
            bytes += item.as_ref().map_or_else(Vec::len, |item| item.len());
            // One that is longer than all is given alone.
            let count = taken.len() + too_long.len();
            let full = count == POLL_MESSAGES_MAX || bytes > POLL_BYTES_MAX;
            if full && count > 0 {
                all = false;
                break;
            }
            match item {
                Ok(message) => taken.push(message),
                Err(notice) => too_long.push(notice),
            }
            last = position;
        }
        if all && !(self.gaps.is_empty() && too_long.is_empty()) {
            last = nothing_until.max(self.present).max(last);
        }
        let told = |begins: &Option<u64>| all || begins.is_none_or(|begins| begins <= last);
        let gaps = self.gaps.iter().filter(|(_, begins)| told(begins));
        let gaps = gaps.map(|(gap, _)| gap.as_slice());
        let gaps: Vec<&[u8]> = gaps.chain(too_long.iter().map(Vec::as_slice)).collect();
        let answer =
            poll::Poll { id: Id { position: last, ..reached }, messages: &taken, gaps: &gaps };
        let cors = self.origin.as_deref().map(response::cors);
        let mut fields = vec![NO_STORE];
        fields.extend(cors.iter().flat_map(|cors| cors.iter()));
        let mut out = Vec::new();
        if self.begun {
            answer.write_body(&mut out);
        } else {
            answer.write_answer(&mut out, date, ending, &fields, false);
        }
        Answered { bytes: out, messages: taken.len() as u64, gaps: too_long.len() as u64 }
    }
}
