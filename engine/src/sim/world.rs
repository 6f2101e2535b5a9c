//! A whole node in one thread: the real sequencer, the real ring and real shards over the simulated
//! driver. Whoever has it in hand makes time and chance, so that a run is a function of its seed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use fanfare_protocol::id::{Epoch, Id};
use fanfare_protocol::message::{Change, Kind};

use super::backends::{Answer, Answers, Backends, Told};
use super::slow_log::{Hand, LogTemper, SlowLog};
use super::trace::Trace;
use super::truth::{ClientAt, Fact, Truth, channel_name};
use crate::channel::{ChannelName, Tenant};
use crate::clock::Millis;
use crate::control;
use crate::driver::Token;
use crate::driver::sim::{Chance, Sim, SimNet, Temper};
use crate::life::Life;
use crate::limits::Limits;
use crate::log::{Epochs, Interrupted, Others};
use crate::metrics::Metrics;
use crate::node::{Node, Parts, Plans};
use crate::origin::{Named, Origin};
use crate::presence::Presence;
use crate::rule::{History, Pattern, Rule, Rules, Slow, Window};
use crate::sequencer::Ticket;
use crate::sequencer::command::{Command, Publication, PublishAnswer};
use crate::sequencer::inbox::NotTaken;
use crate::session::machine::Machines;
use crate::shard::Shard;
use crate::shard::tick_budget::TickBudget;
use crate::transport::Context;
use crate::transport::door::Door;

/// What is to be decided before a world begins.
#[derive(Clone)]
pub(crate) struct Shape {
    pub(crate) seed: u64,
    pub(crate) shards: usize,
    pub(crate) temper: Temper,
    pub(crate) limits: Limits,
    pub(crate) history: History,
    pub(crate) window: Window,
    /// What becomes of slow clients of each channel; those beyond it disconnect.
    pub(crate) slow: Vec<Slow>,
    /// Sockets of a shard, and how many of them it serves.
    pub(crate) capacity: (usize, usize),
    /// Bounds of a tick.
    pub(crate) budget: TickBudget,
    /// How prompt the log is.
    pub(crate) log: LogTemper,
    /// Publishers on the Unix socket.
    pub(crate) backends: usize,
    /// What hears clients.
    pub(crate) machines: Option<Machines>,
    /// What knows the requests of those who come over many sockets: then all shards are on one
    /// network, so that sockets can be handed from one to another.
    pub(crate) door: Option<Arc<dyn Door>>,
}

/// The bounds that directed tests count ticks by, whatever production runs.
pub(crate) const COUNTED: TickBudget =
    TickBudget { entries: 256, units: 256, receives: 64, batches: 2, quantum: 256 };

impl Shape {
    /// One shard, a truthful network, defaults.
    pub(crate) fn plain() -> Self {
        let limits =
            Limits { connections_per_address: 0, heads_per_address: 0, ..Limits::default() };
        Self {
            seed: 1,
            shards: 1,
            temper: Temper::HONEST,
            limits,
            history: History::DEFAULT,
            window: Window::DEFAULT,
            slow: Vec::new(),
            capacity: (64, 64),
            budget: COUNTED,
            log: LogTemper::PROMPT,
            backends: 0,
            machines: None,
            door: None,
        }
    }
}

/// Whose channels all are: not the tenant that there always is, which nobody may take for granted.
fn tenant() -> Tenant {
    Tenant::new("sim")
}

/// How a message is published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Manner {
    pub(crate) ephemeral: bool,
    /// Who is not to have it.
    pub(crate) except: Option<ClientAt>,
}

/// A node, its publishers, and what really happened.
pub(crate) struct World {
    pub(crate) now: Millis,
    /// Epochs that are to begin, how many were ever told to, and those that the order has read of
    /// the log and not begun.
    epochs: Epochs,
    epochs_told: u64,
    /// Whose presence stands in the log.
    others: Others,
    read_epochs: Vec<Id>,
    /// What is done to its log.
    pub(crate) log: Hand,
    pub(crate) node: Node<Sim, SlowLog<Interrupted<Ticket>, Ticket>>,
    origins_key: u64,
    pub(crate) nets: Vec<SimNet>,
    pub(crate) life: Arc<Life>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) truth: Truth,
    /// What publishers were answered.
    pub(super) trace: Trace,
    /// What publishers and nobody's hands have still to offer.
    pub(crate) offers: VecDeque<Command>,
    answers: Answers,
    pub(super) backends: Backends,
    /// For how many steps each shard stands still.
    stalled: Vec<u32>,
    under_way: std::collections::HashMap<u64, (Vec<usize>, Kind, Vec<u8>, Manner)>,
    numbers: u64,
}

impl World {
    pub(crate) fn new(shape: &Shape) -> Self {
        let now = Millis(1_000);
        let epoch = Epoch::from_random(shape.seed);
        let rules = shape.slow.iter().enumerate().map(|(channel, slow)| Rule {
            pattern: Pattern::parse(&channel_name(channel)).unwrap(),
            history: shape.history,
            window: shape.window,
            slow: *slow,
        });
        let rules = Rules::new(rules.collect(), shape.history, shape.window);
        // A small number may be that of one connection, whose name would be another's too.
        let origins_key = Chance::new(shape.seed).draw();
        let context = Context::new(shape.limits.clone(), tenant());
        let context = Context { loopback: true, dev: true, origins_key, ..context };
        let plans = Plans {
            machines: shape.machines.clone(),
            door: shape.door.clone(),
            ..Plans::stepped(epoch, context, rules, shape.shards, shape.capacity.1)
        };
        let seed = |shard: usize| shape.seed.wrapping_mul(31).wrapping_add(shard as u64);
        let mut first: Option<SimNet> = None;
        let simulated = |shard| {
            let made = match &first {
                Some(first) if shape.door.is_some() => Sim::beside(first, shape.capacity.0),
                _ => Sim::new(seed(shard), shape.capacity.0, shape.temper),
            };
            first.get_or_insert(made.1.clone());
            made
        };
        let (drivers, nets): (Vec<_>, Vec<_>) = (0..shape.shards).map(simulated).unzip();
        let (epochs, others, log) = (Epochs::default(), Others::default(), Hand::default());
        let interrupted = Interrupted::by(epochs.clone()).shared_with(others.clone());
        let slow = SlowLog::new(interrupted, shape.log, log.clone(), shape.seed);
        let parts = Parts::join(plans, slow);
        let backends = Backends::new(shape.seed, shape.backends, epoch, &parts);
        let mut node = Node::new(parts, drivers, now);
        node.shards.iter_mut().for_each(|shard| shard.set_budget(shape.budget));
        node.sequencer.set_turn(shape.budget.units);
        let answers = Answers::default();
        let epoch_answers = Arc::clone(&answers);
        let hear = move |epoch| epoch_answers.lock().unwrap().push(Told::Epoch(epoch));
        let hears = node.inbox().offer(Command::HearEpochs(Box::new(hear)));
        assert!(hears.is_ok(), "nothing else was asked");
        Self {
            now,
            epochs,
            others,
            epochs_told: 0,
            read_epochs: Vec::new(),
            origins_key,
            nets,
            life: Arc::clone(node.life()),
            metrics: Arc::clone(node.metrics()),
            node,
            log,
            truth: Truth::new(epoch, shape.slow.clone()),
            trace: Trace::new(),
            offers: VecDeque::new(),
            answers,
            backends,
            stalled: vec![0; shape.shards],
            under_way: std::collections::HashMap::new(),
            numbers: 0,
        }
    }

    /// A publisher has a message for this channel, of about this length.
    #[cfg(test)]
    pub(crate) fn publish(&mut self, channel: usize, bytes: usize, kind: Kind) {
        self.publish_in(channel, bytes, kind, Manner::default());
    }

    /// A publisher has a message for this channel, of about this length, to be published so.
    #[cfg(test)]
    pub(crate) fn publish_in(&mut self, channel: usize, bytes: usize, kind: Kind, manner: Manner) {
        self.publish_to(vec![channel], bytes, kind, manner);
    }

    /// A publisher has a message for these channels, of about this length, to be published so.
    pub(crate) fn publish_to(
        &mut self,
        channels: Vec<usize>,
        bytes: usize,
        kind: Kind,
        manner: Manner,
    ) {
        self.numbers += 1;
        let number = self.numbers;
        let text = format!("#n{number};");
        let filler = if kind == Kind::Text { "line one\nline two\n" } else { "filler " };
        let text: String = text.chars().chain(filler.chars().cycle().take(bytes)).collect();
        let payload = match kind {
            Kind::Text => text.into_bytes(),
            Kind::Json => serde_json::to_vec(&text).unwrap(),
            Kind::Binary => [b"\xff\xfe", text.as_bytes()].concat(),
        };
        let names: Vec<String> = channels.iter().map(|channel| channel_name(*channel)).collect();
        self.under_way.insert(number, (channels, kind, payload.clone(), manner));
        let Manner { ephemeral, except } = manner;
        let except = except.map(|client| self.origin(client));
        if self.backends.are_there() && !number.is_multiple_of(3) {
            let manner = (ephemeral, except);
            return self.backends.publish(self.now, (number, &names), kind, &payload, manner);
        }
        let mut also = names.iter().map(|name| ChannelName::new(tenant(), name));
        let command = if self.backends.are_there() && kind == Kind::Json {
            posted(&names, &payload, (ephemeral, except), &self.node.context().limits)
        } else {
            Publication {
                channel: also.next().expect("it is for one at least"),
                also: also.collect(),
                kind,
                event: None,
                idempotency_key: None,
                ephemeral,
                except,
                data: payload.into(),
            }
        };
        let answers = Arc::clone(&self.answers);
        let answer = move |result| {
            answers.lock().unwrap().push(Told::Answer(Answer { number, group: None, result }));
        };
        self.offers.push_back(Command::Publish(command, PublishAnswer::Callback(Box::new(answer))));
    }

    /// What the connection of a client is called.
    fn origin(&self, (shard, client): ClientAt) -> Origin {
        let Token { index, generation } = self.nets[shard].token(client).expect("it is connected");
        Origin::of(Named { shard: shard as u8, index, generation }, self.origins_key)
    }

    /// Offers, one step of the sequencer, one tick of every shard.
    pub(crate) fn step(&mut self) {
        self.hear_backends();
        self.offer();
        self.step_sequencer();
        self.backends.write(self.now, &self.truth);
        for shard in 0..self.nets.len() {
            match self.stalled[shard].checked_sub(1) {
                Some(rest) => self.stalled[shard] = rest,
                None => self.tick(shard),
            }
        }
    }

    /// As the thread that reads their socket does, who waits while the inbox is full.
    fn hear_backends(&mut self) {
        if self.offers.is_empty() {
            self.offers.extend(self.backends.read(self.now, &self.answers));
        }
    }

    /// The log loses its end: another epoch begins before whatever is placed next.
    pub(crate) fn begin_epoch(&mut self) {
        self.epochs_told += 1;
        let seed = self.origins_key.rotate_left(20);
        self.epochs.begin(Epoch::from_random(seed ^ self.epochs_told));
    }

    /// Somebody comes to a channel or leaves it.
    pub(crate) fn change(&mut self, change: Change, channel: usize, member: &str) {
        let channel = ChannelName::new(tenant(), &channel_name(channel));
        let info = Box::default();
        self.others.put(Presence { channel, change, member: member.into(), info });
        self.truth.presence();
    }

    /// A shard stands still for so many steps.
    pub(super) fn stall(&mut self, shard: usize, steps: u32) {
        self.stalled[shard] = steps;
    }

    /// Time jumps.
    pub(super) fn jump(&mut self, ms: u64) {
        self.now = self.now.plus(ms);
        self.backends.jump();
    }

    /// So many steps at the present time.
    pub(crate) fn steps(&mut self, steps: usize) {
        for _ in 0..steps {
            self.step();
        }
    }

    pub(crate) fn offer(&mut self) {
        while let Some(command) = self.offers.pop_front() {
            match self.node.inbox().offer(command) {
                Ok(()) => {}
                Err(NotTaken::Full(command)) => return self.offers.push_front(command),
                Err(NotTaken::Ended(_)) => {}
            }
        }
    }

    pub(crate) fn step_sequencer(&mut self) {
        self.node.step_order(self.now);
        self.read_epochs.extend(self.epochs.take_begun());
        let answers = std::mem::take(&mut *self.answers.lock().unwrap());
        for told in answers {
            let Answer { number, group, result } = match told {
                Told::Answer(answer) => answer,
                Told::Epoch(epoch) => {
                    // Its first word is of the one that there was.
                    if let Some(nth) = self.read_epochs.iter().position(|id| id.epoch == epoch) {
                        self.truth.begin_epoch(self.read_epochs.swap_remove(nth));
                    }
                    self.backends.begin_epoch(self.now, epoch);
                    continue;
                }
            };
            let asked = self.under_way.remove(&number).expect("asked once");
            let (channels, kind, payload, Manner { ephemeral, except }) = asked;
            self.trace.note(self.now, format!("{number} {result:?}").as_bytes());
            if let Some(group) = group {
                self.backends.settle(self.now, group, result.clone());
            }
            let Ok(published) = result else {
                self.truth.refused();
                continue;
            };
            let (id, also) = (published.id, published.also());
            let offsets = std::iter::once(published.offset).chain(also.iter().map(|it| it.offset));
            assert_eq!(channels.len(), 1 + also.len(), "a place in each channel");
            let position = id.position;
            assert_eq!(id.epoch, self.truth.epoch_of(position));
            let facts = channels.into_iter().zip(offsets).map(|(channel, offset)| {
                assert_eq!(offset == 0, ephemeral, "only what nothing keeps has no offset");
                let payload = payload.clone();
                Fact { channel, life: 0, position, offset, except, kind, payload }
            });
            self.truth.placed(number, facts.collect());
        }
        self.truth.reached(self.metrics.sequencer.position.read());
    }

    pub(crate) fn tick(&mut self, shard: usize) {
        self.node.tick(shard, self.now);
    }

    /// Whether nothing is left to do for anyone, as far as can be seen from within.
    pub(crate) fn is_quiet(&self) -> bool {
        self.offers.is_empty()
            && self.node.is_quiet()
            && self.backends.are_quiet()
            && self.stalled.iter().all(|steps| *steps == 0)
    }

    /// Why it is not.
    pub(crate) fn unrest(&self) -> String {
        let (node, backends) = (self.node.unrest(), self.backends.unrest());
        format!("{} offers; {node:?}; {backends}", self.offers.len())
    }

    /// What a position is called.
    pub(crate) fn id(&self, position: u64) -> String {
        Id { epoch: self.truth.epoch_of(position), position }.to_string()
    }

    /// What must be true after any step.
    pub(crate) fn invariants(&self) {
        self.node.invariants();
        for (shard, net) in self.node.shards.iter().zip(&self.nets) {
            assert_eq!(net.open(), shard.sockets());
        }
    }

    /// Every client is gone: nothing of any is left.
    pub(crate) fn is_empty(&self) {
        self.invariants();
        self.node.shards.iter().for_each(Shard::assert_empty);
        assert!(self.nets.iter().all(|net| net.open() == 0));
        assert_eq!(self.metrics.sequencer.subscriptions.read(), 0);
        assert_eq!(self.life.connections.load(Relaxed), 0);
    }
}

/// A message as the API reads it out of a body.
fn posted(
    names: &[String],
    json: &[u8],
    (ephemeral, except): (bool, Option<Origin>),
    limits: &Limits,
) -> Publication {
    let json = std::str::from_utf8(json).expect("JSON is text");
    let except = except.map_or("null".into(), |except| format!("\"{except}\""));
    let body = format!(
        r#"{{"channels":{names:?},"ephemeral":{ephemeral},"except":{except},"data":{json}}}"#
    );
    control::read_one(body.as_bytes(), &tenant(), limits).expect("the API takes it")
}
