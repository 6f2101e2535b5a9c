//! A whole node in one thread: the real sequencer, the real ring and real shards over the simulated
//! driver. Whoever has it in hand makes time and chance, so that a run is a function of its seed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use fanfare_protocol::id::{Epoch, Id};
use fanfare_protocol::message::{Change, Kind};

use super::api;
use super::backends::{Answer, Answers, Backends, OrderNotice};
pub(crate) use super::fact::Manner;
use super::fact::{Keyed, UnderWay};
use super::history;
use super::placed::Placed;
use super::publications::Publications;
pub(crate) use super::shape::{COUNTED, Shape};
use super::slow_log::{Hand, SlowLog};
use super::trace::Trace;
use super::truth::{ClientAt, Fact, Truth, channel_name};
use crate::channel::{ChannelName, Tenant};
use crate::clock::Millis;
use crate::driver::Token;
use crate::driver::sim::{Chance, Sim, SimNet};
use crate::limits::Limits;
use crate::log::{Epochs, Interrupted, Others};
use crate::metrics::Metrics;
use crate::node::{Node, NodeParts, Plans};
use crate::node_state::NodeState;
use crate::origin::{Named, Origin};
use crate::presence::Presence;
use crate::rule::{Pattern, Rule, Rules};
use crate::sequencer::Ticket;
use crate::sequencer::command::{Command, Publication, PublishAnswer};
use crate::sequencer::inbox::NotTaken;
use crate::shard::Shard;
use crate::transport::Context;

/// Whose channels all are: not the tenant that there always is, which nobody may take for granted.
fn tenant() -> Tenant {
    Tenant::new("sim")
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
    pub(crate) node: Node<Sim, SlowLog<Placed<Interrupted<Ticket>>, Ticket>>,
    origins_key: u64,
    pub(crate) nets: Vec<SimNet>,
    pub(crate) life: Arc<NodeState>,
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
    publications: Publications,
    /// Whether what is published again is so without its key.
    pub(super) forgets_keys: bool,
    /// Whether channels may be forgotten, and whether all of them is kept.
    pub(super) keeps: (bool, bool),
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
            ..Rule::default()
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
        let answers = Answers::default();
        let told = Placed::told(interrupted, Arc::clone(&answers));
        let slow = SlowLog::new(told, shape.log, log.clone(), shape.seed);
        let parts = NodeParts::join(plans, slow);
        let backends = Backends::new(shape.seed, shape.backends, epoch, &parts);
        let mut node = Node::new(parts, drivers, now);
        node.shards.iter_mut().for_each(|shard| shard.set_budget(shape.budget));
        node.sequencer.set_turn(shape.budget.units);
        let epoch_answers = Arc::clone(&answers);
        let hear = move |epoch| epoch_answers.lock().unwrap().push(OrderNotice::Epoch(epoch));
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
            publications: Publications::default(),
            forgets_keys: false,
            keeps: (true, false),
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
        let message = self.publications.make(channels, bytes, kind);
        self.put(message, manner, None);
    }

    /// A publisher has a message for these channels, of about this length, under a key of its own.
    pub(super) fn publish_keyed(&mut self, channels: Vec<usize>, bytes: usize, kind: Kind) {
        let message = self.publications.make(channels, bytes, kind);
        self.publications.remember(message.clone());
        let key = message.key();
        self.put(message, Manner::default(), Some(&key));
    }

    /// A publisher does not know what became of one of these, and publishes it again.
    pub(super) fn publish_again(&mut self, chance: &mut Chance) {
        let Some(message) = self.publications.any_keyed(chance) else { return };
        let key = Some(message.key()).filter(|_| !self.forgets_keys);
        self.put(message, Manner::default(), key.as_deref());
    }

    /// A message is on its way: on the socket of backends, over HTTP, or from within.
    fn put(&mut self, message: Keyed, manner: Manner, key: Option<&str>) {
        self.publications.begin(&message, manner);
        let Keyed { number, channels, kind, payload } = message;
        let names: Vec<String> = channels.iter().map(|channel| channel_name(*channel)).collect();
        let Manner { ephemeral, except } = manner;
        let except = except.map(|client| self.origin(client));
        if self.backends.are_there() && !number.is_multiple_of(3) {
            let manner = (ephemeral, except, key);
            return self.backends.publish(self.now, (number, &names), kind, &payload, manner);
        }
        let mut also = names.iter().map(|name| ChannelName::new(tenant(), name));
        let command = if self.backends.are_there() && kind == Kind::Json {
            api::posted(&tenant(), &names, &payload, (ephemeral, except, key), self.limits())
        } else {
            Publication {
                channel: also.next().expect("it is for one at least"),
                also: also.collect(),
                kind,
                event: None,
                idempotency_key: key.map(|key| key.as_bytes().into()),
                ephemeral,
                except,
                data: payload.into(),
            }
        };
        let answers = Arc::clone(&self.answers);
        let answer = move |result| {
            answers.lock().unwrap().push(OrderNotice::Answer(Answer {
                number,
                group: None,
                result,
            }));
        };
        self.offers.push_back(Command::Publish(command, PublishAnswer::Callback(Box::new(answer))));
    }

    /// A backend asks for what a channel keeps.
    pub(super) fn read_history(&mut self, asked: history::HistoryRequest) {
        let answers = Arc::clone(&self.answers);
        let tell = move |page| answers.lock().unwrap().push(OrderNotice::Page(page));
        self.offers.push_back(history::ask(asked, tenant(), &self.truth, tell));
    }

    /// A client has a message for this channel: its number, and what it is.
    pub(super) fn say(&mut self, channel: usize) -> (u64, String) {
        self.publications.begin_by_client(channel)
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
        let mut pages = Vec::new();
        for told in answers {
            match told {
                OrderNotice::Page(page) => pages.push(page),
                OrderNotice::Answer(answer) => self.settle(answer),
                OrderNotice::Stands { number, position } => {
                    self.publications.note_read(number, position)
                }
                OrderNotice::Epoch(epoch) => {
                    // Its first word is of the one that there was.
                    if let Some(nth) = self.read_epochs.iter().position(|id| id.epoch == epoch) {
                        let id = self.read_epochs.swap_remove(nth);
                        self.placed_up_to(id.position);
                        self.truth.begin_epoch(id);
                    }
                    self.backends.begin_epoch(self.now, epoch);
                }
            }
        }
        let position = self.metrics.sequencer.position.read();
        self.placed_up_to(position);
        self.truth.reached(position);
        pages.iter().for_each(|page| page.check(self.keeps, &self.truth));
    }

    /// A publisher has its outcome.
    fn settle(&mut self, Answer { number, group, result }: Answer) {
        let asked = self.publications.settle(number);
        let UnderWay { channels, kind, payload, manner: Manner { ephemeral, except }, .. } = asked;
        self.trace.note(self.now, format!("{number} {result:?}").as_bytes());
        if let Some(group) = group {
            self.backends.settle(self.now, group, result.clone());
        }
        let Ok(published) = result else { return self.truth.refused() };
        let (id, also) = (published.id, published.also());
        let offsets = std::iter::once(published.offset).chain(also.iter().map(|it| it.offset));
        assert_eq!(channels.len(), 1 + also.len(), "a place in each channel");
        let position = id.position;
        if published.duplicate {
            let place = Some((position, offsets.collect()));
            assert_eq!(
                place,
                self.truth.place_of(number),
                "it has the place that it had: {number}"
            );
            // It stands in the log again, and nobody is told where.
            let again = self.publications.read_at(number);
            self.placed_up_to(again);
            return self.truth.reached(again);
        }
        self.placed_up_to(position);
        assert_eq!(id.epoch, self.truth.epoch_of(position));
        let facts = channels.into_iter().zip(offsets).map(|(channel, offset)| {
            assert_eq!(offset == 0, ephemeral, "only what nothing keeps has no offset");
            let payload = payload.clone();
            Fact { channel, life: 0, position, offset, except, kind, payload }
        });
        self.truth.placed(number, facts.collect());
    }

    /// What was read of the log up to there is placed.
    fn placed_up_to(&mut self, to: u64) {
        self.publications.place_up_to(to, &mut self.truth);
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

    /// What its clients may use.
    pub(super) fn limits(&self) -> &Limits {
        &self.node.context().limits
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
