//! Long-poll: one answer with whatever there is.

use fanfare_protocol::dialect::Encoding;
use fanfare_protocol::http::response::{self, NO_STORE};
use fanfare_protocol::http::{ContentType, Ending, HttpDate};
use fanfare_protocol::id::Id;
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

/// What was found for a poll.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// Bytes of its messages and of what separates them.
    pub messages_bytes: usize,
    /// Gaps of messages that are too long for it, rendered.
    pub gaps: &'a [Vec<u8>],
    /// Position of the last of all these, where there are any.
    pub last: Option<u64>,
    /// Whether nothing more is owed.
    pub is_all: bool,
}

/// What stands before the messages of an answer, with its head, and behind them.
#[derive(Debug)]
pub struct Around {
    /// Goes before the messages.
    pub before: Vec<u8>,
    /// Goes behind them.
    pub behind: Vec<u8>,
}

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

    /// The answer around what was `found`. Its id is that of the last; with none, `reached`, up to
    /// which there was nothing for this client.
    ///
    /// Whatever lies at or before the id was told, and a gap is told once: where all there is has
    /// room, the id is the present, since a gap may lie behind the last message; where more
    /// follows, a gap that begins behind the last message is left to the next poll, which finds it
    /// again.
    pub fn answer(&self, found: Found<'_>, reached: Id, date: HttpDate, ending: Ending) -> Around {
        let Found { messages_bytes, gaps: too_long, is_all, .. } = found;
        let nothing_until = reached.position.max(self.begin);
        let mut last = found.last.unwrap_or(nothing_until);
        if is_all && !(self.gaps.is_empty() && too_long.is_empty()) {
            last = nothing_until.max(self.present).max(last);
        }
        let told = |begins: &Option<u64>| is_all || begins.is_none_or(|begins| begins <= last);
        let gaps = self.gaps.iter().filter(|(_, begins)| told(begins)).map(|(gap, _)| gap);
        let gaps: Vec<&[u8]> = gaps.chain(too_long).map(Vec::as_slice).collect();
        let id = Id { position: last, ..reached };
        let answer = poll::Poll { id, messages_bytes, gaps: &gaps };
        let cors = self.origin.as_deref().map(response::cors);
        let mut fields = vec![NO_STORE];
        fields.extend(cors.iter().flat_map(|cors| cors.iter()));
        let mut around = Around { before: Vec::new(), behind: Vec::new() };
        if self.begun {
            answer.begin_body(&mut around.before);
        } else {
            answer.begin_answer(&mut around.before, date, ending, &fields);
        }
        answer.end(&mut around.behind);
        around
    }
}
