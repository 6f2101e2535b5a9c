//! What one publisher is still owed, in the order in which it published.
//!
//! Messages go to the sequencer in groups, one command each, and come back in any order; some never
//! go, because they are refused here. The ledger lets outcomes out only from its front, so that a
//! refusal always stands before an acknowledgement that passes it.
//!
//! The ledger of a session keeps what it has let out until its publisher confirms that it was seen,
//! to tell it again where a connection was lost. Of a message that was simply accepted the
//! acknowledgement tells everything, so nothing is kept.

use std::borrow::Cow;
use std::collections::VecDeque;

use fanfare_protocol::id::Epoch;
use fanfare_protocol::ingest::client::Answer;
use fanfare_protocol::ingest::{ChannelReceipts, Refusal as WireRefusal, RefusalCode, write};
use fanfare_protocol::refusals;

use crate::sequencer::command::{Published, Refusal};

use super::slots::{Note, Slots};

/// The results of one group's command.
#[derive(Debug)]
pub enum GroupResults {
    /// Of each message, in order.
    Each(Vec<Result<Published, Refusal>>),
    /// All have their places, which nobody asked for, but for these: each by its number among the
    /// messages of the command, from 0, in order.
    Refused(Vec<(usize, Refusal)>),
}

impl GroupResults {
    /// One for each message, in order: its place, where that was asked for.
    fn into_each(self) -> impl Iterator<Item = Result<Option<Published>, Refusal>> {
        let (each, refused) = match self {
            Self::Each(each) => (Some(each.into_iter()), Vec::new()),
            Self::Refused(refused) => (None, refused),
        };
        let (mut each, mut refused) = (each, refused.into_iter().peekable());
        (0..).map_while(move |nth| match &mut each {
            Some(each) => each.next().map(|result| result.map(Some)),
            None => Some(match refused.next_if(|(refused, _)| *refused == nth) {
                Some((_, refusal)) => Err(refusal),
                None => Ok(None),
            }),
        })
    }
}

/// What became of a group that was given to the sequencer.
#[derive(Debug)]
pub enum GroupEnd {
    /// How its messages ended.
    Results(GroupResults),
    /// The sequencer has ended and did not take it.
    NotTaken,
    /// The sequencer took the command and ended without an answer: nobody knows the outcome.
    Lost,
}

#[derive(Debug)]
struct Group {
    slots: Slots,
    /// How those ended that were not refused here; `None` until the sequencer answered.
    results: Option<GroupResults>,
    /// What its messages take until they leave the ledger.
    bytes: usize,
}

/// An outcome that an acknowledgement does not tell.
#[derive(Debug)]
enum Said {
    Answer(Published),
    Refused(WireRefusal),
}

impl Said {
    /// What it takes while it is kept.
    fn bytes(&self) -> usize {
        OUTCOME_BYTES
            + match self {
                Self::Answer(published) => size_of_val(published.also()),
                Self::Refused(refusal) => match &refusal.text {
                    Cow::Borrowed(_) => 0,
                    Cow::Owned(text) => text.len(),
                },
            }
    }
}

/// What a kept outcome takes, but for a text of its own.
pub(super) const OUTCOME_BYTES: usize = size_of::<(u64, Said)>();

/// The groups of one publisher that are not settled.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    groups: VecDeque<Group>,
    /// Number of the front group.
    front: u64,
    /// Messages in all groups, and what they take.
    messages: usize,
    under_way: usize,
    /// Last message whose outcome was written.
    settled: u64,
    /// Whether outcomes are kept until they are confirmed.
    keeps: bool,
    /// Last message whose outcome the publisher has seen.
    confirmed: u64,
    /// Outcomes after it that an acknowledgement does not tell, by number.
    said: VecDeque<(u64, Said)>,
    /// What these take.
    said_bytes: usize,
    /// Whether there are messages of which nobody will ever know the outcome.
    lost: bool,
}

impl Ledger {
    /// The ledger of a session.
    pub(super) fn that_keeps() -> Self {
        Self { keeps: true, ..Self::default() }
    }

    /// Messages without an outcome.
    pub(super) fn messages(&self) -> usize {
        self.messages
    }

    /// What messages without an outcome take.
    pub(super) fn under_way_bytes(&self) -> usize {
        self.under_way
    }

    /// What they and the outcomes take that are not confirmed.
    pub(super) fn bytes(&self) -> usize {
        self.under_way + self.said_bytes
    }

    /// Whether the sequencer still owes the results of this group.
    pub(super) fn awaits(&self, group: u64) -> bool {
        let nth = group.checked_sub(self.front).and_then(|nth| usize::try_from(nth).ok());
        nth.and_then(|nth| self.groups.get(nth)).is_some_and(|group| group.results.is_none())
    }

    /// Number of the last message whose outcome was written; 0 before the first.
    pub(super) fn settled(&self) -> u64 {
        self.settled
    }

    /// Number of the last message that was entered.
    pub(super) fn taken(&self) -> u64 {
        self.settled + self.messages as u64
    }

    /// Whether there are messages of which nobody will ever know the outcome.
    pub(super) fn is_lost(&self) -> bool {
        self.lost
    }

    /// Notes that nobody will ever know.
    pub(super) fn lose(&mut self) {
        self.lost = true;
    }

    /// The publisher says that it has seen the outcomes up to `sequence`; `false` where it cannot
    /// have.
    pub(super) fn confirm(&mut self, sequence: u64) -> bool {
        if sequence > self.settled {
            return false;
        }
        self.confirmed = self.confirmed.max(sequence);
        while let Some((number, said)) = self.said.front()
            && *number <= self.confirmed
        {
            self.said_bytes -= said.bytes();
            self.said.pop_front();
        }
        true
    }

    /// The last message whose outcome the publisher has seen, as far as it ever said.
    pub(super) fn confirmed(&self) -> u64 {
        self.confirmed
    }

    /// Writes every outcome again that is not confirmed, for a publisher that now says to have seen
    /// those up to `seen`. One that has forgotten what it confirmed is told at least that it is
    /// settled. `epoch` is what it was told in HELLO.
    pub(super) fn write_again(&self, seen: u64, epoch: Epoch, out: &mut Vec<u8>) {
        for (sequence, said) in &self.said {
            write_said(*sequence, said, epoch, out);
        }
        if self.settled > seen {
            write::ack(self.settled, out);
        }
    }

    /// Lets outcomes out while there is no connection: they are kept.
    pub(super) fn write_to_nobody(&mut self) {
        self.write(Epoch::from_random(0), &mut Vec::new());
    }

    /// Gives room back that is not used.
    pub(super) fn shrink(&mut self) {
        self.said.shrink_to_fit();
        self.groups.shrink_to_fit();
    }

    /// Enters the next messages, in order, as a group that takes so many bytes; returns its number.
    /// A group whose messages were all refused here waits only for the groups before it.
    pub(super) fn enter(&mut self, slots: Slots, bytes: usize) -> u64 {
        let results = (slots.asked() == 0).then(|| GroupResults::Refused(Vec::new()));
        self.messages += slots.len();
        self.under_way += bytes;
        self.groups.push_back(Group { slots, results, bytes });
        self.front + self.groups.len() as u64 - 1
    }

    /// The sequencer's results for a group; the first ones count.
    pub(super) fn settle(&mut self, group: u64, results: GroupResults) {
        if let Some(group) = self.group(group) {
            group.results.get_or_insert(results);
        }
    }

    /// Refuses the messages of a group that went to the sequencer, because it did not take them.
    pub(super) fn refuse(&mut self, group: u64, refusal: Refusal) {
        if let Some(group) = self.group(group) {
            let all = 0..group.slots.asked();
            let all = || GroupResults::Refused(all.map(|nth| (nth, refusal)).collect());
            group.results.get_or_insert_with(all);
        }
    }

    fn group(&mut self, group: u64) -> Option<&mut Group> {
        let nth = usize::try_from(group.checked_sub(self.front)?).ok()?;
        self.groups.get_mut(nth)
    }

    /// Writes the outcomes that are known from the front on, and one acknowledgement that covers
    /// them, for a publisher that was told `epoch` in HELLO; how many were refused.
    pub(super) fn write(&mut self, epoch: Epoch, out: &mut Vec<u8>) -> u64 {
        let before = self.settled;
        let mut refused = 0;
        while self.groups.front().is_some_and(|group| group.results.is_some()) {
            let group = self.groups.pop_front().expect("looked at above");
            self.front += 1;
            self.messages -= group.slots.len();
            self.under_way -= group.bytes;
            let mut results = group.results.expect("looked at above").into_each();
            for note in group.slots {
                self.settled += 1;
                let said = match note {
                    Some(Note::Refused(refusal)) => Said::Refused(refusal),
                    wants_answer => match results.next().expect("one for each that was asked") {
                        Ok(_) if wants_answer.is_none() => continue,
                        Ok(place) => Said::Answer(place.expect("it was asked for")),
                        Err(refusal) => Said::Refused(wire(refusal)),
                    },
                };
                refused += u64::from(matches!(said, Said::Refused(_)));
                write_said(self.settled, &said, epoch, out);
                if self.keeps {
                    self.said_bytes += said.bytes();
                    self.said.push_back((self.settled, said));
                }
            }
        }
        if self.settled > before {
            write::ack(self.settled, out);
        }
        refused
    }
}

fn write_said(sequence: u64, said: &Said, epoch: Epoch, out: &mut Vec<u8>) {
    match said {
        Said::Refused(refusal) => write::refused(sequence, refusal.code, &refusal.text, out),
        Said::Answer(published) => {
            let Published { id, offset, subscribers, duplicate, .. } = *published;
            let (position, also) = (id.position, ChannelReceipts::of(published.also()));
            let epoch = (id.epoch != epoch).then_some(id.epoch);
            let answer = Answer { sequence, duplicate, position, offset, subscribers, also, epoch };
            write::answer(&answer, out);
        }
    }
}

/// The sequencer's refusal as a publisher is told it.
fn wire(refusal: Refusal) -> WireRefusal {
    let (code, text) = match refusal {
        Refusal::ChannelLimit => (RefusalCode::CHANNEL_LIMIT, refusals::CHANNEL_LIMIT),
        Refusal::Conflict => (RefusalCode::CONFLICT, refusals::CONFLICT),
        Refusal::Busy => (RefusalCode::RATE_LIMITED, refusals::BUSY),
        Refusal::RateLimited => (RefusalCode::RATE_LIMITED, refusals::RATE_LIMITED),
        Refusal::LogFailed => (RefusalCode::LOG_FAILED, refusals::LOG_FAILED),
        Refusal::ShuttingDown => (RefusalCode::SHUTTING_DOWN, refusals::SHUTTING_DOWN),
        Refusal::FollowedLimit => unreachable!("a publisher follows nothing"),
    };
    WireRefusal { code, text: text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fanfare_protocol::id::{Epoch, Id};
    use fanfare_protocol::ingest::client::{Decoder, Hello, Reply};
    use fanfare_protocol::limits::IngestLimits;

    /// What HELLO told.
    fn epoch() -> Epoch {
        Epoch::from_random(1)
    }

    fn place(position: u64) -> Result<Published, Refusal> {
        let id = Id { epoch: epoch(), position };
        Ok(Published { id, offset: position * 10, subscribers: 2, duplicate: false, also: None })
    }

    /// What a publisher reads, in words.
    fn read(out: &[u8]) -> Vec<String> {
        let mut decoder = Decoder::new();
        let epoch = epoch();
        let mut stream = Vec::new();
        let limits = IngestLimits::DEFAULT;
        write::hello(&Hello { version: 1, epoch, limits, session: None }, &mut stream);
        stream.extend_from_slice(out);
        let (mut input, mut words) = (stream.as_slice(), Vec::new());
        while let Some(reply) = decoder.next(&mut input).unwrap() {
            words.push(match reply {
                Reply::Answer(a) => format!("answer {} {}/{}", a.sequence, a.position, a.offset),
                Reply::Refused { sequence, code, .. } => format!("refused {sequence} {}", code.0),
                Reply::Ack(sequence) => format!("ack {sequence}"),
                _ => continue,
            });
        }
        words
    }

    /// A message that goes to the sequencer, one that wants an answer too, one that is refused.
    enum Message {
        Asked,
        Answered,
        NotJson,
    }
    use Message::{Answered, Asked, NotJson};

    fn slots<const N: usize>(messages: [Message; N]) -> Slots {
        let mut slots = Slots::default();
        for message in messages {
            match message {
                Asked => slots.push_asked(false),
                Answered => slots.push_asked(true),
                NotJson => slots.push_refused(WireRefusal::not_json("is not valid JSON")),
            }
        }
        slots
    }

    #[test]
    fn outcomes_leave_in_the_order_of_their_messages() {
        let mut ledger = Ledger::default();
        let first = ledger.enter(slots([Asked, NotJson, Answered]), 100);
        let second = ledger.enter(slots([NotJson]), 100);
        let third = ledger.enter(slots([Answered, Asked]), 100);
        assert_eq!((ledger.messages(), ledger.settled()), (6, 0));
        assert_eq!((ledger.under_way_bytes(), ledger.bytes()), (300, 300));
        let mut out = Vec::new();
        ledger.settle(third, GroupResults::Each(vec![place(9), Err(Refusal::ChannelLimit)]));
        assert_eq!(ledger.write(epoch(), &mut out), 0);
        assert_eq!(out, b"", "nothing passes the first group");
        assert_eq!(second, 1);
        ledger.settle(first, GroupResults::Each(vec![place(7), place(8)]));
        assert_eq!(ledger.write(epoch(), &mut out), 3);
        let expected = [
            "refused 2 463",
            "answer 3 8/80",
            "refused 4 463",
            "answer 5 9/90",
            "refused 6 507",
            "ack 6",
        ];
        assert_eq!(read(&out), expected);
        assert_eq!((ledger.messages(), ledger.settled()), (0, 6));
        assert_eq!(ledger.bytes(), 0);
    }

    #[test]
    fn a_session_tells_again_what_is_not_confirmed_and_no_more() {
        let mut ledger = Ledger::that_keeps();
        let mut out = Vec::new();
        let first = ledger.enter(slots([Asked, NotJson, Answered, Asked]), 100);
        assert!(!ledger.confirm(1), "nothing was told");
        ledger.settle(first, GroupResults::Each(vec![place(1), place(2), place(3)]));
        ledger.write(epoch(), &mut out);
        let expected = ["refused 2 463", "answer 3 2/20", "ack 4"];
        assert_eq!(read(&out), expected);
        let text = WireRefusal::not_json("is not valid JSON").text.len();
        assert_eq!(ledger.bytes(), 2 * OUTCOME_BYTES + text, "what is kept is counted");
        let again = |ledger: &Ledger| {
            let mut out = Vec::new();
            ledger.write_again(ledger.confirmed(), epoch(), &mut out);
            read(&out)
        };
        assert_eq!(again(&ledger), expected);
        assert!(ledger.confirm(2) && ledger.confirm(1) && !ledger.confirm(5));
        assert_eq!(again(&ledger), expected[1..]);
        // What comes home while there is no connection is kept too.
        let second = ledger.enter(slots([Answered]), 100);
        assert_eq!((ledger.taken(), ledger.settled()), (5, 4));
        ledger.settle(second, GroupResults::Each(vec![Err(Refusal::ChannelLimit)]));
        ledger.write_to_nobody();
        assert_eq!(again(&ledger), ["answer 3 2/20", "refused 5 507", "ack 5"]);
        assert!(ledger.confirm(5));
        assert_eq!((again(&ledger).len(), ledger.said.len()), (0, 0));
        assert_eq!(ledger.bytes(), 0, "what is confirmed takes nothing");
        // One that says less than it said before waits for something.
        out.clear();
        ledger.write_again(0, epoch(), &mut out);
        assert_eq!(read(&out), ["ack 5"]);
    }

    #[test]
    fn an_outcome_that_is_kept_is_as_small_as_the_page_says() {
        assert!(size_of::<(u64, Said)>() <= 64, "{}", size_of::<(u64, Said)>());
    }

    /// One that was told before the epoch changed, and one that has its place after it.
    #[test]
    fn a_place_of_another_epoch_than_hellos_says_so() {
        let mut ledger = Ledger::that_keeps();
        let (old, new) = (
            place(1),
            Published { id: Id { epoch: Epoch::from_random(2), position: 9 }, ..place(2).unwrap() },
        );
        for result in [old, Ok(new)] {
            let group = ledger.enter(slots([Answered]), 100);
            ledger.settle(group, GroupResults::Each(vec![result]));
        }
        let epochs = |out: &[u8]| -> Vec<Option<u64>> {
            let mut decoder = Decoder::new();
            let mut stream = Vec::new();
            let limits = IngestLimits::DEFAULT;
            write::hello(&Hello { version: 1, epoch: epoch(), limits, session: None }, &mut stream);
            stream.extend_from_slice(out);
            let (mut input, mut epochs) = (stream.as_slice(), Vec::new());
            while let Some(reply) = decoder.next(&mut input).unwrap() {
                if let Reply::Answer(answer) = reply {
                    epochs.push(answer.epoch.map(Epoch::number));
                }
            }
            epochs
        };
        let mut out = Vec::new();
        ledger.write(epoch(), &mut out);
        assert_eq!(epochs(&out), [None, Some(2)]);
        out.clear();
        ledger.write_again(0, Epoch::from_random(2), &mut out);
        assert_eq!(epochs(&out), [Some(1), None], "told again behind a HELLO of the new one");
    }

    #[test]
    fn a_local_refusal_alone_is_told_at_once_and_results_count_once() {
        let mut ledger = Ledger::default();
        ledger.enter(slots([NotJson]), 100);
        let mut out = Vec::new();
        assert_eq!(ledger.write(epoch(), &mut out), 1);
        assert_eq!(read(&out), ["refused 1 463", "ack 1"]);
        let group = ledger.enter(slots([Asked]), 100);
        ledger.refuse(group, Refusal::ShuttingDown);
        ledger.settle(group, GroupResults::Each(vec![place(1)]));
        ledger.settle(group + 5, GroupResults::Each(vec![place(1)]));
        out.clear();
        ledger.write(epoch(), &mut out);
        ledger.settle(group, GroupResults::Each(vec![place(1)]));
        ledger.write(epoch(), &mut out);
        assert_eq!(read(&out), ["refused 2 503", "ack 2"]);
    }
}
