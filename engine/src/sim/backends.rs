//! Backends of a world: they publish on the Unix socket, in bytes that come in pieces, and over
//! HTTP. Both go through what the server decides with ([`crate::ingest::machine`], the API's reader
//! of bodies), and a socket's publisher checks every outcome that it is told.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use fanfare_protocol::id::Epoch;
use fanfare_protocol::ingest::client::{Decoder, Reply};
use fanfare_protocol::ingest::publish::DeclaredKind;
use fanfare_protocol::ingest::{ChannelNames, ErrorCode, GoodbyeCode, PublishFrame, write};
use fanfare_protocol::message::Kind;

use super::history::Page;
use super::truth::{Truth, number_in};
use crate::clock::Millis;
use crate::driver::sim::Chance;
use crate::in_flight::InFlight;
use crate::ingest;
use crate::ingest::machine::{Admission, Group, GroupEnd, GroupResults, Key, Publishers};
use crate::limits::Limits;
use crate::node::NodeParts;
use crate::origin::Origin;
use crate::sequencer::command::{BatchAnswer, Command, Published, Refusal};

/// The user that they all are.
const USER: u32 = 1_000;
const PEER: ingest::Peer = ingest::Peer { user: USER, group: USER };

/// What became of a message, and the group of a socket's publisher that it came with.
pub(super) struct Answer {
    pub(super) number: u64,
    pub(super) group: Option<(u64, u64)>,
    pub(super) result: Result<Published, Refusal>,
}

/// What the sequencer tells whoever is no shard.
pub(super) enum OrderNotice {
    Answer(Answer),
    /// A message is about to be placed there.
    Stands {
        number: u64,
        position: u64,
    },
    /// A page of history.
    Page(Page),
    /// This is the epoch now.
    Epoch(Epoch),
}

/// Where the sequencer leaves them.
pub(super) type Answers = Arc<Mutex<Vec<OrderNotice>>>;

/// One publisher's connections, one after the other.
#[derive(Default)]
struct Line {
    key: Option<Key>,
    /// What it has written and nobody has read.
    written: VecDeque<u8>,
    ear: Decoder,
    /// What it has asked on this connection, by sequence from 1 on, and whether under a key.
    asked: Vec<(u64, bool)>,
    /// How many of those have their outcome.
    told: usize,
    /// Which epoch it was told that it is.
    epoch: Option<Epoch>,
    /// The node has taken its leave.
    goodbye: bool,
    /// Whether time has jumped since it connected, so that it may have let the node wait.
    jumped: bool,
}

/// All publishers on the Unix socket.
pub(super) struct Backends {
    publishers: Publishers,
    lines: Vec<Line>,
    chance: Chance,
    /// Whether they lie to themselves about the outcomes that they are told.
    pub(super) lie: bool,
}

impl Backends {
    /// So many, none of which is connected.
    pub(super) fn new<L>(seed: u64, lines: usize, epoch: Epoch, parts: &NodeParts<L>) -> Self {
        let NodeParts { contexts, metrics, .. } = parts;
        let context = contexts.context();
        // One message to a group: a part of a group is heard before the group is answered, and the
        // oracle knows of a message by its answer.
        let limits = Limits { batch_messages: 1, ..context.limits.clone() };
        let in_flight = InFlight::of(metrics, &limits);
        let config = ingest::IngestConfig {
            path: "unused".into(),
            mode: 0o600,
            users: vec![USER],
            peers: Vec::new(),
            limits,
            epoch,
            life: epoch,
            tenant: context.tenant.clone(),
        };
        Self {
            publishers: Publishers::new(config, in_flight, USER, 1),
            lines: (0..lines).map(|_| Line::default()).collect(),
            chance: Chance::new(!seed),
            lie: false,
        }
    }

    /// Whether there are any.
    pub(super) fn are_there(&self) -> bool {
        !self.lines.is_empty()
    }

    /// One of them writes a message.
    pub(super) fn publish(
        &mut self,
        now: Millis,
        (number, names): (u64, &[String]),
        kind: Kind,
        payload: &[u8],
        (ephemeral, except, key): (bool, Option<Origin>, Option<&str>),
    ) {
        let nth = self.chance.below(self.lines.len());
        let line = &mut self.lines[nth];
        let mut bytes = Vec::new();
        if line.key.is_none() {
            let (Admission::Taken(key), false) = self.publishers.admit(now, Some(PEER)) else {
                panic!("there is room for all");
            };
            *line = Line { key: Some(key), ..Line::default() };
            write::preface(&mut bytes);
        }
        let also: Vec<&[u8]> = names[1..].iter().map(String::as_bytes).collect();
        let except = except.map(|except| except.to_string());
        let frame = PublishFrame {
            answer: true,
            kind: DeclaredKind::Known(kind),
            ephemeral,
            except: except.as_deref().map(str::as_bytes),
            idempotency_key: key.map(str::as_bytes),
            also: ChannelNames::of(&also),
            ..PublishFrame::new(&names[0], payload)
        };
        write::publish(&frame, &mut bytes);
        line.asked.push((number, key.is_some()));
        line.written.extend(bytes);
    }

    /// Time has jumped, or what they write was not read for long: they may be called late.
    pub(super) fn jump(&mut self) {
        self.lines.iter_mut().for_each(|line| line.jumped = true);
    }

    /// A publisher is gone without a word, now and then.
    pub(super) fn break_off(&mut self) {
        if self.lines.is_empty() || !self.chance.percent(2) {
            return;
        }
        let nth = self.chance.below(self.lines.len());
        let line = std::mem::take(&mut self.lines[nth]);
        if let Some(publisher) = line.key.and_then(|key| self.publishers.get(key)) {
            publisher.handle_failure();
        }
    }

    /// A turn: each is read, in pieces that chance cuts. What is to be published.
    pub(super) fn read(&mut self, now: Millis, answers: &Answers) -> Vec<Command> {
        for line in &mut self.lines {
            let Some(key) = line.key else { continue };
            let most = self.publishers.read_at_most(now, key).min(line.written.len());
            let piece = if self.chance.percent(50) { most } else { self.chance.below(most + 1) };
            let bytes: Vec<u8> = line.written.drain(..piece).collect();
            self.publishers.handle_bytes(now, key, &bytes);
        }
        self.publishers.open_sessions(now);
        let groups = self.publishers.take_groups();
        groups.into_iter().map(|group| command(group, answers)).collect()
    }

    /// Another epoch has begun.
    pub(super) fn begin_epoch(&mut self, now: Millis, epoch: Epoch) {
        self.publishers.begin_epoch(now, epoch);
    }

    /// A group has its results.
    pub(super) fn settle(
        &mut self,
        now: Millis,
        group: (u64, u64),
        result: Result<Published, Refusal>,
    ) {
        self.publishers.end_group(now, group, GroupEnd::Results(GroupResults::Each(vec![result])));
    }

    /// Each reads what it is told, in pieces too, and those who are over are let go.
    pub(super) fn write(&mut self, now: Millis, truth: &Truth) {
        for line in &mut self.lines {
            let Some(key) = line.key else { continue };
            if let Some(publisher) = self.publishers.get(key) {
                let unsent = publisher.unsent();
                let most = if self.chance.percent(50) { 7 } else { unsent.len() };
                let bytes = unsent[..most.min(unsent.len())].to_vec();
                publisher.handle_sent(now, bytes.len());
                line.hear(&bytes, truth, self.lie);
                if publisher.is_flushed() {
                    publisher.handle_failure(); // told its last, it hangs up
                }
            }
            self.publishers.handle_deadline(now, now, key);
        }
        for key in self.publishers.end_turn(now) {
            if let Some(line) = self.lines.iter_mut().find(|line| line.key == Some(key)) {
                *line = Line::default();
            }
        }
        self.publishers.expire(now);
    }

    /// Whether everyone who is connected was told the outcome of all that it asked.
    pub(super) fn are_quiet(&self) -> bool {
        // Who is told goodbye has written what was not read, and that is not published.
        let connected = self.lines.iter().filter(|line| line.key.is_some() && !line.goodbye);
        connected.clone().all(|line| line.written.is_empty() && line.told == line.asked.len())
    }

    /// What they wait for.
    pub(super) fn unrest(&self) -> String {
        let line = |line: &Line| (line.written.len(), line.told, line.asked.len());
        format!("{:?}", self.lines.iter().map(line).collect::<Vec<_>>())
    }
}

/// The command that a group is.
fn command(Group { number: group, publications, .. }: Group, answers: &Answers) -> Command {
    let [publication] = &publications[..] else { panic!("one message to a group") };
    let number = number_in(&publication.data).expect("a message of ours");
    let answers = Arc::clone(answers);
    let answer = move |results: Vec<_>| {
        let result = results.into_iter().next().expect("a result for the message");
        let answer = Answer { number, group: Some(group), result };
        answers.lock().unwrap().push(OrderNotice::Answer(answer));
    };
    Command::PublishBatch(publications, BatchAnswer::Each(Box::new(answer)))
}

impl Line {
    /// Outcomes come in the order of what it asked, once each, and name places that are true.
    fn hear(&mut self, mut bytes: &[u8], truth: &Truth, lie: bool) {
        while let Some(reply) = self.ear.next(&mut bytes).expect("the protocol is kept to") {
            let (sequence, place) = match reply {
                Reply::Hello(hello) => {
                    self.epoch = Some(hello.epoch);
                    continue;
                }
                Reply::Ack(sequence) => {
                    assert!(sequence <= self.told as u64, "confirmed before it was told");
                    continue;
                }
                Reply::Answer(answer) => {
                    let id = answer.id(self.epoch.expect("HELLO comes first"));
                    assert_eq!(id.epoch, truth.epoch_of(id.position), "its place is of that epoch");
                    let first = answer.offset + u64::from(lie);
                    let also = answer.also.map(|place| place.offset);
                    let offsets = std::iter::once(first).chain(also).collect();
                    (answer.sequence, Some((answer.position, offsets)))
                }
                Reply::Refused { sequence, .. } => (sequence, None),
                Reply::Error { code, text, .. } => {
                    let late = code == ErrorCode::STALLED || code == ErrorCode::NOT_READING;
                    assert!(late && self.jumped, "{code:?}: {text}");
                    continue;
                }
                Reply::Goodbye { last, code } => {
                    assert_eq!(code, GoodbyeCode::EPOCH, "the node does not shut down");
                    assert_eq!(last, self.told as u64, "everything up to it has its outcome");
                    let now = truth.epoch_of(truth.position());
                    assert_ne!(self.epoch, Some(now), "another epoch has begun");
                    self.goodbye = true;
                    continue;
                }
            };
            assert_eq!(sequence, self.told as u64 + 1, "outcomes come in order, once each");
            let (number, is_keyed) = self.asked[self.told];
            // What is refused may have its place all the same, where it was published before.
            let is_true = place == truth.place_of(number) || place.is_none() && is_keyed;
            assert!(is_true, "the outcome of {number}: {place:?} {:?}", truth.place_of(number));
            self.told += 1;
        }
    }
}
