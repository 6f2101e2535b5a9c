//! Long-poll: one answer with whatever there is.

use fanfare_protocol::dialect::{Encoding, UnsubscribedView};
use fanfare_protocol::http::response;
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
    gaps: Vec<Notice>,
    /// Notices of subscriptions that a backend has ended.
    unsubscribed: Vec<Vec<u8>>,
}

/// Notice of a gap.
#[derive(Debug)]
struct Notice {
    channel: Box<str>,
    rendered: Vec<u8>,
    /// A position that nothing of the gap stands before, where one is known: that of its first
    /// message, or of the first of an earlier gap in its channel.
    begins: Option<u64>,
}

/// What was found for a poll.
#[derive(Clone, Copy, Debug)]
pub struct PollContents<'a> {
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
        let (gaps, unsubscribed) = (Vec::new(), Vec::new());
        let mut poll = Self { origin, encoding, begin, present, begun: false, gaps, unsubscribed };
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

    /// The answer will tell this gap, after those that are known; or the next poll finds it again,
    /// where it is one with a gap of its channel that is left to that.
    pub fn missed(&mut self, gap: &GapView<'_>) {
        let before = self.gaps.iter().rfind(|notice| *notice.channel == *gap.channel);
        self.push(gap, before.and_then(|notice| notice.begins));
    }

    /// The answer will tell that this subscription has ended.
    pub fn unsubscribed(&mut self, notice: &UnsubscribedView<'_>) {
        let mut rendered = Vec::new();
        self.encoding.unsubscribed(notice, &mut rendered);
        self.unsubscribed.push(rendered);
    }

    /// The origin of the page that asks and may read the answer.
    pub fn reader(&self) -> Option<&str> {
        self.origin.as_deref()
    }

    fn push(&mut self, gap: &GapView<'_>, begins: Option<u64>) {
        let mut rendered = Vec::new();
        self.encoding.gap(gap, &mut rendered);
        self.gaps.push(Notice { channel: gap.channel.into(), rendered, begins });
    }

    /// The answer around what was `found`. Its id is that of the last; with none, `reached`, up to
    /// which there was nothing for this client.
    ///
    /// Whatever lies at or before the id was told, and a gap is told once: where all there is has
    /// room, the id is the present, since a gap may lie behind the last message; where more
    /// follows, a gap that begins behind the last message is left to the next poll, which finds it
    /// again.
    pub fn answer(
        &self,
        found: PollContents<'_>,
        reached: Id,
        date: HttpDate,
        ending: Ending,
    ) -> Around {
        let PollContents { messages_bytes, gaps: too_long, is_all, .. } = found;
        let nothing_until = reached.position.max(self.begin);
        let mut last = found.last.unwrap_or(nothing_until);
        if is_all && !(self.gaps.is_empty() && too_long.is_empty()) {
            last = nothing_until.max(self.present).max(last);
        }
        let told = |gap: &&Notice| is_all || gap.begins.is_none_or(|begins| begins <= last);
        let gaps = self.gaps.iter().filter(told).map(|gap| &gap.rendered);
        let gaps: Vec<&[u8]> = gaps.chain(too_long).map(Vec::as_slice).collect();
        let id = Id { position: last, ..reached };
        let unsubscribed: Vec<&[u8]> = self.unsubscribed.iter().map(Vec::as_slice).collect();
        let answer = poll::Poll { id, messages_bytes, gaps: &gaps, unsubscribed: &unsubscribed };
        let fields = response::unstored(self.origin.as_deref());
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

#[cfg(test)]
mod tests {
    use fanfare_protocol::id::Epoch;
    use fanfare_protocol::message::GapReason;

    use super::*;

    /// What was lost behind a gap that is left to the next poll is one gap with it, and is found
    /// again with it: told now it would be told twice.
    #[test]
    fn what_is_lost_behind_a_gap_that_is_left_is_left_too() {
        let reached = Id { epoch: Epoch::from_random(7), position: 50 };
        let gap = |channel, from| GapView {
            channel,
            view: None,
            bounds: Some((from, from + 4)),
            reason: GapReason::Slow,
        };
        let told = |last, is_all| {
            let mut poll = Poll {
                origin: None,
                encoding: Encoding::ALL[0],
                begin: 10,
                present: 40,
                begun: true,
                gaps: Vec::new(),
                unsubscribed: Vec::new(),
            };
            poll.push(&gap("a", 1), Some(20));
            poll.push(&gap("b", 1), None);
            poll.missed(&gap("a", 6));
            poll.missed(&gap("c", 1));
            let found = PollContents { messages_bytes: 9, gaps: &[], last: Some(last), is_all };
            let date = HttpDate::from_unix_seconds(0);
            let around = poll.answer(found, reached, date, Ending::Close);
            let said = String::from_utf8_lossy(&around.behind);
            let is_told = |(channel, from): &(&str, u64)| {
                said.split("fanfare.gap").skip(1).any(|notice| {
                    notice.contains(&format!("\"{channel}\""))
                        && notice.contains(&format!("\"from\":{from},"))
                })
            };
            [("a", 1), ("b", 1), ("a", 6), ("c", 1)].map(|it| is_told(&it))
        };
        assert_eq!(told(19, false), [false, true, false, true]);
        assert_eq!(told(20, false), [true; 4]);
        assert_eq!(told(19, true), [true; 4], "where nothing is left");
    }
}
