//! A whole node in one thread: the real sequencer, the real ring and real shards over the simulated
//! driver. The test makes time and chance, so that a run is a function of its seed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use fanfare_protocol::id::{Epoch, Id};
use fanfare_protocol::message::Kind;

use super::truth::{Fact, Truth, channel_name};
use crate::auth::address::Addresses;
use crate::channel::{ChannelName, Tenant};
use crate::clock::Millis;
use crate::driver::sim::{Sim, SimNet, Temper};
use crate::life::Life;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::ring::{self, Wake, Writer};
use crate::rule::{History, Pattern, Rule, Rules, Slow, Window};
use crate::sequencer::command::{Command, Entry, Publication, PublishAnswer, Published, Refusal};
use crate::sequencer::inbox::{Inbox, NotTaken, inbox};
use crate::sequencer::{self, Sequencer, Step};
use crate::shard::connection::Phase;
use crate::shard::messages::Dropped;
use crate::shard::tick_budget::TickBudget;
use crate::shard::{Parts, Shard, Tick};
use crate::transport::Context;

/// What is to be decided before a world begins.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) seed: u64,
    pub(super) shards: usize,
    pub(super) temper: Temper,
    pub(super) limits: Limits,
    pub(super) history: History,
    pub(super) window: Window,
    /// What becomes of slow clients of each channel; those beyond it disconnect.
    pub(super) slow: Vec<Slow>,
    /// Sockets of a shard, and how many of them it serves.
    pub(super) capacity: (usize, usize),
    /// Bounds of a tick.
    pub(super) budget: TickBudget,
}

/// The bounds that directed tests count ticks by, whatever production runs.
pub(super) const COUNTED: TickBudget =
    TickBudget { entries: 256, receives: 64, batches: 2, quantum: 256 };

impl Shape {
    /// One shard, a truthful network, defaults.
    pub(super) fn plain() -> Self {
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
        }
    }
}

struct Asleep;

impl Wake for Asleep {
    fn wake(&self) {}
}

type Answers = Arc<Mutex<Vec<(u64, Result<Published, Refusal>)>>>;

/// A node, its publishers, and what really happened.
pub(super) struct World {
    pub(super) now: Millis,
    pub(super) epoch: Epoch,
    pub(super) sequencer: Sequencer<Writer<Entry>>,
    pub(super) shards: Vec<Shard<Sim, Dropped>>,
    pub(super) nets: Vec<SimNet>,
    pub(super) life: Arc<Life>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) truth: Truth,
    /// What publishers and nobody's hands have still to offer.
    pub(super) offers: VecDeque<Command>,
    pub(super) ended: Vec<bool>,
    /// Whether the sequencer had nothing to do.
    idle: bool,
    inbox: Inbox,
    answers: Answers,
    under_way: std::collections::HashMap<u64, (usize, Kind, Vec<u8>)>,
    numbers: u64,
}

impl World {
    pub(super) fn new(shape: &Shape) -> Self {
        let now = Millis(1_000);
        let epoch = Epoch::from_random(shape.seed);
        let limits = shape.limits.clone();
        let metrics = Arc::new(Metrics::new(shape.shards));
        let (inbox, commands) = inbox(limits.inbox_commands);
        let wakers = (0..shape.shards).map(|_| Arc::new(Asleep) as Arc<dyn Wake>).collect();
        let (writer, readers) = ring::ring(limits.ring_entries, limits.ring_bytes, wakers);
        let rules = shape.slow.iter().enumerate().map(|(channel, slow)| Rule {
            pattern: Pattern::parse(&channel_name(channel)).unwrap(),
            history: shape.history,
            window: shape.window,
            slow: *slow,
        });
        let settings = sequencer::Config {
            epoch,
            shards: shape.shards,
            limits: limits.clone(),
            rules: Rules::new(rules.collect(), shape.history, shape.window),
        };
        let sequencer = Sequencer::new(settings, commands, writer, Arc::clone(&metrics));
        let addresses = Arc::new(Addresses::new(&limits));
        let context = Context::new(epoch, limits, Tenant::default());
        let context = Arc::new(Context { loopback: true, dev: true, ..context });
        let life: Arc<Life> = Arc::default();
        let (mut shards, mut nets) = (Vec::new(), Vec::new());
        for ring in readers {
            let seed = shape.seed.wrapping_mul(31).wrapping_add(u64::from(ring.number()));
            let (driver, net) = Sim::new(seed, shape.capacity.0, shape.temper);
            let parts = Parts {
                ring,
                inbox: inbox.clone(),
                context: Arc::clone(&context),
                life: Arc::clone(&life),
                addresses: Arc::clone(&addresses),
                metrics: Arc::clone(&metrics),
                client_messages: Dropped,
                connections_max: shape.capacity.1,
            };
            let mut shard = Shard::new(driver, parts, now);
            shard.set_budget(shape.budget);
            shards.push(shard);
            nets.push(net);
        }
        Self {
            now,
            epoch,
            sequencer,
            ended: vec![false; shards.len()],
            shards,
            nets,
            life,
            metrics,
            truth: Truth::new(shape.slow.clone()),
            offers: VecDeque::new(),
            idle: false,
            inbox,
            answers: Arc::default(),
            under_way: std::collections::HashMap::new(),
            numbers: 0,
        }
    }

    /// A publisher has a message for this channel, of about this length.
    pub(super) fn publish(&mut self, channel: usize, bytes: usize, kind: Kind) {
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
        let publication = Publication {
            channel: ChannelName::new(Tenant::default(), &channel_name(channel)),
            kind,
            event: None,
            idempotency_key: None,
            data: payload.clone().into(),
        };
        self.under_way.insert(number, (channel, kind, payload));
        let answers = Arc::clone(&self.answers);
        let answer = move |result| answers.lock().unwrap().push((number, result));
        let answer = PublishAnswer::Callback(Box::new(answer));
        self.offers.push_back(Command::Publish(publication, answer));
    }

    /// Offers, one step of the sequencer, one tick of every shard.
    pub(super) fn step(&mut self) {
        self.offer();
        self.step_sequencer();
        for shard in 0..self.shards.len() {
            self.tick(shard);
        }
    }

    pub(super) fn offer(&mut self) {
        while let Some(command) = self.offers.pop_front() {
            match self.inbox.offer(command) {
                Ok(()) => {}
                Err(NotTaken::Full(command)) => return self.offers.push_front(command),
                Err(NotTaken::Ended(_)) => {}
            }
        }
    }

    pub(super) fn step_sequencer(&mut self) {
        let step = self.sequencer.step(self.now);
        self.idle = step == Step::Idle;
        let answers = std::mem::take(&mut *self.answers.lock().unwrap());
        for (number, result) in answers {
            let (channel, kind, payload) = self.under_way.remove(&number).expect("asked once");
            let Ok(Published { id, offset, .. }) = result else {
                self.truth.refused();
                continue;
            };
            assert_eq!(id.epoch, self.epoch);
            let position = id.position;
            let fact = Fact { channel, life: 0, position, offset, kind, payload };
            self.truth.placed(number, fact);
        }
        self.truth.reached(self.metrics.sequencer.position.read());
    }

    pub(super) fn tick(&mut self, shard: usize) {
        if !self.ended[shard] {
            self.ended[shard] = self.shards[shard].tick(self.now, false) == Tick::Ended;
        }
    }

    /// Whether nothing is left to do for anyone, as far as can be seen from within.
    pub(super) fn is_quiet(&self) -> bool {
        let quiet = |shard: &Shard<Sim, Dropped>| {
            !shard.sessions.has_work()
                && shard.sessions.commands.is_empty()
                && shard.ring.waiting() == 0
        };
        self.idle && self.offers.is_empty() && self.shards.iter().all(quiet)
    }

    /// Why it is not.
    pub(super) fn unrest(&self) -> String {
        let shards = self.shards.iter().map(|shard| {
            let sessions = &shard.sessions;
            format!(
                "queue {} sweeps {} commands {} reading {} ring {} events {}",
                sessions.queue.len(),
                sessions.fanout.has_work(),
                sessions.commands.len(),
                sessions.reading.len(),
                shard.ring.waiting(),
                shard.events.len(),
            )
        });
        format!("{} offers; {:?}", self.offers.len(), shards.collect::<Vec<_>>())
    }

    /// What a position is called.
    pub(super) fn id(&self, position: u64) -> String {
        Id { epoch: self.epoch, position }.to_string()
    }

    /// What must be true of a shard after any tick.
    pub(super) fn invariants(&self) {
        self.sequencer.invariants();
        for (number, shard) in self.shards.iter().enumerate() {
            let (sessions, metrics) = (&shard.sessions, &self.metrics.shards[number]);
            assert!(sessions.closes.is_empty(), "closes were told");
            assert_eq!(metrics.connections.read(), sessions.table.len() as u64);
            assert_eq!(self.nets[number].open() as u64, metrics.connections.read() + late(shard));
            for (_, connection) in sessions.table.iter() {
                let private = connection.outbox.as_ref().map_or(0, |outbox| outbox.memory());
                let stream = connection.phase == Phase::Open;
                let asks = connection.ask.is_some() || connection.poll.is_some();
                assert!(!stream || !asks, "a stream keeps nothing of its request");
                assert!(
                    connection.outbox.as_ref().is_none_or(|outbox| !outbox.is_empty()),
                    "an outbox goes when it is empty"
                );
                assert!(
                    !stream || private <= 40 << 10,
                    "{private} private bytes of one connection"
                );
            }
            let members = sessions.table.iter();
            let members = members.map(|(index, connection)| (index, &connection.subscriptions));
            sessions.fanout.invariants(members);
            sessions.wheel.invariants(&sessions.table);
            let most = 2 * self.nets[number].places() + 64;
            assert!(sessions.commands.len() <= most, "{} commands", sessions.commands.len());
        }
    }

    /// Every client is gone: nothing of any is left.
    pub(super) fn is_empty(&self) {
        self.invariants();
        for (number, shard) in self.shards.iter().enumerate() {
            let (sessions, metrics) = (&shard.sessions, &self.metrics.shards[number]);
            assert!(sessions.table.is_empty() && sessions.commands.is_empty());
            assert_eq!(sessions.fanout.channels(), 0, "interests have ended");
            for gauge in [
                &metrics.connections,
                &metrics.websockets,
                &metrics.event_streams,
                &metrics.polls,
                &metrics.subscriptions,
                &metrics.channels,
                &metrics.log_bytes,
            ] {
                assert_eq!(gauge.read(), 0, "{metrics:?}");
            }
            assert_eq!(self.nets[number].open(), 0);
        }
        assert_eq!(self.metrics.sequencer.subscriptions.read(), 0);
        assert_eq!(self.life.connections.load(std::sync::atomic::Ordering::Relaxed), 0);
    }
}

/// Connections that the driver has told of and the shard has not heard.
fn late(shard: &Shard<Sim, Dropped>) -> u64 {
    let accepted =
        |event: &&crate::driver::Event| matches!(event, crate::driver::Event::Accepted { .. });
    shard.events.iter().filter(accepted).count() as u64
}
