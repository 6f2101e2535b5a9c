//! A client with a memory: it connects, listens, lags, leaves, and comes back with the id it has.

use super::canary::{Canary, spoil};
use super::trace::Trace;
use super::truth::{ClientAt, channel_name, channel_of};
use super::view::{Listener, Start, View};
use super::wire::{Ear, Said, Way, beginning, masked, request};
use super::world::World;
use crate::driver::sim::{Chance, Client, Standing};
use crate::rule::Slow;

/// How it reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mood {
    /// All that is there.
    Eager,
    /// So many bytes a step.
    Slow(usize),
    /// Nothing.
    Stopped,
}

impl Mood {
    /// What may wait for it on its way.
    pub(super) fn window(self) -> usize {
        match self {
            Self::Eager => usize::MAX,
            Self::Slow(bytes) => bytes * 3,
            Self::Stopped => 300,
        }
    }
}

/// What a world allows, beside the guarantees.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    /// Whether the network keeps back what a client would take, so that eager ones may be late.
    pub(super) lies: bool,
    pub(super) may_forget: bool,
    pub(super) keeps_all: bool,
    /// Whether there is so little room for what is rendered that clients in the middle of a message
    /// are ended, and live windows are given up.
    pub(super) is_tight: bool,
}

/// A connection of a persona.
struct Line {
    client: Client,
    ear: Ear,
    view: View,
    /// It was told that it follows its channels.
    open: bool,
    /// It has not read all that it could at some time, or the test has ended its side.
    tainted: bool,
    left: bool,
    mood: Mood,
    refused: bool,
}

pub(super) struct Persona {
    pub(super) shard: usize,
    pub(super) way: Way,
    /// The longest message that it takes.
    pub(super) max: Option<usize>,
    channels: Vec<usize>,
    since: Option<u64>,
    line: Option<Line>,
    allowance: Allowance,
    /// Time has jumped since it connected: pings may be late.
    pub(super) jumped: bool,
    pub(super) canary: Option<Canary>,
    /// Whether it says what its connection is whenever the node is at rest.
    pub(super) verbose: bool,
    /// What it has read, and when.
    pub(super) trace: Trace,
    pub(super) heard: u64,
    pub(super) gaps: u64,
}

impl Persona {
    pub(super) fn new(shard: usize, way: Way, channels: Vec<usize>, allowance: Allowance) -> Self {
        Self {
            shard,
            way,
            max: None,
            channels,
            since: None,
            line: None,
            allowance,
            jumped: false,
            canary: None,
            verbose: false,
            trace: Trace::new(),
            heard: 0,
            gaps: 0,
        }
    }

    /// Its connection, where it has one that the node knows.
    pub(super) fn client(&self, world: &World) -> Option<ClientAt> {
        let client = self.line.as_ref()?.client;
        world.nets[self.shard].token(client).map(|_| (self.shard, client))
    }

    pub(super) fn is_connected(&self) -> bool {
        self.line.is_some()
    }

    /// Asks to follow its channels from where it is, or from somewhere odd.
    pub(super) fn connect(&mut self, world: &World, chance: &mut Chance) {
        let client = world.nets[self.shard].connect();
        self.jumped = false;
        if chance.percent(10) {
            self.since = None; // it comes as if for the first time
        }
        self.ask(world, chance, client);
    }

    fn ask(&mut self, world: &World, chance: &mut Chance, client: Client) {
        let (mut start, mut text) = match self.since {
            Some(position) => (Start::After(position), Some(world.id(position))),
            None => (Start::Now, None),
        };
        if chance.percent(5) {
            let other =
                format!("{}-7", if world.id(0).starts_with('0') { "zzzzzzzz" } else { "00000000" });
            (start, text) = (Start::Odd("epoch"), Some(other));
        } else if chance.percent(3) {
            (start, text) = (Start::Odd("unknown"), Some(world.id(u64::MAX - 1)));
        } else if chance.percent(3) && matches!(self.way, Way::Events { .. }) {
            (start, text) = (Start::Odd("unknown"), Some("garbage".into()));
        }
        let names: Vec<String> = self.channels.iter().map(|nth| channel_name(*nth)).collect();
        let wait = if self.since.is_none() { 0 } else { [1, 25][chance.below(2)] };
        let mut head = request(self.way, &names, text.as_deref(), wait, self.max);
        if start == Start::Now && chance.percent(40) {
            let count = 1 + chance.below(4) as u64;
            let is_last = chance.percent(50);
            start = if is_last { Start::Last(count) } else { Start::Earliest };
            let last = format!("last={count}");
            head = beginning(&head, if is_last { &last } else { "since=earliest" });
            if self.canary == Some(Canary::OneTooOld) && is_last {
                start = Start::Last(count - 1);
            }
        }
        world.nets[self.shard].write(client, head.as_bytes());
        let Allowance { may_forget, keeps_all, is_tight, .. } = self.allowance;
        let promise = (may_forget, keeps_all, is_tight);
        let is_poll = self.way == Way::Poll;
        let listener = Listener { client: (self.shard, client), is_poll, max: self.max };
        let view = View::new(&self.channels, listener, start, &world.truth, promise);
        match &mut self.line {
            Some(line) => line.view = view,
            None => {
                self.line = Some(Line {
                    client,
                    ear: Ear::new(self.way),
                    view,
                    open: false,
                    tainted: false,
                    left: false,
                    mood: Mood::Eager,
                    refused: false,
                });
            }
        }
    }

    pub(super) fn feel(&mut self, world: &World, mood: Mood) {
        let Some(line) = &mut self.line else { return };
        line.mood = mood;
        line.tainted |= mood != Mood::Eager;
        world.nets[self.shard].set_window(line.client, mood.window());
    }

    pub(super) fn reset(&mut self, world: &World) {
        if let Some(line) = self.line.take() {
            world.nets[self.shard].reset(line.client);
        }
    }

    pub(super) fn half_close(&mut self, world: &World) {
        let Some(line) = &mut self.line else { return };
        if !line.left {
            (line.left, line.tainted) = (true, true);
            world.nets[self.shard].half_close(line.client);
        }
    }

    /// A frame of a WebSocket client.
    pub(super) fn say(&mut self, world: &World, opcode: u8, payload: &[u8]) {
        let Some(line) = &mut self.line else { return };
        if line.open && !line.left && matches!(self.way, Way::Socket { .. }) {
            world.nets[self.shard].write(line.client, &masked(opcode, payload));
            line.left |= opcode == 8;
            line.tainted |= opcode == 8;
        }
    }

    /// Reads what it is willing to and checks every word of it.
    pub(super) fn listen(&mut self, world: &World, chance: &mut Chance) {
        let Some(line) = &mut self.line else { return };
        let net = &world.nets[self.shard];
        let standing = net.standing(line.client);
        let bytes = match line.mood {
            _ if standing == Standing::Ended => net.take(line.client),
            Mood::Eager => net.take(line.client),
            Mood::Slow(bytes) => net.take_some(line.client, bytes),
            Mood::Stopped => Vec::new(),
        };
        if !bytes.is_empty() {
            self.trace.note(world.now, &bytes);
        }
        let mut said = line.ear.hear(&bytes);
        if let Some(canary) = self.canary {
            spoil(canary, &mut said);
            line.view.spoil_beginning(canary, &mut said);
        }
        for mut one in said {
            if let (Some(Canary::OtherChannel), Said::Message(message)) = (self.canary, &mut one) {
                world.truth.misattribute(message, &self.channels);
            }
            self.heard_one(one, world, chance);
        }
        let over = matches!(standing, Standing::Ended | Standing::Reset);
        if over && let Some(line) = self.line.take() {
            self.ended(world, &line, standing);
        }
    }

    fn heard_one(&mut self, said: Said, world: &World, chance: &mut Chance) {
        let Some(line) = &mut self.line else { return };
        let truth = &world.truth;
        match said {
            Said::Head(101 | 200) => {
                // An event stream may only say when to come back; a real one begins with an id.
                line.open = !matches!(self.way, Way::Events { .. });
                line.view.subscribed(truth);
                if matches!(self.way, Way::Events { .. } | Way::Socket { json: true }) {
                    line.view.subscribed_at = None; // the open block is more exact
                }
            }
            Said::Head(status) => {
                assert!([408, 503].contains(&status), "refused with {status}");
                line.refused = true;
            }
            Said::Gap(gap) => {
                self.gaps += 1;
                if gap.reason == "slow" {
                    assert!(line.tainted || self.allowance.lies, "an eager client was slow");
                    let slow = truth.slow(channel_of(&gap.channel));
                    assert_ne!(slow, Slow::Disconnect, "goes on after {gap:?}");
                }
                line.view.gap(gap, truth);
            }
            Said::Open(id) => {
                let begin = truth.position_in(&id);
                line.view.open(begin, truth);
                line.open = true;
                self.since = Some(begin);
            }
            Said::Message(message) => {
                self.heard += 1;
                self.since = line.view.message(&message, truth).or(self.since);
            }
            Said::Answer { id, messages, gaps } => {
                self.gaps += gaps.len() as u64;
                gaps.into_iter().for_each(|gap| line.view.gap(gap, truth));
                for message in &messages {
                    self.heard += 1;
                    line.view.message(message, truth);
                }
                let id = truth.position_in(&id);
                line.view.answered(id, truth);
                self.since = Some(id);
                let (client, left) = (line.client, line.left);
                if !left {
                    self.ask(world, chance, client);
                }
            }
            Said::Ping => self.say(world, 10, b""),
            Said::Close(code) => {
                let late = line.tainted || self.allowance.lies;
                let slow = late || self.allowance.may_forget; // see `ended`
                match code {
                    4508 => {
                        assert!(slow, "an eager client was called slow");
                        assert!(self.may_be_closed(world), "no channel of its says so");
                    }
                    4512 => assert!(late || self.jumped, "it did answer"),
                    1008 => assert!(self.jumped, "no message of ours takes long"),
                    1012 => {}
                    1000 if line.left => {}
                    code => panic!("closed with {code}"),
                }
                self.say(world, 8, &code.to_be_bytes());
            }
            _ => {}
        }
    }

    /// Our side has ended it: was it allowed to?
    fn ended(&mut self, world: &World, line: &Line, standing: Standing) {
        let excused = line.tainted || line.refused || line.left || !line.open;
        let late = excused || self.allowance.lies;
        if standing == Standing::Reset {
            assert!(late || self.jumped, "an eager client was cut off");
            return;
        }
        assert!(late || line.ear.is_between(), "a stream that was cut in a frame");
        match (self.way, line.ear.closed) {
            (Way::Socket { .. }, Some(_)) => {}
            (Way::Socket { .. }, None) => assert!(excused, "closed without a word"),
            (Way::Events { .. }, _) => {
                // A channel may be forgotten before even an eager client had its last message.
                let late = late || self.allowance.may_forget;
                assert!(late, "an eager stream was ended");
                let asked_for = line.refused || line.left || !line.open;
                assert!(asked_for || self.may_be_closed(world), "no channel of its says so");
            }
            (Way::Poll, _) => assert!(excused || self.jumped, "a poll was ended"),
        }
    }

    /// Whether one of its channels closes slow clients, or may be forgotten while it is behind.
    fn may_be_closed(&self, world: &World) -> bool {
        self.allowance.may_forget
            || self.channels.iter().any(|nth| world.truth.slow(*nth) == Slow::Disconnect)
    }

    /// The node is at rest: a client that reads has everything, one that has left is gone.
    pub(super) fn at_rest(&mut self, world: &World) {
        let Some(line) = &self.line else { return };
        let net = &world.nets[self.shard];
        if self.verbose {
            let token = net.token(line.client);
            let connection = token.map(|token| world.node.shards[self.shard].describe(token));
            eprintln!("{:?} {:?} {:?} {connection:?}", world.now, self.way, line.mood);
        }
        if line.left {
            // A poll that has only ended its side waits for its answer, as long as any other.
            let gone = line.mood != Mood::Eager
                || self.way == Way::Poll
                || net.standing(line.client) != Standing::Open;
            assert!(gone, "a client has left and its connection stands: {:?}", line.client);
            return;
        }
        if line.mood == Mood::Eager && line.open && self.way != Way::Poll {
            line.view.nothing_owed(&world.truth);
        }
    }
}
